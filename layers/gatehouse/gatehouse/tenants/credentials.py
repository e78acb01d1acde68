"""The secrets of one tenant: where its database is, the passwords of its roles, and the key that signs claims."""

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self
from urllib.parse import quote

from gatehouse.sealing import Keyring
from gatehouse.tenants.names import CALLERS, KEEPER, Names
from gatehouse.tenants.passwords import new_password

CLAIMS_KEY_BYTES = 32
HMAC_BLOCK_BYTES = 64
MOST_CLAIMS_BYTES = 8192


@dataclass(frozen=True)
class Credentials:
    """What is sealed in a tenant's row; nothing of it ever shows."""

    passwords: Mapping[str, str] = field(repr=False)  # by role: keeper, owner, developer, viewer
    claims_key: bytes = field(repr=False)
    host: str = ""
    port: int = 5432
    database: str = ""
    users: Mapping[str, str] = field(default_factory=dict)  # the role's name on the server
    authority: str = field(default="", repr=False)  # PEM of a private certificate authority

    @classmethod
    def new(cls, names: Names) -> Self:
        """Make all secrets of a tenant, before anything is made of it."""
        return cls(
            passwords={role: new_password() for role in (KEEPER, *CALLERS)},
            claims_key=secrets.token_bytes(CLAIMS_KEY_BYTES),
            database=names.database,
            users=dict(zip((KEEPER, *CALLERS), names.roles, strict=True)),
        )

    def at(self, host: str, port: int, database: str | None = None, **changes: Any) -> "Credentials":
        """Return the same with the place of the database."""
        return replace(self, host=host, port=port, database=database or self.database, **changes)

    def address(self, role: str) -> str:
        """Return the address for a role."""
        user, password = quote(self.users[role], safe=""), quote(self.passwords[role], safe="")
        return f"postgresql://{user}:{password}@{self.host}:{self.port}/{quote(self.database, safe='')}"

    def claims_blocks(self) -> tuple[bytes, bytes]:
        """Return the two blocks of HMAC with which the tenant's database checks a signature."""
        key = self.claims_key.ljust(HMAC_BLOCK_BYTES, b"\0")
        return bytes(each ^ 0x36 for each in key), bytes(each ^ 0x5C for each in key)

    def signed_claims(self, claims: Mapping[str, Any]) -> tuple[str, str]:
        """Return claims as the tenant's database reads them, and their signature."""
        text = json.dumps(claims, separators=(",", ":"), sort_keys=True)
        return text, hmac.digest(self.claims_key, text.encode(), "sha256").hex()

    def sealed(self, keyring: Keyring, owner: str) -> tuple[str, bytes]:
        """Return the id of the key and these secrets, sealed for a tenant or branch."""
        content = {
            "passwords": dict(self.passwords),
            "claims_key": self.claims_key.hex(),
            "host": self.host,
            "port": self.port,
            "database": self.database,
            "users": dict(self.users),
            "authority": self.authority,
        }
        return keyring.seal(json.dumps(content).encode(), ("tenant", owner))


def opened(keyring: Keyring, key_id: str, sealed: bytes, owner: str) -> Credentials:
    """Return the secrets of a tenant or branch."""
    content = json.loads(keyring.open(key_id, sealed, ("tenant", owner)))
    return Credentials(**{**content, "claims_key": bytes.fromhex(content["claims_key"])})

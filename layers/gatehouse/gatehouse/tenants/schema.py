"""Brings a tenant's database to the newest schema, as its keeper, and says there who may do what."""

import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from gatehouse.database.direct_session import connect_direct
from gatehouse.database.sql import unnamed
from gatehouse.errors import SettingError
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.files import migrations_folder, read_migrations
from gatehouse.migrations.sessions import Target
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.links import Safety
from gatehouse.tenants.names import KEEPER, quoted

CONNECT_MILLISECONDS = 10_000  # a database that sleeps when idle needs seconds to wake up
LOCK_WAIT_SECONDS = 10.0

_KEEP_KEY = unnamed(
    "insert into auth.signing_key (inner_block, outer_block) values (:inner::bytea, :outer::bytea)"
    " on conflict (only_one) do update set inner_block = excluded.inner_block, outer_block = excluded.outer_block"
)


def newest_version() -> int:
    """Return the number of the newest migration of tenants' databases."""
    return read_migrations(_folder())[-1].version


def bring_up_to_date(credentials: Credentials, safety: Safety, tell: Callable[[str], None] = lambda _: None) -> int:
    """Apply what is pending and set all rights; return the number of the newest migration."""
    target = Target(
        "tenant",
        credentials.address(KEEPER),
        tls=safety.tls,
        tls_root_file=_authority_file(credentials.authority) or safety.root_file,
        connect_milliseconds=CONNECT_MILLISECONDS,
    )
    Engine(target, _folder(), tell=tell, lock_wait_seconds=LOCK_WAIT_SECONDS).up()
    _grant(credentials, safety)
    return newest_version()


def _grant(credentials: Credentials, safety: Safety) -> None:
    script = Path(__file__).with_name("access.sql.template").read_text(encoding="utf-8")
    for role in ("owner", "developer", "viewer"):
        script = script.replace(f"{{{role}}}", quoted(credentials.users[role]))
    inner, outer = credentials.claims_blocks()
    with connect_direct(
        credentials.address(KEEPER),
        application="gatehouse tenants access",
        options={},
        connect_milliseconds=CONNECT_MILLISECONDS,
        tls=safety.tls,
        tls_context=safety.context(credentials.authority) if safety.tls != "off" else None,
    ) as session:
        session.run(script)
        session.query(_KEEP_KEY(inner=inner, outer=outer))


def _folder() -> Path:
    folder = migrations_folder("tenant")
    if folder is None:
        raise SettingError("the migrations of tenants' databases are not in this bundle")
    return folder


def _authority_file(authority: str) -> str:
    """Return a file with a private certificate authority, as the migrations want it; empty where there is none."""
    if not authority:
        return ""
    file = Path(tempfile.gettempdir()) / f"gatehouse-{sha256(authority.encode()).hexdigest()[:16]}.pem"
    if not file.exists():
        file.write_text(authority, encoding="utf-8")
    return str(file)

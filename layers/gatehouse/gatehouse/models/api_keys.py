"""Keys to the API: made once, shown once, kept as a hash, and looked up by each request."""

import hashlib
import re
import secrets
import string
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound
from gatehouse.models.admin_changes import written_by

sql = load_statements(Path(__file__).with_name("api_keys.sql"))

Row = dict[str, Any]

# From the least to the most that a key may do.
ROLES = ("viewer", "developer", "admin", "ops")
DEFAULT_RATE_PER_MINUTE = 600
MADE_AT_SIGN_IN = "sign-in by token"  # by whom a key was made that is a session's, which nobody holds
ID_CHARACTERS = 8
SECRET_BYTES = 32

# The prefix lets scanners of repositories find a key that leaked; the id names it in lists and logs.
KEY = re.compile(r"gh_([A-Za-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII)


class Use(NamedTuple):
    """What a request with a key may do, and how much of the key's rate is left."""

    answer: str  # ok, unknown, revoked, expired, merchant_off or limited
    key_id: str
    merchant: str | None  # None: every merchant
    role: str
    rate_per_minute: int
    requests_left: int
    full_in_seconds: Decimal
    wait_seconds: Decimal


def new_key() -> str:
    """Return a new key: `gh_`, eight characters that name it, and 256 random bits."""
    letters = string.ascii_letters + string.digits
    name = "".join(secrets.choice(letters) for _ in range(ID_CHARACTERS))
    return f"gh_{name}_{secrets.token_urlsafe(SECRET_BYTES)}"


def use_key(database: Database, key: str) -> Use | None:
    """Return what the key may do and count this request; None for a text that is no key at all."""
    shaped = KEY.fullmatch(key)
    return None if shaped is None else use_key_by_hash(database, shaped[1], key_hash(key))


def use_key_by_hash(database: Database, key_id: str, hashed: bytes) -> Use:
    """Do the same for somebody who has shown the key before, of whom only its id and hash are remembered."""
    row = database.query_one(sql.use_key, id=key_id, hash=hashed)
    return Use(
        answer=row["answer"],
        key_id=row["key_id"] or "",
        merchant=row["key_merchant"],
        role=row["key_role"] or "",
        rate_per_minute=row["key_rate"] or 0,
        requests_left=row["requests_left"] or 0,
        full_in_seconds=row["full_in_seconds"] or Decimal(0),
        wait_seconds=row["wait_seconds"] or Decimal(0),
    )


def add_key(
    database: Database,
    key: str,
    *,
    merchant: str | None,
    role: str,
    name: str,
    rate_per_minute: int = DEFAULT_RATE_PER_MINUTE,
    expires_at: datetime | None = None,
    may_read_health_data: bool = True,
    user_id: str | None = None,
    made_by: str | None = None,
    actor: str = "",
) -> Row:
    """Keep the hash of a new key and what it may do; None as the merchant means every merchant.

    `made_by` says what the key's row calls its maker, where that is more than the role that logged in; `actor` who
    does it, for the changes that are noted.
    """
    added = sql.add_key(
        id=key.split("_")[1],
        merchant=merchant,
        role=role,
        name=name,
        hash=key_hash(key),
        rate_per_minute=rate_per_minute,
        expires_at=expires_at,
        may_read_health_data=may_read_health_data,
        user_id=user_id,
        made_by=made_by,
    )
    return written_by(database, actor or made_by or "", added)[0]


def list_keys(database: Database) -> list[Row]:
    """Return all keys, without what would open anything; of sessions by token those that go on."""
    return database.query(sql.list_keys, made_at_sign_in=MADE_AT_SIGN_IN)


def look_for_keys(database: Database, *, text: str | None = None, most: int = 50) -> list[Row]:
    """Return the first keys: of all, or of those that have a text in id, name or merchant."""
    return database.query(sql.look_for_keys, text=text, most=most, made_at_sign_in=MADE_AT_SIGN_IN)


def revoke_key(database: Database, key_id: str, *, actor: str = "") -> Row:
    """End a key for ever, from its next request on; raise NotFound when there is none of this id."""
    found = written_by(database, actor, sql.revoke_key(id=key_id), deed="key revoked")
    if not found:
        raise NotFound(f"no key has the id {key_id[:ID_CHARACTERS]}")
    return found[0]


def key_hash(key: str) -> bytes:
    """Return what is kept of a key."""
    return hashlib.sha256(key.encode()).digest()

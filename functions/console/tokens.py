"""Signing in by a token (JWT) of an issuer that CONSOLE_JWT_ISSUERS names: what it may say, and what comes of it.

A token says by claims of ours which merchant and which role somebody has; without them it opens nothing. What comes
of it is a key of its own that ends with the token, and that nobody holds: the session remembers it as any other. So
each request looks it up, counts it, and finds it ended where an operator has revoked it.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from console.sessions import SESSION_SECONDS
from gatehouse.database.connection import Database
from gatehouse.errors import ForeignKeyViolation, RequestRefused
from gatehouse.models import api_keys
from gatehouse.tenants.tokens import Shown, Tokens

EVERY_MERCHANT = "*"
SUBJECT = re.compile(r"[!-~]{1,200}")  # as keys have the users whom they are made for
TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", re.ASCII)


class Entry(NamedTuple):
    """What a token lets somebody do, and until when."""

    subject: str
    merchant: str | None  # None: every merchant
    role: str
    may_read_health_data: bool
    ends_at: float  # seconds since 1970


class TokenKey(NamedTuple):
    """The key that a session by token lives on."""

    key_id: str
    hashed: bytes
    subject: str
    ends_at: float


def looks_like_one(text: str) -> bool:
    """Tell whether a text has the form of a token."""
    return TOKEN.fullmatch(text) is not None


def enter(database: Database, tokens: Tokens, token: str, now: float) -> TokenKey:
    """Check a token and make the key of its session; raise RequestRefused that says what is wrong with it."""
    shown = tokens.read(token)
    entry = entry_of(shown, now)
    key = api_keys.new_key()
    try:
        api_keys.add_key(
            database,
            key,
            merchant=entry.merchant,
            role=entry.role,
            name=entry.subject,
            expires_at=datetime.fromtimestamp(entry.ends_at, UTC),
            may_read_health_data=entry.may_read_health_data,
            made_by=api_keys.MADE_AT_SIGN_IN,
            actor=shown.issuer.name if "@" in entry.subject else entry.subject,
        )
    except ForeignKeyViolation:
        raise _refused("names a merchant that there is not") from None
    return TokenKey(key.split("_")[1], api_keys.key_hash(key), entry.subject, entry.ends_at)


def entry_of(shown: Shown, now: float) -> Entry:
    """Return what a token that was checked lets somebody do; raise RequestRefused where it does not say so plainly."""
    claims, names = shown.claims, shown.issuer.claims
    merchant = _text(claims, f"{names}merchant")
    role = _text(claims, f"{names}role")
    if role not in api_keys.ROLES:
        raise _refused(f"has no role of ours in {names}role")
    if shown.merchant not in (EVERY_MERCHANT, merchant):
        raise _refused("names a merchant for which its issuer does not speak")
    if merchant == EVERY_MERCHANT and role != "ops":
        raise _refused("is for every merchant, which only the role ops may see")
    if not SUBJECT.fullmatch(shown.subject):
        raise _refused("has a subject that is too long, or not of plain characters")
    ends_at = min(float(claims["exp"]), now + SESSION_SECONDS)
    if ends_at <= now:
        raise RequestRefused("The token has expired.", code="TOKEN_EXPIRED", status=401)
    return Entry(
        shown.subject,
        None if merchant == EVERY_MERCHANT else merchant,
        role,
        claims.get(f"{names}health") is True,
        ends_at,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value or "\0" in value:
        raise _refused(f"does not say {name}")
    return value


def _refused(why: str) -> RequestRefused:
    return RequestRefused(f"The token {why}.", code="TOKEN_REFUSED", status=401)

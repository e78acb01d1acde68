"""Sessions: sealed cookies that remember a key by its hash, and links that sign somebody in.

Nothing is kept on the server. A cookie holds the key's id and the hash of the key, never the key: it opens the console
and nothing else. Each request looks the key up again, so that a revoked or expired key ends its sessions at once. The
cookie of somebody who came with a token says whose it was, and ends with the token.
"""

import base64
import json
import math
import secrets
from typing import NamedTuple

from gatehouse.errors import SealBroken
from gatehouse.models.api_keys import KEY, key_hash
from gatehouse.sealing import Keyring

SESSION_SECONDS = 8 * 3600
LINK_SECONDS = 12 * 3600
CSRF_BYTES = 16
MOST_CHARACTERS = 2000


class Session(NamedTuple):
    """Who has signed in, until when, and what his forms must show."""

    key_id: str
    hashed: bytes
    csrf: str
    expires_at: int  # seconds since 1970
    subject: str = ""  # of the token that he came with


def begin(key_id: str, hashed: bytes, now: float, *, subject: str = "", ends_at: float = math.inf) -> Session:
    """Return a new session, which ends no later than it may."""
    expires_at = int(min(now + SESSION_SECONDS, ends_at))
    return Session(key_id, hashed, secrets.token_urlsafe(CSRF_BYTES), expires_at, subject)


def seal_session(keyring: Keyring, session: Session) -> str:
    """Return the value of the cookie."""
    return _seal(
        keyring, "session", [session.key_id, session.hashed.hex(), session.csrf, session.expires_at, session.subject]
    )


def open_session(keyring: Keyring, cookie: str, now: float) -> Session | None:
    """Return the session in a cookie; None for one that is not ours, or over."""
    match _open(keyring, "session", cookie):
        case [str(key_id), str(hashed), str(csrf), int(expires_at), str(subject)] if now < expires_at:
            return Session(key_id, bytes.fromhex(hashed), csrf, expires_at, subject)
    return None


def seal_link(keyring: Keyring, key: str, now: float) -> str:
    """Return the ticket of a link with which the owner of a key signs in without typing it."""
    shaped = KEY.fullmatch(key)
    if shaped is None:
        raise ValueError("that is no key")
    return _seal(keyring, "link", [shaped[1], key_hash(key).hex(), int(now) + LINK_SECONDS])


def open_link(keyring: Keyring, ticket: str, now: float) -> tuple[str, bytes] | None:
    """Return (key id, hash) of a ticket; None for one that is not ours, or too old."""
    match _open(keyring, "link", ticket):
        case [str(key_id), str(hashed), int(expires_at)] if now < expires_at:
            return key_id, bytes.fromhex(hashed)
    return None


def _seal(keyring: Keyring, kind: str, content: list[str | int]) -> str:
    key_id, sealed = keyring.seal(json.dumps(content).encode(), ("console", kind))
    return f"{key_id}.{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}"


def _open(keyring: Keyring, kind: str, text: str) -> object:
    key_id, dot, encoded = text.partition(".")
    if not dot or len(text) > MOST_CHARACTERS or not encoded.isascii():
        return None
    try:
        sealed = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return json.loads(keyring.open(key_id, sealed, ("console", kind)))
    except (SealBroken, ValueError):
        return None

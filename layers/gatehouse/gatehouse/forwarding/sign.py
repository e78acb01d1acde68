"""Signs what is forwarded, after Standard Webhooks 1.0.0, so that an app can check that it comes from us unchanged.

    webhook-id: msg_7RhCtxMEpT2cR5Xw                     the same for every attempt
    webhook-timestamp: 1614265330                        of this attempt
    webhook-signature: v1,<base64> v1,<base64>           one for each secret, while a new and an old one are valid

A v1 is HMAC-SHA256 over "<id>.<timestamp>.<exact body>". The key is what the base64 after `whsec_` says, not that text.
https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from secrets import token_bytes

from gatehouse.errors import SettingError, SignatureRefused

SECRET_PREFIX = "whsec_"  # noqa: S105 - says what follows
LEAST_KEY_BYTES, MOST_KEY_BYTES = 24, 64
NEW_KEY_BYTES = 32
TOLERANCE_SECONDS = 300

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"

# Without a dot: in "<id>.<timestamp>.<body>" one more would let the same signed bytes be read in two ways.
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


def message_id(*parts: str) -> str:
    """Return the id of a message that is known by these parts, always the same one for the same parts.

    The names of gateways, accounts and events may hold dots and anything else, so the id is a digest of them.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return "msg_" + base64.b32encode(digest[:20]).decode().lower()


def new_secret(random_bytes: Callable[[int], bytes] = token_bytes) -> str:
    """Return a secret to share with one app."""
    return SECRET_PREFIX + base64.b64encode(random_bytes(NEW_KEY_BYTES)).decode()


def sign(body: bytes, message_id: str, timestamp: int, secrets: Sequence[str]) -> str:
    """Return the value of the `webhook-signature` header, with a signature of each secret in their order.

    Raise SettingError for a secret that is none, or when there is no secret at all.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError(f"{message_id[:120]!r} cannot be a message's id")
    check_secrets(secrets)
    signed = _signed(message_id, str(timestamp), body)
    return " ".join("v1," + base64.b64encode(_digest(signed, key_of(secret))).decode() for secret in secrets)


def verify(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    *,
    now: float,
    tolerance_seconds: int = TOLERANCE_SECONDS,
) -> str:
    """Return the id of a message that one of the secrets signed; raise SignatureRefused when none did, or not now."""
    by_name = {name.lower(): value for name, value in headers.items()}
    said_id, timestamp = by_name.get(ID, ""), by_name.get(TIMESTAMP, "")
    if not _MESSAGE_ID.fullmatch(said_id):
        raise SignatureRefused(f"there is no {ID} header, or it cannot be one")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureRefused(f"there is no {TIMESTAMP} header, or it is no time")
    signatures = _v1_signatures(by_name.get(SIGNATURE, ""))
    if not signatures:
        raise SignatureRefused(f"there is no v1 in the {SIGNATURE} header")
    signed = _signed(said_id, timestamp, body)
    # A list and no generator: every pair is compared, wherever the match is.
    matches = [hmac.compare_digest(_digest(signed, key), each) for key in map(key_of, secrets) for each in signatures]
    if not any(matches):
        raise SignatureRefused("no signature matches: another secret, or the body was changed on its way")
    if abs(now - int(timestamp)) > tolerance_seconds:
        raise SignatureRefused(f"the signature is more than {tolerance_seconds} seconds from now")
    return said_id


def check_secrets(secrets: Sequence[str]) -> None:
    """Raise SettingError when there is no secret, or one that is none."""
    if not secrets:
        raise SettingError("there is no secret to sign with")
    for secret in secrets:
        key_of(secret)


def key_of(secret: str) -> bytes:
    """Return the bytes that a secret stands for; raise SettingError when it is none, without showing it."""
    encoded = secret.removeprefix(SECRET_PREFIX)
    if encoded == secret:
        raise SettingError(f"a secret for forwarding begins with {SECRET_PREFIX}")
    padded = encoded.rstrip("=") + "=" * (-len(encoded.rstrip("=")) % 4)
    try:
        key = base64.b64decode(padded, validate=True)
    except ValueError:  # binascii.Error is one, and so is a character beyond ASCII
        raise SettingError(f"a secret for forwarding is base64 after {SECRET_PREFIX}") from None
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        wanted = f"{LEAST_KEY_BYTES} to {MOST_KEY_BYTES}"
        raise SettingError(f"a secret for forwarding has {wanted} bytes after decoding; this one has {len(key)}")
    return key


def _signed(message_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _digest(signed: bytes, key: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")


def _v1_signatures(header: str) -> list[bytes]:
    """Return the v1 signatures of a header; other versions, and what is no signature at all, are skipped."""
    found = []
    for each in header.split(" "):
        version, _, encoded = each.partition(",")
        if version == "v1":
            try:
                found.append(base64.b64decode(encoded, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found

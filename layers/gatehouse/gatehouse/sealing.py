"""Seals bytes that rest in Postgres or SQS: compressed, then AES-256-GCM.

The form is a 12-byte random nonce, the ciphertext, and its 16-byte tag. What the bytes belong to (gateway, account,
event id) is bound as associated data, so that a sealed payload moved to another row does not open there.

    keyring = Keyring({"current": "k2", "keys": {"k1": "<base64 of 32 bytes>", "k2": "…"}})
    key_id, sealed = keyring.seal(body, ("stripe", "default", "evt_1"))
    body = keyring.open(key_id, sealed, ("stripe", "default", "evt_1"))

A key is rotated by adding a new one and naming it `current`; older ones stay for what they sealed.
"""

import base64
import os
import zlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gatehouse.errors import SealBroken, SettingError, UnknownKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12  # random per seal: 2**32 seals with one key keep the chance of a repeat under 2**-32 (NIST SP 800-38D)
TAG_BYTES = 16
KEY_BYTES = 32
MOST_PLAIN_BYTES = 8 * 1024 * 1024  # what an opened seal may grow to, so that a small bomb cannot fill the memory


class Keyring:
    """The data keys of one deployment: seals with the current one, opens with any."""

    def __init__(self, secret: Mapping[str, Any], newer: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Take the keys of a secret; `newer` fetches it anew when something was sealed with a key that is not in it."""
        self.current, self._keys = _read_keys(secret)
        self._newer = newer
        self._ciphers: dict[str, AESGCM] = {}

    def __repr__(self) -> str:
        return f"<Keyring of {', '.join(sorted(self._keys))}; current {self.current}>"

    def seal(self, plain: bytes, associated: tuple[str, ...]) -> tuple[str, bytes]:
        """Compress and encrypt; return the id of the key that was used and the sealed bytes."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher(self.current).encrypt(nonce, zlib.compress(plain), _bound(associated))
        return self.current, nonce + sealed

    def open(
        self, key_id: str, sealed: bytes, associated: tuple[str, ...], *, most_bytes: int = MOST_PLAIN_BYTES
    ) -> bytes:
        """Return what was sealed; raise UnknownKey, or SealBroken when a byte or what it belongs to has changed."""
        from cryptography.exceptions import InvalidTag

        if len(sealed) < NONCE_BYTES + TAG_BYTES:
            raise SealBroken(f"{len(sealed)} bytes are too few to be a seal")
        nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            compressed = self._cipher(key_id).decrypt(nonce, ciphertext, _bound(associated))
        except InvalidTag as reason:
            raise SealBroken(f"the seal does not fit key {key_id!r} and {'/'.join(associated)!r}") from reason
        return _decompress(compressed, most_bytes)

    def _cipher(self, key_id: str) -> "AESGCM":
        if key_id not in self._keys and self._newer:
            # Another process has sealed with a key that was added after our secret was fetched.
            self.current, self._keys = _read_keys(self._newer())
        if key_id not in self._keys:
            raise UnknownKey(f"sealed with key {key_id!r}; the keyring has {', '.join(sorted(self._keys))}")
        if key_id not in self._ciphers:
            # Imported here: 6 ms, and many cold starts answer (health, a refused signature) without sealing anything.
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._ciphers[key_id] = AESGCM(self._keys[key_id])
        return self._ciphers[key_id]


def _read_keys(secret: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    keys, current = secret.get("keys"), secret.get("current")
    if not isinstance(keys, Mapping) or not isinstance(current, str) or current not in keys:
        raise SettingError("the data keys must be {current, keys}, and `current` the name of one of `keys`")
    return current, {str(key_id): _key_bytes(str(key_id), encoded) for key_id, encoded in keys.items()}


def _key_bytes(key_id: str, encoded: object) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except ValueError:  # binascii.Error is one, and so is a character beyond ASCII
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingError(f"data key {key_id!r} is not the base64 of {KEY_BYTES} bytes")
    return key


def _bound(associated: tuple[str, ...]) -> bytes:
    """Encode the associated strings with their lengths, so that ("ab", "c") and ("a", "bc") differ."""
    parts = [part.encode() for part in associated]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _decompress(compressed: bytes, most_bytes: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(compressed, most_bytes + 1)
    except zlib.error as reason:
        raise SealBroken("what was sealed is not compressed data") from reason
    if len(plain) > most_bytes:
        raise SealBroken(f"what was sealed is larger than {most_bytes} bytes")
    if not inflater.eof:
        raise SealBroken("what was sealed is cut short")
    return plain

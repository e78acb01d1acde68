"""What is sealed opens with its key, where it belongs, unchanged; and in no other way."""

import base64
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.errors import SealBroken, SettingError, UnknownKey
from gatehouse.sealing import NONCE_BYTES, TAG_BYTES, Keyring

KEY_1, KEY_2 = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
OLD = Keyring({"current": "k1", "keys": {"k1": KEY_1}})
NEW = Keyring({"current": "k2", "keys": {"k1": KEY_1, "k2": KEY_2}})
EVENT = ("stripe", "default", "evt_1")
SAMPLE = Path(__file__).parents[2] / "events" / "stripe" / "payment_intent.succeeded.json"

pytestmark = pytest.mark.req("G12")
quick = settings(deadline=None, derandomize=True, database=None)


@quick
@given(plain=st.binary(max_size=2000), associated=st.lists(st.text(max_size=20), max_size=4))
def test_what_is_sealed_opens_to_the_same_bytes(plain: bytes, associated: list[str]) -> None:
    key_id, sealed = OLD.seal(plain, tuple(associated))
    assert key_id == "k1"
    assert NEW.open(key_id, sealed, tuple(associated)) == plain


def test_no_byte_of_it_shows() -> None:
    _, sealed = OLD.seal(b"card 4242424242424242", EVENT)
    assert b"4242" not in sealed


def test_the_same_is_never_sealed_alike() -> None:
    assert OLD.seal(b"same", EVENT) != OLD.seal(b"same", EVENT)


def test_a_stripe_event_becomes_smaller() -> None:
    body = SAMPLE.read_bytes()
    assert len(OLD.seal(body, EVENT)[1]) < len(body) / 2


class TestBroken:
    @quick
    @given(place=st.integers(0), bit=st.integers(0, 7))
    def test_by_any_changed_bit(self, place: int, bit: int) -> None:
        key_id, sealed = OLD.seal(b"some body", EVENT)
        changed = bytearray(sealed)
        changed[place % len(changed)] ^= 1 << bit
        with pytest.raises(SealBroken):
            OLD.open(key_id, bytes(changed), EVENT)

    @quick
    @given(length=st.integers(0, 60))
    def test_by_a_cut(self, length: int) -> None:
        key_id, sealed = OLD.seal(os.urandom(60), EVENT)
        with pytest.raises(SealBroken):
            OLD.open(key_id, sealed[:length], EVENT)

    @pytest.mark.parametrize(
        "elsewhere",
        [("stripe", "default", "evt_2"), ("stripe", "defaultevt_1", ""), ("stripedefault", "evt_1"), (), (*EVENT, "")],
    )
    def test_by_belonging_elsewhere(self, elsewhere: tuple[str, ...]) -> None:
        key_id, sealed = OLD.seal(b"some body", EVENT)
        with pytest.raises(SealBroken, match="does not fit"):
            OLD.open(key_id, sealed, elsewhere)

    def test_by_another_key(self) -> None:
        _, sealed = OLD.seal(b"some body", EVENT)
        with pytest.raises(SealBroken, match="does not fit key 'k2'"):
            NEW.open("k2", sealed, EVENT)

    def test_by_a_key_that_is_gone(self) -> None:
        key_id, sealed = NEW.seal(b"some body", EVENT)
        with pytest.raises(UnknownKey, match="sealed with key 'k2'; the keyring has k1"):
            OLD.open(key_id, sealed, EVENT)

    def test_by_a_bomb(self) -> None:
        key_id, sealed = OLD.seal(bytes(50_000_000), EVENT)
        assert len(sealed) < 100_000
        with pytest.raises(SealBroken, match="larger than"):
            OLD.open(key_id, sealed, EVENT)

    def test_as_large_as_is_allowed(self) -> None:
        key_id, sealed = OLD.seal(bytes(1000), EVENT)
        assert len(OLD.open(key_id, sealed, EVENT, most_bytes=1000)) == 1000
        with pytest.raises(SealBroken, match="larger than 999 bytes"):
            OLD.open(key_id, sealed, EVENT, most_bytes=999)

    @pytest.mark.parametrize("inside", [b"not compressed", zlib.compress(b"some body")[:-3], b""])
    def test_by_what_another_program_sealed(self, inside: bytes) -> None:
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + AESGCM(bytes([1]) * 32).encrypt(nonce, inside, b"")
        assert len(sealed) == NONCE_BYTES + len(inside) + TAG_BYTES
        with pytest.raises(SealBroken, match=r"compressed|cut short"):
            OLD.open("k1", sealed, ())


class TestKeyring:
    @pytest.mark.parametrize(
        "secret",
        [
            {},
            {"current": "k1"},
            {"current": "k1", "keys": {}},
            {"current": "k2", "keys": {"k1": KEY_1}},
            {"current": None, "keys": {"k1": KEY_1}},
            {"current": "k1", "keys": [KEY_1]},
            {"current": "k1", "keys": {"k1": "planted"}},
            {"current": "k1", "keys": {"k1": KEY_1[:-4]}},
            {"current": "k1", "keys": {"k1": KEY_1 + "\n"}},
            {"current": "k1", "keys": {"k1": "gr\u00fc\u00dfe"}},
            {"current": "k1", "keys": {"k1": None}},
        ],
    )
    def test_a_secret_that_is_none(self, secret: dict[str, Any]) -> None:
        with pytest.raises(SettingError, match="data key") as raised:
            Keyring(secret)
        assert "planted" not in str(raised.value)

    def test_does_not_show_its_keys(self) -> None:
        assert repr(NEW) == "<Keyring of k1, k2; current k2>"

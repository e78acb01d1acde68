"""Signatures are those of Standard Webhooks: its own vectors, its rules for keys, and every way to be wrong."""

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.errors import SettingError, SignatureRefused
from gatehouse.forwarding.sign import key_of, message_id, new_secret, sign, verify

pytestmark = pytest.mark.req("R2")

# The known answer of the libraries of github.com/standard-webhooks/standard-webhooks (b2fa7b87, libraries/*/tests).
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def headers(signature: str = SIGNATURE, **changes: str) -> dict[str, str]:
    said = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": signature}
    return said | {name.replace("_", "-"): value for name, value in changes.items()}


def refusal(said: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,), now: float = AT) -> str:
    with pytest.raises(SignatureRefused) as raised:
        verify(said, body, secrets, now=now)
    return str(raised.value)


class TestSign:
    def test_known_answer(self) -> None:
        assert sign(BODY, ID, AT, [SECRET]) == SIGNATURE

    def test_one_signature_for_each_secret_in_their_order(self) -> None:
        both = sign(BODY, ID, AT, [OTHER, SECRET])
        assert both == f"{sign(BODY, ID, AT, [OTHER])} {SIGNATURE}"
        for secret in (OTHER, SECRET):  # the app may still have the old one, or already the new one
            assert verify(headers(both), BODY, [secret], now=AT) == ID

    @pytest.mark.parametrize("wrong", ["", "msg.1", "msg 1", "msg\r\nx", "msg_é", "m" * 101, "msg_1\n"])
    def test_an_id_that_cannot_be_one(self, wrong: str) -> None:
        with pytest.raises(ValueError, match="cannot be a message's id"):
            sign(BODY, wrong, AT, [SECRET])

    def test_never_without_a_secret(self) -> None:
        with pytest.raises(SettingError, match="no secret to sign with"):
            sign(BODY, ID, AT, [])

    @settings(deadline=None, derandomize=True, max_examples=100, database=None)
    @given(body=st.binary(max_size=300), at=st.integers(0, 10**11), keys=st.lists(st.binary(min_size=24, max_size=64)))
    def test_whoever_has_one_of_the_secrets_can_check(self, body: bytes, at: int, keys: list[bytes]) -> None:
        secrets = ["whsec_" + base64.b64encode(key).decode() for key in keys] or [SECRET]
        said = headers(sign(body, ID, at, secrets), webhook_timestamp=str(at))
        for secret in secrets:
            assert verify(said, body, [secret], now=at) == ID
        with pytest.raises(SignatureRefused):
            verify(said, body + b" ", secrets, now=at)


class TestKeys:
    @pytest.mark.parametrize("length", [24, 32, 64])
    @pytest.mark.parametrize("is_padded", [True, False])
    def test_are_what_the_base64_says(self, length: int, is_padded: bool) -> None:
        encoded = base64.b64encode(bytes(range(length))).decode()
        assert key_of("whsec_" + (encoded if is_padded else encoded.rstrip("="))) == bytes(range(length))

    @pytest.mark.parametrize(
        ("secret", "complaint"),
        [
            ("", "begins with whsec_"),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
            ("whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "begins with whsec_"),
            ("whsec_", "24 to 64 bytes after decoding; this one has 0"),
            ("whsec_" + base64.b64encode(bytes(23)).decode(), "this one has 23"),
            ("whsec_" + base64.b64encode(bytes(65)).decode(), "this one has 65"),
            ("whsec_not base64 at all, whatever its length is", "is base64 after whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS-", "is base64 after whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", "is base64 after whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwM", "is base64 after whsec_"),
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaé", "is base64 after whsec_"),
        ],
    )
    def test_that_are_none(self, secret: str, complaint: str) -> None:
        with pytest.raises(SettingError, match=re.escape(complaint)) as raised:
            sign(BODY, ID, AT, [SECRET, secret])
        content = secret.removeprefix("whsec_").strip()
        assert not content or content not in f"{raised.value!r} {raised.value.__cause__!r}"

    def test_a_new_secret_holds_256_random_bits(self) -> None:
        assert new_secret(lambda count: bytes(range(count))) == OTHER
        made = {new_secret() for _ in range(50)}
        assert len(made) == 50
        assert {len(key_of(secret)) for secret in made} == {32}


class TestMessageIds:
    def test_are_the_same_for_the_same_event_and_fit_into_a_signature(self) -> None:
        known = message_id("stripe", "acct_1", "evt.1")
        assert known == message_id("stripe", "acct_1", "evt.1")
        assert re.fullmatch("msg_[a-z2-7]{32}", known)
        assert sign(BODY, known, AT, [SECRET])

    def test_differ_wherever_the_parts_do(self) -> None:
        told = {message_id(*parts) for parts in [("a", "b"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("a\x00b",), ()]}
        assert len(told) == 6


class TestVerify:
    def test_known_answer(self) -> None:
        assert verify(headers(), BODY, [SECRET], now=AT) == ID

    def test_names_of_headers_in_any_case(self) -> None:
        assert verify({name.title(): value for name, value in headers().items()}, BODY, [SECRET], now=AT) == ID

    @pytest.mark.parametrize(
        "signature",
        [
            f"v1a,AAAA v2,BBBB {SIGNATURE}",
            f"v1,{base64.b64encode(bytes(32)).decode()} {SIGNATURE}",
            f"v1 v1, v1,*** nonsense ,  {SIGNATURE}",
            f"{SIGNATURE} v1,é",
        ],
    )
    def test_one_good_signature_is_enough_and_what_is_unknown_is_skipped(self, signature: str) -> None:
        assert verify(headers(signature), BODY, [SECRET], now=AT) == ID

    @pytest.mark.parametrize("missing", ["webhook-id", "webhook-timestamp", "webhook-signature"])
    def test_a_header_is_missing(self, missing: str) -> None:
        said = {name: value for name, value in headers().items() if name != missing}
        assert missing in refusal(said)

    @pytest.mark.parametrize(
        "signature",
        ["", "v1", "v1,", "v2" + SIGNATURE[2:], SIGNATURE.replace("OE=", "OA="), SIGNATURE + "," + SIGNATURE],
    )
    def test_a_signature_that_is_none(self, signature: str) -> None:
        assert "v1" in refusal(headers(signature)) or "no signature matches" in refusal(headers(signature))

    def test_another_body_id_time_or_secret(self) -> None:
        for complaint in (
            refusal(headers(), BODY + b"\n"),
            refusal(headers(webhook_id="msg_other")),
            refusal(headers(webhook_timestamp=str(AT + 1))),
            refusal(headers(), secrets=(OTHER,)),
            refusal(headers(), secrets=()),
        ):
            assert "no signature matches" in complaint

    @pytest.mark.parametrize("timestamp", ["", "now", "-1", "1614265330.0", " 1614265330", "٣", "9" * 13])
    def test_a_timestamp_that_is_no_time(self, timestamp: str) -> None:
        assert "it is no time" in refusal(headers(webhook_timestamp=timestamp))

    def test_five_minutes_both_ways(self) -> None:
        for seconds in (-300, 300):
            assert verify(headers(), BODY, [SECRET], now=AT + seconds) == ID
        for seconds in (-301, 301):
            assert "more than 300 seconds" in refusal(headers(), now=AT + seconds)

"""Stripe's signature: the published vectors, and one test for each way to be wrong."""

import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.gateways.stripe import verify
from gatehouse.http_request import HttpRequest, read_request

VECTORS: dict[str, dict[str, Any]] = {
    vector["name"]: vector for vector in json.loads(Path(__file__).with_name("signature_vectors.json").read_text())
}
SECRET = "whsec_test_secret"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BODY = b'{"id":"evt_1","object":"event"}'

pytestmark = pytest.mark.req("G1")


def signature(body: bytes, secret: str, timestamp: int | str) -> str:
    return hmac.digest(secret.encode(), f"{timestamp}.".encode() + body, "sha256").hex()


def header(body: bytes = BODY, secret: str = SECRET, at: datetime = NOW) -> str:
    timestamp = int(at.timestamp())
    return f"t={timestamp},v1={signature(body, secret, timestamp)}"


def account(secrets: Sequence[str]) -> GatewayAccount:
    return GatewayAccount("stripe", "default", "default", "both", tuple(secrets))


def request(stripe_signature: str | None, body: bytes = BODY) -> HttpRequest:
    headers = {} if stripe_signature is None else {"stripe-signature": stripe_signature}
    return read_request({"headers": headers}, now=NOW)._replace(body=body)


def refusal(stripe_signature: str | None, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verify(request(stripe_signature, body), account(secrets), now=NOW)
    assert refused.value.http_status == 400
    assert not any(secret.strip() and secret in str(refused.value) for secret in secrets)
    return str(refused.value)


def vector_case(name: str) -> tuple[HttpRequest, str, datetime]:
    vector = VECTORS[name]
    sent = request(vector["header"], vector["body"].encode())
    return sent, vector["secret"], datetime.fromtimestamp(vector["timestamp"], UTC)


class TestVectors:
    def test_known_answer_of_stripe_dotnet(self) -> None:
        sent, secret, _ = vector_case("stripe-dotnet known answer")
        assert verify(sent, account([secret]), now=datetime.fromtimestamp(1533204720, UTC)) == Verified(0)
        with pytest.raises(SignatureRefused, match="older than 300 seconds"):
            verify(sent, account([secret]), now=datetime.fromtimestamp(1533205020, UTC))

    def test_the_whole_text_of_the_secret_is_the_key(self) -> None:
        sent, secret, at = vector_case("computed here: whole whsec_ text is the key")
        assert verify(sent, account([secret]), now=at) == Verified(0)

    @pytest.mark.req("G11")
    @pytest.mark.parametrize("secret", ["whsec_old_example", "whsec_new_example"])
    def test_either_secret_is_good_while_one_is_rolled(self, secret: str) -> None:
        sent, _, at = vector_case("computed here: two v1 entries during a secret roll")
        assert verify(sent, account([secret]), now=at) == Verified(0)

    def test_v0_is_never_accepted(self) -> None:
        sent, secret, at = vector_case("computed here: only v0 present")
        with pytest.raises(SignatureRefused, match="no v1"):
            verify(sent, account([secret]), now=at)

    def test_no_vector_is_left_out(self) -> None:
        assert len(VECTORS) == 4


class TestGood:
    @pytest.mark.req("G11")
    def test_says_which_secret_matched(self) -> None:
        assert verify(request(header()), account(["whsec_new", SECRET]), now=NOW) == Verified(1)

    def test_the_body_is_bytes_and_need_not_be_text(self) -> None:
        body = b"\xff\x00\xfe"
        assert verify(request(header(body), body), account([SECRET]), now=NOW) == Verified(0)

    def test_header_names_have_no_case(self) -> None:
        sent = read_request({"headers": {"STRIPE-Signature": header()}, "body": BODY.decode()}, now=NOW)
        assert verify(sent, account([SECRET]), now=NOW) == Verified(0)

    def test_as_old_as_is_tolerated(self) -> None:
        sent = request(header(at=NOW - timedelta(seconds=300)))
        assert verify(sent, account([SECRET]), now=NOW) == Verified(0)

    def test_a_timestamp_ahead_of_our_clock(self) -> None:
        assert verify(request(header(at=NOW + timedelta(hours=1))), account([SECRET]), now=NOW) == Verified(0)

    def test_unknown_schemes_beside_a_good_v1(self) -> None:
        assert verify(request(f"v2=abc,{header()},v0=def,nonsense"), account([SECRET]), now=NOW) == Verified(0)

    def test_an_empty_secret_beside_a_good_one_is_passed_over(self) -> None:
        assert verify(request(header()), account(["", SECRET]), now=NOW) == Verified(1)


class TestWrong:
    def test_no_header(self) -> None:
        assert "no Stripe-Signature" in refusal(None)

    def test_empty_header(self) -> None:
        assert "no Stripe-Signature" in refusal("")

    @pytest.mark.parametrize("malformed", ["nonsense", "t", "=,=,=", ",", "v1", "t=;v1=abc", "\x00", "t 1 v1 abc"])
    def test_malformed_header(self, malformed: str) -> None:
        refusal(malformed)

    @pytest.mark.parametrize(
        "timestamp", ["", "soon", "-1", "1.5", "1e9", "\u0661\u0662", "9" * 13, "0x10", "1_0", " 1"]
    )
    def test_timestamp_that_is_none(self, timestamp: str) -> None:
        assert "no timestamp" in refusal(f"t={timestamp},v1={signature(BODY, SECRET, timestamp)}")

    def test_no_signature(self) -> None:
        assert "no v1" in refusal(f"t={int(NOW.timestamp())}")

    def test_other_secret(self) -> None:
        assert "no signature matches" in refusal(header(secret="whsec_other"))

    def test_other_body(self) -> None:
        assert "no signature matches" in refusal(header(), body=BODY + b"\n")

    def test_truncated_body(self) -> None:
        assert "no signature matches" in refusal(header(), body=BODY[:-1])

    def test_truncated_signature(self) -> None:
        assert "no signature matches" in refusal(header()[:-1])

    def test_other_timestamp(self) -> None:
        moved = int(NOW.timestamp()) - 1
        assert "no signature matches" in refusal(f"t={moved},{header().partition(',')[2]}")

    def test_capital_hex(self) -> None:
        stamp, _, v1 = header().partition(",v1=")
        assert "no signature matches" in refusal(f"{stamp},v1={v1.upper()}")

    def test_v0_beside_a_wrong_v1(self) -> None:
        stamp, _, good = header().partition(",v1=")
        assert "no signature matches" in refusal(f"{stamp},v1={'0' * 64},v0={good}")

    def test_replayed_too_late(self) -> None:
        assert "older than 300 seconds" in refusal(header(at=NOW - timedelta(seconds=301)))

    def test_header_sent_twice(self) -> None:
        # API Gateway joins equal headers with a comma
        assert "more than one timestamp" in refusal(f"{header()},{header(secret='whsec_other')}")

    def test_characters_beyond_ascii(self) -> None:
        assert "no signature matches" in refusal(f"t={int(NOW.timestamp())},v1=gr\u00fc\u00dfe")

    def test_half_a_character(self) -> None:
        assert "no signature matches" in refusal(f"t={int(NOW.timestamp())},v1=\ud800")

    @pytest.mark.parametrize("secrets", [(), ("",), ("", " ")])
    def test_no_secret_but_signed_with_the_empty_one(self, secrets: tuple[str, ...]) -> None:
        assert "no signing secret" in refusal(header(secret=""), secrets=secrets)


@given(
    stripe_signature=st.one_of(
        st.text(max_size=200),
        st.lists(
            st.tuples(st.sampled_from(["t", "v1", "v0", "", "T", "é"]), st.text(max_size=70)).map("=".join), max_size=8
        ).map(",".join),
    ),
    body=st.binary(max_size=200),
)
def test_nothing_but_a_refusal_comes_of_a_stranger(stripe_signature: str, body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify(request(stripe_signature, body), account([SECRET]), now=NOW)


@given(body=st.binary(max_size=500), secret=st.text(min_size=1, max_size=60).filter(str.strip), flipped=st.integers(0))
def test_what_is_signed_verifies_and_any_changed_bit_does_not(body: bytes, secret: str, flipped: int) -> None:
    good = header(body, secret)
    assert verify(request(good, body), account([secret]), now=NOW) == Verified(0)
    if body:
        bit = flipped % (len(body) * 8)
        changed = bytearray(body)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureRefused):
            verify(request(good, bytes(changed)), account([secret]), now=NOW)

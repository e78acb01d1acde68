"""Paystack and SaySwitch sign alike; each way to be wrong is tried at both, and the vectors of both are verified."""

import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import SignatureRefused
from gatehouse.gateways import Verified, paystack, sayswitch
from gatehouse.http_request import HttpRequest, read_request

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "sk_test_invented"
BODY = b'{"event":"charge.success","data":{"id":302961}}'
HEADERS = {"paystack": "x-paystack-signature", "sayswitch": "payloadSignature"}
VECTORS = [
    pytest.param(gateway, vector, id=f"{gateway.NAME}: {vector['name']}")
    for gateway in (paystack, sayswitch)
    for vector in json.loads((Path(__file__).parent / gateway.NAME / "signature_vectors.json").read_text())
]

pytestmark = pytest.mark.req("G3", "G4", "G6")
both = pytest.mark.parametrize("gateway", [paystack, sayswitch], ids=lambda gateway: gateway.NAME)


def signature(body: bytes = BODY, secret: str = SECRET) -> str:
    return hmac.digest(secret.encode(), body, "sha512").hex()


def account(gateway: ModuleType, *secrets: str) -> GatewayAccount:
    return GatewayAccount(gateway.NAME, "default", "default", "both", secrets)


def request(headers: dict[str, str], body: bytes = BODY) -> HttpRequest:
    return read_request({"headers": headers}, now=NOW)._replace(body=body)


def verified(gateway: ModuleType, said: str, body: bytes = BODY, *secrets: str) -> Verified:
    sent = request({HEADERS[gateway.NAME]: said}, body)
    answer: Verified = gateway.verify(sent, account(gateway, *(secrets or (SECRET,))), now=NOW)
    return answer


def refusal(gateway: ModuleType, said: str | None, body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,)) -> str:
    headers = {} if said is None else {HEADERS[gateway.NAME]: said}
    with pytest.raises(SignatureRefused) as refused:
        gateway.verify(request(headers, body), account(gateway, *secrets), now=NOW)
    assert refused.value.http_status == 400
    assert SECRET not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(("gateway", "vector"), VECTORS)
def test_vectors(gateway: ModuleType, vector: dict[str, Any]) -> None:
    sent = request({vector["header_name"]: vector["header"]}, vector["body"].encode())
    assert vector["expect"] == "valid"
    assert gateway.verify(sent, account(gateway, vector["secret"]), now=NOW) == Verified(0)


@both
class TestGood:
    def test_body_as_it_is(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature()) == Verified(0)

    @pytest.mark.req("G11")
    def test_says_which_secret_matched(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature(secret="sk_old"), BODY, "sk_new", "sk_old") == Verified(1)
        assert verified(gateway, signature(secret="sk_new"), BODY, "sk_new", "sk_old") == Verified(0)

    def test_an_empty_secret_beside_a_good_one_is_passed_over(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature(), BODY, "", " ", SECRET) == Verified(2)

    @pytest.mark.parametrize("spelling", [str.upper, str.lower, str.title])
    def test_header_names_have_no_case(self, gateway: ModuleType, spelling: Any) -> None:
        sent = request({spelling(HEADERS[gateway.NAME]): signature()})
        assert gateway.verify(sent, account(gateway, SECRET), now=NOW) == Verified(0)

    def test_upper_case_digits_are_the_same_number(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature().upper()) == Verified(0)

    def test_the_body_is_bytes_and_need_not_be_text(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature(b"\xff\x00"), b"\xff\x00") == Verified(0)

    def test_an_empty_body(self, gateway: ModuleType) -> None:
        assert verified(gateway, signature(b""), b"") == Verified(0)

    def test_what_was_written_anew_is_another_body(self, gateway: ModuleType) -> None:
        slashed = b'{"url":"https:\\/\\/example.com"}'
        assert verified(gateway, signature(slashed), slashed) == Verified(0)
        assert "no signature matches" in refusal(gateway, signature(slashed), b'{"url":"https://example.com"}')


@both
class TestWrong:
    @pytest.mark.parametrize("said", [None, ""])
    def test_no_header(self, gateway: ModuleType, said: str | None) -> None:
        assert refusal(gateway, said) == f"there is no {HEADERS[gateway.NAME]} header"

    def test_the_header_of_the_other(self, gateway: ModuleType) -> None:
        (other,) = set(HEADERS.values()) - {HEADERS[gateway.NAME]}
        with pytest.raises(SignatureRefused, match="there is no"):
            gateway.verify(
                request({other: signature(), "merchantsignature": signature()}), account(gateway, SECRET), now=NOW
            )

    @pytest.mark.parametrize(
        "malformed",
        [
            pytest.param("nonsense", id="no digits"),
            pytest.param("0", id="one digit"),
            pytest.param(signature()[:-1], id="cut by one"),
            pytest.param(signature()[:64], id="cut in half"),
            pytest.param(signature() + "0", id="one too many"),
            pytest.param(f" {signature()}", id="space before"),
            pytest.param(f"{signature()}\n", id="line end after"),
            pytest.param(f"{signature()[:63]} {signature()[64:]}", id="space inside"),
            pytest.param(f"0x{signature()[2:]}", id="0x"),
            pytest.param(f"sha512={signature()}", id="with its algorithm"),
            pytest.param(f"{signature()},{signature()}", id="sent twice, joined by API Gateway"),
            pytest.param("\uff11" * 128, id="digits beyond ASCII"),
            pytest.param("\ud800" * 128, id="half characters"),
            pytest.param("\x00" * 128, id="NUL"),
        ],
    )
    def test_malformed(self, gateway: ModuleType, malformed: str) -> None:
        assert refusal(gateway, malformed) == f"the {HEADERS[gateway.NAME]} header is not 128 hexadecimal digits"

    def test_another_secret(self, gateway: ModuleType) -> None:
        assert "no signature matches" in refusal(gateway, signature(secret="sk_test_other"))

    def test_another_body(self, gateway: ModuleType) -> None:
        assert "no signature matches" in refusal(gateway, signature(), BODY.replace(b"302961", b"302962"))

    def test_a_body_cut_short(self, gateway: ModuleType) -> None:
        assert "no signature matches" in refusal(gateway, signature(), BODY[:-1])

    def test_a_space_more_in_the_body(self, gateway: ModuleType) -> None:
        assert "no signature matches" in refusal(gateway, signature(), BODY + b" ")

    def test_another_hash(self, gateway: ModuleType) -> None:
        sha256 = hmac.digest(SECRET.encode(), BODY, "sha256").hex()
        assert "128 hexadecimal digits" in refusal(gateway, sha256)
        sha3 = hmac.digest(SECRET.encode(), BODY, "sha3_512").hex()
        assert "no signature matches" in refusal(gateway, sha3)

    @pytest.mark.parametrize("secrets", [(), ("",), ("", " ")])
    def test_no_secret_but_signed_with_the_empty_one(self, gateway: ModuleType, secrets: tuple[str, ...]) -> None:
        assert "no signing secret" in refusal(gateway, signature(secret=""), secrets=secrets)


@both
@given(said=st.one_of(st.text(max_size=200), st.text("0123456789abcdefABCDEF", min_size=128, max_size=128)))
def test_nothing_but_a_refusal_comes_of_a_stranger(gateway: ModuleType, said: str) -> None:
    refusal(gateway, said)


@both
@given(body=st.binary(max_size=500), secret=st.text(min_size=1, max_size=60).filter(str.strip), flipped=st.integers(0))
def test_what_is_signed_verifies_and_any_changed_bit_does_not(
    gateway: ModuleType, body: bytes, secret: str, flipped: int
) -> None:
    assert verified(gateway, signature(body, secret), body, secret) == Verified(0)
    if body:
        bit = flipped % (len(body) * 8)
        changed = bytearray(body)
        changed[bit // 8] ^= 1 << bit % 8
        assert "no signature matches" in refusal(gateway, signature(body, secret), bytes(changed), (secret,))

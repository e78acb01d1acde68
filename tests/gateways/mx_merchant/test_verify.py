"""MX Merchant signs nothing: the token, the merchantId, the header where there is one, and every way to be wrong."""

import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import RequestRefused, SettingError, SignatureRefused
from gatehouse.gateways import Verified
from gatehouse.gateways.mx_merchant import verify
from gatehouse.http_request import HttpRequest, read_request

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOKEN = "invented-token-of-32-characters-"
OLD_TOKEN = "another-token-that-is-on-its-way-out"
MERCHANT_ID = "418355562"
HMAC_SECRET = "invented-hmac-secret"
BODY = json.dumps({"eventType": "PaymentSuccess", "merchantId": MERCHANT_ID, "id": "22343388"}).encode()

pytestmark = pytest.mark.req("G5", "G7")


def account(*tokens: str, **more: Any) -> GatewayAccount:
    said = {"merchant_id": MERCHANT_ID} | more
    return GatewayAccount("mx_merchant", "default", "default", "both", tokens or (TOKEN,), said)


def request(token: str | None = TOKEN, body: bytes = BODY, headers: dict[str, str] | None = None) -> HttpRequest:
    path_parameters = {} if token is None else {"token": token}
    event = {"headers": headers or {}, "pathParameters": path_parameters}
    return read_request(event, now=NOW)._replace(body=body)


def refusal(sent: HttpRequest, of: GatewayAccount | None = None) -> str:
    with pytest.raises(SignatureRefused) as refused:
        verify(sent, of or account(), now=NOW)
    assert refused.value.http_status == 401
    assert refused.value.code == "SIGNATURE_REFUSED"
    assert not any(secret in str(refused.value) for secret in (TOKEN, OLD_TOKEN, HMAC_SECRET))
    return str(refused.value)


class TestToken:
    def test_good(self) -> None:
        assert verify(request(), account(), now=NOW) == Verified(0)

    @pytest.mark.req("G11")
    def test_says_which_token_matched(self) -> None:
        both = account(TOKEN, OLD_TOKEN)
        assert verify(request(TOKEN), both, now=NOW) == Verified(0)
        assert verify(request(OLD_TOKEN), both, now=NOW) == Verified(1)

    @pytest.mark.parametrize("token", [None, ""])
    def test_missing(self, token: str | None) -> None:
        assert refusal(request(token)) == "there is no token in the URL"

    @pytest.mark.parametrize(
        "token",
        [
            pytest.param(OLD_TOKEN, id="another's"),
            pytest.param(TOKEN[:-1], id="cut by one"),
            pytest.param(f"{TOKEN}x", id="one too many"),
            pytest.param(TOKEN.upper(), id="in upper case"),
            pytest.param(f" {TOKEN}", id="space before"),
            pytest.param(f"{TOKEN}\n", id="line end after"),
            pytest.param(f"{TOKEN},{TOKEN}", id="twice"),
            pytest.param("\x00", id="NUL"),
            pytest.param("gr\u00fc\u00dfe", id="beyond ASCII"),
            pytest.param("x" * 100_000, id="long"),
        ],
    )
    def test_wrong(self, token: str) -> None:
        assert refusal(request(token)) == "the token in the URL is not this account's"

    def test_half_characters_are_no_token(self) -> None:
        sent = request()._replace(path_parameters={"token": "\ud800" * 32})  # a request that was read holds none
        assert refusal(sent) == "the token in the URL is not this account's"

    def test_only_the_url_can_hold_it(self) -> None:
        sent = request(None, headers={"token": TOKEN, "authorization": f"Bearer {TOKEN}"})
        assert refusal(sent) == "there is no token in the URL"

    @pytest.mark.req("D5")
    def test_on_the_older_route_the_query_holds_it(self) -> None:
        assert verify(request(None)._replace(query={"token": TOKEN}), account(), now=NOW) == Verified(0)

    @pytest.mark.parametrize("tokens", [("",), ("", " ")])
    @pytest.mark.parametrize("said", ["", " ", None])
    def test_no_token_is_configured(self, tokens: tuple[str, ...], said: str | None) -> None:
        assert refusal(request(said), account(*tokens)) == "no token is configured for this endpoint"

    def test_an_empty_token_beside_a_good_one_is_passed_over(self) -> None:
        assert verify(request(), account("", TOKEN), now=NOW) == Verified(1)

    @pytest.mark.parametrize("tokens", [(TOKEN[:31],), (TOKEN, "short"), ("short", TOKEN)])
    def test_one_that_can_be_guessed_is_a_wrong_setting(self, tokens: tuple[str, ...]) -> None:
        with pytest.raises(SettingError, match="fewer than 32 characters") as refused:
            verify(request(tokens[0]), account(*tokens), now=NOW)
        assert not any(token in str(refused.value) for token in tokens)


class TestMerchant:
    @pytest.mark.parametrize("said", ["418355562", 418355562])
    @pytest.mark.parametrize("configured", ["418355562", 418355562])
    def test_a_number_or_a_text(self, said: object, configured: object) -> None:
        sent = request(body=json.dumps({"merchantId": said}).encode())
        assert verify(sent, account(merchant_id=configured), now=NOW) == Verified(0)

    @pytest.mark.parametrize(
        "said", ["418355563", 418355563, "", None, True, ["418355562"], {}, " 418355562", "0418355562", 418355562.0]
    )
    def test_of_another(self, said: object) -> None:
        sent = request(body=json.dumps({"eventType": "PaymentSuccess", "merchantId": said}).encode())
        assert refusal(sent) == "the merchantId in the body is not this account's"

    def test_none(self) -> None:
        assert refusal(request(body=b'{"xmid": "418355562"}')) == "the merchantId in the body is not this account's"

    @pytest.mark.parametrize(
        "body", [b"", b"merchantId=418355562", BODY[:-1], b"\xff", b"[]", b'{"merchantId": 1, "merchantId": 418355562}']
    )
    def test_a_body_that_is_no_json(self, body: bytes) -> None:
        with pytest.raises(RequestRefused) as refused:
            verify(request(body=body), account(), now=NOW)
        assert (refused.value.code, refused.value.http_status) == ("NOT_JSON", 400)

    def test_a_strangers_body_is_not_read(self) -> None:
        assert refusal(request("x" * 40, body=b"[" * 500_000)) == "the token in the URL is not this account's"

    @pytest.mark.parametrize("configured", [None, "", [], True])
    def test_not_configured(self, configured: object) -> None:
        with pytest.raises(SettingError, match="must say its merchant_id"):
            verify(request(), account(merchant_id=configured), now=NOW)


class TestHeader:
    """An HMAC of the body, where the account says that there is one."""

    def signed(self, body: bytes = BODY, secret: str = HMAC_SECRET, algorithm: str = "sha256") -> HttpRequest:
        signature = hmac.digest(secret.encode(), body, algorithm).hex()
        return request(body=body, headers={"X-MX-Signature": signature})

    def with_hmac(self, **changes: Any) -> GatewayAccount:
        return account(hmac={"header": "X-Mx-Signature", "algorithm": "sha256", "secrets": [HMAC_SECRET]} | changes)

    def test_good(self) -> None:
        assert verify(self.signed(), self.with_hmac(), now=NOW) == Verified(0)

    def test_sha512(self) -> None:
        assert verify(self.signed(algorithm="sha512"), self.with_hmac(algorithm="sha512"), now=NOW) == Verified(0)

    @pytest.mark.req("G11")
    def test_an_old_secret(self) -> None:
        of = self.with_hmac(secrets=["the-new-one", HMAC_SECRET])
        assert verify(self.signed(), of, now=NOW) == Verified(0)

    def test_is_not_looked_at_where_none_is_configured(self) -> None:
        assert verify(request(headers={"x-mx-signature": "nonsense"}), account(), now=NOW) == Verified(0)

    def test_missing(self) -> None:
        assert refusal(request(), self.with_hmac()) == "there is no X-Mx-Signature header"

    @pytest.mark.parametrize("said", ["nonsense", "0" * 63, "0" * 65, f"{'0' * 64},{'0' * 64}", "\ud800" * 64])
    def test_malformed(self, said: str) -> None:
        sent = request(headers={"x-mx-signature": said})
        assert refusal(sent, self.with_hmac()) == "the X-Mx-Signature header is not 64 hexadecimal digits"

    def test_another_secret(self) -> None:
        assert "no signature matches" in refusal(self.signed(secret="other"), self.with_hmac())

    def test_another_body(self) -> None:
        assert "no signature matches" in refusal(self.signed()._replace(body=BODY + b" "), self.with_hmac())

    def test_a_good_one_does_not_stand_for_the_token(self) -> None:
        sent = self.signed()._replace(path_parameters={"token": "x" * 40})
        assert refusal(sent, self.with_hmac()) == "the token in the URL is not this account's"

    @pytest.mark.parametrize(
        "broken",
        [
            {"header": ""},
            {"header": None},
            {"algorithm": "md5"},
            {"algorithm": None},
            {"algorithm": ["sha256"]},
            {"secrets": []},
            {"secrets": ["", " "]},
            {"secrets": HMAC_SECRET},
            {"secrets": None},
        ],
    )
    def test_half_a_configuration_lets_nobody_in(self, broken: dict[str, Any]) -> None:
        with pytest.raises(SettingError, match="the hmac of the account mx_merchant/default") as refused:
            verify(self.signed(), self.with_hmac(**broken), now=NOW)
        assert HMAC_SECRET not in str(refused.value)

    @pytest.mark.parametrize("broken", ["sha256", [], 1, False])
    def test_a_configuration_of_another_type_lets_nobody_in(self, broken: object) -> None:
        with pytest.raises(SettingError, match="is not an object"):
            verify(self.signed(), account(hmac=broken), now=NOW)


@given(token=st.text(max_size=60), body=st.binary(max_size=200))
def test_nothing_but_a_refusal_comes_of_a_stranger(token: str, body: bytes) -> None:
    refusal(request(token, body))


@given(body=st.binary(max_size=200))
def test_nor_of_one_who_knows_the_token(body: bytes) -> None:
    with pytest.raises(RequestRefused) as refused:
        verify(request(body=body), account(), now=NOW)
    assert refused.value.http_status in (400, 401)

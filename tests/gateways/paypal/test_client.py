"""PayPal's own word on a signature: what it is asked, what it answers, and its silence."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import GatewayError, RequestRefused, SettingError, SignatureRefused
from gatehouse.gateways import paypal
from gatehouse.gateways.paypal.client import (
    LIVE_URL,
    SANDBOX_URL,
    TOKEN_PATH,
    VERIFY_PATH,
    PaypalClient,
    kept_client,
)
from gatehouse.gateways.paypal.verify import read_transmission
from tests.support.paypal_signing import LIVE_URL as CERTIFICATE_URL
from tests.support.paypal_signing import SENT_AT, request_of, rsa_key, signed_headers

ID, SECRET, TOKEN = "AeInventedClient", "EInventedSecret", "A21AAInventedToken"
BODY = b'{"id": "WH-1",\n "amount": 1.0, "text": "\\u00fc\xc3\xbc"}'
HEADERS = signed_headers(BODY, key=rsa_key(), url=CERTIFICATE_URL, webhook_id="WEBHOOK-1")
TRANSMISSION = read_transmission(request_of(HEADERS, BODY), now=SENT_AT, stand_in_host="")

pytestmark = pytest.mark.req("G2")


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """PayPal's API: gives tokens, and answers the question as it is told."""

    def __init__(self, answer: object = None, status: int = 200) -> None:
        self.answer = {"verification_status": "SUCCESS"} if answer is None else answer
        self.status = status
        self.token_answer: httpx.Response | None = None
        self.tokens = 0
        self.questions: list[httpx.Request] = []
        self.refused_tokens: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            credentials = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()
            assert request.headers["authorization"] == f"Basic {credentials}"
            assert request.content == b"grant_type=client_credentials"
            if self.token_answer:
                return self.token_answer
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"{TOKEN}{self.tokens}", "expires_in": 32400})
        self.questions.append(request)
        if request.headers["authorization"].removeprefix("Bearer ") in self.refused_tokens:
            return httpx.Response(401, json={"error": "invalid_token"})
        content = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return httpx.Response(self.status, content=content)


def client(answer: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float] | None = None) -> PaypalClient:
    return PaypalClient(
        ID, SECRET, "https://paypal.test", clock=clock or Clock(), transport=httpx.MockTransport(answer)
    )


def asked(of: PaypalClient, body: bytes = BODY) -> bool:
    return of.has_signed(TRANSMISSION, "WEBHOOK-1", body)


def failure(of: PaypalClient) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        asked(of)
    shown = f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
    assert not any(secret in shown for secret in (SECRET, TOKEN))
    return raised.value


class TestQuestion:
    def test_holds_the_body_as_it_stands(self) -> None:
        api = Api()
        assert asked(client(api))
        (question,) = api.questions
        assert (question.method, question.url.path) == ("POST", VERIFY_PATH)
        assert question.headers["content-type"] == "application/json"
        assert question.headers["authorization"] == f"Bearer {TOKEN}1"
        assert question.content.endswith(b', "webhook_event": ' + BODY + b"}")
        said = json.loads(question.content)
        del said["webhook_event"]
        assert said == {
            "auth_algo": HEADERS["PAYPAL-AUTH-ALGO"],
            "cert_url": HEADERS["PAYPAL-CERT-URL"],
            "transmission_id": HEADERS["PAYPAL-TRANSMISSION-ID"],
            "transmission_sig": HEADERS["PAYPAL-TRANSMISSION-SIG"],
            "transmission_time": HEADERS["PAYPAL-TRANSMISSION-TIME"],
            "webhook_id": "WEBHOOK-1",
        }

    @pytest.mark.parametrize(
        "body",
        [
            b'{}, "webhook_id": "OF-ANOTHER"',
            b'{"id": "WH-1"}, "webhook_id": "OF-ANOTHER", "webhook_event": {}',
            b"",
            b"null",
            b'{"id": "WH-1"',
            b'{"id": "\xff"}',
        ],
    )
    def test_a_body_cannot_leave_its_place(self, body: bytes) -> None:
        api = Api()
        with pytest.raises(RequestRefused) as refused:
            asked(client(api), body)
        assert (refused.value.code, api.questions) == ("NOT_JSON", [])


class TestAnswer:
    def test_failure(self) -> None:
        assert not asked(client(Api({"verification_status": "FAILURE"})))

    @pytest.mark.parametrize("status", [400, 422])
    def test_headers_that_make_no_sense(self, status: int) -> None:
        assert not asked(client(Api({"name": "VALIDATION_ERROR"}, status)))

    @pytest.mark.parametrize(
        "answer", [{}, {"verification_status": "success"}, {"verification_status": None}, [], b"", b"<html>", b'{"veri']
    )
    def test_neither_yes_nor_no(self, answer: object) -> None:
        assert failure(client(Api(answer))).retry_helps is True

    def test_no_content(self) -> None:
        assert failure(client(Api(b"", 204))).retry_helps is True

    @pytest.mark.parametrize(("status", "helps"), [(302, False), (403, False), (404, False), (429, True), (500, True)])
    def test_refusal(self, status: int, helps: bool) -> None:
        said = {"name": "NOT_AUTHORIZED", "message": f"your secret {SECRET}", "debug_id": "b1d1f06c7246c"}
        refused = failure(client(Api(said, status)))
        assert refused.retry_helps is helps
        assert f"PayPal answered {status} (NOT_AUTHORIZED, debug id b1d1f06c7246c)" in str(refused)
        assert refused.answered_status == status

    @pytest.mark.parametrize("reason", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
    def test_silence(self, reason: type[httpx.TransportError]) -> None:
        def silent(request: httpx.Request) -> httpx.Response:
            raise reason("no answer", request=request)

        assert f"PayPal did not answer POST {TOKEN_PATH}: {reason.__name__}" in str(failure(client(silent)))

        def silent_later(request: httpx.Request) -> httpx.Response:
            return Api()(request) if request.url.path == TOKEN_PATH else silent(request)

        assert f"PayPal did not answer POST {VERIFY_PATH}: {reason.__name__}" in str(failure(client(silent_later)))


class TestToken:
    def test_is_used_again_until_shortly_before_it_ends(self) -> None:
        api, clock = Api(), Clock()
        of = client(api, clock)
        for _ in range(3):
            assert asked(of)
        assert api.tokens == 1
        clock.now += 32400 - 59
        assert asked(of)
        assert api.tokens == 2

    def test_is_renewed_once_when_paypal_no_longer_knows_it(self) -> None:
        api = Api()
        of = client(api)
        assert asked(of)
        api.refused_tokens = {f"{TOKEN}1"}
        assert asked(of)
        assert (api.tokens, len(api.questions)) == (2, 3)
        api.refused_tokens = {f"{TOKEN}{number}" for number in range(10)}
        assert "PayPal answered 401 (invalid_token, debug id unknown)" in str(failure(of))
        assert (api.tokens, len(api.questions)) == (3, 5)

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(401, json={"error": "invalid_client", "error_description": f"not {SECRET}"}),
            httpx.Response(200, json={}),
            httpx.Response(200, json={"access_token": "with\nline"}),
            httpx.Response(200, json={"access_token": 7}),
            httpx.Response(200, content=b"<html>"),
            httpx.Response(503),
        ],
    )
    def test_none_is_given(self, answer: httpx.Response) -> None:
        api = Api()
        api.token_answer = answer
        failure(client(api))
        assert api.questions == []

    @pytest.mark.parametrize("expires_in", [None, "soon", -1, 1.5, []])
    def test_that_does_not_say_how_long_it_lasts_is_used_once(self, expires_in: object) -> None:
        api = Api()
        api.token_answer = httpx.Response(200, json={"access_token": TOKEN, "expires_in": expires_in})
        assert asked(client(api))


class TestSecrets:
    def test_do_not_show(self) -> None:
        of = client(Api())
        asked(of)
        assert repr(of) == "<PaypalClient https://paypal.test>"
        assert not any(secret in repr(vars(of)) for secret in (SECRET, TOKEN))
        of.close()

    @pytest.mark.parametrize("credential", ["", " ", "a b", "a:b", "a\n", "\u00e9"])
    def test_that_cannot_be_some(self, credential: str) -> None:
        for pair in ((credential, SECRET), (ID, credential)):
            with pytest.raises(SettingError) as raised:
                PaypalClient(*pair, "https://paypal.test")
            assert SECRET not in str(raised.value)

    def test_an_apps_client_is_made_once(self) -> None:
        one = kept_client(ID, SECRET, "https://paypal.test")
        assert kept_client(ID, SECRET, "https://paypal.test") is one
        assert kept_client(ID, "EAnother", "https://paypal.test") is not one


class TestWay:
    """How an account says which way its requests are verified."""

    def account(self, **more: Any) -> GatewayAccount:
        return GatewayAccount("paypal", "default", "default", "live", ("WEBHOOK-1",), more)

    def verify(self, **more: Any) -> None:
        paypal.verify(request_of(HEADERS, BODY), self.account(**more), now=SENT_AT)

    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ({"verification": "none"}, "must be certificate or postback"),
            ({"verification": None}, "must be certificate or postback"),
            ({"verification": "postback"}, "needs client_id and client_secret"),
            ({"verification": "postback", "client_id": ID}, "needs client_id and client_secret"),
        ],
    )
    def test_that_is_none(self, more: dict[str, Any], reason: str) -> None:
        with pytest.raises(SettingError, match=reason):
            self.verify(**more)

    @pytest.mark.parametrize("more", [{}, {"verification": "postback", "client_id": ID, "client_secret": SECRET}])
    def test_what_cannot_be_is_refused_either_way(self, more: dict[str, Any]) -> None:
        with pytest.raises(SignatureRefused):
            paypal.verify(request_of({}, BODY), self.account(**more), now=SENT_AT)

    def test_each_paypal_has_its_own_address(self) -> None:
        assert (LIVE_URL, SANDBOX_URL) == ("https://api-m.paypal.com", "https://api-m.sandbox.paypal.com")

"""Stripe's API as the fee job sees it: answers, refusals, silence."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, SettingError
from gatehouse.gateways.stripe.client import API_VERSION, Fee, StripeClient

KEY = "rk_test_invented"
PATH = "/v1/payment_intents/pi_1"

pytestmark = pytest.mark.req("G17")


def client(answer: Callable[[httpx.Request], httpx.Response]) -> StripeClient:
    return StripeClient(KEY, "https://stripe.test", transport=httpx.MockTransport(answer))


def intent(balance_transaction: object) -> dict[str, Any]:
    return {"id": "pi_1", "latest_charge": {"id": "ch_1", "balance_transaction": balance_transaction}}


def answering(status: int, body: object, headers: dict[str, str] | None = None) -> StripeClient:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client(lambda _: httpx.Response(status, content=content, headers=headers))


def failure(of: StripeClient) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        of.payment_fee("payment_intent", "pi_1")
    assert KEY not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
    return raised.value


class TestFee:
    def test_of_a_payment_intent(self) -> None:
        asked: list[httpx.Request] = []

        def answer(request: httpx.Request) -> httpx.Response:
            asked.append(request)
            return httpx.Response(200, json=intent({"id": "txn_1", "fee": 164, "currency": "eur"}))

        assert client(answer).payment_fee("payment_intent", "pi_1") == Fee(164, "EUR")
        (request,) = asked
        assert request.method == "GET"
        assert request.url.path == PATH
        assert dict(request.url.params) == {"expand[]": "latest_charge.balance_transaction"}
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert request.headers["stripe-version"] == API_VERSION

    def test_of_a_charge(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            assert str(request.url) == "https://stripe.test/v1/charges/ch_1?expand%5B%5D=balance_transaction"
            return httpx.Response(200, json={"id": "ch_1", "balance_transaction": {"fee": 88, "currency": "usd"}})

        assert client(answer).payment_fee("charge", "ch_1") == Fee(88, "USD")

    def test_in_the_currencys_own_minor_units(self) -> None:
        assert answering(200, intent({"fee": 15000, "currency": "isk"})).payment_fee("payment_intent", "pi_1") == (
            150,
            "ISK",
        )

    @pytest.mark.parametrize(
        "said",
        [
            intent(None),
            intent("txn_not_expanded"),
            {"id": "pi_1", "latest_charge": None},
            {"id": "pi_1", "latest_charge": "ch_1"},
            {},
        ],
    )
    def test_not_known_yet(self, said: dict[str, Any]) -> None:
        assert answering(200, said).payment_fee("payment_intent", "pi_1") is None

    def test_an_id_cannot_lead_elsewhere(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            assert request.url.raw_path.startswith(b"/v1/charges/..%2Faccounts%3Fx%3D?")
            return httpx.Response(200, json={})

        assert client(answer).payment_fee("charge", "../accounts?x=") is None


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "retry_helps"),
        [(400, False), (401, False), (403, False), (404, False), (302, False), (409, True), (429, True), (500, True)],
    )
    def test_a_retry_helps_or_not(self, status: int, retry_helps: bool) -> None:
        refused = failure(answering(status, {"error": {"type": "invalid_request_error", "code": "resource_missing"}}))
        assert refused.retry_helps is retry_helps
        assert f"Stripe answered {status} (invalid_request_error, resource_missing) to GET {PATH}" in str(refused)

    def test_stripes_own_word_on_retrying_goes_first(self) -> None:
        assert failure(answering(500, {}, {"stripe-should-retry": "false"})).retry_helps is False
        assert failure(answering(402, {}, {"stripe-should-retry": "true"})).retry_helps is True

    @pytest.mark.parametrize(
        ("said", "seconds"), [("7", 7.0), ("999999", 3600.0), ("soon", None), ("-1", None), ("\xb2", None)]
    )
    def test_retry_after(self, said: str, seconds: float | None) -> None:
        refused = failure(client(lambda _: httpx.Response(429, headers=[(b"retry-after", said.encode("latin-1"))])))
        assert refused.retry_after_seconds == seconds

    def test_the_sentence_is_not_repeated_for_it_may_quote_the_key(self) -> None:
        refused = failure(answering(401, {"error": {"message": f"Invalid API Key provided: {KEY}"}}))
        assert "no code" in str(refused)

    @pytest.mark.parametrize("body", [b"", b'{"id": "pi_1", "latest', b"<html>", b"[]", b'"text"', b"\xff"])
    def test_an_answer_that_is_no_object(self, body: bytes) -> None:
        assert failure(answering(200, body)).retry_helps is True

    @pytest.mark.parametrize("body", [b"<html>", b'{"error": "text"}', b'{"error": {"type": null}}'])
    def test_a_refusal_in_another_shape(self, body: bytes) -> None:
        assert failure(answering(503, body)).retry_helps is True

    @pytest.mark.parametrize("fee", [None, -1, 1.5, "164"])
    def test_a_fee_that_makes_no_sense(self, fee: object) -> None:
        assert failure(answering(200, intent({"fee": fee, "currency": "eur"}))).retry_helps is False


class TestSilence:
    @pytest.mark.parametrize(
        "reason", [httpx.ConnectError, httpx.ConnectTimeout, httpx.ReadTimeout, httpx.RemoteProtocolError]
    )
    def test_no_answer(self, reason: type[httpx.TransportError]) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            raise reason("no answer", request=request)

        silent = failure(client(answer))
        assert silent.retry_helps is True
        assert str(silent) == f"Stripe did not answer GET {PATH}: {reason.__name__}"

    def test_nobody_is_asked_twice(self) -> None:
        asked = 0

        def answer(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            raise httpx.ReadTimeout("no answer", request=request)

        failure(client(answer))
        assert asked == 1  # the job comes again, with its own patience


class TestKey:
    def test_does_not_show(self) -> None:
        assert KEY not in repr(answering(200, {}))

    @pytest.mark.parametrize("key", ["", " ", "sk_test_x\n", "sk test", "sk_té"])
    def test_that_cannot_be_one(self, key: str) -> None:
        with pytest.raises(SettingError) as raised:
            StripeClient(key, "https://stripe.test")
        assert key.strip() == "" or key not in str(raised.value)

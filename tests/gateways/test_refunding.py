"""What each gateway is sent when we refund, how its answer is read, and what is never sent twice."""

import inspect
import json
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayObjectMissing
from gatehouse.facts import ObjectName, RefundFact, RefundStatus
from gatehouse.gateways import NAMES
from gatehouse.gateways.paypal.client import PaypalClient
from gatehouse.gateways.paystack.client import PaystackClient
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.models.refunds import FULL_REFUNDS_ONLY, REFUNDING_GATEWAYS

pytestmark = pytest.mark.req("P6")

KEY = "6d1f7e0e-3c55-4f0e-9d07-111111111111"
Handler = Callable[[httpx.Request], httpx.Response]


def stripe(handler: Handler) -> StripeClient:
    return StripeClient("sk_test_1", "https://stripe.test", httpx.MockTransport(handler), sleep=lambda _: None)


def paystack(handler: Handler) -> PaystackClient:
    transport = httpx.MockTransport(handler)
    return PaystackClient("sk_test_1", "https://paystack.test", transport=transport, sleep=lambda _: None)


def paypal(handler: Handler) -> PaypalClient:
    def with_token(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/oauth2/token":
            return httpx.Response(200, json={"access_token": "A1", "expires_in": 32400})
        return handler(request)

    transport = httpx.MockTransport(with_token)
    return PaypalClient("id", "secret", "https://paypal.test", transport=transport, sleep=lambda _: None)


def answering(said: dict[str, Any], seen: list[httpx.Request], *, failures: int = 0, status: int = 200) -> Handler:
    """Return what answers the same each time, after some that fail."""

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(503, json={}) if len(seen) <= failures else httpx.Response(status, json=said)

    return handle


STRIPE_REFUND = {"id": "re_1", "object": "refund", "amount": 500, "currency": "usd", "payment_intent": "pi_1",
                 "charge": "ch_1", "status": "succeeded", "created": 1}  # fmt: skip
PAYPAL_REFUND = {"id": "1JU0", "status": "COMPLETED", "amount": {"value": "5.00", "currency_code": "USD"},
                 "create_time": "2026-05-15T10:00:00Z", "links": [
                     {"rel": "self", "href": "https://api.paypal.com/v2/payments/refunds/1JU0"},
                     {"rel": "up", "href": "https://api.paypal.com/v2/payments/captures/CAP1"}]}  # fmt: skip
PAYSTACK_REFUND = {"id": 77, "status": "processed", "amount": 500, "currency": "NGN", "transaction":
                   {"id": 1641, "reference": "T1"}, "merchant_note": f"gatehouse_refund {KEY}"}  # fmt: skip


def test_stripe_is_sent_a_key_and_may_be_asked_again() -> None:
    seen: list[httpx.Request] = []
    client = stripe(answering(STRIPE_REFUND, seen, failures=2))
    fetched = client.refund(ObjectName("payment_intent", "pi_1"), amount_minor=500, currency="USD", idempotency_key=KEY)
    assert [request.headers["idempotency-key"] for request in seen] == [KEY] * 3
    form = {name: values[0] for name, values in parse_qs(seen[0].content.decode()).items()}
    assert (form["payment_intent"], form["amount"], form["metadata[gatehouse_refund]"]) == ("pi_1", "500", KEY)
    (fact,) = fetched.facts
    assert isinstance(fact, RefundFact)
    assert (fact.objects[0].id, fact.status, fact.amount_minor) == ("re_1", RefundStatus.COMPLETED, 500)
    assert client.keeps_refund_keys < timedelta(hours=24)


@pytest.mark.parametrize(("currency", "minor", "sent"), [("JPY", 500, "500"), ("ISK", 5, "500"), ("KWD", 500, "500")])
def test_stripe_is_told_amounts_as_it_counts_them(currency: str, minor: int, sent: str) -> None:
    seen: list[httpx.Request] = []
    client = stripe(answering(STRIPE_REFUND | {"currency": currency.lower(), "amount": int(sent)}, seen))
    fetched = client.refund(ObjectName("charge", "ch_1"), amount_minor=minor, currency=currency, idempotency_key=KEY)
    assert parse_qs(seen[0].content.decode())["amount"] == [sent]
    assert isinstance(fetched.facts[0], RefundFact)
    assert fetched.facts[0].amount_minor == minor


def test_paypal_is_sent_a_request_id_and_a_decimal_amount() -> None:
    seen: list[httpx.Request] = []
    client = paypal(answering(PAYPAL_REFUND, seen, failures=1, status=201))
    fetched = client.refund(ObjectName("capture", "CAP1"), amount_minor=500, currency="USD", idempotency_key=KEY)
    assert [request.headers["paypal-request-id"] for request in seen] == [KEY] * 2
    assert seen[0].url.path == "/v2/payments/captures/CAP1/refund"
    assert json.loads(seen[0].content) == {"amount": {"value": "5.00", "currency_code": "USD"}}
    assert isinstance(fetched.facts[0], RefundFact)
    assert ObjectName("capture", "CAP1") in fetched.facts[0].payment
    seen.clear()
    client.refund(ObjectName("sale", "S1"), amount_minor=500, currency="USD", idempotency_key=KEY)
    assert seen[-1].url.path == "/v1/payments/sale/S1/refund"
    assert json.loads(seen[-1].content) == {"amount": {"total": "5.00", "currency": "USD"}}


def test_paypals_refunds_are_listed_by_the_order() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        if "captures" in request.url.path:
            related = {"supplementary_data": {"related_ids": {"order_id": "O1"}}}
            return httpx.Response(200, json={"id": "CAP1", "status": "COMPLETED", **related})
        payments = {"captures": [], "refunds": [PAYPAL_REFUND]}
        order = {"id": "O1", "status": "COMPLETED", "purchase_units": [{"payments": payments}]}
        return httpx.Response(200, json=order)

    client = paypal(handle)
    assert [fact.objects[0].id for fact in client.list_refunds(ObjectName("capture", "CAP1")).facts] == ["1JU0"]
    assert client.list_refunds(ObjectName("capture", "CAP2")).facts == ()


def test_paystack_honours_no_key_and_is_asked_once() -> None:
    seen: list[httpx.Request] = []
    client = paystack(answering({}, seen, failures=9))
    with pytest.raises(GatewayError) as error:
        client.refund(ObjectName("transaction", "1641"), amount_minor=500, currency="NGN", idempotency_key=KEY)
    assert (error.value.retry_helps, len(seen)) == (True, 1)
    assert client.keeps_refund_keys == timedelta(0)


def test_paystack_is_sent_our_key_as_a_note_and_its_number_counts_nothing_by_itself() -> None:
    seen: list[httpx.Request] = []
    client = paystack(answering({"status": True, "data": PAYSTACK_REFUND}, seen))
    fetched = client.refund(ObjectName("transaction", "1641"), amount_minor=500, currency="NGN", idempotency_key=KEY)
    wanted = {"transaction": "1641", "amount": 500, "currency": "NGN", "merchant_note": f"gatehouse_refund {KEY}"}
    assert json.loads(seen[0].content) == wanted
    (fact,) = fetched.facts
    assert isinstance(fact, RefundFact)
    assert fact.objects == (ObjectName("refund", "77"),)
    assert (fact.status, fact.metadata) == (RefundStatus.PENDING, {"gatehouse_refund": KEY})


def test_paystacks_refunds_are_listed_each_with_our_key_where_it_is_ours() -> None:
    other = PAYSTACK_REFUND | {"id": 78, "merchant_note": "by hand, a@example.com"}

    def handle(request: httpx.Request) -> httpx.Response:
        charge = {"id": 1641, "reference": "T1", "status": "success", "amount": 1000, "currency": "NGN"}
        data = [PAYSTACK_REFUND, other] if request.url.path == "/refund" else charge
        return httpx.Response(200, json={"status": True, "data": data})

    listed = paystack(handle).list_refunds(ObjectName("transaction", "1641")).facts
    assert [fact.metadata for fact in listed if isinstance(fact, RefundFact)] == [{"gatehouse_refund": KEY}, None]


def test_what_may_be_asked_for_a_refund_is_every_gateway_whose_client_refunds() -> None:
    clients = {name: import_module(f"gatehouse.gateways.{name}.client") for name in NAMES}
    refunding = [name for name, module in clients.items() if "def refund(" in inspect.getsource(module)]
    assert sorted(REFUNDING_GATEWAYS) == sorted(refunding)
    assert set(FULL_REFUNDS_ONLY) < set(refunding)


@pytest.mark.parametrize("client_at", [stripe, paypal, paystack])
def test_an_answer_that_cannot_be_read_is_no_refusal(client_at: Callable[[Handler], Any]) -> None:
    client = client_at(answering({"status": True, "data": {}}, []))
    kind = client.refundable[0]
    with pytest.raises(GatewayError) as error:
        client.refund(ObjectName(kind, "x"), amount_minor=500, currency="USD", idempotency_key=KEY)
    assert error.value.retry_helps


@pytest.mark.parametrize("client_at", [stripe, paypal, paystack])
@pytest.mark.parametrize(("status", "kind"), [(400, GatewayError), (404, GatewayObjectMissing), (422, GatewayError)])
def test_a_refusal_is_final(client_at: Callable[[Handler], Any], status: int, kind: type[GatewayError]) -> None:
    client = client_at(answering({"message": "no"}, [], status=status))
    with pytest.raises(kind) as error:
        client.refund(ObjectName(client.refundable[0], "x"), amount_minor=500, currency="USD", idempotency_key=KEY)
    assert not error.value.retry_helps

"""Stripe's API as the jobs see it; what all gateways' clients share is in ../test_api_client.py."""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, SettingError
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways import Fetched
from gatehouse.gateways.stripe import ASKABLE
from gatehouse.gateways.stripe.client import API_VERSION, MOST_PAGES, Fee, StripeClient, client_of
from tests.support.stripe_samples import SAMPLES

KEY = "rk_test_invented"
PATH = "/v1/payment_intents/pi_1"
ANSWERED = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}
ANSWERED_AT = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)

pytestmark = pytest.mark.req("G1", "G17")


def client(answer: Callable[[httpx.Request], httpx.Response]) -> StripeClient:
    return StripeClient(KEY, "https://stripe.test", transport=httpx.MockTransport(answer), sleep=lambda _: None)


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

    @pytest.mark.parametrize("fee", [None, -1, 1.5, "164"])
    def test_that_makes_no_sense(self, fee: object) -> None:
        assert failure(answering(200, intent({"fee": fee, "currency": "eur"}))).retry_helps is False


class TestRefusals:
    def test_are_told_in_stripes_codes_and_the_id_under_which_it_finds_them(self) -> None:
        error = {"error": {"type": "invalid_request_error", "code": "resource_missing", "message": "No such thing"}}
        refused = failure(answering(404, error, {"request-id": "req_1"}))
        assert isinstance(refused, GatewayObjectMissing)
        assert str(refused) == (
            f"Stripe answered 404 (invalid_request_error, resource_missing, request req_1) to GET {PATH}"
        )

    def test_a_key_that_is_refused_is_not_tried_again(self) -> None:
        refused = failure(answering(401, {"error": {"message": f"Invalid API Key provided: {KEY}"}}))
        assert isinstance(refused, GatewayKeyRefused)
        assert (refused.retry_helps, "(no code, request unknown)" in str(refused)) == (False, True)

    @pytest.mark.parametrize("body", [b"<html>", b'{"error": "text"}', b'{"error": {"type": null}}'])
    def test_in_another_shape(self, body: bytes) -> None:
        assert failure(answering(503, body)).retry_helps is True

    def test_silence_is_asked_twice_more(self) -> None:
        asked = 0

        def answer(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            raise httpx.ReadTimeout("no answer", request=request)

        assert failure(client(answer)).retry_helps is True
        assert asked == 3


class Stripe:
    """Answers with the objects that it is given, and with lists of refunds, two on a page."""

    def __init__(self, *things: dict[str, Any], refunds: Iterable[dict[str, Any]] = ()) -> None:
        self.things = {thing["id"]: thing for thing in things}
        self.refunds = list(refunds)
        self.asked: list[tuple[str, list[tuple[str, str]]]] = []
        self.client = client(self.answer)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.path, request.url.params.multi_items()))
        if request.url.path != "/v1/refunds":
            said = self.things.get(request.url.path.rpartition("/")[2])
            return httpx.Response(200 if said else 404, json=said or {}, headers=ANSWERED)
        after = request.url.params.get("starting_after")
        start = next((n for n, refund in enumerate(self.refunds, start=1) if refund["id"] == after), 0)
        page = self.refunds[start : start + 2]
        has_more = start + 2 < len(self.refunds)
        return httpx.Response(200, json={"object": "list", "data": page, "has_more": has_more})

    def fetch(self, kind: str, object_id: str) -> Fetched:
        return self.client.fetch(kind, object_id)


def sample(name: str, **changes: object) -> dict[str, Any]:
    thing: dict[str, Any] = json.loads(SAMPLES[name].read_text())["data"]["object"]
    return thing | changes


def refund(number: int, amount: int = 100, **more: object) -> dict[str, Any]:
    return {
        "id": f"re_{number}",
        "object": "refund",
        "amount": amount,
        "balance_transaction": {"id": f"txn_{number}", "currency": "usd", "fee": -3},
        "charge": "ch_composed_charge_updated",
        "created": 1755734400 + number,
        "currency": "usd",
        "status": "succeeded",
        **more,
    }


BOOKED = {"id": "txn_1", "object": "balance_transaction", "created": 1755734999, "currency": "eur", "fee": 555}
CHARGE = sample("charge.updated", amount_refunded=500, balance_transaction=BOOKED)


class TestFetch:
    def test_it_can_be_asked_about_what_it_says_and_nothing_else(self) -> None:
        wanted = "payment_intent charge refund dispute subscription invoice payout transfer customer checkout_session"
        assert set(wanted.split()) == ASKABLE
        with pytest.raises(ValueError, match="cannot be asked about a 'credit_note'"):
            Stripe().fetch("credit_note", "cn_1")

    @pytest.mark.req("P6")
    def test_a_charge_with_all_of_its_refunds(self) -> None:
        stripe = Stripe(CHARGE, refunds=[refund(each) for each in range(5)])
        fetched = stripe.fetch("charge", CHARGE["id"])
        payment, *refunds = fetched.facts
        assert isinstance(payment, PaymentFact)
        assert (payment.status, payment.received_minor, payment.refunded_minor) == (PaymentStatus.COMPLETED, 20675, 500)
        assert (payment.fee_minor, payment.fee_currency) == (555, "EUR")
        assert payment.completed_at == datetime.fromtimestamp(1755734999, UTC)  # not when we asked
        assert [fact.objects for fact in refunds] == [(ObjectName("refund", f"re_{each}"),) for each in range(5)]
        for fact in refunds:
            assert isinstance(fact, RefundFact)
            assert (fact.status, fact.amount_minor, fact.fee_minor) == (RefundStatus.COMPLETED, 100, -3)
            assert fact.payment == payment.objects
        assert fetched.answered_at == ANSWERED_AT
        assert [path for path, _ in stripe.asked] == [f"/v1/charges/{CHARGE['id']}", *["/v1/refunds"] * 3]
        first, last = dict(stripe.asked[1][1]), dict(stripe.asked[3][1])
        assert (first["charge"], first["limit"]) == (CHARGE["id"], "100")
        assert "starting_after" not in first
        assert last["starting_after"] == "re_3"

    def test_a_charge_without_refunds(self) -> None:
        stripe = Stripe(sample("charge.updated"))
        (payment,) = stripe.fetch("charge", CHARGE["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert (payment.refunded_minor, payment.fee_minor, payment.completed_at) == (0, None, None)

    def test_a_charge_that_was_never_captured_gave_nothing_back(self) -> None:
        charge = sample("charge.expired__legacy_2020-08-27")
        payment, release = Stripe(charge, refunds=[refund(1, 20675)]).fetch("charge", charge["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert isinstance(release, RefundFact)
        assert (payment.status, payment.refunded_minor) == (PaymentStatus.CANCELLED, None)
        assert (release.status, release.amount_minor) == (RefundStatus.CANCELLED, 20675)

    @pytest.mark.req("P6")
    @pytest.mark.parametrize(
        ("booked", "currency", "refunded", "status"),
        [
            (20675, "usd", 0, RefundStatus.CANCELLED),  # before 2025-03-31: all, and a refund of what was released
            (20300, "usd", 375, RefundStatus.COMPLETED),  # since
            (19000, "eur", 375, RefundStatus.COMPLETED),  # nothing to see
        ],
    )
    def test_what_was_booked_tells_a_release_from_a_refund(
        self, booked: int, currency: str, refunded: int, status: RefundStatus
    ) -> None:
        transaction = {**BOOKED, "amount": booked, "currency": currency}
        charge = {**CHARGE, "amount_captured": 20300, "amount_refunded": 375, "balance_transaction": transaction}
        payment, found = Stripe(charge, refunds=[refund(1, 375)]).fetch("charge", CHARGE["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert isinstance(found, RefundFact)
        assert (payment.refunded_minor, found.status) == (refunded, status)

    def test_a_payment_intent_with_its_charge_and_all_refunds(self) -> None:
        whole = sample("payment_intent.succeeded", latest_charge={**CHARGE, "currency": "eur"})
        stripe = Stripe(whole, refunds=[refund(each, currency="eur") for each in range(3)])
        payment, *refunds = stripe.fetch("payment_intent", whole["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert (payment.amount_minor, payment.refunded_minor, payment.fee_minor) == (4620, 500, 555)
        assert payment.completed_at == datetime.fromtimestamp(1755734999, UTC)
        assert [fact.objects[0].id for fact in refunds] == ["re_0", "re_1", "re_2"]
        assert dict(stripe.asked[0][1]) == {"expand[]": "latest_charge.balance_transaction"}
        assert dict(stripe.asked[1][1])["payment_intent"] == whole["id"]

    def test_a_payment_intent_that_has_no_charge_yet(self) -> None:
        said = sample("payment_intent.created", latest_charge=None)
        stripe = Stripe(said)
        (payment,) = stripe.fetch("payment_intent", said["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert payment.status is PaymentStatus.PENDING
        assert len(stripe.asked) == 1

    def test_a_payment_intent_whose_last_try_failed(self) -> None:
        said = sample("payment_intent.payment_failed", latest_charge=None)
        (payment,) = Stripe(said).fetch("payment_intent", said["id"]).facts
        assert isinstance(payment, PaymentFact)
        assert (payment.status, payment.failure_code) == (PaymentStatus.FAILED, "authentication_required")

    def test_an_invoice_with_the_payments_that_no_event_names(self) -> None:
        said = sample("invoice.payment_succeeded__with_payments")
        stripe = Stripe(said)
        invoice, payment = stripe.fetch("invoice", "in_composed").facts
        assert isinstance(invoice, InvoiceFact)
        assert isinstance(payment, PaymentFact)
        assert invoice.status is InvoiceStatus.PAID
        assert (payment.objects, payment.invoice_ref) == (
            (ObjectName("payment_intent", "pi_composed_invoice"),),
            "in_composed",
        )
        assert (payment.app, payment.user_id, payment.subscription_ref) == ("nexai", "user_42", "sub_composed")
        assert stripe.asked == [("/v1/invoices/in_composed", [("expand[]", "payments")])]

    def test_a_subscription_with_the_name_of_its_product(self) -> None:
        said = sample("customer.subscription.updated__ends_with_its_period")
        said["items"]["data"][0]["price"] |= {"nickname": None, "product": {"id": "prod_1", "name": "Pro"}}
        (fact,) = Stripe(said).fetch("subscription", "sub_composed").facts
        assert isinstance(fact, SubscriptionFact)
        assert (fact.status, fact.plan_name) == (SubscriptionStatus.NON_RENEWING, "Pro")

    @pytest.mark.parametrize(
        ("kind", "name", "path", "fact", "status"),
        [
            ("refund", "refund.created", "/v1/refunds/", RefundFact, RefundStatus.COMPLETED),
            ("dispute", "charge.dispute.closed__won", "/v1/disputes/", DisputeFact, "won"),
            ("payout", "payout.paid", "/v1/payouts/", PayoutFact, PayoutStatus.SETTLED),
            ("transfer", "transfer.reversed", "/v1/transfers/", PayoutFact, PayoutStatus.REVERSED),
            ("checkout_session", "checkout.session.expired", "/v1/checkout/sessions/", PaymentFact, "cancelled"),
        ],
    )
    def test_every_other_kind(self, kind: str, name: str, path: str, fact: type, status: str) -> None:
        said = sample(name)
        stripe = Stripe(said)
        (found,) = stripe.fetch(kind, said["id"]).facts
        assert isinstance(found, fact)
        assert getattr(found, "status", None) == status
        assert stripe.asked[0][0] == path + said["id"]

    def test_a_customer_that_is_gone(self) -> None:
        gone = {"id": "cus_1", "object": "customer", "deleted": True}
        assert Stripe(gone).fetch("customer", "cus_1").facts == (
            CustomerFact(objects=(ObjectName("customer", "cus_1"),), is_deleted=True),
        )

    def test_when_things_happened_is_not_when_we_asked(self) -> None:
        for kind, name in (("payout", "payout.paid"), ("dispute", "charge.dispute.closed__won")):
            said = sample(name)
            (fact,) = Stripe(said).fetch(kind, said["id"]).facts
            assert ANSWERED_AT not in fact

    def test_what_is_missing_is_missing(self) -> None:
        with pytest.raises(GatewayObjectMissing):
            Stripe().fetch("payout", "po_1")

    def test_an_answer_about_another_object_is_no_answer(self) -> None:
        with pytest.raises(GatewayError, match="about another object"):
            answering(200, {"id": "po_2", "object": "payout"}).fetch("payout", "po_1")

    def test_money_that_makes_no_sense_is_told(self) -> None:
        said = sample("refund.created", amount="100")
        with pytest.raises(GatewayError, match="the amount is missing") as raised:
            Stripe(said).fetch("refund", said["id"])
        assert raised.value.retry_helps is False

    @pytest.mark.parametrize(
        ("page", "complaint", "retry_helps"),
        [
            ({"data": [], "has_more": True}, "goes on, and not where", True),
            ({"data": [{"amount": 1}], "has_more": True}, "goes on, and not where", True),
            ({"data": [{"id": "re_1"}], "has_more": True}, "has more than", False),
        ],
    )
    def test_a_list_that_does_not_end_is_given_up(
        self, page: dict[str, object], complaint: str, retry_helps: bool
    ) -> None:
        asked = 0

        def answer(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            return httpx.Response(200, json=page if request.url.path == "/v1/refunds" else CHARGE)

        with pytest.raises(GatewayError, match=complaint) as raised:
            client(answer).fetch("charge", CHARGE["id"])
        assert raised.value.retry_helps is retry_helps
        assert asked <= MOST_PAGES + 1


class TestKey:
    def test_does_not_show(self) -> None:
        assert repr(answering(200, {})) == "<StripeClient <ApiClient Stripe https://stripe.test>>"

    @pytest.mark.parametrize("key", ["", " ", "sk_test_x\n", "sk test", "sk_té"])
    def test_that_cannot_be_one(self, key: str) -> None:
        with pytest.raises(SettingError) as raised:
            StripeClient(key, "https://stripe.test")
        assert key.strip() == "" or key not in str(raised.value)


class TestClientOfAnAccount:
    def test_is_made_once(self) -> None:
        made = client_of({"api_key": "sk_test_1"}, "https://stripe.test", "test")
        assert client_of({"api_key": "sk_test_1", "signing_secret": "x"}, "https://stripe.test", "both") is made
        assert client_of({"api_key": "sk_test_2"}, "https://stripe.test", "test") is not made
        assert client_of({"api_key": "sk_test_1"}, "https://other.test", "test") is not made

    @pytest.mark.parametrize("credentials", [{}, {"api_key": ""}, {"api_key": None}, {"api_key": 7}])
    def test_without_a_key_it_says_what_is_missing(self, credentials: dict[str, Any]) -> None:
        with pytest.raises(SettingError, match="have no api_key"):
            client_of(credentials, "https://stripe.test", "live")

    @pytest.mark.req("G15")
    @pytest.mark.parametrize(
        ("key", "mode"), [("sk_test_1", "live"), ("rk_test_1", "live"), ("sk_live_1", "test"), ("rk_live_1", "test")]
    )
    def test_a_key_of_the_other_mode_would_find_nothing(self, key: str, mode: str) -> None:
        with pytest.raises(SettingError, match=f"the account is a {mode} account") as raised:
            client_of({"api_key": key}, "https://stripe.test", mode)
        assert key not in str(raised.value)

    @pytest.mark.parametrize("mode", ["test", "live", "both"])
    def test_a_key_that_does_not_say_its_mode_is_believed(self, mode: str) -> None:
        assert client_of({"api_key": "key_of_a_stand-in"}, "https://stripe.test", mode)

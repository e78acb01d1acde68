"""Our client of Stripe against the stand-in for Stripe's API, over a real connection."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing
from gatehouse.facts import (
    CustomerFact,
    InvoiceFact,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways.stripe import ASKABLE
from gatehouse.gateways.stripe.client import StripeClient, client_of
from local.gateway_apis import Fault, GatewayApi
from local.stripe_api import KINDS, StripeApi, fee_minor
from tests.support.stripe_samples import SAMPLES

pytestmark = pytest.mark.req("G14", "G17", "O2")

CHARGE = "ch_composed_charge_updated"
KIND_OF_SAMPLE = {
    "checkout_session": "checkout.session.completed",
    "customer": "customer.updated",
    "dispute": "charge.dispute.closed",
    "invoice": "invoice.paid",
    "payout": "payout.paid",
    "refund": "charge.refund.updated",
    "subscription": "customer.subscription.updated__past_due",
    "transfer": "transfer.reversed",
}


@pytest.fixture
def stripe() -> Iterator[GatewayApi]:
    """A running stand-in that has sent us a charge."""
    api = GatewayApi(StripeApi())
    learn(api, "charge.updated")
    api.start()
    yield api
    api.stop()


@pytest.fixture
def client(stripe: GatewayApi) -> Iterator[StripeClient]:
    """Our client, which does not really wait before it asks again."""
    client = StripeClient("sk_test_1", stripe.url, sleep=lambda _: None)
    yield client
    client.close()


def learn(api: GatewayApi, *samples: str) -> None:
    for sample in samples:
        api.gateway.learn(SAMPLES[sample].read_bytes())


def told(api: GatewayApi, thing: dict[str, Any], created: int = 1_800_000_000) -> None:
    api.gateway.learn(json.dumps({"id": "evt_1", "created": created, "data": {"object": thing}}).encode())


def refund(number: int, **more: object) -> dict[str, Any]:
    return {
        "id": f"re_{number:03}",
        "object": "refund",
        "amount": 100,
        "balance_transaction": f"txn_{number}",
        "charge": CHARGE,
        "created": 1_755_734_400 + number,
        "currency": "usd",
        "payment_intent": "pi_composed_charge_updated",
        "status": "succeeded",
        **more,
    }


@pytest.mark.parametrize("kind", sorted(ASKABLE - {"charge", "payment_intent"}))
def test_every_kind_that_our_client_asks_about_is_known(stripe: GatewayApi, client: StripeClient, kind: str) -> None:
    sample = KIND_OF_SAMPLE[kind]
    object_id = json.loads(SAMPLES[sample].read_text())["data"]["object"]["id"]
    with pytest.raises(GatewayObjectMissing, match="resource_missing"):
        client.fetch(kind, object_id)
    learn(stripe, sample)
    fact = client.fetch(kind, object_id).facts[0]
    assert fact.objects[-1] == (kind, object_id)
    assert {each.replace("checkout.session", "checkout_session") for each in KINDS.values()} == ASKABLE


@pytest.mark.req("P6")
def test_a_charge_comes_with_its_fee_and_its_refunds_on_several_pages(stripe: GatewayApi, client: StripeClient) -> None:
    for number in range(205):
        told(stripe, refund(number))
    payment, *refunds = client.fetch("charge", CHARGE).facts
    assert isinstance(payment, PaymentFact)
    assert (payment.status, payment.fee_minor) == (PaymentStatus.COMPLETED, fee_minor(20675))
    assert sorted(fact.objects[0].id for fact in refunds) == [f"re_{number:03}" for number in range(205)]
    assert all(isinstance(fact, RefundFact) and fact.fee_minor == 0 for fact in refunds)
    assert [each.path for each in stripe.requests] == [f"/v1/charges/{CHARGE}", *["/v1/refunds"] * 3]


@pytest.mark.req("P6")
def test_refunds_that_an_old_charge_lists_are_known(stripe: GatewayApi, client: StripeClient) -> None:
    learn(stripe, "charge.refunded__legacy_2020-08-27")
    charge = "ch_composed_charge_refunded_legacy_2020_08_27"
    _, *refunds = client.fetch("charge", charge).facts
    assert [fact.objects[0].id for fact in refunds] == [
        *("re_composed_third", "re_composed_second", "re_composed_first", "re_composed_release"),
    ]
    (fact,) = client.fetch("refund", "re_composed_second").facts
    assert isinstance(fact, RefundFact)
    assert (fact.status, fact.payment[1].id) == (RefundStatus.FAILED, charge)


def test_a_payment_intent_whose_charge_alone_is_known_has_its_refunds(stripe: GatewayApi, client: StripeClient) -> None:
    told(stripe, refund(1))
    payment, found = client.fetch("payment_intent", "pi_composed_charge_updated").facts
    assert isinstance(payment, PaymentFact)
    assert (payment.received_minor, payment.fee_minor) == (20675, fee_minor(20675))
    assert found.objects[0].id == "re_001"


def test_a_charge_whose_intent_alone_is_known_knows_what_was_refunded(stripe: GatewayApi, client: StripeClient) -> None:
    learn(stripe, "payment_intent.succeeded")
    charge = "ch_3RTkpYQ8iJWBZFaM1WnB7qvm"
    told(stripe, refund(1, charge=charge, currency="eur", amount=620))
    told(stripe, refund(2, charge=charge, currency="eur", amount=1000, status="failed"))
    payment, *refunds = client.fetch("charge", charge).facts
    assert isinstance(payment, PaymentFact)
    assert (payment.refunded_minor, len(refunds)) == (620, 2)


def test_an_invoice_shows_the_payment_that_pays_it(stripe: GatewayApi, client: StripeClient) -> None:
    learn(stripe, "invoice.paid")
    (invoice,) = client.fetch("invoice", "in_composed").facts
    assert isinstance(invoice, InvoiceFact)
    learn(stripe, "invoice_payment.paid")
    _, payment = client.fetch("invoice", "in_composed").facts
    assert isinstance(payment, PaymentFact)
    assert (payment.objects[0].id, payment.invoice_ref) == ("pi_composed_invoice", "in_composed")


def test_the_newest_event_counts_and_a_customer_may_be_gone(stripe: GatewayApi, client: StripeClient) -> None:
    learn(stripe, "customer.subscription.deleted", "customer.subscription.updated", "customer.deleted")
    (subscription,) = client.fetch("subscription", "sub_composed").facts
    assert isinstance(subscription, SubscriptionFact)
    assert subscription.status is SubscriptionStatus.CANCELLED
    (customer,) = client.fetch("customer", "cus_composed").facts
    assert isinstance(customer, CustomerFact)
    assert (customer.is_deleted, customer.email) == (True, None)


def test_an_object_is_known_under_its_own_kind_alone(stripe: GatewayApi, client: StripeClient) -> None:
    learn(stripe, "payout.paid")
    with pytest.raises(GatewayObjectMissing):
        client.fetch("transfer", "po_1Pgc79B7WZ01zgkWu1KToYf4")


class TestFaults:
    @pytest.mark.parametrize("kind", ["429", "500", "truncated", "slow"])
    def test_one_that_passes_is_not_noticed(self, stripe: GatewayApi, client: StripeClient, kind: str) -> None:
        stripe.fail_with(Fault(kind, times=1, seconds=0.2))
        assert client.fetch("charge", CHARGE).facts
        assert client.payment_fee("charge", CHARGE) == (fee_minor(20675), "USD")

    @pytest.mark.parametrize(("kind", "words"), [("429", "rate_limit"), ("500", "api_error"), ("truncated", "JSON")])
    def test_one_that_stays_is_told_and_may_pass_later(
        self, stripe: GatewayApi, client: StripeClient, kind: str, words: str
    ) -> None:
        stripe.fail_with(Fault(kind))
        with pytest.raises(GatewayError, match=words) as raised:
            client.fetch("charge", CHARGE)
        assert raised.value.retry_helps is True
        assert len(stripe.requests) == 3
        stripe.fail_with(None)
        assert client.fetch("charge", CHARGE).facts

    def test_a_long_wait_is_left_to_the_job(self, stripe: GatewayApi, client: StripeClient) -> None:
        stripe.fail_with(Fault("429", retry_after_seconds=7))
        with pytest.raises(GatewayError) as raised:
            client.fetch("charge", CHARGE)
        assert (raised.value.retry_after_seconds, len(stripe.requests)) == (7.0, 1)

    def test_a_refused_key_is_told_at_once(self, stripe: GatewayApi, client: StripeClient) -> None:
        stripe.fail_with(Fault("401"))
        with pytest.raises(GatewayKeyRefused) as raised:
            client.fetch("charge", CHARGE)
        assert (raised.value.retry_helps, len(stripe.requests)) == (False, 1)

    def test_a_key_that_is_none_is_refused(self, stripe: GatewayApi) -> None:
        with pytest.raises(GatewayKeyRefused):
            client_of({"api_key": "pk_test_1"}, stripe.url, "both").fetch("charge", CHARGE)

    def test_nobody_there(self, stripe: GatewayApi, client: StripeClient) -> None:
        assert client.fetch("charge", CHARGE).facts
        stripe.stop()
        nobody = StripeClient("sk_test_1", stripe.url, sleep=lambda _: None)
        with pytest.raises(GatewayError, match="did not answer") as raised:
            nobody.fetch("charge", CHARGE)
        assert raised.value.retry_helps is True
        nobody.close()

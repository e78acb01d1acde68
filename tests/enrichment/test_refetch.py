"""What an event left open is asked of the gateway's API over HTTP, and its answer becomes rows like any event's."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.enrichment.refetch import refetch
from gatehouse.gateways import gateway_named
from gatehouse.gateways.paystack.client import client_of as paystack_client
from gatehouse.gateways.stripe.client import client_of as stripe_client
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.jobs.claim import work_on
from gatehouse.sealing import Keyring
from local.gateway_apis import Fault, GatewayApi
from local.paystack_api import PaystackApi
from local.stripe_api import StripeApi
from tests.intake.conftest import KEYS
from tests.support.gateway_samples import samples
from tests.support.queues import Queues

ARRIVED = datetime(2026, 11, 20, 12, tzinfo=UTC)
TOTAL_ONLY = "charge.refunded__in_part"  # 675 of 20675 given back, and no refund named
CHARGE = "ch_composed_charge_refunded_in_part"
REFUND = {
    "id": "re_asked_for",
    "object": "refund",
    "amount": 675,
    "currency": "usd",
    "charge": CHARGE,
    "payment_intent": "pi_composed_charge_refunded_in_part",
    "status": "succeeded",
    "created": 1_755_734_400,
    "metadata": {},
}

pytestmark = pytest.mark.req("G14", "G9", "P6")


@pytest.fixture
def stripe() -> Iterator[GatewayApi]:
    """A running Stripe that knows the charge and its refund."""
    api = GatewayApi(StripeApi())
    api.gateway.learn(samples("stripe")[TOTAL_ONLY].read_bytes())
    api.gateway.remember(REFUND)
    api.start()
    yield api
    api.stop()


def told(database: Database, keyring: Keyring, gateway: str, sample: str, *, body: bytes | None = None) -> Recorded:
    """Record a sample, or what was made of one, as intake does."""
    package, body = gateway_named(gateway), body or samples(gateway)[sample].read_bytes()
    event = package.translate(package.read_event(body), "default")
    account = GatewayAccount(gateway, "default", "default", "both")
    return record(database, Delivery(account, event, body, ARRIVED), keyring)


def asked(api: GatewayApi, job_id: int, worker: Database, queues: Queues) -> str:
    """Work on a refetch job as the enricher does; return what became of it."""
    clients: dict[str, Any] = {"stripe": stripe_client, "paystack": paystack_client}
    credentials = {"api_key": "sk_test_refetch", "signing_secrets": ["sk_test_refetch"]}

    def keys() -> Keyring:
        return Keyring(KEYS)

    return work_on(
        job_id,
        {"refetch": lambda job: refetch(job, lambda gateway, _a: clients[gateway](credentials, api.url, "both"), keys)},
        worker,
        queues.bell(),
    )


def refetch_job(recorded: Recorded) -> int:
    """Return the one job that asks."""
    [job] = [job.id for job in recorded.jobs if job.topic == "refetch"]
    return job


def test_a_total_without_its_refund_is_asked_after(
    stripe: GatewayApi, intake: Database, worker: Database, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    job = refetch_job(told(intake, keyring, "stripe", TOTAL_ONLY))
    payment = ops.query_one("select status, refunded_minor from payments")
    assert payment == {"status": "partially_refunded", "refunded_minor": 675}
    assert asked(stripe, job, worker, queues) == "done"
    [refund] = ops.query("select gateway_id, status, amount_minor, currency, livemode from refunds")
    assert (refund["gateway_id"], refund["status"], refund["amount_minor"]) == ("re_asked_for", "completed", 675)
    assert refund["livemode"] is False  # as the event that left the question was
    assert ops.query_one("select status, refunded_minor from payments") == payment  # counted once
    assert asked(stripe, job, worker, queues) == "nothing to do"


@pytest.mark.parametrize(
    ("fault", "becomes", "then"),
    [
        (Fault("401"), "buried", "nothing to do"),
        (Fault("429", retry_after_seconds=30), "postponed", "done"),
        (Fault("500"), "postponed", "done"),
        (Fault("truncated"), "postponed", "done"),
    ],
    ids=lambda each: each.kind if isinstance(each, Fault) else each,
)
def test_a_gateway_that_fails_is_asked_again_later(
    fault: Fault,
    becomes: str,
    then: str,
    stripe: GatewayApi,
    intake: Database,
    worker: Database,
    ops: Database,
    keyring: Keyring,
    queues: Queues,
) -> None:
    job = refetch_job(told(intake, keyring, "stripe", TOTAL_ONLY))
    stripe.fail_with(fault)
    assert asked(stripe, job, worker, queues) == becomes
    waiting = ops.query_one(
        "select last_error, extract(epoch from due_at - now())::integer as wait from jobs where id = :job", job=job
    )
    assert waiting["last_error"]
    assert "sk_test_refetch" not in waiting["last_error"]
    if fault.kind == "429":
        assert waiting["wait"] > 25
    stripe.fail_with(None)
    ops.query("update jobs set due_at = now() where id = :job and status = 'waiting'", job=job)
    assert asked(stripe, job, worker, queues) == then
    assert len(ops.query("select id from refunds")) == (then == "done")


def test_what_the_api_does_not_show_yet_is_asked_again(
    intake: Database, worker: Database, keyring: Keyring, queues: Queues
) -> None:
    ignorant = GatewayApi(StripeApi())
    ignorant.start()
    job = refetch_job(told(intake, keyring, "stripe", TOTAL_ONLY))
    assert asked(ignorant, job, worker, queues) == "postponed"
    ignorant.stop()


def test_a_word_without_a_time_is_settled_by_the_answer(
    intake: Database, worker: Database, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    api = GatewayApi(PaystackApi())
    for sample in ("subscription.not_renew", "subscription.disable__cancelled"):
        if sample in samples("paystack"):
            api.gateway.learn(samples("paystack")[sample].read_bytes())
    api.start()
    job = refetch_job(told(intake, keyring, "paystack", "subscription.not_renew"))
    before = ops.query_one("select status from subscriptions")
    assert before["status"] == "non_renewing"
    assert asked(api, job, worker, queues) == "done"
    answers = ops.query("select occurred_at from facts where job_id = :job", job=job)
    assert answers
    assert all(row["occurred_at"] for row in answers)
    api.stop()


@pytest.mark.req("D3", "M1")
@pytest.mark.parametrize("shown", [0, 10], ids=["no lines", "the first ten of more"])
def test_an_invoice_of_stripe_gets_the_lines_that_its_event_lacks(
    shown: int, stripe: GatewayApi, intake: Database, worker: Database, queues: Queues, keyring: Keyring
) -> None:
    said = json.loads(samples("stripe")["invoice.finalized"].read_bytes())
    invoice = said["data"]["object"]
    [first, *_] = invoice["lines"]["data"]
    lines = [first | {"id": f"il_{n}", "description": f"Seat {n}", "amount": 100 + n} for n in range(123)]
    stripe.gateway.remember(invoice | {"lines": invoice["lines"] | {"data": lines}})
    invoice["lines"] = {"object": "list", "data": lines[:shown], "has_more": True}

    recorded = told(intake, keyring, "stripe", "", body=json.dumps(said).encode())
    assert len(worker.query_one("select lines from invoices")["lines"] or ()) == shown
    assert asked(stripe, refetch_job(recorded), worker, queues) == "done"
    found = worker.query_one("select lines from invoices")["lines"]
    assert [line["amount_minor"] for line in found] == [100 + n for n in range(123)]


@pytest.mark.req("D3", "M1")
def test_an_invoice_of_paystack_gets_the_lines_that_its_event_lacks(
    intake: Database, worker: Database, queues: Queues, keyring: Keyring
) -> None:
    api = GatewayApi(PaystackApi())
    api.start()
    said = json.loads(samples("paystack")["paymentrequest.success"].read_bytes())
    assert said["data"]["line_items"] == []
    api.gateway.remember(said["data"] | {"line_items": [{"name": "Tripod", "amount": 9_900_000, "quantity": 1}]})
    recorded = told(intake, keyring, "paystack", "paymentrequest.success")
    assert worker.query_one("select lines from invoices")["lines"] is None
    for job in [each.id for each in recorded.jobs if each.topic == "refetch"]:
        assert asked(api, job, worker, queues) == "done"
    api.stop()
    [line] = worker.query_one("select lines from invoices")["lines"]
    assert (line["product"], line["amount_minor"], line["quantity"]) == ("Tripod", 9_900_000, 1)

"""What MX Merchant and SaySwitch hint at is asked of their APIs, believed only as answered, and only then forwarded."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.enrichment.answers import find_answer
from gatehouse.enrichment.refetch import refetch
from gatehouse.enrichment.troubles import AskedAccount, asked, list_troubles
from gatehouse.gateways import gateway_named
from gatehouse.gateways.mx_merchant.client import client_of as mx_client
from gatehouse.gateways.sayswitch.client import client_of as sayswitch_client
from gatehouse.intake.record import Delivery, Recorded, record
from gatehouse.jobs.claim import Job, Outcome, work_on
from gatehouse.sealing import Keyring
from local.gateway_apis import Fault, GatewayApi
from local.mx_merchant_api import MxMerchantApi
from local.sayswitch_api import SayswitchApi
from tests.support.gateway_samples import samples
from tests.support.queues import Queues

ARRIVED = datetime(2026, 11, 20, 12, tzinfo=UTC)
MERCHANT_ID = "418355562"
CREDENTIALS: dict[str, dict[str, Any]] = {
    "mx_merchant": {"merchant_id": MERCHANT_ID, "consumer_key": "key", "consumer_secret": "secret"},
    "sayswitch": {"signing_secrets": ["sk_test_hints"]},
}
PAYMENT, INVOICE, REFUND = "4000000053173106", "10270193", "4000000053180221"


class Enricher:
    """Does the jobs of two gateways' stand-ins as the function does, one after the other."""

    def __init__(self, worker: Database, keyring: Keyring, queues: Queues) -> None:
        self.apis = {"mx_merchant": GatewayApi(MxMerchantApi()), "sayswitch": GatewayApi(SayswitchApi())}
        self.credentials = {gateway: dict(said) for gateway, said in CREDENTIALS.items()}
        self._worker, self._keyring, self._queues = worker, keyring, queues
        self._clients: dict[int, Any] = {}
        for api in self.apis.values():
            api.start()

    def close(self) -> None:
        """Hang up, and stop the stand-ins."""
        for client in self._clients.values():
            client.close()
        for api in self.apis.values():
            api.stop()

    def work(self, job_id: int) -> str:
        """Work on one job; return what became of it."""
        return work_on(job_id, {"refetch": self._asked}, self._worker, self._queues.bell())

    def work_all(self) -> dict[str, str]:
        """Work on every job that is due until none is left; return what became of each object that was asked about."""
        became: dict[str, str] = {}
        due = (
            "select id, arguments from jobs"
            " where topic = 'refetch' and status = 'waiting' and due_at <= now() order by id"
        )
        while rows := self._worker.query(due):
            for row in rows:
                became[f"{row['arguments']['kind']} {row['arguments']['id']}"] = self.work(row["id"])
        return became

    def _asked(self, job: Job) -> Outcome:
        gateway = job.arguments["gateway"]
        clients: dict[str, Any] = {"mx_merchant": mx_client, "sayswitch": sayswitch_client}
        account = AskedAccount(gateway, job.arguments["account"], self.credentials[gateway])
        return asked(
            job,
            account,
            self._worker,
            lambda: self._client(clients[gateway], gateway),
            lambda client: refetch(job, lambda _gateway, _account: client, lambda: self._keyring),
        )

    def _client(self, client_of: Any, gateway: str) -> Any:
        client = client_of(self.credentials[gateway], self.apis[gateway].url, "both")
        self._clients[id(client)] = client
        return client


@pytest.fixture
def enricher(worker: Database, keyring: Keyring, queues: Queues) -> Iterator[Enricher]:
    """The enricher, and stand-ins that know nothing yet."""
    made = Enricher(worker, keyring, queues)
    yield made
    made.close()


def told(
    database: Database,
    keyring: Keyring,
    gateway: str,
    body: bytes,
    *,
    account: str = "default",
    merchant: str = "default",
) -> Recorded:
    """Record an event as intake does."""
    package = gateway_named(gateway)
    event = package.translate(package.read_event(body), account)
    mode = GatewayAccount(gateway, account, merchant, "both")
    return record(database, Delivery(mode, event, body, ARRIVED), keyring)


def sample(gateway: str, name: str, **changes: Any) -> bytes:
    """Return a sample with some fields changed."""
    body = samples(gateway)[name].read_bytes()
    return json.dumps({**json.loads(body), **changes}).encode() if changes else body


@pytest.mark.req("M1", "G5", "G7", "D3")
def test_a_payment_is_completed_by_the_answer_and_has_its_invoice(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring, worker: Database
) -> None:
    body = sample(
        "mx_merchant", "PaymentSuccess__2026", customFields={"surcharge": "39.60", "product": "Semaglutide 0.5mg"}
    )
    told(intake, keyring, "mx_merchant", body)
    assert ops.query_one("select status from payments")["status"] == "processing"
    enricher.apis["mx_merchant"].gateway.learn(body)
    assert set(enricher.work_all().values()) == {"done"}
    payment = ops.query_one("select * from payments")
    assert {word: payment[word] for word in ("status", "amount_minor", "received_minor", "currency", "source")} == {
        "status": "completed",
        "amount_minor": 453960,
        "received_minor": 453960,
        "currency": "USD",
        "source": "Recurring",
    }
    assert (payment["surcharge_minor"], payment["invoice_ref"], payment["invoice_number"]) == (3960, INVOICE, "2577")
    assert payment["customer_ref"] == "EXAMPLE000001"
    invoice = ops.query_one("select * from invoices")
    assert (invoice["gateway_id"], invoice["number"], invoice["status"]) == (INVOICE, "2577", "paid")
    # An invoice asks for no surcharge: what was paid of it is the payment without that.
    assert invoice["paid_minor"] == payment["received_minor"] - payment["surcharge_minor"] == 450000
    assert [(line["product"], line["amount_minor"], line["quantity"]) for line in invoice["lines"]] == [
        ("Semaglutide 0.5mg", 450000, 1)
    ]
    assert invoice["billing_address"]["state"] == "VA"
    assert (invoice["customer_name"], invoice["data_sent_status"]) == ("Example Customer", "pending")
    names = ops.query("select gateway_id, name, email from gateway_customers order by length(gateway_id), gateway_id")
    assert {row["name"] for row in names} == {"Example Customer"}
    assert "EXAMPLE000001" in {row["gateway_id"] for row in names}
    assert all(row["email"] for row in names)  # asked about once, by the invoice's own number of the customer
    kept = find_answer(worker, keyring, "default", "mx_merchant", "default", "payment", PAYMENT)
    assert kept
    assert (kept["amount"], kept["paymentToken"], kept["cardAccount"]["token"]) == ("4539.6", "***", "***")
    event = ops.query_one("select confirmed_at, reason from webhook_events")
    assert event["confirmed_at"] is not None
    assert event["reason"] is None
    assert ops.query_one("select status from app_transactions")["status"] == "completed"


@pytest.mark.req("G9", "M1")
@pytest.mark.parametrize(
    "events", [("PaymentSuccess__2026", "RefundCreated__2026"), ("RefundCreated__2026", "PaymentSuccess__2026")]
)
def test_a_return_finds_its_payment_in_any_order(
    events: tuple[str, str], enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    for name in ("PaymentSuccess__2026", "RefundCreated__2026"):
        enricher.apis["mx_merchant"].gateway.learn(sample("mx_merchant", name))
    for name in events:
        told(intake, keyring, "mx_merchant", sample("mx_merchant", name))
        assert set(enricher.work_all().values()) == {"done"}
    assert ops.query("select status, amount_minor, refunded_minor from payments") == [
        {"status": "partially_refunded", "amount_minor": 453960, "refunded_minor": 3960}
    ]
    refund = ops.query_one("select r.status, p.reference from refunds r join payments p on p.id = r.payment_id")
    assert refund == {"status": "completed", "reference": "2577"}


@pytest.mark.req("G7", "M7")
def test_an_answer_about_another_merchant_is_not_believed(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    body = sample("mx_merchant", "PaymentSuccess__2026")
    told(intake, keyring, "mx_merchant", body)
    enricher.apis["mx_merchant"].gateway.learn(body)
    enricher.apis["mx_merchant"].fail_with(Fault("another_merchant"))
    assert enricher.work_all() == {f"payment {PAYMENT}": "buried"}
    assert ops.query_one("select status from payments")["status"] == "processing"
    assert ops.query("select * from gateway_answers") == []
    job = ops.query_one("select last_error from jobs where topic = 'refetch'")
    assert "not of the account's merchantId" in job["last_error"]
    assert ops.query_one("select confirmed_at from webhook_events")["confirmed_at"] is None


@pytest.mark.req("G10", "M6")
def test_an_invoice_that_is_not_there_yet_keeps_nothing_else_waiting(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    body = sample("mx_merchant", "PaymentSuccess__2026")
    told(intake, keyring, "mx_merchant", body)
    api = enricher.apis["mx_merchant"].gateway
    api.learn(body)
    later = api._invoices.pop(INVOICE)  # type: ignore[attr-defined]  # it comes a moment after its payment
    assert enricher.work_all() == {f"payment {PAYMENT}": "done", f"invoice {INVOICE}": "postponed"}
    assert ops.query_one("select status from payments")["status"] == "completed"
    api.remember(later)
    ops.query("update jobs set due_at = now() where status = 'waiting'")
    enricher.work_all()
    assert ops.query_one("select status from invoices")["status"] == "paid"


@pytest.mark.req("G7", "M6")
def test_refused_credentials_hold_the_account_and_burn_nothing(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    ops.query("insert into merchants (id, name) values ('other', 'Another')")
    first = sample("mx_merchant", "PaymentSuccess__2026")
    second = sample("mx_merchant", "PaymentSuccess", id="77", invoiceId=None)
    for body in (first, second):
        told(intake, keyring, "mx_merchant", body)
        enricher.apis["mx_merchant"].gateway.learn(body)
    enricher.credentials["mx_merchant"]["consumer_key"] = "refused"
    assert set(enricher.work_all().values()) == {"held"}
    seen = len(enricher.apis["mx_merchant"].requests)
    assert seen == 1  # the second job did not ask
    [trouble] = list_troubles(ops)
    assert (trouble["gateway"], trouble["account"], trouble["kind"]) == ("mx_merchant", "default", "refused")
    assert ops.query("select attempts from jobs where topic = 'refetch'") == [{"attempts": 0}, {"attempts": 0}]
    enricher.credentials["mx_merchant"]["consumer_key"] = "key"
    ops.query("update jobs set due_at = now() where status = 'waiting'")  # as a held job comes again by itself
    assert set(enricher.work_all().values()) == {"done"}
    assert list_troubles(ops) == []
    assert [row["status"] for row in ops.query("select status from payments")] == ["completed", "completed"]


@pytest.mark.req("M6", "G7")
@pytest.mark.parametrize(
    "fault", [Fault("429", retry_after_seconds=30), Fault("500"), Fault("truncated")], ids=lambda each: each.kind
)
def test_an_api_that_fails_is_asked_once_and_the_others_of_its_account_wait(
    fault: Fault, enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    for number in ("71", "72", "73"):
        body = sample("mx_merchant", "PaymentSuccess", id=number, invoiceNumber=number)
        told(intake, keyring, "mx_merchant", body)
        enricher.apis["mx_merchant"].gateway.learn(body)
    enricher.apis["mx_merchant"].fail_with(fault)
    assert sorted(enricher.work_all().values()) == ["held", "held", "postponed"]
    enricher.apis["mx_merchant"].fail_with(None)
    ops.query("update gateway_troubles set asked_again_at = now()")
    ops.query("update jobs set due_at = now() where status = 'waiting'")
    assert set(enricher.work_all().values()) == {"done"}
    assert ops.query_one("select count(*) as n from payments where status = 'completed'")["n"] == 3


@pytest.mark.req("G4", "G5", "R1", "M9")
@pytest.mark.parametrize(
    ("gateway", "name"), [("mx_merchant", "PaymentSuccess__2026"), ("sayswitch", "payment.success")]
)
def test_an_event_is_forwarded_once_it_is_confirmed_and_only_once(
    gateway: str, name: str, enricher: Enricher, intake: Database, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    ops.query(
        "insert into apps (merchant, name, is_default, target_url, takes_health_data)"
        " values ('default', 'nexai', true, 'https://app.example.com', true) on conflict (merchant, name) do update set"
        " target_url = excluded.target_url, takes_health_data = true"
    )
    body = sample(gateway, name)
    told(intake, keyring, gateway, body)
    forwards = "select arguments ->> 'app' as app from jobs where topic = 'forward'"
    assert ops.query(forwards) == []
    enricher.apis[gateway].gateway.learn(body)
    enricher.work_all()
    assert ops.query(forwards) == [{"app": "nexai"}]
    assert queues.take_json("forwarding"), "its bell was not rung"
    told(intake, keyring, gateway, body)
    ops.query("update jobs set status = 'waiting', due_at = now(), finished_at = null where topic = 'refetch'")
    enricher.work_all()
    assert ops.query(forwards) == [{"app": "nexai"}]


@pytest.mark.req("G7", "R1")
@pytest.mark.parametrize(
    "hint", [{"totalAmount": "11.12"}, {"eventType": "PaymentFail"}], ids=["another amount", "another end"]
)
def test_a_hint_that_the_api_does_not_bear_out_is_neither_believed_nor_forwarded(
    hint: dict[str, Any], enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    enricher.apis["mx_merchant"].gateway.learn(sample("mx_merchant", "PaymentSuccess"))
    told(
        intake,
        keyring,
        "mx_merchant",
        sample("mx_merchant", "PaymentSuccess", transactionDate="Aug 9 2038 6:21PM", **hint),
    )
    enricher.work_all()
    assert ops.query("select status, amount_minor from payments") == [{"status": "completed", "amount_minor": 1111}]
    event = ops.query_one("select confirmed_at, reason from webhook_events")
    assert event == {"confirmed_at": None, "reason": "not confirmed: the gateway says otherwise"}


@pytest.mark.req("G4")
def test_sayswitch_is_verified(enricher: Enricher, intake: Database, ops: Database, keyring: Keyring) -> None:
    for name in (
        "payment.success",
        "refund.successful__of_the_sample_payment",
        "payout.successful",
        "transaction.failed",
    ):
        body = sample("sayswitch", name)
        told(intake, keyring, "sayswitch", body)
        enricher.apis["sayswitch"].gateway.learn(body)
    assert set(enricher.work_all().values()) == {"done"}
    statuses = {row["status"] for row in ops.query("select status from payments")}
    assert statuses == {"refunded", "failed"}
    assert [row["status"] for row in ops.query("select status from refunds")] == ["completed"]
    assert [row["status"] for row in ops.query("select status from payouts")] == ["settled"]
    assert ops.query_one("select count(*) as n from webhook_events where confirmed_at is null")["n"] == 0


@pytest.mark.req("G4", "P5")
def test_a_fee_and_the_amount_that_was_asked_come_from_verify(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring
) -> None:
    body = sample("sayswitch", "payment.success")
    told(intake, keyring, "sayswitch", body)
    enricher.apis["sayswitch"].gateway.learn(body)
    enricher.work_all()
    payment = ops.query_one("select status, amount_minor, received_minor, fee_minor, currency from payments")
    assert payment == {
        "status": "completed",
        "amount_minor": 1000,
        "received_minor": 1000,
        "fee_minor": 12,
        "currency": "NGN",
    }


@pytest.mark.req("M5", "M6")
def test_a_merchant_with_a_backlog_lets_others_go_first(
    enricher: Enricher, intake: Database, ops: Database, keyring: Keyring, queues: Queues
) -> None:
    """Three jobs of one merchant are at work; a fourth gives way to what another merchant has, and comes again."""
    ops.query("insert into merchants (id, name) values ('quiet', 'A quiet one')")
    jobs = []
    for number in ("81", "82", "83", "84"):
        body = sample("mx_merchant", "PaymentSuccess", id=number)
        jobs += [job.id for job in told(intake, keyring, "mx_merchant", body).jobs]
        enricher.apis["mx_merchant"].gateway.learn(body)
    quiet = sample("mx_merchant", "PaymentSuccess", id="91")
    [other] = told(intake, keyring, "mx_merchant", quiet, account="quiet", merchant="quiet").jobs
    enricher.apis["mx_merchant"].gateway.learn(quiet)
    ops.query(
        "update jobs set status = 'leased', attempts = 1, lease_token = gen_random_uuid(),"
        " lease_until = now() + interval '1 minute' where id = any (:jobs::bigint[])",
        jobs=jobs[:3],
    )
    queues.take("enrichment")
    assert enricher.work(jobs[3]) == "done"
    found = {row["id"]: row for row in ops.query("select id, status, attempts from jobs where topic = 'refetch'")}
    assert found[other.id]["status"] == "done"
    assert (found[jobs[3]]["status"], found[jobs[3]]["attempts"]) == ("waiting", 0)
    assert {"job": jobs[3]} in queues.take_json("enrichment")
    assert enricher.work(other.id) == "nothing to do"  # its own bell comes late
    assert enricher.work(jobs[3]) == "done"  # nobody else waits

"""What a gateway lists is compared with what is recorded; each day of each account is a job, and each has its turn."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways import Listed
from gatehouse.gateways.paypal.client import PaypalClient
from gatehouse.gateways.paystack.client import PaystackClient
from gatehouse.gateways.sayswitch.client import SayswitchClient
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.jobs.claim import work_on
from gatehouse.observability import metrics
from gatehouse.reconciliation.compare import ListingClient, compare_day
from gatehouse.reconciliation.plan import Wanted, plan
from local.gateway_apis import GatewayApi
from local.paypal_api import PaypalApi
from local.paystack_api import PaystackApi
from local.sayswitch_api import SayswitchApi
from local.stripe_api import StripeApi
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import Queues

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = NOW.replace(hour=0)
NEXT_DAY = DAY + timedelta(days=1)

pytestmark = pytest.mark.req("G14")


class Lists:
    """A gateway's client that lists what it is told."""

    def __init__(self, *listed: Listed) -> None:
        self.listed = listed
        self.asked: list[tuple[datetime, datetime]] = []

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give the list."""
        self.asked.append((since, until))
        yield from self.listed


def payment(number: int, status: PaymentStatus | None = PaymentStatus.COMPLETED) -> Listed:
    return Listed(ObjectName("payment_intent", f"pi_{number}"), status)


def recorded(database: GatehouseDatabase, number: int, status: str) -> None:
    """Write a payment as if it had been recorded."""
    database.sql(
        "insert into payments (id, merchant, gateway, account, livemode, status, amount_minor, received_minor,"
        " currency, first_fact_at, last_fact_at)"
        f" values ({number}, 'default', 'stripe', 'default', true, '{status}', 1, 1, 'EUR', now(), now());"
        "insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)"
        f" values ('stripe', 'default', 'payment_intent', 'pi_{number}', 'default', {number})"
    )


def compared(client: ListingClient, worker: Database, queues: Queues, *, now: datetime = NOW) -> list[str]:
    """Plan a day of Stripe's default account and compare it; return what became of each job."""
    jobs = plan(worker, Wanted(1, defaults=("stripe",)), now=now)
    workers = {"reconcile": lambda job: compare_day(job, client, worker, livemode=True)}
    return [work_on(job.id, workers, worker, queues.bell()) for job in jobs]


def test_what_is_missing_or_behind_is_asked_for_and_nothing_else(
    gatehouse_database: GatehouseDatabase, worker: Database, ops: Database, queues: Queues, capsys: Any
) -> None:
    for number, status in enumerate(("completed", "refunded", "processing", "cancelled", "pending"), start=1):
        recorded(gatehouse_database, number, status)
    reversed_one = payment(4, PaymentStatus.REVERSED)
    client = Lists(payment(1), payment(2), payment(3), reversed_one, payment(5, None), payment(6), payment(6))
    assert compared(client, worker, queues) == ["done"]
    assert client.asked == [(DAY, NEXT_DAY)]
    asked = ops.query("select arguments, merchant from jobs where topic = 'refetch' order by id")
    assert [each["arguments"]["id"] for each in asked] == ["pi_3", "pi_6"]
    assert asked[0]["arguments"]["livemode"] is True
    assert asked[0]["merchant"] == "default"
    found = ops.query_one("select listed, recorded, found_missing, checks, day::text from completeness")
    assert found == {"listed": 6, "recorded": 4, "found_missing": 2, "checks": 1, "day": "2026-11-20"}
    metrics.emit()
    told = capsys.readouterr().out
    assert '"PaymentsListed": 6' in told
    assert '"PaymentsMissing": 2' in told
    assert "pi_3" not in told

    recorded(gatehouse_database, 6, "completed")
    gatehouse_database.sql("update payments set status = 'completed' where id = 3")
    assert compared(client, worker, queues, now=NOW + timedelta(seconds=1)) == ["done"]
    found = ops.query_one("select listed, recorded, found_missing, checks from completeness")
    assert found == {"listed": 6, "recorded": 6, "found_missing": 2, "checks": 2}


@pytest.mark.req("G14", "M5")
def test_five_hundred_accounts_have_their_turn_one_day_each_before_any_has_a_second(
    gatehouse_database: GatehouseDatabase, worker: Database, ops: Database
) -> None:
    gatehouse_database.sql(
        "insert into merchants (id, name, is_active) select 'm' || n, 'M', n <> 7 from generate_series(1, 500) n;"
        "insert into gateway_accounts (gateway, account, merchant, mode, is_active, credentials, key_id)"
        " select 'stripe', 'a' || n, 'm' || n, 'live', n <> 9, '', 'k1' from generate_series(1, 500) n"
    )
    wanted = Wanted(2, every_hours=6, most=200)
    runs = [plan(worker, wanted, now=NOW) for _ in range(6)]
    assert [len(run) for run in runs] == [200, 200, 200, 200, 196, 0]
    assert {row["status"] for row in ops.query("select distinct status from jobs")} == {"waiting"}
    days = [row["day"] for row in ops.query("select arguments ->> 'day' as day from jobs order by id")]
    assert days == ["2026-11-20"] * 498 + ["2026-11-19"] * 498
    assert {row["account"] for row in ops.query("select distinct arguments ->> 'account' as account from jobs")} == {
        f"a{n}" for n in range(1, 501) if n not in (7, 9)
    }
    ops.query("update jobs set status = 'done'")
    gatehouse_database.sql(
        "insert into completeness (gateway, account, day, merchant, listed, recorded, checked_at)"
        " select gateway, account, '2026-11-20', merchant, 1, 1, now() - interval '1 hour' from gateway_accounts"
    )
    later = plan(worker, wanted, now=NOW + timedelta(hours=6))
    assert {
        row["day"]
        for row in ops.query(
            "select arguments ->> 'day' as day from jobs where id = any(:ids::bigint[])", ids=[job.id for job in later]
        )
    } == {"2026-11-19"}, "what was compared an hour ago is left alone"


def test_stripe_lists_the_charges_of_a_day_page_by_page() -> None:
    api = GatewayApi(StripeApi())
    moment = int(DAY.timestamp())
    for number in range(230):
        charge = {"id": f"ch_{number}", "object": "charge", "amount": 100, "currency": "eur", "captured": True}
        charge |= {"created": moment + number, "status": "succeeded" if number else "failed"}
        charge |= {"payment_intent": f"pi_{number}" if number % 2 else None}
        api.gateway.remember(charge)
    api.gateway.remember({**charge, "id": "ch_before", "created": moment - 1})
    api.gateway.remember({**charge, "id": "ch_after", "created": int(NEXT_DAY.timestamp())})
    api.start()
    client = StripeClient("sk_test_list", api.url)
    try:
        found = list(client.listed_payments(DAY, NEXT_DAY))
    finally:
        client.close()
        api.stop()
    assert len(found) == 230
    assert found[0] == Listed(ObjectName("payment_intent", "pi_229"), PaymentStatus.COMPLETED)
    assert found[-1] == Listed(ObjectName("charge", "ch_0"), PaymentStatus.PENDING)


def test_paystack_lists_the_transactions_of_a_day_but_those_that_nobody_paid() -> None:
    api = GatewayApi(PaystackApi())
    statuses = {1: "success", 2: "abandoned", 3: "failed", 4: "reversed", 5: "success"}
    for number, status in statuses.items():
        made_at = DAY if number == 1 else NEXT_DAY if number == 5 else DAY + timedelta(hours=number)
        api.gateway.remember(
            {"id": number, "reference": f"T{number}", "status": status, "createdAt": made_at.isoformat(), "amount": 1}
        )
    api.start()
    client = PaystackClient("sk_test_list", api.url)
    try:
        found = {each.name.id: each.status for each in client.listed_payments(DAY, NEXT_DAY)}
    finally:
        client.close()
        api.stop()
    assert found == {"1": PaymentStatus.COMPLETED, "3": PaymentStatus.FAILED, "4": PaymentStatus.REVERSED}


def test_sayswitch_lists_until_a_page_is_older_or_brings_nothing_new() -> None:
    api = GatewayApi(SayswitchApi())
    for number in range(260):
        made_at = DAY - timedelta(days=3) + timedelta(minutes=30 * number)
        status = ("success", "pending", "failed", "reversed")[number % 4]
        data = {"id": number, "reference": f"S{number}", "status": status, "created_at": made_at.isoformat()}
        api.gateway.remember({"success": True, "data": data})
    api.start()
    client = SayswitchClient("sk_test_list", api.url)
    try:
        found = {each.name: each.status for each in client.listed_payments(DAY, NEXT_DAY)}
        asked_of_a_late_day = len(api.requests)
        first = list(client.listed_payments(DAY - timedelta(days=9), DAY - timedelta(days=3) + timedelta(minutes=1)))
    finally:
        client.close()
        api.stop()
    assert len(found) == 36, "three of four of 48 half hours"
    assert found[ObjectName("reference", "S144")] is PaymentStatus.COMPLETED
    assert found[ObjectName("reference", "S146")] is PaymentStatus.FAILED
    assert ObjectName("reference", "S145") not in found
    assert asked_of_a_late_day == 3, "two pages of payments, and one of refunds"
    assert [each.name.id for each in first] == ["S0"]
    assert len(api.requests) - asked_of_a_late_day == 5, "the fourth page of payments is empty"


def test_a_refund_of_ours_at_sayswitch_is_settled_by_its_list_where_no_event_comes() -> None:
    api = GatewayApi(SayswitchApi())
    for number, status in ((1, "success"), (2, "pending")):
        refund = {"id": number, "refund_reference": f"RF_{number}", "transaction_id": 7, "status": status}
        api.gateway.remember({**refund, "amount": "10", "currency": "NGN", "created_at": DAY.isoformat()})
    api.start()
    client = SayswitchClient("sk_test_list", api.url)
    try:
        found = {each.name.id: each.status for each in client.listed_payments(DAY, NEXT_DAY)}
        later = list(client.listed_payments(NEXT_DAY, NEXT_DAY + timedelta(days=1)))
    finally:
        client.close()
        api.stop()
    assert found == {"RF_1": PaymentStatus.COMPLETED, "RF_2": None}
    assert later == []


def test_a_list_that_heeds_no_page_is_read_once() -> None:
    data = {"id": 1, "reference": "S1", "status": "success", "created_at": DAY.isoformat()}
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/api/v1/refund":
            return httpx.Response(200, json={"success": True, "data": []})
        is_there = request.url.path.endswith("/transactions")
        return httpx.Response(200 if is_there else 404, json={"success": is_there, "data": [data] if is_there else []})

    client = SayswitchClient("sk_test_list", "https://api.test", transport=httpx.MockTransport(answer))
    assert [each.name.id for each in client.listed_payments(DAY, NEXT_DAY)] == ["S1"]
    assert asked == [*["/api/v1/transaction", "/api/v1/transactions"] * 2, "/api/v1/refund"]


def paypal_capture(number: int, made_at: datetime, kind: str = "captures", **changes: Any) -> dict[str, Any]:
    """Return a payment or a refund as PayPal shows it."""
    return {
        "id": f"{kind.upper()}{number}",
        "status": "COMPLETED",
        "amount": {"currency_code": "EUR", "value": "12.50"},
        "create_time": f"{made_at:%Y-%m-%dT%H:%M:%SZ}",
        "links": [{"rel": "self", "href": f"https://api.paypal.com/v2/payments/{kind}/{kind.upper()}{number}"}],
        **changes,
    }


@pytest.fixture
def paypal() -> Iterator[tuple[GatewayApi, PaypalClient]]:
    """PayPal, and a client that may search its transactions."""
    api = GatewayApi(PaypalApi("", "id", "secret"))
    api.start()
    client = PaypalClient("id", "secret", api.url)
    yield api, client
    client.close()
    api.stop()


def test_paypal_lists_payments_and_refunds_and_nothing_else(paypal: tuple[GatewayApi, PaypalClient]) -> None:
    api, client = paypal
    for number in range(520):
        api.gateway.remember(paypal_capture(number, DAY + timedelta(minutes=number)))
    api.gateway.remember(paypal_capture(1, DAY, status="DECLINED", id="DECLINED1"))
    api.gateway.remember(paypal_capture(1, DAY + timedelta(hours=1), "refunds"))
    api.gateway.remember(paypal_capture(999, NEXT_DAY))
    found = {each.name: each for each in client.listed_payments(DAY, NEXT_DAY)}
    assert len(found) == 520
    assert found[ObjectName("transaction", "CAPTURES7")] == Listed(
        ObjectName("transaction", "CAPTURES7"), PaymentStatus.COMPLETED
    )
    assert found[ObjectName("refund", "REFUNDS1")].status is PaymentStatus.COMPLETED
    assert [request.path for request in api.requests].count("/v1/reporting/transactions") == 2
    asked = client.fetch("transaction", "CAPTURES7").facts[0]
    assert isinstance(asked, PaymentFact)
    assert asked.objects == (ObjectName("capture", "CAPTURES7"), ObjectName("transaction", "CAPTURES7"))


def test_whoever_may_not_search_at_paypal_is_told_and_nothing_is_buried(
    worker: Database, ops: Database, queues: Queues, capsys: Any
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/oauth2/token":
            return httpx.Response(200, json={"access_token": "A1", "expires_in": 32400})
        return httpx.Response(403, json={"name": "NOT_AUTHORIZED", "debug_id": "1"})

    client = PaypalClient("id", "secret", "https://paypal.test", transport=httpx.MockTransport(answer))
    assert compared(client, worker, queues) == ["done"]
    assert ops.query("select * from completeness") == []
    assert "tick Transaction Search in its settings at PayPal" in capsys.readouterr().out

"""The seeds' questions, answered by the API and by the command line with the numbers that plain SQL gives."""

import csv
import io
import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import (
    Fact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.intake.record import record
from gatehouse.models.orders import Numbering, create_order, set_order_status
from gatehouse.reports.answers import Answer
from gatehouse.reports.definitions import DEFINITIONS
from gatehouse.sealing import Keyring
from tests.cli.conftest import ROOT, gatehouse
from tests.http_api.api_client import Api, made_key
from tests.http_api.conftest import api_database, shared_api
from tests.reports import plain
from tests.reports.traffic import delivery, stories
from tests.store.store import FESTIVAL, JOHN, PASSES
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["api_database", "gatehouse", "shared_api"]

Command = Callable[..., subprocess.CompletedProcess[str]]
SPRING: dict[str, Any] = {"from": "2026-02-01", "to": "2026-04-30"}
SPRING_SINCE, SPRING_UNTIL = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
STRIPE_JUNE = datetime(2026, 6, 3, 12, tzinfo=UTC)
ANSWER = Answer("declines", "", "default", True, None, None, None, STRIPE_JUNE, [])


@pytest.fixture
def asked(shared_api: Api, api_database: Database) -> Api:
    """The API over this test's database."""
    shared_api.database = api_database
    return shared_api


@pytest.fixture
def traffic(gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring) -> None:
    """Two merchants' traffic, some of it in test mode; nothing is counted yet."""
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    for each in stories(8, 40, merchants=("default", "acme")):
        record(intake, each, keyring)


def on(day: str) -> dict[str, Any]:
    """Return a day as the API is asked of it."""
    return {"from": day, "to": day}


def rows_of(gatehouse: Command, *arguments: str) -> Any:
    """Return the answer of a report as the command line gives it in JSON."""
    done = gatehouse("report", "show", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.req("B6")
@pytest.mark.req("D5")
def test_seed_000_payment_analytics_of_the_last_thirty_days(
    intake: Database,
    keyring: Keyring,
    ops: Database,
    asked: Api,
    gatehouse: Command,
) -> None:
    """SELECT gateway_provider, COUNT(*), SUM(amount), AVG(processing_time_seconds) … INTERVAL '30 days' GROUP BY."""
    now = datetime.now(UTC)
    for number, (gateway, minor, days, took) in enumerate(
        [("paystack", 500_000, 1, 4), ("paystack", 250_050, 29, 8), ("paystack", 99, 31, 5), ("sayswitch", 700, 2, 60)]
    ):
        begun = now - timedelta(days=days)
        names = (ObjectName("charge", f"c{number}"),)
        said: dict[str, Any] = {"amount_minor": minor, "currency": "NGN"}
        paid = PaymentFact(names, status=PaymentStatus.COMPLETED, received_minor=minor, **said)
        pending = PaymentFact(names, status=PaymentStatus.PENDING, **said)
        record(intake, delivery(f"a{number}", [pending], begun, gateway=gateway), keyring)
        record(intake, delivery(f"b{number}", [paid], begun + timedelta(seconds=took), gateway=gateway), keyring)
    test_mode = PaymentFact((ObjectName("charge", "t"),), status=PaymentStatus.COMPLETED, received_minor=1, **said)
    record(intake, delivery("t", [test_mode], now, gateway="paystack", livemode=False), keyring)

    answer = asked.ask("/api/payments/analytics", made_key(ops))
    assert answer.status == 200, answer.text
    assert answer.body == [
        {
            "gateway_provider": "paystack",
            "currency": "NGN",
            "total_transactions": 2,
            "total_amount": "7500.50",
            "total_amount_minor": 750_050,
            "avg_processing_time": 6.0,
            "p95_processing_time": pytest.approx(8, rel=0.05),
        },
        {
            "gateway_provider": "sayswitch",
            "currency": "NGN",
            "total_transactions": 1,
            "total_amount": "7.00",
            "total_amount_minor": 700,
            "avg_processing_time": 60.0,
            "p95_processing_time": pytest.approx(60, rel=0.05),
        },
    ]
    assert answer.headers["gatehouse-definition"] == DEFINITIONS["gateways"].text
    assert datetime.fromisoformat(answer.headers["gatehouse-as-of"]) > now - timedelta(minutes=1)
    [tested] = asked.ask("/api/payments/analytics", made_key(ops), livemode="false").body
    assert (tested["total_transactions"], tested["total_amount_minor"]) == (1, 700)
    told = rows_of(gatehouse, "gateways", "--merchant", "default")
    assert [row["payments"] for row in told["rows"]] == [2, 1]
    assert told["rows"][0]["amount"] == "7500.50"


@pytest.mark.req("P9")
@pytest.mark.req("M7")
@pytest.mark.usefixtures("traffic")
def test_seed_001_revenue_from_to_by_month(
    gatehouse_database: GatehouseDatabase, ops: Database, asked: Api, gatehouse: Command
) -> None:
    """db.analytics.revenue('2026-01-01', '2026-12-31', 'month')."""
    for merchant in ("default", "acme"):
        answer = asked.ask("/api/analytics/revenue", made_key(ops, merchant), by="month", **SPRING)
        assert answer.status == 200, answer.text
        assert answer.body["definition"] == DEFINITIONS["revenue"].text
        assert (answer.body["merchant"], answer.body["served_by"]) == (merchant, "primary")
        months = [("2026-02-01", SPRING_SINCE), ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC))]
        for label, since in months:
            until = (since + timedelta(days=32)).replace(day=1)
            due = plain.revenue(gatehouse_database, since, until, merchant)
            told = {row["currency"]: row for row in answer.body["rows"] if row["from"] == label}
            assert told.keys() == due.keys()
            for currency, figures in due.items():
                row = told[currency]
                assert {name: row[name] for name in figures} == figures
                left = row["gross_minor"] - row["refunded_minor"] - row["fee_minor"]
                assert row["net_before_unknown_fees_minor"] == left
                assert row["net_minor"] == (None if row["sales_with_unknown_fee"] else left)
                assert Decimal(row["gross"]) == Decimal(row["gross_minor"]) / (1 if currency == "JPY" else 100)
        whole = rows_of(gatehouse, "revenue", "--merchant", merchant, "--by", "month", "--from", "2026-02-01",
                        "--to", "2026-04-30")  # fmt: skip
        assert whole["rows"] == answer.body["rows"]
    everybody = rows_of(gatehouse, "revenue", "--from", "2026-02-01", "--to", "2026-04-30")
    due = plain.revenue(gatehouse_database, SPRING_SINCE, SPRING_UNTIL, None)
    assert {row["currency"]: row["gross_minor"] for row in everybody["rows"]} == {
        currency: figures["gross_minor"] for currency, figures in due.items()
    }


@pytest.mark.req("P9")
@pytest.mark.usefixtures("traffic")
@pytest.mark.parametrize("per", ["gateway", "app", "method", "category"])
def test_a_breakdown_adds_up_to_the_whole(ops: Database, asked: Api, per: str) -> None:
    key = made_key(ops)
    whole = asked.ask("/api/analytics/revenue", key, **SPRING).body["rows"]
    parts = asked.ask("/api/analytics/breakdown", key, per=per, **SPRING).body["rows"]
    if per != "category":
        assert len({row[per] for row in parts}) > 1
    for row in whole:
        for name in ("sales", "gross_minor", "refunded_minor", "fee_minor", "net_before_unknown_fees_minor"):
            assert sum(part[name] for part in parts if part["currency"] == row["currency"]) == row[name]


@pytest.mark.req("P3")
@pytest.mark.req("P4")
def test_seed_001_order_statistics_and_ticket_breakdown(
    gatehouse_database: GatehouseDatabase,
    ops: Database,
    asked: Api,
    gatehouse: Command,
    api_database: Database,
) -> None:
    """db.orders.stats({dateFrom: '2026-05-01', …}) and db.items.revenue({eventId: 'alocubano-2026'})."""
    made = [
        create_order(api_database, "default", FESTIVAL, JOHN, PASSES, numbering=Numbering("ALB", "UTC"))
        for _ in range(3)
    ]
    set_order_status(api_database, "default", made[0].order.id, "completed", expected_version=made[0].order.version)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    key = made_key(ops)
    orders = asked.ask("/api/analytics/orders", key, livemode="false", **on(today)).body["rows"]
    counted = gatehouse_database.sql(
        "select status, count(*), sum(total_minor)::bigint, sum(paid_minor)::bigint from orders group by 1 order by 1"
    )
    assert [[row["status"], row["orders"], row["ordered_minor"], row["paid_minor"]] for row in orders] == counted
    assert {row["status"]: row["orders"] for row in orders} == {"completed": 1, "pending": 2}
    [tickets] = asked.ask("/api/analytics/tickets", key, livemode="false", event_id="alocubano-2026").body["rows"]
    assert tickets["item_type"] == "full_festival"
    assert (tickets["orders"], tickets["ordered_quantity"], tickets["ordered"]) == (3, 6, "900.00")
    assert (tickets["sold_quantity"], tickets["sold_minor"]) == (2, 30_000)
    assert asked.ask("/api/analytics/tickets", key, livemode="false", event_id="another").body["rows"] == []
    assert asked.ask("/api/analytics/orders", key, **on(today)).body["rows"] == []  # all of it is test mode
    told = rows_of(gatehouse, "tickets", "--merchant", "default", "--event", "alocubano-2026", "--test")
    assert told["rows"] == [tickets]


@pytest.mark.req("B6")
@pytest.mark.usefixtures("traffic")
def test_success_declines_and_what_goes_back_are_as_plain_sql_says(
    gatehouse_database: GatehouseDatabase, ops: Database, asked: Api
) -> None:
    key = made_key(ops)
    told = asked.ask("/api/analytics/success", key, **SPRING).body["rows"]
    due = plain.attempts(gatehouse_database, SPRING_SINCE, SPRING_UNTIL)
    assert [(r["gateway"], r["currency"], r["payments"], r["succeeded"], r["failed"]) for r in told] == [
        (row[0], row[1], row[2], row[4], row[5]) for row in due
    ]
    for row in told:
        ended = row["succeeded"] + row["failed"] + row["cancelled"]
        assert row["success_rate_pct"] == (round(100 * row["succeeded"] / ended, 2) if ended else None)
        assert row["open"] == row["payments"] - ended
    declines = asked.ask("/api/analytics/declines", key, **SPRING).body["rows"]
    counted = gatehouse_database.sql(
        "select gateway, currency, failure_code, count(*) from payments where status = 'failed' and livemode"
        " and merchant = 'default' and merged_into is null group by 1, 2, 3"
    )
    assert sorted([r["gateway"], r["currency"], r["reason"] or "", r["failed"]] for r in declines) == sorted(
        [gateway, currency, reason or "", number] for gateway, currency, reason, number in counted
    )
    back = asked.ask("/api/analytics/refunds", key, **SPRING).body["rows"]
    sold = f"merged_into is null and livemode and merchant = 'default' and {plain.IS_SALE}"
    counted = gatehouse_database.sql(
        "select gateway, currency, count(*), count(*) filter (where refunded_minor > 0), count(*) filter ("
        " where exists (select from disputes d where d.payment_id = p.id))"
        f" from payments p where {sold} group by 1, 2 order by 1, 2"
    )
    assert [
        [r["gateway"], r["currency"], r["sales"], r["sales_refunded"], r["sales_disputed"]] for r in back if r["sales"]
    ] == counted


@pytest.mark.req("B6")
def test_a_statement_is_tied_to_its_payouts(
    ops: Database, intake: Database, keyring: Keyring, asked: Api, gatehouse: Command
) -> None:
    """Settlement: payout = payments - refunds - fees; what differs is listed."""
    charge = (ObjectName("charge", "ch_1"),)
    june = STRIPE_JUNE
    july = june + timedelta(days=30)
    paid = PaymentFact(
        charge,
        status=PaymentStatus.COMPLETED,
        amount_minor=10_000,
        received_minor=10_000,
        currency="EUR",
        fee_minor=300,
        fee_currency="EUR",
    )
    back = RefundFact(
        (ObjectName("refund", "re_1"),),
        payment=charge,
        status=RefundStatus.COMPLETED,
        amount_minor=1000,
        currency="EUR",
    )
    unknown = paid._replace(objects=(ObjectName("charge", "ch_2"),), fee_minor=None, fee_currency=None)
    payout = PayoutFact(
        (ObjectName("payout", "po_1"),),
        kind="payout",
        status=PayoutStatus.SETTLED,
        amount_minor=8000,
        currency="EUR",
    )
    failed = payout._replace(objects=(ObjectName("payout", "po_2"),), status=PayoutStatus.FAILED, amount_minor=700)
    told: list[tuple[Fact, datetime]] = [
        (paid, june),
        (back, june + timedelta(days=2)),
        (payout, june + timedelta(days=5)),
        (unknown, july),
        (failed, july),
    ]
    for number, (fact, at) in enumerate(told):
        record(intake, delivery(f"s{number}", [fact], at), keyring)
    key = made_key(ops)
    answer = asked.ask("/api/analytics/statement", key, month="2026-06")
    assert answer.status == 200, answer.text
    lines = {row["line"]: row["amount_minor"] for row in answer.body["rows"]}
    assert lines == {
        "balance before": 0,
        "payments": 10_000,
        "refunds": -1000,
        "fees of payments": -300,
        "fees of refunds and disputes": 0,
        "held back by disputes": 0,
        "owed": 8700,
        "payouts": -8000,
        "fees of payouts": 0,
        "difference of owed and paid out": 700,
        "balance after": 700,
    }
    following = asked.ask("/api/analytics/statement", key, month="2026-07").body["rows"]
    lines = {row["line"]: row["amount_minor"] for row in following}
    assert (lines["balance before"], lines["owed"], lines["balance after"]) == (700, 10_000, 10_700)
    assert lines["may differ: payments with unknown fee"] == 10_000
    assert lines["may differ: payout po_2 failed"] == 700
    shown = gatehouse("report", "show", "statement", "--month", "2026-06", "--merchant", "default")
    assert "difference of owed and paid out" in shown.stdout
    assert "7.00" in shown.stdout


@pytest.mark.req("R6")
@pytest.mark.req("M5")
def test_seed_004_success_rate_by_app(
    gatehouse_database: GatehouseDatabase, ops: Database, asked: Api, gatehouse: Command
) -> None:
    gatehouse_database.sql(
        "insert into webhook_events (gateway, account, event_id, merchant, type, livemode, received_at, status)"
        " values ('paystack', 'default', 'e', 'default', 'charge.success', true, now() - interval '2 hours',"
        " 'applied');"
        "insert into webhook_forward_logs (app, target_url, ok, merchant, attempt_count, error_class, webhook_event_id,"
        " created_at) select app, 'https://a.example', ok, merchant, 2, error, (select id from webhook_events),"
        " now() - interval '1 hour' - age from (values ('elevenone', true, 'default', null, interval '0'),"
        " ('elevenone', true, 'default', null, '0'), ('elevenone', false, 'default', 'timeout', '0'),"
        " ('elevenone', false, 'default', 'timeout', '2 days'), ('elevenone', true, 'acme', null, '0'))"
        " as t (app, ok, merchant, error, age);"
        "insert into jobs (topic, business_key, merchant, status, finished_at, created_at, attempts) values"
        " ('fetch_fee', 'a', 'default', 'done', now() - interval '59 minutes', now() - interval '1 hour', 1),"
        " ('fetch_fee', 'b', 'default', 'dead', now(), now() - interval '1 hour', 20)"
    )
    key = made_key(ops)
    [row] = asked.ask("/api/analytics/forwarding", key).body["rows"]
    assert (row["deliveries"], row["delivered"], row["success_rate_pct"], row["tries"]) == (3, 2, 66.67, 6)
    assert (row["most_frequent_failure"], row["p50_seconds"]) == ("timeout (1)", pytest.approx(3600, rel=0.01))
    [work] = asked.ask("/api/analytics/enrichment", key).body["rows"]
    assert (work["topic"], work["done"], work["given_up"], work["done_pct"]) == ("fetch_fee", 1, 1, 50.0)
    assert work["p50_seconds"] == pytest.approx(60, rel=0.02)
    [everybody] = rows_of(gatehouse, "forwarding")["rows"]
    assert everybody["deliveries"] == 4


@pytest.mark.req("G14")
@pytest.mark.req("M7")
def test_completeness_adds_up_the_days_that_were_compared(
    gatehouse_database: GatehouseDatabase, ops: Database, asked: Api, gatehouse: Command
) -> None:
    gatehouse_database.sql(
        "insert into merchants (id, name) values ('acme', 'Acme');"
        "insert into completeness (gateway, account, day, merchant, listed, recorded, found_missing) values"
        " ('stripe', 'default', '2026-03-31', 'default', 10, 10, 0),"
        " ('stripe', 'default', '2026-04-01', 'default', 8, 6, 2),"
        " ('stripe', 'default', '2026-04-02', 'default', 0, 0, 0),"
        " ('paystack', 'default', '2026-04-02', 'default', 3, 3, 1),"
        " ('stripe', 'acme', '2026-04-02', 'acme', 5, 1, 4)"
    )
    key = made_key(ops)
    april: dict[str, Any] = {"from": "2026-04-01", "to": "2026-04-30"}
    paystack, stripe = asked.ask("/api/analytics/completeness", key, **april).body["rows"]
    counted = ("gateway", "days", "complete_days", "listed", "recorded", "missing", "recorded_pct", "found_missing")
    assert [paystack[name] for name in counted] == ["paystack", 1, 1, 3, 3, 0, 100.0, 1]
    assert [stripe[name] for name in counted] == ["stripe", 2, 1, 8, 6, 2, 75.0, 2]
    by_month = asked.ask("/api/analytics/completeness", key, by="month", gateway="stripe", **SPRING).body["rows"]
    assert [(row["from"], row["listed"], row["recorded_pct"]) for row in by_month] == [
        ("2026-03-01", 10, 100.0),
        ("2026-04-01", 8, 75.0),
    ]
    # A day in Denver begins with the day of UTC that begins in it.
    denver: dict[str, Any] = {"by": "day", "gateway": "stripe", "time_zone": "America/Denver"}
    days = asked.ask("/api/analytics/completeness", key, **denver, **on("2026-03-31")).body["rows"]
    assert [(row["from"], row["listed"]) for row in days] == [("2026-03-31", 8)]
    assert asked.ask("/api/analytics/completeness", key, livemode="false").status == 422
    printed = gatehouse("report", "show", "completeness", "--from", "2026-04-01", "--to", "2026-04-30", "--csv")
    rows = list(csv.DictReader(io.StringIO(printed.stdout)))
    assert [(row["gateway"], row["account"], row["missing"]) for row in rows] == [
        ("paystack", "default", "0"),
        ("stripe", "acme", "4"),
        ("stripe", "default", "2"),
    ]


@pytest.mark.usefixtures("traffic")
def test_csv_has_the_same_rows_and_no_formula(ops: Database, asked: Api, gatehouse: Command) -> None:
    with_formula = ANSWER._replace(rows=[{"reason": "=1+1", "amount": -5}]).as_csv()
    key = made_key(ops)
    answer = asked.ask("/api/analytics/success", key, format="csv", **SPRING)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["gatehouse-definition"] == DEFINITIONS["success"].text
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    whole = asked.ask("/api/analytics/success", key, **SPRING).body["rows"]
    assert [row["failed"] for row in rows] == [str(row["failed"]) for row in whole]
    assert list(rows[0]) == list(whole[0])
    assert with_formula.splitlines()[1] == "'=1+1,-5"
    printed = gatehouse(
        "report", "show", "success", "--merchant", "default", "--from", "2026-02-01", "--to", "2026-04-30", "--csv"
    )
    assert list(csv.DictReader(io.StringIO(printed.stdout))) == rows


@pytest.mark.parametrize(
    ("report", "query", "field"),
    [
        ("revenue", {"by": "month", "per": "app"}, "per"),
        ("gateways", {"by": "month"}, "by"),
        ("breakdown", {}, "per"),
        ("revenue", {"from": "2026-02-30"}, "from"),
        ("revenue", {"from": "2026-03-01", "to": "2026-02-01"}, "from"),
        ("revenue", {"time_zone": "Nowhere/City"}, "time_zone"),
        ("revenue", {"since": "2026-03-01T00:07:00Z"}, "since"),
        ("statement", {"month": "2026-13"}, "month"),
        ("revenue", {"colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_asked_names_its_field(
    ops: Database, asked: Api, report: str, query: dict[str, Any], field: str
) -> None:
    answer = asked.ask(f"/api/analytics/{report}", made_key(ops), **query)
    assert answer.status == 422
    assert field in answer.text


def test_reports_are_listed_and_need_a_key(ops: Database, asked: Api, gatehouse: Command) -> None:
    everywhere = made_key(ops, None, "ops")
    assert asked.ask("/api/analytics/revenue", everywhere, headers={"Gatehouse-Merchant": "acme"}).status == 200
    together = asked.ask("/api/analytics/revenue", everywhere, headers={"Gatehouse-Merchant": "*"})
    assert (together.status, together.body["errors"][0]["field"]) == (422, "Gatehouse-Merchant")
    assert asked.ask("/api/analytics/revenue").status == 401
    assert asked.ask("/api/analytics/nothing", made_key(ops)).status == 422
    listed = asked.ask("/api/analytics", made_key(ops)).body["reports"]
    assert {each["report"] for each in listed} == set(DEFINITIONS)
    said = gatehouse("report", "list").stdout
    assert all(each["definition"] in said for each in listed)
    wrong = gatehouse("report", "show", "nothing")
    assert (wrong.returncode, wrong.stderr.splitlines()[0][:40]) == (1, "error: there is no report 'nothing'; the")
    assert gatehouse("report", "show", "revenue", "--from", "soon").returncode == 2


def test_the_guide_has_every_definition_as_answers_carry_it() -> None:
    guide = (ROOT / "docs" / "reports.md").read_text()
    for name, definition in DEFINITIONS.items():
        assert f"### {name}\n\n{definition.title}.\n\n{definition.text}\n" in guide


@pytest.mark.req("B6")
def test_the_history_of_payments_is_searched_by_text(
    ops: Database, asked: Api, intake: Database, keyring: Keyring, api_database: Database
) -> None:
    made = create_order(api_database, "default", FESTIVAL, JOHN, PASSES, numbering=Numbering("ALB", "UTC"))
    charge = (ObjectName("charge", "ch_1"),)
    said = PaymentFact(
        charge, status=PaymentStatus.PENDING, currency="USD", metadata={"order_number": made.order.number}
    )
    other = PaymentFact(
        (ObjectName("charge", "ch_2"),), reference="basket-7", email="Paul@Example.com", customer_ref="cus_2"
    )
    for number, fact in enumerate((said, other)):
        record(intake, delivery(f"h{number}", [fact], STRIPE_JUNE, livemode=False), keyring)
    key = made_key(ops)
    found = {
        text: asked.ask("/api/payments", key, text=text).body["items"] for text in ("doe", "basket-7", "cus_2", "x")
    }
    assert [payment["reference"] for payment in found["basket-7"]] == ["basket-7"]
    assert found["cus_2"] == found["basket-7"] == asked.ask("/api/payments", key, text="paul@example.com").body["items"]
    assert [payment["metadata"] for payment in found["doe"]] == [{"order_number": made.order.number}]
    assert found["x"] == []

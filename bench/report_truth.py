"""What plain SQL says of the generated payments, beside what the API and the command line answer."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bench.ground import Ground
from gatehouse.database.connection import Database
from gatehouse.reports.totals import ALL_MERCHANTS
from local.child_process import CHECKOUT
from tests.http_api.api_client import Api, made_key

YEAR = {"from": "2025-01-01", "to": "2025-12-31"}


class Example(NamedTuple):
    """A question, the columns of its answer that are compared, and the plain SQL that gives the same rows.

    In the SQL {mine} limits to a merchant, {label} is how a slot of a time is called, and {within} is whether a time
    lies in the period that is asked for.
    """

    name: str
    report: str
    said: Mapping[str, str]
    columns: tuple[str, ...]
    sql: str


SOLD = "livemode and status in ('completed', 'refunded')"
REVENUE = f"""
select label, currency, sum(sales)::bigint, sum(gross)::bigint, sum(fee)::bigint, sum(refunds)::bigint,
    sum(back)::bigint
from (
    select {{label:completed_at}} as label, currency, 1 as sales, received_minor as gross,
        coalesce(fee_minor, 0) as fee, 0 as refunds, 0 as back
    from payments where {SOLD} and {{within:completed_at}} {{mine}}
    union all
    select {{label:refunded_at}}, currency, 0, 0, 0, 1, amount_minor
    from refunds where livemode and status = 'completed' and {{within:refunded_at}} {{mine}}
) as told
group by 1, 2 order by 1, 2
"""  # noqa: S608 - our own words
REVENUE_COLUMNS = ("from", "currency", "sales", "gross_minor", "fee_minor", "refunds", "refunded_minor")
PER = f"""
select PER, currency, sum(sales)::bigint, sum(gross)::bigint, sum(refunds)::bigint, sum(back)::bigint
from (
    select PER, currency, 1 as sales, received_minor as gross, 0 as refunds, 0 as back
    from payments where {SOLD} and {{within:completed_at}} {{mine}}
    union all
    select PER, currency, 0, 0, 1, amount_minor
    from (select r.*, p.method, p.app from refunds r join payments p on p.id = r.payment_id) as refunds
    where livemode and status = 'completed' and {{within:refunded_at}} {{mine}}
) as told
group by 1, 2 order by 1, 2
"""  # noqa: S608 - our own words
EXAMPLES = (
    Example(
        "1 gateways",
        "gateways",
        {},
        ("gateway", "currency", "payments", "amount_minor", "succeeded", "average_processing_seconds"),
        "select gateway, currency, count(*), sum(amount_minor)::bigint, count(completed_at),"
        " round(avg(extract(epoch from completed_at - first_fact_at)), 3)::float8"
        " from payments where livemode and {within:first_fact_at} {mine} group by 1, 2 order by 1, 2",
    ),
    Example("2 revenue by month", "revenue", {"by": "month"}, REVENUE_COLUMNS, REVENUE),
    *(
        Example(f"2 revenue by day, {zone}", "revenue", {"by": "day", "time_zone": zone}, REVENUE_COLUMNS, REVENUE)
        for zone in ("America/Denver", "Asia/Kathmandu")
    ),
    *(
        Example(
            f"3 by {per}",
            "breakdown",
            {"per": per, "time_zone": "Asia/Kolkata"},
            (per, "currency", "sales", "gross_minor", "refunds", "refunded_minor"),
            PER.replace("PER", per),
        )
        for per in ("method", "app")
    ),
    Example(
        "4 success by week",
        "success",
        {"by": "week", "time_zone": "Africa/Lagos"},
        ("from", "gateway", "currency", "payments", "succeeded", "failed"),
        "select {label:first_fact_at}, gateway, currency, count(*), count(completed_at),"
        " count(*) filter (where status = 'failed')"
        " from payments where livemode and {within:first_fact_at} {mine} group by 1, 2, 3 order by 1, 2, 3",
    ),
    Example(
        "4 declines",
        "declines",
        {"time_zone": "America/Denver"},
        ("gateway", "currency", "reason", "failed", "amount_minor"),
        "select gateway, currency, failure_code, count(*), sum(amount_minor)::bigint from payments"
        " where livemode and status = 'failed' and {within:first_fact_at} {mine}"
        " group by 1, 2, 3 order by 1, 2, 4 desc, 3",
    ),
    Example(
        "5 refunds and disputes",
        "refunds",
        {},
        ("gateway", "currency", "sales", "gross_minor", "sales_refunded", "refunded_of_sales_minor"),
        "select gateway, currency, count(*), sum(received_minor)::bigint, count(refunded_minor),"  # noqa: S608 - our own words
        " coalesce(sum(refunded_minor), 0)::bigint"
        f" from payments where {SOLD} and {{within:completed_at}} {{mine}} group by 1, 2 order by 1, 2",
    ),
    Example(
        "6 orders by month",
        "orders",
        {"by": "month", "time_zone": "America/Denver"},
        ("from", "status", "currency", "orders", "ordered_minor", "paid_minor"),
        "select {label:created_at}, status, currency, count(*), sum(total_minor)::bigint, sum(paid_minor)::bigint"
        " from orders where livemode and {within:created_at} {mine} group by 1, 2, 3 order by 1, 2, 3",
    ),
    Example(
        "7 tickets of an event",
        "tickets",
        {"event_id": "event-3"},
        ("item_type", "currency", "orders", "ordered_quantity", "ordered_minor", "sold_quantity", "sold_minor"),
        "select item_type, currency, count(distinct order_id), sum(quantity)::bigint, sum(each.total_minor)::bigint,"
        " coalesce(sum(quantity) filter (where status = 'completed'), 0)::bigint,"
        " coalesce(sum(each.total_minor) filter (where status = 'completed'), 0)::bigint"
        " from orders join (select order_id, item_type, quantity, total_minor from order_items) as each"
        " on order_id = id where livemode and event_id = 'event-3' and {within:created_at} {mine}"
        " group by 1, 2 order by 1, 2",
    ),
)


def compare(place: Ground, merchants: Sequence[str], examples: Sequence[Example] = EXAMPLES) -> None:
    """Stop at the first figure that the API or the command line gives otherwise than plain SQL."""
    api = Api()
    ops = place.database.connect("ops")
    api.database = place.database.connect("api")
    try:
        place.database.sql(
            "insert into merchants (id, name) select distinct merchant, merchant from payments on conflict do nothing"
        )
        for example in examples:
            for merchant in merchants:
                due = plain(place, example, merchant)
                agree(f"{example.name} of {merchant}, API", by_api(api, ops, example, merchant), due)
            told = by_command(place, example)
            agree(f"{example.name} of all, command line", told, plain(place, example, ALL_MERCHANTS))
        agree_on_payment_analytics(place, api, ops, merchants[0])
    finally:
        ops.close()
        api.database.close()


def plain(place: Ground, example: Example, merchant: str) -> list[list[Any]]:
    """Return the rows that plain SQL gives."""
    zone, by = example.said.get("time_zone", "UTC"), example.said.get("by", "day")
    text = example.sql.replace("{mine}", "" if merchant == ALL_MERCHANTS else f"and merchant = '{merchant}'")
    for column in ("completed_at", "refunded_at", "first_fact_at", "created_at"):
        label = f"to_char(date_trunc('{by}', {column} at time zone '{zone}'), 'YYYY-MM-DD')"
        within = " and ".join(
            f"{column} {sign} timestamp '{day}' at time zone '{zone}'"
            for sign, day in ((">=", "2025-01-01"), ("<", "2026-01-01"))
        )
        text = text.replace(f"{{label:{column}}}", label).replace(f"{{within:{column}}}", within)
    return place.database.sql(text)


def by_api(api: Api, ops: Database, example: Example, merchant: str) -> list[list[Any]]:
    """Return the rows that the API answers to the merchant's key."""
    asked: dict[str, Any] = {**YEAR, **example.said}
    answer = api.ask(f"/api/analytics/{example.report}", made_key(ops, merchant), **asked)
    if answer.status != 200:
        raise AssertionError(f"{example.name}: {answer.text}")
    return [[row[name] for name in example.columns] for row in answer.body["rows"]]


def by_command(place: Ground, example: Example) -> list[list[Any]]:
    """Return the rows that `gatehouse report show` prints for all merchants together."""
    options = [f"--{name.removesuffix('_id').replace('_', '-')}={value}" for name, value in example.said.items()]
    command = [sys.executable, "-m", "cli.main", "report", "show", example.report, "--json"]
    command += [*(f"--{name}={value}" for name, value in YEAR.items()), *options]
    environment = {"PATH": os.environ["PATH"], "STAGE": "local", "DATABASE_TLS": "off"}
    environment["POSTGRES_URL"] = place.database.url("ops")
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{example.name}: {done.stderr}")
    return [[row[name] for name in example.columns] for row in json.loads(done.stdout)["rows"]]


def agree_on_payment_analytics(place: Ground, api: Api, ops: Database, merchant: str) -> None:
    """Ask the route that goes some days back from now for all that there is."""
    days = (datetime.now(UTC) - datetime(2024, 12, 31, tzinfo=UTC)).days
    answer = api.ask("/api/payments/analytics", made_key(ops, merchant), days=days)
    names = ("gateway_provider", "currency", "total_transactions", "total_amount_minor", "avg_processing_time")
    due = place.database.sql(
        "select gateway, currency, count(*), sum(amount_minor)::bigint,"  # noqa: S608 - our own words
        " round(avg(extract(epoch from completed_at - first_fact_at)), 3)::float8"
        f" from payments where livemode and merchant = '{merchant}' group by 1, 2 order by 1, 2"
    )
    agree("payments/analytics", [[row[name] for name in names] for row in answer.body], due)


def agree(what: str, told: list[list[Any]], due: list[list[Any]]) -> None:
    """Raise where what is told is not what plain SQL says; seconds may be rounded otherwise."""
    close = [[round(cell, 2) if isinstance(cell, float) else cell for cell in row] for row in due]
    ours = [[round(cell, 2) if isinstance(cell, float) else cell for cell in row] for row in told]
    if ours != close:
        different = [pair for pair in zip(ours, close, strict=False) if pair[0] != pair[1]][:3]
        raise AssertionError(f"{what}: {len(told)} rows for {len(due)}; the first that differ: {different}")

"""Reports over a year at five million payments of 500 merchants, beside the same at half a million.

The numbers are compared with what plain SQL says of the payments themselves before any time is believed.
BENCH_PAYMENTS=30000,300000 sets other sizes. Beside each time stands how many rows and pages its plan reads, which no
load of the machine changes: until each hour holds a payment of every gateway and currency, sums grow with payments.
"""

import json
import os
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from statistics import quantiles
from time import perf_counter
from typing import Any, NamedTuple, cast

from bench.figures import Figure
from bench.ground import Ground, ground
from gatehouse.database.connection import Database
from gatehouse.database.flush import Result
from gatehouse.database.sql import Bound, Statement
from gatehouse.reports.ask import arguments, ask
from gatehouse.reports.totals import ALL_MERCHANTS

SIZES = "500000,5000000"
CHUNK = 50_000
MERCHANTS = 500
RUNS = 24
MOST_TIMES_DEARER = 1.5
MOST_MILLISECONDS_OF_ONE, MOST_MILLISECONDS_OF_ALL = 50, 300
YEAR: dict[str, Any] = {"first": date(2025, 1, 1), "last": date(2025, 12, 31)}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
BIGGEST = "merchant-000"  # a twelfth of all payments

# Indexes that no report reads, foreign keys and the log only slow the filling: this database is thrown away.
PREPARE = """
do $$ declare each record; begin
    for each in select indexrelid::regclass as name from pg_index i join pg_class c on c.oid = i.indrelid
        where c.relname in ('payments', 'refunds', 'orders', 'order_items') and not i.indisprimary
    loop
        if each.name::text not in ('order_items_order', 'refunds_payment') then
            execute format('drop index %s', each.name);
        end if;
    end loop;
    for each in select conname as name, conrelid::regclass as of_table from pg_constraint where contype = 'f' loop
        execute format('alter table %s drop constraint %I', each.of_table, each.name);
    end loop;
end $$;
alter table payments set unlogged;
alter table refunds set unlogged;
alter table orders set unlogged;
alter table order_items set unlogged;
alter table total_entries set unlogged;
alter table totals set unlogged;
"""
# Each number makes one payment; what it is like follows from a hash of it, so that every run has the same year.
FILL = """
set session_replication_role = replica;
set synchronous_commit = off;
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency, fee_minor,
    fee_currency, method, app, failure_code, first_fact_at, last_fact_at, completed_at
)
select n, 'merchant-' || lpad(m::text, 3, '0'),
    (array['stripe', 'paypal', 'paystack', 'sayswitch', 'mx_merchant'])[1 + (m + (h % 8 = 0)::integer) % 5], 'default',
    h % 50 <> 0,
    case when is_sale then case when h % 25 = 3 then 'refunded' else 'completed' end else 'failed' end,
    amount, case when is_sale then amount end, case when is_sale and h % 25 = 3 then amount end, currency,
    case when is_sale and h % 97 <> 0 then amount / 30 end, case when is_sale and h % 97 <> 0 then currency end,
    (array['card', 'card', 'bank_transfer', 'ussd'])[1 + h % 4], (array['nexai', 'elevenone'])[1 + h % 2],
    case when not is_sale then (array['card_declined', 'insufficient_funds', 'expired_card'])[1 + h % 3] end,
    begun, begun + interval '2 hours', case when is_sale then begun + took * interval '1 millisecond' end
from generate_series(:from, :to) as n
cross join lateral (select (n::bigint * 2654435761) % 4294967291 as h) as hashed
cross join lateral (
    select floor(500 * power(h / 4294967291.0, 2.5))::integer as m, 100 + h % 20000 as amount, h % 16 <> 5 as is_sale,
        (array['USD', 'EUR', 'NGN'])[1 + floor(500 * power(h / 4294967291.0, 2.5))::integer % 3] as currency,
        timestamptz '2025-01-01 00:00Z' + ((n::bigint * 40503) % 31536000) * interval '1 second' as begun,
        500 + (h % 300) * (h % 300) as took
) as made;
insert into refunds (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, refunded_at,
    first_fact_at, last_fact_at
)
select id, merchant, gateway, account, livemode, 're_' || id, id, 'completed', amount_minor, currency,
    first_fact_at + interval '2 days', first_fact_at + interval '2 days', last_fact_at
from payments where id between :from and :to and status = 'refunded';
insert into orders (
    id, merchant, number, customer_id, livemode, event_id, currency, status, subtotal_minor, tax_minor, fee_minor,
    discount_minor, total_minor, paid_minor, search, created_at
) overriding system value
select id, merchant, 'ALB-' || id, 1, livemode, 'event-' || id % 7, currency,
    case status when 'failed' then 'pending' else status end, amount_minor, 0, 0, 0, amount_minor,
    coalesce(received_minor, 0), '', first_fact_at
from payments where id between :from and :to and id % 20 = 0;
insert into order_items (merchant, order_id, item_type, quantity, unit_minor, total_minor)
select merchant, id, (array['full_festival', 'day_pass', 'vip'])[1 + id % 3], 1, total_minor, total_minor
from orders where id between :from and :to;
"""
# As counting does it, without the marks: entries of a chunk of rows, and sums of a month of entries.
COUNT = """
set synchronous_commit = off;
insert into total_entries
select * from total_entries_of(
    array(select id from payments where id between :from and :to),
    array(select id from refunds where id between :from and :to), '{}',
    array(select id from orders where id between :from and :to));
"""
SUM = "set synchronous_commit = off; set work_mem = '512MB'; select repair_totals(':since', ':until', ':levels')"

QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "1 gateways": ("gateways", {}),
    "2 revenue by month": ("revenue", {"by": "month"}),
    "2 revenue by day": ("revenue", {"by": "day"}),
    "2 revenue by month, Kolkata": ("revenue", {"by": "month", "time_zone": "Asia/Kolkata"}),
    "2 revenue by day, Denver": ("revenue", {"by": "day", "time_zone": "America/Denver"}),
    "3 by method, by month": ("breakdown", {"per": "method", "by": "month"}),
    "3 by app": ("breakdown", {"per": "app"}),
    "4 success by week": ("success", {"by": "week"}),
    "4 declines": ("declines", {}),
    "5 refunds and disputes": ("refunds", {}),
    "6 orders by month": ("orders", {"by": "month"}),
    "7 tickets": ("tickets", {}),
}


class Read(NamedTuple):
    """What the plans of one question read."""

    rows: int
    pages: int


class Explaining:
    """A database that explains what it is asked, and counts what the plans read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows = self.pages = 0

    def flush(self, bounds: Sequence[Bound], *, idempotent: bool, merchant: str | None) -> list[Result]:
        """Ask, and have each question explained."""
        results = self._database.flush(bounds, idempotent=idempotent, merchant=merchant)
        for each in bounds:
            text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {each.statement.text}"
            statement = Statement(f"explain {each.statement.name}", "", text, each.statement.parameters)
            [row] = self._database.flush([Bound(statement, each.values)], idempotent=True, merchant=merchant)[0].rows
            told = row["QUERY PLAN"]
            [whole] = json.loads(told) if isinstance(told, str) else told
            self.pages += whole["Plan"]["Shared Hit Blocks"] + whole["Plan"]["Shared Read Blocks"]
            self.rows += rows_read(whole["Plan"])
        return results


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows the scans of a plan read from tables, taken or not."""
    below = sum(rows_read(each) for each in plan.get("Plans", ()))
    if "Relation Name" not in plan:
        return below
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return below + round(float(read) * int(plan["Actual Loops"]))


def run() -> list[Figure]:
    """Measure every question at half a million payments, then at five million, or at the sizes that are set."""
    sizes = os.environ.get("BENCH_PAYMENTS", SIZES)
    few, many = (int(size) for size in sizes.split(","))
    with ground() as place:
        # Like a server that holds its indexes in memory; five million payments are three gigabytes.
        place.database.sql(PREPARE)
        one, everybody = place.database.connect("api"), place.database.connect("ops", statement_milliseconds=60_000)
        try:
            fill(place, 1, few)
            small, small_read = measured(one, everybody), explained(one, everybody)
            fill(place, few + 1, many)
            compare(place, one, everybody)
            large, large_read = measured(one, everybody), explained(one, everybody)
        finally:
            one.close()
            everybody.close()
    figures = []
    for (name, whose), value in large.items():
        bound = MOST_MILLISECONDS_OF_ALL if whose == "all merchants" else MOST_MILLISECONDS_OF_ONE
        figures.append(Figure(f"{name}, {whose}, p95", value, "ms", limit=bound))
        figures.append(Figure(f"    beside {few:,}", value, "ms", small[name, whose], limit=MOST_TIMES_DEARER))
        before, now = small_read[name, whose], large_read[name, whose]
        figures.append(Figure("    rows that its plan reads", now.rows, "rows", max(before.rows, 1)))
        figures.append(Figure("    pages that its plan reads", now.pages, "pages", max(before.pages, 1)))
    return figures


def fill(place: Ground, first: int, last: int) -> None:
    """Write payments with their refunds and orders, and count them."""
    begun = perf_counter()
    for begin in range(first, last + 1, CHUNK):
        end = min(begin + CHUNK - 1, last)
        for script in (FILL, COUNT):
            place.database.sql(script.replace(":from", str(begin)).replace(":to", str(end)))
    month = datetime(2025, 1, 1, tzinfo=UTC)
    while month < datetime(2026, 2, 1, tzinfo=UTC):
        following = (month + timedelta(days=32)).replace(day=1)
        for levels in ("{hour,day}", "{month}"):
            statement = SUM.replace(":since", month.isoformat()).replace(":until", following.isoformat())
            place.database.sql(statement.replace(":levels", levels))
        month = following
    for table in ("payments", "total_entries", "totals"):
        place.database.sql(f"vacuum analyze {table}")
    print(f"  {last:,} payments written and counted: {perf_counter() - begun:.0f} s more", flush=True)


def measured(one: Database, everybody: Database) -> dict[tuple[str, str], float]:
    """Return the 95th percentile in milliseconds of every question, of small and large merchants and of all."""
    found: dict[tuple[str, str], float] = {}
    some = [f"merchant-{(number * 37) % MERCHANTS:03}" for number in range(RUNS)]
    for name, (report, said) in QUESTIONS.items():
        asked = arguments(**YEAR, **said)
        for whose, database, merchants in (
            ("one of 500", one, some),
            ("the biggest", one, [BIGGEST] * RUNS),
            ("all merchants", everybody, [ALL_MERCHANTS] * RUNS),
        ):
            found[name, whose] = p95([partial(ask, database, each, report, asked, now=NOW) for each in merchants])
    return found


def explained(one: Database, everybody: Database) -> dict[tuple[str, str], Read]:
    """Return what the plans of every question read, of a small merchant, of the biggest and of all."""
    found: dict[tuple[str, str], Read] = {}
    for name, (report, said) in QUESTIONS.items():
        asked = arguments(**YEAR, **said)
        for whose, database, merchant in (
            ("one of 500", one, "merchant-250"),
            ("the biggest", one, BIGGEST),
            ("all merchants", everybody, ALL_MERCHANTS),
        ):
            explaining = Explaining(database)
            ask(cast("Database", explaining), merchant, report, asked, now=NOW)
            found[name, whose] = Read(explaining.rows, explaining.pages)
    return found


def p95(askings: Sequence[Callable[[], object]]) -> float:
    """Return the 95th percentile in milliseconds; the first asking warms caches and is not counted."""
    askings[0]()
    times = []
    for asking in askings:
        begun = perf_counter()
        asking()
        times.append((perf_counter() - begun) * 1000)
    return quantiles(times, n=20)[-1]


def compare(place: Ground, one: Database, everybody: Database) -> None:
    """Stop at the first figure that is not what plain SQL says of the generated payments."""
    for database, merchant in ((one, BIGGEST), (one, "merchant-250"), (everybody, ALL_MERCHANTS)):
        mine = "" if merchant == ALL_MERCHANTS else f" and merchant = '{merchant}'"
        sold = f"livemode and status in ('completed', 'refunded'){mine}"
        due = place.database.sql(
            "select to_char(date_trunc('month', completed_at at time zone 'America/Denver'), 'YYYY-MM-DD'), currency,"  # noqa: S608 - our own words
            f" count(*), sum(received_minor)::bigint, coalesce(sum(fee_minor), 0)::bigint from payments where {sold}"
            " and completed_at >= '2025-01-01 07:00Z' and completed_at < '2026-01-01 07:00Z'"
            " group by 1, 2 order by 1, 2"
        )
        asked = arguments(**YEAR, by="month", time_zone="America/Denver")
        rows = [row for row in ask(database, merchant, "revenue", asked, now=NOW).rows if row["sales"]]
        told = [[row["from"], row["currency"], row["sales"], row["gross_minor"], row["fee_minor"]] for row in rows]
        agree(told, due)
        due = place.database.sql(
            "select gateway, currency, count(*), sum(amount_minor)::bigint,"  # noqa: S608 - our own words
            " round(avg(extract(epoch from completed_at - first_fact_at)), 2)::float8"
            f" from payments where livemode{mine} and first_fact_at >= '2025-01-01Z' and first_fact_at < '2026-01-01Z'"
            " group by 1, 2 order by 1, 2"
        )
        rows = ask(database, merchant, "gateways", arguments(**YEAR), now=NOW).rows
        told = [
            [
                row["gateway"],
                row["currency"],
                row["payments"],
                row["amount_minor"],
                round(row["average_processing_seconds"], 2),
            ]
            for row in rows
        ]
        agree([row[:4] for row in told], [row[:4] for row in due])
        if any(abs(ours[4] - theirs[4]) > 0.02 for ours, theirs in zip(told, due, strict=True)):
            raise AssertionError(f"averages differ: {told} and {due}")
    print("  the figures are those of plain SQL over the payments themselves", flush=True)


def agree(told: list[list[Any]], due: list[list[Any]]) -> None:
    """Raise where what a report says is not what plain SQL says."""
    if told != due:
        different = [pair for pair in zip(told, due, strict=False) if pair[0] != pair[1]][:3]
        raise AssertionError(f"{len(told)} rows for {len(due)}; the first that differ: {different}")

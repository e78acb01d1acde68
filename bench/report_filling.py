"""Databases with a year of payments of 500 merchants, counted as counting does it, for the measuring of reports.

BENCH_KEPT=/a/folder keeps them there, so that the next run needs not fill them again.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

from bench.ground import Ground, bench_server, migrated_database
from local.postgres import PostgresServer
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import database_name, run_sql

BEGAN = datetime(2025, 1, 1, tzinfo=UTC)
CHUNK = 50_000
MERCHANTS = 500
# Like a server that holds what it reads in memory; nothing of it must outlive a power cut.
SETTINGS = {"shared_buffers": "1GB", "max_wal_size": "4GB", "fsync": "off", "max_connections": "50"}
LEVELS = ("{quarter,hour,six_hours,day}", "{month}")

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
INDEXES = "select indexname::text, indexdef from pg_indexes where tablename in ('total_entries', 'totals') order by 1"
# Each number makes one payment; what it is like follows from a hash of it, so that every run has the same year.
FILL = """
set session_replication_role = replica;
set synchronous_commit = off;
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency, fee_minor,
    fee_currency, method, app, failure_code, first_fact_at, last_fact_at, completed_at, reference, email, user_id, plan,
    order_id, customer_id
)
select n, 'merchant-' || lpad(m::text, 3, '0'),
    (array['stripe', 'paypal', 'paystack', 'sayswitch', 'mx_merchant'])[1 + (m + (h % 8 = 0)::integer) % 5], 'default',
    h % 50 <> 0,
    case when is_sale then case when h % 25 = 3 then 'refunded' else 'completed' end
        when h % 800 = 5 then 'cancelled' else 'failed' end,
    amount, case when is_sale then amount end, case when is_sale and h % 25 = 3 then amount end, currency,
    case when is_sale and h % 97 <> 0 then amount / 30 end, case when is_sale and h % 97 <> 0 then currency end,
    (array['card', 'card', 'bank_transfer', 'ussd'])[1 + h % 4], (array['nexai', 'elevenone'])[1 + h % 2],
    case when not is_sale then (array['card_declined', 'insufficient_funds', 'expired_card'])[1 + h % 3] end,
    begun, begun + interval '2 hours', case when is_sale then begun + took * interval '1 millisecond' end,
    'basket-' || lpad(n::text, 8, '0'), 'guest' || lpad((n / 20)::text, 7, '0') || '@example.com',
    case when h % 3 = 1 then 'user-' || lpad((n / 10)::text, 7, '0') end,
    case when h % 3 = 1 then (array['basic', 'pro'])[1 + h % 2] end,
    case when n % 20 = 0 then n end, case when n % 20 = 0 then n / 20 end
from generate_series(:from, :to) as n
cross join lateral (select (n::bigint * 2654435761) % 4294967291 as h offset 0) as hashed
cross join lateral (
    select floor(500 * power(h / 4294967291.0::float8, 2.5::float8))::integer as m offset 0  -- worked out once
) as whose
cross join lateral (
    select 100 + h % 20000 as amount, h % 16 <> 5 as is_sale, (array['USD', 'EUR', 'NGN'])[1 + m % 3] as currency,
        timestamptz ':began' + ((n::bigint * 40503) % 31536000)::float8 * interval '1 second' as begun,
        (500 + (h % 300) * (h % 300))::float8 as took
    offset 0
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
select id, merchant, 'ALB-' || id, customer_id, livemode, 'event-' || id % 7, currency,
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
SUM = """
set synchronous_commit = off;
set work_mem = '256MB';
insert into totals select * from drift_of_totals(':since', ':until', ':levels');
"""


@contextmanager
def filled(*sizes: int) -> Iterator[list[Ground]]:
    """Start a server with a database of each size, and remove it at the end unless its folder is kept."""
    kept = os.environ.get("BENCH_KEPT", "")
    with bench_server(Path(kept) if kept else None, **SETTINGS) as server:
        yield [ground_of(server, size) for size in sizes]


def ground_of(server: PostgresServer, size: int) -> Ground:
    """Return the database with so many payments; make it where there is none."""
    name = f"payments_{size}"
    if not run_sql(server.url(), f"select from pg_database where datname = '{name}'"):
        made = Ground(server, migrated_database(server))
        fill(made, size)
        run_sql(server.url(), f"alter database {database_name(made.database.address)} rename to {name}")
    return Ground(server, GatehouseDatabase(server.url(name), "127.0.0.1", server.port))


def fill(place: Ground, size: int, *, began: datetime = BEGAN, besides: str = "") -> None:
    """Write a year of payments with their refunds and orders, and count them; `besides` is more SQL for each chunk."""
    begun = perf_counter()
    sql = place.database.sql
    sql(PREPARE)
    indexes = sql(INDEXES)
    sql("alter table total_entries drop constraint total_entries_pkey; alter table totals drop constraint totals_pkey")
    sql("drop index total_entries_merchant, total_entries_bucket, totals_bucket")
    chunks = [(begin, min(begin + CHUNK - 1, size)) for begin in range(1, size + 1, CHUNK)]
    for script in (FILL, COUNT, *([besides] if besides else [])):
        dated = script.replace(":began", began.isoformat())
        at_once(sql, [dated.replace(":from", str(begin)).replace(":to", str(end)) for begin, end in chunks])
    print(f"  {size:,} payments written: {perf_counter() - begun:.0f} s", flush=True)
    for table in ("payments", "refunds", "orders", "order_items", "total_entries"):
        sql(f"vacuum analyze {table}")
    for levels in LEVELS:
        at_once(sql, [_sum_of(since, until, levels) for since, until in months(began)])
        if levels == LEVELS[0]:
            definitions = [f"set maintenance_work_mem = '512MB'; {text}" for _, text in indexes]
            at_once(sql, definitions)
    sql("vacuum analyze totals")
    print(f"  {size:,} payments written and counted: {perf_counter() - begun:.0f} s", flush=True)


def at_once(sql: Callable[[str], object], scripts: Sequence[str]) -> None:
    """Run scripts over a connection for each core."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(sql, scripts):
            pass


def months(began: datetime) -> list[tuple[datetime, datetime]]:
    """Return the months in which something was paid or refunded."""
    found = []
    month = began.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while month < began + timedelta(days=396):
        following = (month + timedelta(days=32)).replace(day=1)
        found.append((month, following))
        month = following
    return found


def _sum_of(since: datetime, until: datetime, levels: str) -> str:
    text = SUM.replace(":since", since.isoformat()).replace(":until", until.isoformat())
    return text.replace(":levels", levels)

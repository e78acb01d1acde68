"""What the console is measured on: a year that ends now, of 500 merchants and a large clinic, with all that pages show.

Payments, refunds, orders and sums are those of `bench.report_filling`, patients those of `bench.clinics`; here come
their events, names, facts, deliveries, customers and subscriptions. Five million payments take a while to write, so
BENCH_KEPT=/a/folder keeps the databases there, and another run measures them as they are.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from urllib.parse import quote, urlsplit

from bench import clinics, report_filling, reports
from bench.clinics import LARGE_CLINIC, Size
from bench.ground import DATA_KEYS, Ground, bench_server, migrated_database
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from gatehouse.models import accounts
from gatehouse.sealing import Keyring
from local.child_process import CHECKOUT
from local.postgres import PostgresServer
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, GatehouseDatabase
from tests.support.postgres import run_sql

MERCHANTS, BIGGEST, CLINIC = report_filling.MERCHANTS, reports.BIGGEST, LARGE_CLINIC
YEAR = timedelta(days=365)
LARGE_PATIENTS = 20_000
FIRST_OF_THE_CLINIC = 900_000_000  # ids beyond those of all others

# A long name is a whole line of a page.
MERCHANTS_OF_THE_YEAR = """
insert into merchants (id, name, created_at)
select 'merchant-' || lpad(n::text, 3, '0'), 'The house of music and dance number ' || n, ':began'
from generate_series(0, 499) as n
on conflict do nothing;
insert into item_types (merchant, name)
select m.id, t from merchants m, unnest(array['full_festival', 'day_pass', 'vip']) as t
on conflict do nothing;
insert into apps (merchant, name, is_default, plans, target_url)
select id, app, app = 'nexai', array['basic', 'pro'], 'https://' || app || '.example.com/hooks/' || id
from merchants, unnest(array['nexai', 'elevenone']) as app where id like 'merchant-%';
insert into api_keys (id, merchant, role, name, hash, rate_per_minute)
select lpad(row_number() over ()::text, 8, '0'), id, 'developer', 'Server of ' || name, sha256(id::bytea), 600
from merchants where id like 'merchant-%';
insert into completeness (gateway, account, day, merchant, listed, recorded, checked_at)
select 'stripe', id, (now() at time zone 'UTC')::date - back, id, 40, 40, now()
from merchants, generate_series(1, 60) as back
where id like 'merchant-%';
"""
# One event for each payment, in the order in which they came; every tenth with its fact and its line in the audit, a
# quarter of them told to an app; each order with a customer.
BESIDES = """
set session_replication_role = replica;
set synchronous_commit = off;
create temporary table said as
select p.*, ':began'::timestamptz + (p.id::double precision / :all) * interval '365 days' as heard_at,
    (p.id * 7919) % 10007 as dice
from payments p where id between :from and :to;
insert into webhook_events (
    id, gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference
) overriding system value
select id, gateway, account, 'evt_' || lpad(id::text, 24, '0'), merchant,
    case when dice < 5 then 'payment_intent.partially_funded' when failure_code is null then 'payment_intent.succeeded'
        else 'payment_intent.payment_failed' end,
    livemode, heard_at, heard_at, case when dice < 2 then 'failed' when dice < 30 then 'ignored' else 'applied' end,
    case when dice < 2 then 'VALIDATION_ERROR: amount_minor is less than nothing'
        when dice < 30 then 'no handler for this type' end, reference
from said order by id;
insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
select gateway, account, 'payment_intent', 'pi_' || lpad(id::text, 24, '0'), merchant, id from said;
insert into facts (
    kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, occurred_at, received_at, rank, words
)
select 'payment', id, merchant, gateway, account, 'event', id, heard_at, heard_at, 0,
    jsonb_build_object('status', status, 'amount_minor', amount_minor, 'currency', currency, 'email', email)
from said where id % 10 = 0;
insert into payment_audit_log (at, merchant, table_name, row_id, action, actor, webhook_event_id, changes)
select heard_at, merchant, 'payments', id, 'insert', 'gatehouse_intake', id,
    jsonb_build_object('status', jsonb_build_array(null, status), 'amount_minor', jsonb_build_array(null, amount_minor))
from said where id % 10 = 0;
insert into webhook_forward_logs (
    created_at, app, target_url, ok, status_code, attempt_count, error_message, reference, merchant, gateway,
    duration_ms, error_class, webhook_event_id
)
select heard_at + interval '2 seconds', app, 'https://' || app || '.example.com/hooks/' || merchant, dice % 25 <> 3,
    case when dice % 25 <> 3 then 200 when dice % 2 = 0 then 500 end, case when dice % 25 <> 3 then 1 else 3 end,
    case when dice % 25 = 3 then case when dice % 2 = 0 then 'answered 500' else 'did not answer in time' end end,
    reference, merchant, gateway, 40 + dice % 200,
    case when dice % 25 = 3 then case when dice % 2 = 0 then 'HTTP_500' else 'TIMEOUT' end end, id
from said where id % 4 = 0 order by id;
insert into jobs (topic, business_key, merchant, arguments, status, due_at, webhook_event_id, created_at, finished_at)
select 'forward', id || '/' || app, merchant, jsonb_build_object('app', app), 'dead', heard_at, id, heard_at, heard_at
from said where id % 4 = 0 and dice % 2500 = 3;
insert into app_transactions (
    webhook_event_id, merchant, app, gateway, account, livemode, event_type, payment_id, reference, user_id, plan,
    amount_minor, currency, status, occurred_at, created_at
)
select id, merchant, app, gateway, account, livemode, 'payment_intent.succeeded', id, reference, user_id, plan,
    amount_minor, currency, status, heard_at, heard_at
from said where user_id is not null;
insert into subscriptions (
    id, merchant, gateway, account, livemode, gateway_id, status, plan, plan_name, amount_minor, currency, "interval",
    customer_ref, email, started_at, next_payment_at, app, user_id, first_fact_at, last_fact_at
)
select 1000000000 + id, merchant, gateway, account, livemode, 'sub_' || lpad(id::text, 24, '0'),
    (array['active', 'active', 'active', 'active', 'active', 'past_due', 'cancelled', 'non_renewing'])[1 + dice % 8],
    'pro', 'The whole year, every month', 4900, currency, 'month', 'cus_' || id, email, heard_at,
    heard_at + interval '1 month', app, 'user-' || lpad((id / 10)::text, 7, '0'), heard_at, heard_at
from said where id % 50 = 0;
insert into disputes (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, first_fact_at,
    last_fact_at, respond_by
)
select 2000000000 + id, merchant, gateway, account, livemode, 'dp_' || id, id,
    case when dice % 3 = 0 then 'needs_response' else 'lost' end,
    amount_minor, currency, heard_at, heard_at, heard_at + interval '7 days'
from said where id % 1000 = 0;
insert into customers (id, merchant, email, first_name, last_name, phone, created_at) overriding system value
select customer_id, merchant, email, 'Given' || lpad((id / 400)::text, 6, '0'),
    'Family' || lpad((id / 200)::text, 6, '0'), '+1-555-' || lpad(customer_id::text, 7, '0'), first_fact_at
from said where customer_id is not null;
update orders o set reference = s.reference, event_name = 'Festival of music and dance ' || s.id % 7,
    payment_state = case when s.received_minor is null then 'unpaid' else 'paid' end,
    search = search_words(s.merchant, array[o.number, s.reference, s.email, 'Given' || lpad((s.id / 400)::text, 6, '0'),
        'Family' || lpad((s.id / 200)::text, 6, '0')])
from said s where o.id = s.id and s.order_id is not null;
drop table said;
"""
TABLES = (
    *(
        "payments",
        "refunds",
        "orders",
        "order_items",
        "webhook_events",
        "payment_objects",
        "facts",
        "payment_audit_log",
    ),
    *("webhook_forward_logs", "app_transactions", "subscriptions", "customers"),
)


@contextmanager
def filled(*sizes: int) -> Iterator[list[Ground]]:
    """Give a database of each size on one server: as they were kept, or filled now."""
    kept = os.environ.get("BENCH_KEPT", "")
    settings = {"shared_buffers": "2GB", "max_wal_size": "8GB", "maintenance_work_mem": "1GB"}
    with bench_server(Path(kept) if kept else None, **settings) as server:
        places = [Ground(server, found(server, size) or made(server, size)) for size in sizes]
        read_once(server.data)
        yield places


def read_once(folder: Path) -> None:
    """Read all files, so that memory holds them as that of a server of this size does: else the disk is measured."""
    for file in folder.glob("base/*/[0-9]*"):
        with file.open("rb") as opened:
            while opened.read(1 << 24):
                pass


def found(server: PostgresServer, size: int) -> GatehouseDatabase | None:
    """Return the kept database of a size, with the newest migrations; None where there is none."""
    name = f"console_{size}"
    if not run_sql(server.url(), f"select 1 from pg_database where datname = '{name}'"):  # noqa: S608 - a number
        return None
    Engine(
        Target("primary", server.url(name, OWNER, quote(ROLE_PASSWORD)), tls="off"), CHECKOUT / "migrations" / "primary"
    ).up()
    return GatehouseDatabase(server.url(name), "127.0.0.1", server.port)


def made(server: PostgresServer, size: int) -> GatehouseDatabase:
    """Fill a database of a size; it takes its name only when it is whole."""
    place = Ground(server, migrated_database(server))
    begun = perf_counter()
    fill(place, size)
    name = urlsplit(place.database.address).path[1:]
    run_sql(server.url(), f"alter database {name} rename to console_{size}")
    print(f"  {size:,} payments with all that belongs to them: {perf_counter() - begun:.0f} s", flush=True)
    return place.database._replace(address=server.url(f"console_{size}"))


def fill(place: Ground, size: int) -> None:
    """Write the year, then its indexes, then the large clinic."""
    began = datetime.now(UTC) - YEAR
    indexes = place.database.sql(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i"  # noqa: S608 - our own words
        " join pg_class c on c.oid = i.indrelid left join pg_constraint k on k.conindid = i.indexrelid"
        f" where c.relname in ('{"', '".join(TABLES)}') and k.oid is null"
    )
    place.database.sql(MERCHANTS_OF_THE_YEAR.replace(":began", began.isoformat()))
    for name, _ in indexes:  # made again behind: sorted, they cost a fraction
        if name not in ("order_items_order", "refunds_payment"):  # counting needs these two
            place.database.sql(f"drop index {name}")
    report_filling.fill(place, size, began=began, besides=BESIDES.replace(":all", str(size)))
    for name, definition in indexes:
        if name not in ("order_items_order", "refunds_payment"):
            place.database.sql(definition)
    clinic = Size(payments=0, clinics=0, large_patients=min(LARGE_PATIENTS, size // 25))
    clinics.write(place.server, place.database, clinic, first_id=FIRST_OF_THE_CLINIC)
    add_accounts(place)
    place.database.sql("vacuum analyze")


def add_accounts(place: Ground) -> None:
    """Give every merchant an account at a gateway, with sealed credentials."""
    keyring, ops = Keyring(DATA_KEYS), place.database.connect("ops")
    try:
        for number in range(MERCHANTS):
            name = f"merchant-{number:03}"
            held = {"signing_secrets": [f"whsec_{number}"], "api_key": f"sk_live_{number}"}
            accounts.add_account(
                ops, keyring, gateway="stripe", account=name, merchant=name, mode="live", credentials=held
            )
    finally:
        ops.close()

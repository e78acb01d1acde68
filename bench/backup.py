"""The second database: what it costs a recording, how fast it is written, how soon one cent in a million is found."""

import json
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from bench.figures import Figure, alternating
from bench.ground import DATA_KEYS, Ground, desk, ground, intake
from bench.recording import fill, floor_of, median_milliseconds
from bench.samples import SUCCEEDED, requests
from gatehouse.backup.compare import compare_all, repair
from gatehouse.backup.writer import drain, primary_sql
from gatehouse.database.connection import Database
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from gatehouse.sealing import Keyring
from local.child_process import CHECKOUT
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, GatehouseDatabase
from tests.support.postgres import create_database, database_name, run_sql
from tests.support.stack import own_options, started, wait_until
from tests.support.stripe_requests import stripe_event

EVENTS_A_ROUND = 300
ROUNDS = 15
MOST_TIMES_WITHOUT = 1.05
PAYMENTS_WRITTEN = 6000
LEAST_A_SECOND = 1000
MILLION = 1_000_000
BACKLOG = 300_000
EVENTS_BEFORE = 2000
MOST_SECONDS_TO_FIND = 30
EVENTS_A_SECOND = 50
SECONDS_OF_EVENTS = 15
MOST_LAG_SECONDS = 2.0
TRIGGERS = "alter table payments {what} trigger note_backup_insert, {what} trigger note_backup_update"

COLUMNS = (
    "id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency, method, "
    "reference, email, first_fact_at, last_fact_at, completed_at"
)
MANY = f"""
    insert into payments ({COLUMNS})
    select n, 'default', (array['stripe', 'paypal', 'paystack'])[1 + n % 3], 'default', true, 'completed', n % 100000,
        n % 100000, 0, 'EUR', 'card', 'ref-' || n, n || '@example.com', timestamptz '2025-01-01Z' + n * interval '20 s',
        timestamptz '2025-01-01Z' + n * interval '20 s', timestamptz '2025-01-01Z' + n * interval '21 s'
    from generate_series(1, :many) n
"""  # noqa: S608 - constants
THE_SAME_MANY = """
    insert into payment_services (
        id, merchant, gateway_provider, account, livemode, status, amount_minor, received_minor, refunded_minor,
        currency, method, reference, email, first_fact_at, last_fact_at, completed_at, version, service)
    select n, 'default', (array['stripe', 'paypal', 'paystack'])[1 + n % 3], 'default', true, 'completed', n % 100000,
        n % 100000, 0, 'EUR', 'card', 'ref-' || n, n || '@example.com', timestamptz '2025-01-01Z' + n * interval '20 s',
        timestamptz '2025-01-01Z' + n * interval '20 s', timestamptz '2025-01-01Z' + n * interval '21 s', 0, 'payment'
    from generate_series(1, :many) n
"""

WAITING = "insert into backup_changes (payment_id, merchant) select -n, 'default' from generate_series(1, :many) n"


class Size(NamedTuple):
    """How much is written, compared and measured."""

    before: int = EVENTS_BEFORE  # events that are there
    events: int = EVENTS_A_ROUND
    rounds: int = ROUNDS
    backlog: int = BACKLOG
    written: int = PAYMENTS_WRITTEN
    compared: int = MILLION


def run() -> list[Figure]:
    """Measure on two databases of one server, and the lag on the whole stack."""
    with ground() as place, _backup_of(place) as backup_database:
        figures = measured(place, backup_database)
    figures.append(_lag())
    return figures


def measured(place: Ground, backup_database: GatehouseDatabase, size: Size = Size()) -> list[Figure]:  # noqa: B008 - a tuple of numbers
    """Measure recording, writing and comparing."""
    patience: dict[str, Any] = {"statement_milliseconds": 120_000}
    with (
        closing(backup_database.connect("backup_writer", **patience)) as backup,
        closing(place.database.connect("worker", **patience)) as worker,
    ):
        worker.query(primary_sql.turn, on=True)
        figures = [
            _recording(place, "recording with the backup on, in its server", size, in_process=False),
            _recording(place, "recording with the backup on, in process", size, in_process=True),
        ]
        place.database.sql(WAITING.replace(":many", str(size.backlog)))
        behind = f"the same behind a backlog of {size.backlog:,}"
        figures.append(_recording(place, behind, size, in_process=True, keep=True))
        place.database.sql("truncate backup_changes")
        figures.append(_writing(place, worker, backup, size.written))
        figures += _comparing(place.database, backup_database, worker, backup, size.compared)
    return figures


def _recording(place: Ground, name: str, size: Size, *, in_process: bool, keep: bool = False) -> Figure:
    """Measure a recording with the triggers and without them, in turn."""
    script, variables = floor_of(SUCCEEDED)
    fill(place, size.before)
    database = intake(place)
    its_desk = desk(database)
    stock = requests(SUCCEEDED)

    def record(what: str) -> float:
        place.database.sql(TRIGGERS.format(what=what))
        if not keep:
            place.database.sql("truncate backup_changes")
        if not in_process:
            return place.pgbench(script, transactions=size.events, **variables)
        with Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
            return median_milliseconds(its_desk, list(islice(stock, size.events)))

    taken = alternating(lambda: record("disable"), lambda: record("enable"), rounds=size.rounds)
    database.close()
    return Figure(name, taken.value, "ms", taken.floor, MOST_TIMES_WITHOUT)


def _writing(place: Ground, worker: Database, backup: Database, payments: int) -> Figure:
    script, variables = floor_of(SUCCEEDED)
    place.pgbench(script, transactions=payments, **variables)
    began = time.monotonic()
    with Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
        done = drain(worker, backup, Keyring(DATA_KEYS), seconds=120)
    assert done.written == payments, done
    a_second = done.written / (time.monotonic() - began)
    return Figure("payments written to the backup", a_second, "/s", LEAST_A_SECOND, 1.0, more_is_better=True)


def _comparing(
    database: GatehouseDatabase, backup_database: GatehouseDatabase, worker: Database, backup: Database, payments: int
) -> list[Figure]:
    """Let both databases hold the same payments but for one cent, and find it."""
    chosen = payments * 6 // 10
    backup_database.sql("truncate payment_services")
    # As a replica, so that no trigger asks a million times what else may follow.
    run_sql(
        database.address,
        f"set session_replication_role = replica; truncate payments cascade; {MANY.replace(':many', str(payments))}",
    )
    backup_database.sql(THE_SAME_MANY.replace(":many", str(payments)))
    for each in (database, backup_database):
        each.sql("vacuum analyze")
    backup_database.sql(f"update payment_services set amount_minor = amount_minor + 1 where id = {chosen}")  # noqa: S608 - a constant
    began = time.monotonic()
    found = compare_all(worker, backup)
    seconds = time.monotonic() - began
    assert [each.payment for each in found] == [chosen], found[:5]
    assert repair(worker, backup, Keyring(DATA_KEYS), found) == 1
    assert compare_all(worker, backup) == []
    return [Figure(f"one cent found in {payments:,} payments", seconds, "s", limit=MOST_SECONDS_TO_FIND)]


def _lag() -> Figure:
    """Send events at an even pace through the front door; measure from each one's receipt to its row in the backup."""
    with started(own_options()) as stack:
        for number in range(EVENTS_A_SECOND * SECONDS_OF_EVENTS + EVENTS_A_SECOND):
            body = stripe_event(f"evt_{number}", id=f"pi_{number}", latest_charge=f"ch_{number}")
            due = time.monotonic() + 1 / EVENTS_A_SECOND
            stack.send("stripe", json.dumps(body).encode())
            time.sleep(max(0.0, due - time.monotonic()))
        wait_until(
            lambda: run_sql(stack.facts["database_url"], "select count(*)::int from backup_changes") == [[0]], 60
        )
        received = dict(
            run_sql(
                stack.facts["database_url"],
                "select f.subject_id, extract(epoch from min(e.received_at))::float from facts f join webhook_events e "
                "on e.id = f.webhook_event_id where f.kind = 'payment' group by 1",
            )
        )
        log = run_sql(
            stack.facts["backup_database_url"],
            "select id, min(at)::float from (select unnest(payment_ids) as id, extract(epoch from at) as at "
            "from service_logs where ok) as told group by 1",
        )
        lags = sorted(at - received[payment] for payment, at in log)[EVENTS_A_SECOND:]
    return Figure("lag of the backup, p95", lags[int(len(lags) * 0.95)], "s", limit=MOST_LAG_SECONDS)


@contextmanager
def _backup_of(place: Ground) -> Iterator[GatehouseDatabase]:
    address = create_database(place.server, owner=OWNER)
    owned = place.server.url(database_name(address), OWNER, quote(ROLE_PASSWORD))
    Engine(Target("backup", owned, tls="off"), CHECKOUT / "migrations" / "backup").up()
    yield GatehouseDatabase(address, "127.0.0.1", place.server.port)

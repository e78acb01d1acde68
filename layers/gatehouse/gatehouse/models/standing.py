"""How everything stands at this moment, and what of it needs a look: what `gatehouse status` shows."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database import health, planning
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.gateways import NAMES
from gatehouse.jobs.depths import Depth
from gatehouse.models import forwards

sql = load_statements(Path(__file__).with_name("standing.sql"))

Row = dict[str, Any]
NEWEST_EVENTS = 5_000  # of all gateways: what is read to find the last of each
LATE_SECONDS = 300  # a job that is due for longer than this needs a look
OLD_TRANSACTION_SECONDS = 60
LEAST_SUCCESS_PCT = 95.0
LEAST_MISSING_PART = 0.01  # of what gateways list, as the alarm completeness has it


class Standing(NamedTuple):
    """How everything stands; `concerns` says in words what somebody should look at."""

    database: Row
    jobs: list[Row]
    gateways: list[Row]
    apps: list[Row]
    failed_events: int
    completeness: Row
    tenants: Row
    concerns: list[str]


def standing(database: Database, *, times_of_apps: bool = True) -> Standing:
    """Return how the database, its jobs, the gateways, the apps and the tenants stand.

    How long a day's deliveries took is dear to ask; without it apps have the share of deliveries that they took.
    """
    apps = forwards.sql.stats() if times_of_apps else sql.success_of_apps()
    last_events = sql.last_events(most=NEWEST_EVENTS, gateways=list(NAMES))
    return _asked(database, health.check(database), apps, last_events)


def concerns(database: Database) -> list[str]:
    """Say what needs a look, and ask for no more than that takes."""
    return _asked(database, health.server(database), sql.success_of_apps()).concerns


def _asked(database: Database, server: Row, apps: Bound, *last_events: Bound) -> Standing:
    asked = [sql.jobs(), sql.failed_events(), sql.completeness(), sql.tenants(), apps, *last_events]
    found = database.flush([planning.sql.plainly(), *asked], idempotent=True)
    _, jobs, failed, days, served, told, *last = found
    failed_events = int(failed.rows[0]["failed"])
    concerns = [*_of_server(server), *_of_jobs(jobs.rows), *_of_apps(told.rows)]
    if failed_events:
        concerns.append(f"{_many(failed_events, 'event')} failed: gatehouse events list --status failed")
    concerns += [*_of_days(days.rows[0]), *_of_tenants(served.rows[0])]
    gateways = [row for each in last for row in each.rows]
    return Standing(server, jobs.rows, gateways, told.rows, failed_events, days.rows[0], served.rows[0], concerns)


def concerns_of(depths: Sequence[Depth]) -> list[str]:
    """Say of which queues the dead letters need a look."""
    return [
        f"{_many(depth.dead_letters, 'dead letter')} of the queue {depth.queue}"
        for depth in depths
        if depth.dead_letters
    ]


def _of_server(server: Row) -> Iterable[str]:
    if not server["ok"]:
        yield "the database cannot be written"
    if server["connections"] > 0.9 * server["max_connections"]:
        yield f"{server['connections']} of {server['max_connections']} connections are in use: gatehouse db health"
    if server["oldest_transaction_seconds"] > OLD_TRANSACTION_SECONDS:
        yield f"a transaction is {server['oldest_transaction_seconds']:.0f} s old: gatehouse db slow"


def _of_jobs(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        if row["dead"]:
            how = ": gatehouse redrive --dry-run" if row["topic"] == forwards.TOPIC else ""
            yield f"{_many(row['dead'], 'job')} of {row['topic']} given up{how}"
        if row["oldest_due_seconds"] > LATE_SECONDS:
            yield f"a job of {row['topic']} has been due for {row['oldest_due_seconds']} s"


def _of_apps(rows: Iterable[Row]) -> Iterable[str]:
    for row in rows:
        rate = row["success_rate_pct"]
        if rate is not None and rate < LEAST_SUCCESS_PCT:
            yield f"{row['app']} took {rate:.1f} % of its deliveries in 24 hours: gatehouse forwards list --failed"


def _of_days(row: Row) -> Iterable[str]:
    missing = row["listed"] - row["recorded"]
    if missing > LEAST_MISSING_PART * row["listed"]:
        where = "day lacks" if row["days_lacking"] == 1 else "days lack"
        yield f"{row['days_lacking']} {where} {missing} of {row['listed']} payments: gatehouse completeness"


def _of_tenants(row: Row) -> Iterable[str]:
    if row["late"]:
        yield f"{_many(row['late'], 'tenant')} not made after a quarter of an hour: gatehouse tenants doctor"
    if row["over_storage"]:
        yield f"{_many(row['over_storage'], 'tenant')} over the storage of the plan: gatehouse tenants list"


def _many(count: int | None, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

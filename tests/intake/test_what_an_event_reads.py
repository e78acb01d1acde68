"""Recording an event reads as many rows behind many others as behind a few: counted by Postgres, for every sample."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import Event, ObjectName
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.intake.record import Delivery, record
from gatehouse.sealing import Keyring
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.gateway_samples import samples

ARRIVED = datetime(2026, 11, 20, 12, tzinfo=UTC)
# How often every sample was recorded before, each time of other payments and people. Among eight, Postgres 15 still
# finds it cheaper to read all subscriptions of an account by an index than to look two names up in it.
FEW, MANY = 2, 14
ONE_OF_EACH = ("reference", "email", "user_id", "event_id")
# A plan may walk one more index page's worth of rows when a table grows, but never a share of the table.
MOST_ROWS_MORE = 40


def of_others(value: Any, mark: str, field: str = "") -> Any:
    """Return an event, or a part of one, with every name changed: the same words of other payments and people."""
    if isinstance(value, ObjectName):
        return value._replace(id=f"{value.id}{mark}")
    if hasattr(value, "_asdict"):
        return type(value)(**{name: of_others(inner, mark, name) for name, inner in value._asdict().items()})
    if isinstance(value, tuple):
        return tuple(of_others(each, mark) for each in value)
    if isinstance(value, str) and (field in ONE_OF_EACH or field.endswith("_ref")):
        return f"{mark}{value}"
    return value


def events(gateway: str, mark: str) -> Iterator[tuple[str, bytes, Event]]:
    """Give every sample of a gateway as an event of its own."""
    package = gateway_named(gateway)
    for name, path in samples(gateway).items():
        body = path.read_bytes()
        yield name, body, of_others(package.translate(package.read_event(body), "default"), mark)


def rows_read(onlooker: Database) -> Counter[str]:
    """Return how many rows and index entries have been read in each table so far."""
    rows = onlooker.query(
        "select relname::text as name, coalesce(seq_tup_read, 0) + coalesce(("
        " select sum(i.idx_tup_read) from pg_stat_user_indexes i where i.relid = t.relid), 0)::bigint as rows"
        " from pg_stat_user_tables t"
    )
    return Counter({row["name"]: row["rows"] for row in rows})


def record_each(intake: Database, keyring: Keyring, mark: str) -> Iterator[str]:
    """Record every sample once more, and give its name behind each."""
    for gateway in NAMES:
        account = GatewayAccount(gateway, "default", "default", "both")
        for name, body, event in events(gateway, mark):
            assert record(intake, Delivery(account, event, body, ARRIVED), keyring).status == "applied", name
            yield f"{gateway}/{name}"


def reads_of_each(onlooker: Database, intake: Database, keyring: Keyring, mark: str) -> dict[str, Counter[str]]:
    """Record every sample once more; return how many rows each has read of each table."""
    found: dict[str, Counter[str]] = {}
    intake.query("select pg_stat_force_next_flush()")
    before = rows_read(onlooker)
    for name in record_each(intake, keyring, mark):
        intake.query("select pg_stat_force_next_flush()")
        now = rows_read(onlooker)
        found[name], before = now - before, now
    return found


@pytest.mark.req("G8", "D1")
def test_an_event_reads_no_more_behind_many_others_than_behind_a_few(
    gatehouse_database: GatehouseDatabase, intake: Database, ops: Database, keyring: Keyring
) -> None:
    # A small table is read whole because that is cheaper. Forbidden, what still reads the more the more there is has no
    # index that helps, or may not use it under row-level security.
    name = gatehouse_database.address.rpartition("/")[2]
    gatehouse_database.sql(
        f"alter role gatehouse_intake in database {name} set enable_seqscan = off;"
        f"alter role gatehouse_intake in database {name} set jit = off"  # what is forbidden looks dear enough for it
    )
    intake.close()
    for number in range(FEW):
        list(record_each(intake, keyring, f"few{number}-"))
    few = reads_of_each(ops, intake, keyring, "before-")
    for number in range(FEW, MANY):
        list(record_each(intake, keyring, f"many{number}-"))
        gatehouse_database.sql("analyze")  # as autovacuum does, which is off here
    many = reads_of_each(ops, intake, keyring, "after-")
    more = {
        (name, table): (few[name][table], rows)
        for name, reads in many.items()
        for table, rows in reads.items()
        if rows > few[name][table] + MOST_ROWS_MORE
    }
    assert not more, "\n".join(f"{name}: {few} -> {many}" for name, (few, many) in more.items())

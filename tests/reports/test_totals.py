"""The sums equal a full recount after traffic of every kind, told in any order, by many at once, counted meanwhile."""

import threading
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.intake.record import record
from gatehouse.reports.money import by_gateway, revenue
from gatehouse.reports.periods import Period
from gatehouse.reports.totals import ALL_MERCHANTS, Wanted, fold
from gatehouse.sealing import Keyring
from tests.reports import plain
from tests.reports.traffic import FIRST, stories
from tests.support.gatehouse_database import GatehouseDatabase

AFTER = FIRST + timedelta(days=60)
MEASURES = """
select column_name::text from information_schema.columns
where table_name = 'totals' and data_type = 'bigint' order by ordinal_position
"""


def count_all(database: Database) -> None:
    """Count until nothing is marked."""
    while fold(database, most=100) != 0:
        pass


def differences(database: GatehouseDatabase) -> dict[str, int]:
    """Return how many entries and sums differ from a recount of every row."""
    measures = [row[0] for row in database.sql(MEASURES)]
    sums = ", ".join(f"coalesce(sum({name}), 0) as {name}" for name in measures)
    held = ", ".join(f"coalesce({name}, 0) as {name}" for name in measures)
    every = """total_entries_of(array(select id from payments), array(select id from refunds),
        array(select id from disputes), array(select id from orders))"""
    key = "merchant, livemode, breakdown, level, bucket, currency, value, detail"
    database.sql(
        f"""
        drop table if exists recounted; drop table if exists due;
        create table recounted as select * from {every};
        create table due as
        select scope as merchant, livemode, breakdown, level, total_bucket(level, bucket) as bucket, currency, value,
            total_detail(e, breakdown) as detail, {sums}
        from (select c.* from recounted c) as e
        cross join unnest(string_to_array('gateway app method category failure duration order item', ' ')) as breakdown
        cross join lateral (select total_value(e::text::total_entries, breakdown) as value) as valued
        cross join unnest(array[merchant, '*']) as scope
        cross join unnest(array['quarter', 'hour', 'six_hours', 'day', 'month']) as level
        where value is not null and is_kept(breakdown, level, scope) group by 1, 2, 3, 4, 5, 6, 7, 8
    """.replace("total_detail(e, ", "total_detail(e::text::total_entries, ")
    )
    same = f"select {key}, {', '.join(measures)} from due"
    ours = f"select {key}, {held} from totals where {' or '.join(f'coalesce({name}, 0) <> 0' for name in measures)}"
    some = f"select {key}, {', '.join(measures)} from due where {' or '.join(f'{name} <> 0' for name in measures)}"
    counted: dict[str, int] = {}
    for name, one, other in (
        ("entries too many", "table total_entries", "table recounted"),
        ("entries missing", "table recounted", "table total_entries"),
        ("sums too many", ours, same),
        ("sums missing", some, ours),
    ):
        counted[name] = database.sql(f"select count(*) from (({one}) except all ({other})) as differs")[0][0]
    return counted


NONE = {"entries too many": 0, "entries missing": 0, "sums too many": 0, "sums missing": 0}


def periods(random: Random, count: int) -> list[Period]:
    """Return periods of any length, in zones whose midnights lie on no full hour of UTC, too."""
    found = []
    for _ in range(count):
        since = FIRST.replace(minute=0) + timedelta(minutes=15 * random.randrange(900))
        until = since + timedelta(minutes=15 * random.randrange(1, 4000))
        zone = random.choice(("UTC", "America/Denver", "Asia/Kolkata", "Asia/Kathmandu"))
        found.append(Period(since, until, zone, random.choice((None, "hour", "day", "week", "month"))))
    return found


def compare(database: GatehouseDatabase, asked: Database, period: Period, merchant: str, livemode: bool) -> None:
    """Ask a report and plain SQL about each slot of a period."""
    wanted = Wanted(merchant, period, livemode)
    whose = None if merchant == ALL_MERCHANTS else merchant
    cells, rows = revenue(asked, wanted)
    for slot in cells.slots[:: max(len(cells.slots) // 3, 1)]:
        told = {
            row["currency"]: {
                name: row[name]
                for name in ("sales", "gross_minor", "sales_with_unknown_fee", "fee_minor", "refunds", "refunded_minor")
                if row[name]
            }
            for row in rows
            if row.get("from", "") == slot.label
        }
        due = plain.revenue(database, slot.since, slot.until, whose, livemode)
        due = {currency: {name: value for name, value in each.items() if value} for currency, each in due.items()}
        assert {currency: each for currency, each in told.items() if each} == due, (period, slot)
    _, gateways = by_gateway(asked, wanted)
    due_rows = plain.attempts(database, period.since, period.until, whose, livemode)
    assert [(r["gateway"], r["currency"], r["payments"], r["amount_minor"], r["succeeded"]) for r in gateways] == [
        tuple(row[:5]) for row in due_rows
    ]
    for told_row, due_row in zip(gateways, due_rows, strict=True):
        if due_row[6] is None:
            assert told_row["average_processing_seconds"] is told_row["p95_processing_seconds"] is None
            continue
        assert told_row["average_processing_seconds"] == pytest.approx(due_row[6], rel=1e-3, abs=2e-3)
        assert told_row["p95_processing_seconds"] == pytest.approx(due_row[7], rel=0.051, abs=2e-3)


@pytest.mark.req("B6")
@pytest.mark.req("P9")
@pytest.mark.parametrize("seed", [1, 2])
def test_sums_equal_a_recount_after_random_traffic(
    gatehouse_database: GatehouseDatabase,
    intake: Database,
    worker: Database,
    ops: Database,
    api: Database,
    keyring: Keyring,
    seed: int,
) -> None:
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    random = Random(seed)  # noqa: S311 - no secrets
    told = stories(seed, 120, merchants=("default", "acme"))
    for number, each in enumerate(told):
        record(intake, each, keyring)
        if number % 97 == 0:
            fold(worker, most=50)
    # Before everything is counted, answers are right already.
    for period in periods(random, 3):
        compare(gatehouse_database, api, period, "default", livemode=True)
    count_all(worker)
    assert differences(gatehouse_database) == NONE
    for period in periods(random, 4):
        compare(gatehouse_database, api, period, "acme", livemode=True)
        compare(gatehouse_database, ops, period, ALL_MERCHANTS, livemode=random.random() < 0.8)


@pytest.mark.req("B6")
def test_sums_equal_a_recount_when_many_record_and_one_counts_at_once(
    gatehouse_database: GatehouseDatabase, worker: Database, api: Database, keyring: Keyring
) -> None:
    told = stories(3, 100)
    stopped = threading.Event()
    writers = [gatehouse_database.connect("intake") for _ in range(4)]

    def tell(writer: Database, share: list[Any]) -> None:
        for each in share:
            record(writer, each, keyring)

    def count() -> None:
        while not stopped.is_set():
            fold(worker, most=20)

    threads = [threading.Thread(target=tell, args=(writer, told[at::4])) for at, writer in enumerate(writers)]
    counter = threading.Thread(target=count)
    for thread in (*threads, counter):
        thread.start()
    for thread in threads:
        thread.join()
    stopped.set()
    counter.join()
    for writer in writers:
        writer.close()
    compare(
        gatehouse_database, api, Period(FIRST.replace(minute=0), AFTER.replace(minute=0), "UTC", None), "default", True
    )
    count_all(worker)
    assert differences(gatehouse_database) == NONE

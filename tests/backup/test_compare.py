"""The two databases are compared by content: what differs is found, and what is only under way is not taken for it."""

from typing import Any

import pytest

from gatehouse.backup.compare import Difference, compare, compare_all, repair
from gatehouse.backup.fill import fill
from gatehouse.backup.standing import reading_database, standing
from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring
from tests.backup.backed_up import drained, nothing_differs, row, tell_a_long_story
from tests.http_api.records import put
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase

MANY = (
    "insert into payments (id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency, "
    "first_fact_at, last_fact_at) select n, 'default', case n % 2 when 0 then 'stripe' else 'paypal' end, 'default', "
    "true, 'completed', n, n, 'EUR', timestamptz '2026-01-01Z' + n * interval '1 minute', now() "
    "from generate_series(1, {}) n"
)


def found(primary: Database, backup: Database, **options: Any) -> list[Difference]:
    return compare_all(primary, backup, **{"seconds_to_settle": 0, **options})


@pytest.mark.req("B4")
@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        ("update payment_services set amount_minor = amount_minor + 1 where id = 1", "differs"),
        ("update payment_services set refunds = jsonb_set(refunds, '{0,amount_minor}', '1') where id = 1", "differs"),
        ("update payment_services set disputes = null where id = 1", "differs"),
        ("update payment_services set first_fact_at = first_fact_at + interval '1 day' where id = 1", "differs"),
        ("update payment_services set gateway_provider = 'paypal' where id = 1", "differs"),
        (
            "update payment_services set order_state = jsonb_set(order_state, '{status}', '\"paid\"') where id = 1",
            "differs",
        ),
        ("delete from payment_services where id = 1", "missing"),
    ],
)
def test_whatever_is_spoiled_is_found_and_repaired(
    primary: Database,
    backup: Database,
    intake: Database,
    api: Database,
    keyring: Keyring,
    backup_database: GatehouseDatabase,
    gatehouse_database: GatehouseDatabase,
    spoil: str,
    kind: str,
) -> None:
    tell_a_long_story(intake, api, keyring)
    drained(primary, backup, keyring)
    before = row(backup_database)
    backup_database.sql(spoil)
    differences = found(primary, backup)
    assert differences == [Difference(1, kind)]
    assert gatehouse_database.sql("select divergent from backup_state") == [[1]]
    assert repair(primary, backup, keyring, differences) == 1
    assert nothing_differs(primary, backup)
    kept = before.keys() - {"version", "written_at", "sealed_facts"}
    assert {name: row(backup_database)[name] for name in kept} == {name: before[name] for name in kept}


@pytest.mark.req("B4")
def test_one_cent_in_thousands_is_found_by_its_hour_alone(
    primary: Database,
    backup: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
) -> None:
    gatehouse_database.sql(MANY.format(3000))
    drained(primary, backup, keyring)
    backup_database.sql("update payment_services set amount_minor = amount_minor + 1 where id = 1777")
    before = primary.statistics.flushes
    batches = list(compare(primary, backup, payments_of_a_range=1000, seconds_to_settle=0))
    assert [each for batch in batches for each in batch.differences] == [Difference(1777, "differs")]
    assert sum(batch.payments for batch in batches) == 3000
    # The last id; three ranges; one hour looked at closely; the one payment, its open changes, and once more.
    assert primary.statistics.flushes - before == 1 + 3 + 1 + 3


@pytest.mark.req("B4")
def test_what_is_under_way_is_no_difference_and_what_only_the_backup_has_is_kept(
    primary: Database, backup: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1)
    waits: list[float] = []

    def write_meanwhile(seconds: float) -> None:
        waits.append(seconds)
        drained(primary, backup, keyring)

    assert found(primary, backup, seconds_to_settle=5, wait=write_meanwhile) == []
    assert len(waits) == 1
    backup.query("select sync_payment_to_backup('x', null, 'stripe', 'payment', 1, 'failed', '{\"id\": 9}')")
    differences = found(primary, backup)
    assert differences == [Difference(9, "extra")]
    assert repair(primary, backup, keyring, differences) == 0
    assert found(primary, backup) == [Difference(9, "extra")]
    assert repair(primary, backup, keyring, differences, remove_extra=True) == 1
    assert nothing_differs(primary, backup)


@pytest.mark.req("B5")
def test_a_fill_goes_on_where_it_stopped_and_no_faster_than_it_may(
    worker: Database, backup: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(MANY.format(500))
    worker.query(primary_sql.turn, on=True)
    assert not standing(worker, backup).is_well
    assert next(fill(worker, backup, keyring)).after == 200
    clock, waited = [0.0], []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        clock[0] += seconds

    batches = list(fill(worker, backup, keyring, most_a_second=100, clock=lambda: clock[0], wait=wait))
    assert [(batch.after, batch.written) for batch in batches] == [(400, 200), (500, 100)]
    assert waited == [2.0, 1.0]
    assert nothing_differs(worker, backup)
    assert standing(worker, backup).is_well
    # Again from the start: nothing is lost by it, and what is the same is written under a new version.
    assert sum(batch.payments for batch in fill(worker, backup, keyring, from_the_start=True)) == 500


@pytest.mark.req("B3", "B4")
def test_reports_are_read_from_the_backup_while_its_lag_is_within_bound(
    primary: Database, backup: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    away = database_at("postgresql://nobody:x@127.0.0.1:9/nowhere")

    def served_by(first: Database, second: Database | None) -> str:
        return reading_database(first, second, max_lag_seconds=60).served_by

    put(gatehouse_database, "payments", 1)
    drained(primary, backup, keyring)
    assert served_by(primary, backup) == "backup"
    put(gatehouse_database, "payments", 2)
    assert served_by(primary, backup) == "backup"
    gatehouse_database.sql("update backup_changes set changed_at = now() - interval '61 seconds'")
    assert served_by(primary, backup) == "primary"
    assert standing(primary, backup).lag_seconds == 61
    assert served_by(primary, None) == "primary"
    assert served_by(primary, away) == "primary"
    assert served_by(away, backup) == "backup"
    assert (standing(away, backup).primary, standing(primary, away).backup) == ("CONNECTION_ERROR", "CONNECTION_ERROR")

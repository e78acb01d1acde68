"""What keeps the sums: counting every minute, a recount at night that tells what differs, a repair on command."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.intake.record import record
from gatehouse.reports.keep import count, recount
from gatehouse.reports.verify import last_checks, verify
from gatehouse.sealing import Keyring
from tests.cli.conftest import gatehouse
from tests.reports.test_totals import NONE, differences
from tests.reports.traffic import stories
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["gatehouse"]

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def counted(intake: Database, worker: Database, keyring: Keyring) -> None:
    """Some traffic, all of it counted."""
    for each in stories(5, 25):
        record(intake, each, keyring)
    assert count(worker, seconds=20)["waiting"] == 0


@pytest.mark.req("O1")
@pytest.mark.usefixtures("counted")
def test_a_night_tells_of_what_differs_and_leaves_it(
    gatehouse_database: GatehouseDatabase, worker: Database, ops: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recount(worker, seconds=20)["drifted"] == 0
    assert capsys.readouterr().out.count('"ERROR"') == 0
    [paid] = gatehouse_database.sql("select id from payments where status = 'completed' and livemode limit 1")
    # Past every trigger, as nobody should.
    gatehouse_database.sql(
        "set session_replication_role = replica;"
        f"update payments set received_minor = received_minor + 7 where id = {paid[0]};"
        "update totals set gross_minor = gross_minor + 5"
        " where ctid = (select ctid from totals where level = 'day' and gross_minor > 0 limit 1)"
    )
    found = recount(worker, seconds=20)
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["drifted"] > 1
    assert told["level"] == "ERROR"
    assert f"payment {paid[0]} of default" in told["examples"]
    [row, *_] = last_checks(ops, most=1)
    assert (row["entries_drifted"], row["repaired"]) == (1, False)
    assert row["totals_drifted"] >= 2  # the day that was changed, and the month that is no more its days
    assert differences(gatehouse_database) != NONE


@pytest.mark.req("O5")
@pytest.mark.usefixtures("counted")
def test_the_command_tells_and_repairs(gatehouse_database: GatehouseDatabase, gatehouse: Command) -> None:
    fine = gatehouse("report", "verify")
    assert (fine.returncode, fine.stdout.splitlines()[-1]) == (0, "every sum is right")
    gatehouse_database.sql(
        "update totals set sales = 99 where level = 'hour';"
        "delete from totals where ctid = (select ctid from totals where level = 'month' limit 1);"
        "delete from total_entries where ctid = (select ctid from total_entries where source = 'payment' limit 1)"
    )
    told = gatehouse("report", "verify")
    assert told.returncode == 3
    assert "differs  payment" in told.stdout
    repaired = gatehouse("report", "verify", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert "all of them are put right" in repaired.stdout
    assert differences(gatehouse_database) == NONE


@pytest.mark.usefixtures("counted")
def test_a_recount_whose_time_is_up_goes_on_where_it_stopped(worker: Database, ops: Database) -> None:
    ticks = iter(range(1000))

    def clock() -> float:
        return next(ticks)

    found = verify(worker, seconds=0.5, clock=clock)
    assert (found.is_whole, found.rows_checked) == (False, 0)
    [begun] = ops.query("select next_payment_id from total_checks")
    assert begun["next_payment_id"] == ops.query_one("select min(id) as id from payments")["id"]
    assert verify(worker, seconds=1000).is_whole


def test_what_is_there_already_is_marked_when_the_tables_come(gatehouse_database: GatehouseDatabase) -> None:
    # The statements of the migration, as the tables are empty when it runs in a test.
    from tests.conftest import MIGRATIONS

    [file] = MIGRATIONS.glob("*_marks_of_totals.sql")
    backfill = (
        file.read_text()
        .partition("-- What is there already is counted like everything else.")[2]
        .partition("-- migrate: down")[0]
    )
    gatehouse_database.sql(
        "set session_replication_role = replica;"
        "insert into payments (id, merchant, gateway, account, livemode, status, first_fact_at, last_fact_at)"
        " values (7, 'default', 'stripe', 'default', true, 'pending', now(), now());"
        + "\n".join(line for line in backfill.splitlines() if not line.startswith("--"))
    )
    assert gatehouse_database.sql("select source, source_id from total_marks") == [["payment", 7]]


@pytest.mark.usefixtures("counted")
def test_what_is_there_already_gets_finer_sums(gatehouse_database: GatehouseDatabase) -> None:
    # The last statement of the migration, over sums as they were before it.
    from tests.conftest import MIGRATIONS

    [file] = MIGRATIONS.glob("*_finer_sums.sql")
    backfill = file.read_text().partition("-- migrate: down")[0].rpartition("\ndo $$")
    gatehouse_database.sql("delete from totals where level in ('quarter', 'six_hours')")
    assert differences(gatehouse_database)["sums missing"] > 0
    gatehouse_database.sql("do $$" + backfill[2])
    assert differences(gatehouse_database) == NONE


@pytest.mark.req("D3")
def test_the_function_counts_and_recounts(
    gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring
) -> None:
    """Through the entry point, in a process of its own."""
    for each in stories(6, 5):
        record(intake, each, keyring)
    program = (
        "from types import SimpleNamespace as S; import json; from totals_keeper.handler import handler;"
        "c = S(aws_request_id='r', get_remaining_time_in_millis=lambda: 60_000);"
        "print('ANSWER', json.dumps([handler({}, c), handler({'work': 'recount'}, c)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={
            "STAGE": "local",
            "DATABASE_TLS": "off",
            "POSTGRES_URL": gatehouse_database.url("worker"),
            "PYTHONPATH": "functions:layers/gatehouse",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = done.stdout.splitlines()
    [answer] = [json.loads(line.removeprefix("ANSWER ")) for line in lines if line.startswith("ANSWER ")]
    assert answer[0]["counted"] > 0
    assert (answer[0]["waiting"], answer[1]["drifted"], answer[1]["is_whole"]) == (0, 0, True)
    figures: dict[str, Any] = {}
    for line in lines:
        figures |= json.loads(line) if line.startswith('{"_aws"') else {}
    assert (figures["TotalsWaiting"], figures["TotalsDrifted"]) == (0, 0)
    assert differences(gatehouse_database) == NONE

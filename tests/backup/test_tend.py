"""backup_writer: what it does for a bell, each minute, and at night; and who rings for it."""

import json
import time
from typing import Any

import pytest

from gatehouse.backup.tend import tend
from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError
from gatehouse.jobs.bell import COMPARE_BODY, Bell
from gatehouse.observability import metrics
from gatehouse.sealing import Keyring
from tests.backup.backed_up import nothing_differs, tell
from tests.store.store import paid
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import Queues, sqs_event, unreachable_sqs

NOBODY = "postgresql://nobody:x@127.0.0.1:9/nowhere"
SILENT = Bell(unreachable_sqs(), {}, {})
MINUTE: dict[str, Any] = {"detail-type": "Scheduled Event"}
RUNG = sqs_event('{"backup": true}', '{"backup": true}')


def emitted(output: str, name: str) -> list[float]:
    """Return the values of a metric in what was printed."""
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"_aws"')]
    return [line[name] for line in lines if name in line]


@pytest.mark.req("B2")
def test_a_batch_of_bells_is_one_drain_and_each_message_is_done(
    primary: Database, backup: Database, intake: Database, keyring: Keyring
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000))
    answer = tend(RUNG, primary, backup, keyring, SILENT, seconds=20)
    assert (answer["batchItemFailures"], answer["written"]) == ([], 1)
    assert nothing_differs(primary, backup)


@pytest.mark.req("B2", "B4", "O1")
def test_each_minute_it_switches_on_tells_of_keys_and_accounts_and_measures(
    worker: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics.emit()  # what other tests left
    capsys.readouterr()
    gatehouse_database.sql(
        "insert into gateway_accounts (gateway, account, merchant, mode, credentials, key_id) "
        "values ('stripe', 'second', 'default', 'test', 'sealed', 'k1')"
    )
    tend(MINUTE, worker, backup, keyring, SILENT, seconds=20)
    assert gatehouse_database.sql("select is_on, fill_ended_at is not null from backup_state") == [[True, True]]
    assert backup_database.sql("select gateway_provider, account, environment, is_active from gateway_configs") == [
        ["stripe", "second", "test", True]
    ]
    gatehouse_database.sql("delete from gateway_accounts")
    tell(intake, keyring, "first", paid("pi_1", 1000))
    tend(MINUTE, worker, backup, keyring, SILENT, seconds=20)
    assert backup_database.sql("select count(*)::int from gateway_configs") == [[0]]
    metrics.emit()
    said = capsys.readouterr().out
    assert emitted(said, "BackupLag")[-1] in (0, [0, 0])
    assert emitted(said, "BackupWritten")[-1] == 1


@pytest.mark.req("B2", "B4")
def test_the_backup_away_fails_no_invocation_and_the_primary_away_does(
    primary: Database, backup: Database, intake: Database, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics.emit()
    capsys.readouterr()
    tell(intake, keyring, "first", paid("pi_1", 1000))
    for event in (RUNG, MINUTE, {"do": "compare"}):
        away = database_at(NOBODY, away_seconds=5)
        assert tend(event, primary, away, keyring, SILENT, seconds=20)["away"]
    metrics.emit()
    assert emitted(capsys.readouterr().out, "BackupErrors") == [3]
    with pytest.raises(ConnectionError):
        tend(RUNG, database_at(NOBODY), backup, keyring, SILENT, seconds=20)


@pytest.mark.req("B4")
def test_at_night_it_compares_and_repairs(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    backup_database: GatehouseDatabase,
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000))
    tend(RUNG, primary, backup, keyring, SILENT, seconds=20)
    backup_database.sql("update payment_services set status = 'failed'")
    assert tend({"do": "compare"}, primary, backup, keyring, SILENT, seconds=20) == {"divergent": 1, "repaired": 1}
    assert nothing_differs(primary, backup)


@pytest.mark.req("B2")
def test_the_bell_is_rung_once_a_second_and_covers_that_second(queues: Queues, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    bell = queues.bell()
    rung = []
    for _ in range(21):
        rung.append(bell.ring_for_backup())
        clock[0] += 0.125
    assert rung == [number % 8 == 0 for number in range(21)]
    clock[0] -= 500  # a clock that was set back must not silence it
    assert bell.ring_for_backup()
    # The message comes a second after it was sent, so what is committed until then is there when it is heard.
    assert queues.take("backup", seconds=2) == ['{"backup": true}'] * 4
    lost = queues.bell(unreachable_sqs())
    assert not lost.ring_for_backup()
    assert not lost.ring_for_backup()  # it tries again: nothing was covered


@pytest.mark.req("B2")
def test_what_is_off_costs_nothing(worker: Database) -> None:
    assert not Bell(unreachable_sqs(), {}, {}).ring_for_backup()
    assert worker.query_one(primary_sql.state)["is_on"] is False


@pytest.mark.req("B4", "O4")
def test_somebody_may_ask_for_a_comparison_by_day(
    primary: Database, backup: Database, intake: Database, keyring: Keyring, backup_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000))
    tend(RUNG, primary, backup, keyring, SILENT, seconds=20)
    backup_database.sql("delete from payment_services")
    assert not nothing_differs(primary, backup)
    answer = tend(sqs_event(COMPARE_BODY), primary, backup, keyring, SILENT, seconds=20)
    assert (answer["batchItemFailures"], answer["divergent"], answer["repaired"]) == ([], 1, 1)
    assert nothing_differs(primary, backup)

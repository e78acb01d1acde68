"""Payments are brought over: all that hangs on them, once, the newest state, whatever comes in between."""

import json
from typing import Any

import pytest

from gatehouse.backup.writer import BackupAway, facts_of, primary_sql, read_states
from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.models.privacy import erase_customer
from gatehouse.sealing import Keyring
from tests.backup.backed_up import drained, nothing_differs, row, tell, tell_a_long_story
from tests.store.store import DEFAULT, TOTAL, paid
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase

CHANGES = "select count(*)::int from backup_changes"


@pytest.mark.req("B1", "B2")
def test_a_payment_is_there_with_its_refund_dispute_order_names_events_and_history(
    primary: Database,
    backup: Database,
    intake: Database,
    api: Database,
    keyring: Keyring,
    backup_database: GatehouseDatabase,
) -> None:
    tell_a_long_story(intake, api, keyring)
    done = drained(primary, backup, keyring)
    assert (done.written, done.refused, done.is_empty) == (3, 0, True)
    found = row(backup_database)
    assert (found["gateway_provider"], found["status"], found["amount_minor"]) == (
        "stripe",
        "partially_refunded",
        TOTAL,
    )
    assert found["amount"] == TOTAL / 100
    assert found["client_reference"] == found["order_state"]["number"]
    assert found["order_state"]["payment_state"] == "partially_refunded"
    assert [(each["gateway_id"], each["amount_minor"]) for each in found["refunds"]] == [("re_1", TOTAL // 2)]
    assert [each["status"] for each in found["disputes"]] == ["needs_response"]
    assert [each["event_id"] for each in found["events"]] == ["e1", "e2", "e3"]
    assert found["changes"][0]["action"] == "insert"
    assert nothing_differs(primary, backup)


@pytest.mark.req("B2")
def test_many_changes_are_one_open_job_and_one_write(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
) -> None:
    for second in range(5):
        tell(intake, keyring, f"e{second}", paid("pi_1", 1000 + second), second=second)
    assert gatehouse_database.sql(CHANGES) == [[1]]
    assert drained(primary, backup, keyring).written == 1
    assert gatehouse_database.sql(CHANGES) == [[0]]
    assert row(backup_database)["amount_minor"] == 1004
    assert backup_database.sql("select action, ok, payments from service_logs") == [["write", True, 1]]


@pytest.mark.req("B2")
@pytest.mark.parametrize("moment", ["claimed", "read", "written"])
def test_a_change_while_a_payment_is_brought_over_is_brought_over_too(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
    moment: str,
) -> None:
    """Do by hand what a drain does, and let the payment change at each place between."""

    def happens(at: str) -> None:
        if at == moment:
            tell(intake, keyring, "late", paid("pi_1", 2000), second=9)

    tell(intake, keyring, "first", paid("pi_1", 1000), second=1)
    (claimed,) = primary.query(primary_sql.claim, newest=10, oldest=10)
    happens("claimed")
    states = read_states(primary, keyring, [claimed["payment_id"]], claimed["version"])
    happens("read")
    backup.query("select * from sync_payments_to_backup(:payments::jsonb)", payments=Json(states))
    happens("written")
    primary.query(primary_sql.finish, ids=[claimed["payment_id"]], version=claimed["version"])
    assert gatehouse_database.sql(CHANGES) == [[1]]
    drained(primary, backup, keyring)
    assert row(backup_database)["amount_minor"] == 2000
    assert nothing_differs(primary, backup)


@pytest.mark.req("B2")
def test_an_older_state_that_is_written_late_changes_nothing(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    backup_database: GatehouseDatabase,
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000), second=1)
    version = primary.query_one(primary_sql.draw_version)["version"]
    old = read_states(primary, keyring, [1], version)
    tell(intake, keyring, "second", paid("pi_1", 2000), second=2)
    drained(primary, backup, keyring)
    before = row(backup_database)
    for _ in range(2):
        written = backup.query("select * from sync_payments_to_backup(:payments::jsonb)", payments=Json(old))
        assert written == []
    assert row(backup_database) == before
    assert before["amount_minor"] == 2000


@pytest.mark.req("B2")
def test_a_vanished_writers_payments_are_taken_up_by_the_next(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000))
    primary.query(primary_sql.claim, newest=10, oldest=10)
    assert drained(primary, backup, keyring).written == 0
    gatehouse_database.sql("update backup_changes set due_at = due_at - interval '2 minutes'")
    assert drained(primary, backup, keyring).written == 1


@pytest.mark.req("B2", "B4")
def test_while_the_backup_is_away_nothing_is_lost_and_recording_goes_on(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
) -> None:
    nobody = database_at("postgresql://nobody:x@127.0.0.1:9/nowhere")
    tell(intake, keyring, "first", paid("pi_1", 1000))
    with pytest.raises(BackupAway):
        drained(primary, nobody, keyring)
    tell(intake, keyring, "second", paid("pi_2", 2000))
    assert gatehouse_database.sql(CHANGES) == [[2]]
    ((reason,),) = gatehouse_database.sql("select last_error from backup_state")
    assert reason.startswith("BACKUP_AWAY: CONNECTION_ERROR")
    assert drained(primary, backup, keyring).written == 2
    assert gatehouse_database.sql("select last_error from backup_state") == [[None]]


@pytest.mark.req("B2", "B4")
def test_what_the_backup_refuses_stops_no_other_and_is_told(
    primary: Database,
    backup: Database,
    intake: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
) -> None:
    backup_database.sql("alter table payment_services add constraint no_pence check (amount_minor <> 13)")
    for name, amount in (("pi_1", 12), ("pi_2", 13), ("pi_3", 14)):
        tell(intake, keyring, name, paid(name, amount))
    done = drained(primary, backup, keyring)
    assert (done.written, done.refused) == (2, 1)
    ((payment, attempts, error),) = gatehouse_database.sql(
        "select payment_id, attempts, last_error from backup_changes"
    )
    assert (payment, attempts) == (2, 1)
    assert "no_pence" in error
    assert backup_database.sql("select payment_ids, ok from service_logs where not ok") == [[[2], False]]
    backup_database.sql("alter table payment_services drop constraint no_pence")
    tell(intake, keyring, "more", paid("pi_2", 15), second=5)  # a change does not wait for the next try
    assert drained(primary, backup, keyring).written == 1


@pytest.mark.req("B2", "P14")
def test_an_erased_customer_is_erased_in_the_backup_too(
    primary: Database,
    backup: Database,
    intake: Database,
    api: Database,
    ops: Database,
    keyring: Keyring,
    backup_database: GatehouseDatabase,
) -> None:
    def everything() -> str:
        rows = backup.query("select id, key_id, sealed_facts, to_jsonb(p)::text as row from payment_services p")
        sealed = [keyring.open(each["key_id"], each["sealed_facts"], facts_of(each["id"])) for each in rows]
        return " ".join(each["row"] for each in rows) + b" ".join(sealed).decode()

    tell_a_long_story(intake, api, keyring)
    drained(primary, backup, keyring)
    assert "john.doe@example.com" in everything()
    erase_customer(ops, DEFAULT, "john.doe@example.com")
    drained(primary, backup, keyring)
    assert "john.doe" not in everything().lower()
    assert row(backup_database)["amount_minor"] == TOTAL
    assert nothing_differs(primary, backup)


@pytest.mark.req("B2", "G12")
def test_facts_are_sealed_to_their_payment_and_the_reader_cannot_have_them(
    primary: Database, backup: Database, backup_reader: Database, intake: Database, keyring: Keyring
) -> None:
    tell(intake, keyring, "first", paid("pi_1", 1000))
    drained(primary, backup, keyring)
    (stored,) = backup.query("select key_id, sealed_facts from payment_services")
    said: list[dict[str, Any]] = json.loads(keyring.open(stored["key_id"], stored["sealed_facts"], facts_of(1)))
    assert [each["words"]["amount_minor"] for each in said] == [1000]
    with pytest.raises(Exception, match="permission denied"):
        backup_reader.query("select sealed_facts from payment_services")


@pytest.mark.req("B2")
def test_the_newest_do_not_wait_behind_a_backlog(primary: Database, gatehouse_database: GatehouseDatabase) -> None:
    put = (
        "insert into payments (id, merchant, gateway, account, livemode, status, amount_minor, received_minor, "
        "currency, first_fact_at, last_fact_at) select n, 'default', 'stripe', 'default', true, 'completed', n, n, "
        "'EUR', now(), now() from generate_series(1, 60) n"
    )
    gatehouse_database.sql(put)
    claimed = {each["payment_id"] for each in primary.query(primary_sql.claim, newest=5, oldest=5)}
    assert claimed == {1, 2, 3, 4, 5, 56, 57, 58, 59, 60}


@pytest.mark.req("B2")
def test_nothing_is_noted_while_the_backup_is_off(
    worker: Database, intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    worker.query(primary_sql.turn, on=False)
    tell(intake, keyring, "first", paid("pi_1", 1000))
    assert gatehouse_database.sql(CHANGES) == [[0]]
    assert worker.query(primary_sql.turn, on=True) == [{"is_on": True}]
    assert gatehouse_database.sql("select fill_ended_at from backup_state") == [[None]]


@pytest.mark.req("B2")
@pytest.mark.parametrize(
    "change",
    [
        "update payments set fee_minor = 5, fee_currency = 'USD' where id = 1",
        "update refunds set status = 'failed' where id = 1",
        "update disputes set status = 'won'",
        "update orders set status_by_hand = 'cancelled', status = 'cancelled'",
        "update refunds set payment_id = 2",
    ],
)
def test_every_way_in_which_a_payment_can_change_is_noted(
    primary: Database,
    backup: Database,
    intake: Database,
    api: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    change: str,
) -> None:
    tell_a_long_story(intake, api, keyring)
    drained(primary, backup, keyring)
    gatehouse_database.sql(
        change.replace("refunds set status = 'failed' where id = 1", "refunds set status = 'failed'")
    )
    assert not nothing_differs(primary, backup) or gatehouse_database.sql(CHANGES) != [[0]]
    assert drained(primary, backup, keyring).written >= 1
    assert nothing_differs(primary, backup)

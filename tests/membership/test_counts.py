"""The counts of the tabs are kept, and are at any moment what counting the memberships would say."""

import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial

import pytest

from gatehouse.database.connection import Database
from gatehouse.models.memberships import change_membership, count_tabs, note_missed_renewals
from gatehouse.reports.keep import CHANGES_LEFT_ALONE, count, recount
from gatehouse.reports.totals import sql
from gatehouse.reports.verify import last_checks, verify
from gatehouse.sealing import Keyring
from tests.membership.clinic import invoiced, known, paid, tell
from tests.membership.fill import fill
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import connection_to

pytestmark = pytest.mark.req("M5")

DRIFT = "select * from drift_of_membership_counts('default')"


def rows_kept(database: GatehouseDatabase, merchant: str = "default") -> int:
    """Return from how many rows a merchant's counts are added up."""
    ((found,),) = database.sql(f"select count(*)::int from membership_counts where merchant = '{merchant}'")
    return int(found)


def shown(api: Database) -> dict[str, tuple[int, int]]:
    """Return how many memberships each tab has, and how many of them missed a renewal."""
    return {tab.name: (tab.memberships, tab.renewals_missed) for tab in count_tabs(api, "default")}


def test_each_change_moves_a_membership_from_tab_to_tab(
    intake: Database, worker: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"Testosterone": "TRT"})
    assert shown(api) == {"All": (0, 0), "Cancellations": (0, 0)}
    tell(intake, keyring, invoiced("i", "Testosterone"), paid("a", "C1", 0, invoice_ref="i"), paid("b", "C2", 0))
    assert shown(api) == {"All": (2, 0), "Other": (1, 0), "TRT": (1, 0), "Cancellations": (0, 0)}

    before = rows_kept(gatehouse_database)
    tell(intake, keyring, paid("c", "C1", 31, invoice_ref="i"))
    assert rows_kept(gatehouse_database) == before  # a renewal that was paid moves nobody
    assert note_missed_renewals(worker, grace_days=0) == 1
    assert shown(api) == {"All": (2, 1), "Other": (1, 0), "TRT": (1, 1), "Cancellations": (0, 0)}

    ((number,),) = gatehouse_database.sql("select id::int from memberships where customer_ref = 'C1'")
    change_membership(api, "default", number, {"status": "canceled"}, reason="moved away", actor="key 1")
    assert shown(api) == {"All": (2, 1), "Other": (1, 0), "TRT": (0, 0), "Cancellations": (1, 1)}
    gatehouse_database.sql("delete from memberships")
    assert shown(api) == {"All": (0, 0), "Cancellations": (0, 0)}


def test_many_changes_of_one_merchant_are_merged_and_a_few_are_not(
    intake: Database, worker: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, *(paid(f"p{n}", f"C{n}", 0) for n in range(CHANGES_LEFT_ALONE)))
    count(worker, seconds=20)
    assert rows_kept(gatehouse_database) == CHANGES_LEFT_ALONE
    tell(intake, keyring, paid("one more", "C", 0))
    counted = shown(api)
    count(worker, seconds=20)
    assert rows_kept(gatehouse_database) == 1
    assert shown(api) == counted == {"All": (21, 0), "Other": (21, 0), "Cancellations": (0, 0)}
    tell(intake, keyring, paid("later", "D", 0))
    assert (rows_kept(gatehouse_database), shown(api)["All"]) == (2, (22, 0))


@pytest.mark.req("G9")
def test_whoever_reads_while_others_change_and_merge_sees_every_membership_once(
    keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"Testosterone": "TRT"})
    over = threading.Event()
    failed: list[BaseException] = []

    def change(mark: str) -> None:
        with closing(gatehouse_database.connect("intake")) as database:
            for number in range(40):
                name, patient = f"{mark}{number}", f"{mark}C{number}"
                tell(database, keyring, paid(name, patient, 0, invoice_ref=name))
                tell(database, keyring, invoiced(name, "Testosterone"))  # it moves from Other to TRT
                tell(database, keyring, paid(f"{name}-", patient, 30, "failed", invoice_ref=name))  # it is past due

    def merge() -> None:
        with closing(gatehouse_database.connect("worker")) as database:
            while not over.is_set():
                database.query(sql.merge_membership_counts, left_alone=0, most=7)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 - shown by the test
            failed.append(failure)

    changing = [threading.Thread(target=run, args=(partial(change, mark),), daemon=True) for mark in "xy"]
    merging = [threading.Thread(target=run, args=(merge,), daemon=True) for _ in range(2)]
    seen = set()
    wrong = []
    try:
        for thread in (*changing, *merging):
            thread.start()
        with closing(gatehouse_database.connect("ops")) as database:
            while any(thread.is_alive() for thread in changing):
                wrong += database.query(DRIFT)
                seen.add(tuple(tab.memberships for tab in count_tabs(database, "default")))
    finally:
        over.set()
    for thread in (*changing, *merging):
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert failed == []
    assert wrong == []
    assert len(seen) > 5
    assert gatehouse_database.sql(
        "select category, status, sum(memberships)::int from membership_counts group by 1, 2"
        " having sum(memberships) <> 0"
    ) == [["TRT", "past_due", 80]]


def test_two_who_repair_at_once_add_what_is_missing_once(gatehouse_database: GatehouseDatabase) -> None:
    fill(gatehouse_database, merchants=1, patients=40, payments_each=1)
    gatehouse_database.sql("delete from membership_counts")
    repair = "select repair_membership_counts('default')"
    with connection_to(gatehouse_database.address) as first:
        first.run("begin")
        first.run(repair)
        second = threading.Thread(target=gatehouse_database.sql, args=(repair,), daemon=True)
        second.start()
        second.join(timeout=0.5)
        assert second.is_alive()  # it waits
        first.run("commit")
    second.join(timeout=60)
    assert gatehouse_database.sql(DRIFT) == []


@pytest.mark.req("O1", "O5")
def test_a_recount_at_night_tells_of_wrong_counts_and_a_command_puts_them_right(
    worker: Database, ops: Database, gatehouse_database: GatehouseDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(gatehouse_database, merchants=2, patients=40, payments_each=1)
    verify(ops, repair=True)  # payments were filled in past the triggers, and their sums are not there
    assert recount(worker, seconds=20)["drifted"] == 0
    # Past the triggers, as nobody should.
    gatehouse_database.sql(
        "set session_replication_role = replica;"
        "delete from memberships where merchant = 'clinic-1' and category = 'TRT' and status = 'past_due'"
    )
    wrong = "memberships of TRT, past_due, of clinic-1: -1 not counted, 0 missed renewals"
    assert recount(worker, seconds=20)["drifted"] == 1
    assert wrong in capsys.readouterr().out
    assert last_checks(ops, most=1)[0]["examples"] == [wrong]
    assert verify(ops, repair=True).totals_drifted == 1
    assert verify(ops).totals_drifted == 0


def test_a_recount_whose_time_is_up_says_that_it_is_not_whole(
    worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    fill(gatehouse_database, merchants=2, patients=5, payments_each=1)
    assert recount(worker, seconds=0)["is_whole"] is False

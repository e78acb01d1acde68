"""The rule of docs/memberships.md: what payments and contracts come to, in whatever order they are told."""

import itertools
import threading
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import Fact, ObjectName, RefundFact, RefundStatus, SubscriptionStatus
from gatehouse.models.memberships import change_membership, note_missed_renewals
from gatehouse.sealing import Keyring
from tests.membership.clinic import CLINIC, day, invoiced, known, paid, person, rows, short, subscribed, tell
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M3")

Told = tuple[Fact, Any]


def refunded(name: str, payment: str, amount_minor: int, on: int) -> Told:
    fact = RefundFact(
        (ObjectName("refund", name),),
        payment=(ObjectName("payment", payment),),
        status=RefundStatus.COMPLETED,
        amount_minor=amount_minor,
        currency="USD",
    )
    return fact, day(on)


def test_a_recurring_payment_makes_a_member(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"Testosterone": "TRT"})
    tell(
        intake,
        keyring,
        person("C1", "Ada Byron", email="ada@example.com"),
        paid("p1", "C1", 0, invoice_ref="i1"),
        invoiced("i1", "Testosterone"),
        paid("p2", "C1", 31, invoice_ref="i1"),
        paid("p3", "C2", 3, source="QuickPay", invoice_ref="i1"),
        paid("p4", None, 4, invoice_ref="i1"),
    )
    assert rows(gatehouse_database) == [
        {
            "customer_ref": "C1",
            "livemode": True,
            "category": "TRT",
            "name": "Ada Byron",
            "email": "ada@example.com",
            "product_name": "Testosterone",
            "status": "active",
            "started_at": "2026-01-05 15:00:00+00",
            "last_payment_at": "2026-02-05 15:00:00+00",
            "next_expected_at": "2026-03-05 15:00:00+00",
            "renews_every": "month",
            "amount_minor": 19900,
            "currency": "USD",
            "payment_count": 2,
        }
    ]


STORIES: dict[str, tuple[list[Told], list[tuple[str, str]]]] = {
    "a payment that failed last": ([paid("a", "C", 0), paid("b", "C", 30, "failed")], [("Other", "past_due")]),
    "one that came in after all": (
        [paid("a", "C", 0), paid("b", "C", 30, "failed"), paid("c", "C", 31)],
        [("Other", "active")],
    ),
    "none that ever came in": ([paid("a", "C", 0, "failed")], [("Other", "past_due")]),
    "one that is not confirmed": ([paid("a", "C", 0, "processing")], []),
    "one that the bank took back": ([paid("a", "C", 0), paid("a", "C", 5, "reversed")], [("Other", "past_due")]),
    "a refund says nothing": ([paid("a", "C", 0), refunded("r", "a", 20596, 1)], [("Other", "active")]),
    "two product lines": (
        [paid("a", "C", 0, invoice_ref="i"), invoiced("i", "TRT 200"), paid("b", "C", 1)],
        [("Other", "active"), ("TRT", "active")],
    ),
    "a contract that was paused": (
        [paid("a", "C", 0, source=None, subscription_ref="s"), subscribed("s", SubscriptionStatus.PAUSED, 9)],
        [("Other", "paused")],
    ),
    "a contract that ended": (
        [
            paid("a", "C", 0, source=None, subscription_ref="s"),
            subscribed("s", SubscriptionStatus.CANCELLED, 9, ended_at=day(9)),
        ],
        [("Other", "canceled")],
    ),
    "a payment after the end": (
        [
            paid("a", "C", 0, subscription_ref="s"),
            subscribed("s", SubscriptionStatus.CANCELLED, 9, ended_at=day(9)),
            paid("b", "C", 12),
        ],
        [("Other", "active")],
    ),
    "an ended contract beside one that lives": (
        [
            paid("a", "C", 0, subscription_ref="s"),
            subscribed("s", SubscriptionStatus.CANCELLED, 9, ended_at=day(9)),
            subscribed("t", SubscriptionStatus.PAST_DUE, 10, started_at=day(10)),
            paid("b", "C", 10, "failed", subscription_ref="t"),
        ],
        [("Other", "past_due")],
    ),
    "a contract that only the invoice names": (
        [paid("a", "C", 0, source=None, invoice_ref="i"), invoiced("i", "TRT 200", subscription_ref="s")],
        [("TRT", "active")],
    ),
}


@pytest.mark.parametrize("name", sorted(STORIES))
def test_what_payments_and_contracts_come_to(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase, name: str
) -> None:
    known(gatehouse_database, {"TRT 200": "TRT"})
    story, expected = STORIES[name]
    tell(intake, keyring, *story)
    assert [(category, status) for _, category, status in short(gatehouse_database)] == expected


@pytest.mark.req("G9")
def test_every_order_of_telling_leaves_the_same_rows(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    """Each order has its own patient and its own names; apart from these, all rows must be alike."""
    known(gatehouse_database, {"Testosterone": "TRT"})
    seen: dict[str, list[dict[str, Any]]] = {}
    for number, order in enumerate(itertools.permutations(range(6))):
        if number % 7:  # every seventh of 720: each event is then seen before and after each other
            continue
        mark = f"x{number}-"
        story = [
            paid(f"{mark}a", f"{mark}C", 0, invoice_ref=f"{mark}i"),
            invoiced(f"{mark}i", "testosterone ", customer_name="Ada Byron"),
            paid(f"{mark}b", f"{mark}C", 30, "failed", invoice_ref=f"{mark}i"),
            paid(f"{mark}b", f"{mark}C", 31, invoice_ref=f"{mark}i"),
            refunded(f"{mark}r", f"{mark}a", 20596, 5),
            subscribed(f"{mark}s", SubscriptionStatus.ACTIVE, 2, interval="month", started_at=day(-1)),
        ]
        story[0] = paid(f"{mark}a", f"{mark}C", 0, invoice_ref=f"{mark}i", subscription_ref=f"{mark}s")
        tell(intake, keyring, *(story[place] for place in order), mark=mark)
        (row,) = rows(gatehouse_database, f"customer_ref = '{mark}C'")
        seen.setdefault(str(row | {"customer_ref": ""}), []).append(row)
    assert len(seen) == 1, list(seen)
    (found,) = seen.values()
    assert len(found) > 100
    expected = {"category": "TRT", "name": "Ada Byron", "status": "active", "payment_count": 2, "renews_every": "month"}
    assert {name: found[0][name] for name in expected} == expected
    assert (found[0]["started_at"], found[0]["last_payment_at"]) == ("2026-01-04 15:00:00+00", "2026-02-05 15:00:00+00")


@pytest.mark.req("G9")
def test_a_payment_and_its_invoice_that_come_at_once_find_each_other(
    keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    known(gatehouse_database, {"Testosterone": "TRT"})
    gates = threading.Barrier(3)
    failed: list[BaseException] = []

    def run(place: int) -> None:
        database = gatehouse_database.connect("intake")
        try:
            for number in range(12):
                told = (
                    paid(f"p{number}", f"C{number}", 0, invoice_ref=f"i{number}", subscription_ref=f"s{number}"),
                    invoiced(f"i{number}", "Testosterone"),
                    subscribed(f"s{number}", SubscriptionStatus.PAUSED, 1),
                )[place]
                gates.wait(timeout=30)
                tell(database, keyring, told)
        except BaseException as failure:  # noqa: BLE001 - shown by the test
            failed.append(failure)
            gates.abort()
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert {(category, status) for _, category, status in short(gatehouse_database)} == {("TRT", "paused")}
    assert len(short(gatehouse_database)) == 12


def test_a_patient_whose_code_was_corrected_is_followed(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, paid("a", "C1", 0), paid("a", "C2", 1))
    assert short(gatehouse_database) == [("C2", "Other", "active")]


@pytest.mark.parametrize(
    ("days", "every"),
    [((0, 7, 14), "week"), ((0, 14), "2 week"), ((0, 31, 59, 90), "month"), ((0, 91), "3 month"), ((0, 365), "year"),
     ((0, 40, 80), "40 day"), ((0,), None), ((0, 0), None)],
)  # fmt: skip
def test_the_interval_is_read_off_the_payments(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase, days: tuple[int, ...], every: str | None
) -> None:
    tell(intake, keyring, *(paid(f"p{place}", "C", on) for place, on in enumerate(days)))
    (row,) = rows(gatehouse_database)
    assert row["renews_every"] == every
    assert (row["next_expected_at"] is None) == (every is None)


def test_the_contract_knows_better_when_the_next_payment_is_due(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    contract = subscribed("s", SubscriptionStatus.ACTIVE, 1, interval="3 month", next_payment_at=day(80))
    tell(intake, keyring, paid("a", "C", 0, subscription_ref="s"), contract)
    (row,) = rows(gatehouse_database)
    assert (row["renews_every"], row["next_expected_at"]) == ("3 month", str(day(80)).replace("+00:00", "+00"))


def test_a_status_by_hand_wins_until_it_is_released(
    intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, paid("a", "C", 0))
    ((number,),) = gatehouse_database.sql("select id::int from memberships")
    held = change_membership(api, "default", number, {"status": "paused"}, reason="travels", actor="key 1")
    assert (held.status, held.status_set_by, held.status_reason) == ("paused", "key 1", "travels")
    tell(intake, keyring, paid("b", "C", 30, "failed"))
    assert short(gatehouse_database) == [("C", "Other", "paused")]
    released = change_membership(api, "default", number, {"status": None}, actor="key 1")
    assert (released.status, released.status_by_hand, released.status_set_by) == ("past_due", None, None)
    actors = gatehouse_database.sql(
        "select actor from payment_audit_log where table_name = 'memberships' and changes ? 'status_by_hand'"
        " order by id"
    )
    assert actors == [["key 1"], ["key 1"]]


def test_a_missed_renewal_is_noted_and_never_cancels(
    intake: Database, worker: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell(intake, keyring, paid("a", "C", 0), paid("b", "C", 31), paid("c", "P", 0), paid("d", "P", 31))
    ((paused,),) = gatehouse_database.sql("select id::int from memberships where customer_ref = 'P'")
    change_membership(api, "default", paused, {"status": "paused"}, reason="travels", actor="key 1")
    ((days,),) = gatehouse_database.sql(
        "select extract(day from now() - next_expected_at)::int from memberships where customer_ref = 'C'"
    )
    assert note_missed_renewals(worker, grace_days=days + 2) == 0
    assert note_missed_renewals(worker, grace_days=days - 1) == 1
    assert note_missed_renewals(worker, grace_days=days - 1) == 0
    missed = "select customer_ref, status, renewal_missed_at = next_expected_at from memberships order by 1"
    assert gatehouse_database.sql(missed) == [["C", "active", True], ["P", "paused", None]]
    tell(intake, keyring, paid("e", "C", 62))
    assert gatehouse_database.sql(missed)[0] == ["C", "active", None]


def test_test_mode_and_other_merchants_stay_apart(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    tell(intake, keyring, paid("a", "C", 0))
    tell(intake, keyring, paid("a", "C", 0), account=CLINIC._replace(account="acme", merchant="acme"))
    found = gatehouse_database.sql("select merchant, account, customer_ref from memberships order by 1")
    assert found == [["acme", "acme", "C"], ["default", "default", "C"]]

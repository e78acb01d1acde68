"""A payment finds the order that it names, and pays for it: in any order of arrival, at the same moment, and twice."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import ObjectName, PaymentFact, PaymentStatus
from gatehouse.intake.record import record
from gatehouse.models.orders import Order, create_order, find_order_named, set_order_status, summarise_order
from gatehouse.models.payments import find_payment_by_object, payments_of_order
from gatehouse.sealing import Keyring
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, at_once, paid, refunded, told
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.pgbouncer import PgBouncer

HALF = TOTAL // 2
Outcome = tuple[str, str, int, int]


def order_of(database: Database, reference: str, **changes: Any) -> Order:
    order = FESTIVAL._replace(reference=reference, **changes)
    return create_order(database, DEFAULT, order, JOHN, PASSES, idempotency_key=reference).order


def outcome(database: Database, reference: str) -> Outcome:
    order = find_order_named(database, DEFAULT, reference)
    return order.status, order.payment_state, order.paid_minor, order.refunded_minor


def pending(name: str, **words: Any) -> PaymentFact:
    return PaymentFact((ObjectName("payment_intent", name),), status=PaymentStatus.PENDING, currency="USD", **words)


CHARGE = ObjectName("charge", "ch")

# name -> what is told of the payment {p} for the order {o}, and how the order must end
STORIES: dict[str, tuple[Callable[[str], list[Any]], Outcome]] = {
    "paid, then half refunded": (
        lambda o: [
            told(f"{o}1", pending(o, metadata={"order_id": o}), second=0),
            told(f"{o}2", paid(o, metadata={"order_id": o}), second=1),
            told(f"{o}3", refunded(o, o, HALF), second=2),
        ],
        ("partially_refunded", "partially_refunded", TOTAL, HALF),
    ),
    "paid in two halves, by reference": (
        lambda o: [
            told(f"{o}1", paid(f"{o}a", HALF, reference=o), second=0),
            told(f"{o}2", paid(f"{o}b", TOTAL - HALF, reference=o), second=1),
            told(f"{o}3", pending(f"{o}c", reference=o), second=2),
        ],
        ("completed", "paid", TOTAL, 0),
    ),
    "paid twice, one given back": (
        lambda o: [
            told(f"{o}1", paid(f"{o}a", metadata={"order_number": o}), second=0),
            told(f"{o}2", paid(f"{o}b", metadata={"order_number": o}), second=1),
            told(f"{o}3", refunded(o, f"{o}b", TOTAL), second=2),
        ],
        ("completed", "paid", 2 * TOTAL, TOTAL),
    ),
    "two names of one money": (
        lambda o: [
            told(f"{o}1", PaymentFact((CHARGE._replace(id=f"{o}ch"),), reference=o), second=0),
            told(f"{o}2", paid(o, metadata={"cart": "7"}), second=1),
            told(f"{o}3", PaymentFact((ObjectName("payment_intent", o), CHARGE._replace(id=f"{o}ch"))), second=2),
        ],
        ("completed", "paid", TOTAL, 0),
    ),
}


@pytest.mark.req("P5", "P6", "G9")
@pytest.mark.parametrize("name", STORIES)
def test_every_order_of_arrival_ends_the_same(name: str, intake: Database, api: Database, keyring: Keyring) -> None:
    story, expected = STORIES[name]
    for number, steps in enumerate(itertools.permutations(range(4))):
        reference = f"web-{number}-"
        works: list[Callable[[], Any]] = [
            *(partial(record, intake, each, keyring) for each in story(reference)),
            partial(order_of, api, reference),
        ]
        for step in (*steps, steps[number % 4]):  # one of them twice
            works[step]()
        assert outcome(api, reference) == expected, steps
        found = payments_of_order(api, DEFAULT, find_order_named(api, DEFAULT, reference).id)
        assert sum(payment.received_minor or 0 for payment in found) == expected[2]


@pytest.mark.req("P5", "P6", "G9")
@pytest.mark.pooler
@pytest.mark.parametrize("name", STORIES)
def test_all_at_the_same_moment_ends_the_same(
    name: str, gatehouse_database: GatehouseDatabase, pgbouncer: PgBouncer, api: Database, keyring: Keyring
) -> None:
    story, expected = STORIES[name]
    pooled = gatehouse_database.through(pgbouncer.port)
    intakes = [pooled.connect("intake") for _ in range(6)]
    apis = [pooled.connect("api") for _ in range(2)]
    for number in range(8):
        reference = f"same-{number}-"
        works: list[Callable[[], Any]] = [
            partial(record, database, each, keyring)
            for database, each in zip(intakes, [*story(reference), *story(reference)], strict=True)
        ]
        works += [partial(order_of, database, reference) for database in apis]
        assert [each for each in at_once(works) if isinstance(each, Exception)] == []
        assert outcome(api, reference) == expected
    for database in (*intakes, *apis):
        database.close()


@pytest.mark.req("P5")
@pytest.mark.parametrize(
    ("facts", "status", "state"),
    [
        ([pending("pi", reference="web")], "pending", "unpaid"),
        ([pending("pi", reference="web")._replace(status=PaymentStatus.PROCESSING)], "processing", "processing"),
        ([pending("pi", reference="web")._replace(status=PaymentStatus.FAILED)], "pending", "unpaid"),
        ([paid("pi", TOTAL - 1, reference="web")], "processing", "part_paid"),
        ([paid("pi", reference="web")], "completed", "paid"),
        ([paid("pi", TOTAL + 1, reference="web")], "completed", "over_paid"),
        ([paid("pi", reference="web", currency="EUR")], "processing", "wrong_currency"),
        ([paid("pi", reference="web"), paid("pi2", reference="web", currency="EUR")], "completed", "wrong_currency"),
        ([paid("pi", reference="web"), refunded("re", "pi", TOTAL)], "refunded", "refunded"),
        (
            [paid("pi", reference="web"), pending("pi")._replace(status=PaymentStatus.REVERSED)],
            "pending",
            "reversed",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_money_says_is_visible(
    intake: Database, api: Database, keyring: Keyring, facts: list[Any], status: str, state: str
) -> None:
    order_of(api, "web")
    for second, fact in enumerate(facts):
        record(intake, told(f"evt{second}", fact, second=second), keyring)
    assert outcome(api, "web")[:2] == (status, state)


@pytest.mark.req("P5", "G15")
def test_test_money_pays_for_no_live_order(intake: Database, api: Database, keyring: Keyring) -> None:
    order = order_of(api, "web", livemode=True)
    record(intake, told("evt", paid("pi", reference="web")), keyring)
    assert outcome(api, "web") == ("pending", "unpaid", 0, 0)
    assert [payment.livemode for payment in payments_of_order(api, DEFAULT, order.id)] == [False]


@pytest.mark.req("P5")
def test_money_for_a_cancelled_order_changes_no_status_and_shows(
    intake: Database, api: Database, keyring: Keyring
) -> None:
    order = order_of(api, "web")
    set_order_status(api, DEFAULT, order.id, "cancelled")
    record(intake, told("evt", paid("pi", reference="web")), keyring)
    assert outcome(api, "web") == ("cancelled", "paid", TOTAL, 0)


@pytest.mark.req("P5")
def test_an_order_is_named_by_number_reference_or_our_id_and_by_no_small_number(
    intake: Database, api: Database, keyring: Keyring
) -> None:
    order = order_of(api, "web")
    assert order.id > 10**9
    names = ({"order_number": order.number}, {"order_id": order.number}, {"order_id": str(order.id)}, {"order_id": "1"})
    for place, metadata in enumerate(names):
        record(intake, told(f"evt{place}", paid(f"pi{place}", 1, metadata=metadata)), keyring)
    linked = [find_payment_by_object(api, DEFAULT, f"pi{place}").order_id for place in range(4)]
    assert linked == [order.id, order.id, order.id, None]


@pytest.mark.req("P5")
def test_what_is_said_as_a_number_counts_before_the_reference(
    intake: Database, api: Database, keyring: Keyring
) -> None:
    record(intake, told("evt", paid("pi", reference="second", metadata={"order_number": "first"})), keyring)
    second = order_of(api, "second")
    assert find_payment_by_object(api, DEFAULT, "pi").order_id == second.id
    first = order_of(api, "first")
    assert find_payment_by_object(api, DEFAULT, "pi").order_id == first.id
    assert (outcome(api, "first")[1], outcome(api, "second")[1]) == ("paid", "unpaid")


@pytest.mark.req("P5")
def test_a_name_that_changes_takes_the_money_along(intake: Database, api: Database, keyring: Keyring) -> None:
    order_of(api, "first")
    order_of(api, "second")
    record(intake, told("evt1", paid("pi", reference="first"), second=1), keyring)
    assert outcome(api, "first")[1] == "paid"
    record(intake, told("evt2", pending("pi", reference="second"), second=2), keyring)
    assert (outcome(api, "first")[:2], outcome(api, "second")[:2]) == (("pending", "unpaid"), ("completed", "paid"))


@pytest.mark.req("P1", "P5")
def test_a_payment_and_its_customer_are_one_person_with_the_order(
    intake: Database, api: Database, keyring: Keyring
) -> None:
    record(intake, told("evt", paid("pi", email="JOHN.DOE@example.com")), keyring)
    order = order_of(api, "web")
    assert find_payment_by_object(api, DEFAULT, "pi").customer_id == order.customer_id


@pytest.mark.req("P3", "P8")
def test_a_summary_is_read_in_one_flush(intake: Database, api: Database, keyring: Keyring) -> None:
    order = order_of(api, "web")
    record(intake, told("evt1", paid("pi", reference="web"), second=1), keyring)
    record(intake, told("evt2", refunded("re", "pi", 100), second=2), keyring)
    before = api.statistics.flushes
    summary = summarise_order(api, DEFAULT, order.id)
    assert api.statistics.flushes == before + 1
    assert summary.order.status == "partially_refunded"
    assert summary.customer.email == JOHN.email
    assert [item.item_type for item in summary.items] == ["full_festival"]
    assert [(payment.received_minor, payment.refunded_minor) for payment in summary.payments] == [(TOTAL, 100)]
    assert [refund.amount_minor for refund in summary.refunds] == [100]
    steps = [
        change.changes["status"]
        for change in summary.history
        if change.table_name == "orders" and "status" in change.changes
    ]
    assert steps == [[None, "pending"], ["pending", "completed"], ["completed", "partially_refunded"]]
    assert {change.webhook_event_id is None for change in summary.history if change.table_name == "payments"} == {False}

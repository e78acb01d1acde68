"""Facts in any order, any number of times, by any number of writers: one final row."""

import itertools
import random
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.facts import PaymentStatus
from gatehouse.intake.record import record, refold
from gatehouse.intake.tell import told_facts
from gatehouse.sealing import Keyring
from tests.intake.stories import ACCOUNT, EPOCH, Said, actual_rows, delivery, expected_rows
from tests.support.gatehouse_database import GatehouseDatabase

PI, CHARGE, CHARGE_2 = ("payment_intent", "pi"), ("charge", "ch"), ("charge", "ch2")
PAID = {"status": PaymentStatus.COMPLETED, "amount_minor": 4620, "received_minor": 4620, "currency": "EUR"}

STORIES = {
    "two attempts, then paid": [
        Said("created", 0, (PI,), {"status": PaymentStatus.PENDING, "amount_minor": 4620, "currency": "EUR"}),
        Said("declined", 1, (PI, CHARGE), {"status": PaymentStatus.FAILED, "failure_code": "card_declined"}),
        Said("paid", 2, (PI, CHARGE_2), {**PAID, "method": "card"}),
        Said("charged", 2, (CHARGE_2, PI), {**PAID, "metadata": {"order_id": "7"}}),
    ],
    "authorised, captured in part, refunded in part": [
        Said("authorised", 0, (PI, CHARGE), {"status": PaymentStatus.PROCESSING, "amount_minor": 5000}),
        Said("captured", 1, (CHARGE,), {**PAID, "amount_minor": 5000, "received_minor": 3000}),
        Said("refunded", 2, (CHARGE,), {**PAID, "amount_minor": 5000, "received_minor": 3000, "refunded_minor": 500}),
        Said("paid", 1, (PI,), {**PAID, "amount_minor": 5000, "received_minor": 3000}),
    ],
    "cancelled, and a late word of pending": [
        Said("created", 0, (PI,), {"status": PaymentStatus.PENDING, "amount_minor": 10, "currency": "USD"}),
        Said("cancelled", 5, (PI,), {"status": PaymentStatus.CANCELLED, "status_reason": "duplicate"}),
        Said("action", 9, (PI,), {"status": PaymentStatus.PENDING}),
    ],
    "two moneys turn out to be one": [
        Said("charge", 3, (CHARGE,), {**PAID, "method": "card"}),
        Said("intent", 4, (PI,), {"status": PaymentStatus.PROCESSING, "reference": "A-1"}),
        Said("link", 1, (PI, CHARGE), {"customer_ref": "cus_1"}),
        Said("other", 2, (CHARGE_2,), {"status": PaymentStatus.FAILED, "failure_code": "expired"}),
    ],
    "one value at one moment, then silence": [
        Said("first", 1, (PI,), {"reference": "x=1", "amount_minor": 1}),
        Said("second", 2, (PI,), {"reference": "x=2"}),
        Said("third", 3, (PI,), {"status": PaymentStatus.PENDING}),
    ],
}


def tell_all(database: Database, keyring: Keyring, story: Sequence[Said], prefix: str) -> None:
    for said in story:
        record(database, delivery(said, prefix), keyring)


@pytest.mark.req("G8", "G9")
@pytest.mark.parametrize("name", STORIES)
def test_every_order_with_a_duplicate_ends_in_the_same_row(
    name: str, intake: Database, reader: Database, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    story = STORIES[name]
    orders = list(itertools.permutations(story))
    for number, order in enumerate(orders):
        prefix = f"{name[:6]}-{number}-"
        again = order[number % len(order)]
        tell_all(intake, keyring, [*order, again], prefix)
        assert actual_rows(reader, prefix) == expected_rows(story, prefix), [said.event for said in order]
    with capsys.disabled():
        print(f"\n  {name}: {len(orders)} orders, each with a duplicate: one outcome", end="")  # noqa: T201 - how many orders were tried is the result


@pytest.mark.req("G8", "G9")
@pytest.mark.parametrize("name", STORIES)
def test_concurrent_writers_end_in_the_same_row(
    name: str, writers: list[Database], reader: Database, keyring: Keyring
) -> None:
    story = STORIES[name]
    for round_ in range(5):
        prefix = f"{name[:6]}-c{round_}-"
        failures: list[BaseException] = []

        def write(writer: Database, seed: int, prefix: str = prefix, failures: Any = failures) -> None:
            order = story * 2
            random.Random(seed).shuffle(order)  # noqa: S311 - an order to try, no secret
            try:
                tell_all(writer, keyring, order, prefix)
            except BaseException as failure:  # noqa: BLE001 - handed to the test's own thread below
                failures.append(failure)

        threads = [
            threading.Thread(target=write, args=(writer, seed + round_ * 10)) for seed, writer in enumerate(writers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert actual_rows(reader, prefix) == expected_rows(story, prefix)


names = st.lists(st.sampled_from([PI, CHARGE, CHARGE_2, ("invoice", "in")]), min_size=1, max_size=3, unique=True)
words = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from([s for s in PaymentStatus if s is not PaymentStatus.COMPLETED]),
        "amount_minor": st.integers(0, 10**12),
        "currency": st.sampled_from(["USD", "EUR", "NGN"]),
        "refunded_minor": st.integers(0, 500),
        "method": st.sampled_from(["card", "bank_transfer"]),
        "reference": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8),
        "failure_code": st.sampled_from(["declined", "expired"]),
        "status_reason": st.sampled_from(["duplicate", "abandoned"]),
        "metadata": st.dictionaries(st.sampled_from("ab"), st.text("xyz", max_size=3), max_size=2),
    },
) | st.just({**PAID, "refunded_minor": 20})


@st.composite
def told_orders(draw: st.DrawFn) -> tuple[list[Said], list[Said]]:
    """Draw a story and one way to tell it: some order, some events more than once."""
    story = [
        Said(f"e{n}", draw(st.none() | st.integers(0, 3)), tuple(draw(names)), draw(words))
        for n in range(draw(st.integers(1, 5)))
    ]
    order = draw(st.permutations(story))
    return story, [*order, *draw(st.lists(st.sampled_from(story), max_size=3))]


example_numbers = itertools.count()


@pytest.mark.req("G8", "G9")
@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told_orders())
def test_any_story_in_any_order_agrees_with_the_rules_in_plain_words(
    intake: Database, reader: Database, keyring: Keyring, told: tuple[list[Said], list[Said]]
) -> None:
    story, order = told
    prefix = f"h{next(example_numbers)}-"
    tell_all(intake, keyring, order, prefix)
    assert actual_rows(reader, prefix) == expected_rows(story, prefix)


@pytest.mark.req("G9")
def test_a_row_that_was_changed_by_hand_is_made_anew_from_its_facts(
    intake: Database, ops: Database, reader: Database, keyring: Keyring
) -> None:
    story = STORIES["two attempts, then paid"]
    tell_all(intake, keyring, story, "fold-")
    payment = ops.query_one("select payment_id as id from payment_objects where object_id = 'fold-pi'")["id"]
    assert refold(ops, ACCOUNT, [payment]) == []
    ops.query("update payments set received_minor = 1 where id = :id", id=payment)
    assert refold(ops, ACCOUNT, [payment]) == [(payment, "completed")]
    assert actual_rows(reader, "fold-") == expected_rows(story, "fold-")


@pytest.mark.req("G9")
def test_a_refold_waits_for_a_recording_that_is_under_way(
    intake: Database, gatehouse_database: GatehouseDatabase, reader: Database, keyring: Keyring
) -> None:
    first, second, *_ = STORIES["one value at one moment, then silence"]
    record(intake, delivery(first, "race-"), keyring)
    payment = reader.query_one("select id from payments")["id"]
    folder, other = gatehouse_database.connect("ops"), gatehouse_database.connect("intake")
    with other.transaction(merchant="default") as transaction:
        transaction.query(
            "select apply_facts('default', 'stripe', 'default', :facts, 'race-second', 1, null, "
            ":at::timestamptz, now(), false)",
            facts=Json(told_facts(ACCOUNT, delivery(second, "race-").event.facts, livemode=False).facts),
            at=EPOCH + timedelta(seconds=2),
        )
        folding = threading.Thread(target=refold, args=(folder, ACCOUNT, [payment]))
        folding.start()
        time.sleep(0.3)
        assert folding.is_alive()
    folding.join()
    assert actual_rows(reader, "race-") == expected_rows([first, second], "race-")
    folder.close()
    other.close()

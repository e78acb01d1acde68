"""Refunds, disputes, subscriptions, invoices, payouts, customers and apps: told in any order, they end in one state."""

import itertools
import random
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.facts import CustomerFact, Event, SubscriptionFact, SubscriptionStatus
from gatehouse.gateways import gateway_named
from gatehouse.intake.record import Delivery, fetched_facts, record
from gatehouse.intake.tell import told_facts
from gatehouse.sealing import Keyring
from tests.intake.linked_stories import (
    CUSTOMER,
    ITS_PLAN,
    OTHER_APP,
    PAID,
    STORIES,
    SUBSCRIPTION,
    final_rows,
    named,
    require,
    says,
    subscription,
    tell,
)
from tests.intake.stories import ACCOUNT, ARRIVED, EPOCH
from tests.support.gatehouse_database import GatehouseDatabase

CONCURRENT_ROUNDS = 5


@pytest.mark.req("G8", "G9", "G12", "R1", "R7")
@pytest.mark.parametrize("name", STORIES)
def test_every_order_with_a_duplicate_ends_in_the_state_written_by_hand(
    name: str, intake: Database, reader: Database, keyring: Keyring, capsys: pytest.CaptureFixture[str]
) -> None:
    reader.query(ITS_PLAN)
    story = STORIES[name]
    orders = list(itertools.permutations(story.told))
    first: Any = None
    for number, order in enumerate(orders):
        prefix = f"o{number}-"
        for told in (*order, order[number % len(order)]):
            tell(intake, keyring, told, prefix)
        found = final_rows(reader, prefix)
        require(story, found, order)
        first = first or found
        assert found == first, [told.event for told in order]  # also what the story does not speak of
    with capsys.disabled():
        print(f"\n  {name}: {len(orders)} orders, each with a duplicate: one outcome", end="")  # noqa: T201 - how many orders were tried is the result


@pytest.mark.req("G8", "G9", "G12", "R1", "R7")
@pytest.mark.parametrize("name", STORIES)
def test_concurrent_writers_end_in_the_state_written_by_hand(
    name: str, writers: list[Database], reader: Database, keyring: Keyring
) -> None:
    reader.query(ITS_PLAN)
    story = STORIES[name]
    for round_ in range(CONCURRENT_ROUNDS):
        prefix = f"c{round_}-"
        failures: list[BaseException] = []

        def write(writer: Database, seed: int, prefix: str = prefix, failures: Any = failures) -> None:
            order = [*story.told, *story.told]
            random.Random(seed).shuffle(order)  # noqa: S311 - an order to try, no secret
            try:
                for told in order:
                    tell(writer, keyring, told, prefix)
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
        require(story, final_rows(reader, prefix), story.told)


@pytest.mark.req("G8", "G9")
@pytest.mark.parametrize("first", ["active", "past_due"])
def test_two_words_of_one_second_leave_one_question_for_the_gateway(
    first: str, intake: Database, reader: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_named("stripe"), "ASKABLE", frozenset({"subscription"}), raising=False)
    words = [
        says("active", 7, subscription(SubscriptionStatus.ACTIVE)),
        says("past_due", 7, subscription(SubscriptionStatus.PAST_DUE)),
        says("the same again", 7, subscription(SubscriptionStatus.PAST_DUE)),
    ]
    words.sort(key=lambda told: told.event != first)
    for told in (*words, *words):
        tell(intake, keyring, told, "q-")
    jobs = reader.query("select topic, arguments, status from jobs")
    assert jobs == [
        {
            "topic": "refetch",
            "arguments": {"kind": "subscription", "id": "q-sub", "gateway": "stripe", "account": "default"},
            "status": "waiting",
        }
    ]


@pytest.mark.req("G9", "R1")
def test_a_payment_under_way_is_found_by_the_app_that_its_subscription_learns_meanwhile(
    intake: Database, gatehouse_database: GatehouseDatabase, reader: Database, keyring: Keyring
) -> None:
    """The payment names only the subscription, the news only the customer: no name is locked by both."""
    tell(intake, keyring, says("made", 1, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus")), "w-")
    other, news = gatehouse_database.connect("intake"), gatehouse_database.connect("intake")
    payment = named(PAID._replace(subscription_ref="~sub"), "w-")
    with other.transaction(merchant="default") as recording:
        recording.query(
            "select apply_facts('default', 'stripe', 'default', :facts, 'w-paid', 1, null, "
            ":at::timestamptz, now(), false)",
            facts=Json(told_facts(ACCOUNT, (payment,), livemode=False).facts),
            at=EPOCH + timedelta(seconds=2),
        )
        customer = says("customer", 3, CustomerFact(objects=(CUSTOMER,), app=OTHER_APP, user_id="u1"))
        telling = threading.Thread(target=tell, args=(news, keyring, customer, "w-"))
        telling.start()
        time.sleep(0.3)
        assert telling.is_alive()
    telling.join()
    row = final_rows(reader, "w-")["payments"]["~ch"]
    assert (row["app"], row["app_from"], row["user_id"]) == (OTHER_APP, "subscription", "u1")
    other.close()
    news.close()


@pytest.mark.req("G9", "R1")
def test_a_payment_and_a_subscription_that_learn_of_each_other_at_once_are_linked(
    intake: Database, gatehouse_database: GatehouseDatabase, reader: Database, keyring: Keyring
) -> None:
    """The subscription learns its plan by an event that names no customer, while a payment by that plan is recorded."""
    tell(intake, keyring, says("made", 1, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus")), "l-")
    other, news = gatehouse_database.connect("intake"), gatehouse_database.connect("intake")
    payment = named(PAID._replace(customer_ref="~cus", plan="gold"), "l-")
    locks, _apply = fetched_facts(ACCOUNT, (payment,), said_by="", occurred_at=EPOCH, job_id=1, livemode=False)
    with other.transaction(merchant="default") as recording:
        recording.flush([locks])
        recording.query(
            "select apply_facts('default', 'stripe', 'default', :facts, 'l-paid', 1, null, "
            ":at::timestamptz, now(), false)",
            facts=Json(told_facts(ACCOUNT, (payment,), livemode=False).facts),
            at=EPOCH + timedelta(seconds=2),
        )
        planned = says("planned", 3, subscription(None, plan="gold", app=OTHER_APP, user_id="u1"))
        telling = threading.Thread(target=tell, args=(news, keyring, planned, "l-"))
        telling.start()
        time.sleep(0.3)
        assert telling.is_alive()
    telling.join()
    row = final_rows(reader, "l-")["payments"]["~ch"]
    assert (row["app"], row["app_from"], row["user_id"]) == (OTHER_APP, "subscription", "u1")
    other.close()
    news.close()


@pytest.mark.req("G9")
def test_a_name_that_only_the_row_knows_has_the_lock_that_a_recording_takes(
    gatehouse_database: GatehouseDatabase,
) -> None:
    fact = CustomerFact(objects=(CUSTOMER,))
    locks, _apply = fetched_facts(ACCOUNT, (fact,), said_by="", occurred_at=EPOCH, job_id=1, livemode=False)
    [taken_by_a_recording] = locks.values[locks.statement.parameters.index("name_locks")]
    other = gatehouse_database.connect("intake")
    with other.transaction() as transaction:
        transaction.query("select lock_name('stripe', 'default', 'customer', '~cus')")
        [taken] = transaction.query(
            "select (classid::bigint << 32) | objid::bigint as key from pg_locks"
            " where locktype = 'advisory' and pid = pg_backend_pid()"
        )
    assert taken["key"] == taken_by_a_recording
    other.close()


@pytest.mark.req("G8")
def test_an_event_of_a_subscription_alone_is_noted_for_its_app(
    intake: Database, reader: Database, keyring: Keyring
) -> None:
    fact = SubscriptionFact(objects=(SUBSCRIPTION,), status=SubscriptionStatus.ACTIVE, plan="gold", user_id="u1")
    event = Event("evt_1", "customer.subscription.created", EPOCH, livemode=True, facts=(fact,), reference="sub_1")
    record(intake, Delivery(ACCOUNT, event, b"{}", ARRIVED), keyring)
    noted = reader.query_one("select app, user_id, plan, status, event_type, livemode from app_transactions")
    assert noted == {
        "app": "nexai",
        "user_id": "u1",
        "plan": "gold",
        "status": "active",
        "event_type": "customer.subscription.created",
        "livemode": True,
    }

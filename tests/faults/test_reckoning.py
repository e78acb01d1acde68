"""The reckoning that finds everything right can find it wrong: it is shown what is lost, doubled and spoiled."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults import faults
from tests.faults.ground import WEBHOOK, Ground
from tests.faults.reckoning import Reckoning, reckon, settled
from tests.faults.sender import post
from tests.faults.stream import BEGAN, Money, chance
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import drop_database

pytestmark = pytest.mark.req("G8", "G9", "G10")

AN_EVENT = "(select id from webhook_events where event_id like '%spoiled%')"
ITS_PAYMENT = f"(select subject_id from facts where webhook_event_id = {AN_EVENT})"
WITHOUT_TRIGGERS = "set session_replication_role = replica;"


@pytest.fixture
def spoiled(ground: Ground) -> Iterator[GatehouseDatabase]:
    """A copy of a database in which everything is right: one payment more is in it, with its fee."""
    event = Money("spoiled", BEGAN, chance(0)).succeeded()
    if event.id not in ground.sent:
        ground.will_send([event])
        with ground.door() as url:
            assert post(url, event) == (200, "applied")
        ground.acknowledged.add(event.id)
    assert settled(ground).is_right
    database = ground.copy_of(ground.under_faults)
    yield database
    drop_database(ground.server, database.address)


def again(database: GatehouseDatabase, table: str, where: str) -> str:
    """Return the SQL that writes the same rows once more, under ids of their own."""
    ((columns,),) = database.sql(
        f"select string_agg(column_name, ', ') from information_schema.columns where table_name = '{table}' "
        "and column_name <> 'id'"
    )
    return f"insert into {table} ({columns}) select {columns} from {table} where {where}"


def summed_up(reckoning: Reckoning) -> tuple[int, int, bool]:
    return len(reckoning.lost), reckoning.doubled.total(), bool(reckoning.different)


def test_every_way_in_which_a_database_can_be_wrong_is_seen(ground: Ground, spoiled: GatehouseDatabase) -> None:
    assert summed_up(reckon(ground, spoiled)) == (0, 0, False)

    ground.acknowledged.add("evt_never_sent")
    reckoning = reckon(ground, spoiled)
    assert reckoning.lost == {"evt_never_sent"}
    assert str(reckoning).endswith("lost 1, doubled 0")
    ground.acknowledged.remove("evt_never_sent")

    a_fee = f"job_id is not null and subject_id = {ITS_PAYMENT}"
    wrongs = {
        "an event is gone": (f"delete from webhook_events where id = {AN_EVENT}", (1, 0, True)),
        "its bytes are gone": (f"delete from webhook_payloads where webhook_event_id = {AN_EVENT}", (1, 0, True)),
        "its fact is gone": (f"delete from facts where webhook_event_id = {AN_EVENT}", (1, 0, True)),
        "one bit of its bytes is another": (
            "update webhook_payloads set sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1) "
            f"where webhook_event_id = {AN_EVENT}",
            (0, 0, True),
        ),
        "an event is there twice": (
            "alter table webhook_events drop constraint webhook_events_event_id_gateway_account_key;"
            + again(spoiled, "webhook_events", f"id = {AN_EVENT}"),
            (0, 1, True),
        ),
        "a fact is there twice": (again(spoiled, "facts", f"webhook_event_id = {AN_EVENT}"), (0, 1, True)),
        "a fee was fetched twice": (again(spoiled, "facts", a_fee), (0, 1, True)),
        "a job is there twice": (
            "alter table jobs drop constraint jobs_topic_business_key_key;"
            + again(spoiled, "jobs", f"webhook_event_id = {AN_EVENT}"),
            (0, 1, True),
        ),
        "a job was never done": (
            f"update jobs set status = 'waiting' where webhook_event_id = {AN_EVENT}",
            (0, 0, True),
        ),
        "a payment is there twice": (
            f"{WITHOUT_TRIGGERS} insert into payments select (jsonb_populate_record(p, '{{\"id\": 999999}}')).* "
            f"from payments p where id = {ITS_PAYMENT}",
            (0, 1, True),
        ),
        "an amount is another": (
            f"update payments set amount_minor = amount_minor + 1 where id = {ITS_PAYMENT}",
            (0, 0, True),
        ),
        "a change was not audited": (
            f"{WITHOUT_TRIGGERS} delete from payment_audit_log where row_id = {ITS_PAYMENT} and action = 'update'",
            (0, 0, True),
        ),
    }
    for wrong, (how, seen) in wrongs.items():
        database = ground.copy_of(spoiled)
        database.sql(how)
        assert summed_up(reckon(ground, database)) == seen, wrong
        drop_database(ground.server, database.address)


def test_a_function_that_says_yes_to_what_it_has_put_nowhere_is_found_out(ground: Ground) -> None:
    folder = Path(__file__).with_name("functions")
    spec = replace(ground.stack.functions[WEBHOOK], code_folder=folder, handler="says_yes.handler.handler")
    event = Money("believed", BEGAN, chance(1)).succeeded()
    ground.will_send([event])
    ground.acknowledged.add(event.id)
    with ground.door(spec) as url, faults.network_away(ground, chance(0)), faults.sqs_away(ground, chance(0)):
        status, _ = post(url, event)
    assert status == 200
    assert settled(ground).lost == {event.id}
    with ground.door() as url:  # Stripe knows better, and sends it again
        assert post(url, event) == (200, "applied")
    assert settled(ground).is_right

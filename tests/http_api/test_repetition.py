"""A write that is sent twice is done once; a change of what the caller has not seen is refused."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from fastapi import Request

from gatehouse.database.connection import Database, Transaction
from gatehouse.errors import GatehouseError, RequestRefused, TransactionConflict
from gatehouse.http_api.callers import Caller
from gatehouse.http_api.repetition import Answer, answer_once
from gatehouse.http_api.resources import expected_version
from gatehouse.jobs import claim
from gatehouse.jobs.sweep import ANSWERS_KEPT_HOURS
from tests.conftest import DatabaseOpener
from tests.http_api.api_client import made_key
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.fixture
def caller(ops: Database, gatehouse_database: GatehouseDatabase) -> Caller:
    """Somebody who may write, and a table to write to."""
    gatehouse_database.sql("create table deeds (what text); grant select, insert on deeds to gatehouse_api")
    return Caller(made_key(ops, role="admin")[3:11], "default", "admin")


def deed(transaction: Transaction) -> Answer:
    transaction.query("insert into deeds values (:what::text)", what="done")
    return Answer(201, {"deed": transaction.query_one("select count(*) as n from deeds")["n"]})


def deeds(database: Database) -> int:
    return int(database.query_one("select count(*) as n from deeds")["n"])


def test_the_same_request_gets_the_same_answer(caller: Caller, api_database: Database) -> None:
    answers = [answer_once(api_database, caller, "k", b"asked", deed) for _ in range(2)]
    assert answers == [Answer(201, {"deed": 1})] * 2
    assert answer_once(api_database, caller, "k2", b"asked", deed).body == {"deed": 2}
    assert answer_once(api_database, caller, None, b"asked", deed).body == {"deed": 3}
    other = caller._replace(merchant="acme")
    assert answer_once(api_database, other, "k", b"asked", deed).body == {"deed": 4}


def test_the_same_key_with_another_request_is_refused(caller: Caller, api_database: Database) -> None:
    answer_once(api_database, caller, "k", b"asked", deed)
    with pytest.raises(RequestRefused) as refused:
        answer_once(api_database, caller, "k", b"asked for more", deed)
    assert (refused.value.code, refused.value.http_status) == ("IDEMPOTENCY_KEY_REUSED", 422)
    assert deeds(api_database) == 1


def test_what_failed_may_be_sent_again(caller: Caller, api_database: Database) -> None:
    def fails(transaction: Transaction) -> Answer:
        deed(transaction)
        raise RequestRefused("not now", status=409)

    with pytest.raises(RequestRefused):
        answer_once(api_database, caller, "k", b"asked", fails)
    assert deeds(api_database) == 0
    assert answer_once(api_database, caller, "k", b"asked", deed).body == {"deed": 1}


def test_an_answer_is_forgotten_after_a_day(
    caller: Caller, api_database: Database, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    for key in ("old", "new"):
        answer_once(api_database, caller, key, b"asked", deed)
    gatehouse_database.sql(
        "update api_answers set created_at = now() - interval '24 hours 1 second' where idempotency_key = 'old'"
    )
    worker = open_database(gatehouse_database.url("worker"))
    worker.query(claim.sql.forget_answers, hours=ANSWERS_KEPT_HOURS)
    assert [row["idempotency_key"] for row in worker.query("select idempotency_key from api_answers")] == ["new"]


def test_of_twins_one_does_the_deed_and_both_get_its_answer(
    caller: Caller, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    databases = [open_database(gatehouse_database.url("api")) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda each: answer_once(each, caller, "k", b"asked", deed), databases))
    assert answers == [Answer(201, {"deed": 1})] * 6
    assert deeds(databases[0]) == 1


def test_a_twin_of_one_that_takes_long_is_told_to_come_again(
    caller: Caller, api_database: Database, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    begun, may_end = Event(), Event()

    def slow(transaction: Transaction) -> Answer:
        begun.set()
        may_end.wait(20)
        return deed(transaction)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(answer_once, api_database, caller, "k", b"asked", slow)
        begun.wait(20)
        with pytest.raises(TransactionConflict):
            answer_once(open_database(gatehouse_database.url("api")), caller, "k", b"asked", deed)
        may_end.set()
        assert first.result().status == 201


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 428),
        ({"if-match": ""}, 428),
        ({"if-match": '"other"'}, 412),
        ({"if-match": 'W/"v7"'}, 412),
        ({"if-match": '"v7", "v8"'}, 412),
        ({"if-match": "*"}, 412),
    ],
)
def test_a_change_names_what_it_changes(headers: dict[str, str], status: int) -> None:
    with pytest.raises(GatehouseError) as refused:
        expected_version(_request(headers))
    assert refused.value.http_status == status
    assert expected_version(_request({"if-match": '"v7"'})) == 7


def _request(headers: dict[str, str]) -> Request:
    sent = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "PATCH", "headers": sent})

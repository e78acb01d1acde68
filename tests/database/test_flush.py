"""Several statements in one flush: one implicit transaction, all or nothing."""

import threading
import time

import pytest

from gatehouse.database.sql import Statement, unnamed
from gatehouse.errors import (
    ConnectionError,
    DatabaseError,
    DuplicateEntry,
    ForeignKeyViolation,
    NotFound,
    NotNullViolation,
    QueryError,
    TimeoutError,
    TransactionConflict,
    ValidationError,
)
from tests.conftest import DatabaseFactory, DatabaseOpener
from tests.support.postgres import run_sql


def _named(name: str, text: str) -> Statement:
    plain = unnamed(text)
    return Statement(name, "", plain.text, plain.parameters)


LOCK = _named("lock", "SELECT pg_advisory_xact_lock(7)")
ADD = _named("add", "INSERT INTO things (id, name) VALUES (:id, :name) RETURNING id")
COUNT = _named("count", "SELECT count(*) AS things FROM things")
NAP = _named("nap", "SELECT pg_sleep(:seconds::numeric)")


@pytest.fixture
def address(fresh_database: DatabaseFactory) -> str:
    address = fresh_database()
    run_sql(
        address,
        "CREATE TABLE things (id int PRIMARY KEY CHECK (id > 0), name text NOT NULL,"
        " part_of int REFERENCES things DEFERRABLE INITIALLY DEFERRED)",
    )
    return address


@pytest.mark.req("P9")
def test_each_statement_has_its_result(address: str, open_database: DatabaseOpener) -> None:
    added, changed, counted, nothing = open_database(address).flush(
        [
            ADD(id=1, name="one"),
            unnamed("UPDATE things SET name = 'two'")(),
            COUNT(),
            unnamed("SELECT id FROM things WHERE id > 5")(),
        ]
    )
    assert (added.rows, added.row_count) == ([{"id": 1}], 1)
    assert (changed.rows, changed.row_count) == ([], 1)
    assert counted.rows == [{"things": 1}]
    assert (nothing.rows, nothing.row_count) == ([], 0)


@pytest.mark.req("P9")
def test_an_error_in_the_second_statement_undoes_the_first_and_says_which_failed(
    address: str, open_database: DatabaseOpener
) -> None:
    database = open_database(address)
    with pytest.raises(DuplicateEntry, match=r"^add: ") as caught:
        database.flush([LOCK(), ADD(id=1, name="one"), COUNT(), ADD(id=1, name="again"), COUNT()])
    assert caught.value.statement == "add"
    assert caught.value.constraint == "things_pkey"
    assert caught.value.sqlstate == "23505"
    assert database.query_one(COUNT) == {"things": 0}
    assert database.statistics.connects == 1


def test_an_error_at_the_commit_says_so(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with pytest.raises(ForeignKeyViolation, match=r"^commit: ") as caught:
        database.flush([unnamed("INSERT INTO things VALUES (1, 'one', 99)")(), COUNT()])
    assert caught.value.statement == "commit"
    assert database.query_one(COUNT) == {"things": 0}


@pytest.mark.req("P9")
def test_a_lock_in_the_first_statement_lets_the_second_see_what_a_neighbour_committed_meanwhile(
    address: str, open_database: DatabaseOpener
) -> None:
    neighbour, database = open_database(address), open_database(address)
    seen: list[int] = []
    waiter = threading.Thread(target=lambda: seen.append(database.flush([LOCK(), COUNT()])[1].rows[0]["things"]))
    with neighbour.transaction() as transaction:
        transaction.flush([LOCK(), ADD(id=1, name="one")])
        waiter.start()
        _wait_until_somebody_waits(address)
    waiter.join(10)
    assert seen == [1]


def test_a_lock_inside_the_same_statement_does_not(address: str, open_database: DatabaseOpener) -> None:
    """Why the order of a flush matters: here the snapshot is older than the lock."""
    neighbour, database = open_database(address), open_database(address)
    seen: list[int] = []
    both = "WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock(7)) SELECT count(things.id) AS n FROM locked LEFT JOIN things ON true"  # noqa: E501 - one statement
    waiter = threading.Thread(target=lambda: seen.append(database.query_one(both)["n"]))
    with neighbour.transaction() as transaction:
        transaction.flush([LOCK(), ADD(id=1, name="one")])
        waiter.start()
        _wait_until_somebody_waits(address)
    waiter.join(10)
    assert seen == [0]


def _wait_until_somebody_waits(address: str) -> None:
    for _ in range(200):
        if run_sql(address, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            return
        time.sleep(0.02)
    raise AssertionError("nobody waits for the lock")


@pytest.mark.req("P9")
def test_a_setting_of_the_flush_is_gone_after_it(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    ask = unnamed("SELECT current_setting('gatehouse.merchant', true) AS merchant")
    _, inside = database.flush([unnamed("SELECT set_config('gatehouse.merchant', 'm1', true)")(), ask()])
    assert inside.rows == [{"merchant": "m1"}]
    assert database.query_one(ask) == {"merchant": ""}


@pytest.mark.req("P9")
def test_query_many_is_all_or_none(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    rows = database.query_many(ADD, [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}])
    assert rows == [[{"id": 1}], [{"id": 2}]]
    with pytest.raises(DuplicateEntry):
        database.query_many(ADD, [{"id": 3, "name": "three"}, {"id": 1, "name": "one"}])
    assert database.query_one(COUNT) == {"things": 2}
    assert database.query_many(ADD, []) == []


@pytest.mark.req("P9")
def test_query_one_wants_one_row(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with pytest.raises(NotFound, match=r"^unnamed: there is no such row"):
        database.query_one("SELECT id FROM things")
    with pytest.raises(QueryError, match="one row was asked for, 2 came"):
        database.query_one("SELECT * FROM generate_series(1, 2) AS n")


@pytest.mark.req("P9")
def test_a_transaction_spans_round_trips_and_commits_at_its_end(address: str, open_database: DatabaseOpener) -> None:
    database, other = open_database(address), open_database(address)
    with database.transaction(merchant="m1", event="e1") as transaction:
        transaction.query(ADD, id=1, name="one")
        transaction.query_many(ADD, [{"id": 2, "name": "two"}])
        context = "SELECT current_setting('gatehouse.merchant') AS m, current_setting('gatehouse.event') AS e"
        assert transaction.query_one(context) == {"m": "m1", "e": "e1"}
        assert other.query_one(COUNT) == {"things": 0}
    assert other.query_one(COUNT) == {"things": 2}
    with pytest.raises(ConnectionError, match="its block has ended"):
        transaction.query(COUNT)


@pytest.mark.req("P9")
def test_an_exception_undoes_the_transaction(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)

    def add_and_fail() -> None:
        with database.transaction() as transaction:
            transaction.query(ADD, id=1, name="one")
            raise KeyError

    with pytest.raises(KeyError):
        add_and_fail()
    assert database.query_one(COUNT) == {"things": 0}
    assert database.statistics.connects == 1


def test_a_transaction_that_is_told_to_undo_undoes(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with database.transaction() as transaction:
        transaction.query(ADD, id=1, name="one")
        transaction.undo()
    assert database.query_one(COUNT) == {"things": 0}


@pytest.mark.req("P9")
def test_a_swallowed_error_cannot_make_a_transaction_look_committed(
    address: str, open_database: DatabaseOpener
) -> None:
    database = open_database(address)

    def add_twice_and_go_on() -> None:
        with database.transaction() as transaction:
            transaction.query(ADD, id=1, name="one")
            with pytest.raises(DuplicateEntry):
                transaction.query(ADD, id=1, name="again")

    with pytest.raises(QueryError, match="undone, not committed"):
        add_twice_and_go_on()
    assert database.query_one(COUNT) == {"things": 0}


def test_the_database_is_not_used_beside_its_own_transaction(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with database.transaction():
        with pytest.raises(QueryError, match="use the object that transaction"):
            database.query(COUNT)
        with pytest.raises(QueryError, match="cannot hold another"), database.transaction():
            pass
    assert database.query_one(COUNT) == {"things": 0}


def test_begin_by_hand_is_refused_and_undone(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with pytest.raises(QueryError, match="BEGIN outside transaction"):
        database.flush([unnamed("BEGIN")(), ADD(id=1, name="one")])
    assert database.query_one(COUNT) == {"things": 0}


@pytest.mark.req("P9")
def test_debug_shows_sql_time_and_plan_and_changes_nothing(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    explained = database.debug(ADD, id=1, name="one")
    assert explained.sql == "INSERT INTO things (id, name) VALUES ($1, $2) RETURNING id"
    assert explained.milliseconds > 0
    assert "Insert on things" in explained.plan
    assert "Buffers" in explained.plan
    assert database.query_one(COUNT) == {"things": 0}


@pytest.mark.req("P10")
@pytest.mark.parametrize(
    ("sql", "error", "sqlstate", "retry_helps"),
    [
        ("INSERT INTO things VALUES (1, 'a'), (1, 'b')", DuplicateEntry, "23505", False),
        ("INSERT INTO things VALUES (1, NULL)", NotNullViolation, "23502", False),
        ("INSERT INTO things VALUES (-1, 'a')", ValidationError, "23514", False),
        ("INSERT INTO things VALUES (1, 'a', 9)", ForeignKeyViolation, "23503", False),
        ("SELECT 'x'::int", ValidationError, "22P02", False),
        (
            "INSERT INTO things VALUES (1, 'a'), (1, 'b') ON CONFLICT (id) DO UPDATE SET name = 'c'",
            ValidationError,
            "21000",
            False,
        ),
        ("SELECT nothing", QueryError, "42703", False),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$", TransactionConflict, "40001", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40P01'; END $$", TransactionConflict, "40P01", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '55P03'; END $$", TransactionConflict, "55P03", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END $$", TimeoutError, "57014", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '08006'; END $$", ConnectionError, "08006", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$", ConnectionError, "53100", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '25006'; END $$", ConnectionError, "25006", True),
        ("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'GH001'; END $$", QueryError, "GH001", False),
        ("SELECT pg_terminate_backend(pg_backend_pid())", ConnectionError, "57P01", True),
    ],
)
def test_the_servers_refusals_are_our_words(
    address: str, open_database: DatabaseOpener, sql: str, error: type[DatabaseError], sqlstate: str, retry_helps: bool
) -> None:
    database = open_database(address)
    with pytest.raises(error) as caught:
        database.query(sql)
    assert type(caught.value) is error
    assert (caught.value.sqlstate, caught.value.retry_helps) == (sqlstate, retry_helps)
    assert caught.value.__cause__ is None
    assert database.query_one(COUNT) == {"things": 0}


@pytest.mark.req("P10")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT :secret::int",
        "SELECT :secret::timestamptz",
        "SELECT :secret::jsonb",
        "SELECT cast(concat(:secret::text) AS numeric)",
        "INSERT INTO things VALUES (1, :secret), (1, :secret)",
        "INSERT INTO things VALUES (-1, :secret)",
    ],
)
def test_no_error_tells_a_parameter_value(address: str, open_database: DatabaseOpener, sql: str) -> None:
    database = open_database(address)
    with pytest.raises(DatabaseError) as caught:
        database.query(sql, secret="ann@example.com")
    assert "ann@" not in f"{caught.value!r} {caught.value} {database.statistics}"


def test_a_parameter_that_was_refused_is_named(address: str, open_database: DatabaseOpener) -> None:
    with pytest.raises(ValidationError, match=r"^add: parameter id: the text does not have the form of its type"):
        open_database(address).query(ADD, id="many", name="x")


@pytest.mark.req("P11")
def test_the_roles_statement_time_out_stops_the_statement_and_keeps_the_connection(
    address: str, open_database: DatabaseOpener
) -> None:
    name = address.rsplit("/", 1)[1]
    run_sql(address, f"ALTER DATABASE {name} SET statement_timeout = '100ms'")
    database = open_database(address)
    with pytest.raises(TimeoutError, match=r"^nap: ") as caught:
        database.flush([ADD(id=1, name="one"), NAP(seconds=5)])
    assert caught.value.sqlstate == "57014"
    assert database.query_one(COUNT) == {"things": 0}
    assert database.statistics.connects == 1


@pytest.mark.req("P11")
def test_a_server_that_does_not_answer_in_time_costs_the_connection(
    address: str, open_database: DatabaseOpener
) -> None:
    database = open_database(address, statement_milliseconds=100)
    with pytest.raises(TimeoutError, match="did not answer in time"):
        database.flush([ADD(id=1, name="one"), NAP(seconds=1)], idempotent=True)
    assert database.query_one("SELECT 1 AS one") == {"one": 1}
    assert database.statistics.connects == 2


def test_notices_and_changed_parameters_between_the_answers_are_no_trouble(
    address: str, open_database: DatabaseOpener
) -> None:
    results = open_database(address).flush(
        [
            unnamed("DO $$ BEGIN RAISE NOTICE 'by the way'; END $$")(),
            unnamed("SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone")(),
            unnamed("LISTEN news")(),
            unnamed("NOTIFY news, 'hello'")(),
            COUNT(),
        ]
    )
    assert results[-1].rows == [{"things": 0}]


def test_copy_is_refused_and_the_next_call_works(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    with pytest.raises(QueryError, match="COPY needs a conversation"):
        database.query("COPY things TO STDOUT")
    assert database.query_one(COUNT) == {"things": 0}


def test_an_empty_statement_and_an_empty_flush_answer_nothing(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    assert database.query("") == []
    assert database.flush([]) == []

"""Connections that are lost, half-open, refused or given a new password: typed errors, and the next call works."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.database.connection import Database, database
from gatehouse.database.login import parse_address
from gatehouse.database.sql import unnamed
from gatehouse.errors import (
    ConnectionError,
    DatabaseError,
    QueryError,
    ServiceUnavailable,
    SettingError,
    TimeoutError,
)
from local.postgres import PostgresServer, free_port
from tests.conftest import DatabaseFactory, DatabaseOpener
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import database_name, run_sql, running_server
from tests.support.proxies import TO_CLIENT, TO_SERVER, CuttingProxy, StallingProxy

ADD = unnamed("INSERT INTO things (name) VALUES (:name) ON CONFLICT (name) DO NOTHING")
COUNT = unnamed("SELECT count(*) AS things FROM things")
ONE = [{"one": 1}]


@pytest.fixture
def address(fresh_database: DatabaseFactory) -> str:
    address = fresh_database()
    run_sql(address, "CREATE TABLE things (name text PRIMARY KEY)")
    return address


@pytest.fixture
def cutting(postgres_server: PostgresServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def stalling(postgres_server: PostgresServer) -> Iterator[StallingProxy]:
    with StallingProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.mark.req("P11")
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_restart_between_two_calls_costs_no_request(open_database: DatabaseOpener, mode: str) -> None:
    with running_server() as server:
        database = open_database(server.url())
        database.query("CREATE TABLE things (name text PRIMARY KEY)")
        server.stop(mode)
        server.start()
        database.flush([ADD(name="not idempotent, as far as flush knows")], idempotent=False)
        server.stop(mode)
        server.start()
        with database.transaction() as transaction:
            assert transaction.query_one(COUNT) == {"things": 1}
        assert (database.statistics.reconnects, database.statistics.errors) == (2, 0)


@pytest.mark.pooler
@pytest.mark.req("P11")
def test_a_pooler_restart_between_two_calls_costs_no_request(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    first = PgBouncer(postgres_server)
    first.start()
    database = open_database(first.url())
    try:
        assert database.query("SELECT 1 AS one") == ONE
    finally:
        first.stop()
    second = PgBouncer(postgres_server)
    second.port = first.port
    second.start()
    try:
        assert database.query("SELECT 1 AS one") == ONE
        assert database.statistics.errors == 0
    finally:
        second.stop()


@pytest.mark.req("P11")
def test_an_idle_connection_that_the_server_ended_costs_no_request(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    pid = database.query_one("SELECT pg_backend_pid() AS pid")["pid"]
    run_sql(address, f"SELECT pg_terminate_backend({pid}, 1000)")
    assert database.query("SELECT 1 AS one") == ONE
    assert (database.statistics.reconnects, database.statistics.errors) == (1, 0)


# One flush of two statements is nine messages to the server and, with the answers, ten to the client.
@pytest.mark.req("P11")
@pytest.mark.parametrize(("direction", "messages"), [(TO_SERVER, 9), (TO_CLIENT, 9)])
def test_cut_at_any_message_an_idempotent_flush_arrives_once(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener, direction: str, messages: int
) -> None:
    database = open_database(cutting.address(address))
    for cut in range(messages):
        database.query("SELECT 1 AS warm")
        cutting.arm(cut, direction)
        _, counted = database.flush([ADD(name=f"thing {cut}"), COUNT()], idempotent=True)
        assert counted.rows == [{"things": cut + 1}]
        assert cutting.cuts == cut + 1


@pytest.mark.req("P11")
@pytest.mark.parametrize(("direction", "messages"), [(TO_SERVER, 9), (TO_CLIENT, 9)])
def test_cut_at_any_message_another_flush_is_not_sent_twice(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener, direction: str, messages: int
) -> None:
    run_sql(address, "CREATE TABLE log (cut int)")
    database = open_database(cutting.address(address))
    write = unnamed("INSERT INTO log VALUES (:cut)")
    for cut in range(messages):
        database.query("SELECT 1 AS warm")
        cutting.arm(cut, direction)
        with pytest.raises(ConnectionError, match=r"^unnamed: ") as caught:
            database.flush([write(cut=cut), COUNT()])
        assert caught.value.retry_helps
        assert database.query("SELECT 1 AS one") == ONE
    written = [row[0] for row in run_sql(address, "SELECT cut FROM log ORDER BY cut")]
    # Cut on the way there, the Sync never came and nothing was kept; cut on the way back, it was, once.
    assert written == ([] if direction == TO_SERVER else list(range(messages)))


@pytest.mark.req("P11")
@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT])
def test_cut_at_any_message_of_the_login_the_next_call_works(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener, direction: str
) -> None:
    cut = 0
    while True:
        cutting.arm(cut, direction)
        database = open_database(cutting.address(address))
        try:
            database.query("SELECT 1 AS one")
            break
        except ConnectionError as error:
            assert "127.0.0.1:" in str(error) or "unnamed: " in str(error)  # noqa: PT017 - the last one succeeds
        assert database.query("SELECT 1 AS one") == ONE
        cut += 1
        cutting.disarm()
    assert cut > 7


@pytest.mark.req("P11")
def test_a_transaction_cut_in_the_middle_is_undone_and_said_to_be(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(cutting.address(address))

    def add_and_lose_the_line() -> None:
        with database.transaction() as transaction:
            transaction.query(ADD, name="one")
            cutting.cut_all()
            transaction.query(ADD, name="two")

    with pytest.raises(ConnectionError):
        add_and_lose_the_line()
    assert database.query_one(COUNT) == {"things": 0}


def test_a_transaction_does_not_go_on_over_another_connection(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(cutting.address(address))

    def swallow_the_loss() -> None:
        with database.transaction() as transaction:
            cutting.cut_all()
            with pytest.raises(ConnectionError):
                transaction.query(ADD, name="one")
            transaction.query(ADD, name="two")

    with pytest.raises(ConnectionError, match="its connection was lost"):
        swallow_the_loss()
    assert database.query_one(COUNT) == {"things": 0}


def test_a_transaction_that_begins_on_a_dead_connection_begins_on_a_new_one(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(cutting.address(address))
    database.query("SELECT 1 AS warm")
    cutting.arm(0)
    with database.transaction() as transaction:
        transaction.query(ADD, name="one")
    assert database.query_one(COUNT) == {"things": 1}
    assert cutting.cuts == 1


@pytest.mark.req("P11")
@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT])
def test_a_half_open_server_is_a_time_out_and_the_next_call_works(
    address: str, stalling: StallingProxy, open_database: DatabaseOpener, direction: str
) -> None:
    database = open_database(stalling.address(address), statement_milliseconds=100)
    database.query("SELECT 1 AS warm")
    for after_messages in (0, 3):
        stalling.stall(after_messages, direction)
        with pytest.raises(TimeoutError, match="did not answer in time"):
            database.flush([COUNT()], idempotent=True)
        stalling.release()
        assert database.query("SELECT 1 AS one") == ONE


@pytest.mark.req("P11", "G10")
def test_a_pooler_whose_server_is_away_is_waited_for_once_and_then_left_alone(
    address: str, stalling: StallingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(stalling.address(address), statement_milliseconds=100, away_seconds=60)
    database.query("SELECT 1 AS warm")
    stalling.stall(0)
    with pytest.raises(TimeoutError, match="did not answer in time"):
        database.query("SELECT 1")
    stalling.release()
    with pytest.raises(ConnectionError, match="left alone for a while"):
        database.query("SELECT 1")


@pytest.mark.req("P11")
def test_a_server_that_accepts_and_says_nothing_is_given_the_connect_time(
    address: str, stalling: StallingProxy, open_database: DatabaseOpener
) -> None:
    stalling.stall(0)
    started = monotonic()
    with pytest.raises(ConnectionError, match="did not answer in time"):
        open_database(stalling.address(address), connect_milliseconds=200).query("SELECT 1")
    assert 0.2 <= monotonic() - started < 2


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.req("P11")
def test_while_the_database_is_away_it_is_left_alone_and_then_found_again(
    address: str, cutting: CuttingProxy, open_database: DatabaseOpener
) -> None:
    clock = Clock()
    database = open_database(cutting.address(address), away_seconds=5, clock=clock)
    assert not database.is_away()
    cutting.refuse()
    with pytest.raises(ConnectionError, match="cannot be reached"):
        database.query("SELECT 1")
    cutting.accept()
    clock.now += 4.9
    assert database.is_away()
    with pytest.raises(ConnectionError, match=r"left alone for a while, as .* cannot be reached"):
        database.query("SELECT 1")
    assert cutting.connections == 0
    clock.now += 0.2
    assert not database.is_away()
    assert database.query("SELECT 1 AS one") == ONE


@pytest.mark.req("P11")
def test_a_connection_that_was_silent_for_long_is_not_trusted(address: str, open_database: DatabaseOpener) -> None:
    clock = Clock()
    database = open_database(address, clock=clock)
    database.query("SELECT 1")
    clock.now += 299
    database.query("SELECT 1")
    assert database.statistics.connects == 1
    clock.now += 301
    database.query("SELECT 1")
    assert (database.statistics.connects, database.statistics.errors) == (2, 0)


def test_a_refused_login_says_why_without_the_password(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    database = open_database(postgres_server.url(password="hunter2"))
    with pytest.raises(
        ConnectionError, match=r"refused the login: password authentication failed .*\(28P01\)"
    ) as error:
        database.query("SELECT 1")
    assert error.value.sqlstate == "28P01"
    with pytest.raises(ConnectionError, match=r'database "nowhere" does not exist \(3D000\)'):
        open_database(postgres_server.url("nowhere")).query("SELECT 1")
    assert "hunter2" not in f"{database!r} {vars(database)} {error.value} {parse_address('postgres://u:hunter2@h')!r}"


@pytest.mark.req("P11")
@pytest.mark.parametrize("through", ["server", pytest.param("pooler", marks=pytest.mark.pooler)])
def test_a_rotated_password_is_fetched_once_more(
    through: str, postgres_server: PostgresServer, open_database: DatabaseOpener, request: pytest.FixtureRequest
) -> None:
    front = postgres_server if through == "server" else request.getfixturevalue("pgbouncer")
    run_sql(postgres_server.url(), "CREATE ROLE rotating LOGIN PASSWORD 'new'")
    fetched: list[bool] = []

    def source(renewed: bool) -> str:
        fetched.append(renewed)
        return str(front.url(user="rotating", password="new" if renewed else "old"))

    try:
        database = open_database(source)
        assert database.query("SELECT current_user::text AS me") == [{"me": "rotating"}]
        assert fetched == [False, True]
        assert database.statistics.errors == 0
        database.close()
    finally:
        run_sql(postgres_server.url(), "DROP ROLE rotating")


def test_a_wrong_password_that_stays_is_tried_once(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    fetched: list[bool] = []

    def source(renewed: bool) -> str:
        fetched.append(renewed)
        return postgres_server.url(password="wrong")

    with pytest.raises(ConnectionError):
        open_database(source).query("SELECT 1")
    assert fetched == [False, True]


def test_a_secret_that_cannot_be_fetched_means_that_the_database_is_away(open_database: DatabaseOpener) -> None:
    def source(_: bool) -> str:
        raise ServiceUnavailable("Secrets Manager is away")

    database = open_database(source, away_seconds=60)
    with pytest.raises(ConnectionError, match="Secrets Manager is away"):
        database.query("SELECT 1")
    assert database.is_away()


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"R\0\0\0\x08\xff\xff\xff\xff", b""]
)
def test_a_server_that_is_no_postgres_is_a_connection_error(greeting: bytes, open_database: DatabaseOpener) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1024)
                client.sendall(greeting)

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(ConnectionError, match=r"127.0.0.1:"):
            open_database(f"postgres://u:p@127.0.0.1:{listener.getsockname()[1]}/d").query("SELECT 1")
        thread.join()


def test_a_host_that_does_not_exist_is_a_connection_error(open_database: DatabaseOpener) -> None:
    with pytest.raises(ConnectionError, match=r"nowhere.invalid:5432 cannot be reached"):
        open_database("postgres://u:p@nowhere.invalid/d").query("SELECT 1")


def test_one_address_of_a_host_that_does_not_answer_is_passed_over(
    postgres_server: PostgresServer, open_database: DatabaseOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_places(*_: object, **__: object) -> list[tuple[object, ...]]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))
            for port in (free_port(), postgres_server.port)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", two_places)
    assert open_database(postgres_server.url()).query("SELECT 1 AS one") == ONE


def test_threads_take_turns_on_one_connection(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    wrong: list[object] = []

    def work(worker: int) -> None:
        for number in range(100):
            row = database.query_one(
                "SELECT :worker::int AS worker, :number::int AS number", worker=worker, number=number
            )
            if row != {"worker": worker, "number": number}:
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert database.statistics.connects == 1


def test_a_forked_child_makes_its_own_connection(address: str) -> None:
    program = """if True:
        import os, sys
        from tests.support.database import database_at
        database = database_at(sys.argv[1])
        pid = "SELECT pg_backend_pid() AS pid"
        before = database.query_one(pid)
        child = os.fork()
        if child == 0:
            os._exit(0 if database.query_one(pid) != before and database.statistics.connects == 2 else 1)
        _, status = os.waitpid(child, 0)
        after = database.query_one(pid)
        database.close()
        sys.exit(0 if status == 0 and after == before else 1)
    """
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", program, address], check=True, env={**os.environ, "PYTHONPATH": path})


def test_closing_is_polite_and_the_next_call_connects_again(address: str, open_database: DatabaseOpener) -> None:
    database = open_database(address)
    database.query("SELECT 1")
    database.close()
    database.close()
    assert database.query("SELECT 1 AS one") == ONE
    assert database.statistics.connects == 2


def test_an_interrupted_flush_does_not_leave_its_answer_to_the_next_one(
    address: str, open_database: DatabaseOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(address)
    database.query("SELECT 1 AS one")

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gatehouse.database.flush._read_columns", interrupt)
        with pytest.raises(KeyboardInterrupt):
            database.query("SELECT 2 AS two")
    assert database.query("SELECT 1 AS one") == ONE


@pytest.mark.req("P11")
@pytest.mark.parametrize(
    ("text", "host", "port", "name", "user", "password"),
    [
        ("postgres://u:p@h/d", "h", 5432, "d", "u", "p"),
        ("postgresql://u:p@h:6543/d?sslmode=disable&pgbouncer=true&channel_binding=require", "h", 6543, "d", "u", "p"),
        ("postgresql://us%40er:p%2F%3A%23%40%25+%C3%A9@h/my%20db", "h", 5432, "my db", "us@er", "p/:#@%+é"),
        ("postgres://u@h", "h", 5432, "u", "u", ""),
        ("postgres://u:p@[::1]:5433/d", "::1", 5433, "d", "u", "p"),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int, name: str, user: str, password: str) -> None:
    address = parse_address(text)
    assert (address.host, address.port, address.database, address.user) == (host, port, name, user)
    assert address.password == password


@pytest.mark.parametrize(
    "text",
    ["", "mysql://u:secretive@h/d", "postgres://h/d", "postgres://u:secretive@/d", "postgres://u:secr#etive@h/d", "h"],
)
def test_a_wrong_address_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(SettingError, match="the database address") as caught:
        Database(text, connect_milliseconds=1, statement_milliseconds=1, away_seconds=0, tls="verify")
    assert "secr" not in str(caught.value)
    assert caught.value.__cause__ is None


@given(password=st.text(min_size=1))
def test_any_password_survives_percent_encoding(password: str) -> None:
    from urllib.parse import quote

    try:
        encoded = quote(password, safe="")
    except UnicodeEncodeError:  # half a character
        return
    assert parse_address(f"postgres://u:{encoded}@h/d").password == password


def test_the_option_that_switches_tls_off_is_ignored(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    database = open_database(postgres_server.url() + "?sslmode=disable", tls="verify")
    with pytest.raises(ConnectionError, match="it offers no TLS"):
        database.query("SELECT 1")


@pytest.fixture
def clean_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    from gatehouse.settings import settings

    for name in ("DATABASE_SECRET_ARN", "POSTGRES_URL", "POSTGRES_URL_NON_POOLING", "STAGE"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    database.cache_clear()
    yield monkeypatch
    settings.cache_clear()
    database.cache_clear()


@pytest.mark.req("P11")
def test_the_database_of_the_process_is_read_from_the_settings(
    address: str, clean_settings: pytest.MonkeyPatch
) -> None:
    clean_settings.setenv("POSTGRES_URL", address)
    clean_settings.setenv("DATABASE_TLS", "off")
    mine = database()
    assert mine is database()
    try:
        assert mine.query_one("SELECT current_database()::text AS name") == {"name": database_name(address)}
    finally:
        mine.close()


def test_a_process_without_an_address_says_which_setting_is_missing(clean_settings: pytest.MonkeyPatch) -> None:
    clean_settings.setenv("DATABASE_TLS", "off")
    with pytest.raises(SettingError, match="POSTGRES_URL"):
        database().query("SELECT 1")


@pytest.mark.req("P10")
def test_every_failure_is_one_of_our_errors(address: str, cutting: CuttingProxy, open_database: DatabaseOpener) -> None:
    database = open_database(cutting.address(address))
    for cause in (cutting.refuse, cutting.refuse, cutting.accept, cutting.cut_all):
        cause()
        try:
            database.query("SELECT nothing")
        except DatabaseError as error:
            assert isinstance(error, ConnectionError | QueryError)  # noqa: PT017 - each cause has its own

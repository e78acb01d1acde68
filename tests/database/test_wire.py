"""What goes over the wire: one round trip, one Sync, nothing that a pooler refuses, no delay."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gatehouse.database.sql import unnamed
from local.postgres import PostgresServer
from tests.conftest import DatabaseOpener
from tests.support.proxies import TO_CLIENT, TO_SERVER, CountingProxy

ONE = unnamed("SELECT :n::int AS n")


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[CountingProxy]:
    with CountingProxy(postgres_server.port) as proxy:
        yield proxy


@pytest.fixture
def address(postgres_server: PostgresServer, proxy: CountingProxy) -> str:
    return proxy.address(postgres_server.url())


@pytest.mark.req("P9")
def test_a_query_is_one_round_trip_with_one_sync(
    address: str, proxy: CountingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(address)
    database.query("SELECT 1 AS warm")
    proxy.forget()
    assert database.query(ONE, n=5) == [{"n": 5}]
    assert proxy.round_trips == 1
    assert proxy.codes(TO_SERVER) == "PBDES"
    assert proxy.codes(TO_CLIENT) == "12TDCZ"


@pytest.mark.req("P9")
def test_a_flush_of_many_statements_is_one_round_trip_in_statement_order(
    address: str, proxy: CountingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(address)
    database.query("SELECT 1 AS warm")
    proxy.forget()
    results = database.flush([ONE(n=n) for n in range(6)])
    assert [result.rows[0]["n"] for result in results] == list(range(6))
    assert proxy.round_trips == 1
    # Never all Parses first: each snapshot is taken at its Bind, after the statement before it was executed.
    assert proxy.codes(TO_SERVER) == "PBDE" * 6 + "S"
    assert proxy.syncs == 1


@pytest.mark.req("P9")
def test_thousands_of_statements_still_end_in_one_sync(
    address: str, proxy: CountingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(address)
    rows = database.query_many(ONE, [{"n": n} for n in range(1700)])
    assert [row["n"] for (row,) in rows] == list(range(1700))
    assert proxy.syncs == 1
    assert proxy.codes(TO_SERVER).count("H") == 1  # 64 KiB, and the rest


@pytest.mark.req("P9")
def test_thousands_of_large_answers_do_not_block_thousands_of_large_statements(
    postgres_server: PostgresServer, open_database: DatabaseOpener
) -> None:
    # Each side would wait for the other to read, if all of it were sent before anything was read.
    database = open_database(postgres_server.url(), statement_milliseconds=30_000)
    rows = database.query_many("SELECT repeat(:text::text, 4) AS text", [{"text": "x" * 10_000}] * 2000)
    assert {len(row["text"]) for (row,) in rows} == {40_000}


def test_an_error_in_an_early_piece_keeps_the_later_ones_at_home(
    address: str, proxy: CountingProxy, open_database: DatabaseOpener
) -> None:
    database = open_database(address)
    with pytest.raises(Exception, match="division by zero"):
        database.query_many("SELECT 1 / (:n::int - 700)", [{"n": n} for n in range(2000)])
    assert proxy.codes(TO_SERVER).count("B") < 1000
    assert proxy.syncs == 1
    assert database.query(ONE, n=1) == [{"n": 1}]


def test_the_login_sends_nothing_that_a_strict_pooler_refuses(
    address: str, proxy: CountingProxy, open_database: DatabaseOpener
) -> None:
    open_database(address).query(ONE, n=1)
    words = proxy.messages[0].data[8:].split(b"\0")
    assert set(words[0::2]) - {b""} == {b"user", b"database", b"application_name", b"client_encoding", b"DateStyle"}


def test_nagles_algorithm_is_off(
    postgres_server: PostgresServer, open_database: DatabaseOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    class Watched(socket.socket):
        def connect(self, place: object) -> None:
            made.append(self)
            super().connect(place)  # type: ignore[arg-type]  # whatever the caller gave

    monkeypatch.setattr(socket, "socket", Watched)
    open_database(postgres_server.url()).query(ONE, n=1)
    (link,) = made
    assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.parametrize("forbidden", ["boto3", "botocore", "pydantic", "fastapi", "aws_xray_sdk", "logging"])
def test_importing_the_database_does_not_import(forbidden: str) -> None:
    program = "import sys, gatehouse.database.connection; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert forbidden not in loaded


def test_importing_the_database_opens_no_socket() -> None:
    program = """if True:
        import sys
        opened = []
        sys.addaudithook(lambda name, _: opened.append(name) if name.startswith("socket.") else None)
        import gatehouse.database.connection
        sys.exit(len(opened))
    """
    subprocess.run([sys.executable, "-c", program], check=True)

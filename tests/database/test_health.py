"""What the database says of itself."""

import json

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.health import check, performance
from gatehouse.errors import ConnectionError, ValidationError
from local.postgres import free_port
from tests.conftest import DatabaseFactory, DatabaseOpener
from tests.support.postgres import run_sql


@pytest.fixture
def address(fresh_database: DatabaseFactory) -> str:
    return fresh_database()


@pytest.fixture
def database(address: str, open_database: DatabaseOpener) -> Database:
    return open_database(address)


@pytest.mark.req("P12")
def test_health_is_plain_facts(database: Database) -> None:
    facts = json.loads(json.dumps(check(database)))
    assert facts["ok"] is True
    assert facts["in_recovery"] is False
    assert 0 < facts["connections"] <= facts["max_connections"]
    assert facts["database_bytes"] > 1_000_000
    assert facts["oldest_transaction_seconds"] >= 0
    assert facts["migrations_version"] is None
    assert facts["this_process"]["flushes"] == 1


@pytest.mark.req("P12")
def test_health_does_not_tell_strangers_what_went_wrong_inside(database: Database) -> None:
    with pytest.raises(ValidationError):
        database.query("SELECT 1 / 0")
    assert check(database)["this_process"]["errors"] == 1
    assert "division" not in json.dumps(check(database))


@pytest.mark.req("P12")
def test_health_tells_the_migrations_version(database: Database, address: str) -> None:
    run_sql(address, "CREATE TABLE gatehouse_migrations (version int, name text, state text)")
    run_sql(address, "INSERT INTO gatehouse_migrations VALUES (1, 'one', 'applied'), (2, 'two', 'applying')")
    assert check(database)["migrations_version"] == 1


@pytest.mark.req("P12")
def test_health_says_that_a_read_only_server_is_not_well(address: str, open_database: DatabaseOpener) -> None:
    name = address.rsplit("/", 1)[1]
    run_sql(address, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert check(open_database(address))["ok"] is False


@pytest.mark.req("P12")
def test_health_of_a_server_that_is_away_is_an_error(open_database: DatabaseOpener) -> None:
    with pytest.raises(ConnectionError):
        check(open_database(f"postgresql://u:p@127.0.0.1:{free_port()}/d"))


@pytest.mark.req("P9")
def test_performance_shows_sizes_indexes_and_slow_statements(database: Database, address: str) -> None:
    run_sql(address, "CREATE TABLE things (id int PRIMARY KEY)")
    found = performance(database, slow_seconds=0)
    assert [row["table_name"] for row in found["table_sizes"]] == ["things"]
    assert [row["index_name"] for row in found["index_use"]] == ["things_pkey"]
    assert found["slow_now"] == []


@pytest.mark.req("P12")
def test_statistics_count_what_was_done_and_what_failed(database: Database) -> None:
    database.query_many("SELECT :n::int AS n", [{"n": 1}, {"n": 2}])
    with pytest.raises(Exception, match="division by zero"):
        database.query("SELECT 1 / 0")
    statistics = database.statistics
    assert (statistics.connects, statistics.flushes, statistics.statements) == (1, 2, 3)
    assert (statistics.errors, statistics.last_error) == (1, "VALIDATION_ERROR: unnamed: division by zero (22012)")

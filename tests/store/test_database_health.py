"""How the database is, told truly: each figure is looked at while the thing that it tells of is there."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatehouse.database import health
from gatehouse.database.connection import Database
from local.postgres import PostgresServer, free_port
from tests.http_api.api_client import Api, made_key
from tests.http_api.conftest import shared_api
from tests.store.test_commands import done
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import FAST_SETTINGS, chosen_binaries, run_sql
from tests.support.stack import wait_until

__all__ = ["shared_api"]

pytestmark = pytest.mark.req("P9", "P12")

ROWS = 5000
# Of one table an index that is used and one that is not; one that is read whole; one whose foreign key has no index.
FILL = f"""
create table asked as select n as id, n % 7 as kind from generate_series(1, {ROWS}) as n;
create unique index asked_key on asked (id);
create index asked_used on asked (kind, id);
create index asked_idle on asked (kind);
create table heap as select n, repeat('x', 200) as wide from generate_series(1, {ROWS}) as n;
create table pointing (asked_id integer references asked (id));
grant select on heap, asked to gatehouse_ops, gatehouse_api;
"""
USE = """
select pg_stat_reset();  -- making an index reads the whole table
analyze;
set enable_seqscan = off; set enable_bitmapscan = off;
select count(*) from asked where kind = 3 and id = 3;
reset enable_seqscan;
select count(*) from heap where n = 1;
delete from heap where n > 3000;
"""


@pytest.fixture
def filled(gatehouse_database: GatehouseDatabase) -> GatehouseDatabase:
    """A database with tables that are used well and badly."""
    gatehouse_database.sql(FILL)
    gatehouse_database.sql(USE)
    return gatehouse_database


@pytest.fixture
def statistics_seen(gatehouse_database: GatehouseDatabase) -> Iterator[None]:
    """Let ops see what other roles do, as the guide tells an owner to."""
    gatehouse_database.sql("grant pg_read_all_stats to gatehouse_ops")
    yield
    gatehouse_database.sql("revoke pg_read_all_stats from gatehouse_ops")


def test_bad_use_is_named_by_the_command(filled: GatehouseDatabase) -> None:
    told = done(filled, "db", "indexes", "--limit", "500")
    used, _, missing = told.partition("tables read whole")
    use = {line.split()[1]: line.split()[3] for line in used.splitlines() if line.startswith("asked ")}
    assert use == {"asked_key": "False", "asked_used": "False", "asked_idle": "True"}
    whole, _, keys = missing.partition("foreign keys without an index")
    assert "heap" in whole
    assert "asked" not in whole
    assert [line.split()[:2] for line in keys.splitlines() if "pointing" in line] == [["pointing", "asked_id"]]
    assert "payments_newest" in used
    assert done(filled, "db", "sizes", "--limit", "1").splitlines()[1].startswith("heap ")
    said = dict(line.split(maxsplit=1) for line in done(filled, "db", "health").splitlines())
    assert (said["most_dead_in"], int(said["dead_rows"]) >= 2000, said["ok"]) == ("heap", True, "True")
    assert 0 < float(said["dead_share"]) < 1
    assert 0 < float(said["cache_hit_ratio"]) <= 1


@pytest.mark.usefixtures("filled")
def test_bad_use_is_named_by_the_api(ops: Database, shared_api: Api, api: Database) -> None:
    shared_api.database = api
    key = made_key(ops, role="ops")
    told = shared_api.ask("/api/server/indexes?most=500", key).body
    assert {row["index_name"]: row["idle"] for row in told["index_use"] if row["table_name"] == "asked"} == {
        "asked_key": False,
        "asked_used": False,
        "asked_idle": True,
    }
    assert [row["table_name"] for row in told["read_whole"]] == ["heap"]
    assert [row["columns"] for row in told["keys_without_index"] if row["table_name"] == "pointing"] == ["asked_id"]
    assert shared_api.ask("/api/server/sizes?most=1", key).body[0]["table_name"] == "heap"
    health_told = shared_api.ask("/api/server/health", key).body
    assert (health_told["most_dead_in"], health_told["dead_rows"] >= 2000) == ("heap", True)


def test_every_foreign_key_of_ours_has_an_index(ops: Database) -> None:
    missing = health.keys_without_index(ops, most=500)
    # Merchants are neither deleted nor renamed.
    assert [row for row in missing if row["points_at"] != "merchants"] == []


@pytest.mark.usefixtures("statistics_seen")
def test_connections_open_transactions_and_who_waits_for_whom(
    ops: Database, intake: Database, worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    intake.query("select 1")
    before = health.check(ops)
    assert (before["sees_other_roles"], before["oldest_transaction_seconds"]) == (True, 0)
    with intake.transaction() as holding:
        holding.query("select pg_advisory_xact_lock(7)")
        waiting = threading.Thread(target=worker.query, args=("select pg_advisory_xact_lock(7)",))
        waiting.start()
        wait_until(lambda: health.performance(ops, slow_seconds=0)["slow_now"][1:] != [])
        slow = {row["role"]: row for row in health.performance(ops, slow_seconds=0)["slow_now"]}
        assert slow["gatehouse_worker"]["blocked_by"] == [slow["gatehouse_intake"]["pid"]]
        assert slow["gatehouse_worker"]["wait_event_type"] == "Lock"
        meanwhile = health.check(ops)
        assert meanwhile["oldest_transaction_seconds"] > 0
        assert meanwhile["connections"] == before["connections"] + 1
        assert "pg_advisory_xact_lock" in done(gatehouse_database, "db", "slow", "--seconds", "0")
    waiting.join()
    assert health.check(ops)["oldest_transaction_seconds"] == 0


COUNTED = """
create table pg_stat_statements as
select oid as dbid, query, calls, total_exec_time, total_exec_time / calls as mean_exec_time, 1::bigint as rows
from pg_database, (values ('select slowly()', 2::bigint, 900.5::float8), ('select often()', 500, 100.25))
    as counted (query, calls, total_exec_time)
where datname = current_database();
grant select on pg_stat_statements to gatehouse_ops, gatehouse_api;
"""


def test_slow_statements_where_the_server_counts_and_where_not(
    gatehouse_database: GatehouseDatabase, ops: Database, shared_api: Api, api: Database
) -> None:
    shared_api.database = api
    key = made_key(ops, role="ops")
    assert "pg_stat_statements is not installed" in done(gatehouse_database, "db", "slow")
    assert "not installed" in shared_api.ask("/api/server/slow", key).body["note"]
    gatehouse_database.sql(COUNTED)  # its columns, as Postgres 13 and later have them
    told = done(gatehouse_database, "db", "slow")
    assert told.index("slowly") < told.index("often")
    answer = shared_api.ask("/api/server/slow", key).body
    assert [row["query_start"] for row in answer["slow_on_average"]] == ["select slowly()", "select often()"]
    assert (answer["slow_on_average"][0]["mean_milliseconds"], answer["note"]) == (450.25, None)


def counting_binaries() -> Path | None:
    """Return the chosen programs of Postgres, where the extension came with them."""
    chosen = chosen_binaries()
    return chosen if chosen and (chosen.parent / "lib" / "pg_stat_statements.so").exists() else None


@pytest.mark.skipif(counting_binaries() is None, reason="the embedded Postgres has no pg_stat_statements; Debian's has")
def test_slow_statements_by_the_extension_itself(tmp_path: Path) -> None:
    server = PostgresServer(
        tmp_path,
        port=free_port(),
        password="only-for-tests",
        settings={**FAST_SETTINGS, "shared_preload_libraries": "pg_stat_statements"},
        binaries=counting_binaries(),
    )
    try:
        server.start()
        address = server.url("template1")
        run_sql(address, "create extension pg_stat_statements")
        run_sql(address, "select count(*) as counted_by_the_server from pg_class a, pg_class b")
        database = database_at(address)
        found: list[Any] = health.performance(database)["slow_on_average"]
        database.close()
        assert any("counted_by_the_server" in row["query_start"] and row["calls"] == 1 for row in found)
    finally:
        server.stop("immediate")
        server.erase()

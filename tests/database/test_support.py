"""The ground of the integration tests: a server, cloned databases, a pooler."""

import tempfile
from pathlib import Path

import pytest

from local.postgres import PostgresServer
from tests.conftest import DatabaseFactory
from tests.support import postgres
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import database_name, new_folder, run_sql


def test_a_clone_has_what_its_template_has_and_is_apart_from_it(fresh_database: DatabaseFactory) -> None:
    template = fresh_database()
    run_sql(template, "CREATE TABLE things (id int)")
    clone = fresh_database(template=database_name(template))
    run_sql(clone, "INSERT INTO things VALUES (1)")
    assert run_sql(clone, "SELECT * FROM things") == [[1]]
    assert run_sql(template, "SELECT * FROM things") == []


def test_data_lies_in_memory_where_there_is_enough_and_a_server_that_waits_for_a_disk_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Path(tempfile.gettempdir())
    monkeypatch.setattr(postgres, "LEAST_MEMORY_BYTES", 0)
    made = [new_folder("of-a-test-"), new_folder("of-a-test-", on_disk=True)]
    monkeypatch.setattr(postgres, "LEAST_MEMORY_BYTES", 2**60)
    made.append(new_folder("of-a-test-"))
    for folder in made:
        folder.rmdir()
    memory = postgres.MEMORY if postgres.MEMORY.is_mount() else disk
    assert [folder.parent for folder in made] == [memory, disk, disk]


@pytest.mark.pooler
def test_a_role_made_a_moment_ago_logs_in_through_the_pooler(
    postgres_server: PostgresServer, fresh_database: DatabaseFactory, pgbouncer: PgBouncer
) -> None:
    address = fresh_database()
    run_sql(address, "CREATE ROLE visitor LOGIN PASSWORD 'open sesame'")
    try:
        pooled = pgbouncer.url(database_name(address), "visitor", "open sesame")
        assert run_sql(pooled, "SELECT current_user::text") == [["visitor"]]
    finally:
        run_sql(postgres_server.url(), "DROP ROLE visitor")

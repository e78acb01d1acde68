"""A migrated database with jobs in it, and workers."""

from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.database.connection import Database
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.fixture
def worker(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as the queue functions see it."""
    database = gatehouse_database.connect("worker")
    yield database
    database.close()


@pytest.fixture
def effects(gatehouse_database: GatehouseDatabase) -> Any:
    """A table in which every database effect of a job leaves a row; nothing in it stops a second one."""
    gatehouse_database.sql("create table effects (job_id bigint not null); grant all on effects to gatehouse_worker")
    return gatehouse_database


def write_jobs(database: GatehouseDatabase, number: int) -> list[int]:
    """Write jobs as an event would, and return their ids."""
    database.sql(
        "insert into jobs (topic, business_key, merchant, arguments) select 'fetch_fee', 'key ' || n, 'default', "
        f"jsonb_build_object('n', n) from generate_series(1, {number}) as n"
    )
    return [row[0] for row in database.sql("select id from jobs order by id")]

"""The store as each of its users sees it: intake, worker, the API for one merchant, ops."""

from collections.abc import Iterator

import pytest

from gatehouse.database.connection import Database
from tests.intake.conftest import intake, keyring, ops, worker
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.pgbouncer import PgBouncer

__all__ = ["intake", "keyring", "ops", "worker"]

CREATORS = 50


@pytest.fixture
def api(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as the API sees it: held by row-level security to the merchant that it names."""
    database = gatehouse_database.connect("api")
    yield database
    database.close()


@pytest.fixture
def many(gatehouse_database: GatehouseDatabase, pgbouncer: PgBouncer) -> Iterator[list[Database]]:
    """Fifty clients of the API that share the three server connections of a transaction pooler."""
    pooled = gatehouse_database.through(pgbouncer.port)
    databases = [pooled.connect("api", statement_milliseconds=30_000) for _ in range(CREATORS)]
    yield databases
    for database in databases:
        database.close()

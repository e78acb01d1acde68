"""A migrated database, the roles that write to it, and the keys that seal payloads."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.pgbouncer import PgBouncer

KEYS: dict[str, Any] = {"current": "k1", "keys": {"k1": base64.b64encode(bytes(range(32))).decode()}}


@pytest.fixture(scope="session")
def keyring() -> Keyring:
    """The data keys of the tests."""
    return Keyring(KEYS)


@pytest.fixture
def intake(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as the webhook functions see it."""
    yield from _open(gatehouse_database, "intake")


@pytest.fixture
def worker(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as the queue functions see it."""
    yield from _open(gatehouse_database, "worker")


@pytest.fixture
def ops(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as ops see it."""
    yield from _open(gatehouse_database, "ops")


@pytest.fixture
def reader(ops: Database) -> Database:
    """The database as a test looks at it: every merchant's rows, no policy in the way."""
    return ops


@pytest.fixture
def writers(gatehouse_database: GatehouseDatabase, pgbouncer: PgBouncer) -> Iterator[list[Database]]:
    """Four writers that share the three server connections of a transaction pooler."""
    pooled = gatehouse_database.through(pgbouncer.port)
    databases = [pooled.connect("intake") for _ in range(4)]
    yield databases
    for database in databases:
        database.close()


def _open(database: GatehouseDatabase, role: str) -> Iterator[Database]:
    opened = database.connect(role)
    yield opened
    opened.close()

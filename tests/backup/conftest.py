"""A primary database with its backup switched on, as each of their users sees them."""

from collections.abc import Iterator

import pytest

from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from tests.intake.conftest import intake, keyring, ops, worker
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["intake", "keyring", "ops", "worker"]


@pytest.fixture
def primary(worker: Database) -> Database:
    """The primary database as backup_writer sees it, with the backup switched on."""
    worker.query(primary_sql.turn, on=True)
    return worker


@pytest.fixture
def backup(backup_database: GatehouseDatabase) -> Iterator[Database]:
    """The backup database as backup_writer sees it."""
    opened = backup_database.connect("backup_writer")
    yield opened
    opened.close()


@pytest.fixture
def backup_reader(backup_database: GatehouseDatabase) -> Iterator[Database]:
    """The backup database as the API sees it."""
    opened = backup_database.connect("backup_reader")
    yield opened
    opened.close()


@pytest.fixture
def api(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The primary database as the API sees it."""
    opened = gatehouse_database.connect("api")
    yield opened
    opened.close()

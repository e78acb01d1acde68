"""A server and databases as the benches have them, without waiting for the disk."""

import pytest

from bench.ground import Ground
from local.postgres import PostgresServer
from tests.conftest import DatabaseFactory
from tests.support.gatehouse_database import OWNER, GatehouseDatabase


@pytest.fixture
def ground(postgres_server: PostgresServer, gatehouse_database: GatehouseDatabase) -> Ground:
    """What a bench measures on."""
    return Ground(postgres_server, gatehouse_database)


@pytest.fixture
def other_database(
    postgres_server: PostgresServer, migrated_template: str, fresh_database: DatabaseFactory
) -> GatehouseDatabase:
    """A second migrated database, for benches that ask a small and a large one in turn."""
    address = fresh_database(template=migrated_template, owner=OWNER)
    return GatehouseDatabase(address, "127.0.0.1", postgres_server.port)

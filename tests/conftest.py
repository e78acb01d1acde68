"""Fixtures that several test folders share."""

from collections.abc import Callable, Iterator

import pytest

from local.postgres import PostgresServer
from tests.support import pgbouncer as pooler
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import create_database, drop_database, running_server

DatabaseFactory = Callable[..., str]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One Postgres for the whole session; a test that stops or restarts a server starts its own."""
    with running_server() as server:
        yield server


@pytest.fixture
def fresh_database(postgres_server: PostgresServer) -> Iterator[DatabaseFactory]:
    """Return a function that clones a database (template="template1", owner="postgres") and returns its address."""
    made: list[str] = []

    def make(template: str = "template1", owner: str = "postgres") -> str:
        made.append(create_database(postgres_server, template, owner))
        return made[-1]

    yield make
    for address in made:
        drop_database(postgres_server, address)


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """One pooler for the whole session: transaction mode, three server connections per role and database."""
    if not pooler.installed():
        pytest.skip(pooler.MISSING)
    bouncer = PgBouncer(postgres_server, pool_size=3)
    bouncer.start()
    yield bouncer
    bouncer.stop()

"""Fixtures that several test folders share."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gatehouse.database.connection import Database
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target
from local.moto_server import MotoServer
from local.postgres import PostgresServer, free_port
from tests.support import pgbouncer as pooler
from tests.support.database import database_at
from tests.support.gatehouse_database import OWNER, ROLE_PASSWORD, GatehouseDatabase, make_roles
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import create_database, database_name, drop_database, running_server
from tests.support.queues import Queues

DatabaseFactory = Callable[..., str]
DatabaseOpener = Callable[..., Database]
MIGRATIONS = Path(__file__).parent.parent / "migrations" / "primary"
BACKUP_MIGRATIONS = MIGRATIONS.with_name("backup")

# What takes longest, the longest first: folders and files of this folder.
LONGEST = (
    *("faults", "backup/test_two_servers.py", "end_to_end", "local_stack", "template/test_build.py", "template"),
    *("http_api/test_document.py", "intake/test_linked_stories.py", "migrations", "tenants", "console", "forwarding"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the workers of pytest-xdist begin with the files that take longest, or one has them alone at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        tests_of = Counter(item.path for item in items)
        items.sort(key=lambda item: (place_in_line(item.path), -tests_of[item.path]))


def place_in_line(file: Path) -> int:
    """Return when a file of tests has its turn."""
    name = file.relative_to(Path(__file__).parent).as_posix()
    return next((place for place, start in enumerate(LONGEST) if name.startswith(start)), len(LONGEST))


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


@pytest.fixture
def open_database() -> Iterator[DatabaseOpener]:
    """Return a function that makes a Database for an address (and other budgets by name); all are closed at the end."""
    opened: list[Database] = []

    def open_at(address: str, **changes: Any) -> Database:
        opened.append(database_at(address, **changes))
        return opened[-1]

    yield open_at
    for database in opened:
        database.close()


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """One pooler for the whole session: transaction mode, three server connections per role and database."""
    if not pooler.installed():
        pytest.skip(pooler.MISSING)
    bouncer = PgBouncer(postgres_server, pool_size=3)
    bouncer.start()
    yield bouncer
    bouncer.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database with all migrations, to clone from."""
    make_roles(postgres_server.url())
    name = database_name(create_database(postgres_server, owner=OWNER))
    Engine(Target("primary", postgres_server.url(name, OWNER, quote(ROLE_PASSWORD)), tls="off"), MIGRATIONS).up()
    return name


@pytest.fixture
def gatehouse_database(
    postgres_server: PostgresServer, migrated_template: str, fresh_database: DatabaseFactory
) -> GatehouseDatabase:
    """A migrated database of this test's own."""
    address = fresh_database(template=migrated_template, owner=OWNER)
    return GatehouseDatabase(address, "127.0.0.1", postgres_server.port)


@pytest.fixture(scope="session")
def backup_template(postgres_server: PostgresServer) -> str:
    """The name of a backup database with all of its migrations, to clone from."""
    make_roles(postgres_server.url())
    name = database_name(create_database(postgres_server, owner=OWNER))
    target = Target("backup", postgres_server.url(name, OWNER, quote(ROLE_PASSWORD)), tls="off")
    Engine(target, BACKUP_MIGRATIONS).up()
    return name


@pytest.fixture
def backup_database(
    postgres_server: PostgresServer, backup_template: str, fresh_database: DatabaseFactory
) -> GatehouseDatabase:
    """A migrated backup database of this test's own; its roles are backup_writer and backup_reader."""
    address = fresh_database(template=backup_template, owner=OWNER)
    return GatehouseDatabase(address, "127.0.0.1", postgres_server.port)


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """One moto server for the whole session; tests make queues of their own."""
    server = MotoServer(free_port())
    server.launch()
    server.wait_until_ready()
    yield server
    server.stop()


@pytest.fixture
def queues(moto: MotoServer) -> Iterator[Queues]:
    """Queues of this test's own: the one that rings for enrichment jobs, the inbox, and their dead letters."""
    made = Queues(moto.endpoint)
    yield made
    made.sqs.close()

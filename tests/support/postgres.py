"""The Postgres that tests run against: one server per test session, one cloned database per test."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pg8000.native  # type: ignore[import-untyped]  # pg8000 ships no types

from local.postgres import PostgresServer, free_port

# Tests kill the server but never cut the power: what it wrote is safe with the operating system, so it need not wait
# for the disk. What it has committed it must have written, though: synchronous_commit stays on.
FAST_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
    "log_min_messages": "fatal",
}


def chosen_binaries() -> Path | None:
    """Return the folder of Postgres programs that TEST_POSTGRES_BINARIES names; None means the embedded ones."""
    folder = os.environ.get("TEST_POSTGRES_BINARIES", "")
    return Path(folder) if folder else None


@contextmanager
def running_server(**settings: str) -> Iterator[PostgresServer]:
    """Start a Postgres of its own in a temporary folder, and remove it without trace."""
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-test-postgres-"))
    server = PostgresServer(
        folder,
        port=free_port(),
        password=secrets.token_urlsafe(12),
        settings={**FAST_SETTINGS, **settings},
        binaries=chosen_binaries(),
    )
    try:
        server.start()
        yield server
    finally:
        server.stop("immediate")
        server.erase()
        shutil.rmtree(folder, ignore_errors=True)


def run_sql(address: str, sql: str) -> list[list[Any]]:
    """Run SQL without parameters over a connection of its own, and not through the code under test."""
    with connection_to(address) as connection:
        return list(connection.run(sql) or [])


def connection_to(address: str) -> pg8000.native.Connection:
    """Return a connection of its own, not made by the code under test."""
    parts = urlsplit(address)
    return pg8000.native.Connection(
        parts.username or "",
        host=parts.hostname or "",
        port=parts.port or 5432,
        password=parts.password,
        database=parts.path[1:],
        ssl_context=False,
    )


def create_database(server: PostgresServer, template: str = "template1", owner: str = "postgres") -> str:
    """Clone a database under a new name and return its address; nobody may be connected to the template."""
    name = f"test_{secrets.token_hex(6)}"
    run_sql(server.url(), f'CREATE DATABASE {name} TEMPLATE "{template}" OWNER "{owner}" STRATEGY file_copy')
    return server.url(name)


def drop_database(server: PostgresServer, address: str) -> None:
    """Drop a database made by `create_database`, also when somebody is still connected."""
    run_sql(server.url(), f"DROP DATABASE IF EXISTS {database_name(address)} WITH (FORCE)")


def database_name(address: str) -> str:
    """Return the name of the database in an address."""
    return urlsplit(address).path[1:]

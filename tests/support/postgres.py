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
    "max_wal_size": "256MB",  # it lies in memory: see `new_folder`
}

MEMORY = Path("/dev/shm")
LEAST_MEMORY_BYTES = 4 * 1024**3


def chosen_binaries() -> Path | None:
    """Return the folder of Postgres programs that TEST_POSTGRES_BINARIES names; None means the embedded ones."""
    folder = os.environ.get("TEST_POSTGRES_BINARIES", "")
    return Path(folder) if folder else None


def new_folder(prefix: str, *, on_disk: bool = False) -> Path:
    """Make a folder for a server's data: in memory, where Linux has enough of it, else on the disk.

    A database of a test's own is seven hundred files that are made and removed again: on a disk, most of a test.
    What needs a disk is a server that waits for it.
    """
    in_memory = MEMORY.is_mount() and shutil.disk_usage(MEMORY).free >= LEAST_MEMORY_BYTES and not on_disk
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if in_memory else None))
    folder.chmod(0o711)  # or a Postgres below it, which is not run by root, would have to keep its data elsewhere
    return folder


@contextmanager
def running_server(**settings: str) -> Iterator[PostgresServer]:
    """Start a Postgres of its own in a temporary folder, and remove it without trace."""
    folder = new_folder("gatehouse-test-postgres-", on_disk=settings.get("fsync") == "on")
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

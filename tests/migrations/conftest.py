"""Migration files written by the test itself, and the engine that applies them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gatehouse.database.direct_session import connect_direct
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target, runner_lock
from tests.conftest import DatabaseFactory
from tests.support.postgres import run_sql


class MigrationFolder:
    """A folder of migration files that a test fills."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, up: str, down: str = "-- nothing to undo", head: str = "") -> Path:
        """Write one file; `head` stands above `-- migrate: up`."""
        file = self.path / f"{name}.sql"
        file.write_text(f"-- A test.\n{head}-- migrate: up\n{up}\n-- migrate: down\n{down}\n")
        return file

    def write_without_transaction(self, name: str, up: str, down: str = "-- nothing to undo") -> Path:
        """Write one file whose statements run outside a transaction."""
        return self.write(name, up, down, head="-- migrate: no-transaction\n")


@contextmanager
def session_that(address: str, script: str) -> Iterator[None]:
    """Run a script on a session of its own until it sleeps (pg_sleep), and wait for its end afterwards."""
    with connect_direct(address, application="a test", options={}, connect_milliseconds=2000, tls="off") as session:
        background = threading.Thread(target=session.run, args=(script,))
        background.start()
        deadline = time.monotonic() + 10
        while not run_sql(
            address, "select 1 from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
        ):
            assert time.monotonic() < deadline, "the script never came to its pg_sleep"
        yield
        background.join()


@contextmanager
def runner_lock_held(address: str) -> Iterator[None]:
    """Hold the lock of the runners, as another runner would."""
    with runner_lock(Target("primary", address, tls="off"), 0, print):
        yield


EngineMaker = Callable[..., Engine]


@pytest.fixture
def folder(tmp_path: Path) -> MigrationFolder:
    path = tmp_path / "files"
    path.mkdir()
    return MigrationFolder(path)


@pytest.fixture
def address(fresh_database: DatabaseFactory) -> str:
    return fresh_database()


@pytest.fixture
def engine(folder: MigrationFolder, address: str) -> EngineMaker:
    """Return a function that makes an engine for the test's folder and database."""

    def make(**changes: Any) -> Engine:
        return Engine(Target("primary", changes.pop("address", address), tls="off"), folder.path, **changes)

    return make

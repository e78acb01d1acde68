"""The console over a migrated database with two merchants, and a key of each kind."""

import pytest

from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring
from gatehouse.tenants.tokens import Tokens
from tests.console.console_client import Browser, Console
from tests.http_api.api_client import made_key
from tests.http_api.conftest import api_database, ops
from tests.intake.conftest import intake, keyring, worker

__all__ = ["api_database", "intake", "keyring", "ops", "worker"]


@pytest.fixture(scope="session")
def shared_console() -> Console:
    """The console, made once: templates are read when first shown."""
    return Console()


@pytest.fixture
def console(shared_console: Console, ops: Database, api_database: Database, keyring: Keyring) -> Console:
    """The console over this test's database, which has the merchants `default` and `acme`."""
    shared_console.api_database, shared_console.ops_database, shared_console.keys = api_database, ops, keyring
    shared_console.backup = None
    shared_console.rung.clear()
    shared_console.queue_depths = []
    shared_console.tokens = Tokens((), lambda _: {})
    return shared_console


@pytest.fixture
def operator(console: Console, ops: Database) -> Browser:
    """Somebody who looks after all merchants."""
    return console.sign_in(made_key(ops, None, "ops"))


@pytest.fixture
def admin(console: Console, ops: Database) -> Browser:
    """An admin of the merchant `default`."""
    return console.sign_in(made_key(ops, "default", "admin"))


@pytest.fixture
def viewer(console: Console, ops: Database) -> Browser:
    """A viewer of the merchant `default`."""
    return console.sign_in(made_key(ops, "default", "viewer"))


@pytest.fixture
def stranger(console: Console, ops: Database) -> Browser:
    """An admin of the other merchant, `acme`."""
    return console.sign_in(made_key(ops, "acme", "admin"))

"""The API over a migrated database with two merchants, and a key of each."""

from collections.abc import Iterator

import pytest

from gatehouse.database.connection import Database
from tests.http_api.api_client import Api, made_key
from tests.intake.conftest import intake, keyring
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["intake", "keyring"]


@pytest.fixture
def ops(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as ops see it, with a second merchant."""
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    gatehouse_database.sql("insert into apps (merchant, name) values ('acme', 'rocket')")
    opened = gatehouse_database.connect("ops")
    yield opened
    opened.close()


@pytest.fixture
def api_database(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    """The database as the API sees it."""
    opened = gatehouse_database.connect("api")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def shared_api() -> Api:
    """The API, open to the pages of one origin."""
    return Api(origins=("https://shop.example.com",))


@pytest.fixture
def api(shared_api: Api, api_database: Database) -> Api:
    """The API over this test's database."""
    shared_api.database = api_database
    return shared_api


@pytest.fixture
def key(ops: Database) -> str:
    """A viewer's key of the merchant `default`."""
    return made_key(ops)

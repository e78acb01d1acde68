"""Fixtures of the forwarding tests."""

from collections.abc import Iterator

import pytest

from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring
from tests.forwarding.apps import Ground
from tests.forwarding.story import Story
from tests.intake.conftest import intake, keyring, ops, worker
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.queues import Queues
from tests.support.tls import Authority, new_authority

__all__ = ["intake", "keyring", "ops", "worker"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that signs the apps' certificates."""
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def ground(authority: Authority) -> Iterator[Ground]:
    """What a test delivers with."""
    made = Ground(authority)
    yield made
    for each in made.connections:
        each.close()


@pytest.fixture
def story(
    gatehouse_database: GatehouseDatabase,
    intake: Database,
    worker: Database,
    ops: Database,
    keyring: Keyring,
    queues: Queues,
    ground: Ground,
) -> Story:
    """A database, queues and apps to tell."""
    return Story(gatehouse_database, intake, worker, ops, keyring, queues, ground)

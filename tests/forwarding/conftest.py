"""Fixtures of the forwarding tests."""

from collections.abc import Iterator

import pytest

from tests.forwarding.apps import Ground
from tests.support.tls import Authority, new_authority


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

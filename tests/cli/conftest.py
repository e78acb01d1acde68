"""The command line against a migrated database, in a process of its own, as ops start it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.intake.conftest import intake, keyring, ops
from tests.support import command_line
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["gatehouse", "intake", "keyring", "ops"]

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def gatehouse(gatehouse_database: GatehouseDatabase) -> Command:
    """Return a function that runs `gatehouse …` as ops and returns what it said, and its exit code."""
    environment = {
        "PATH": os.environ["PATH"],
        "STAGE": "local",
        "DATABASE_TLS": "off",
        "POSTGRES_URL": gatehouse_database.url("ops"),
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return command_line.gatehouse(*arguments, environment=environment | more)

    return run

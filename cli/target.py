"""Which Gatehouse a command talks to: the one that the environment names, else the one that `make run` started."""

import os
from pathlib import Path

from gatehouse.backup.connection import backup_database
from gatehouse.database.connection import Database, database
from gatehouse.errors import SettingError
from gatehouse.sealing import Keyring
from gatehouse.secrets import secret
from gatehouse.settings import settings
from local import stack_file

LOCAL_FOLDER = Path(__file__).resolve().parents[1] / ".local"
NAMES_OF_A_DATABASE = ("DATABASE_SECRET_ARN", "POSTGRES_URL")


def ops_database() -> Database:
    """Return the database, as ops see it."""
    _use_running_stack()
    return database()


def backup() -> Database:
    """Return the backup database, as its writer sees it."""
    _use_running_stack()
    return backup_database()


def keyring() -> Keyring:
    """Return the keys that open stored payloads."""
    _use_running_stack()
    if not settings().data_keys_secret_arn:
        raise SettingError("DATA_KEYS_SECRET_ARN is not set: stored payloads cannot be opened without the data keys")
    return Keyring(secret(settings().data_keys_secret_arn))


def _use_running_stack() -> None:
    """Take the settings of the running stack, where the environment names no database of its own."""
    if any(os.environ.get(name) for name in NAMES_OF_A_DATABASE):
        return
    try:
        stack = stack_file.read(LOCAL_FOLDER)
    except stack_file.StackNotRunning as reason:
        raise SettingError(
            f"no database: set DATABASE_SECRET_ARN to the secret of the ops role (or POSTGRES_URL); and {reason}"
        ) from None
    os.environ.update(stack["command_line"])

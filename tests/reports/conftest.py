"""What reports are asked of: a database with random traffic, as each of its users sees it."""

from tests.store.conftest import api, intake, keyring, many, ops, worker

__all__ = ["api", "intake", "keyring", "many", "ops", "worker"]

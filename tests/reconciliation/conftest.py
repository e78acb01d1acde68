"""A migrated database and its roles."""

from tests.intake.conftest import intake, keyring, ops, worker

__all__ = ["intake", "keyring", "ops", "worker"]

"""The audit is looked at on a migrated database, by the roles that write to it."""

from tests.intake.conftest import intake, keyring, ops, worker

__all__ = ["intake", "keyring", "ops", "worker"]

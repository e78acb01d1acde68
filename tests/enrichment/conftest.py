"""A migrated database, its roles, and the keys that seal payloads."""

from tests.intake.conftest import intake, keyring, ops, worker

__all__ = ["intake", "keyring", "ops", "worker"]

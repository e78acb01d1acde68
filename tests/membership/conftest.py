"""Products and memberships as each of their users sees them."""

from tests.intake.conftest import intake, keyring, ops, worker
from tests.store.conftest import api

__all__ = ["api", "intake", "keyring", "ops", "worker"]

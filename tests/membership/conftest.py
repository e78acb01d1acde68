"""Products and memberships as each of their users sees them."""

from collections.abc import Iterator

import pytest

from tests.intake.conftest import intake, keyring, ops, worker
from tests.store.conftest import api

__all__ = ["api", "intake", "keyring", "ops", "worker"]

DRIFT = "select m.id, d.* from merchants m, drift_of_membership_counts(m.id) as d"


@pytest.fixture(autouse=True)
def counts_are_right(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test the counts of the tabs are what a recount of the memberships says."""
    if "gatehouse_database" not in request.fixturenames:
        yield
        return
    database = request.getfixturevalue("gatehouse_database")
    yield
    assert database.sql(DRIFT) == []

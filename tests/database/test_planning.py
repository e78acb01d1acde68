"""Hints for the planner hold for their flush and for nothing else."""

import pytest

from gatehouse.database import planning
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Statement
from tests.support.gatehouse_database import GatehouseDatabase

SAID = Bound(
    Statement(
        "said",
        "",
        "select current_setting('jit') as jit, current_setting('max_parallel_workers_per_gather') as helpers",
        (),
    ),
    [],
)


def said(database: Database, *before: Bound) -> dict[str, str]:
    """Return how the planner is set at the end of a flush."""
    row: dict[str, str] = database.flush([*before, SAID], idempotent=True)[-1].rows[0]
    return row


@pytest.mark.req("P9")
def test_what_is_planned_plainly_is_neither_compiled_nor_shared_out(gatehouse_database: GatehouseDatabase) -> None:
    database = gatehouse_database.connect("ops")
    try:
        before = said(database)
        assert said(database, planning.sql.plainly()) == {"jit": "off", "helpers": "0"}
        assert said(database) == before != {"jit": "off", "helpers": "0"}
    finally:
        database.close()

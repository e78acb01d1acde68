"""Both databases in the console: how they stand, and asking for a comparison."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from tests.console.console_client import Browser, Console
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "B4")
SYNC = "/console/ops/sync"


@pytest.fixture
def asked(console: Console) -> Iterator[list[str]]:
    """What the bell was asked for."""
    heard: list[str] = []
    vars(console)["ask_for_comparison"] = lambda: heard.append("compare")
    yield heard
    del vars(console)["ask_for_comparison"]


@pytest.fixture
def second(console: Console, backup_database: GatehouseDatabase, ops: Database) -> Iterator[GatehouseDatabase]:
    """The second database, switched on, as the console may read it."""
    ops.query(primary_sql.turn, on=True)
    console.backup = backup_database.connect("backup_reader")
    yield backup_database
    console.backup.close()
    console.backup = None


def test_without_a_second_database_the_page_says_so(operator: Browser, asked: list[str]) -> None:
    assert "No second database" in operator.get(SYNC).words
    assert operator.post(f"{SYNC}/compare").status == 409
    assert asked == []


@pytest.mark.usefixtures("second")
def test_it_shows_how_both_stand_and_asks_for_a_comparison_in_two_steps(
    operator: Browser, admin: Browser, asked: list[str], ops: Database
) -> None:
    assert "Both answer" in operator.get(SYNC).words
    assert "left alone" in operator.get(f"{SYNC}/compare").words
    answer = operator.post(f"{SYNC}/compare")
    assert (answer.status, asked) == (303, ["compare"])
    assert "being compared" in operator.get(answer.location).words
    ops.query(primary_sql.compared, divergent=2)
    ops.query("update backup_state set compared_at = now() + interval '1 s'")
    shown = operator.get(answer.location)
    assert "<progress" not in shown.text
    assert "needs a look" in shown.words, "two payments differed"
    assert "No comparison has come" in _late(operator, ops)
    assert admin.get(SYNC).status == 404
    assert admin.post(f"{SYNC}/compare").status == 404
    assert len(asked) == 1


def _late(operator: Browser, ops: Database) -> str:
    """Return the page of somebody who has waited for an hour."""
    ops.query("update backup_state set compared_at = now() - interval '2 hours'")
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    return operator.get(SYNC, since=an_hour_ago.isoformat()).words

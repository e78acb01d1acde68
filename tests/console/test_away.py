"""The main database is away: each page says what happened, and shows what can be shown."""

from collections.abc import Iterator

import pytest

from gatehouse.backup.tend import keep_configuration
from gatehouse.backup.writer import primary_sql
from gatehouse.database.connection import Database
from gatehouse.jobs.depths import Depth
from tests.console.console_client import Browser, Console
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = [pytest.mark.req("O4"), pytest.mark.req("B3")]
NOBODY = "postgresql://gatehouse_api:none@127.0.0.1:1/none"


@pytest.fixture
def away(
    console: Console, operator: Browser, admin: Browser, worker: Database, backup_database: GatehouseDatabase
) -> Iterator[None]:
    """The second database knows keys and merchants, and the main one answers no longer."""
    del operator, admin  # they have signed in before
    worker.query(primary_sql.turn, on=True)
    writer = backup_database.connect("backup_writer")
    keep_configuration(worker, writer)
    writer.close()
    console.backup = backup_database.connect("backup_reader")
    console.api_database, console.ops_database = database_at(NOBODY), database_at(NOBODY)
    console.queue_depths = [Depth("inbox", 37, 0, 0, 0), Depth("forwarding", 0, 0, 0, 2)]
    yield
    console.backup.close()


@pytest.mark.usefixtures("away")
def test_health_shows_the_queues_and_what_still_works(operator: Browser) -> None:
    shown = operator.get("/console/ops/health")
    assert shown.status == 503
    for words in (
        "The main database does not answer",
        "waits in the inbox",
        "inbox 37",
        "2 dead letters",
        "second database",
    ):
        assert words in shown.words, words
    for words in ("Largest tables", "Nothing needs a look", "Takes writes"):
        assert words not in shown.words, words
    part = operator.get("/console/ops/health", live="1")
    assert (part.status, "inbox" in part.text, "<html" in part.text) == (200, True, False)


@pytest.mark.usefixtures("away")
def test_the_money_of_a_merchant_comes_from_the_second_database(admin: Browser) -> None:
    shown = admin.get("/console/m/default")
    assert shown.status == 200
    assert "this is from the second one" in shown.words
    assert "Nothing waits for a person" not in shown.words


@pytest.mark.usefixtures("away")
def test_the_overview_of_all_merchants_says_what_still_works(operator: Browser) -> None:
    shown = operator.get("/console/ops")
    assert (shown.status, "/console/ops/health" in shown.links()) == (503, True)
    assert "The main database does not answer" in shown.words


def test_health_has_no_word_of_it_while_the_database_answers(operator: Browser) -> None:
    shown = operator.get("/console/ops/health")
    assert (shown.status, "does not answer" in shown.words) == (200, False)

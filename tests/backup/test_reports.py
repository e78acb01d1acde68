"""Reports that ask much are read from the backup while it is near, and say so; the figures are those of the primary."""

from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.backup.tend import keep_configuration
from gatehouse.database.connection import Database
from gatehouse.intake.record import record
from gatehouse.sealing import Keyring
from tests.backup.backed_up import drained
from tests.http_api.api_client import Api, made_key
from tests.reports.traffic import stories
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.proxies import ProtocolProxy

SPRING: dict[str, Any] = {"from": "2026-02-01", "to": "2026-04-30"}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("gateways", SPRING),
    ("gateways", {**SPRING, "gateway": "stripe"}),
    ("success", {**SPRING, "by": "week", "time_zone": "America/Denver"}),
    ("success", {**SPRING, "livemode": "false"}),
    ("declines", SPRING),
]


@pytest.fixture(scope="module")
def both() -> Api:
    """The API over two databases."""
    return Api()


@pytest.fixture
def between(
    both: Api,
    primary: Database,
    backup: Database,
    intake: Database,
    ops: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
) -> Iterator[tuple[Api, ProtocolProxy, ProtocolProxy, str]]:
    """Random traffic of two merchants in both databases, and the API between them: each can be taken away."""
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    for each in stories(5, 30, merchants=("default", "acme")):
        record(intake, each, keyring)
    key = made_key(ops)
    drained(primary, backup, keyring)
    keep_configuration(primary, backup)
    backup_database.sql("select sync_payment_to_backup('only', 'here', 'stripe', 'x', 5, 'failed', '{}')")
    with ProtocolProxy(gatehouse_database.port) as to_primary, ProtocolProxy(backup_database.port) as to_backup:
        both.database = database_at(gatehouse_database.through(to_primary.port).url("api"))
        both.backup = database_at(backup_database.through(to_backup.port).url("backup_reader"))
        yield both, to_primary, to_backup, key
        both.database.close()
        both.backup.close()
        both.backup = None


def answers(api: Api, key: str) -> list[dict[str, Any]]:
    """Ask every question; return the answers."""
    told = [api.ask(f"/api/analytics/{report}", key, **query) for report, query in QUESTIONS]
    assert [each.status for each in told] == [200] * len(told), [each.text for each in told]
    return [each.body for each in told]


@pytest.mark.req("B3", "B6")
def test_the_same_figures_from_whichever_database_is_asked(
    between: tuple[Api, ProtocolProxy, ProtocolProxy, str], gatehouse_database: GatehouseDatabase
) -> None:
    api, primary, backup, key = between
    near = answers(api, key)
    assert {each["served_by"] for each in near} == {"backup"}
    assert all(each["rows"] for each in near)

    gatehouse_database.sql(
        "insert into backup_changes (payment_id, merchant, changed_at, due_at)"
        " values (1, 'default', now() - interval '61 seconds', now() + interval '1 hour')"
    )
    behind = answers(api, key)
    assert {each["served_by"] for each in behind} == {"primary"}
    assert [each["rows"] for each in behind] == [each["rows"] for each in near]
    whole = api.ask("/api/payments/analytics", key, days=3660)
    gatehouse_database.sql("delete from backup_changes")

    seed = api.ask("/api/payments/analytics", key, days=3660)
    assert (whole.headers["gatehouse-served-by"], seed.headers["gatehouse-served-by"]) == ("primary", "backup")
    assert seed.body == whole.body
    primary.refuse()
    assert [each["rows"] for each in answers(api, key)] == [each["rows"] for each in near]
    assert api.ask("/api/payments/analytics", key, days=3660).body == seed.body
    primary.accept()
    backup.refuse()
    there = answers(api, key)
    assert {each["served_by"] for each in there} == {"primary"}
    assert [each["rows"] for each in there] == [each["rows"] for each in near]


@pytest.mark.req("B3", "B6")
def test_money_is_told_by_the_backup_while_the_primary_is_away(
    between: tuple[Api, ProtocolProxy, ProtocolProxy, str],
) -> None:
    """It knows not when a refund that has no name was first told of, so the primary answers while it can."""
    api, primary, _backup, key = between
    year = {"from": "2026-01-01", "to": "2026-12-31"}
    questions: list[tuple[str, dict[str, Any]]] = [
        ("revenue", year),
        ("revenue", {**year, "app": "elevenone"}),
        ("revenue", {**year, "gateway": "stripe", "by": "month"}),
        ("refunds", year),
        *(("breakdown", {**year, "per": per}) for per in ("gateway", "app", "method")),
    ]
    first = [api.ask(f"/api/analytics/{report}", key, **query).body for report, query in questions]
    assert {each["served_by"] for each in first} == {"primary"}
    assert sum(row["refunds"] for row in first[0]["rows"]) > 0
    primary.refuse()
    second = [api.ask(f"/api/analytics/{report}", key, **query).body for report, query in questions]
    assert {each["served_by"] for each in second} == {"backup"}
    for (report, query), ours, theirs in zip(questions, first, second, strict=True):
        if "by" in query:
            sales = [
                [row["from"], row["currency"], row["sales"], row["gross_minor"]] for row in ours["rows"] if row["sales"]
            ]
            assert sales == [
                [row["from"], row["currency"], row["sales"], row["gross_minor"]]
                for row in theirs["rows"]
                if row["sales"]
            ]
        else:
            assert theirs["rows"] == ours["rows"], (report, query)


@pytest.mark.req("B3")
@pytest.mark.parametrize(("report", "query"), [("tickets", {}), ("breakdown", {"per": "item_type"})])
def test_what_the_backup_cannot_answer_is_asked_of_the_primary(
    between: tuple[Api, ProtocolProxy, ProtocolProxy, str], report: str, query: dict[str, Any]
) -> None:
    api, primary, _backup, key = between
    assert api.ask(f"/api/analytics/{report}", key, **query).body["served_by"] == "primary"
    primary.refuse()
    assert api.ask(f"/api/analytics/{report}", key, **query).status == 503

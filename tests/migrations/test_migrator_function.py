"""The same engine behind the `migrator` function."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from gatehouse.errors import MigrationRefused, RequestRefused
from gatehouse.settings import settings
from migrator.handler import handler
from tests.conftest import DatabaseFactory
from tests.support.postgres import run_sql

pytestmark = pytest.mark.req("P13")

CONTEXT = SimpleNamespace(aws_request_id="a-request")


@pytest.fixture
def address(fresh_database: DatabaseFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty database that the function is configured for."""
    address = fresh_database()
    monkeypatch.setenv("POSTGRES_URL_NON_POOLING", address)
    monkeypatch.setenv("DATABASE_TLS", "off")
    settings.cache_clear()
    yield address
    settings.cache_clear()


def invoke(**event: Any) -> dict[str, Any]:
    return handler(event, CONTEXT)


def test_it_applies_undoes_and_verifies(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = invoke(command="status")
    assert before["pending"] == len(before["steps"]) > 0
    assert before["steps"][0] == {
        "version": 1,
        "name": "0001_roles",
        "state": "pending",
        "applied_at": None,
        "applied_by": None,
        "milliseconds": None,
    }
    would = invoke(command="up", dry_run=True, to=1)
    assert [each["name"] for each in would["would_run"]] == ["0001_roles"]
    assert "create role" in would["would_run"][0]["sql"]
    assert run_sql(address, "select to_regclass('gatehouse_migrations')") == [[None]]

    assert invoke(command="up", database="primary", to=2)["applied"] == ["0001_roles", "0002_merchants"]
    assert "0002_merchants applied in" in capsys.readouterr().out
    assert invoke(command="verify")["ok"] is False
    invoke(command="up")
    assert invoke(command="verify") == {"command": "verify", "database": "primary", "ok": True, "problems": []}
    assert invoke(command="status")["pending"] == 0
    newest = before["steps"][-1]["name"]
    assert invoke(command="down", dry_run=True)["would_run"][0]["name"] == newest
    assert invoke(command="down")["undone"] == [newest]
    assert invoke(command="down", to=0)["undone"][-1] == "0001_roles"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({}, r"unknown command None: the commands are status, up, down, verify"),
        ({"command": "reset"}, r"unknown command 'reset'"),
        ({"command": ["up"]}, r"unknown command \['up'\]"),
        ({"command": "up", "dryrun": True}, r"unknown field dryrun: the fields are command, database, to, dry_run"),
        ({"command": "up", "database": "other"}, r"unknown database 'other': the databases are primary, backup"),
        ({"command": "up", "to": "7"}, r"`to` is '7', must be the number of a migration"),
        ({"command": "up", "to": True}, r"`to` is True"),
        ({"command": "up", "to": 0}, r"there is no migration 0"),
        ({"command": "up", "dry_run": "yes"}, r"`dry_run` is 'yes', must be true or false"),
        ({"command": "status", "dry_run": True}, r"`status` takes neither"),
    ],
)
def test_a_request_that_is_not_understood_changes_nothing(address: str, event: dict[str, Any], reason: str) -> None:
    with pytest.raises((RequestRefused, MigrationRefused), match=reason):
        handler(event, CONTEXT)
    assert run_sql(
        address, "select count(*) from pg_tables where schemaname = 'public' and tablename <> 'gatehouse_migrations'"
    ) == [[0]]


def test_an_event_that_is_no_object_is_refused() -> None:
    with pytest.raises(RequestRefused, match="must be an object"):
        handler(["up"], CONTEXT)

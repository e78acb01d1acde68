"""The health function, in a process of its own under Lambda's runtime client, with a real Postgres."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local.postgres import free_port
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.tiny_runtime_api import TinyRuntimeApi

PROJECT = Path(__file__).parents[2]


@pytest.mark.req("P12", "D5")
@pytest.mark.parametrize("path", ["/health/database", "/api/health/database"])
def test_a_database_that_answers_is_200_with_its_facts(gatehouse_database: GatehouseDatabase, path: str) -> None:
    status, body = ask(path, gatehouse_database.url("intake"))
    assert (status, body["status"], body["ok"]) == (200, "ok", True)
    assert body["max_connections"] >= body["connections"] >= 1
    assert body["migrations_version"] is None or body["migrations_version"] > 0


@pytest.mark.req("P12")
def test_a_database_that_is_away_is_503() -> None:
    assert ask("/health/database", f"postgresql://u:secret@127.0.0.1:{free_port()}/d") == (
        503,
        {"status": "unavailable", "error": "CONNECTION_ERROR"},
    )


@pytest.mark.req("P12")
def test_a_database_that_takes_no_writes_is_503(gatehouse_database: GatehouseDatabase) -> None:
    name = gatehouse_database.address.rsplit("/", 1)[1]
    gatehouse_database.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    status, body = ask("/health/database", gatehouse_database.url("intake"))
    assert (status, body["status"]) == (503, "read-only")


def test_health_alone_needs_no_database() -> None:
    assert ask("/health", f"postgresql://u:secret@127.0.0.1:{free_port()}/d") == (
        200,
        {"status": "ok", "stage": "local"},
    )


def ask(path: str, database_url: str) -> tuple[int, Any]:
    """Return status and body of the function's answer to GET `path`."""
    event = json.loads((PROJECT / "events" / "requests" / "health.json").read_text())
    event["routeKey"] = event["requestContext"]["routeKey"] = f"GET {path}"
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    with TinyRuntimeApi(event).serving() as api:
        environment = {
            "PATH": os.defpath,
            "PYTHONPATH": f"{PROJECT / 'functions'}:{PROJECT / 'layers' / 'gatehouse'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "STAGE": "local",
            "DATABASE_TLS": "off",
            "POSTGRES_URL": database_url,
        }
        command = [sys.executable, "-m", "awslambdaric", "health.handler.handler"]
        with subprocess.Popen(command, env=environment) as process:
            try:
                kind, answer = api.answer(lambda: process.poll() is None)
            finally:
                process.kill()
    assert kind == "response", answer
    return answer["statusCode"], json.loads(answer["body"])

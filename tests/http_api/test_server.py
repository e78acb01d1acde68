"""How the database server is, told to those who look after it and to nobody else."""

import pytest

from gatehouse.database.connection import Database
from tests.http_api.api_client import Api, made_key

PATHS = ("/api/server/health", "/api/server/slow", "/api/server/indexes", "/api/server/sizes")


@pytest.mark.req("P9", "P12", "P14")
@pytest.mark.parametrize("path", PATHS)
def test_only_ops_may_ask(api: Api, ops: Database, path: str) -> None:
    refused = api.ask(path, made_key(ops, role="admin"))
    assert (refused.status, refused.body["code"]) == (403, "ROLE_TOO_LOW")
    assert api.ask(path, made_key(ops, role="ops")).status == 200


@pytest.mark.req("P9", "P12")
def test_what_ops_are_told(api: Api, ops: Database) -> None:
    key = made_key(ops, role="ops")
    health = api.ask("/api/server/health", key).body
    assert health["ok"] is True
    assert health["migrations_version"] >= 1
    assert "this_process" not in health
    sizes = api.ask("/api/server/sizes?most=500", key).body
    assert "webhook_events" in {row["table_name"] for row in sizes}
    indexes = api.ask("/api/server/indexes?most=3", key).body
    assert len(indexes["index_use"]) == 3
    slow = api.ask("/api/server/slow?seconds=0", key).body
    assert (slow["slow_on_average"] is None) == (slow["note"] is not None)
    refused = api.ask("/api/server/sizes?most=0", key)
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "most")

"""Who may ask, for what, and how often."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, QueryError
from gatehouse.models import api_keys
from tests.conftest import DatabaseOpener
from tests.http_api.api_client import Api, made_key
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase

PATHS = [
    *(f"/api/{each}" for each in ("payments", "refunds", "disputes", "subscriptions", "invoices", "payouts")),
    *(f"/api/{each}/1" for each in ("payments", "refunds", "disputes", "subscriptions", "invoices", "payouts")),
    "/api/apps/nexai/users",
    "/api/apps/nexai/transactions",
]


@pytest.mark.req("P14")
@pytest.mark.parametrize("path", PATHS)
def test_nobody_sees_anything_without_a_key(api: Api, path: str) -> None:
    refused = api.ask(path)
    assert (refused.status, refused.body["code"]) == (401, "KEY_MISSING")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.req("P14")
def test_a_wrong_key_is_refused_whatever_is_wrong_with_it(api: Api, key: str) -> None:
    same_id = key[:12] + api_keys.new_key()[12:]
    for wrong in ("x", "gh_short", key[:-1], f"{key}x", api_keys.new_key(), same_id, key.swapcase()):
        refused = api.ask("/api/payments", wrong)
        assert (refused.status, refused.body["code"]) == (401, "KEY_UNKNOWN"), wrong
    assert api.ask("/api/payments", headers={"authorization": f"Basic {key}"}).body["code"] == "KEY_MISSING"
    assert api.ask("/api/payments", key).status == 200


@pytest.mark.req("P14")
def test_an_expired_and_a_revoked_key_say_so(api: Api, ops: Database) -> None:
    expired = made_key(ops, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert api.ask("/api/payments", expired).body["code"] == "KEY_EXPIRED"
    key = made_key(ops, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert api.ask("/api/payments", key).status == 200
    api_keys.revoke_key(ops, key[3:11])
    refused = api.ask("/api/payments", key)
    assert (refused.status, refused.body["code"]) == (401, "KEY_REVOKED")
    with pytest.raises(NotFound):
        api_keys.revoke_key(ops, "nobody00")


@pytest.mark.req("P14")
def test_the_key_of_a_merchant_that_is_switched_off_opens_nothing(
    api: Api, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql("update merchants set is_active = false where id = 'default'")
    assert (api.ask("/api/payments", key).status, api.ask("/api/payments", key).body["code"]) == (403, "MERCHANT_OFF")


@pytest.mark.req("P14")
def test_a_key_for_every_merchant_names_the_one(
    api: Api, ops: Database, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "refunds", 1)
    put(gatehouse_database, "refunds", 2, merchant="acme")
    every = made_key(ops, None, "ops")
    unnamed = api.ask("/api/refunds", every)
    assert (unnamed.status, unnamed.body["errors"][0]["field"]) == (422, "Gatehouse-Merchant")
    for merchant, seen in (("default", [1]), ("acme", [2]), ("nobody", [])):
        answer = api.ask("/api/refunds", every, headers={"gatehouse-merchant": merchant})
        assert [each["id"] for each in answer.body["items"]] == seen
    assert api.ask("/api/refunds", key, headers={"gatehouse-merchant": "default"}).status == 200
    refused = api.ask("/api/refunds", key, headers={"gatehouse-merchant": "acme"})
    assert (refused.status, refused.body["code"]) == (403, "MERCHANT_NOT_YOURS")


@pytest.mark.req("P14")
def test_no_key_is_kept_and_none_can_be_listed_by_the_api(ops: Database, key: str, api_database: Database) -> None:
    assert key not in str(ops.query("select * from api_keys"))
    for table in ("api_keys", "api_usage"):
        with pytest.raises(QueryError, match="permission denied"):
            api_database.query(f"select * from {table}")
    assert re.fullmatch(r"gh_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", key)


def test_a_use_is_noted_once_an_hour(api: Api, key: str, ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    api.ask("/api/payments", key)
    first = api_keys.list_keys(ops)[0]["last_used_at"]
    api.ask("/api/payments", key)
    assert api_keys.list_keys(ops)[0]["last_used_at"] == first
    gatehouse_database.sql("update api_keys set last_used_at = now() - interval '61 minutes'")
    api.ask("/api/payments", key)
    assert api_keys.list_keys(ops)[0]["last_used_at"] > first


def test_a_key_has_so_many_requests_and_gets_them_back(
    api: Api, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    key = made_key(ops, rate_per_minute=3)
    answers = [api.ask("/api/payments", key) for _ in range(4)]
    assert [each.status for each in answers] == [200, 200, 200, 429]
    assert [each.headers["ratelimit"].split(";")[1] for each in answers] == ["r=2", "r=1", "r=0", "r=0"]
    assert answers[0].headers["ratelimit-policy"] == '"key";q=3;w=60'
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert answers[3].body["code"] == "TOO_MANY_REQUESTS"
    gatehouse_database.sql("update api_usage set busy_until = busy_until - interval '20 seconds'")
    assert [api.ask("/api/payments", key).status for _ in range(2)] == [200, 429]
    assert api.ask("/api/payments", made_key(ops)).status == 200, "another key has its own"


def test_no_request_is_counted_twice_or_not_at_all_when_many_come_at_once(
    ops: Database, gatehouse_database: GatehouseDatabase, open_database: DatabaseOpener
) -> None:
    key = made_key(ops, rate_per_minute=30)

    def uses(database: Database) -> list[str]:
        return [use.answer for _ in range(10) if (use := api_keys.use_key(database, key))]

    databases = [open_database(gatehouse_database.url("api")) for _ in range(6)]
    began = time.monotonic()
    with ThreadPoolExecutor(6) as threads:
        answers = [answer for each in threads.map(uses, databases) for answer in each]
    # One more for each two seconds that the machine took.
    most = 30 + int((time.monotonic() - began) / 2) + 1
    assert 30 <= answers.count("ok") <= most
    assert set(answers) == {"ok", "limited"}

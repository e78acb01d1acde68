"""Whatever is wrong with a request or with us, the answer is a problem document that says it and tells no secret."""

import json
from typing import Any

import pytest

from gatehouse.database.connection import Database
from local.postgres import free_port
from tests.http_api.api_client import Api, made_key
from tests.http_api.records import put
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase

ORIGIN = "https://shop.example.com"


@pytest.mark.parametrize(
    ("path", "place", "field"),
    [
        ("/api/payments/x", "path", "payment_id"),
        ("/api/payments/0", "path", "payment_id"),
        ("/api/payments/9223372036854775808", "path", "payment_id"),
        ("/api/payments?limit=101", "query", "limit"),
        ("/api/payments?status=paid", "query", "status[0]"),
        ("/api/payments?gateway=square", "query", "gateway"),
        ("/api/payments?colour=red", "query", "colour"),
        ("/api/payments?reference=", "query", "reference"),
        ("/api/payments?reference=a%00b", "query", "reference"),
        ("/api/payments?since=2026", "query", "since"),
        ("/api/payments?since=2026-11-20T10:00:00", "query", "since"),
        ("/api/payments?until=0001-01-01T00:00:00Z", "query", "until"),
        ("/api/payments?cursor=%F0%9F%98%80", "query", "cursor"),
        ("/api/payments?cursor=bm9uZQ", "query", "cursor"),
        ("/api/refunds?payment_id=one", "query", "payment_id"),
        ("/api/refunds/x", "path", "refund_id"),
        ("/api/disputes?status=x", "query", "status[0]"),
        ("/api/disputes/x", "path", "dispute_id"),
        ("/api/subscriptions?plan=", "query", "plan"),
        ("/api/subscriptions/x", "path", "subscription_id"),
        ("/api/invoices?number=", "query", "number"),
        ("/api/invoices/x", "path", "invoice_id"),
        ("/api/payouts?batch_ref=", "query", "batch_ref"),
        ("/api/payouts/x", "path", "payout_id"),
        ("/api/apps/A/users", "path", "app"),
        ("/api/apps/nexai/users?limit=0", "query", "limit"),
        ("/api/apps/nexai/transactions?since=x", "query", "since"),
    ],
)
def test_wrong_input_is_named_and_not_repeated(api: Api, key: str, path: str, place: str, field: str) -> None:
    refused = api.ask(path, key)
    assert (refused.status, refused.body["code"]) == (422, "INPUT_REFUSED")
    assert [(each["place"], each["field"]) for each in refused.body["errors"]] == [(place, field)]
    assert refused.headers["content-type"] == "application/problem+json"
    assert {"input", "ctx"}.isdisjoint(refused.body["errors"][0])


def test_a_cursor_belongs_to_its_filters(api: Api, key: str, gatehouse_database: GatehouseDatabase) -> None:
    for row_id in (1, 2):
        put(gatehouse_database, "refunds", row_id)
    cursor = api.ask("/api/refunds", key, limit=1).body["next_cursor"]
    assert api.ask("/api/refunds", key, limit=1, cursor=cursor).status == 200
    refused = api.ask("/api/refunds", key, limit=1, cursor=cursor, status="failed")
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "cursor")
    assert api.ask("/api/payouts", key, cursor=cursor).status == 422


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/nothing", 404, "NO_SUCH_PATH"),
        ("GET", "/api/payments/", 404, "NO_SUCH_PATH"),
        ("DELETE", "/api/payments", 405, "METHOD_NOT_ALLOWED"),
        ("OPTIONS", "/api/payments", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_there_is_no_such_path_or_method(api: Api, method: str, path: str, status: int, code: str) -> None:
    refused = api.ask(path, method=method)
    assert (refused.status, refused.body["code"], refused.body["status"]) == (status, code, status)
    assert refused.body["request_id"] == refused.headers["x-request-id"] == "JKJaXmPLvHcESHA="


def test_a_request_that_cannot_be_read_is_refused(api: Api) -> None:
    context = {"http": {"method": "POST", "path": "/api/payments", "sourceIp": "203.0.113.7"}, "requestId": "r"}
    event: dict[str, Any] = {"version": "2.0", "rawPath": "/api/payments", "headers": {}, "requestContext": context}
    for body, is_base64, status in (("\ud800", False, 400), ("!", True, 400), ("x" * 1_100_000, False, 413)):
        refused = api.send(event | {"body": body, "isBase64Encoded": is_base64})
        assert (refused.status, refused.body["status"]) == (status, status)


@pytest.mark.req("P10")
def test_a_database_that_is_away_is_503_and_says_nothing_of_itself(shared_api: Api, key: str) -> None:
    shared_api.database = database_at(f"postgresql://gatehouse_api:hush@127.0.0.1:{free_port()}/d")
    refused = shared_api.ask("/api/payments", key)
    assert (refused.status, refused.body["code"]) == (503, "CONNECTION_ERROR")
    assert int(refused.headers["retry-after"]) >= 1
    assert "127.0.0.1" not in refused.text


def test_a_fault_of_ours_is_500_and_its_words_stay_inside(
    api: Api, key: str, gatehouse_database: GatehouseDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    # A row that cannot be: its status is none that the API knows, so that showing it fails.
    gatehouse_database.sql("alter table refunds drop constraint refunds_status_check")
    put(gatehouse_database, "refunds", 1, status="ada@example.com")
    refused = api.ask("/api/refunds/1", key)
    assert (refused.status, refused.body["code"]) == (500, "GATEHOUSE_ERROR")
    said = capsys.readouterr().out
    assert "ada@example.com" not in refused.text + said
    assert '"error_type": "ValidationError"' in said


def test_no_personal_word_gets_into_the_log(api: Api, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    api.ask("/api/payments", key, email="ada@example.com", reference="Ada Lovelace")
    api.ask("/api/payments", key, email="ada@example.com", limit="ada@example.com")
    api.ask("/api/ada@example.com", key)
    said = capsys.readouterr().out
    lines = [json.loads(line) for line in said.splitlines()]
    assert "ada" not in said.lower()
    assert key not in said
    assert [each["status"] for each in lines if each.get("message") == "answered"] == [200, 422, 404]


def test_every_answer_has_the_security_headers(api: Api, key: str) -> None:
    for answer in (api.ask("/api/payments", key), api.ask("/api/nothing"), api.ask("/api/docs")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "max-age" in answer.headers["strict-transport-security"]


def test_pages_of_an_allowed_origin_may_call_and_no_others(api: Api, key: str) -> None:
    asking = {"access-control-request-method": "GET", "access-control-request-headers": "authorization"}
    preflight = api.ask("/api/payments", method="OPTIONS", headers={"origin": ORIGIN, **asking})
    assert (preflight.status, preflight.headers["access-control-allow-origin"]) == (204, ORIGIN)
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in preflight.headers
    other = api.ask("/api/payments", method="OPTIONS", headers={"origin": "https://evil.example.com", **asking})
    assert other.status == 403
    answered = api.ask("/api/payments", key, headers={"origin": ORIGIN})
    assert (answered.headers["access-control-allow-origin"], answered.headers["vary"]) == (ORIGIN, "Origin")
    for refused in (other, api.ask("/api/payments", key, headers={"origin": "https://shop.example.com.evil.com"})):
        assert "access-control-allow-origin" not in refused.headers


def test_by_default_no_page_may_call(ops: Database, api_database: Database) -> None:
    closed = Api()
    closed.database = api_database
    answered = closed.ask("/api/payments", made_key(ops), headers={"origin": ORIGIN})
    assert answered.status == 200
    assert [name for name in answered.headers if name.startswith("access-control")] == []


def test_the_document_needs_nothing_from_elsewhere(api: Api) -> None:
    page = api.ask("/api/docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<script" not in page.text
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    for path in api.ask("/api/openapi.json").body["paths"]:
        assert path in page.text

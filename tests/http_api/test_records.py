"""Every list and every single record of the API, by its own handler."""

import json
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Statement
from gatehouse.models import browse
from tests.http_api.api_client import Api, made_key
from tests.http_api.records import NEEDED, insert, put
from tests.support.gatehouse_database import GatehouseDatabase

TABLES = sorted(NEEDED)


@pytest.mark.req("P5", "P6", "G16")
@pytest.mark.parametrize("table", TABLES)
def test_a_list_is_empty_first_and_then_has_the_newest_first(
    api: Api, key: str, gatehouse_database: GatehouseDatabase, table: str
) -> None:
    empty = api.ask(f"/api/{table}", key)
    from_either = {"served_by": "primary", "as_of": None} if table in ("payments", "refunds", "disputes") else {}
    assert (empty.status, empty.body) == (200, {"items": [], "next_cursor": None} | from_either)
    for row_id in (1, 2, 3):
        put(gatehouse_database, table, row_id)
    answer = api.ask(f"/api/{table}", key)
    assert (answer.status, [each["id"] for each in answer.body["items"]]) == (200, [3, 2, 1])
    assert answer.body["items"][0]["created_at"] == "2026-11-20T10:03:00Z"


@pytest.mark.req("P5", "P6", "G16")
@pytest.mark.parametrize("table", TABLES)
def test_one_record_is_shown(api: Api, key: str, gatehouse_database: GatehouseDatabase, table: str) -> None:
    put(gatehouse_database, table, 7, metadata={"seat": "ü"}) if table != "disputes" else put(
        gatehouse_database, table, 7
    )
    answer = api.ask(f"/api/{table}/7", key)
    assert (answer.status, answer.body["id"], answer.body["status"]) == (200, 7, NEEDED[table]["status"])
    assert answer.headers["etag"].startswith('"')


@pytest.mark.req("P14")
@pytest.mark.parametrize("table", TABLES)
def test_another_merchants_record_is_as_if_it_were_not_there(
    api: Api, key: str, ops: Database, gatehouse_database: GatehouseDatabase, table: str
) -> None:
    put(gatehouse_database, table, 7, merchant="acme")
    missing = api.ask(f"/api/{table}/8", key)
    others = api.ask(f"/api/{table}/7", key)
    assert (others.status, others.body) == (missing.status, missing.body)
    assert (others.status, others.body["code"]) == (404, "NOT_FOUND")
    assert api.ask(f"/api/{table}", key).body["items"] == []
    assert api.ask(f"/api/{table}/7", made_key(ops, "acme")).status == 200


@pytest.mark.req("P3")
@pytest.mark.parametrize("table", TABLES)
def test_pages_neither_double_nor_hide_a_row_while_others_come(
    api: Api, key: str, gatehouse_database: GatehouseDatabase, table: str
) -> None:
    # Two of them were heard of at the same moment, and the page ends between those.
    for row_id in range(1, 8):
        same_moment = {"first_fact_at": "2026-11-20T10:05:00Z"} if row_id in (5, 6) else {}
        put(gatehouse_database, table, row_id, **same_moment)
    first = api.ask(f"/api/{table}", key, limit=2).body
    put(gatehouse_database, table, 59)
    rest, cursor = [], first["next_cursor"]
    while cursor:
        page = api.ask(f"/api/{table}", key, limit=2, cursor=cursor).body
        rest += page["items"]
        cursor = page["next_cursor"]
    assert [each["id"] for each in first["items"] + rest] == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.req("P3")
@pytest.mark.parametrize(
    ("column", "value", "other"),
    [
        ("gateway", "paypal", "stripe"),
        ("status", "failed", "completed"),
        ("reference", "order-1", "order-2"),
        ("customer_ref", "cus_1", "cus_2"),
        ("app", "nexai", "elevenone"),
        ("user_id", "u1", "u2"),
        ("subscription_ref", "sub_1", "sub_2"),
        ("livemode", "false", "true"),
    ],
)
def test_payments_are_filtered(
    api: Api, key: str, gatehouse_database: GatehouseDatabase, column: str, value: Any, other: Any
) -> None:
    put(gatehouse_database, "payments", 1, **{column: value})
    put(gatehouse_database, "payments", 2, **{column: other})
    assert [each["id"] for each in api.ask(f"/api/payments?{column}={value}", key).body["items"]] == [1]


@pytest.mark.req("P3")
def test_payments_are_found_by_address_times_and_several_statuses(
    api: Api, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1, email="Ada@Example.com", status="failed")
    put(gatehouse_database, "payments", 2, email="bob@example.com", status="pending")
    put(gatehouse_database, "payments", 3, email="ada@example.com", merchant="acme")
    put(gatehouse_database, "payments", 4, email="ada@example.com", merged_into=1)

    def ids(**query: Any) -> list[int]:
        return [each["id"] for each in api.ask("/api/payments", key, **query).body["items"]]

    assert ids(email="ada@EXAMPLE.com") == [1]
    assert ids(status=["failed", "pending"]) == [2, 1]
    assert ids(status=["failed", "completed"]) == [1]
    assert ids(since="2026-11-20T10:02:00Z") == [2]
    assert ids(until="2026-11-20T11:02:00+01:00") == [1]


@pytest.mark.req("P5", "P8")
def test_a_payment_comes_with_what_hangs_on_it_and_its_story(
    api: Api, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1, fee_minor=None, merged_into=None)
    put(gatehouse_database, "payments", 9, merged_into=1)
    put(gatehouse_database, "refunds", 2, payment_id=1, amount_minor=620, currency="EUR")
    put(gatehouse_database, "disputes", 3, payment_id=1)
    event: dict[str, Any] = {
        "gateway": "stripe",
        "account": "default",
        "event_id": "evt_1",
        "merchant": "default",
        "type": "charge.x",
    }
    event |= {"type": "charge.x", "livemode": True, "received_at": "2026-11-20T10:00:00Z", "status": "applied"}
    insert(gatehouse_database, "webhook_events", event)
    fact: dict[str, Any] = {
        "kind": "payment",
        "subject_id": 1,
        "merchant": "default",
        "gateway": "stripe",
        "account": "default",
    }
    fact |= {"said_by": "evt_1", "webhook_event_id": 1, "received_at": "2026-11-20T10:00:00Z"}
    fact |= {"rank": 1, "words": {}}
    insert(gatehouse_database, "facts", fact)

    shown = api.ask("/api/payments/9", key).body
    assert shown["id"] == 1
    assert shown["amount"] == {"amount_minor": 4620, "currency": "EUR", "decimal": "46.20"}
    assert shown["fee"] is None
    assert [(each["id"], each["amount"]["decimal"]) for each in shown["refunds"]] == [(2, "6.20")]
    assert [each["id"] for each in shown["disputes"]] == [3]
    assert [each["event_id"] for each in shown["events"]] == ["evt_1"]
    assert [each["action"] for each in shown["changes"]] == ["insert"]


@pytest.mark.parametrize(
    ("table", "minor", "decimal"), [("refunds", 100, "100"), ("payouts", 1234, "1.234"), ("disputes", 5, "0.05")]
)
def test_money_has_the_decimals_of_its_currency(
    api: Api, key: str, gatehouse_database: GatehouseDatabase, table: str, minor: int, decimal: str
) -> None:
    put(gatehouse_database, table, 1, amount_minor=minor)
    amount = api.ask(f"/api/{table}/1", key).body["amount"]
    assert (amount["amount_minor"], amount["decimal"]) == (minor, decimal)


@pytest.mark.req("R4")
def test_an_apps_users_and_transactions_come_in_pages(
    api: Api, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    for row_id, user in enumerate(("u1", "u2", "u3"), start=1):
        put(gatehouse_database, "subscriptions", row_id, app="nexai", user_id=user)
        said: dict[str, Any] = {"webhook_event_id": row_id, "merchant": "default", "app": "nexai", "gateway": "stripe"}
        said |= {"account": "default", "livemode": True, "event_type": "x", "subscription_id": row_id, "user_id": user}
        said |= {"status": "active", "amount_minor": 900, "currency": "USD", "created_at": f"2026-11-20T10:0{row_id}Z"}
        insert(gatehouse_database, "app_transactions", said)
    first = api.ask("/api/apps/nexai/users", key, limit=2).body
    second = api.ask("/api/apps/nexai/users", key, limit=2, cursor=first["next_cursor"]).body
    assert [each["user_id"] for each in first["items"] + second["items"]] == ["u1", "u2", "u3"]
    assert (first["items"][0]["plan"], first["items"][0]["amount"]["decimal"]) == ("gold", "9.00")

    first = api.ask("/api/apps/nexai/transactions", key, limit=2).body
    second = api.ask("/api/apps/nexai/transactions", key, limit=2, cursor=first["next_cursor"]).body
    assert [each["id"] for each in first["items"] + second["items"]] == [3, 2, 1]
    assert [each["id"] for each in api.ask("/api/apps/nexai/transactions", key, user_id="u2").body["items"]] == [2]
    assert api.ask("/api/apps/elevenone/users", key).body["items"] == []


@pytest.mark.parametrize("path", ["/api/apps/rocket/users", "/api/apps/rocket/transactions", "/api/apps/none/users"])
def test_another_merchants_app_is_as_if_it_were_not_there(api: Api, key: str, path: str) -> None:
    assert api.ask(path, key).status == 404


def test_an_answer_that_the_caller_has_is_not_sent_again(
    api: Api, key: str, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "refunds", 1)
    tag = api.ask("/api/refunds/1", key).headers["etag"]
    same = api.ask("/api/refunds/1", key, headers={"if-none-match": f'"other", W/{tag}'})
    assert (same.status, same.text, same.headers["etag"]) == (304, "", tag)
    gatehouse_database.sql("update refunds set status = 'failed'")
    changed = api.ask("/api/refunds/1", key, headers={"if-none-match": tag})
    assert (changed.status, json.loads(changed.text)["status"]) == (200, "failed")


@pytest.mark.req("P3")
def test_an_address_is_found_by_its_index_in_spite_of_row_level_security(
    gatehouse_database: GatehouseDatabase, api_database: Database
) -> None:
    gatehouse_database.sql(
        "set session_replication_role = replica;"  # no triggers: these payments need no customers
        "insert into payments (id, merchant, gateway, account, livemode, status, email, first_fact_at, last_fact_at)"
        " select n, 'default', 'stripe', 'default', true, 'pending', n || '@example.com', now(), now()"
        " from generate_series(1, 5000) as n;"
        "analyze payments"
    )
    wanted: dict[str, Any] = dict.fromkeys(browse.sql.list_payments.parameters) | {
        "email": "77@EXAMPLE.com",
        "most": 21,
    }
    bound = browse.sql.list_payments(**wanted)
    explain = Statement("explain", "", f"explain {bound.statement.text}", bound.statement.parameters)
    (result,) = api_database.flush([Bound(explain, bound.values)], merchant="default")
    plan = "\n".join(row["QUERY PLAN"] for row in result.rows)
    assert "Index Scan using payments_pkey" in plan, plan
    assert [row["id"] for row in api_database.flush([bound], merchant="default")[0].rows] == [77]

"""Orders, customers and refunds over HTTP: made once, changed by who has seen them, refused in words."""

import json
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.intake.record import record
from gatehouse.models.privacy import erase_customer
from gatehouse.sealing import Keyring
from tests.http_api.api_client import Answer, Api, made_key
from tests.store.store import paid, told

ORDER: dict[str, Any] = {
    "currency": "EUR",
    "customer": {"email": "Ada@Example.com", "first_name": "Ada"},
    "items": [{"item_type": "vip", "unit_minor": 2310, "quantity": 2, "attendee_name": "Bob"}],
    "event_name": "Opera",
    "event_date": "2026-12-24",
    "reference": "basket-1",
}


@pytest.fixture
def developer(ops: Database) -> str:
    """A key that may write."""
    return made_key(ops, role="developer")


def send(api: Api, path: str, key: str, body: Any, method: str = "POST", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named["content-type"] = "application/json"
    return api.ask(path, key, method=method, headers=named, body=json.dumps(body).encode())


@pytest.mark.req("P2", "P3")
def test_an_order_is_made_once_found_and_moved(api: Api, key: str, developer: str) -> None:
    made = [send(api, "/api/orders", developer, ORDER, idempotency_key="k1") for _ in range(2)]
    assert [each.status for each in made] == [201, 201], made[0].text
    assert made[0].body == made[1].body
    order = made[0].body
    assert (order["status"], order["total"]["decimal"], order["items"][0]["unit"]["decimal"]) == (
        "pending",
        "46.20",
        "23.10",
    )
    path = f"/api/orders/{order['id']}"
    assert [each["id"] for each in api.ask("/api/orders", key, text="ada").body["items"]] == [order["id"]]
    assert [each["id"] for each in api.ask("/api/orders/named", key, name=order["number"]).body] == [order["id"]]
    assert api.ask("/api/orders/named", key, name="nobody").body == []
    shown = api.ask(path, key)
    assert (shown.status, shown.body["number"], len(shown.body["items"])) == (200, order["number"], 1)

    tag = shown.headers["etag"]
    moved = send(api, path, developer, {"status": "processing"}, "PATCH", if_match=tag)
    assert (moved.status, moved.body["status"]) == (200, "processing"), moved.text
    stale = send(api, path, developer, {"status": "cancelled"}, "PATCH", if_match=tag)
    assert (stale.status, stale.body["code"]) == (412, "CHANGED_MEANWHILE")
    assert send(api, path, developer, {"status": "cancelled"}, "PATCH").status == 428
    refused = send(api, path, developer, {"status": "pending"}, "PATCH", if_match=moved.headers["etag"])
    assert (refused.status, refused.body["code"]) == (409, "ILLEGAL_STEP")
    assert "completed" in refused.body["allowed"]

    summary = api.ask(f"{path}/summary", key)
    assert (summary.status, summary.body["customer"]["first_name"]) == (200, "Ada")
    actors = {each["actor"] for each in summary.body["history"]}
    assert f"key {developer[3:11]}" in actors
    assert api.ask(f"/api/audit/orders/{order['id']}", key).body[0]["action"] == "insert"


@pytest.mark.req("P2")
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"currency": "XXZ"}, "currency"),
        ({"total_minor": 4621}, "total_minor"),
        ({"items": []}, "items"),
        ({"colour": "red"}, "colour"),
        ({"customer": {"email": "nobody"}}, "email"),
        ({"event_date": "2026-13-01"}, "event_date"),
        ({"tax_minor": "5"}, "tax_minor"),
    ],
)
def test_an_order_that_does_not_add_up_is_refused_by_field(
    api: Api, developer: str, change: dict[str, Any], field: str
) -> None:
    refused = send(api, "/api/orders", developer, ORDER | change)
    assert refused.status == 422, refused.text
    assert [(each["place"], each["field"]) for each in refused.body["errors"]] == [("body", field)]
    assert api.ask("/api/orders", developer).body["items"] == []


@pytest.mark.req("P1")
def test_types_of_items_are_data(api: Api, key: str, developer: str) -> None:
    assert "vip" in api.ask("/api/item-types", key).body
    refused = send(api, "/api/orders", developer, ORDER | {"items": [{"item_type": "balcony", "unit_minor": 1}]})
    assert (refused.status, refused.body["errors"][0]["field"]) == (422, "items[0].item_type")
    added = [send(api, "/api/item-types", developer, {"name": "balcony"}) for _ in range(2)]
    assert [each.status for each in added] == [201, 409]
    assert "balcony" in api.ask("/api/item-types", key).body


@pytest.mark.req("P14")
def test_a_viewer_changes_nothing_and_nobody_changes_anothers(
    api: Api, key: str, developer: str, ops: Database
) -> None:
    order = send(api, "/api/orders", developer, ORDER).body
    path, others = f"/api/orders/{order['id']}", made_key(ops, "acme", "admin")
    for refused in (
        send(api, "/api/orders", key, ORDER),
        send(api, path, key, {"status": "cancelled"}, "PATCH", if_match='"v1"'),
        send(api, f"/api/customers/{order['customer_id']}", key, {"phone": "1"}, "PATCH", if_match='"v1"'),
        send(api, "/api/refunds", key, {"payment_id": 1}, idempotency_key="k"),
    ):
        assert (refused.status, refused.body["code"]) == (403, "ROLE_TOO_LOW")
    for hidden in (
        api.ask(path, others),
        api.ask(f"{path}/summary", others),
        api.ask(f"/api/customers/{order['customer_id']}", others),
        api.ask(f"/api/customers/{order['customer_id']}/totals", others),
        send(api, path, others, {"status": "cancelled"}, "PATCH", if_match='"v1"'),
    ):
        assert (hidden.status, hidden.body["code"]) == (404, "NOT_FOUND")
    assert api.ask("/api/orders", others).body["items"] == []
    assert api.ask(f"/api/audit/orders/{order['id']}", others).body == []


@pytest.mark.req("P3")
def test_orders_and_customers_come_in_pages(api: Api, key: str, developer: str) -> None:
    for place in range(3):
        send(api, "/api/orders", developer, ORDER | {"customer": {"email": f"c{place}@example.com"}, "reference": None})
    for path in ("/api/orders", "/api/customers"):
        first = api.ask(path, key, limit=2).body
        second = api.ask(path, key, limit=2, cursor=first["next_cursor"]).body
        found = [each["email"] for each in first["items"] + second["items"]]
        assert found == ["c2@example.com", "c1@example.com", "c0@example.com"]
        assert second["next_cursor"] is None
    counted = api.ask("/api/orders/statistics", key).body
    assert (counted["by_status"][0]["orders"], counted["by_status"][0]["total"]["decimal"]) == (3, "138.60")
    assert counted["by_item_type"][0]["ordered_quantity"] == 6


@pytest.mark.req("P3", "P5")
def test_a_customers_history_is_what_they_ordered_and_paid(
    api: Api, key: str, developer: str, intake: Database, keyring: Keyring
) -> None:
    mine = [
        send(api, "/api/orders", developer, ORDER | {"reference": f"web-{place}", "livemode": False}).body
        for place in range(3)
    ]
    other = send(api, "/api/orders", developer, ORDER | {"customer": {"email": "bob@example.com"}, "reference": None})
    record(intake, told("evt_1", paid("pi_1", 4620, reference="web-1", email="ADA@example.com")), keyring)
    (customer,) = api.ask("/api/customers", key, email="aDa@example.com").body["items"]
    assert customer["id"] == mine[0]["customer_id"] != other.body["customer_id"]
    path = f"/api/customers/{customer['id']}/orders"
    first = api.ask(path, key, limit=2).body
    rest = api.ask(path, key, limit=2, cursor=first["next_cursor"]).body
    assert [each["reference"] for each in first["items"] + rest["items"]] == ["web-2", "web-1", "web-0"]
    for filters in ({"customer_id": customer["id"]}, {"order_id": mine[1]["id"]}):
        (payment,) = api.ask("/api/payments", key, **filters).body["items"]
        assert (payment["order_id"], payment["customer_id"]) == (mine[1]["id"], customer["id"])
    assert api.ask("/api/payments", key, order_id=mine[0]["id"]).body["items"] == []
    assert api.ask("/api/customers/999/orders", key).status == 404


@pytest.mark.req("P3")
def test_a_customer_is_shown_and_changed(api: Api, key: str, developer: str) -> None:
    order = send(api, "/api/orders", developer, ORDER).body
    path = f"/api/customers/{order['customer_id']}"
    shown = api.ask(path, key)
    changed = send(api, path, developer, {"last_name": "L"}, "PATCH", if_match=shown.headers["etag"])
    assert (changed.status, changed.body["first_name"], changed.body["last_name"]) == (200, "Ada", "L")
    stale = send(api, path, developer, {"last_name": "M"}, "PATCH", if_match=shown.headers["etag"])
    assert stale.status == 412
    wrong = send(api, path, developer, {"email": "nobody"}, "PATCH", if_match=changed.headers["etag"])
    assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "email")
    assert api.ask(f"{path}/totals", key).body[0]["orders"] == 1


@pytest.mark.req("P14")
def test_an_erased_person_is_in_no_kept_answer_and_the_deed_is_not_done_again(
    api: Api, developer: str, ops: Database
) -> None:
    other = ORDER | {"customer": {"email": "bob@example.com"}, "reference": None}
    ordered = [
        send(api, "/api/orders", developer, each, idempotency_key=name) for name, each in (("k1", ORDER), ("k2", other))
    ]
    erase_customer(ops, "default", "ADA@example.com")
    kept = str(ops.query("select * from api_answers"))
    assert ("ada@example.com" in kept.lower(), "bob@example.com" in kept) == (False, True)
    again = send(api, "/api/orders", developer, ORDER, idempotency_key="k1")
    assert (again.status, again.body["code"]) == (409, "ANSWER_ERASED")
    assert send(api, "/api/orders", developer, other, idempotency_key="k2").body == ordered[1].body
    assert len(api.ask("/api/orders", developer).body["items"]) == 2


@pytest.mark.req("P6")
def test_a_refund_is_asked_for_once_and_never_above_what_is_left(
    api: Api, key: str, developer: str, intake: Database, keyring: Keyring
) -> None:
    (payment,) = record(intake, told("evt_1", paid("pi_1", 4620)), keyring).changed
    half = {"payment_id": payment.id, "amount_minor": 2000, "reason": "rain"}
    api.rung.clear()
    asked = [send(api, "/api/refunds", developer, half, idempotency_key="k1") for _ in range(2)]
    assert [each.status for each in asked] == [202, 202], asked[0].text
    assert asked[0].body == asked[1].body
    assert (asked[0].body["state"], asked[0].body["amount"]["decimal"]) == ("pending", "20.00")
    assert [topic for _, topic in api.rung] == ["send_refund"]

    other = send(api, "/api/refunds", developer, half | {"amount_minor": 1}, idempotency_key="k1")
    assert (other.status, other.body["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    above = send(api, "/api/refunds", developer, half | {"amount_minor": 2621}, idempotency_key="k2")
    assert (above.status, above.body["code"], above.body["left_minor"]) == (409, "REFUND_TOO_LARGE", 2620)
    unkeyed = send(api, "/api/refunds", developer, half)
    assert (unkeyed.status, unkeyed.body["errors"][0]["field"]) == (422, "Idempotency-Key")
    missing = send(api, "/api/refunds", developer, half | {"payment_id": 99}, idempotency_key="k3")
    assert missing.status == 404

    listed = api.ask("/api/refund-requests", key, payment_id=payment.id).body["items"]
    assert [each["id"] for each in listed] == [asked[0].body["id"]]
    path = f"/api/refund-requests/{listed[0]['id']}"
    assert api.ask(path, key).body["refund_id"] == asked[0].body["refund_id"]

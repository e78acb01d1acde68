"""Orders and the people who made them."""

import json
import re

import pytest

from gatehouse.database.connection import Database
from tests.console.console_client import Browser
from tests.console.scenery import paint
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4")
PATH = "/console/m/default"


@pytest.mark.req("P3")
def test_an_order_is_found_and_shown_with_all_that_belongs_to_it(
    viewer: Browser, gatehouse_database: GatehouseDatabase
) -> None:
    order = paint(gatehouse_database)
    for asked in (
        {},
        {"text": "Lovelace"},
        {"status": "partially_refunded"},
        {"event_id": "fest"},
        {"since": "2020-01-01"},
    ):
        assert order.number in viewer.get(f"{PATH}/orders", **asked).words, asked
    assert "No order is like this" in viewer.get(f"{PATH}/orders", status="cancelled").words
    assert viewer.get(f"{PATH}/orders", text=order.number).location == f"{PATH}/orders/{order.id}"
    shown = viewer.get(f"{PATH}/orders/{order.id}").words
    for words in (order.number, "full festival", "Ada Lovelace", "46.20 EUR", "ada@example.com"):
        assert words in shown, words
    assert order.number in viewer.get(f"{PATH}/orders", format="csv").text


def test_an_order_moves_along_legal_steps_and_tells_who_was_faster(
    admin: Browser, gatehouse_database: GatehouseDatabase, ops: Database
) -> None:
    order = paint(gatehouse_database)
    seen = admin.get(f"{PATH}/orders/{order.id}").hidden()["version"]
    refused = admin.post(f"{PATH}/orders/{order.id}/status", {"status": "pending", "version": seen})
    assert (refused.status, "ILLEGAL_STEP" in refused.words) == (409, True)
    done = admin.post(f"{PATH}/orders/{order.id}/status", {"status": "refunded", "version": seen})
    assert "The order is refunded now." in admin.get(done.location).words
    late = admin.post(f"{PATH}/orders/{order.id}/status", {"status": "completed", "version": seen})
    assert (late.status, "Somebody else was faster" in late.words) == (412, True)
    (who,) = ops.query(
        "select actor from payment_audit_log where table_name = 'orders' and changes ->> 'status' like '%\"refunded\"%'"
    )
    assert who["actor"].startswith("key ")


def test_a_customer_is_found_and_corrected(admin: Browser, gatehouse_database: GatehouseDatabase) -> None:
    order = paint(gatehouse_database)
    for text in ("Lovelace", "ADA@example.com", ""):
        assert "Ada Lovelace" in admin.get(f"{PATH}/customers", text=text).words, text
    shown = admin.get(f"{PATH}/customers/1")
    assert order.number in shown.words
    fields = {"email": "ada@example.com", "first_name": "Augusta", "last_name": "King", "phone": ""}
    fields["version"] = shown.hidden()["version"]
    assert admin.post(f"{PATH}/customers/1", fields).location == f"{PATH}/customers/1"
    assert "Augusta King" in admin.get(f"{PATH}/customers/1").text
    assert admin.post(f"{PATH}/customers/1", fields).status == 412, "of a page that is too old"
    assert admin.post(f"{PATH}/customers/1", {**fields, "email": "", "version": "9"}).status == 422


@pytest.mark.req("P14")
def test_a_person_is_handed_out_by_admins_and_erased_by_operators_who_type_the_address(
    admin: Browser, operator: Browser, gatehouse_database: GatehouseDatabase, ops: Database
) -> None:
    paint(gatehouse_database)
    known = json.loads(admin.post(f"{PATH}/customers/1/export").text)
    assert known["customer"]["email"] == "ada@example.com"
    assert admin.get(f"{PATH}/customers/1/erase").status == 404
    asked = operator.get(f"{PATH}/customers/1/erase")
    assert re.search(r"1 of customers", asked.words), asked.words
    assert operator.post(f"{PATH}/customers/1/erase", {"email": "somebody@example.com"}).status == 422
    assert ops.query_one("select email from customers where id = 1")["email"] == "ada@example.com"
    done = operator.post(f"{PATH}/customers/1/erase", {"email": "Ada@Example.com"})
    assert "was erased" in operator.get(done.location).words
    assert "ada@example.com" not in operator.get(f"{PATH}/customers/1").text

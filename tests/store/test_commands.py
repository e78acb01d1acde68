"""`gatehouse orders`, `customers`, `refunds` and `db`, run as ops run them."""

import json
import os
import subprocess
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import CustomerFact, ObjectName
from gatehouse.intake.record import record
from gatehouse.sealing import Keyring
from tests.store.store import paid, told
from tests.support import command_line
from tests.support.gatehouse_database import GatehouseDatabase

CART: dict[str, Any] = {
    "order": {"currency": "USD", "event_id": "fest", "event_date": "2026-05-15", "reference": "web-1"},
    "customer": {"email": "john@example.com", "first_name": "John"},
    "items": [{"item_type": "vip", "unit_minor": 1250, "quantity": 2, "attendee_name": "Jane"}],
}


def gatehouse(database: GatehouseDatabase, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "POSTGRES_URL": database.url("ops"), "DATABASE_TLS": "off"}
    return command_line.gatehouse(*arguments, environment=environment, stdin=stdin)


def done(database: GatehouseDatabase, *arguments: str, stdin: str = "") -> str:
    found = gatehouse(database, *arguments, stdin=stdin)
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.req("O5", "P2", "P3", "P5", "P6", "P14")
def test_an_order_from_its_making_to_the_erasure_of_its_customer(
    gatehouse_database: GatehouseDatabase, intake: Database, ops: Database, keyring: Keyring
) -> None:
    here = gatehouse_database
    assert "25.00 USD" in done(here, "orders", "create", "-", "--key", "cart", stdin=json.dumps(CART))
    assert "there already" in done(here, "orders", "create", "-", "--key", "cart", stdin=json.dumps(CART))
    refused = gatehouse(here, "orders", "create", "-", "--key", "cart", stdin=json.dumps(CART | {"items": []}))
    assert (refused.returncode, refused.stderr) == (1, "error: items: must be from 1 to 500\n")
    wrong = gatehouse(here, "orders", "create", "-", stdin=json.dumps(CART | {"customer": {"mail": "x"}}))
    assert (wrong.returncode, "customer: " in wrong.stderr, "mail" in wrong.stderr) == (1, True, True)
    assert "vip" in done(here, "orders", "types")

    record(intake, told("evt", paid("pi_1", 2500, reference="web-1", email="john@example.com")), keyring)
    assert "completed" in done(here, "orders", "list", "--event", "fest", "--since", "2026-01-01")
    found = json.loads(done(here, "orders", "search", "joh", "--json"))
    shown = done(here, "orders", "show", found["number"])
    assert all(part in shown for part in ("25.00 USD", "john@example.com", "Jane", "stripe", "gatehouse_intake"))
    assert json.loads(done(here, "orders", "show", str(found["id"]), "--json"))["order"] == found
    step = gatehouse(here, "orders", "status", found["number"], "cancelled")
    assert (step.returncode, "can only become partially_refunded, refunded" in step.stderr) == (1, True)

    asked = done(here, "refunds", "request", "pi_1", "--amount", "12.50", "--reason", "ill")
    assert "12.50 USD of payment" in asked
    request = asked.partition(":")[0]
    above = gatehouse(here, "refunds", "request", "pi_1", "--amount", "12.51")
    assert (above.returncode, above.stderr) == (1, "error: 1251 is more than what is left of this payment: 1250\n")
    assert request in done(here, "refunds", "list", "--state", "pending")
    assert "job_status     waiting" in done(here, "refunds", "show", request)
    assert gatehouse(here, "refunds", "send-again", request).returncode == 2
    assert "not unknown" in gatehouse(here, "refunds", "send-again", request, "--yes").stderr
    assert ops.query("select topic, status from jobs") == [{"topic": "send_refund", "status": "waiting"}]

    assert "john@example.com" in done(here, "customers", "list", "john")
    assert found["number"] in done(here, "customers", "show", "JOHN@example.com")
    known = json.loads(done(here, "customers", "export", "john@example.com"))
    assert (known["customer"]["first_name"], len(known["payments"])) == ("John", 1)
    assert "nothing was changed" in done(here, "customers", "erase", "john@example.com")
    assert "John" in done(here, "customers", "list")
    assert "webhook_payloads   1 erased" in done(here, "customers", "erase", "john@example.com", "--yes")
    assert "John" not in done(here, "customers", "list")
    assert gatehouse(here, "customers", "export", "john@example.com").returncode == 1


@pytest.mark.req("P14", "O5")
def test_retention_erases_those_whose_day_has_passed(gatehouse_database: GatehouseDatabase) -> None:
    cart = CART | {"customer": {"email": "john@example.com", "retain_until": "2020-01-01"}}
    done(gatehouse_database, "orders", "create", "-", stdin=json.dumps(cart))
    assert "would be erased" in done(gatehouse_database, "customers", "retention")
    assert "1 past their day" in done(gatehouse_database, "customers", "retention", "--yes")
    assert "nobody is past" in done(gatehouse_database, "customers", "retention")


@pytest.mark.req("P1", "P3", "O5")
def test_what_was_recorded_before_there_were_customers_is_given_its_customer(
    gatehouse_database: GatehouseDatabase, intake: Database, ops: Database, keyring: Keyring
) -> None:
    here = gatehouse_database
    for number in range(5):
        record(intake, told(f"evt_{number}", paid(f"pi_{number}", email=f"Guest{number % 2}@example.com")), keyring)
    record(intake, told("evt_x", paid("pi_x")), keyring)
    ann = CustomerFact((ObjectName("customer", "cus_ann"),), email="ann@example.com")
    record(intake, told("evt_ann", ann), keyring)
    as_now = (
        "select id, customer_id is null from payments union all select id, customer_id is null from gateway_customers"
    )
    # As it was before: what is recorded now finds its customer by itself.
    here.sql("update payments set customer_id = null; update gateway_customers set customer_id = null")
    here.sql("delete from customers; update payments set first_fact_at = '2025-03-01'")

    first = ops.query("select min(id) as id from payments")[0]["id"]
    assert "5 of 6 rows" in done(here, "customers", "backfill", "--after", f"payments/{first}", "--batch", "2")
    assert "1 of 7 rows" in done(here, "customers", "backfill", "--batch", "3")
    assert "0 of 7 rows" in done(here, "customers", "backfill")
    assert sorted(row[1] for row in here.sql(as_now)) == [False] * 6 + [True]
    known = here.sql("select lower(email), created_at::date::text from customers order by 1")
    assert [row[0] for row in known] == ["ann@example.com", "guest0@example.com", "guest1@example.com"]
    assert [row[1] for row in known[1:]] == ["2025-03-01"] * 2, "customers since their first payment"
    actors = ops.query(
        "select distinct actor from payment_audit_log where table_name = 'customers' and action = 'insert'"
    )
    assert any("gatehouse command" in each["actor"] for each in actors)
    for wrong in ("orders/1", "payments/x", "payments"):
        refused = gatehouse(here, "customers", "backfill", "--after", wrong)
        assert (refused.returncode, "payments or gateway_customers" in refused.stderr) == (2, True)

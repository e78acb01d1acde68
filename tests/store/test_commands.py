"""`gatehouse orders`, `customers`, `refunds` and `db`, run as ops run them."""

import json
import os
import subprocess
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import CustomerFact, ObjectName
from gatehouse.intake.record import record
from gatehouse.models import api_keys
from gatehouse.models.refunds import request_refund
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
def test_a_person_without_an_address_is_exported_and_erased_by_the_gateways_name(
    gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring
) -> None:
    here = gatehouse_database
    for gateway, code in (("mx_merchant", "P-17"), ("mx_merchant", "P-18"), ("stripe", "P-18")):
        account = GatewayAccount(gateway, "default", "default", "both", ())
        name = CustomerFact((ObjectName("customer", code),), name="Pat Example")
        said = paid("unused", 2500, customer_ref=code)._replace(objects=(ObjectName("payment", f"1{code}{gateway}"),))
        record(intake, told(f"evt_{code}", name, said, account=account), keyring)
    known = json.loads(done(here, "customers", "export", "--customer", "P-17"))
    assert (known["gateway_customers"][0]["name"], len(known["payments"])) == ("Pat Example", 1)
    for wrong, words in (
        (("--customer", "P-18"), "mx_merchant default, stripe default; say which"),
        (("--customer", "P-19"), "no gateway has a customer of this name"),
        (("--customer", "P-18", "--gateway", "paypal"), "no gateway has a customer of this name"),
    ):
        refused = gatehouse(here, "customers", "export", *wrong)
        assert (refused.returncode, words in refused.stderr) == (1, True), refused.stderr
    for given in ("", "pat@example.com --customer P-17", "pat@example.com --gateway stripe"):
        assert gatehouse(here, "customers", "erase", *given.split(), "--yes").returncode == 2
    tried = done(here, "customers", "erase", "--customer", "P-17")
    assert "nothing was changed" in tried
    assert "gateway_customers  1 erased" in done(here, "customers", "erase", "--customer", "P-17", "--yes")
    assert "Pat" not in done(here, "customers", "export", "--customer", "P-17")
    for gateway in ("mx_merchant", "stripe"):
        assert "Pat" in done(here, "customers", "export", "--customer", "P-18", "--gateway", gateway)


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


@pytest.mark.req("O5", "P2", "P3")
def test_orders_are_listed_by_filters_and_in_pages(gatehouse_database: GatehouseDatabase) -> None:
    here = gatehouse_database
    assert "early_bird" in done(here, "orders", "types", "--add", "early_bird")
    twice = gatehouse(here, "orders", "types", "--add", "early_bird")
    assert (twice.returncode, "early_bird" in twice.stderr) == (1, True)
    for place, item_type in enumerate(("vip", "early_bird", "vip")):
        item = {"item_type": item_type, "unit_minor": 100}
        cart = CART | {"items": [item], "order": CART["order"] | {"reference": f"web-{place}"}}
        done(here, "orders", "create", "-", stdin=json.dumps(cart))

    def references(*arguments: str) -> list[str]:
        return [json.loads(line)["reference"] for line in done(here, "orders", *arguments, "--json").splitlines()]

    assert references("list", "--item-type", "vip") == ["web-2", "web-0"]
    assert references("search", "john@exam", "--item-type", "early_bird") == ["web-1"]
    assert references("list", "--status", "completed") == references("list", "--before", "2026-01-01") == []
    first = done(here, "orders", "list", "--limit", "2")
    following = first.partition("more: --after ")[2].strip()
    assert references("list", "--limit", "2", "--after", following) == ["web-0"]
    assert "processing" in done(here, "orders", "status", "web-0", "processing")
    assert references("list", "--status", "processing") == ["web-0"]
    for wrong, told_of in (
        (("list", "--status", "paid"), "status: must be one of pending"),
        (("list", "--after", "x"), "after"),
        (("show", "web-9"), "no order is named web-9"),
        (("status", "web-0", "pending"), "can only become completed, failed, cancelled"),
    ):
        refused = gatehouse(here, "orders", *wrong)
        assert (refused.returncode, told_of in refused.stderr) == (1, True), refused.stderr


@pytest.mark.req("O5", "P6")
def test_a_payment_to_refund_is_named_by_a_gateways_number_too_unless_it_is_also_ours(
    gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring
) -> None:
    mx = GatewayAccount("mx_merchant", "default", "default", "both", ())
    (first,) = record(intake, told("evt", paid("pi_1", 2500)), keyring).changed
    for name in ("4000000061170001", str(first.id)):
        fact = paid("unused", 2500)._replace(objects=(ObjectName("payment", name),))
        record(intake, told(f"evt_{name}", fact, account=mx), keyring)
    assert "10.00 USD" in done(gatehouse_database, "refunds", "request", "4000000061170001", "--amount", "10")
    unclear = gatehouse(gatehouse_database, "refunds", "request", str(first.id))
    assert unclear.returncode == 2
    assert f"{first.id} is our payment {first.id} and the mx_merchant id" in unclear.stderr
    unknown = gatehouse(gatehouse_database, "refunds", "request", "4000000061170002")
    assert (unknown.returncode, unknown.stderr) == (1, "error: there is no such payment\n")


@pytest.mark.req("O5", "P6")
def test_an_unknown_refund_is_listed_and_sent_again_by_a_person(
    gatehouse_database: GatehouseDatabase, intake: Database, api: Database, keyring: Keyring
) -> None:
    here = gatehouse_database
    (payment,) = record(intake, told("evt", paid("pi_1", 2500)), keyring).changed
    request = str(request_refund(api, "default", payment.id, amount_minor=1000, reason="rain").id)
    here.sql(f"update refund_requests set state = 'unknown', failure = 'interrupted' where id = '{request}'")
    here.sql("update jobs set status = 'done', finished_at = now()")
    assert request in done(here, "refunds", "list", "--state", "unknown")
    assert "interrupted" in done(here, "refunds", "show", request)
    assert "pending" in done(here, "refunds", "send-again", request, "--yes")
    assert here.sql("select status, attempts from jobs") == [["waiting", 0]]
    for given in ("", "--not-made --made-as re_1"):
        assert gatehouse(here, "refunds", "settle", request, *given.split()).returncode == 2
    assert "is pending, not unknown" in gatehouse(here, "refunds", "settle", request, "--not-made").stderr
    here.sql(f"update refund_requests set state = 'unknown' where id = '{request}'")
    assert "no refund of this name" in gatehouse(here, "refunds", "settle", request, "--made-as", "re_1").stderr
    said = done(here, "refunds", "settle", request, "--not-made")
    assert said == f"{request} is failed, and its money failed\n"
    for wrong, told_of in (
        (("list", "--state", "lost"), "state: must be one of"),
        (("request", "pi_9"), "no payment has this id"),
        (("request", "pi_1", "--amount", "1.005"), "--amount"),
    ):
        refused = gatehouse(here, "refunds", *wrong)
        assert (refused.returncode in (1, 2), told_of in refused.stderr) == (True, True), refused.stderr


@pytest.mark.req("O5", "P14")
def test_keys_are_made_listed_and_revoked(gatehouse_database: GatehouseDatabase, api: Database) -> None:
    here = gatehouse_database
    made = done(here, "keys", "create", "books", "--merchant", "default", "--role", "developer", "--rate", "30").split()
    key = made[-1]
    assert (len(key), key.startswith("gh_")) == (55, True)
    found = api_keys.use_key(api, key)
    assert found
    assert (found.merchant, found.role, found.answer) == ("default", "developer", "ok")
    done(here, "keys", "create", "watch", "--all-merchants", "--role", "ops", "--days", "0")
    listed = done(here, "keys", "list")
    assert key not in listed
    assert all(word in listed for word in ("books", "developer", "30", "(every)", "never ends", key[3:11]))
    assert "opens nothing any more" in done(here, "keys", "revoke", key[3:11])
    assert "revoked" in done(here, "keys", "list")
    for arguments, code, told_of in (
        (("create", "x"), 1, "--merchant NAME, or --all-merchants"),
        (("create", "x", "--all-merchants"), 1, "has the role ops"),
        (("create", "x", "--merchant", "nobody"), 1, "there is no merchant nobody"),
        (("create", "x", "--merchant", "default", "--role", "king"), 2, "must be one of"),
        (("revoke", "nobody00"), 1, "nobody00"),
    ):
        refused = gatehouse(here, "keys", *arguments)
        assert (refused.returncode, told_of in " ".join(refused.stderr.split())) == (code, True), refused.stderr

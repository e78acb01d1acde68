"""Payments of MX Merchant and SaySwitch from their webhook to the refund that somebody asks for, by API and by hand."""

import json
from typing import Any

import httpx
import pytest

from local.gateway_apis import ApiRequest
from tests.end_to_end.test_ops_commands import done, gatehouse
from tests.support.gateway_samples import samples
from tests.support.stack import RunningStack, wait_until

pytestmark = pytest.mark.req("P6", "G4", "G5", "O5")

MX_PAYMENT, MX_INVOICE, MX_MINOR = "4000000061170001", "61170003", 453_960
SAYSWITCH_PAYMENT, SAYSWITCH_MINOR = "SSW_61170001", 1000


def told(stack: RunningStack, client: httpx.Client, gateway: str, sample: str, named: str, **changes: Any) -> int:
    """Let a gateway tell of a payment; return its number here once its API has confirmed it."""
    event = json.loads(samples(gateway)[sample].read_bytes())
    said = event.get("data", event)
    said.update(changes)
    assert stack.send(gateway, json.dumps(event).encode())[0] == 200
    found: list[dict[str, Any]] = []

    def is_completed() -> bool:
        found[:] = client.get("/api/payments", params={"reference": named}).json()["items"]
        return bool(found) and found[0]["status"] == "completed"

    wait_until(is_completed)
    return int(found[0]["id"])


def asked_for(client: httpx.Client, payment: int, amount_minor: int | None, key: str) -> httpx.Response:
    wanted = {"payment_id": payment, "amount_minor": amount_minor}
    return client.post("/api/refunds", json=wanted, headers={"idempotency-key": key})


def outcome(client: httpx.Client, request: object) -> tuple[str, str]:
    found = client.get(f"/api/refund-requests/{request}").json()
    return found["state"], found["refund_status"]


@pytest.fixture
def client(running_stack: RunningStack) -> Any:
    """Somebody with a key of the API."""
    facts = running_stack.facts
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as found:
        found.headers["authorization"] = f"Bearer {facts['api_key']}"
        yield found


def test_a_payment_of_mx_merchant_is_refunded_in_parts_by_api_and_command(
    running_stack: RunningStack, client: httpx.Client
) -> None:
    changes = {"id": MX_PAYMENT, "invoiceId": "61170002", "invoiceNumber": MX_INVOICE, "replayId": None}
    changes |= {"customerNumber": "C61170004", "source": "QuickPay"}
    payment = told(running_stack, client, "mx_merchant", "PaymentSuccess__2026", MX_INVOICE, **changes)
    part = asked_for(client, payment, 100_000, "mx-part")
    assert part.status_code == 202, part.text
    assert asked_for(client, payment, 100_000, "mx-part").json() == part.json()
    wait_until(lambda: outcome(client, part.json()["id"]) == ("sent", "completed"))
    too_much = asked_for(client, payment, MX_MINOR - 99_999, "mx-more")
    assert (too_much.status_code, too_much.json()["left_minor"]) == (409, MX_MINOR - 100_000), too_much.text
    by_hand = done(running_stack, "refunds", "request", MX_PAYMENT, "--amount", "3539.60")
    request = by_hand.partition(":")[0]
    wait_until(lambda: outcome(client, request) == ("sent", "completed"))
    assert client.get(f"/api/payments/{payment}").json()["status"] == "refunded"
    above = gatehouse(running_stack, "refunds", "request", MX_PAYMENT)
    assert (above.returncode, above.stderr) == (1, "error: nothing is left of this payment to refund\n")


def test_a_payment_of_sayswitch_is_refunded_whole_and_only_once(
    running_stack: RunningStack, client: httpx.Client
) -> None:
    changes = {"id": 61170001, "reference": SAYSWITCH_PAYMENT, "metadata": None}
    payment = told(running_stack, client, "sayswitch", "payment.success", SAYSWITCH_PAYMENT, **changes)
    part = asked_for(client, payment, SAYSWITCH_MINOR - 1, "ssw-part")
    assert (part.status_code, "whole payments only" in part.text) == (422, True), part.text
    whole = asked_for(client, payment, None, "ssw-whole")
    assert (whole.status_code, whole.json()["amount"]["amount_minor"]) == (202, SAYSWITCH_MINOR), whole.text
    wait_until(lambda: outcome(client, whole.json()["id"]) == ("sent", "pending"))
    assert asked_for(client, payment, None, "ssw-again").status_code == 409
    assert whole.json()["id"] in done(running_stack, "refunds", "list", "--state", "sent")
    # No event tells that it was made, so the comparison with the gateway's list does.
    [api] = [account.api for account in running_stack.supervisor.accounts if account.name == "sayswitch"]
    assert api
    name = client.get(f"/api/refund-requests/{whole.json()['id']}").json()["gateway_id"]
    shown = api.gateway.answer(
        ApiRequest("GET", f"/api/v1/refund/status/{name}", {}, {"authorization": "Bearer sk_test"})
    ).body
    assert isinstance(shown, dict)
    api.gateway.remember({**shown["data"], "status": "success"})
    gatehouse(running_stack, "reconcile", "--gateway", "sayswitch", "--account", "default", "--days", "2")
    wait_until(lambda: outcome(client, whole.json()["id"]) == ("sent", "completed"))
    assert client.get(f"/api/payments/{payment}").json()["status"] == "refunded"

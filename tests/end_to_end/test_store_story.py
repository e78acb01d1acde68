"""A day at the box office, through every door: ordered, paid, refunded in two ways, found, exported and erased."""

import json

import httpx
import pytest

from tests.end_to_end.test_ops_commands import done
from tests.local_stack.test_running_stack import SAMPLE
from tests.support.stack import RunningStack, wait_until
from tests.support.stripe_requests import stripe_event

PAID_MINOR = 4620
EMAIL = "Grace.Hopper@Example.com"


@pytest.mark.req("P1", "P2", "P3", "P4", "P5", "P6", "P8", "P14", "O5")
def test_an_order_from_its_making_to_the_erasure_of_its_customer(running_stack: RunningStack) -> None:
    facts = running_stack.facts
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {facts['api_key']}"
        order = _ordered(client)

        intent = _paid(running_stack, str(order["number"]))
        summary = client.get(f"/api/orders/{order['id']}/summary").json()
        assert (summary["status"], summary["payment_state"]) == ("completed", "paid")
        payment = summary["payments"][0]["id"]

        half = {"payment_id": payment, "amount_minor": PAID_MINOR // 2, "reason": "the first day was cancelled"}
        asked = client.post("/api/refunds", json=half, headers={"idempotency-key": "half"})
        assert asked.status_code == 202, asked.text
        again = client.post("/api/refunds", json=half, headers={"idempotency-key": "half"})
        assert again.json() == asked.json()
        wait_until(lambda: _states(client, order["id"]) == ("partially_refunded", PAID_MINOR // 2))
        too_much = client.post(
            "/api/refunds", json=half | {"amount_minor": PAID_MINOR}, headers={"idempotency-key": "x"}
        )
        assert (too_much.status_code, too_much.json()["left_minor"]) == (409, PAID_MINOR // 2), too_much.text

        rest = stripe_event(
            "evt_rest_of_77",
            "refund.created",
            id="re_rest_of_77",
            object="refund",
            amount=PAID_MINOR // 2,
            currency="eur",
            payment_intent=intent,
            status="succeeded",
        )
        assert running_stack.send("stripe", json.dumps(rest).encode())[0] == 200
        assert _states(client, order["id"]) == ("refunded", PAID_MINOR)

        for words in ("grace hop", "festival-basket-77", str(order["number"])[:12], EMAIL.lower()):
            found = client.get("/api/orders", params={"text": words}).json()["items"]
            assert order["id"] in [each["id"] for each in found], words

        exported = done(running_stack, "customers", "export", EMAIL)
        assert str(order["number"]) in exported
        assert "Grace" in exported
        done(running_stack, "customers", "erase", EMAIL, "--yes")
        kept = client.get(f"/api/orders/{order['id']}/summary")
        assert "grace" not in kept.text.lower()
        assert (kept.json()["status"], kept.json()["refunded"]["amount_minor"]) == ("refunded", PAID_MINOR)

        audit = client.get(f"/api/audit/orders/{order['id']}")
        assert "grace" not in audit.text.lower()
        steps = [change["changes"]["status"] for change in audit.json() if "status" in change["changes"]]
        assert steps == [
            [None, "pending"],
            ["pending", "completed"],
            ["completed", "partially_refunded"],
            ["partially_refunded", "refunded"],
        ]


def _ordered(client: httpx.Client) -> dict[str, object]:
    order = {
        "currency": "EUR",
        "customer": {"email": EMAIL, "first_name": "Grace", "last_name": "Hopper"},
        "items": [{"item_type": "full_festival", "unit_minor": PAID_MINOR}],
        "reference": "festival-basket-77",
        "livemode": False,
    }
    made = client.post("/api/orders", json=order, headers={"idempotency-key": "basket-77"})
    assert made.status_code == 201, made.text
    found: dict[str, object] = made.json()
    return found


def _paid(stack: RunningStack, number: str) -> str:
    """Let Stripe tell that the order was paid; return the payment's name."""
    event = json.loads(
        SAMPLE.read_bytes().replace(b"evt_", b"evt_grace").replace(b"pi_", b"pi_grace").replace(b"ch_", b"ch_grace")
    )
    event["data"]["object"]["metadata"] = {"order_number": number}
    assert stack.send("stripe", json.dumps(event).encode())[0] == 200
    return str(event["data"]["object"]["id"])


def _states(client: httpx.Client, order_id: object) -> tuple[str, int]:
    order = client.get(f"/api/orders/{order_id}").json()
    return order["status"], order["refunded"]["amount_minor"]

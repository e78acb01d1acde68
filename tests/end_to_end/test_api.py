"""The API through the front door of the running stack, with the key that `make run` makes."""

import json

import httpx
import pytest

from tests.end_to_end.test_ops_commands import done
from tests.local_stack.test_running_stack import SAMPLE
from tests.support.stack import RunningStack


@pytest.mark.req("P2", "P5", "D3", "O5")
def test_an_order_is_paid_by_a_signed_event_and_read_with_a_new_key(running_stack: RunningStack) -> None:
    facts = running_stack.facts
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as client:
        client.headers["authorization"] = f"Bearer {facts['api_key']}"
        order = {
            "currency": "EUR",
            "customer": {"email": "ada@example.com"},
            "items": [{"item_type": "vip", "unit_minor": 4620}],
            "reference": "basket-of-ada",
            "livemode": False,
        }
        made = client.post("/api/orders", json=order, headers={"idempotency-key": "once"})
        assert made.status_code == 201, made.text

        event = json.loads(SAMPLE.read_bytes().replace(b"evt_", b"evt_api").replace(b"pi_", b"pi_api"))
        event["data"]["object"]["metadata"] = {"order_id": made.json()["number"]}
        assert running_stack.send("stripe", json.dumps(event).encode())[0] == 200
        paid = client.get(f"/api/orders/{made.json()['id']}/summary").json()
        assert (paid["status"], paid["payment_state"]) == ("completed", "paid")
        payment = paid["payments"][0]["id"]

        said = done(running_stack, "keys", "create", "a reader", "--merchant", "default")
        key = said.split()[-1]
        client.headers["authorization"] = f"Bearer {key}"
        listed = client.get("/api/payments?status=completed&status=refunded&gateway=stripe")
        assert payment in [each["id"] for each in listed.json()["items"]]
        story = client.get(f"/api/payments/{payment}")
        assert (story.status_code, story.json()["amount"]["decimal"]) == (200, "46.20")
        same = client.get(f"/api/payments/{payment}", headers={"if-none-match": story.headers["etag"]})
        assert same.status_code == 304
        assert client.post("/api/orders", json=order).json()["code"] == "ROLE_TOO_LOW"

        assert "a reader" in done(running_stack, "keys", "list")
        done(running_stack, "keys", "revoke", key[3:11])
        assert client.get("/api/payments").json()["code"] == "KEY_REVOKED"
        assert client.get("/api/health/database").status_code == 200
        assert client.get("/api/nothing").headers["content-type"] == "application/problem+json"
    assert key not in "\n".join(running_stack.lines)
    assert facts["api_key"] not in "\n".join(running_stack.lines)

"""Events that failed or were ignored, taken up again from their kept bytes."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.gateways import mx_merchant
from gatehouse.intake.record import Delivery, record
from gatehouse.intake.retry import retry
from gatehouse.models.events import find_event
from gatehouse.sealing import Keyring

PAYLOAD: dict[str, Any] = {"eventType": "PaymentSuccess", "merchantId": 7, "id": 42, "totalAmount": 12.5}


@pytest.mark.req("G8", "G15")
@pytest.mark.parametrize("mode", ["live", "test"])
def test_an_event_that_does_not_say_its_mode_keeps_that_of_its_arrival(
    mode: str, intake: Database, ops: Database, keyring: Keyring
) -> None:
    """Of the default account ops do not see the mode: its secret is the webhook's own."""
    body = json.dumps(PAYLOAD).encode()
    event = mx_merchant.translate(mx_merchant.read_event(body), "default")
    account = GatewayAccount("mx_merchant", "default", "default", mode)
    failed = event._replace(facts=(), refused_because="an earlier version could not read it")
    assert record(intake, Delivery(account, failed, body, datetime.now(UTC)), keyring).status == "failed"

    assert retry(ops, find_event(ops, event.event_id), keyring).status == "applied"
    (payment,) = ops.query("select livemode from payments")
    assert payment["livemode"] == (mode == "live")

"""Stripe's webhook requests, signed, as API Gateway hands them over."""

import base64
import hmac
import json
import time
from typing import Any

SECRET = "whsec_of_the_tests"


def stripe_event(event_id: str = "evt_1", type: str = "payment_intent.succeeded", **changes: Any) -> dict[str, Any]:
    """Return an event about one PaymentIntent; `changes` go into the intent."""
    intent = {
        "id": "pi_1",
        "object": "payment_intent",
        "amount": 4620,
        "amount_received": 4620,
        "currency": "eur",
        "status": "succeeded",
        "latest_charge": "ch_1",
        "customer": "cus_1",
        "metadata": {},
        "payment_method_types": ["card"],
        **changes,
    }
    return {
        "id": event_id,
        "object": "event",
        "api_version": "2025-04-30.basil",
        "created": 1_748_441_984,
        "livemode": False,
        "type": type,
        "data": {"object": intent},
    }


def signature(body: bytes, *, secret: str = SECRET, at: float | None = None) -> str:
    """Return the Stripe-Signature header of a body."""
    stamp = str(int(time.time() if at is None else at))
    return f"t={stamp},v1={hmac.digest(secret.encode(), stamp.encode() + b'.' + body, 'sha256').hex()}"


def api_request(
    body: bytes | dict[str, Any], *, header: str | None = None, base64_body: bool = False
) -> dict[str, Any]:
    """Return the API Gateway event of a webhook request; signed rightly unless another header is given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", "stripe-signature": signature(raw) if header is None else header}
    return {
        "version": "2.0",
        "routeKey": "POST /webhooks/stripe",
        "rawPath": "/webhooks/stripe",
        "rawQueryString": "",
        "headers": headers,
        "requestContext": {
            "http": {"method": "POST", "path": "/webhooks/stripe", "sourceIp": "127.0.0.1"},
            "requestId": "request-1",
            "timeEpoch": int(time.time() * 1000),
        },
        "body": base64.b64encode(raw).decode() if base64_body else raw.decode("utf-8", "surrogateescape"),
        "isBase64Encoded": base64_body,
    }

"""Stripe's events in any number, each with ids of its own, and the requests that bring them."""

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any

from tests.support.stripe_requests import api_request, signature

EVENTS = Path(__file__).resolve().parent.parent / "events" / "stripe"
_IDS = re.compile(rb'"((?:evt|pi|ch|py)_\w+)"')

# It is told of money that came in, and leaves a job; the other leaves none, so its function has no bell to ring.
SUCCEEDED = "payment_intent.succeeded"
PROCESSING = "payment_intent.processing"


def bodies(kind: str) -> Iterator[bytes]:
    """Return events of a kind without end, each of a payment of its own."""
    sample = (EVENTS / f"{kind}.json").read_bytes()
    run = token_hex(5)  # ids of another run may be in the database already
    for number in count():
        yield _IDS.sub(rb'"\1_%b%d"' % (run.encode(), number), sample)


def requests(kind: str) -> Iterator[dict[str, Any]]:
    """Return signed webhook requests without end, as API Gateway hands them to the function."""
    for body in bodies(kind):
        yield api_request(body)


def http_request(body: bytes, path: str, *, secret: str) -> bytes:
    """Return a signed request as it stands on the wire."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json; charset=utf-8\r\n"
        f"user-agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nstripe-signature: "
        f"{signature(body, secret=secret)}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def payload(request: dict[str, Any]) -> bytes:
    """Return a request as the Runtime API gives it to a function."""
    return json.dumps(request).encode()

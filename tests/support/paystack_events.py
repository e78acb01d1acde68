"""Paystack's samples, changed in one place or another, and what they become."""

import json
from typing import Any

from gatehouse.facts import Event, Fact
from gatehouse.gateways.paystack import read_event, translate
from tests.support.gateway_samples import ignored_samples, samples

SAMPLES = samples("paystack")
IGNORED = ignored_samples("paystack")


def event_of(body: bytes) -> Event:
    """Translate a body as intake does."""
    return translate(read_event(body), "default")


def told(sample: str, **changes: object) -> Event:
    """Translate a sample whose data has been changed; a field set to ... is dropped."""
    payload: dict[str, Any] = json.loads((SAMPLES | IGNORED)[sample].read_bytes())
    data = payload["data"] | changes
    payload["data"] = {key: value for key, value in data.items() if value is not ...}
    return event_of(json.dumps(payload).encode())


def the[F: Fact](kind: type[F], event: Event) -> F:
    """Return the one fact of its kind."""
    (only,) = [each for each in event.facts if isinstance(each, kind)]
    return only


def kinds(event: Event) -> list[str]:
    """Return the kinds of an event's facts, in their order."""
    return [type(each).__name__.removesuffix("Fact").lower() for each in event.facts]

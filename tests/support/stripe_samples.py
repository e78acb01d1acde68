"""Stripe's samples as they are, and with other things said in them."""

import json
from typing import Any

from gatehouse.facts import Event
from gatehouse.gateways.stripe import read_event, translate
from tests.support.gateway_samples import samples

SAMPLES = samples("stripe")


def event_of(sample: str) -> Event:
    """Translate a sample as it is."""
    return translate(read_event(SAMPLES[sample].read_bytes()), "default")


def told(sample: str, *, event: Any = None, **changes: Any) -> Event:
    """Translate a sample whose object, and event, has been changed; a field of the object set to ... is dropped."""
    payload = json.loads(SAMPLES[sample].read_text()) | (event or {})
    stripe_object = payload["data"]["object"] | changes
    payload["data"]["object"] = {key: value for key, value in stripe_object.items() if value is not ...}
    return translate(payload, "default")


def facts[Kind](event: Event, kind: type[Kind]) -> list[Kind]:
    """Return the facts of one kind that an event holds."""
    return [fact for fact in event.facts if isinstance(fact, kind)]


def only[Kind](event: Event, kind: type[Kind]) -> Kind:
    """Return the one fact of a kind that an event holds."""
    (fact,) = facts(event, kind)
    return fact

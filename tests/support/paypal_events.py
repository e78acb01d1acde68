"""PayPal's sample events, as they are and changed, and single facts of what they become."""

import json

from gatehouse.facts import Event, Fact
from gatehouse.gateways.paypal import read_event, translate
from tests.support.gateway_samples import expected, ignored_samples, samples

SAMPLES = samples("paypal")
IGNORED = ignored_samples("paypal")
EXPECTED = expected("paypal")


def event_of(sample: str) -> Event:
    """Translate a sample."""
    return translate(read_event((SAMPLES | IGNORED)[sample].read_bytes()), "default")


def told(sample: str, event_type: str = "", /, **changes: object) -> Event:
    """Translate a sample whose resource has been changed; a field set to ... is dropped."""
    payload = json.loads((SAMPLES | IGNORED)[sample].read_text())
    resource = payload["resource"] | changes
    payload["resource"] = {key: value for key, value in resource.items() if value is not ...}
    return translate(payload | ({"event_type": event_type} if event_type else {}), "default")


def enveloped(sample: str = "payment.capture.completed", **changes: object) -> Event:
    """Translate an event whose envelope has been changed."""
    return translate(json.loads(SAMPLES[sample].read_text()) | changes, "default")


def only[Told: Fact](kind: type[Told], event: Event) -> Told:
    """Return the one fact of a kind that an event gives."""
    (fact,) = (fact for fact in event.facts if isinstance(fact, kind))
    return fact


def usd(value: object) -> dict[str, object]:
    """Return an amount of dollars as v2 writes it."""
    return {"currency_code": "USD", "value": value}

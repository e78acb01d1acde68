"""MX Merchant's events in our words.

MX Merchant signs nothing, so an event is a hint: what it says is kept as said, and its step is never higher than
processing. A payment is completed or failed by what the API answers about it and by nothing else.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    MOST_ID_CHARACTERS,
    identifier,
    identifier_or_number,
    minor_of_major_or_none,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object

NAME = "mx_merchant"

# Every event that becomes a fact, and the step that it may claim at most. All others are kept as ignored.
HANDLED = {
    "PaymentSuccess": PaymentStatus.PROCESSING,
    "PaymentFail": PaymentStatus.PENDING,  # a failure that is not proved: the money may still come
}
NO_PAYMENTS = ("RefundCreated", "Chargeback", "Deposit", "BatchClosed")
GIVES_BACK = "Return"  # the transactionTypeName of a refund

# These happen once to a payment. A Chargeback comes again, under the same id, with each turn of the dispute.
HAPPEN_ONCE = ("PaymentSuccess", "PaymentFail", "RefundCreated")

CURRENCY = "USD"  # no event says one; the API's answers about these merchants do

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# "Aug 9 2018 6:21PM", which is UTC; strptime would read the names of the months in the language of the machine.
_DATE = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d{4}) {1,2}(\d{1,2}):(\d{2})([AP])M", re.ASCII)


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds, with the id that we give it; raise RequestRefused when it holds none."""
    payload = read_json_object(body)
    event_type = identifier(payload.get("eventType"))
    if not event_type:
        reason = f'its "eventType" is not a text of 1 to {MOST_ID_CHARACTERS} characters'
        raise RequestRefused(f"the body is not an event of MX Merchant: {reason}", code="NOT_AN_EVENT")
    parts = [event_type, identifier_or_number(payload.get("merchantId")), identifier_or_number(payload.get("id"))]
    event_id = made_event_id(body, *parts) if event_type in HAPPEN_ONCE else made_event_id(body, None)
    return payload | {MADE_EVENT_ID: event_id}


def translate(payload: dict[str, Any], account: str) -> Event:  # noqa: ARG001 - its events say all that is needed
    """Say in our words what an event of `read_event` says; never fails, whatever it holds."""
    event_type = payload["eventType"]
    facts: tuple[PaymentFact, ...] = ()
    ignored_because = refused_because = None
    if event_type not in HANDLED:
        ignored_because = _not_handled(event_type)
    elif payload.get("transactionTypeName") == GIVES_BACK:
        ignored_because = f"not a payment event: {event_type} of a {GIVES_BACK}"
    else:
        try:
            facts = (_fact(payload),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload[MADE_EVENT_ID],
        type=event_type,
        occurred_at=date_in_utc(payload.get("transactionDate")),
        livemode=None,
        facts=facts,
        reference=identifier_or_number(payload.get("id")),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def date_in_utc(value: object) -> datetime | None:
    """Return a time as MX Merchant writes it ("Aug 9 2018 6:21PM", UTC); None for anything else."""
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    if not found or found[1] not in MONTHS:
        return None
    day, year, hour, minute = (int(found[group]) for group in (2, 3, 4, 5))
    if not 1 <= hour <= 12:
        return None
    try:  # 12AM is midnight, 12PM noon
        return datetime(year, MONTHS.index(found[1]) + 1, day, hour % 12 + 12 * (found[6] == "P"), minute, tzinfo=UTC)
    except ValueError:  # the 30th of February
        return None


def _fact(payload: Mapping[str, Any]) -> PaymentFact:
    failed = payload["eventType"] == "PaymentFail"
    amount_minor = minor_of_major_or_none(payload.get("totalAmount"), CURRENCY)
    return PaymentFact(
        objects=object_names(("payment", payload.get("id"))),
        status=HANDLED[payload["eventType"]],
        amount_minor=amount_minor,
        currency=None if amount_minor is None else CURRENCY,
        method=_method(payload.get("paymentType")),
        reference=identifier_or_number(payload.get("invoiceNumber")),
        customer_ref=identifier_or_number(payload.get("customerNumber")),
        failure_code=identifier_or_number(payload.get("responseCode")) if failed else None,
        failure_message=_trimmed(payload.get("responseMessage")) if failed else None,
        metadata=plain_metadata(payload.get("customFields")),
    )


def _method(payment_type: object) -> str | None:
    said = text(payment_type)  # Card, ACH
    return said.lower() if said else None


def _trimmed(sentence: object) -> str | None:
    return text(sentence.strip()) if isinstance(sentence, str) else None


def _not_handled(event_type: str) -> str:
    if event_type in NO_PAYMENTS:
        return f"not a payment event: {event_type}"
    return f"event type not handled: {event_type}"

"""SaySwitch's events in our words.

Its documents print no body of a payment event. They name two envelopes, and both are read:

    {"type": "payment.success", "data": {…}}
    {"notify": "transaction", "notifyType": "successful", "data": {…}}

A webhook of SaySwitch is a hint; the proof is the answer of `GET /transaction/verify/{reference}`, by which alone its
own plugin goes. So what an event says is kept as said, and its step is never higher than processing: a payment is
completed or failed by the answer of the API and by nothing else.

Amounts are decimal numbers of major units: of 10.12 naira, 10 were asked and 0.12 are the fee.
"""

from collections.abc import Mapping
from typing import Any

from gatehouse.errors import FactRefused
from gatehouse.facts import Event, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    livemode_of_domain,
    mapping,
    minor_of_major_or_none,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object

NAME = "sayswitch"

# Every event that becomes a fact, and the step that it may claim at most. All others are kept as ignored.
HANDLED = {
    "payment.success": PaymentStatus.PROCESSING,
    "payment.failed": PaymentStatus.PENDING,  # a failure that is not proved: the money may still come
    "transaction.successful": PaymentStatus.PROCESSING,
    "transaction.failed": PaymentStatus.PENDING,
    "transaction.pending": PaymentStatus.PENDING,
}
FAILURES = ("payment.failed", "transaction.failed")
NO_PAYMENTS = ("payout.", "refund.")

UNNAMED = "unnamed"  # the type of an event without a name that we can read

# `paid_at` comes without a zone ("2022-08-08 13:59:23", an hour ahead of UTC) and then says nothing.
TIMES = ("paid_at", "updated_at", "created_at", "createdAt")


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds, with the id that we give it; raise RequestRefused when it is not JSON.

    An envelope of any other shape is kept too: those that SaySwitch will send are not all documented.
    """
    payload = read_json_object(body)
    data = mapping(payload.get("data"))
    names = (data.get(name) for name in ("refundReference", "refund_reference", "reference", "id"))
    name = next((said for each in names if (said := identifier_or_number(each))), None)
    event_type = _type(payload)
    parts = None if event_type == UNNAMED else event_type, name, identifier(data.get("status")) or "-"
    return payload | {MADE_EVENT_ID: made_event_id(body, *parts)}


def translate(payload: dict[str, Any], account: str) -> Event:  # noqa: ARG001 - its events say all that is needed
    """Say in our words what an event of `read_event` says; never fails, whatever it holds."""
    event_type = _type(payload)
    data = mapping(payload.get("data"))
    facts: tuple[PaymentFact, ...] = ()
    ignored_because = refused_because = None
    if event_type not in HANDLED:
        ignored_because = _not_handled(event_type)
    else:
        try:
            facts = (_fact(event_type, data),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload[MADE_EVENT_ID],
        type=event_type,
        occurred_at=first_moment(data, *TIMES),
        livemode=livemode_of_domain(data.get("domain")),
        facts=facts,
        reference=_reference(data) or identifier_or_number(data.get("id")),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def _fact(event_type: str, data: Mapping[str, Any]) -> PaymentFact:
    currency = data.get("currency")
    asked = data.get("requested_amount")  # `amount` has the fee in it where the customer pays that
    fee_minor = minor_of_major_or_none(data.get("fees"), currency)
    return PaymentFact(
        objects=object_names(("transaction", data.get("id")), ("reference", data.get("reference"))),
        status=HANDLED[event_type],
        amount_minor=minor_of_major_or_none(data.get("amount") if asked is None else asked, currency),
        currency=currency_code(currency),
        fee_minor=fee_minor,
        fee_currency=None if fee_minor is None else currency_code(currency),
        method=text(data.get("channel")),
        reference=_reference(data),
        customer_ref=identifier(mapping(data.get("customer")).get("customer_code")),
        failure_message=_failure_message(data) if event_type in FAILURES else None,
        metadata=plain_metadata(data.get("metadata")),
    )


def _type(payload: Mapping[str, Any]) -> str:
    """Return the name of an event: its `type`, or what it notifies of and how that went, as "payout.failed"."""
    notify, outcome = identifier(payload.get("notify")), identifier(payload.get("notifyType"))
    if notify:
        return f"{notify}.{outcome}" if outcome else notify
    return identifier(payload.get("type")) or UNNAMED


def _reference(data: Mapping[str, Any]) -> str | None:
    return identifier_or_number(data.get("reference"))


def _failure_message(data: Mapping[str, Any]) -> str | None:
    return text(data.get("gateway_response")) or text(data.get("message"))


def _not_handled(event_type: str) -> str:
    if event_type == UNNAMED:
        return "the event has no name: no type, and no notify"
    if event_type.startswith(NO_PAYMENTS):
        return f"not a payment event: {event_type}"
    return f"event type not handled: {event_type}"

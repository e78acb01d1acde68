"""SaySwitch's events in our words.

Its documents print the body of a payout's event alone. They name two envelopes, and both are read:

    {"type": "payment.success", "data": {…}}
    {"notify": "transaction", "notifyType": "successful", "data": {…}}

A webhook of SaySwitch is a hint; the proof is what its API answers about the same reference, by which alone its own
plugin goes. So what an event says is kept as said, and its step is never final: a payment is processing at most, a
refund and a payout are pending. They are completed, settled or failed by the answer of the API and by nothing else.
That holds for payouts too, whose body is documented: nothing documented says that their webhook is more than a hint,
and an answer to ask for (`GET /payout/{reference}`) there is.

Amounts are decimal numbers of major units: of 10.12 naira, 10 were asked and 0.12 are the fee.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused
from gatehouse.facts import (
    CustomerFact,
    Event,
    Fact,
    Need,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.gateways import refetch
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
    said_for_an_app,
    text,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object

NAME = "sayswitch"
ASKABLE = frozenset(("reference", "refund", "payout"))  # a payment is asked about by its reference alone

# The events of payments, and the step that each may claim at most.
PAYMENTS = {
    "payment.success": PaymentStatus.PROCESSING,
    "payment.failed": PaymentStatus.PENDING,  # a failure that is not proved: the money may still come
    "payment.pending": PaymentStatus.PENDING,
    "transaction.successful": PaymentStatus.PROCESSING,
    "transaction.failed": PaymentStatus.PENDING,
    "transaction.pending": PaymentStatus.PENDING,
}
REFUNDS = ("refund.successful", "refund.processed", "refund.failed", "refund.pending")
PAYOUTS = (
    *("payout.successful", "payout.failed", "payout.pending", "payout.reversed"),
    *("transfer.success", "transfer.failed"),  # so an older version of its documents calls them
)
HANDLED = (*PAYMENTS, *REFUNDS, *PAYOUTS)  # all others are kept as ignored
FAILURES = ("failed", "reversed")  # how the names of those end that may say why

# What an event hints at, by the end of its name.
HINTS = {
    "success": "paid",
    "successful": "paid",
    "processed": "paid",
    "failed": "failed",
    "reversed": "failed",
    "pending": "pending",
}

REFUND_REFERENCE = "RF_"  # how the reference of a refund begins, where SaySwitch makes it
UNNAMED = "unnamed"  # the type of an event without a name that we can read

# `paid_at` comes without a zone ("2022-08-08 13:59:23", an hour ahead of UTC) and then says nothing.
TIMES = ("paid_at", "updated_at", "created_at", "createdAt")
TIMES_OF_BIRTH = ("created_at", "createdAt")
PAYOUT_WORDS = ("narration", "paymentMode", "stamp_duty")  # what else is told of a payout, and names no account


class Said(NamedTuple):
    """What one event says: its name, the object it speaks of, and whose that is."""

    type: str
    object: Mapping[str, Any]
    customer: Mapping[str, Any]


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds, with the id that we give it; raise RequestRefused when it is not JSON.

    An envelope of any other shape is kept too: those that SaySwitch will send are not all documented.
    """
    payload = read_json_object(body)
    data = mapping(payload.get("data"))
    name = _first_name(data, "refundReference", "refund_reference", "reference", "id")
    event_type = _type(payload)
    parts = None if event_type == UNNAMED else event_type, name, identifier(data.get("status")) or "-"
    return payload | {MADE_EVENT_ID: made_event_id(body, *parts)}


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever it holds."""
    data = mapping(payload.get("data"))
    # The API's answers have the customer beside the data; where the events have it is not documented.
    said = Said(_type(payload), data, mapping(data.get("customer")) or mapping(payload.get("customer")))
    facts: tuple[Fact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = _not_handled(said.type)
    else:
        try:
            facts = _facts(said)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload[MADE_EVENT_ID],
        type=said.type,
        occurred_at=first_moment(data, *TIMES) or first_moment(payload, "created"),
        livemode=livemode_of_domain(data.get("domain")),
        facts=facts,
        needs=_needs(said, account, payload[MADE_EVENT_ID]) if facts else (),
        reference=_first_name(data, "reference", "refundReference", "refund_reference", "id"),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def _facts(said: Said) -> tuple[Fact, ...]:
    if said.type in REFUNDS:
        return _refund(said), *_customers(said)
    if said.type in PAYOUTS:
        return _payout(said), *_customers(said)
    return _payment(said), *_customers(said)


def _needs(said: Said, account: str, event_id: str) -> tuple[Need, ...]:
    """Return the job that asks about what an event speaks of, and what the event hints at."""
    data = said.object
    currency, asked = data.get("currency"), data.get("requested_amount")
    hints: dict[str, Any] = {
        "event_says": HINTS[said.type.partition(".")[2]],
        "event_amount_minor": minor_of_major_or_none(data.get("amount") if asked is None else asked, currency),
    }
    if said.type in REFUNDS:
        kind, name = "refund", _own_reference_of_refund(data)
        hints["payment_reference"] = None if data.get("reference") == name else identifier(data.get("reference"))
    elif said.type in PAYOUTS:
        kind, name = "payout", identifier_or_number(data.get("reference"))
    else:
        kind, name = "reference", identifier_or_number(data.get("reference"))
    return (refetch(NAME, account, kind, name, event_id, **hints),) if name else ()


def _own_reference_of_refund(data: Mapping[str, Any]) -> str | None:
    own = identifier_or_number(_either(data, "refundReference", "refund_reference"))
    if own:
        return own
    said = identifier_or_number(data.get("reference"))
    return said if said and said.startswith(REFUND_REFERENCE) else None


def _payment(said: Said) -> PaymentFact:
    data = said.object
    currency = data.get("currency")
    asked = data.get("requested_amount")  # `amount` has the fee in it where the customer pays that
    fee_minor = minor_of_major_or_none(data.get("fees"), currency)
    metadata = plain_metadata(data.get("metadata"))
    return PaymentFact(
        objects=object_names(("transaction", data.get("id")), ("reference", data.get("reference"))),
        status=PAYMENTS[said.type],
        amount_minor=minor_of_major_or_none(data.get("amount") if asked is None else asked, currency),
        currency=currency_code(currency),
        fee_minor=fee_minor,
        fee_currency=None if fee_minor is None else currency_code(currency),
        method=text(data.get("channel")),
        reference=identifier_or_number(data.get("reference")),
        customer_ref=identifier(said.customer.get("customer_code")),
        email=text(said.customer.get("email")),
        failure_message=_failure_message(said),
        metadata=metadata,
        **{"plan": identifier_or_number(data.get("plan")), **said_for_an_app(metadata)},
    )


def _refund(said: Said) -> RefundFact:
    """Return the fact of a refund; events write its fields in one way, the API in two others."""
    data = said.object
    own, parent = _either(data, "refundReference", "refund_reference"), data.get("reference")
    if not own and str(parent).startswith(REFUND_REFERENCE):  # as `POST /refund` answers
        own, parent = parent, None
    payment = (("transaction", data.get("transaction_id")), ("reference", parent))
    return RefundFact(
        objects=object_names(("refund", own), ("refund_id", _either(data, "refund_id", "id"))),
        payment=tuple(ObjectName(kind, found) for kind, value in payment if (found := identifier_or_number(value))),
        status=RefundStatus.PENDING,
        amount_minor=minor_of_major_or_none(data.get("amount"), data.get("currency")),
        currency=currency_code(data.get("currency")),
        reason=_trimmed(_either(data, "merchantNote", "merchant_note")),
        failure_message=_failure_message(said),
        reference=identifier_or_number(own),
        refunded_at=first_moment(data, *TIMES_OF_BIRTH),
    )


def _payout(said: Said) -> PayoutFact:
    data = said.object
    return PayoutFact(
        objects=object_names(("payout", data.get("reference")), ("payout_id", data.get("id"))),
        kind="payout",
        status=PayoutStatus.PENDING,
        amount_minor=minor_of_major_or_none(data.get("amount"), data.get("currency")),
        currency=currency_code(data.get("currency")),
        fee_minor=minor_of_major_or_none(data.get("fee"), data.get("currency")),
        batch_ref=identifier_or_number(data.get("batch_id")),
        reference=identifier_or_number(data.get("reference")),
        failure_message=_failure_message(said),
        metadata=plain_metadata({word: data.get(word) for word in PAYOUT_WORDS}),
    )


def _customers(said: Said) -> tuple[CustomerFact, ...]:
    """Return what the event says of its customer, where it says more than a code."""
    customer = said.customer
    code = identifier(customer.get("customer_code"))
    names = (_trimmed(customer.get(name)) for name in ("first_name", "last_name"))
    email, phone = text(customer.get("email")), text(customer.get("phone"))
    name = text(" ".join(each for each in names if each))
    if not code or not (email or phone or name):
        return ()
    metadata = plain_metadata(customer.get("metadata"))
    app = said_for_an_app(metadata, plain_metadata(said.object.get("metadata")))
    customers = (ObjectName("customer", code),)
    return (CustomerFact(customers, email, name, phone, app.get("app"), app.get("user_id"), metadata=metadata),)


def _type(payload: Mapping[str, Any]) -> str:
    """Return the name of an event: its `type`, or what it notifies of and how that went, as "payout.failed"."""
    notify, outcome = identifier(payload.get("notify")), identifier(payload.get("notifyType"))
    if notify:
        return f"{notify}.{outcome}" if outcome else notify
    return identifier(payload.get("type")) or UNNAMED


def _first_name(data: Mapping[str, Any], *names: str) -> str | None:
    return next((said for name in names if (said := identifier_or_number(data.get(name)))), None)


def _either(data: Mapping[str, Any], *names: str) -> object:
    return next((value for name in names if (value := data.get(name))), None)


def _trimmed(sentence: object) -> str | None:
    return text(sentence.strip()) if isinstance(sentence, str) else None


def _failure_message(said: Said) -> str | None:
    if not said.type.endswith(FAILURES):
        return None
    return text(said.object.get("gateway_response")) or text(said.object.get("message"))


def _not_handled(event_type: str) -> str:
    if event_type == UNNAMED:
        return "the event has no name: no type, and no notify"
    return f"event type not handled: {event_type}"

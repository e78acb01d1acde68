"""MX Merchant's events in our words.

MX Merchant signs nothing, so an event is a hint: what it says is kept as said, and its step is never final. A payment
is processing at most, a refund and a deposit are pending; they are completed, settled or failed by what the API answers
about them and by nothing else. So each event of a payment or a refund leaves a job that asks, and says what the event
hints at: it is confirmed where the answer says the same. Of which payment a refund is, only the API says. It says
nothing of disputes: what a Chargeback tells is all that can be known, and so its own word for where the dispute stands
is taken.

No sample of a Chargeback or a Deposit is public. They are read as far as they are like the others: flat, with an id.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
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
    MOST_ID_CHARACTERS,
    identifier,
    identifier_or_number,
    minor_of_major_or_none,
    object_names,
    plain_metadata,
    said_for_an_app,
    text,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object

NAME = "mx_merchant"
ASKABLE = frozenset(("payment", "refund", "invoice", "customer"))

# The events of payments, and the step that each may claim at most.
PAYMENTS = {
    "PaymentSuccess": PaymentStatus.PROCESSING,
    "PaymentFail": PaymentStatus.PENDING,  # a failure that is not proved: the money may still come
}
HANDLED = (*PAYMENTS, "RefundCreated", "Chargeback", "Deposit")  # all others are kept as ignored
GIVES_BACK = "Return"  # the transactionTypeName of a refund
WORDS_OF_HINTS = {"PaymentSuccess": "paid", "PaymentFail": "failed", "RefundCreated": "refunded"}

# These happen once to a payment. A Chargeback comes again, under the same id, with each turn of the dispute.
HAPPEN_ONCE = ("PaymentSuccess", "PaymentFail", "RefundCreated")

# Which words MX Merchant has for where a dispute stands is not public. These are plain; with any other, or with none,
# somebody has to look at it.
DISPUTE_STATUSES = {
    "under review": DisputeStatus.UNDER_REVIEW,
    "in review": DisputeStatus.UNDER_REVIEW,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
    "closed": DisputeStatus.CLOSED,
}
ENDS = (DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.CLOSED)

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


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever it holds."""
    event_type = payload["eventType"]
    facts: tuple[Fact, ...] = ()
    ignored_because = refused_because = None
    if event_type not in HANDLED:
        ignored_because = f"event type not handled: {event_type}"
    else:
        try:
            facts = _facts(payload)
        except FactRefused as reason:
            refused_because = str(reason)
    if not facts and not refused_because:
        ignored_because = ignored_because or f"it names no id or no amount: {event_type}"
    return Event(
        event_id=payload[MADE_EVENT_ID],
        type=event_type,
        occurred_at=date_in_utc(payload.get("transactionDate")),
        livemode=None,
        facts=facts,
        needs=_needs(payload, account) if facts else (),
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


def _facts(payload: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return the facts of a handled event; none for a Chargeback or a Deposit that does not say enough."""
    event_type = payload["eventType"]
    if event_type == "Chargeback":
        fact: Fact | None = _dispute(payload)
    elif event_type == "Deposit":
        fact = _deposit(payload)
    elif _is_refund(payload):
        fact = _refund(payload)
    else:
        fact = _payment(payload)
    return (fact, *_customers(payload)) if fact else ()


def _needs(payload: Mapping[str, Any], account: str) -> tuple[Need, ...]:
    """Return the job that asks about the payment or refund of an event; of any other nothing can be asked."""
    event_type, object_id = payload["eventType"], identifier_or_number(payload.get("id"))
    if event_type not in WORDS_OF_HINTS or object_id is None:
        return ()
    is_refund = _is_refund(payload)
    says = "refunded" if is_refund and event_type != "PaymentFail" else WORDS_OF_HINTS[event_type]
    amount_minor = minor_of_major_or_none(without_sign(payload.get("totalAmount")), CURRENCY)
    hints = {"event_says": says, "event_amount_minor": amount_minor}
    kind = "refund" if is_refund else "payment"
    return (refetch(NAME, account, kind, object_id, payload[MADE_EVENT_ID], **hints),)


def _is_refund(payload: Mapping[str, Any]) -> bool:
    return payload["eventType"] == "RefundCreated" or payload.get("transactionTypeName") == GIVES_BACK


def _payment(payload: Mapping[str, Any]) -> PaymentFact:
    metadata = plain_metadata(payload.get("customFields"))
    return PaymentFact(
        objects=object_names(("payment", payload.get("id"))),
        status=PAYMENTS[payload["eventType"]],
        **_amount(payload.get("totalAmount")),
        method=_method(payload.get("paymentType")),
        reference=identifier_or_number(payload.get("invoiceNumber")),
        customer_ref=identifier_or_number(payload.get("customerNumber")),
        invoice_ref=identifier_or_number(payload.get("invoiceId")),
        invoice_number=identifier_or_number(payload.get("invoiceNumber")),
        source=text(payload.get("source")),
        **_failure(payload),
        metadata=metadata,
        **said_for_an_app(metadata),
    )


def _refund(payload: Mapping[str, Any]) -> RefundFact:
    return RefundFact(
        objects=object_names(("refund", payload.get("id"))),
        status=RefundStatus.PENDING,
        **_amount(without_sign(payload.get("totalAmount"))),
        **_failure(payload),
        reference=identifier_or_number(payload.get("invoiceNumber")),
        refunded_at=date_in_utc(payload.get("transactionDate")),
        metadata=_metadata(payload),
    )


def _dispute(payload: Mapping[str, Any]) -> DisputeFact | None:
    dispute_id = identifier_or_number(payload.get("id"))
    if dispute_id is None:
        return None
    word = _trimmed(payload.get("status"))
    status = DISPUTE_STATUSES.get(word.lower() if word else "", DisputeStatus.NEEDS_RESPONSE)
    return DisputeFact(
        objects=(ObjectName("dispute", dispute_id),),
        status=status,
        **_amount(without_sign(_either(payload, "totalAmount", "amount"))),
        outcome=word if status in ENDS else None,
    )


def _deposit(payload: Mapping[str, Any]) -> PayoutFact | None:
    deposit_id, said = identifier_or_number(payload.get("id")), _amount(_either(payload, "totalAmount", "amount"))
    if deposit_id is None or said["amount_minor"] is None:
        return None
    return PayoutFact(objects=(ObjectName("payout", deposit_id),), kind="payout", status=PayoutStatus.PENDING, **said)


def _customers(payload: Mapping[str, Any]) -> tuple[CustomerFact, ...]:
    """Return what the event says of its customer, where it says more than a number."""
    number, name = identifier_or_number(payload.get("customerNumber")), _trimmed(payload.get("customer"))
    if not number or not name:
        return ()
    app = said_for_an_app(_metadata(payload))
    return (CustomerFact((ObjectName("customer", number),), name=name, app=app.get("app"), user_id=app.get("user_id")),)


def _amount(said: object) -> dict[str, Any]:
    amount_minor = minor_of_major_or_none(said, CURRENCY)
    return {"amount_minor": amount_minor, "currency": None if amount_minor is None else CURRENCY}


def without_sign(amount: object) -> object:
    """Return an amount that is negative because it goes back, a text or a number, as what goes back."""
    if isinstance(amount, str):
        return amount.removeprefix("-")
    return abs(amount) if isinstance(amount, (int, Decimal)) and not isinstance(amount, bool) else None


def _failure(payload: Mapping[str, Any]) -> dict[str, Any]:
    if payload["eventType"] != "PaymentFail":
        return {}
    return {
        "failure_code": identifier_or_number(payload.get("responseCode")),
        "failure_message": _trimmed(payload.get("responseMessage")),
    }


def _metadata(payload: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the merchant's own fields and where the payment was made (Recurring, Invoice, QuickPay, API …)."""
    own = plain_metadata(payload.get("customFields")) or {}
    return own | (plain_metadata({"source": payload.get("source")}) or {}) or None


def _method(payment_type: object) -> str | None:
    said = text(payment_type)  # Card, ACH
    return said.lower() if said else None


def _trimmed(sentence: object) -> str | None:
    return text(sentence.strip()) if isinstance(sentence, str) else None


def _either(payload: Mapping[str, Any], *names: str) -> object:
    return next((value for name in names if (value := payload.get(name)) is not None), None)

"""Paystack's events in our words.

A payment is a transaction to Paystack; the merchant chooses its reference or takes one of Paystack's making, and both
names lead to the payment. A reservation of money (preauthorization) has an id of its own and shares the reference with
the transaction that captures it.

A field that is missing, null or of another type says nothing, and Paystack's own samples have every kind: metadata may
be 0, "", null, an object or the JSON of one; an absent object is {}. Only money that is said to have come in must be
beyond doubt: when its amount or currency makes no sense, the event is refused, which keeps it as failed and says why.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    MOST_ID_CHARACTERS,
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    livemode_of_domain,
    mapping,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object
from gatehouse.money import EXPONENTS, MOST_MINOR

NAME = "paystack"

# Every event that becomes a fact, and the step that its name alone tells; the object's own status goes before it.
# All others are kept as ignored. `paymentrequest.success` and `invoice.update` tell of money too, but by a name that
# leads to no transaction: it comes in with its `charge.success`, and would be counted twice.
HANDLED = {
    "charge.success": PaymentStatus.COMPLETED,
    "bank.transfer.rejected": PaymentStatus.FAILED,
    "preauthorization.reserve.success": PaymentStatus.PROCESSING,
    "preauthorization.capture.success": PaymentStatus.COMPLETED,
    "preauthorization.capture.failed": PaymentStatus.FAILED,
    "preauthorization.release.success": PaymentStatus.CANCELLED,
    "preauthorization.release.failed": PaymentStatus.PROCESSING,
}

NO_PAYMENTS = ("charge.dispute.", "invoice.", "paymentrequest.", "refund.", "subscription.", "transfer.")

STATUSES = {
    "success": PaymentStatus.COMPLETED,
    "failed": PaymentStatus.FAILED,
    "reversed": PaymentStatus.REVERSED,
    "authorized": PaymentStatus.PROCESSING,
    "captured": PaymentStatus.COMPLETED,
    "capture_failed": PaymentStatus.FAILED,
    "released": PaymentStatus.CANCELLED,
    "release_failed": PaymentStatus.PROCESSING,
}

STATUS_REASONS = {
    PaymentStatus.CANCELLED: "the authorisation was released",
    PaymentStatus.REVERSED: "the transaction was reversed",
}

# Paystack writes every currency with two decimals, also those that ISO 4217 gives none: its own plugin for WooCommerce
# multiplies XOF and RWF by 100 like all others.
PAYSTACK_EXPONENT = 2
_WHOLE = re.compile("[0-9]{1,19}")  # `captured_amount` is a text, and so is the amount of some refunds

TIMES_OF_CHANGE = ("paid_at", "paidAt", "captured_at", "expired_at", "updated_at", "updatedAt")
TIMES_OF_BIRTH = ("created_at", "createdAt")
# Only these happen when their object is made. `created_at` in `subscription.not_renew` may lie years back.
BIRTHS = ("charge.success", "create", "created", "pending")


class Said(NamedTuple):
    """What one event says: its name, when it happened, and the object it speaks of."""

    type: str
    occurred_at: datetime | None
    object: Mapping[str, Any]


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds, with the id that we give it; raise RequestRefused when it holds none."""
    payload = read_json_object(body)
    if not identifier(payload.get("event")):
        raise _no_event(f'its "event" is not a text of 1 to {MOST_ID_CHARACTERS} characters')
    if not isinstance(payload.get("data"), (dict, list)):  # a list in subscription.expiring_cards
        raise _no_event('it has no "data"')
    return payload | {MADE_EVENT_ID: _event_id(payload, body)}


def translate(payload: dict[str, Any], account: str) -> Event:  # noqa: ARG001 - its events say all that is needed
    """Say in our words what an event of `read_event` says; never fails, whatever the object holds."""
    data = mapping(payload["data"])
    said = Said(payload["event"], _occurred_at(payload["event"], data), data)
    facts: tuple[PaymentFact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = _not_handled(said.type)
    else:
        try:
            facts = (_FACT_OF[said.type.partition(".")[0]](said),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload[MADE_EVENT_ID],
        type=said.type,
        occurred_at=said.occurred_at,
        livemode=_livemode(data),
        facts=facts,
        reference=_searched_by(data),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as Paystack counts it in the minor units of ISO 4217; raise FactRefused where it has none."""
    code = currency_code(currency)
    if code is None:
        raise FactRefused("the currency is missing or unknown")
    count = int(amount) if isinstance(amount, str) and _WHOLE.fullmatch(amount) else amount
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MOST_MINOR:
        raise FactRefused("the amount is missing or not a whole number of minor units")
    if EXPONENTS[code] > PAYSTACK_EXPONENT:
        raise FactRefused(f"Paystack does not say how it counts {code}")
    minor, rest = divmod(count, int(10 ** (PAYSTACK_EXPONENT - EXPONENTS[code])))
    if rest:
        raise FactRefused(f"the amount {count} is not a whole number of {code}")
    return minor


def _transaction_fact(said: Said) -> PaymentFact:
    charge = said.object
    status = _status(said)
    completed = status is PaymentStatus.COMPLETED
    asked = charge.get("requested_amount")  # less than came in where the customer pays the fee
    return PaymentFact(
        objects=object_names(("transaction", charge.get("id")), ("reference", charge.get("reference"))),
        status=status,
        **_amounts(charge.get("amount") if asked is None else asked, charge.get("amount"), charge, completed=completed),
        **_fee(charge.get("fees"), charge.get("currency")),
        method=text(charge.get("channel")),
        failure_message=text(charge.get("gateway_response")) if status is PaymentStatus.FAILED else None,
        **_what_both_say(said, status),
    )


def _preauthorization_fact(said: Said) -> PaymentFact:
    reserved = said.object
    status = _status(said)
    completed = status is PaymentStatus.COMPLETED
    transaction = mapping(reserved.get("transaction"))
    transaction_id = reserved.get("transaction_id") or transaction.get("id")
    return PaymentFact(
        objects=object_names(
            ("preauthorization", reserved.get("id")),
            ("transaction", transaction_id),
            ("reference", reserved.get("reference")),
        ),
        status=status,
        **_amounts(reserved.get("amount"), reserved.get("captured_amount"), reserved, completed=completed),
        # `fees` beside it is what the reservation would cost; 0 once it is captured.
        **_fee(transaction.get("fees"), reserved.get("currency")),
        method=text(mapping(reserved.get("authorization")).get("channel")),
        failure_message=text(reserved.get("message")) if status is PaymentStatus.FAILED else None,
        **_what_both_say(said, status),
    )


def _rejected_transfer_fact(said: Said) -> PaymentFact:
    """Return the fact of a transfer that was sent back; its amount is what was sent, not what was asked."""
    transfer = mapping(said.object.get("bank_transfer"))
    return PaymentFact(
        objects=object_names(("transaction", transfer.get("transaction_id"))),
        status=HANDLED[said.type],
        method="bank_transfer",
        customer_ref=_customer(said.object),
        failure_code=text(transfer.get("message_type")),
        failure_message=text(transfer.get("message")),
    )


_FACT_OF: dict[str, Callable[[Said], PaymentFact]] = {
    "charge": _transaction_fact,
    "preauthorization": _preauthorization_fact,
    "bank": _rejected_transfer_fact,
}


def _what_both_say(said: Said, status: PaymentStatus) -> dict[str, Any]:
    return {
        "reference": _reference(said.object),
        "customer_ref": _customer(said.object),
        "status_reason": STATUS_REASONS.get(status),
        "completed_at": said.occurred_at if status is PaymentStatus.COMPLETED else None,
        "metadata": plain_metadata(said.object.get("metadata")),
    }


def _status(said: Said) -> PaymentStatus:
    """Return the step of the object; a word that we do not know is not final, whatever the event is called."""
    word = text(said.object.get("status"))
    return STATUSES.get(word, PaymentStatus.PROCESSING) if word else HANDLED[said.type]


def _amounts(asked: object, came_in: object, holder: Mapping[str, Any], *, completed: bool) -> dict[str, Any]:
    """Return amount, received amount and currency; of money that came in, all of them or FactRefused."""
    currency = holder.get("currency")
    return {
        "amount_minor": iso_minor(asked, currency) if completed else _minor_or_none(asked, currency),
        "received_minor": iso_minor(came_in, currency) if completed else None,
        "currency": currency_code(currency),
    }


def _fee(fee: object, currency: object) -> dict[str, Any]:
    fee_minor = _minor_or_none(fee, currency)
    return {} if fee_minor is None else {"fee_minor": fee_minor, "fee_currency": currency_code(currency)}


def _minor_or_none(amount: object, currency: object) -> int | None:
    try:
        return iso_minor(amount, currency)
    except FactRefused:  # it was not said, or says nothing that can be counted; no money depends on it
        return None


def _event_id(payload: Mapping[str, Any], body: bytes) -> str:
    """Return the id that we give an event. Paystack gives none, and sends the very same bytes again.

    A charge or a dispute is told from others by its own id and status: so it stays one event when Paystack writes it
    anew. For the rest only the whole body will do: two refunds of one transaction may differ in nothing else.
    """
    data = mapping(payload["data"])
    parts = [payload["event"], identifier_or_number(data.get("id")), identifier(data.get("status"))]
    return made_event_id(body, *parts) if payload["event"].startswith("charge.") else made_event_id(body, None)


def _occurred_at(event_type: str, data: Mapping[str, Any]) -> datetime | None:
    birth = event_type in BIRTHS or event_type.rpartition(".")[2] in BIRTHS
    return first_moment(data, *TIMES_OF_CHANGE, *(TIMES_OF_BIRTH if birth else ()))


def _livemode(data: Mapping[str, Any]) -> bool | None:
    return livemode_of_domain(data.get("domain") or mapping(data.get("customer")).get("domain"))


def _reference(data: Mapping[str, Any]) -> str | None:
    return identifier_or_number(data.get("reference"))


def _customer(data: Mapping[str, Any]) -> str | None:
    return identifier(mapping(data.get("customer")).get("customer_code"))


def _searched_by(data: Mapping[str, Any]) -> str | None:
    """Return the name by which people look for the event: the transaction's where it speaks of one."""
    names = (
        data.get("reference"),
        data.get("transaction_reference"),
        mapping(data.get("transaction")).get("reference"),
        mapping(data.get("bank_transfer")).get("transaction_id"),
        *(data.get(name) for name in ("subscription_code", "invoice_code", "request_code", "id")),
    )
    return next((said for name in names if (said := identifier_or_number(name))), None)


def _not_handled(event_type: str) -> str:
    if event_type.startswith(NO_PAYMENTS):
        return f"not a payment event: {event_type}"
    return f"event type not handled: {event_type}"


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of Paystack: {reason}", code="NOT_AN_EVENT")

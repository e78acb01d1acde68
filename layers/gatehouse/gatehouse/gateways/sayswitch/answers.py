"""What SaySwitch's API answers about payments, refunds and payouts, in our words: the proof of what its events hint at.

The answer of verify has the customer, the card and the plan beside `data`. Amounts are decimal numbers of major units
by every number that was seen, and two pages of its documents say otherwise: so an account may say `amount_unit`: minor.
"""

from collections.abc import Callable, Mapping
from typing import Any

from gatehouse.errors import FactRefused
from gatehouse.facts import (
    CustomerFact,
    Fact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    mapping,
    minor_of_major,
    minor_of_major_or_none,
    object_names,
    plain_metadata,
    said_for_an_app,
    text,
)
from gatehouse.money import EXPONENTS

UNITS = ("major", "minor")

_PAYMENT_STEPS = {
    "success": PaymentStatus.COMPLETED,
    "successful": PaymentStatus.COMPLETED,
    "completed": PaymentStatus.COMPLETED,
    "failed": PaymentStatus.FAILED,
    "abandoned": PaymentStatus.FAILED,
    "cancelled": PaymentStatus.CANCELLED,
    "canceled": PaymentStatus.CANCELLED,
    "reversed": PaymentStatus.REVERSED,
    "pending": PaymentStatus.PENDING,
    "processing": PaymentStatus.PROCESSING,
}
_REFUND_STEPS = {
    "success": RefundStatus.COMPLETED,
    "successful": RefundStatus.COMPLETED,
    "completed": RefundStatus.COMPLETED,
    "processed": RefundStatus.COMPLETED,
    "refunded": RefundStatus.COMPLETED,
    "failed": RefundStatus.FAILED,
    "cancelled": RefundStatus.CANCELLED,
    "pending": RefundStatus.PENDING,
    "processing": RefundStatus.PENDING,
}
_PAYOUT_STEPS = {
    "success": PayoutStatus.SETTLED,
    "successful": PayoutStatus.SETTLED,
    "completed": PayoutStatus.SETTLED,
    "failed": PayoutStatus.FAILED,
    "reversed": PayoutStatus.REVERSED,
    "cancelled": PayoutStatus.CANCELLED,
    "pending": PayoutStatus.PENDING,
    "processing": PayoutStatus.PENDING,
}
# What confirms a hint: the steps that the answer may say.
_CONFIRMING = {
    "paid": (
        *(PaymentStatus.COMPLETED, PaymentStatus.REVERSED, RefundStatus.COMPLETED),
        *(PayoutStatus.SETTLED, PayoutStatus.REVERSED),
    ),
    "failed": (
        *(PaymentStatus.FAILED, PaymentStatus.CANCELLED, RefundStatus.FAILED, RefundStatus.CANCELLED),
        *(PayoutStatus.FAILED, PayoutStatus.REVERSED, PayoutStatus.CANCELLED),
    ),
}

_Object = Mapping[str, Any]


def payment_facts(answer: _Object, unit: str) -> tuple[Fact, ...]:
    """Return the facts of a verified payment, and of its customer."""
    data, customer = mapping(answer.get("data")), _customer_of(answer)
    currency, read = data.get("currency"), _reader(unit)
    asked = data.get("requested_amount")
    amount_minor = read(data.get("amount") if asked is None else asked, currency)
    if amount_minor is None:
        raise FactRefused("the amount is missing, or no decimal number of a currency that we know")
    status = _PAYMENT_STEPS.get(_word(data))
    fee_minor = read(data.get("fees"), currency)
    has_failed = status is PaymentStatus.FAILED
    metadata = plain_metadata(data.get("metadata"))
    paid_at = first_moment(data, "paid_at")
    fact = PaymentFact(
        objects=object_names(("transaction", data.get("id")), ("reference", data.get("reference"))),
        status=status,
        amount_minor=amount_minor,
        received_minor=amount_minor if status is PaymentStatus.COMPLETED else None,
        currency=currency_code(currency),
        fee_minor=fee_minor,
        fee_currency=None if fee_minor is None else currency_code(currency),
        method=text(data.get("channel")),
        reference=identifier_or_number(data.get("reference")),
        customer_ref=identifier(customer.get("customer_code")),
        email=text(customer.get("email")),
        failure_message=text(data.get("gateway_response")) if has_failed else None,
        status_reason=_word(data) if status in (PaymentStatus.CANCELLED, PaymentStatus.REVERSED) else None,
        completed_at=paid_at if status is PaymentStatus.COMPLETED else None,
        metadata=metadata,
        **{"plan": identifier_or_number(data.get("plan") or answer.get("plan")), **said_for_an_app(metadata)},
    )
    return (fact, *_customers(customer))


def refund_facts(data: _Object, unit: str, payment_reference: str | None = None) -> tuple[Fact, ...]:
    """Return the fact of a refund of the API; it names its payment by number, and the event by reference."""
    read, currency = _reader(unit), data.get("currency")
    parents = (("transaction", data.get("transaction_id")), ("reference", payment_reference))
    status = _REFUND_STEPS.get(_word(data))
    return (
        RefundFact(
            objects=object_names(("refund", _own_reference(data)), ("refund_id", data.get("id"))),
            payment=tuple(ObjectName(kind, name) for kind, said in parents if (name := identifier_or_number(said))),
            status=status,
            amount_minor=read(data.get("amount"), currency),
            currency=currency_code(currency),
            reason=_trimmed(data.get("merchant_note")),
            reference=identifier_or_number(_own_reference(data)),
            refunded_at=first_moment(data, "created_at"),
        ),
    )


def payout_facts(data: _Object, unit: str) -> tuple[Fact, ...]:
    """Return the fact of a payout of the API."""
    read, currency = _reader(unit), data.get("currency")
    status = _PAYOUT_STEPS.get(_word(data))
    amount_minor = read(data.get("amount"), currency)
    return (
        PayoutFact(
            objects=object_names(("payout", data.get("reference")), ("payout_id", data.get("id"))),
            kind="payout",
            status=status,
            amount_minor=amount_minor,
            currency=currency_code(currency),
            fee_minor=read(data.get("fee"), currency),
            reversed_minor=amount_minor if status is PayoutStatus.REVERSED else None,
            batch_ref=identifier_or_number(data.get("batch_id")),
            reference=identifier_or_number(data.get("reference")),
            failure_message=text(data.get("gateway_response")) if status is PayoutStatus.FAILED else None,
        ),
    )


def confirms(fact: Fact, event_says: str, event_amount_minor: int | None, unit: str) -> bool:
    """Return whether an answer says what an event has hinted: how it went, and the amount.

    An event that says no more than pending hints at nothing that could be wrong but its amount. Amounts are compared
    where both are of the same unit; an event's are read as major units.
    """
    amount_minor = getattr(fact, "amount_minor", None)
    if unit == "major" and event_amount_minor is not None and amount_minor is not None:
        return event_amount_minor == amount_minor and _goes_with(fact, event_says)
    return _goes_with(fact, event_says)


def _goes_with(fact: Fact, event_says: str) -> bool:
    steps = _CONFIRMING.get(event_says)
    return steps is None or getattr(fact, "status", None) in steps


def _own_reference(data: _Object) -> object:
    return data.get("refund_reference") or data.get("reference")  # as the list, and as `POST /refund` answers


def _customer_of(answer: _Object) -> _Object:
    return mapping(answer.get("customer")) or mapping(mapping(answer.get("data")).get("customer"))


def _customers(customer: _Object) -> tuple[CustomerFact, ...]:
    code = identifier(customer.get("customer_code"))
    parts = (_trimmed(customer.get(word)) for word in ("first_name", "last_name"))
    name, email = text(" ".join(each for each in parts if each)), text(customer.get("email"))
    phone = text(customer.get("phone"))
    if not code or not (name or email or phone):
        return ()
    return (CustomerFact((ObjectName("customer", code),), email=email, name=name, phone=phone),)


def _reader(unit: str) -> Callable[[object, object], int | None]:
    return _of_minor_units if unit == "minor" else minor_of_major_or_none


def _of_minor_units(amount: object, currency: object) -> int | None:
    """Return an amount that is written in the smallest unit of its currency; None for one that is no whole number."""
    code = currency_code(currency)
    try:
        major = minor_of_major(amount, currency)
    except FactRefused:
        return None
    whole, part = divmod(major, 10 ** EXPONENTS[code or ""])
    return None if part else whole


def _word(data: _Object) -> str:
    said = data.get("status")
    return said.strip().lower() if isinstance(said, str) else ""


def _trimmed(sentence: object) -> str | None:
    return text(sentence.strip()) if isinstance(sentence, str) else None

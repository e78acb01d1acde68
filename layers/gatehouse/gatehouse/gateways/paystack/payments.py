"""Paystack's payments: transactions, reservations of money, and transfers that were sent back.

The merchant chooses the reference of a transaction or takes one of Paystack's making, and both its names lead to the
payment. A reservation (preauthorization) has an id of its own and shares the reference with the transaction that
captures it.

Only money that is said to have come in must be beyond doubt: when its amount or currency makes no sense, it is refused.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gatehouse.errors import FactRefused
from gatehouse.facts import Fact, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    mapping,
    object_names,
    plain_metadata,
    said_for_an_app,
    text,
)
from gatehouse.gateways.paystack.amounts import iso_minor, minor_or_none
from gatehouse.gateways.paystack.customers import app_of_customer, customer_facts, payer
from gatehouse.gateways.paystack.times import TIMES_OF_BIRTH, TIMES_OF_CHANGE

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


def transaction_facts(
    charge: Mapping[str, Any], *, named: PaymentStatus, refunded_minor: int | None = None, is_refunded: bool = False
) -> tuple[Fact, ...]:
    """Return the facts of a transaction; `named` is its step where it says none itself.

    A transaction whose refunds have given back all of it is `reversed` to Paystack; its money did come in.
    """
    status = _status(charge, named)
    if status is PaymentStatus.REVERSED and is_refunded:
        status = PaymentStatus.COMPLETED
    completed = status is PaymentStatus.COMPLETED
    asked = charge.get("requested_amount")  # less than came in where the customer pays the fee
    payment = PaymentFact(
        objects=object_names(("transaction", charge.get("id")), ("reference", charge.get("reference"))),
        status=status,
        **_amounts(charge.get("amount") if asked is None else asked, charge.get("amount"), charge, completed=completed),
        refunded_minor=refunded_minor,
        **_fee(charge.get("fees"), charge.get("currency")),
        method=text(charge.get("channel")),
        failure_message=text(charge.get("gateway_response")) if status is PaymentStatus.FAILED else None,
        **_what_both_say(charge, status, first_moment(charge, *TIMES_OF_CHANGE, *TIMES_OF_BIRTH)),
    )
    return (payment, *customer_facts(charge))


def preauthorization_facts(reserved: Mapping[str, Any], *, named: PaymentStatus) -> tuple[Fact, ...]:
    """Return the facts of money that was reserved, and then captured or released."""
    status = _status(reserved, named)
    completed = status is PaymentStatus.COMPLETED
    transaction = mapping(reserved.get("transaction"))
    transaction_id = reserved.get("transaction_id") or transaction.get("id")
    payment = PaymentFact(
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
        **_what_both_say(reserved, status, first_moment(reserved, *TIMES_OF_CHANGE)),
    )
    return (payment, *customer_facts(reserved))


def rejected_transfer_facts(data: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return the facts of a transfer that was sent back; its amount is what was sent, not what was asked."""
    transfer = mapping(data.get("bank_transfer"))
    payment = PaymentFact(
        objects=object_names(("transaction", transfer.get("transaction_id"))),
        status=PaymentStatus.FAILED,
        method="bank_transfer",
        **payer(data),
        failure_code=text(transfer.get("message_type")),
        failure_message=text(transfer.get("message")),
        **app_of_customer(mapping(data.get("customer"))),
    )
    return (payment, *customer_facts(data))


def payment_names(transaction_id: object, reference: object) -> tuple[ObjectName, ...]:
    """Return the names by which other objects lead to a transaction; none, where they name none."""
    try:
        return object_names(("transaction", transaction_id), ("reference", reference))
    except FactRefused:
        return ()


def plan_of(charge: Mapping[str, Any]) -> str | None:
    """Return the code of the plan that a transaction pays: a text in the API's answers, else in an object, or none."""
    plan = charge.get("plan")
    code = identifier(plan) or identifier(mapping(plan).get("plan_code"))
    return code or identifier(mapping(charge.get("plan_object")).get("plan_code"))


def _what_both_say(data: Mapping[str, Any], status: PaymentStatus, changed_at: datetime | None) -> dict[str, Any]:
    metadata = plain_metadata(data.get("metadata"))
    said = app_of_customer(mapping(data.get("customer"))) | said_for_an_app(metadata)
    return {
        "reference": identifier_or_number(data.get("reference")),
        **payer(data),
        "status_reason": STATUS_REASONS.get(status),
        "completed_at": changed_at if status is PaymentStatus.COMPLETED else None,
        "plan": plan_of(data),
        **said,
        "metadata": metadata,
    }


def _status(data: Mapping[str, Any], named: PaymentStatus) -> PaymentStatus:
    """Return the step of the object; a word that we do not know is not final, whatever the event is called."""
    word = text(data.get("status"))
    return STATUSES.get(word, PaymentStatus.PROCESSING) if word else named


def _amounts(asked: object, came_in: object, holder: Mapping[str, Any], *, completed: bool) -> dict[str, Any]:
    """Return amount, received amount and currency; of money that came in, all of them or FactRefused."""
    currency = holder.get("currency")
    return {
        "amount_minor": iso_minor(asked, currency) if completed else minor_or_none(asked, currency),
        "received_minor": iso_minor(came_in, currency) if completed else None,
        "currency": currency_code(currency),
    }


def _fee(fee: object, currency: object) -> dict[str, Any]:
    fee_minor = minor_or_none(fee, currency)
    return {} if fee_minor is None else {"fee_minor": fee_minor, "fee_currency": currency_code(currency)}

"""Paystack's transfers: money from the merchant's balance to somebody's account."""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import Fact, PayoutFact, PayoutStatus
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    mapping,
    object_names,
    text,
)
from gatehouse.gateways.paystack.amounts import iso_minor, minor_or_none
from gatehouse.gateways.paystack.times import TIMES_OF_CHANGE

STATUSES = {
    "success": PayoutStatus.SETTLED,
    "failed": PayoutStatus.FAILED,
    "blocked": PayoutStatus.FAILED,
    "rejected": PayoutStatus.FAILED,
    "abandoned": PayoutStatus.CANCELLED,  # nobody gave the one-time password
    "reversed": PayoutStatus.REVERSED,
}


def transfer_facts(transfer: Mapping[str, Any], *, named: PayoutStatus = PayoutStatus.PENDING) -> tuple[Fact, ...]:
    """Return the fact of a transfer; `named` is its step where it says none itself.

    Its `reason` is what the sender writes to the receiver, and never why it failed.
    """
    status = _status(transfer, named)
    currency = transfer.get("currency")
    has_moved = status in (PayoutStatus.SETTLED, PayoutStatus.REVERSED)
    amount_minor = (iso_minor if has_moved else minor_or_none)(transfer.get("amount"), currency)
    is_settled = status is PayoutStatus.SETTLED
    fact = PayoutFact(
        objects=object_names(
            ("transfer", transfer.get("transfer_code")), ("transfer_reference", transfer.get("reference"))
        ),
        kind="transfer",
        status=status,
        amount_minor=amount_minor,
        currency=currency_code(currency),
        fee_minor=minor_or_none(transfer.get("fee_charged"), currency),
        reversed_minor=amount_minor if status is PayoutStatus.REVERSED else None,
        destination=identifier(mapping(transfer.get("recipient")).get("recipient_code")),
        reference=identifier_or_number(transfer.get("reference")),
        settled_at=first_moment(transfer, "transferred_at", *(TIMES_OF_CHANGE if is_settled else ())),
        failure_message=text(transfer.get("gateway_response")) if status is PayoutStatus.FAILED else None,
    )
    return (fact,)


def _status(transfer: Mapping[str, Any], named: PayoutStatus) -> PayoutStatus:
    """Return the step of a transfer; a word that we do not know is not final (pending, processing, otp, queued)."""
    word = text(transfer.get("status"))
    return STATUSES.get(word, PayoutStatus.PENDING) if word else named

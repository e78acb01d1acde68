"""Paystack's disputes: https://paystack.com/docs/payments/manage-disputes.

The merchant accepts or declines a claim in time, or Paystack accepts it for them (`auto-accepted`). Both of the latter
give the customer the money back.
"""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import DisputeFact, DisputeStatus, Fact
from gatehouse.gateways.fields import currency_code, first_moment, mapping, object_names, text
from gatehouse.gateways.paystack.amounts import minor_or_none
from gatehouse.gateways.paystack.customers import customer_facts
from gatehouse.gateways.paystack.payments import payment_names
from gatehouse.gateways.paystack.times import born_at

STATUSES = {
    "awaiting-merchant-feedback": DisputeStatus.NEEDS_RESPONSE,
    "awaiting-bank-feedback": DisputeStatus.UNDER_REVIEW,
    "pending": DisputeStatus.UNDER_REVIEW,
    "resolved": DisputeStatus.CLOSED,
    "archived": DisputeStatus.CLOSED,
}
RESOLUTIONS = {
    "merchant-accepted": DisputeStatus.LOST,
    "auto-accepted": DisputeStatus.LOST,
    "declined": DisputeStatus.WON,
}


def dispute_facts(dispute: Mapping[str, Any], *, named: DisputeStatus | None = None) -> tuple[Fact, ...]:
    """Return the facts of a dispute; `named` is its state where it says none that we know."""
    transaction = mapping(dispute.get("transaction"))
    currency = dispute.get("currency") or transaction.get("currency")
    reference = transaction.get("reference") or dispute.get("transaction_reference")
    fact = DisputeFact(
        objects=object_names(("dispute", dispute.get("id"))),
        payment=payment_names(transaction.get("id"), reference),
        status=_status(dispute, named),
        amount_minor=minor_or_none(dispute.get("refund_amount"), currency),
        currency=currency_code(currency),
        reason=text(dispute.get("category")),
        outcome=text(dispute.get("resolution")),
        respond_by=first_moment(dispute, "dueAt", "due_at"),
        opened_at=born_at(dispute),
        closed_at=first_moment(dispute, "resolvedAt", "resolved_at"),
    )
    return (fact, *customer_facts(dispute))


def _status(dispute: Mapping[str, Any], named: DisputeStatus | None) -> DisputeStatus | None:
    status = STATUSES.get(text(dispute.get("status")) or "", named)
    if status is not DisputeStatus.CLOSED:
        return status
    return RESOLUTIONS.get(text(dispute.get("resolution")) or "", status)

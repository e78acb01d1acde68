"""Stripe's refunds and disputes: money that goes back."""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import DisputeFact, DisputeStatus, Fact, ObjectName, RefundFact, RefundStatus
from gatehouse.gateways.fields import currency_code, mapping, text
from gatehouse.gateways.stripe.amounts import iso_minor, minor_or_none
from gatehouse.gateways.stripe.shapes import (
    Said,
    entries,
    fee_in,
    id_of,
    merchants_metadata,
    merchants_reference,
    moment,
    named,
    payment_names,
    required_id,
)

# Every event about a refund alone, and the step that its name alone tells; the object's own status goes before it.
REFUND_STEPS = {
    "charge.refund.updated": None,
    "refund.created": None,
    "refund.failed": RefundStatus.FAILED,
    "refund.updated": None,
}
DISPUTE_EVENTS = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.updated",
)

_REFUND_STATUSES = {
    "pending": RefundStatus.PENDING,
    "requires_action": RefundStatus.PENDING,
    "succeeded": RefundStatus.COMPLETED,
    "canceled": RefundStatus.CANCELLED,
    "failed": RefundStatus.FAILED,
}
_DISPUTE_STATUSES = {
    "warning_needs_response": DisputeStatus.WARNING,
    "warning_under_review": DisputeStatus.UNDER_REVIEW,
    "warning_closed": DisputeStatus.CLOSED,
    "needs_response": DisputeStatus.NEEDS_RESPONSE,
    "under_review": DisputeStatus.UNDER_REVIEW,
    "charge_refunded": DisputeStatus.CLOSED,
    "prevented": DisputeStatus.CLOSED,
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
}
_ENDED = (DisputeStatus.CLOSED, DisputeStatus.WON, DisputeStatus.LOST)


def refund_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a refund says of itself."""
    required_id(said.object)
    return (refund_fact(said.object, payment_names(said.object), unless_said=REFUND_STEPS.get(said.type)),)


def refund_fact(
    refund: Mapping[str, Any],
    payment: tuple[ObjectName, ...],
    *,
    unless_said: RefundStatus | None = None,
    is_release: bool = False,
) -> RefundFact:
    """Return the fact of a refund; of money that went back, amount and currency or FactRefused.

    A release of what was authorised and never came in is a refund to Stripe before 2025-03-31. It gave nothing back:
    cancelled is the higher step, so it stays so, whatever its own events call it.
    """
    metadata = merchants_metadata(refund)
    status = _REFUND_STATUSES.get(text(refund.get("status")) or "", unless_said)
    if is_release or refund.get("reason") == "expired_uncaptured_charge":
        status = RefundStatus.CANCELLED
    currency = refund.get("currency")
    count = iso_minor if status is RefundStatus.COMPLETED else minor_or_none
    transaction = refund.get("balance_transaction")
    return RefundFact(
        objects=named("refund", refund),
        payment=payment,
        status=status,
        amount_minor=count(refund.get("amount"), currency),
        currency=currency_code(currency),
        fee_minor=fee_in([transaction], currency) if isinstance(transaction, dict) else None,
        reason=text(refund.get("reason")),
        failure_code=text(refund.get("failure_reason")),
        reference=merchants_reference(metadata),
        refunded_at=moment(refund.get("created")),
        metadata=metadata,
    )


def refunds_of_charge(
    charge: Mapping[str, Any], payment: tuple[ObjectName, ...], released_minor: int
) -> tuple[RefundFact, ...]:
    """Return the refunds that a charge lists: every one before 2022-11-15, and where its API was asked for them.

    The release of what was not captured is made with the capture, before any other refund can be.
    """
    listed = {found: each for each in entries(charge.get("refunds")) if (found := id_of(each))}
    oldest_first = sorted(listed.values(), key=lambda each: _created(each))
    release = next(
        (
            each
            for each in oldest_first
            if released_minor and minor_or_none(each.get("amount"), charge.get("currency")) == released_minor
        ),
        None,
    )
    return tuple(
        refund_fact({"currency": charge.get("currency"), **each}, payment, is_release=each is release)
        for each in listed.values()
    )


def dispute_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a dispute says of itself."""
    dispute = said.object
    required_id(dispute)
    word = text(dispute.get("status")) or ""
    status = _DISPUTE_STATUSES.get(word)
    currency = dispute.get("currency")
    return (
        DisputeFact(
            objects=named("dispute", dispute),
            payment=payment_names(dispute),
            status=status,
            amount_minor=minor_or_none(dispute.get("amount"), currency),
            currency=currency_code(currency),
            fee_minor=fee_in(entries(dispute.get("balance_transactions")), currency),
            reason=text(dispute.get("reason")),
            outcome=word if status in _ENDED else None,
            is_withdrawn=_is_withdrawn(said, word),
            respond_by=moment(mapping(dispute.get("evidence_details")).get("due_by")),
            opened_at=moment(dispute.get("created")),
            closed_at=said.at if said.type == "charge.dispute.closed" else None,
        ),
    )


def _is_withdrawn(said: Said, status: str) -> bool | None:
    """Return whether Stripe holds the money back, by the event's name or by what was booked.

    What is not booked yet says nothing: money is taken, and given back to a winner, a moment before or after the event.
    """
    match said.type:
        case "charge.dispute.funds_withdrawn":
            return True
        case "charge.dispute.funds_reinstated":
            return False
    if status.startswith("warning_"):  # an inquiry moves no money
        return False
    booked = [each.get("amount") for each in entries(said.object.get("balance_transactions"))]
    amounts = [amount for amount in booked if isinstance(amount, int)]
    if not amounts or len(amounts) != len(booked):
        return None
    return False if sum(amounts) >= 0 else None if status == "won" else True


def _created(stripe_object: Mapping[str, Any]) -> float:
    created = moment(stripe_object.get("created"))
    return created.timestamp() if created else 0.0

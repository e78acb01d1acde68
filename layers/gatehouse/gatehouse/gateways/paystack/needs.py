"""What Paystack's events leave open, and whom its API is asked about for it."""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import (
    DisputeFact,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    Need,
    PaymentFact,
    PaymentStatus,
    RefundStatus,
    SubscriptionFact,
)
from gatehouse.gateways import refetch
from gatehouse.gateways.fields import identifier_or_number
from gatehouse.gateways.paystack.refunds import hint_of, payment_of_refund

NAME = "paystack"

# The names of objects that the API can be asked about; an invoice it shows only with its subscription.
ASKABLE = frozenset(
    {"transaction", "reference", "refund", "dispute", "transfer", "subscription", "customer", "payment_request"}
)


def needs_of(facts: tuple[Fact, ...], *, account: str, event_id: str, is_timeless: bool) -> tuple[Need, ...]:
    """Return the questions that the facts of an event leave open."""
    needs: dict[str, Need] = {}
    for fact in facts:
        need = None
        if isinstance(fact, PaymentFact):
            need = _fee(fact, account)
        elif (name := _asked_about(fact, is_timeless=is_timeless)) is not None:
            need = refetch(NAME, account, *name, because=event_id)
        elif isinstance(fact, InvoiceFact):
            need = _lines(fact, account)
        if need:
            needs[need.key] = need
    return tuple(needs.values())


def refunds_of_its_transaction(
    refund: Mapping[str, Any], *, named: RefundStatus, account: str, event_id: str
) -> tuple[Need, ...]:
    """Return the question for a transaction's refunds after an event that does not give the API's number of its refund.

    What the event says of the refund goes with the question: the answer must be told which refund that was.
    """
    payment = payment_of_refund(refund)
    if identifier_or_number(refund.get("id")) or not payment:
        return ()
    hint = hint_of(refund, named=named)
    said = {
        "refund_reference": hint.reference,
        "refund_amount_minor": hint.amount_minor,
        "refund_status": str(hint.status),
    }
    need = refetch(NAME, account, *payment[0], because=event_id)
    hints = {word: value for word, value in said.items() if value is not None}
    return (need._replace(arguments={**need.arguments, **hints}),)


def _asked_about(fact: Fact, *, is_timeless: bool) -> tuple[str, str] | None:
    match fact:
        case SubscriptionFact() | DisputeFact() if is_timeless:  # it cannot be told whether others are newer
            return fact.objects[0]
        case InvoiceFact(status=InvoiceStatus.PAST_DUE, subscription_ref=str(code)):
            return "subscription", code  # it needs attention now, which no event says
        case InvoiceFact(objects=(("payment_request", _) as name, *_), customer_ref=None):
            return name
    return None


def _lines(fact: InvoiceFact, account: str) -> Need | None:
    """Return the question for what an invoice is for; that of a subscription is for its plan, whose name it shows."""
    name = fact.objects[0]
    if fact.lines:
        return None
    if name.kind == "payment_request":
        return refetch(NAME, account, *name, because="lines")
    if fact.subscription_ref:
        return refetch(NAME, account, "subscription", fact.subscription_ref, because=f"lines of {name.id}")
    return None


def _fee(fact: PaymentFact, account: str) -> Need | None:
    """Return the question for a fee that is null in the event; one job for all events of a payment."""
    asked = next((name for name in fact.objects if name.kind in ("transaction", "reference")), None)
    if fact.status is not PaymentStatus.COMPLETED or fact.fee_minor is not None or asked is None:
        return None
    arguments = {"gateway": NAME, "account": account, "kind": asked.kind, "id": asked.id}
    return Need("fetch_fee", f"{NAME}/{account}/{asked.kind}/{asked.id}", arguments)

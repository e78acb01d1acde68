"""Stripe's payouts to the merchant's bank, and its transfers to connected accounts."""

from gatehouse.facts import Fact, PayoutFact, PayoutStatus
from gatehouse.gateways.fields import currency_code, text
from gatehouse.gateways.stripe.amounts import minor_or_none
from gatehouse.gateways.stripe.shapes import (
    Said,
    fee_in,
    id_of,
    merchants_metadata,
    merchants_reference,
    moment,
    named,
    required_id,
)

# Every event about a payout, and the step that its name alone tells; the object's own status goes before it.
PAYOUT_STEPS = {
    "payout.canceled": PayoutStatus.CANCELLED,
    "payout.created": PayoutStatus.PENDING,
    "payout.failed": PayoutStatus.FAILED,
    "payout.paid": PayoutStatus.SETTLED,
    "payout.reconciliation_completed": None,
    "payout.updated": None,
}
TRANSFER_EVENTS = ("transfer.created", "transfer.reversed", "transfer.updated")

_STATUSES = {
    "pending": PayoutStatus.PENDING,
    "in_transit": PayoutStatus.PENDING,
    "paid": PayoutStatus.SETTLED,
    "failed": PayoutStatus.FAILED,
    "canceled": PayoutStatus.CANCELLED,
}


def payout_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a payout says. One that the bank sends back has been paid before, and then fails."""
    payout, currency = said.object, said.object.get("currency")
    required_id(payout)
    transaction = payout.get("balance_transaction")
    metadata = merchants_metadata(payout)
    return (
        PayoutFact(
            objects=named("payout", payout),
            kind="payout",
            status=_STATUSES.get(text(payout.get("status")) or "", PAYOUT_STEPS.get(said.type)),
            amount_minor=minor_or_none(payout.get("amount"), currency),
            currency=currency_code(currency),
            fee_minor=fee_in([transaction], currency) if isinstance(transaction, dict) else None,
            destination=id_of(payout.get("destination")),
            reference=merchants_reference(metadata),
            arrives_at=moment(payout.get("arrival_date")),
            settled_at=said.at if said.type == "payout.paid" else None,
            failure_code=text(payout.get("failure_code")),
            failure_message=text(payout.get("failure_message")),
            metadata=metadata,
        ),
    )


def transfer_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a transfer says. It moves between two balances at Stripe, so it is settled as soon as it is made."""
    transfer, currency = said.object, said.object.get("currency")
    required_id(transfer)
    amount = minor_or_none(transfer.get("amount"), currency)
    reversed_minor = minor_or_none(transfer.get("amount_reversed"), currency)
    is_reversed = transfer.get("reversed") is True or bool(amount and reversed_minor == amount)
    metadata = merchants_metadata(transfer)
    return (
        PayoutFact(
            objects=named("transfer", transfer),
            kind="transfer",
            status=PayoutStatus.REVERSED if is_reversed else PayoutStatus.SETTLED,
            amount_minor=amount,
            currency=currency_code(currency),
            reversed_minor=reversed_minor,
            destination=id_of(transfer.get("destination")),
            reference=merchants_reference(metadata),
            settled_at=moment(transfer.get("created")),
            metadata=metadata,
        ),
    )

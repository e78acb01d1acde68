"""PayPal's payouts in our words: batches, and the items in them, each money on its way to somebody."""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import Fact, ObjectName, PayoutFact, PayoutStatus
from gatehouse.gateways.fields import first_moment, identifier, mapping, text
from gatehouse.gateways.paypal.resource import Amount, Said, amount_of, merged, required_id, things

BATCH_STATUS_BY_NAME = {
    "PAYMENT.PAYOUTSBATCH.PROCESSING": PayoutStatus.PENDING,
    "PAYMENT.PAYOUTSBATCH.SUCCESS": PayoutStatus.SETTLED,
    "PAYMENT.PAYOUTSBATCH.DENIED": PayoutStatus.FAILED,
}
BATCH_STATUSES = {
    "NEW": PayoutStatus.PENDING,
    "PENDING": PayoutStatus.PENDING,
    "PROCESSING": PayoutStatus.PENDING,
    "SUCCESS": PayoutStatus.SETTLED,  # of the batch; its items may be unclaimed or held
    "DENIED": PayoutStatus.FAILED,
    "CANCELED": PayoutStatus.CANCELLED,
}
ITEM_STATUS_BY_NAME = {
    "PAYMENT.PAYOUTS-ITEM.SUCCEEDED": PayoutStatus.SETTLED,
    "PAYMENT.PAYOUTS-ITEM.FAILED": PayoutStatus.FAILED,
    "PAYMENT.PAYOUTS-ITEM.UNCLAIMED": PayoutStatus.PENDING,
    "PAYMENT.PAYOUTS-ITEM.RETURNED": PayoutStatus.REVERSED,
    "PAYMENT.PAYOUTS-ITEM.REFUNDED": PayoutStatus.REVERSED,
    "PAYMENT.PAYOUTS-ITEM.BLOCKED": PayoutStatus.FAILED,
    "PAYMENT.PAYOUTS-ITEM.CANCELED": PayoutStatus.CANCELLED,
    "PAYMENT.PAYOUTS-ITEM.DENIED": PayoutStatus.FAILED,
    "PAYMENT.PAYOUTS-ITEM.HELD": PayoutStatus.PENDING,
}
ITEM_STATUSES = {
    "NEW": PayoutStatus.PENDING,
    "PENDING": PayoutStatus.PENDING,
    "UNCLAIMED": PayoutStatus.PENDING,  # the recipient has no account yet, and 30 days to open one
    "ONHOLD": PayoutStatus.PENDING,
    "SUCCESS": PayoutStatus.SETTLED,
    "FAILED": PayoutStatus.FAILED,
    "DENIED": PayoutStatus.FAILED,
    "BLOCKED": PayoutStatus.FAILED,
    "CANCELED": PayoutStatus.CANCELLED,
    "RETURNED": PayoutStatus.REVERSED,
    "REFUNDED": PayoutStatus.REVERSED,
    "REVERSED": PayoutStatus.REVERSED,
}


def batch_facts(said: Said) -> tuple[Fact, ...]:
    """Say how a batch of payouts stands, and each of its items that an answer brings along; events bring none."""
    header = mapping(said.resource.get("batch_header"))
    amount = amount_of(header.get("amount"))
    status = BATCH_STATUSES.get(text(header.get("batch_status")) or "", BATCH_STATUS_BY_NAME.get(said.type))
    batch = PayoutFact(
        objects=(ObjectName("payout_batch", required_id(header.get("payout_batch_id"))),),
        kind="batch",
        status=status,
        amount_minor=amount.minor,
        currency=amount.currency,
        fee_minor=_fee(header.get("fees"), amount),
        reference=text(mapping(header.get("sender_batch_header")).get("sender_batch_id")),
        settled_at=first_moment(header, "time_completed") if status is PayoutStatus.SETTLED else None,
        **_failure(said.resource, status),
    )
    items = [fact for each in things(said.resource.get("items")) for fact in item_facts(Said(each))]
    return merged((batch, *items))


def item_facts(said: Said) -> tuple[Fact, ...]:
    """Say how one payout stands. Its recipient's e-mail address or phone number is no id, and is not kept."""
    resource = said.resource
    item = mapping(resource.get("payout_item"))
    amount = amount_of(item.get("amount"))
    status = ITEM_STATUSES.get(text(resource.get("transaction_status")) or "", ITEM_STATUS_BY_NAME.get(said.type))
    transaction_id = identifier(resource.get("transaction_id"))
    own = ObjectName("payout_item", required_id(resource.get("payout_item_id")))
    return (
        PayoutFact(
            objects=(own, ObjectName("transaction", transaction_id)) if transaction_id else (own,),
            kind="transfer",
            status=status,
            amount_minor=amount.minor,
            currency=amount.currency,
            fee_minor=_fee(resource.get("payout_item_fee"), amount),
            reversed_minor=amount.minor if status is PayoutStatus.REVERSED else None,
            destination=identifier(item.get("receiver")) if item.get("recipient_type") == "PAYPAL_ID" else None,
            batch_ref=identifier(resource.get("payout_batch_id")),
            reference=text(item.get("sender_item_id")),
            settled_at=first_moment(resource, "time_processed") if status is PayoutStatus.SETTLED else None,
            **_failure(resource, status),
        ),
    )


def _fee(said: object, amount: Amount) -> int | None:
    fee = amount_of(said)
    return fee.minor if fee.currency == amount.currency else None


def _failure(resource: Mapping[str, Any], status: PayoutStatus | None) -> dict[str, Any]:
    """Return why it did not arrive. What is unclaimed or held has errors too, and may still arrive."""
    errors = resource.get("errors")
    said = mapping(next(iter(things(errors)), None)) or mapping(errors)
    if status in (None, PayoutStatus.PENDING, PayoutStatus.SETTLED):
        return {}
    return {"failure_code": text(said.get("name")), "failure_message": text(said.get("message"))}

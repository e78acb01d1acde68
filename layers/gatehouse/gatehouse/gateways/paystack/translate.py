"""Paystack's events in our words: the envelope, and which event speaks of what.

A field that is missing, null or of another type says nothing, and Paystack's own samples have every kind: metadata may
be 0, "", null, an object or the JSON of one; an absent object is {}. Only money that is said to have moved must be
beyond doubt: when its amount or currency makes no sense, the event is refused, which keeps it as failed and says why.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import (
    DisputeStatus,
    Event,
    Fact,
    InvoiceStatus,
    PaymentStatus,
    PayoutStatus,
    RefundStatus,
    SubscriptionStatus,
)
from gatehouse.gateways.fields import (
    MOST_ID_CHARACTERS,
    identifier,
    identifier_or_number,
    livemode_of_domain,
    mapping,
)
from gatehouse.gateways.identity import MADE_EVENT_ID, made_event_id
from gatehouse.gateways.json_body import read_json_object
from gatehouse.gateways.paystack.billing import invoice_facts, payment_request_facts, subscription_facts
from gatehouse.gateways.paystack.customers import customer_facts
from gatehouse.gateways.paystack.disputes import dispute_facts
from gatehouse.gateways.paystack.needs import ASKABLE, NAME, needs_of, refunds_of_its_transaction
from gatehouse.gateways.paystack.payments import preauthorization_facts, rejected_transfer_facts, transaction_facts
from gatehouse.gateways.paystack.payouts import transfer_facts
from gatehouse.gateways.paystack.refunds import refund_facts
from gatehouse.gateways.paystack.times import occurred_at

__all__ = ["ASKABLE", "HANDLED", "NAME", "read_event", "translate"]

REFUND_EVENTS = {
    "refund.pending": RefundStatus.PENDING,
    "refund.processing": RefundStatus.PENDING,
    "refund.needs-attention": RefundStatus.PENDING,
    "refund.processed": RefundStatus.COMPLETED,
    "refund.failed": RefundStatus.FAILED,
}

# Every event that becomes facts: which, and the step that its name alone tells; the object's own status goes before it.
# All others are kept as ignored. `subscription.expiring_cards` changes nothing that is kept, and
# `customeridentification` and `direct_debit` speak of papers and mandates.
HANDLED: dict[str, Callable[[Mapping[str, Any]], tuple[Fact, ...]]] = {
    "charge.success": partial(transaction_facts, named=PaymentStatus.COMPLETED),
    "bank.transfer.rejected": rejected_transfer_facts,
    "preauthorization.reserve.success": partial(preauthorization_facts, named=PaymentStatus.PROCESSING),
    "preauthorization.capture.success": partial(preauthorization_facts, named=PaymentStatus.COMPLETED),
    "preauthorization.capture.failed": partial(preauthorization_facts, named=PaymentStatus.FAILED),
    "preauthorization.release.success": partial(preauthorization_facts, named=PaymentStatus.CANCELLED),
    "preauthorization.release.failed": partial(preauthorization_facts, named=PaymentStatus.PROCESSING),
    **{name: partial(refund_facts, named=status) for name, status in REFUND_EVENTS.items()},
    "charge.dispute.create": partial(dispute_facts, named=DisputeStatus.NEEDS_RESPONSE),
    "charge.dispute.remind": partial(dispute_facts, named=DisputeStatus.NEEDS_RESPONSE),
    "charge.dispute.resolve": partial(dispute_facts, named=DisputeStatus.CLOSED),
    "subscription.create": partial(subscription_facts, named=SubscriptionStatus.ACTIVE),
    "subscription.not_renew": partial(subscription_facts, named=SubscriptionStatus.NON_RENEWING),
    "subscription.disable": partial(subscription_facts, named=SubscriptionStatus.CANCELLED),
    "invoice.create": partial(invoice_facts, named=InvoiceStatus.OPEN),
    "invoice.update": partial(invoice_facts, named=InvoiceStatus.OPEN),
    "invoice.payment_failed": partial(invoice_facts, named=InvoiceStatus.PAST_DUE),
    "paymentrequest.pending": partial(payment_request_facts, named=InvoiceStatus.OPEN),
    "paymentrequest.success": partial(payment_request_facts, named=InvoiceStatus.PAID),
    "transfer.success": partial(transfer_facts, named=PayoutStatus.SETTLED),
    "transfer.failed": partial(transfer_facts, named=PayoutStatus.FAILED),
    "transfer.reversed": partial(transfer_facts, named=PayoutStatus.REVERSED),
    "dedicatedaccount.assign.success": customer_facts,
    "dedicatedaccount.assign.failed": customer_facts,
}


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds, with the id that we give it; raise RequestRefused when it holds none."""
    payload = read_json_object(body)
    if not identifier(payload.get("event")):
        raise _no_event(f'its "event" is not a text of 1 to {MOST_ID_CHARACTERS} characters')
    if not isinstance(payload.get("data"), (dict, list)):  # a list in subscription.expiring_cards
        raise _no_event('it has no "data"')
    return payload | {MADE_EVENT_ID: _event_id(payload, body)}


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever the object holds."""
    event_type, event_id, data = payload["event"], payload[MADE_EVENT_ID], mapping(payload["data"])
    event = Event(
        event_id=event_id,
        type=event_type,
        occurred_at=occurred_at(event_type, data),
        livemode=_livemode(data),
        reference=_searched_by(data),
    )
    if event_type not in HANDLED:
        return event._replace(ignored_because=f"event type not handled: {event_type}")
    try:
        facts = HANDLED[event_type](data)
    except FactRefused as reason:
        return event._replace(refused_because=str(reason))
    if not facts:
        return event._replace(ignored_because=f"it names nothing that is kept: {event_type}")
    needs = needs_of(facts, account=account, event_id=event_id, is_timeless=event.occurred_at is None)
    if event_type in REFUND_EVENTS:
        needs += refunds_of_its_transaction(data, named=REFUND_EVENTS[event_type], account=account, event_id=event_id)
    return event._replace(facts=facts, needs=needs)


def _event_id(payload: Mapping[str, Any], body: bytes) -> str:
    """Return the id that we give an event. Paystack gives none, and sends the very same bytes again.

    A charge or a dispute is told from others by its own id and status: so it stays one event when Paystack writes it
    anew. For the rest only the whole body will do: two refunds of one transaction may differ in nothing else.
    """
    data = mapping(payload["data"])
    parts = [payload["event"], identifier_or_number(data.get("id")), identifier(data.get("status"))]
    return made_event_id(body, *parts) if payload["event"].startswith("charge.") else made_event_id(body, None)


def _livemode(data: Mapping[str, Any]) -> bool | None:
    return livemode_of_domain(data.get("domain") or mapping(data.get("customer")).get("domain"))


def _searched_by(data: Mapping[str, Any]) -> str | None:
    """Return the name by which people look for the event: the transaction's where it speaks of one."""
    names = (
        data.get("reference"),
        data.get("transaction_reference"),
        mapping(data.get("transaction")).get("reference"),
        mapping(data.get("bank_transfer")).get("transaction_id"),
        *(data.get(name) for name in ("subscription_code", "invoice_code", "request_code", "id")),
        mapping(data.get("customer")).get("customer_code"),
    )
    return next((said for name in names if (said := identifier_or_number(name))), None)


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of Paystack: {reason}", code="NOT_AN_EVENT")

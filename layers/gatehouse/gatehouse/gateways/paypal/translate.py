"""PayPal's events in our words: which of them says what, and what all of them have in common.

What a resource means is in payments.py, subscriptions.py, invoices.py, disputes.py and payouts.py; the API shows the
same resources, so its answers are read by the same functions.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import (
    DisputeFact,
    Event,
    Fact,
    InvoiceFact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    SubscriptionFact,
)
from gatehouse.gateways import refetch
from gatehouse.gateways.fields import MOST_ID_CHARACTERS, identifier, mapping, moment
from gatehouse.gateways.json_body import read_json_object
from gatehouse.gateways.paypal import disputes, invoices, payments, payouts, subscriptions
from gatehouse.gateways.paypal.resource import Said, hrefs

NAME = "paypal"

type Reader = Callable[[Said], tuple[Fact, ...]]

# What carries what: the events, in the order of PayPal's own list.
_CARRIERS: tuple[tuple[Reader, tuple[str, ...]], ...] = (
    (payments.authorization_facts, ("PAYMENT.AUTHORIZATION.CREATED", "PAYMENT.AUTHORIZATION.VOIDED")),
    (
        payments.capture_facts,
        (
            "PAYMENT.CAPTURE.COMPLETED",
            "PAYMENT.CAPTURE.DECLINED",
            "PAYMENT.CAPTURE.DENIED",
            "PAYMENT.CAPTURE.PENDING",
        ),
    ),
    (payments.sale_facts, ("PAYMENT.SALE.COMPLETED", "PAYMENT.SALE.DENIED", "PAYMENT.SALE.PENDING")),
    (
        payments.refund_facts,
        (
            "PAYMENT.CAPTURE.REFUNDED",
            "PAYMENT.CAPTURE.REVERSED",
            "PAYMENT.SALE.REFUNDED",
            "PAYMENT.SALE.REVERSED",
            "PAYMENT.REFUND.PENDING",
            "PAYMENT.REFUND.FAILED",
        ),
    ),
    (
        payments.order_facts,
        ("CHECKOUT.ORDER.APPROVED", "CHECKOUT.ORDER.COMPLETED", "CHECKOUT.PAYMENT-APPROVAL.REVERSED"),
    ),
    (
        subscriptions.subscription_facts,
        (
            "BILLING.SUBSCRIPTION.CREATED",
            "BILLING.SUBSCRIPTION.ACTIVATED",
            "BILLING.SUBSCRIPTION.RE-ACTIVATED",
            "BILLING.SUBSCRIPTION.UPDATED",
            "BILLING.SUBSCRIPTION.EXPIRED",
            "BILLING.SUBSCRIPTION.CANCELLED",
            "BILLING.SUBSCRIPTION.SUSPENDED",
            "BILLING.SUBSCRIPTION.PAYMENT.FAILED",
        ),
    ),
    (
        invoices.invoice_facts,
        (
            "INVOICING.INVOICE.CREATED",
            "INVOICING.INVOICE.SCHEDULED",
            "INVOICING.INVOICE.UPDATED",
            "INVOICING.INVOICE.PAID",
            "INVOICING.INVOICE.REFUNDED",
            "INVOICING.INVOICE.CANCELLED",
        ),
    ),
    (
        disputes.dispute_facts,
        (
            "CUSTOMER.DISPUTE.CREATED",
            "CUSTOMER.DISPUTE.UPDATED",
            "CUSTOMER.DISPUTE.RESOLVED",
            "RISK.DISPUTE.CREATED",  # deprecated; what it was before CUSTOMER.DISPUTE
        ),
    ),
    (
        payouts.batch_facts,
        ("PAYMENT.PAYOUTSBATCH.PROCESSING", "PAYMENT.PAYOUTSBATCH.SUCCESS", "PAYMENT.PAYOUTSBATCH.DENIED"),
    ),
    (
        payouts.item_facts,
        (
            "PAYMENT.PAYOUTS-ITEM.SUCCEEDED",
            "PAYMENT.PAYOUTS-ITEM.FAILED",
            "PAYMENT.PAYOUTS-ITEM.UNCLAIMED",
            "PAYMENT.PAYOUTS-ITEM.RETURNED",
            "PAYMENT.PAYOUTS-ITEM.REFUNDED",
            "PAYMENT.PAYOUTS-ITEM.BLOCKED",
            "PAYMENT.PAYOUTS-ITEM.CANCELED",
            "PAYMENT.PAYOUTS-ITEM.DENIED",
            "PAYMENT.PAYOUTS-ITEM.HELD",
        ),
    ),
)
# Every event that becomes facts, and what reads it. All others are kept as ignored.
HANDLED: dict[str, Reader] = {name: reader for reader, names in _CARRIERS for name in names}

# What the API can be asked about, by the kind of its name.
READER_OF_ANSWER: dict[str, Reader] = {
    "authorization": payments.authorization_facts,
    "capture": payments.capture_facts,
    "sale": payments.sale_facts,
    "refund": payments.refund_facts,
    "order": payments.order_facts,
    "subscription": subscriptions.subscription_facts,
    "invoice": invoices.invoice_facts,
    "dispute": disputes.dispute_facts,
    "payout_batch": payouts.batch_facts,
    "payout_item": payouts.item_facts,
}
ASKABLE = frozenset(READER_OF_ANSWER)

# How the resources of different events name themselves, and which of them hold that in an object of their own.
MAIN_IDS = ("id", "dispute_id", "payout_item_id", "payout_batch_id", "order_id")
HOLDERS_OF_IDS = ("invoice", "batch_header")

_SANDBOX_LINK = re.compile(r"https://api(-m)?\.sandbox\.paypal\.com/", re.ASCII)


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds; raise RequestRefused when it is not JSON or no event of PayPal's."""
    payload = read_json_object(body)
    for name in ("id", "event_type"):
        if not identifier(payload.get(name)):
            raise _no_event(f'its "{name}" is not a text of 1 to {MOST_ID_CHARACTERS} characters')
    if len(_event_id(payload)) > MOST_ID_CHARACTERS:
        raise _no_event(f'its "id" and "event_type" have more than {MOST_ID_CHARACTERS} characters together')
    return payload


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever the resource holds."""
    said = Said(
        type=payload["event_type"],
        # The simulator sends events of the 19th month. PayPal's own advice is the time of sending, which no body says.
        at=moment(payload.get("create_time")),
        resource=mapping(payload.get("resource")),
    )
    facts: tuple[Fact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = f"event type not handled: {said.type}"
    else:
        try:
            facts = HANDLED[said.type](said)
        except FactRefused as reason:
            refused_because = str(reason)
    event_id = _event_id(payload)
    return Event(
        event_id=event_id,
        type=said.type,
        occurred_at=said.at,
        livemode=_livemode(payload),
        facts=facts,
        needs=tuple(refetch(NAME, account, *named, event_id) for named in dict.fromkeys(_left_open(facts, said.at))),
        reference=_reference(said.resource),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def facts_of_answer(kind: str, answer: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Say in our words what the API says of an object of an ASKABLE kind; raise FactRefused as an event would."""
    return READER_OF_ANSWER[kind](Said(answer))


def _left_open(facts: tuple[Fact, ...], at: datetime | None) -> Iterator[ObjectName]:
    """Give what must be asked for, because the event does not say it."""
    for fact in facts:
        match fact:
            case PaymentFact(status=PaymentStatus.COMPLETED, fee_minor=None):
                yield fact.objects[0]
            case RefundFact(payment=()):  # a reversed sale of v1
                yield fact.objects[0]
            case SubscriptionFact() | InvoiceFact() | DisputeFact() if at is None:  # of these the newest fact wins
                yield fact.objects[0]
        if isinstance(fact, PaymentFact) and fact.subscription_ref and fact.status is PaymentStatus.COMPLETED:
            # No event says that a subscription whose payments failed is in order again, or when the next is due.
            yield ObjectName("subscription", fact.subscription_ref)


def _event_id(payload: Mapping[str, Any]) -> str:
    """Return what tells an event from every other: events of the simulator share their ids across types."""
    return f"{payload['id']}:{payload['event_type']}"


def _livemode(payload: Mapping[str, Any]) -> bool | None:
    """Return False for an event that links to the sandbox, else None: then the account says.

    A link to api.paypal.com proves nothing, for the simulator's events have it too. Verification has done the rest: a
    live account believes the live certificate only, and a test account not even that.
    """
    addresses = (*hrefs(payload), *hrefs(mapping(payload.get("resource"))))
    return False if any(_SANDBOX_LINK.match(address) for address in addresses) else None


def _reference(resource: Mapping[str, Any]) -> str | None:
    holders = (resource, *(mapping(resource.get(name)) for name in HOLDERS_OF_IDS))
    return next((found for holder in holders for name in MAIN_IDS if (found := identifier(holder.get(name)))), None)


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of PayPal: {reason}", code="NOT_AN_EVENT")

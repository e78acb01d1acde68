"""Our words for what a gateway says: an Event and its facts.

A fact never says "set this": it says what the gateway knew at one moment. `intake/record.sql` keeps every fact and
folds them into rows by rules that do not care about the order of arrival. A field that is None says nothing.

Every fact names its object by `objects`, and its fields are the columns of its table. Where it speaks of another
object too (a refund of its payment, a payment of its customer), it gives that one's names in `payment`, or its id in a
`…_ref`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple


class PaymentStatus(StrEnum):
    """The ladder that a payment climbs; among several facts the highest step wins, whenever it arrived."""

    PENDING = "pending"
    PROCESSING = "processing"  # also: authorised, not captured
    FAILED = "failed"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    REVERSED = "reversed"  # void after the fact, ACH return, gateway reversal


class RefundStatus(StrEnum):
    """The ladder of a refund: one that came back from the bank has failed, however complete it was called before."""

    PENDING = "pending"  # also: it needs somebody's attention
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"


class PayoutStatus(StrEnum):
    """The ladder of a payout or transfer: the bank may send back what was settled."""

    PENDING = "pending"
    SETTLED = "settled"
    CANCELLED = "cancelled"
    FAILED = "failed"
    REVERSED = "reversed"


class DisputeStatus(StrEnum):
    """Where a dispute stands: what the newest fact says; of two at the same moment, the later one here."""

    WARNING = "warning"  # an inquiry; no money has moved
    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    CLOSED = "closed"  # ended without a winner: withdrawn, accepted, settled otherwise
    WON = "won"  # by the merchant
    LOST = "lost"


class SubscriptionStatus(StrEnum):
    """Where a subscription stands: what the newest fact says; of two at the same moment, the later one here."""

    PENDING = "pending"  # made, and not paid or approved yet
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"  # a payment failed
    PAUSED = "paused"
    NON_RENEWING = "non_renewing"  # runs until the end of what was paid
    EXPIRED = "expired"  # ran its course
    CANCELLED = "cancelled"


class InvoiceStatus(StrEnum):
    """Where an invoice stands: what the newest fact says; of two at the same moment, the later one here."""

    DRAFT = "draft"
    OPEN = "open"
    PARTIALLY_PAID = "partially_paid"
    PAST_DUE = "past_due"  # a payment failed, or the day to pay it has passed
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"


class ObjectName(NamedTuple):
    """The name of one gateway object, such as ("charge", "ch_1"); one payment may have several."""

    kind: str
    id: str


class PaymentFact(NamedTuple):
    """What a gateway said about one payment. Field names are the columns of `payments`."""

    objects: tuple[ObjectName, ...]  # every name this money is known by; at least one
    status: PaymentStatus | None = None
    amount_minor: int | None = None  # what was asked for
    received_minor: int | None = None  # what came in; less than amount_minor after a partial capture
    refunded_minor: int | None = None  # what the gateway says of all refunds together; each is a RefundFact of its own
    currency: str | None = None  # ISO 4217, upper case
    fee_minor: int | None = None  # the gateway's fee; None: not known yet
    fee_currency: str | None = None
    method: str | None = None  # card, bank_transfer, ...
    reference: str | None = None  # the merchant's own reference
    customer_ref: str | None = None  # the gateway's id of the customer
    email: str | None = None  # of whoever pays
    subscription_ref: str | None = None  # the gateway's id of the subscription that it pays for
    invoice_ref: str | None = None  # the gateway's id of the invoice that it pays
    invoice_number: str | None = None  # the merchant's number of that invoice
    source: str | None = None  # how it was made, in the gateway's word: Recurring, Invoice, QuickPay, API …
    surcharge_minor: int | None = None  # what of amount_minor is a surcharge for paying so; no invoice asks for it
    failure_code: str | None = None
    failure_message: str | None = None
    status_reason: str | None = None  # why cancelled or reversed
    completed_at: datetime | None = None
    app: str | None = None  # which of the merchant's apps it belongs to, where the event says so
    user_id: str | None = None  # that app's user
    plan: str | None = None
    metadata: dict[str, Any] | None = None


class RefundFact(NamedTuple):
    """What a gateway said about money given back. Field names are the columns of `refunds`."""

    objects: tuple[ObjectName, ...]
    payment: tuple[ObjectName, ...] = ()  # names of the payment that it gives back
    status: RefundStatus | None = None
    amount_minor: int | None = None
    currency: str | None = None
    fee_minor: int | None = None  # what the gateway gave back of its fee (negative) or took for the refund
    reason: str | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    reference: str | None = None
    refunded_at: datetime | None = None  # when it was made, by the gateway's clock
    metadata: dict[str, Any] | None = None


class DisputeFact(NamedTuple):
    """What a gateway said about money that somebody wants back. Field names are the columns of `disputes`."""

    objects: tuple[ObjectName, ...]
    payment: tuple[ObjectName, ...] = ()
    status: DisputeStatus | None = None
    amount_minor: int | None = None
    currency: str | None = None
    fee_minor: int | None = None
    reason: str | None = None
    outcome: str | None = None  # the gateway's own word for how it ended
    is_withdrawn: bool | None = None  # whether the gateway holds the money back at present
    respond_by: datetime | None = None
    opened_at: datetime | None = None
    closed_at: datetime | None = None


class SubscriptionFact(NamedTuple):
    """What a gateway said about one subscription. Field names are the columns of `subscriptions`."""

    objects: tuple[ObjectName, ...]
    payment: tuple[ObjectName, ...] = ()  # a payment of it that the same event names
    status: SubscriptionStatus | None = None
    plan: str | None = None  # the gateway's id of the plan or price
    plan_name: str | None = None
    amount_minor: int | None = None  # of one period
    currency: str | None = None
    interval: str | None = None  # day, week, month, quarter, half_year, year; "3 month" for three of them
    customer_ref: str | None = None
    email: str | None = None
    reference: str | None = None
    started_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    next_payment_at: datetime | None = None
    cancel_at: datetime | None = None  # when it will end, where that is decided
    ended_at: datetime | None = None
    cancel_reason: str | None = None
    app: str | None = None
    user_id: str | None = None
    metadata: dict[str, Any] | None = None


class InvoiceFact(NamedTuple):
    """What a gateway said about one invoice. Field names are the columns of `invoices`."""

    objects: tuple[ObjectName, ...]
    status: InvoiceStatus | None = None
    number: str | None = None
    total_minor: int | None = None
    due_minor: int | None = None  # what is left to pay
    paid_minor: int | None = None
    currency: str | None = None
    customer_ref: str | None = None
    customer_name: str | None = None
    email: str | None = None
    billing_address: Mapping[str, str] | None = None  # name, address1, address2, city, state, zip, country
    subscription_ref: str | None = None
    attempts: int | None = None
    next_attempt_at: datetime | None = None
    issued_at: datetime | None = None
    due_at: datetime | None = None
    paid_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    description: str | None = None
    # {product, description, amount_minor, quantity, plan} each, as far as it is said; product names what was sold
    lines: Sequence[Mapping[str, Any]] | None = None
    metadata: dict[str, Any] | None = None


class PayoutFact(NamedTuple):
    """What a gateway said about money on its way to the merchant or to others. Field names are those of `payouts`."""

    objects: tuple[ObjectName, ...]
    kind: str | None = None  # payout (to the merchant's bank), transfer (to another account), batch (of several)
    status: PayoutStatus | None = None
    amount_minor: int | None = None
    currency: str | None = None
    fee_minor: int | None = None
    reversed_minor: int | None = None
    destination: str | None = None  # the gateway's id of the account or recipient, never an account number
    batch_ref: str | None = None
    reference: str | None = None
    arrives_at: datetime | None = None
    settled_at: datetime | None = None
    failure_code: str | None = None
    failure_message: str | None = None
    metadata: dict[str, Any] | None = None


class CustomerFact(NamedTuple):
    """What a gateway said about one of its customers. Field names are the columns of `gateway_customers`."""

    objects: tuple[ObjectName, ...]  # ("customer", the id that others give as customer_ref)
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    app: str | None = None
    user_id: str | None = None
    is_deleted: bool | None = None
    metadata: dict[str, Any] | None = None


Fact = PaymentFact | RefundFact | DisputeFact | SubscriptionFact | InvoiceFact | PayoutFact | CustomerFact


class Kind(NamedTuple):
    """What recording knows of one kind of fact."""

    name: str  # in the column facts.kind
    steps: tuple[StrEnum, ...] = ()  # its statuses, lowest first; the rank of a fact is the place of its status here


# In the order in which recording applies them: a payment is there before its refund is.
KINDS: dict[type[Any], Kind] = {
    PaymentFact: Kind("payment", tuple(PaymentStatus)),
    CustomerFact: Kind("customer"),
    SubscriptionFact: Kind("subscription", tuple(SubscriptionStatus)),
    InvoiceFact: Kind("invoice", tuple(InvoiceStatus)),
    RefundFact: Kind("refund", tuple(RefundStatus)),
    DisputeFact: Kind("dispute", tuple(DisputeStatus)),
    PayoutFact: Kind("payout", tuple(PayoutStatus)),
}
LADDER = tuple(PaymentStatus)


class Need(NamedTuple):
    """Work that an event leaves open, done later by a job; unique by (topic, key)."""

    topic: str
    key: str
    arguments: Mapping[str, Any] = {}


class Event(NamedTuple):
    """One event of a gateway in our words."""

    event_id: str
    type: str
    occurred_at: datetime | None  # by the gateway's clock, UTC; None where it does not say: less than any time
    livemode: bool | None  # real money or a test; None where the gateway does not say: then the account does
    facts: tuple[Fact, ...] = ()
    needs: tuple[Need, ...] = ()
    reference: str | None = None  # the main object's id, to search by
    ignored_because: str | None = None  # why there are no facts, when there are none
    refused_because: str | None = None  # what is wrong with its facts; the event is kept as failed, to be tried again

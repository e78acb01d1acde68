"""Our words for what a gateway says: an Event and its facts.

A fact never says "set this": it says what the gateway knew at one moment. `intake/record.sql` keeps every fact and
folds them into rows by rules that do not care about the order of arrival. A field that is None says nothing.
"""

from collections.abc import Mapping
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


LADDER = tuple(PaymentStatus)


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
    refunded_minor: int | None = None
    currency: str | None = None  # ISO 4217, upper case
    fee_minor: int | None = None  # the gateway's fee; None: not known yet
    fee_currency: str | None = None
    method: str | None = None  # card, bank_transfer, ...
    reference: str | None = None  # the merchant's own reference
    customer_ref: str | None = None  # the gateway's id of the customer
    failure_code: str | None = None
    failure_message: str | None = None
    status_reason: str | None = None  # why cancelled or reversed
    completed_at: datetime | None = None
    metadata: dict[str, Any] | None = None


Fact = PaymentFact


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

"""Payments: money that came in or tried to, with all that is known of each."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from analytics_api.audit import Change
from analytics_api.disputes import Dispute
from analytics_api.recorded import AS_OF, Record, RecordFilters, Records, listed_from_either, seen
from analytics_api.refunds import Refund
from gatehouse.backup.reads import payment_in_backup, read_from_either
from gatehouse.backup.standing import PRIMARY, ServedBy
from gatehouse.database.connection import Database
from gatehouse.http_api.application import ONE
from gatehouse.http_api.callers import Reader, desk_of
from gatehouse.http_api.fields import Money, RowId, Word
from gatehouse.http_api.health_data import without_health
from gatehouse.http_api.resources import resource
from gatehouse.models import browse

type PaymentStatus = Literal[
    "pending", "processing", "completed", "failed", "refunded", "partially_refunded", "cancelled"
]


class PaymentFilters(RecordFilters):
    """What payments can be looked for by."""

    text: Word | None = Field(
        None, description="A reference, customer or address; or words of its order, or their beginnings."
    )
    status: list[PaymentStatus] | None = Field(None, description="Any of these; give it several times for several.")
    reference: Word | None = None
    order_id: RowId | None = Field(None, description="What it was paid for.")
    customer_id: RowId | None = Field(None, description="Who paid, as we know them.")
    customer_ref: Word | None = Field(None, description="The gateway's id of the customer.")
    email: Word | None = Field(None, description="The payer's address; capital letters make no difference.")
    app: Word | None = None
    user_id: Word | None = None
    subscription_ref: Word | None = None


class Payment(Record):
    """One payment."""

    AMOUNTS: ClassVar[Any] = {
        **Record.AMOUNTS,
        "received": ("received_minor", "currency"),
        "refunded": ("refunded_minor", "currency"),
        "fee": ("fee_minor", "fee_currency"),
        "surcharge": ("surcharge_minor", "currency"),
    }

    status: PaymentStatus
    amount: Money | None = Field(description="What is to be paid; null where the gateway has not said.")
    received: Money | None = Field(description="What came in.")
    refunded: Money | None = Field(description="What went back of it.")
    fee: Money | None = Field(description="What the gateway keeps; null means not known yet, never nothing.")
    surcharge: Money | None = Field(description="What of the amount is a surcharge, which no invoice asks for.")
    source: str | None = Field(description="How it was made, in the gateway's word, such as Recurring.")
    method: str | None
    reference: str | None
    order_id: int | None = Field(description="The order that it names.")
    customer_id: int | None = Field(description="The customer of its e-mail address.")
    customer_ref: str | None
    email: str | None
    app: str | None
    user_id: str | None
    plan: str | None
    subscription_ref: str | None
    invoice_ref: str | None = Field(description="The gateway's id of the invoice that it pays.")
    invoice_number: str | None
    failure_code: str | None
    failure_message: str | None
    status_reason: str | None
    product_name: str | None = Field(description="What it was paid for, as the invoice says it.")
    product_category: str | None = Field(description="The merchant's product line, such as TRT.")
    is_recurring: bool | None = Field(description="One of a row, asked for by a subscription or contract.")
    completed_at: datetime | None
    metadata: dict[str, Any] | None


class EventOfPayment(BaseModel):
    """An event of the gateway that said something of the payment."""

    id: int
    event_id: str
    type: str
    occurred_at: datetime | None = Field(description="By the gateway's clock, where it says.")
    received_at: datetime


class PaymentStory(Payment):
    """A payment with what hangs on it, what was said of it, and how it changed."""

    refunds: list[Refund]
    disputes: list[Dispute]
    events: list[EventOfPayment]
    changes: list[Change]
    served_by: ServedBy
    as_of: datetime | None = AS_OF


router = APIRouter(tags=["payments"])


@router.get("/payments")
async def list_payments(
    request: Request, caller: Reader, filters: Annotated[PaymentFilters, Query()]
) -> Records[Payment]:
    """List payments, newest first."""
    return listed_from_either(request, caller, filters, "payments", Payment)


@router.get("/payments/{payment_id}", responses=ONE, response_model=PaymentStory)
async def show_payment(request: Request, caller: Reader, payment_id: RowId) -> Response:
    """Show one payment with its refunds, disputes and story. Where two turned out to be one, the one that was kept."""
    desk = desk_of(request)
    primary = desk.database()

    def read(database: Database) -> browse.PaymentStory:
        find = browse.find_payment if database is primary else payment_in_backup
        return find(database, caller.merchant, payment_id)

    answer = read_from_either(primary, desk.backup(), read)
    story = answer.found
    payment, changes = story.payment, story.changes
    if answer.served_by == PRIMARY:
        (payment,) = seen(request, caller, "payments", [story.payment])
        changes = story.changes if payment is story.payment else [without_health(each) for each in story.changes]
    shown = PaymentStory.of(
        payment,
        refunds=[Refund.of(row) for row in story.refunds],
        disputes=[Dispute.of(row) for row in story.disputes],
        events=story.events,
        changes=changes,
        served_by=answer.served_by,
        as_of=answer.as_of,
    )
    return resource(request, shown)

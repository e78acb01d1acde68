"""Invoices of the gateways: what was asked for, and what of it was paid."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_api.recorded import Record, RecordFilters, found, listed
from gatehouse.http_api.application import ONE
from gatehouse.http_api.callers import Reader
from gatehouse.http_api.fields import Money, RowId, Word
from gatehouse.http_api.pages import Page
from gatehouse.http_api.resources import resource

type InvoiceStatus = Literal[
    "draft", "open", "partially_paid", "past_due", "uncollectible", "void", "paid", "partially_refunded", "refunded"
]


class InvoiceFilters(RecordFilters):
    """What invoices can be looked for by."""

    status: list[InvoiceStatus] | None = Field(None, description="Any of these; give it several times for several.")
    customer_ref: Word | None = None
    subscription_ref: Word | None = None
    number: Word | None = None


class Invoice(Record):
    """One invoice."""

    AMOUNTS: ClassVar[Any] = {
        "total": ("total_minor", "currency"),
        "due": ("due_minor", "currency"),
        "paid": ("paid_minor", "currency"),
    }

    gateway_id: str
    status: InvoiceStatus
    number: str | None
    total: Money | None
    due: Money | None
    paid: Money | None
    customer_ref: str | None
    customer_name: str | None
    email: str | None
    billing_address: dict[str, Any] | None
    data_sent_status: Literal["pending", "sent", "failed"] = Field(
        description="Whether it was passed on to whoever fulfils it."
    )
    subscription_ref: str | None
    attempts: int | None
    next_attempt_at: datetime | None
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    period_start: datetime | None
    period_end: datetime | None
    description: str | None
    lines: list[Any] | None
    metadata: dict[str, Any] | None


router = APIRouter(tags=["invoices"])


@router.get("/invoices")
async def list_invoices(request: Request, caller: Reader, filters: Annotated[InvoiceFilters, Query()]) -> Page[Invoice]:
    """List invoices, newest first."""
    return listed(request, caller, filters, "invoices", Invoice)


@router.get("/invoices/{invoice_id}", responses=ONE, response_model=Invoice)
async def show_invoice(request: Request, caller: Reader, invoice_id: RowId) -> Response:
    """Show one invoice."""
    return resource(request, found(request, caller, "invoice", invoice_id, Invoice))

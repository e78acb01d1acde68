"""Refunds: what went back to payers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_api.recorded import Record, RecordFilters, Records, found, listed_from_either
from gatehouse.http_api.application import ONE
from gatehouse.http_api.callers import Reader
from gatehouse.http_api.fields import Money, RowId, Word
from gatehouse.http_api.resources import resource

type RefundStatus = Literal["pending", "completed", "cancelled", "failed"]


class RefundFilters(RecordFilters):
    """What refunds can be looked for by."""

    status: list[RefundStatus] | None = Field(None, description="Any of these; give it several times for several.")
    payment_id: RowId | None = None
    reference: Word | None = None


class Refund(Record):
    """One refund of a payment."""

    AMOUNTS: ClassVar[Any] = {**Record.AMOUNTS, "fee": ("fee_minor", "currency")}

    gateway_id: str
    payment_id: int | None = Field(description="Null as long as the gateway has not said which.")
    status: RefundStatus
    amount: Money | None
    fee: Money | None
    reason: str | None
    failure_code: str | None
    failure_message: str | None
    reference: str | None
    refunded_at: datetime | None
    metadata: dict[str, Any] | None


router = APIRouter(tags=["refunds"])


@router.get("/refunds")
async def list_refunds(request: Request, caller: Reader, filters: Annotated[RefundFilters, Query()]) -> Records[Refund]:
    """List refunds, newest first."""
    return listed_from_either(request, caller, filters, "refunds", Refund)


@router.get("/refunds/{refund_id}", responses=ONE, response_model=Refund)
async def show_refund(request: Request, caller: Reader, refund_id: RowId) -> Response:
    """Show one refund."""
    return resource(request, found(request, caller, "refund", refund_id, Refund))

"""Refunds: what went back to payers."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_api.recorded import AS_OF, Record, RecordFilters, Records, found_in_either, listed_from_either
from gatehouse.backup.standing import ServedBy
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


class OneRefund(Refund):
    """A refund, and which database it was read from."""

    served_by: ServedBy
    as_of: datetime | None = AS_OF


router = APIRouter(tags=["refunds"])


@router.get("/refunds")
async def list_refunds(request: Request, caller: Reader, filters: Annotated[RefundFilters, Query()]) -> Records[Refund]:
    """List refunds, newest first."""
    return listed_from_either(request, caller, filters, "refunds", Refund)


@router.get("/refunds/{refund_id}", responses=ONE, response_model=OneRefund)
async def show_refund(request: Request, caller: Reader, refund_id: RowId) -> Response:
    """Show one refund."""
    return resource(request, found_in_either(request, caller, "refund", refund_id, OneRefund))

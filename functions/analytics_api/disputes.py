"""Disputes: payments that the payer or the bank calls into question."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_api.recorded import AS_OF, Record, RecordFilters, Records, found_in_either, listed_from_either
from gatehouse.backup.standing import ServedBy
from gatehouse.http_api.application import ONE
from gatehouse.http_api.callers import Reader
from gatehouse.http_api.fields import Money, RowId
from gatehouse.http_api.resources import resource

type DisputeStatus = Literal["warning", "needs_response", "under_review", "closed", "won", "lost"]


class DisputeFilters(RecordFilters):
    """What disputes can be looked for by."""

    status: list[DisputeStatus] | None = Field(None, description="Any of these; give it several times for several.")
    payment_id: RowId | None = None


class Dispute(Record):
    """One dispute about a payment."""

    AMOUNTS: ClassVar[Any] = {**Record.AMOUNTS, "fee": ("fee_minor", "currency")}

    gateway_id: str
    payment_id: int | None = Field(description="Null as long as the gateway has not said which.")
    status: DisputeStatus
    amount: Money | None
    fee: Money | None
    reason: str | None
    outcome: str | None
    is_withdrawn: bool | None = Field(description="Whether the money is taken back for now.")
    respond_by: datetime | None
    opened_at: datetime | None
    closed_at: datetime | None


class OneDispute(Dispute):
    """A dispute, and which database it was read from."""

    served_by: ServedBy
    as_of: datetime | None = AS_OF


router = APIRouter(tags=["disputes"])


@router.get("/disputes")
async def list_disputes(
    request: Request, caller: Reader, filters: Annotated[DisputeFilters, Query()]
) -> Records[Dispute]:
    """List disputes, newest first."""
    return listed_from_either(request, caller, filters, "disputes", Dispute)


@router.get("/disputes/{dispute_id}", responses=ONE, response_model=OneDispute)
async def show_dispute(request: Request, caller: Reader, dispute_id: RowId) -> Response:
    """Show one dispute."""
    return resource(request, found_in_either(request, caller, "dispute", dispute_id, OneDispute))

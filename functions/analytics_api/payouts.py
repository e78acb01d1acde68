"""Payouts and transfers: money that the gateway sent out."""

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

type PayoutStatus = Literal["pending", "settled", "cancelled", "failed", "reversed"]


class PayoutFilters(RecordFilters):
    """What payouts can be looked for by."""

    status: list[PayoutStatus] | None = Field(None, description="Any of these; give it several times for several.")
    batch_ref: Word | None = None
    reference: Word | None = None


class Payout(Record):
    """One payout or transfer."""

    AMOUNTS: ClassVar[Any] = {
        **Record.AMOUNTS,
        "fee": ("fee_minor", "currency"),
        "reversed": ("reversed_minor", "currency"),
    }

    gateway_id: str
    kind: str | None
    status: PayoutStatus
    amount: Money | None
    fee: Money | None
    reversed: Money | None
    destination: str | None
    batch_ref: str | None
    reference: str | None
    arrives_at: datetime | None
    settled_at: datetime | None
    failure_code: str | None
    failure_message: str | None
    metadata: dict[str, Any] | None


router = APIRouter(tags=["payouts"])


@router.get("/payouts")
async def list_payouts(request: Request, caller: Reader, filters: Annotated[PayoutFilters, Query()]) -> Page[Payout]:
    """List payouts, newest first."""
    return listed(request, caller, filters, "payouts", Payout)


@router.get("/payouts/{payout_id}", responses=ONE, response_model=Payout)
async def show_payout(request: Request, caller: Reader, payout_id: RowId) -> Response:
    """Show one payout."""
    return resource(request, found(request, caller, "payout", payout_id, Payout))

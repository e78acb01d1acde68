"""Subscriptions: who pays again and again, for which plan."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from analytics_api.recorded import Record, RecordFilters, found, listed
from gatehouse.http_api.application import ONE
from gatehouse.http_api.callers import Reader
from gatehouse.http_api.fields import Money, RowId, Word
from gatehouse.http_api.pages import Page
from gatehouse.http_api.resources import resource

type SubscriptionStatus = Literal[
    "pending", "trialing", "active", "past_due", "paused", "non_renewing", "expired", "cancelled"
]


class SubscriptionFilters(RecordFilters):
    """What subscriptions can be looked for by."""

    status: list[SubscriptionStatus] | None = Field(
        None, description="Any of these; give it several times for several."
    )
    customer_ref: Word | None = None
    app: Word | None = None
    user_id: Word | None = None
    plan: Word | None = None


class Subscription(Record):
    """One subscription."""

    gateway_id: str
    status: SubscriptionStatus
    plan: str | None
    plan_name: str | None
    amount: Money | None
    interval: str | None
    customer_ref: str | None
    email: str | None
    reference: str | None
    started_at: datetime | None
    period_start: datetime | None
    period_end: datetime | None
    next_payment_at: datetime | None
    cancel_at: datetime | None
    ended_at: datetime | None
    cancel_reason: str | None
    app: str | None
    user_id: str | None
    metadata: dict[str, Any] | None


router = APIRouter(tags=["subscriptions"])


@router.get("/subscriptions")
async def list_subscriptions(
    request: Request, caller: Reader, filters: Annotated[SubscriptionFilters, Query()]
) -> Page[Subscription]:
    """List subscriptions, newest first."""
    return listed(request, caller, filters, "subscriptions", Subscription)


@router.get("/subscriptions/{subscription_id}", responses=ONE, response_model=Subscription)
async def show_subscription(request: Request, caller: Reader, subscription_id: RowId) -> Response:
    """Show one subscription."""
    return resource(request, found(request, caller, "subscription", subscription_id, Subscription))

"""The merchant's apps: what each user has now, and what was paid or subscribed."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, Field

from gatehouse.http_api.application import MISSING
from gatehouse.http_api.callers import Reader, desk_of
from gatehouse.http_api.fields import Moment, Money, Word, money
from gatehouse.http_api.pages import Filters, Page, after_moment, after_text, page
from gatehouse.models import browse

AppName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="The app's name.")]


class AppUser(BaseModel):
    """What a user of the app has now: of their subscriptions the newest, else the newest payment for a plan."""

    user_id: str
    plan: str | None
    status: str
    amount: Money | None
    said_by: str = Field(description="subscription or payment.")
    gateway: str
    account: str
    object_id: str
    since: datetime
    updated_at: datetime
    livemode: bool


class AppTransaction(BaseModel):
    """One event of a payment or a subscription of the app."""

    id: int
    event_type: str
    gateway: str
    account: str
    livemode: bool
    payment_id: int | None
    subscription_id: int | None
    reference: str | None
    user_id: str | None
    plan: str | None
    amount: Money | None
    status: str
    occurred_at: datetime | None
    created_at: datetime


class UserFilters(Filters):
    """Users come by their ids."""


class TransactionFilters(Filters):
    """What transactions can be looked for by."""

    user_id: Word | None = None
    reference: Word | None = None
    since: Moment | None = Field(None, description="Recorded at or after this time.")
    until: Moment | None = Field(None, description="Recorded before this time.")


router = APIRouter(tags=["apps"])


@router.get("/apps/{app}/users", responses=MISSING)
async def list_users(
    request: Request, caller: Reader, app: AppName, filters: Annotated[UserFilters, Query()]
) -> Page[AppUser]:
    """List the users of an app and what each has now."""
    rows = browse.list_app_users(
        desk_of(request).database(), caller.merchant, app, after_user=after_text(filters), most=filters.limit + 1
    )
    return page(rows, filters, _user, lambda row: (row["user_id"],))


@router.get("/apps/{app}/transactions", responses=MISSING)
async def list_transactions(
    request: Request, caller: Reader, app: AppName, filters: Annotated[TransactionFilters, Query()]
) -> Page[AppTransaction]:
    """List what was paid or subscribed in an app, newest first."""
    rows = browse.list_app_transactions(
        desk_of(request).database(),
        caller.merchant,
        app,
        **filters.wanted(),
        after=after_moment(filters),
        most=filters.limit + 1,
    )
    return page(rows, filters, _transaction, lambda row: (row["created_at"].isoformat(), row["webhook_event_id"]))


def _user(row: dict[str, Any]) -> AppUser:
    return AppUser.model_validate({**row, "amount": money(row, "amount_minor"), "updated_at": row["last_fact_at"]})


def _transaction(row: dict[str, Any]) -> AppTransaction:
    return AppTransaction.model_validate({**row, "amount": money(row, "amount_minor"), "id": row["webhook_event_id"]})

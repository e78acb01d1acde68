"""How complete each day is: what a gateway lists beside what is recorded."""

from datetime import date as Date
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from gatehouse.errors import InputRefused
from gatehouse.http_api.callers import Reader, desk_of
from gatehouse.http_api.fields import Word
from gatehouse.http_api.pages import Filters, Page, after_text, page
from gatehouse.models.completeness import Place, list_completeness


class CompletenessFilters(Filters):
    """What days can be looked for by."""

    gateway: Word | None = None
    account: Word | None = None
    since: Date | None = Field(None, description="This day (UTC) and later ones.")
    only_missing: bool = Field(False, description="Only days that lack something.")


class Completeness(BaseModel):
    """One day (UTC) of one account, as it was compared last."""

    gateway: str
    account: str
    day: Date
    listed: int = Field(description="Payments and refunds that the gateway lists.")
    recorded: int = Field(description="Those of them that were recorded then; the others were asked for.")
    found_missing: int = Field(description="What all comparisons of this day together found missing.")
    checks: int
    checked_at: datetime


router = APIRouter(tags=["reconciliation"])


@router.get("/completeness")
async def show_completeness(
    request: Request, caller: Reader, filters: Annotated[CompletenessFilters, Query()]
) -> Page[Completeness]:
    """List how complete the days of the merchant's accounts are, the newest first."""
    rows = list_completeness(
        desk_of(request).database(),
        caller.merchant,
        **filters.wanted(),
        after=_place(after_text(filters)),
        most=filters.limit + 1,
    )
    return page(rows, filters, Completeness.model_validate, _position)


def _position(row: dict[str, Any]) -> tuple[str]:
    return (f"{row['day']}/{row['gateway']}/{row['account']}",)


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    try:
        day, gateway, account = text.split("/", 2)
        return Date.fromisoformat(day), gateway, account
    except ValueError:
        raise InputRefused("The cursor is none that a page gave.", field="cursor", place="query") from None

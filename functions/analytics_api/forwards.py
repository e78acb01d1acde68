"""Deliveries to the merchant's apps: what arrived, what did not and why, how it goes, and one made again."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from analytics_api.recorded import GatewayName
from gatehouse.http_api.application import CHANGE, ONE
from gatehouse.http_api.callers import Reader, Writer, desk_of
from gatehouse.http_api.fields import Moment, RowId, Word
from gatehouse.http_api.pages import Filters, Page, after_moment, page
from gatehouse.http_api.resources import resource
from gatehouse.models import forwards


class ForwardFilters(Filters):
    """What deliveries can be looked for by."""

    app: Word | None = None
    ok: bool | None = Field(None, description="Whether the app took it; both when it is not given.")
    gateway: GatewayName | None = None
    reference: Word | None = None
    event: RowId | None = Field(None, description="The event's number.")
    error: Word | None = Field(None, description="Words of the error.")
    since: Moment | None = Field(None, description="Delivered at or after this time.")
    until: Moment | None = Field(None, description="Delivered before this time.")


class Forward(BaseModel):
    """One delivery, however many attempts it took."""

    id: int
    created_at: datetime
    app: str
    target_url: str = Field(description="Without its query.")
    ok: bool
    status_code: int | None = Field(description="Of the last answer; null where there was none.")
    attempt_count: int
    error_class: str | None
    error_message: str | None
    reference: str | None
    gateway: str | None
    duration_ms: int | None
    webhook_event_id: int | None
    job_id: int | None


class ForwardStory(Forward):
    """A delivery and what is to become of its event."""

    event_id: str | None = Field(description="The gateway's id of the event.")
    event_type: str | None
    received_at: datetime | None = Field(description="When the event came in.")
    job_status: str | None = Field(description="waiting, leased, done, or dead: given up.")
    job_attempts: int | None = Field(description="Deliveries that count.")
    due_at: datetime | None = Field(description="When it is tried again, where it waits.")
    last_error: str | None


class ForwardStats(BaseModel):
    """How forwarding to one app goes: the last 24 hours, and what waits now."""

    app: str
    deliveries: int
    delivered: int
    success_rate_pct: float | None = Field(description="Null where there was no delivery.")
    attempts: int
    p50_seconds: float | None = Field(description="From the receipt of an event to its delivery.")
    p95_seconds: float | None
    waiting: int
    dead: int = Field(description="Given up, and not sent again.")
    oldest_waiting_since: datetime | None


class AllStats(BaseModel):
    """How forwarding goes."""

    apps: list[ForwardStats]


class Retried(BaseModel):
    """A delivery that is made again."""

    job_id: int
    status: Literal["waiting"] = "waiting"


class Target(BaseModel):
    """Where and how an app is told of its events."""

    name: str
    is_default: bool
    plans: list[str]
    url: str | None = Field(description="Without its query; null where the app is told nothing.")
    is_from_settings: bool
    is_paused: bool
    paused_because: str | None
    takes: dict[str, Any] = Field(description="Which events; empty for all of its own.")
    takes_health_data: bool
    router_source: str | None
    attempts: int | None
    attempt_milliseconds: int | None
    rate_per_second: float | None
    circuit_state: Literal["closed", "open", "half_open"] = Field(
        description="closed: it answers. open: it does not, and is left alone. half_open: it is being tried."
    )
    circuit_probe_at: datetime | None


class Targets(BaseModel):
    """The merchant's apps."""

    apps: list[Target]


router = APIRouter(tags=["forwards"])


@router.get("/apps")
async def list_apps(request: Request, caller: Reader) -> Targets:
    """List the merchant's apps and where each is told of its events."""
    rows = forwards.list_targets(desk_of(request).database(), caller.merchant)
    return Targets(apps=[_target(row) for row in rows])


@router.get("/forwards")
async def list_forwards(request: Request, caller: Reader, filters: Annotated[ForwardFilters, Query()]) -> Page[Forward]:
    """List deliveries to apps, newest first."""
    rows = forwards.list_forwards(
        desk_of(request).database(),
        caller.merchant,
        **filters.wanted(),
        before=after_moment(filters)[1],
        most=filters.limit + 1,
    )
    return page(rows, filters, Forward.model_validate, lambda row: (row["created_at"].isoformat(), row["id"]))


@router.get("/forwards/stats")
async def show_stats(request: Request, caller: Reader) -> AllStats:
    """Show how forwarding to each app goes."""
    rows = forwards.stats(desk_of(request).database(), caller.merchant)
    return AllStats(apps=[ForwardStats.model_validate(row) for row in rows])


@router.get("/forwards/{forward_id}", responses=ONE, response_model=ForwardStory)
async def show_forward(request: Request, caller: Reader, forward_id: RowId) -> Response:
    """Show one delivery."""
    found = forwards.find_forward(desk_of(request).database(), forward_id, caller.merchant)
    return resource(request, ForwardStory.model_validate(found))


@router.post("/forwards/{forward_id}/retry", status_code=202, responses=CHANGE)
async def retry_forward(request: Request, caller: Writer, forward_id: RowId) -> Retried:
    """Make a delivery again, with the same webhook-id, also one that succeeded."""
    desk = desk_of(request)
    with desk.database().transaction(merchant=caller.merchant, event=caller.actor) as transaction:
        job = forwards.forward_again(transaction, forward_id)
    desk.bell().ring([(job, forwards.TOPIC)])
    return Retried(job_id=job)


def _target(row: dict[str, Any]) -> Target:
    return Target.model_validate({**row, "url": None if row["url"] is None else row["url"].partition("?")[0]})

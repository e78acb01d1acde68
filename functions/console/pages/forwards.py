"""Forwarding: how each app is told, what failed and why, one delivery with its attempts, and what is sent again.

A redrive is planned, confirmed, and handed over to event_forwarder by a job: its page shows how far it has come, and
may be closed. One that nobody carries out, such as one of an interrupted command, can be handed over here too.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.forms import query_of
from console.views import fragment, go, page, zone_of
from console.visitors import Changing, Here, Operator, Place
from gatehouse.database.connection import Database
from gatehouse.errors import InputRefused, NotFound
from gatehouse.forwarding import redrive
from gatehouse.gateways import NAMES
from gatehouse.http_api.fields import Day, RowId, Word
from gatehouse.http_api.pages import Filters, after_moment, page_cursor
from gatehouse.models import forwards
from gatehouse.models.admin_changes import note_deed

NAVIGATION = (("Forwarding", "merchant", "forwards"),)

DAYS_OF_FAILURES = 7
MOST_ATTEMPTS_SHOWN = 50
MOST_REDRIVES_SHOWN = 10

Row = dict[str, Any]
router = APIRouter()


class ForwardFilters(Filters):
    """What deliveries can be looked for by; days are those of the visitor's zone."""

    limit: int = Field(50, ge=1, le=100)
    app: Word | None = None
    ok: bool | None = None
    gateway: Word | None = None
    reference: Word | None = None
    error: Word | None = None
    since: Day | None = None
    until: Day | None = None


class Redrive(BaseModel):
    """What is to be sent again: what was given up, or with `replay` what was delivered."""

    model_config = ConfigDict(extra="ignore")

    app: Word | None = None
    error: Word | None = None
    gateway: Word | None = None
    since: Day | None = None
    until: Day | None = None
    limit: int | None = Field(None, ge=1, le=1_000_000)
    replay: bool = False


@router.get("/console/m/{merchant}/forwards")
async def show_list(request: Request, place: Here) -> Response:
    """Show how each app is told, why deliveries failed, and deliveries, newest first."""
    filters = query_of(request, ForwardFilters)
    wanted = filters.wanted() | _moments(request, filters.since, filters.until)
    rows = forwards.list_forwards(
        place.database, place.merchant, **wanted, before=after_moment(filters)[1], most=filters.limit + 1
    )
    shown = rows[: filters.limit]
    last = shown[-1] if len(rows) > filters.limit else None
    asked = filters.model_dump(mode="json", exclude={"cursor"}, exclude_none=True, exclude_defaults=True)
    since = datetime.now(UTC) - timedelta(days=DAYS_OF_FAILURES)
    targets = forwards.list_targets(place.database, place.merchant)
    stats = {row["app"]: row for row in forwards.stats(place.database, place.merchant)}
    return page(
        request,
        "forwards.html",
        "Forwarding",
        rows=shown,
        next=None if last is None else page_cursor((last["created_at"].isoformat(), last["id"]), filters),
        filters=filters,
        asked={name: str(value).lower() if isinstance(value, bool) else value for name, value in asked.items()},
        targets=[row | {"stats": stats.get(row["name"])} for row in targets],
        failures=forwards.failures(place.database, place.merchant, since=since),
        redrives=_redrives(request, place),
        gateways=NAMES,
        path=place.path("forwards"),
    )


@router.get("/console/m/{merchant}/forwards/redrive")
async def plan(request: Request, place: Here, operator: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Say what would be sent again, how much money it is about, and what would do nothing."""
    asked = query_of(request, Redrive)
    filters = _filters(request, asked)
    found = redrive.plan(desk_of(request).ops_database(), place.merchant, filters)
    return page(
        request,
        "redrive_plan.html",
        "Send again",
        plan=found,
        asked=asked,
        hidden={name: str(value) for name, value in asked.model_dump(exclude_none=True).items()},
        apps=[row["name"] for row in forwards.list_targets(place.database, place.merchant)],
        gateways=NAMES,
        path=place.path("forwards"),
    )


@router.post("/console/m/{merchant}/forwards/redrive")
async def begin(request: Request, place: Here, operator: Operator, form: Changing) -> Response:  # noqa: ARG001 - being one is enough
    """Hand a redrive over that was planned and confirmed; its page shows how far it has come."""
    filters = _filters(request, form.read(Redrive))
    database = desk_of(request).ops_database()
    found = redrive.plan(database, place.merchant, filters)
    if not found.deliveries:
        raise InputRefused("filters: there is nothing to be sent again any more.", field="filters", place="form")
    number = redrive.begin(database, place.merchant, filters, place.actor, found.deliveries)
    desk_of(request).bell().ring(redrive.hand_over(database, number))
    return go(request, place.path(f"forwards/redrives/{number}"))


@router.get("/console/m/{merchant}/forwards/redrives/{number}")
async def show_redrive(request: Request, place: Here, operator: Operator, number: RowId) -> Response:  # noqa: ARG001 - being one is enough
    """Show how far a redrive has come."""
    database = desk_of(request).ops_database()
    held = _held(database, place, number)
    # Asked first: one that ends in between is then done, and not left by whoever carried it out.
    is_handed_over = redrive.is_handed_over(database, number)
    found = redrive.progress_of(database, number)
    context: Row = {
        "held": held,
        "progress": found,
        "is_over": found.is_done and not found.under_way,
        "is_going": found.is_done or is_handed_over,
        "path": place.path("forwards"),
    }
    if "live" in request.query_params:
        return fragment(request, "redrive_progress.html", **context)
    return page(request, "redrive.html", f"Redrive {number}", **context)


@router.post("/console/m/{merchant}/forwards/redrives/{number}/go-on")
async def go_on(request: Request, place: Here, operator: Operator, number: RowId, form: Changing) -> Response:
    """Hand a redrive over that nobody carries out any more."""
    del operator, form
    database = desk_of(request).ops_database()
    _held(database, place, number)
    if jobs := redrive.hand_over(database, number):
        note_deed(database, place.actor, place.merchant, "redrive taken up again", str(number))
        desk_of(request).bell().ring(jobs)
    return go(request, place.path(f"forwards/redrives/{number}"))


@router.get("/console/m/{merchant}/forwards/{forward_id}")
async def show(request: Request, place: Here, forward_id: RowId) -> Response:
    """Show one delivery, and all others of its event to the same app."""
    found = forwards.find_forward(place.database, forward_id, place.merchant)
    event = found["webhook_event_id"]
    others = (
        [found]
        if event is None
        else forwards.list_forwards(
            place.database, place.merchant, event=event, app=found["app"], most=MOST_ATTEMPTS_SHOWN
        )
    )
    return page(
        request,
        "forward.html",
        f"Delivery {forward_id}",
        forward=found,
        others=others,
        path=place.path("forwards"),
    )


@router.post("/console/m/{merchant}/forwards/{forward_id}/again")
async def deliver_again(request: Request, place: Here, forward_id: RowId, form: Changing) -> Response:
    """Make a delivery again, with the same webhook-id."""
    del form
    with place.database.transaction(merchant=place.merchant) as transaction:
        job = forwards.forward_again(transaction, forward_id)
        note_deed(transaction, place.actor, place.merchant, "delivery made again", str(forward_id))
    desk_of(request).bell().ring([(job, forwards.TOPIC)])
    return go(request, place.path(f"forwards/{forward_id}"), "It is being delivered again.")


def _redrives(request: Request, place: Place) -> list[Row]:
    """Return the newest redrives of the merchant, for those who may begin one."""
    if not place.visitor.is_operator:
        return []
    rows = redrive.list_redrives(desk_of(request).ops_database(), most=100)
    return [row for row in rows if row["merchant"] == place.merchant][:MOST_REDRIVES_SHOWN]


def _held(database: Database, place: Place, number: int) -> Row:
    held = redrive.find_redrive(database, number)
    if held["merchant"] != place.merchant:
        raise NotFound(f"there is no redrive {number}")
    return held


def _filters(request: Request, asked: Redrive) -> Row:
    given = asked.model_dump() | _moments(request, asked.since, asked.until)
    return redrive.filters_of(given)


def _moments(request: Request, since: date | None, until: date | None) -> dict[str, datetime | None]:
    zone = zone_of(request)
    first, last = (
        None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        for day in (since, until and until + timedelta(days=1))
    )
    return {"since": first, "until": last}

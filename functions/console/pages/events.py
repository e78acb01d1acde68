"""Events of the gateways: as they arrive, searched, one with all that it led to; and requests that were refused."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from console.desk import desk_of
from console.forms import query_of
from console.views import fragment, go, page
from console.visitors import Changing, Here, Operator
from gatehouse.database.connection import Database
from gatehouse.gateways import NAMES
from gatehouse.http_api.fields import RowId, Word
from gatehouse.http_api.health_data import without_health
from gatehouse.http_api.pages import Filters
from gatehouse.intake.rejected import list_rejected
from gatehouse.intake.retry import retry as take_up
from gatehouse.models import events
from gatehouse.models.admin_changes import note_deed
from gatehouse.models.story import MASK, PERSONAL

NAVIGATION = (("Events", "merchant", "events"), ("Events", "ops", "events"), ("Refused", "ops", "rejected"))

STATUSES = ("received", "applied", "ignored", "failed")

Row = dict[str, Any]
router = APIRouter()


class EventFilters(Filters):
    """What events can be looked for by."""

    limit: int = Field(50, ge=1, le=100)
    name: Word | None = None
    status: Word | None = None
    gateway: Word | None = None
    type: Word | None = None
    reference: Word | None = None
    before: RowId | None = None


@router.get("/console/m/{merchant}/events")
async def show_list(request: Request, place: Here) -> Response:
    """List a merchant's events, newest first, and go on showing what arrives."""
    return _list(request, place.database, place.merchant, place.path("events"))


@router.get("/console/ops/events")
async def show_all(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """List the events of all merchants, newest first, and go on showing what arrives."""
    return _list(request, desk_of(request).ops_database(), None, "/console/ops/events")


@router.get("/console/m/{merchant}/events/{event_id}")
async def show(request: Request, place: Here, event_id: RowId) -> Response:
    """Show one event of a merchant with what it said, changed and left to do."""
    return _one(request, place.database, place.merchant, event_id, place.path("events"))


@router.get("/console/ops/events/{event_id}")
async def show_any(request: Request, visitor: Operator, event_id: RowId) -> Response:  # noqa: ARG001 - being one is enough
    """Show one event of any merchant."""
    return _one(request, desk_of(request).ops_database(), None, event_id, "/console/ops/events")


@router.post("/console/ops/events/{event_id}/retry")
async def retry(request: Request, visitor: Operator, event_id: RowId, form: Changing) -> Response:
    """Take up an event again that failed or was ignored."""
    del form
    desk = desk_of(request)
    database = desk.ops_database()
    event = events.find_event(database, str(event_id))
    recorded = take_up(database, event, desk.keyring())
    note_deed(database, visitor.actor, event["merchant"], "event taken up again", str(event_id))
    desk.bell().ring(recorded.jobs)
    reason = f": {recorded.reason}" if recorded.reason else ""
    kind = "bad" if recorded.status == "failed" else "good"
    return go(request, f"/console/ops/events/{event_id}", f"Now it is {recorded.status}{reason}.", kind=kind)


@router.get("/console/ops/rejected")
async def show_rejected(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """List requests that were refused at the door, and why."""
    gateway = request.query_params.get("gateway") or None
    rows = list_rejected(desk_of(request).ops_database(), gateway=gateway, most=100)
    return page(request, "rejected.html", "Refused requests", rows=rows, gateways=NAMES, gateway=gateway)


def _list(request: Request, database: Database, merchant: str | None, path: str) -> Response:
    filters = query_of(request, EventFilters, besides=("live",))
    if filters.name:
        found = events.find_event(database, filters.name, gateway=filters.gateway, merchant=merchant)
        return go(request, f"{path}/{found['id']}")
    wanted = filters.model_dump(include={"status", "gateway", "type", "reference", "before"})
    rows = events.list_events(database, **wanted, most=filters.limit + 1, merchant=merchant)
    shown = rows[: filters.limit]
    asked = filters.model_dump(mode="json", exclude={"before", "cursor"}, exclude_defaults=True)
    context: Row = {"rows": shown, "path": path, "all_merchants": merchant is None, "asked": asked}
    if "live" in request.query_params:
        return fragment(request, "event_rows.html", **context)
    return page(
        request,
        "events.html",
        "Events",
        **context,
        filters=filters,
        statuses=STATUSES,
        gateways=NAMES,
        before=shown[-1]["id"] if len(rows) > filters.limit else None,
    )


def _one(request: Request, database: Database, merchant: str | None, event_id: int, path: str) -> Response:
    event = events.find_event(database, str(event_id), merchant=merchant)
    told = events.story_of(database, event, merchant=merchant)
    return page(
        request,
        "event.html",
        f"Event {event['event_id']}",
        event=event,
        facts=[fact | {"words": masked(fact["kind"], fact["words"])} for fact in told.facts],
        changes=[without_health(each) for each in told.changes],
        jobs=told.jobs,
        path=path,
    )


def masked(kind: str, words: Row) -> Row:
    """Return what a fact says, without what a person is known by."""
    hidden = PERSONAL.get(kind, frozenset(words))
    return {name: MASK if name in hidden and value is not None else value for name, value in words.items()}

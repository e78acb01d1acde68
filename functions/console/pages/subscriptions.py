"""Subscriptions: the users of each app with what they have now, and all that the gateways know."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from console.csv import csv_of
from console.desk import desk_of
from console.forms import query_of
from console.views import go, page
from console.visitors import Here, Operator, SignedIn
from gatehouse.http_api.fields import Word
from gatehouse.http_api.pages import Filters, after_moment, after_text, newest_first, page_cursor
from gatehouse.models import apps, browse, forwards

NAVIGATION = (("Subscriptions", "merchant", "subscriptions"), ("Subscriptions", "ops", "subscriptions"))

STATUSES = ("pending", "trialing", "active", "past_due", "paused", "non_renewing", "expired", "cancelled")
NOT_FILTERED: dict[str, None] = dict.fromkeys(("gateway", "livemode", "since", "until", "customer_ref", "user_id"))
MOST_IN_CSV = 5000
CSV_COLUMNS = (
    *("user_id", "plan", "status", "amount_minor", "currency", "said_by", "gateway", "account", "object_id", "since"),
    *("last_fact_at", "livemode"),
)

router = APIRouter()


class AppFilters(Filters):
    """What apps of all merchants can be looked for by."""

    limit: int = Field(50, ge=1, le=50)
    text: Word | None = None


class UserFilters(Filters):
    """Users of one app come by their ids; without an app, the first one's."""

    limit: int = Field(50, ge=1, le=100)
    app: Word | None = None


class SubscriptionFilters(Filters):
    """What the gateways' subscriptions can be looked for by."""

    limit: int = Field(50, ge=1, le=100)
    status: Word | None = None
    plan: Word | None = None
    app: Word | None = None


@router.get("/dashboard/subscriptions")
async def lead_in() -> Response:
    """Lead to the page in the console, where sessions hold."""
    return Response(status_code=307, headers={"location": "/console/subscriptions", "cache-control": "no-store"})


@router.get("/console/subscriptions")
async def lead_home(request: Request, visitor: SignedIn) -> Response:
    """Lead to the subscriptions that the visitor may see."""
    return go(request, f"{visitor.home}/subscriptions")


@router.get("/console/ops/subscriptions")
async def show_apps(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show the apps of all merchants, a page of them, with how many users each has."""
    filters = query_of(request, AppFilters)
    after = None if filters.cursor is None else _app_of(after_text(filters) or "")
    rows = apps.look_for_apps(desk_of(request).ops_database(), text=filters.text, after=after, most=filters.limit + 1)
    shown = rows[: filters.limit]
    last = shown[-1] if len(rows) > filters.limit else None
    return page(
        request,
        "subscription_apps.html",
        "Subscriptions",
        rows=shown,
        next=page_cursor((f"{last['merchant']}/{last['name']}",), filters) if last else None,
        filters=filters,
        asked=_asked(filters),
        counted=apps.MOST_COUNTED,
        path="/console/ops/subscriptions",
    )


@router.get("/console/m/{merchant}/subscriptions")
async def show_users(request: Request, place: Here) -> Response:
    """Show the users of an app, each with plan and status; without any app, what the gateways know."""
    filters = query_of(request, UserFilters, besides=("format",))
    path = place.path("subscriptions")
    names = [row["name"] for row in forwards.list_targets(place.database, place.merchant)]
    if not names and filters.app is None:
        return go(request, f"{path}/all")
    app = filters.app or names[0]
    is_file = request.query_params.get("format") == "csv"
    most = MOST_IN_CSV if is_file else filters.limit
    rows = browse.list_app_users(place.database, place.merchant, app, after_user=after_text(filters), most=most + 1)
    if is_file:
        return csv_of(f"users-{app}-{place.merchant}", CSV_COLUMNS, rows[:most], is_whole=len(rows) <= most)
    shown = rows[:most]
    return page(
        request,
        "subscription_users.html",
        f"Subscriptions: {app}",
        rows=shown,
        apps=names,
        app=app,
        next=page_cursor((shown[-1]["user_id"],), filters) if len(rows) > most else None,
        filters=filters,
        asked=_asked(filters),
        path=path,
    )


@router.get("/console/m/{merchant}/subscriptions/all")
async def show_all(request: Request, place: Here) -> Response:
    """Show what the gateways know of subscriptions, newest first."""
    filters = query_of(request, SubscriptionFilters)
    rows = browse.list_rows(
        place.database,
        place.merchant,
        "subscriptions",
        **NOT_FILTERED,
        status=[filters.status] if filters.status else None,
        plan=filters.plan,
        app=filters.app,
        after=after_moment(filters),
        most=filters.limit + 1,
    )
    shown = rows[: filters.limit]
    return page(
        request,
        "subscriptions.html",
        "Subscriptions: all",
        rows=shown,
        apps=[row["name"] for row in forwards.list_targets(place.database, place.merchant)],
        app=None,
        statuses=STATUSES,
        next=page_cursor(newest_first(shown[-1]), filters) if len(rows) > filters.limit else None,
        filters=filters,
        asked=_asked(filters),
        path=place.path("subscriptions"),
    )


def _app_of(after: str) -> tuple[str, str]:
    merchant, _, name = after.partition("/")
    return merchant, name


def _asked(filters: Filters) -> dict[str, Any]:
    """Return the filters as they stand in an address."""
    asked: dict[str, Any] = filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True)
    return asked

"""Orders: found, looked at with all that belongs to them, moved along their steps."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from console.csv import csv_of
from console.forms import query_of
from console.views import go, page, zone_of
from console.visitors import Changing, Here, Place
from gatehouse.errors import InputRefused, NotFound
from gatehouse.http_api.fields import Day, RowId, Word
from gatehouse.http_api.health_data import as_seen, without_health
from gatehouse.http_api.pages import Filters, after_text, page_cursor
from gatehouse.models import orders
from gatehouse.models.scope import Page

NAVIGATION = (("Orders", "merchant", "orders"),)

MOST_IN_CSV = 5000
CSV_COLUMNS = (
    *("id", "number", "created_at", "status", "payment_state", "total_minor", "paid_minor", "refunded_minor"),
    *("currency", "event_id", "event_name", "event_date", "email", "reference", "livemode"),
)

router = APIRouter()


class OrderFilters(Filters):
    """What orders can be looked for by; days are those of the visitor's zone."""

    limit: int = Field(50, ge=1, le=100)
    text: Word | None = None
    status: Word | None = None
    payment_state: Word | None = None
    event_id: Word | None = None
    item_type: Word | None = None
    since: Day | None = None
    until: Day | None = None


@router.get("/console/m/{merchant}/orders")
async def show_list(request: Request, place: Here) -> Response:
    """List orders, newest first; a text that is an order's number leads to it at once."""
    filters = query_of(request, OrderFilters, besides=("format",))
    if filters.text and filters.cursor is None:
        try:
            found = orders.find_order_named(place.database, place.merchant, filters.text)
            return go(request, place.path(f"orders/{found.id}"))
        except NotFound:
            pass  # then it is a text like others
    if request.query_params.get("format") == "csv":
        return _as_csv(request, place, filters)
    listed = _listed(request, place, filters, after_text(filters), filters.limit)
    return page(
        request,
        "orders.html",
        "Orders",
        rows=listed.rows,
        next=None if listed.next is None else page_cursor((listed.next,), filters),
        filters=filters,
        asked=filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True),
        statuses=orders.STATUSES,
        states=orders.PAYMENT_STATES,
        path=place.path("orders"),
    )


@router.get("/console/m/{merchant}/orders/{order_id}")
async def show(request: Request, place: Here, order_id: RowId) -> Response:
    """Show one order with its items, payments, refunds and history."""
    found = orders.summarise_order(place.database, place.merchant, order_id)
    rows = [each._asdict() for each in found.payments]
    return page(
        request,
        "order.html",
        f"Order {found.order.number}",
        order=found.order,
        customer=found.customer,
        items=found.items,
        payments=as_seen(place.database, place.merchant, place.visitor.key_id, "payments", rows),
        refunds=found.refunds,
        history=[without_health(each._asdict()) for each in found.history],
        statuses=[status for status in orders.STATUSES if status != found.order.status],
        path=place.path(f"orders/{order_id}"),
    )


@router.post("/console/m/{merchant}/orders/{order_id}/status")
async def move(request: Request, place: Here, order_id: RowId, form: Changing) -> Response:
    """Take a step with an order, unless somebody has changed it since it was shown."""
    version = form.text("version")
    if not (version.isascii() and version.isdigit()) or len(version) > 18:
        raise InputRefused("Begin at the order's page.", field="version", place="form")
    moved = orders.set_order_status(
        place.database,
        place.merchant,
        order_id,
        form.text("status"),
        expected_version=int(version),
        actor=place.actor,
    )
    return go(request, place.path(f"orders/{order_id}"), f"The order is {moved.status.replace('_', ' ')} now.")


def _listed(request: Request, place: Place, filters: OrderFilters, after: str | None, most: int) -> Page[orders.Order]:
    zone = zone_of(request)
    since, until = (
        None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
        for day in (filters.since, filters.until and filters.until + timedelta(days=1))
    )
    wanted = orders.OrderFilter(
        filters.status, filters.payment_state, filters.event_id, filters.item_type, since, until
    )
    return orders.list_orders(place.database, place.merchant, wanted, text=filters.text, after=after, most=most)


def _as_csv(request: Request, place: Place, filters: OrderFilters) -> Response:
    rows: list[dict[str, Any]] = []
    after: str | None = None
    while len(rows) < MOST_IN_CSV:
        listed = _listed(request, place, filters, after, 200)
        rows += [each._asdict() for each in listed.rows]
        after = listed.next
        if after is None:
            break
    return csv_of(f"orders-{place.merchant}", CSV_COLUMNS, rows[:MOST_IN_CSV], is_whole=after is None)

"""Payments: found, looked at with their whole story, given back."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.csv import csv_of
from console.desk import desk_of
from console.forms import query_of
from console.views import go, page, zone_of
from console.visitors import Changing, Here, Operator, Place
from gatehouse.backup.reads import payment_in_backup, read_from_either
from gatehouse.backup.standing import PRIMARY
from gatehouse.database.connection import Database, Transaction
from gatehouse.errors import GatehouseError, InputRefused
from gatehouse.gateways import NAMES
from gatehouse.http_api.callers import Caller
from gatehouse.http_api.fields import Day, RowId, Word
from gatehouse.http_api.health_data import HEALTH_COLUMNS, as_seen, without_health
from gatehouse.http_api.pages import Filters, after_moment, newest_first, page_cursor
from gatehouse.http_api.repetition import Answer, answer_once
from gatehouse.intake.retry import retry
from gatehouse.models import browse, refunds, story
from gatehouse.models.admin_changes import note_deed
from gatehouse.models.events import find_event
from gatehouse.models.payments import find_payment_by_object
from gatehouse.money import to_decimal, to_minor

NAVIGATION = (("Payments", "merchant", "payments"),)

STATUSES = ("pending", "processing", "completed", "failed", "refunded", "partially_refunded", "cancelled")
SEND_REFUND = "send_refund"
MOST_IN_CSV = 5000
CSV_COLUMNS = (
    *("id", "first_fact_at", "status", "amount_minor", "received_minor", "refunded_minor", "currency", "fee_minor"),
    *("fee_currency", "gateway", "account", "livemode", "method", "reference", "email", "customer_ref", "order_id"),
    *("app", "plan", "product_name", "product_category", "failure_code", "completed_at"),
)
NOT_FILTERED: dict[str, None] = dict.fromkeys(
    ("reference", "customer_ref", "email", "app", "user_id", "subscription_ref")
)

Row = dict[str, Any]
router = APIRouter()


class PaymentFilters(Filters):
    """What payments can be looked for by; days are those of the visitor's zone."""

    limit: int = Field(50, ge=1, le=100)
    text: Word | None = None
    status: Word | None = None
    gateway: Word | None = None
    livemode: bool | None = None
    since: Day | None = None
    until: Day | None = None
    customer_id: RowId | None = None
    order_id: RowId | None = None


class RefundAsked(BaseModel):
    """A refund as a form asks for it."""

    model_config = ConfigDict(extra="ignore")

    amount: Word | None = None
    reason: Word | None = None
    key: Word | None = None


@router.get("/console/m/{merchant}/payments")
async def show_list(request: Request, place: Here) -> Response:
    """List payments, newest first; a text that is a gateway's id leads to its payment at once."""
    filters = query_of(request, PaymentFilters, besides=("format",))
    if filters.text and filters.cursor is None and (found := _named(place, filters.text)):
        return go(request, place.path(f"payments/{found}"))
    if request.query_params.get("format") == "csv":
        return _as_csv(request, place, filters)
    rows, served_by, as_of = _rows(request, place, filters, after_moment(filters), filters.limit + 1)
    shown = rows[: filters.limit]
    return page(
        request,
        "payments.html",
        "Payments",
        rows=shown,
        filters=filters,
        asked=_asked(filters),
        next=page_cursor(newest_first(shown[-1]), filters) if len(rows) > filters.limit else None,
        statuses=STATUSES,
        gateways=NAMES,
        served_by=served_by,
        as_of=as_of,
        path=place.path("payments"),
    )


@router.get("/console/m/{merchant}/payments/disputes")
async def show_disputes(request: Request, place: Here) -> Response:
    """List disputes that wait for an answer, newest first."""
    every: Row = dict.fromkeys(("gateway", "livemode", "since", "until", "payment_id"))
    rows = browse.list_rows(place.database, place.merchant, "disputes", status=["needs_response"], **every, most=100)
    return page(request, "disputes.html", "Disputes that wait", rows=rows, path=place.path("payments"))


@router.get("/console/m/{merchant}/payments/refunds")
async def show_refunds(request: Request, place: Here) -> Response:
    """List the refunds that were asked for here, newest first."""
    state = request.query_params.get("state") or None
    after = request.query_params.get("after") or None
    found = refunds.list_refund_requests(place.database, place.merchant, state=state, after=after, most=50)
    return page(
        request,
        "refunds.html",
        "Refunds that were asked for",
        found=found,
        state=state,
        states=refunds.REQUEST_STATES,
        is_first=after is None,
        path=place.path("payments"),
    )


@router.get("/console/m/{merchant}/payments/{payment_id}")
async def show(request: Request, place: Here, payment_id: RowId) -> Response:
    """Show one payment: what is known of it, why, and what was done with it."""
    payment, told, served_by, as_of = _story(place, payment_id)
    if payment["id"] != payment_id:
        return go(request, place.path(f"payments/{payment['id']}"), "Two turned out to be one payment: this one.")
    whole = None
    if served_by == PRIMARY:
        whole = story.masked(story.story_of(place.database, payment["id"], merchant=place.merchant))
    asked = []
    if served_by == PRIMARY:
        asked = refunds.list_refund_requests(place.database, place.merchant, payment_id=payment["id"], most=50).rows
    return page(
        request,
        "payment.html",
        f"Payment {payment['id']}",
        payment=payment,
        story=told,
        whole=whole,
        why=_why(whole, payment),
        left=_left(payment),
        left_text=_decimal(_left(payment), payment["currency"]),
        may_refund=_may_refund(place, payment),
        requests=asked,
        served_by=served_by,
        as_of=as_of,
        path=place.path(f"payments/{payment['id']}"),
    )


@router.get("/console/m/{merchant}/payments/{payment_id}/refund")
async def ask_for_refund(request: Request, place: Here, payment_id: RowId) -> Response:
    """Say what a refund would do, before it is done."""
    asked = query_of(request, RefundAsked)
    payment, *_ = _story(place, payment_id)
    amount = _amount(asked.amount, payment)
    left = _left(payment)
    if amount > left:
        raise InputRefused("amount: that is more than is left of this payment.", field="amount", place="query")
    return page(
        request,
        "refund.html",
        f"Refund of payment {payment['id']}",
        payment=payment,
        amount=amount,
        left_after=left - amount,
        hidden={"amount": _decimal(amount, payment["currency"]), "reason": asked.reason or "", "key": str(uuid4())},
        reason=asked.reason,
        path=place.path(f"payments/{payment['id']}"),
    )


@router.post("/console/m/{merchant}/payments/{payment_id}/refund")
async def refund(request: Request, place: Here, payment_id: RowId, form: Changing) -> Response:
    """Ask for the refund; the same form sent twice asks once."""
    asked = form.read(RefundAsked)
    if asked.key is None:
        raise InputRefused("Begin at the payment's page.", field="key", place="form")
    payment, *_ = _story(place, payment_id)
    amount = _amount(asked.amount, payment)
    jobs: list[tuple[int, str]] = []

    def work(transaction: Transaction) -> Answer:
        made = refunds.request_refund(
            transaction,
            place.merchant,
            payment["id"],
            amount_minor=amount,
            reason=asked.reason,
            actor=place.actor,
        )
        jobs.append((made.job_id, SEND_REFUND))
        return Answer(202, {"id": str(made.id)})

    visitor = place.visitor
    caller = Caller(visitor.key_id, place.merchant, visitor.role)
    answer_once(place.database, caller, f"console-{asked.key}", _fingerprint(payment["id"], amount), work)
    if jobs:
        desk_of(request).bell().ring(jobs)
    shown = f"{_decimal(amount, payment['currency'])} {payment['currency']}"
    return go(request, place.path(f"payments/{payment['id']}"), f"A refund of {shown} was asked for.")


@router.post("/console/m/{merchant}/payments/refunds/{refund_request}/again")
async def send_again(
    request: Request, place: Here, operator: Operator, refund_request: UUID, form: Changing
) -> Response:
    """Let a refund of which nobody knows be sent anew, as a person has seen that it was not made."""
    del operator, form
    asked = refunds.send_refund_again(
        desk_of(request).ops_database(), place.merchant, refund_request, actor=place.actor
    )
    desk_of(request).bell().ring([(asked.job_id, SEND_REFUND)])
    return go(request, place.path(f"payments/{asked.payment_id}"), "The refund is being sent anew.")


@router.post("/console/m/{merchant}/payments/{payment_id}/retry/{event_id}")
async def retry_event(
    request: Request, place: Here, operator: Operator, payment_id: RowId, event_id: RowId, form: Changing
) -> Response:
    """Take up an event of this payment again that failed or was ignored."""
    del operator, form
    event = find_event(place.database, str(event_id), merchant=place.merchant)
    desk = desk_of(request)
    recorded = retry(desk.ops_database(), event, desk.keyring())
    note_deed(desk.ops_database(), place.actor, place.merchant, "event taken up again", str(event_id))
    desk.bell().ring(recorded.jobs)
    words = f"Event {event['event_id']}: {recorded.status.replace('_', ' ')}."
    return go(request, place.path(f"payments/{payment_id}"), words)


def _named(place: Place, text: str) -> int | None:
    """Return the payment that a gateway knows by exactly this text."""
    try:
        return find_payment_by_object(place.database, place.merchant, text).id
    except GatehouseError:  # none, or several, or the database is away: then it is a text like others
        return None


def _rows(
    request: Request, place: Place, filters: PaymentFilters, after: tuple[datetime | None, int | None], most: int
) -> tuple[list[Row], str, datetime | None]:
    zone = zone_of(request)

    def midnight(day: date | None) -> datetime | None:
        return None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    wanted: Row = {
        **NOT_FILTERED,
        "text": filters.text,
        "status": [filters.status] if filters.status else None,
        "gateway": filters.gateway,
        "livemode": filters.livemode,
        "since": midnight(filters.since),
        "until": midnight(filters.until and filters.until + timedelta(days=1)),
        "customer_id": filters.customer_id,
        "order_id": filters.order_id,
    }
    answer = read_from_either(
        place.database,
        place.backup,
        lambda database: browse.list_rows(database, place.merchant, "payments", **wanted, after=after, most=most),
    )
    rows = answer.found
    if answer.served_by == PRIMARY:
        rows = as_seen(place.database, place.merchant, place.visitor.key_id, "payments", rows)
    return rows, answer.served_by, answer.as_of


def _as_csv(request: Request, place: Place, filters: PaymentFilters) -> Response:
    rows: list[Row] = []
    after: tuple[datetime | None, int | None] = (None, None)
    while len(rows) < MOST_IN_CSV:
        found, *_ = _rows(request, place, filters, after, 500)
        rows += found
        if len(found) < 500:
            break
        after = (found[-1]["first_fact_at"], found[-1]["id"])
    return csv_of(f"payments-{place.merchant}", CSV_COLUMNS, rows[:MOST_IN_CSV], is_whole=len(rows) < MOST_IN_CSV)


def _asked(filters: Filters) -> Row:
    """Return the filters as they stand in an address."""
    told: Row = filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True)
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in told.items()}


def _story(place: Place, payment_id: int) -> tuple[Row, browse.PaymentStory, str, datetime | None]:
    """Return a payment as this visitor may see it, with its story, and who answered."""

    def read(database: Database) -> browse.PaymentStory:
        find = browse.find_payment if database is place.database else payment_in_backup
        return find(database, place.merchant, payment_id)

    answer = read_from_either(place.database, place.backup, read)
    told, payment = answer.found, answer.found.payment
    if answer.served_by == PRIMARY:
        (payment,) = as_seen(place.database, place.merchant, place.visitor.key_id, "payments", [payment])
        if payment is not told.payment:
            told = told._replace(changes=[without_health(each) for each in told.changes])
    return payment, told, answer.served_by, answer.as_of


def _why(whole: story.Story | None, payment: Row) -> list[story.Held]:
    """Return why each column is what it is; without what this visitor may not see."""
    if whole is None:
        return []
    hidden = {name for name in HEALTH_COLUMNS if payment.get(name) is None}
    return [held for held in whole.columns if held.column not in hidden]


def _left(payment: Row) -> int:
    return max((payment["received_minor"] or payment["amount_minor"] or 0) - (payment["refunded_minor"] or 0), 0)


def _may_refund(place: Place, payment: Row) -> bool:
    is_there = payment["status"] in ("completed", "partially_refunded") and _left(payment) > 0
    return place.visitor.may_change and is_there and payment["gateway"] in refunds.REFUNDING_GATEWAYS


def _decimal(minor: int, currency: str | None) -> str:
    return f"{to_decimal(minor, currency):f}" if currency else ""


def _amount(text: str | None, payment: Row) -> int:
    """Return the amount of a form in minor units; all that is left where nothing was said."""
    if text is None:
        return _left(payment)
    try:
        amount = to_minor(text.replace(",", ""), payment["currency"] or "")
    except ValueError:
        words = f"amount: must be an amount of {payment['currency']}, such as {_decimal(100, payment['currency'])}."
        raise InputRefused(words, field="amount", place="form") from None
    if amount < 1:
        raise InputRefused("amount: must be more than nothing.", field="amount", place="form")
    return amount


def _fingerprint(payment_id: int, amount: int) -> bytes:
    return f"refund {payment_id} {amount}".encode()

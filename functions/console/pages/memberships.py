"""Memberships: the tabs of a clinic, what its people note of each, one patient with payments and invoices."""

from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.csv import csv_of
from console.forms import query_of
from console.views import go, page, with_query, zone_of
from console.visitors import Changing, Here, HereHealth, Place
from gatehouse.errors import ChangedMeanwhile, ValidationError
from gatehouse.http_api.fields import Day, RowId, Word
from gatehouse.http_api.health_data import as_seen
from gatehouse.http_api.pages import Filters, after_text, page_cursor
from gatehouse.models import browse, memberships

NAVIGATION = (("Memberships", "merchant", "memberships"),)

ALL, CANCELLATIONS = "All", "Cancellations"
SORTS = (
    ("name", "name"),
    ("started", "newest start"),
    ("last_payment", "newest payment"),
    ("next_expected", "due soonest"),
)
RELEASE = "release"  # a status by hand is taken back, and the payments say again
MOST_IN_CSV = 5000
CSV_COLUMNS = (
    *("id", "category", "status", "name", "customer_ref", "email", "product_name", "started_at", "last_payment_at"),
    *("next_expected_at", "renews_every", "renewal_missed_at", "amount_minor", "currency", "payment_count"),
    *("google_review_submitted", "referral_source", "fulfillment_type", "gateway", "account", "livemode"),
)

router = APIRouter()


class MembershipFilters(Filters):
    """What memberships can be looked for by; days are those of the visitor's zone."""

    limit: int = Field(50, ge=1, le=100)
    tab: Word = ALL
    text: Word | None = None
    status: Literal["active", "paused", "canceled", "past_due"] | None = None
    google_review_submitted: bool | None = None
    referral_source: Word | None = None
    fulfillment_type: Word | None = None
    renewal_missed: bool | None = None
    paid_since: Day | None = None
    paid_until: Day | None = None
    livemode: bool | None = None
    sort: Literal["name", "started", "last_payment", "next_expected"] = "name"


class Noted(BaseModel):
    """What a form says of a membership; a blank text empties it, a blank status leaves it."""

    model_config = ConfigDict(extra="ignore")

    version: RowId
    google_review_submitted: bool = False
    referral_source: Word | None = None
    fulfillment_type: Word | None = None
    status: Literal["active", "paused", "canceled", "past_due", "release"] | None = None
    reason: Word | None = None

    def changes(self) -> dict[str, Any]:
        """Return what is to change, as the model takes it."""
        given: dict[str, Any] = self.model_dump(exclude={"version", "reason", "status"})
        if self.status:
            given["status"] = None if self.status == RELEASE else self.status
        return given


@router.get("/console/m/{merchant}/memberships")
async def show_list(request: Request, place: HereHealth) -> Response:
    """List memberships, tab by tab; the one that `edit` names is shown with a form."""
    filters = query_of(request, MembershipFilters, besides=("format", "edit"))
    if request.query_params.get("format") == "csv":
        return _as_csv(request, place, filters)
    found = _found(request, place, filters, filters.limit)
    asked = _asked(filters)
    edit = request.query_params.get("edit", "")
    return page(
        request,
        "memberships.html",
        "Memberships" if filters.tab == ALL else f"Memberships: {filters.tab}",
        rows=found.rows,
        tabs=memberships.count_tabs(place.database, place.merchant, livemode=filters.livemode),
        next=None if found.next is None else page_cursor((f"{found.next[1]}/{found.next[0]}",), filters),
        filters=filters,
        asked=asked,
        here=asked | ({"cursor": filters.cursor} if filters.cursor else {}),
        is_filtered=bool(asked.keys() - {"tab", "sort", "limit"}),
        edit=int(edit) if edit.isascii() and edit.isdigit() else None,
        statuses=memberships.STATUSES,
        sorts=SORTS,
        path=place.path("memberships"),
    )


@router.get("/console/m/{merchant}/memberships/{membership_id}")
async def show_patient(request: Request, place: HereHealth, membership_id: RowId) -> Response:
    """Show the patient that a membership is of; the read is noted."""
    found = memberships.find_patient(place.database, place.merchant, membership_id, reader=place.actor)
    this = next(each for each in found.memberships if each.id == membership_id)
    return page(
        request,
        "patient.html",
        this.name or f"Patient {this.customer_ref}",
        this=this,
        patient=found,
        statuses=memberships.STATUSES,
        path=place.path("memberships"),
    )


@router.post("/console/m/{merchant}/memberships/{membership_id}")
async def change(request: Request, place: HereHealth, membership_id: RowId, form: Changing) -> Response:
    """Write what a person notes of a membership; where somebody was faster, show both and let the person choose."""
    said = form.read(Noted)
    back = _back(place, membership_id, form.text("back"))
    try:
        memberships.change_membership(
            place.database,
            place.merchant,
            membership_id,
            said.changes(),
            reason=said.reason,
            expected_version=said.version,
            actor=place.actor,
        )
    except ChangedMeanwhile:
        now = memberships.find_membership(place.database, place.merchant, membership_id, reader=place.actor)
        return page(
            request,
            "membership_conflict.html",
            "Somebody else was faster",
            status=ChangedMeanwhile.http_status,
            now=now,
            said=said,
            back=back,
            back_query=form.text("back"),
            path=place.path(f"memberships/{membership_id}"),
        )
    return go(request, back, "The membership was changed.")


@router.get("/console/m/{merchant}/invoices/{invoice_id}")
async def show_invoice(request: Request, place: Here, invoice_id: RowId) -> Response:
    """Show one invoice, its lines only to those who may see them; that read is noted."""
    row = browse.find_row(place.database, place.merchant, "invoice", invoice_id)
    (invoice,) = as_seen(place.database, place.merchant, place.visitor.key_id, "invoices", [row])
    lines = invoice["lines"] if isinstance(invoice["lines"], list) else []
    return page(
        request,
        "invoice.html",
        f"Invoice {invoice['number'] or invoice['id']}",
        invoice=invoice,
        lines=[line if isinstance(line, dict) else {"line": line} for line in lines],
        is_hidden=row["lines"] is not None and invoice["lines"] is None,
    )


def _found(
    request: Request,
    place: Place,
    filters: MembershipFilters,
    most: int,
    kind: Literal["memberships", "export"] = "memberships",
) -> memberships.Page:
    zone = zone_of(request)

    def midnight(day: date | None) -> datetime | None:
        return None if day is None else datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    status = filters.status
    if filters.tab == CANCELLATIONS:
        if status not in (None, memberships.CANCELED):
            return memberships.Page([], None)  # canceled ones that are not canceled
        status = "canceled"
    wanted = memberships.Wanted(
        tab=None if filters.tab in (ALL, CANCELLATIONS) else filters.tab,
        status=[status] if status else None,
        livemode=filters.livemode,
        google_review_submitted=filters.google_review_submitted,
        referral_source=filters.referral_source,
        fulfillment_type=filters.fulfillment_type,
        renewal_missed=filters.renewal_missed,
        paid_since=midnight(filters.paid_since),
        paid_before=midnight(filters.paid_until and filters.paid_until + timedelta(days=1)),
        text=filters.text,
    )
    after = after_text(filters)
    return memberships.list_memberships(
        place.database,
        place.merchant,
        wanted,
        reader=place.actor,
        sort=filters.sort,
        after=None if after is None else _position(filters.sort, after),
        most=most,
        kind=kind,
    )


def _position(sort: str, after: str) -> tuple[str, int]:
    row_id, _, key = after.partition("/")
    if not row_id.isascii() or not row_id.isdigit() or len(row_id) > 18:
        raise ValidationError.of_field("cursor", "is none that a page gave")
    return memberships.checked_after(cast(memberships.Sort, sort), (key, int(row_id)))


def _as_csv(request: Request, place: Place, filters: MembershipFilters) -> Response:
    found = _found(request, place, filters, MOST_IN_CSV, "export")
    rows = (each._asdict() for each in found.rows)
    return csv_of(f"memberships-{place.merchant}", CSV_COLUMNS, rows, is_whole=found.next is None)


def _asked(filters: MembershipFilters) -> dict[str, Any]:
    """Return the filters as they stand in an address."""
    told: dict[str, Any] = filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True)
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in told.items()}


def _back(place: Place, membership_id: int, query: str) -> str:
    """Return where the form was sent from: the list with its filters, else the patient."""
    if not query:
        return place.path(f"memberships/{membership_id}")
    return with_query(place.path("memberships"), dict(parse_qsl(query, max_num_fields=30)))

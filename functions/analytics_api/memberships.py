"""Memberships: who is a member of which product line; the tabs of the dashboard, and a patient as a whole."""

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from analytics_api.audit import Change
from analytics_api.products import CSV, CSV_ANSWER
from gatehouse.http_api.application import CHANGE, ONE
from gatehouse.http_api.callers import HealthAdmin, HealthReader, HealthWriter, desk_of
from gatehouse.http_api.fields import Moment, Money, RowId, Switch, Word, money
from gatehouse.http_api.pages import Filters, Page, after_text, stored_page
from gatehouse.http_api.resources import expected_version, resource
from gatehouse.models import memberships
from gatehouse.models.products import csv_cell

type Status = Literal["active", "paused", "canceled", "past_due"]
type Sort = Literal["name", "started", "last_payment", "next_expected"]
MOST_EXPORTED = 5000
EXPORTED = (
    *("id", "category", "status", "name", "customer_ref", "email", "product_name", "started_at", "last_payment_at"),
    *("next_expected_at", "renews_every", "renewal_missed_at", "amount_minor", "currency", "payment_count"),
    *("google_review_submitted", "referral_source", "fulfillment_type", "gateway", "account", "livemode"),
)


class MembershipFilters(Filters):
    """What memberships can be looked for by."""

    tab: Word | None = Field(
        None,
        description="`All`, one of the merchant's categories (without those that were canceled), or `Cancellations`.",
    )
    text: Word | None = Field(None, description="Words, or their beginnings: name, code, e-mail, product.")
    status: list[Status] | None = Field(None, description="Any of these; give it several times for several.")
    google_review_submitted: bool | None = None
    referral_source: Word | None = None
    fulfillment_type: Word | None = None
    renewal_missed: bool | None = Field(None, description="A renewal was expected and did not come.")
    started_since: Moment | None = None
    started_before: Moment | None = None
    paid_since: Moment | None = Field(None, description="Whose last payment was at or after this time.")
    paid_before: Moment | None = None
    livemode: bool | None = Field(None, description="Real money, or test mode; both when it is not given.")
    sort: Sort = Field("name", description="By name; by start or last payment, newest first; by what is due soonest.")


class ExportFilters(MembershipFilters):
    """The same for a file, which may have more."""

    limit: int = Field(MOST_EXPORTED, ge=1, le=MOST_EXPORTED, description="How many at most.")


class Membership(BaseModel):
    """One patient's membership of one product line."""

    id: int
    merchant: str
    gateway: str
    account: str
    customer_ref: str = Field(description="The patient: the gateway's code of the customer.")
    livemode: bool
    category: str
    name: str | None
    email: str | None
    product_name: str | None
    status: Status = Field(description="What a person said, until that is released; else what the payments say.")
    status_by_rule: Status = Field(description="What the payments say.")
    status_by_hand: Status | None
    status_reason: str | None
    status_set_by: str | None
    status_set_at: datetime | None
    started_at: datetime | None
    last_payment_at: datetime | None
    next_expected_at: datetime | None
    renews_every: str | None = Field(examples=["month"])
    renewal_missed_at: datetime | None = Field(description="When the renewal was expected that did not come.")
    amount: Money | None = Field(description="Of the last payment, without its surcharge.")
    payment_count: int
    google_review_submitted: bool
    referral_source: str | None
    fulfillment_type: str | None
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    created_at: datetime
    updated_at: datetime


class Tab(BaseModel):
    """One tab of the dashboard."""

    name: str
    category: str | None = Field(description="The category that it shows; null for All and Cancellations.")
    memberships: int
    by_status: dict[str, int]
    renewals_missed: int


class Tabs(BaseModel):
    """The tabs: All, the merchant's own categories, Cancellations."""

    tabs: list[Tab]


class PaymentOfPatient(BaseModel):
    """One payment of a patient."""

    id: int
    status: str
    amount: Money | None
    surcharge: Money | None
    refunded: Money | None
    source: str | None
    is_recurring: bool
    product_name: str | None
    product_category: str | None
    invoice_ref: str | None
    subscription_ref: str | None
    failure_message: str | None
    created_at: datetime
    completed_at: datetime | None


class InvoiceOfPatient(BaseModel):
    """One invoice of a patient."""

    id: int
    gateway_id: str
    number: str | None
    status: str
    total: Money | None
    paid: Money | None
    due: Money | None
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None
    lines: list[Any] | None


class Patient(BaseModel):
    """All that is known of one patient."""

    memberships: list[Membership]
    payments: list[PaymentOfPatient] = Field(description="Newest first, at most 200.")
    invoices: list[InvoiceOfPatient] = Field(description="Newest first, at most 200.")
    history: list[Change] = Field(description="Newest first; personal values only as hashes.")


class MembershipChanges(BaseModel):
    """What is to change; what is not named stays, and null empties a field."""

    model_config = ConfigDict(extra="forbid")

    google_review_submitted: Switch | None = None
    referral_source: Word | None = None
    fulfillment_type: Annotated[Word, Field(max_length=100)] | None = None
    status: Status | None = Field(
        None, description="Stays, whatever the payments say, until it is released by null; wants a reason."
    )
    reason: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")] | None = Field(
        None, description="Why the status is set or released."
    )


class HealthRead(BaseModel):
    """Who read what, and when."""

    id: int
    at: datetime
    reader: str
    kind: str
    filters: dict[str, Any]
    row_ids: list[int]
    row_count: int


class ReadFilters(Filters):
    """Which reads are looked for."""

    membership_id: RowId | None = Field(None, description="Only those that showed this membership.")


router = APIRouter(tags=["memberships"])


@router.get("/memberships")
async def list_memberships(
    request: Request, caller: HealthReader, filters: Annotated[MembershipFilters, Query()]
) -> Page[Membership]:
    """List memberships."""
    found = _found(request, caller, filters, "memberships")
    return stored_page(found.rows, _following(found), filters, _shown)


@router.get("/memberships/tabs")
async def count_tabs(request: Request, caller: HealthReader, livemode: bool | None = None) -> Tabs:
    """Count the memberships of each tab. All has every one; a category has those that were not canceled."""
    tabs = memberships.count_tabs(desk_of(request).database(), caller.merchant, livemode=livemode)
    return Tabs(tabs=[Tab.model_validate(each._asdict()) for each in tabs])


@router.get("/memberships/export", response_class=Response, responses=CSV_ANSWER)
async def export_memberships(
    request: Request, caller: HealthReader, filters: Annotated[ExportFilters, Query()]
) -> Response:
    """Give memberships as a file; where there are more than it may hold, `x-next-cursor` says where the next begins."""
    found = _found(request, caller, filters, "export")
    cursor = stored_page(found.rows[:0], _following(found), filters, _shown).next_cursor
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(EXPORTED)
    for each in found.rows:
        row = each._asdict()
        writer.writerow([csv_cell(row[column]) for column in EXPORTED])
    headers = {"content-disposition": 'attachment; filename="memberships.csv"'}
    return Response(written.getvalue(), media_type=CSV, headers=headers | ({"x-next-cursor": cursor} if cursor else {}))


@router.get("/memberships/reads")
async def list_reads(
    request: Request, caller: HealthAdmin, filters: Annotated[ReadFilters, Query()]
) -> Page[HealthRead]:
    """List who read what of the patients' data, newest first; for admins."""
    after = after_text(filters)
    rows = memberships.list_reads(
        desk_of(request).database(),
        caller.merchant,
        membership_id=filters.membership_id,
        after_id=None if after is None else _number(after),
        most=filters.limit + 1,
    )
    following = str(rows[filters.limit - 1].id) if len(rows) > filters.limit else None
    return stored_page(
        rows[: filters.limit], following, filters, lambda each: HealthRead.model_validate(each._asdict())
    )


@router.get("/memberships/{membership_id}", response_model=Membership, responses=ONE)
async def show_membership(request: Request, caller: HealthReader, membership_id: RowId) -> Response:
    """Show one membership."""
    found = memberships.find_membership(
        desk_of(request).database(), caller.merchant, membership_id, reader=caller.actor
    )
    return resource(request, _shown(found), found.version)


@router.get("/memberships/{membership_id}/patient", response_model=Patient, responses=ONE)
async def show_patient(request: Request, caller: HealthReader, membership_id: RowId) -> Response:
    """Show the patient that a membership is of: all memberships, payments, invoices and their history."""
    found = memberships.find_patient(desk_of(request).database(), caller.merchant, membership_id, reader=caller.actor)
    shown = Patient(
        memberships=[_shown(each) for each in found.memberships],
        payments=[_payment(row) for row in found.payments],
        invoices=[_invoice(row) for row in found.invoices],
        history=[Change.model_validate(row) for row in found.history],
    )
    return resource(request, shown)


@router.patch("/memberships/{membership_id}", response_model=Membership, responses=CHANGE)
async def change_membership(
    request: Request, caller: HealthWriter, membership_id: RowId, changes: MembershipChanges
) -> Response:
    """Change a membership that you have seen as it is: send its ETag in If-Match."""
    given = changes.model_dump(exclude_unset=True)
    reason = given.pop("reason", None)
    changed = memberships.change_membership(
        desk_of(request).database(),
        caller.merchant,
        membership_id,
        given,
        reason=reason,
        expected_version=expected_version(request),
        actor=caller.actor,
    )
    return resource(request, _shown(changed), changed.version)


def _found(
    request: Request, caller: HealthReader, filters: MembershipFilters, kind: Literal["memberships", "export"]
) -> memberships.Page:
    wanted = filters.wanted()
    sort = cast(memberships.Sort, wanted.pop("sort"))
    tab = wanted.pop("tab")
    if tab == "Cancellations":
        wanted["status"] = [each for each in wanted["status"] or [memberships.CANCELED] if each == memberships.CANCELED]
        if not wanted["status"]:
            return memberships.Page([], None)  # canceled ones that are not canceled
        tab = None
    after = after_text(filters)
    return memberships.list_memberships(
        desk_of(request).database(),
        caller.merchant,
        memberships.Wanted(tab=None if tab == "All" else tab, **wanted),
        reader=caller.actor,
        sort=sort,
        after=None if after is None else _place(sort, after),
        most=filters.limit,
        kind=kind,
    )


def _following(found: memberships.Page) -> str | None:
    return None if found.next is None else f"{found.next[1]}/{found.next[0]}"


def _place(sort: memberships.Sort, after: str) -> tuple[str, int]:
    row_id, _, key = after.partition("/")
    return memberships.checked_after(sort, (key, _number(row_id)))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _shown(membership: memberships.Membership) -> Membership:
    row = membership._asdict()
    return Membership.model_validate({**row, "amount": money(row, "amount_minor")})


def _payment(row: Mapping[str, Any]) -> PaymentOfPatient:
    amounts = {name: money(row, f"{name}_minor") for name in ("amount", "surcharge", "refunded")}
    return PaymentOfPatient.model_validate({**row, **amounts, "created_at": row["first_fact_at"]})


def _invoice(row: Mapping[str, Any]) -> InvoiceOfPatient:
    amounts = {name: money(row, f"{name}_minor") for name in ("total", "paid", "due")}
    return InvoiceOfPatient.model_validate({**row, **amounts})

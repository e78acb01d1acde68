"""Customers: who they are, what they ordered, what they paid."""

from datetime import date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gatehouse.http_api.application import CHANGE, MISSING, ONE
from gatehouse.http_api.callers import Reader, Writer, desk_of
from gatehouse.http_api.fields import Day, Moment, Money, RowId, Word, money
from gatehouse.http_api.pages import Filters, Page, after_text, stored_page
from gatehouse.http_api.resources import expected_version, resource
from gatehouse.models import customers


class CustomerFilters(Filters):
    """What customers can be looked for by."""

    text: Word | None = Field(None, description="Words, or their beginnings: name, e-mail, phone.")
    email: Word | None = Field(None, description="The whole address; capital letters make no difference.")


class Customer(BaseModel):
    """One customer; after an erasure nothing personal is left."""

    id: int
    merchant: str
    email: str | None
    first_name: str | None
    last_name: str | None
    phone: str | None
    consent_at: datetime | None
    consent_scope: str | None
    retain_until: date | None
    erased_at: datetime | None
    version: int = Field(description="Grows with every change; the ETag is made of it.")
    created_at: datetime
    updated_at: datetime


class CustomerTotals(BaseModel):
    """What a customer ordered and paid in one currency."""

    orders: int
    completed_orders: int
    paid: Money
    refunded: Money
    first_order_at: datetime
    last_order_at: datetime


class CustomerChanges(BaseModel):
    """What is to change; what is not named stays, and null empties a field."""

    model_config = ConfigDict(extra="forbid")

    email: Word | None = None
    first_name: Word | None = None
    last_name: Word | None = None
    phone: Word | None = None
    consent_at: Moment | None = None
    consent_scope: Word | None = None
    retain_until: Day | None = None


router = APIRouter(tags=["customers"])


@router.get("/customers")
async def list_customers(
    request: Request, caller: Reader, filters: Annotated[CustomerFilters, Query()]
) -> Page[Customer]:
    """List customers, newest first."""
    found = customers.list_customers(
        desk_of(request).database(),
        caller.merchant,
        text=filters.text,
        email=filters.email,
        after=after_text(filters),
        most=filters.limit,
    )
    return stored_page(found.rows, found.next, filters, _shown)


@router.get("/customers/{customer_id}", response_model=Customer, responses=ONE)
async def show_customer(request: Request, caller: Reader, customer_id: RowId) -> Response:
    """Show one customer."""
    found = customers.find_customer(desk_of(request).database(), caller.merchant, customer_id)
    return resource(request, _shown(found), found.version)


@router.get("/customers/{customer_id}/totals", responses=MISSING)
async def sum_up_customer(
    request: Request, caller: Reader, customer_id: RowId, livemode: bool = True
) -> list[CustomerTotals]:
    """Show what a customer ordered and paid, by currency."""
    store = desk_of(request).database()
    customers.find_customer(store, caller.merchant, customer_id)
    totals = customers.totals_of_customer(store, caller.merchant, customer_id, livemode=livemode)
    return [_totals(each._asdict()) for each in totals]


@router.patch("/customers/{customer_id}", response_model=Customer, responses=CHANGE)
async def change_customer(request: Request, caller: Writer, customer_id: RowId, changes: CustomerChanges) -> Response:
    """Change a customer that you have seen as it is: send its ETag in If-Match."""
    changed = customers.change_customer(
        desk_of(request).database(),
        caller.merchant,
        customer_id,
        changes.model_dump(exclude_unset=True),
        expected_version=expected_version(request),
        actor=caller.actor,
    )
    return resource(request, _shown(changed), changed.version)


def _shown(customer: customers.Customer) -> Customer:
    return Customer.model_validate(customer._asdict())


def _totals(row: dict[str, Any]) -> CustomerTotals:
    amounts = {"paid": money(row, "paid_minor"), "refunded": money(row, "refunded_minor")}
    return CustomerTotals.model_validate({**row, **amounts})

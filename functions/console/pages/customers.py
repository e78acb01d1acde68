"""Customers: found, looked at, corrected, handed out as a file, erased."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.forms import query_of
from console.views import HEADERS, go, page
from console.visitors import AdminChanging, Changing, Here, HereHealth, Operator
from gatehouse.errors import InputRefused
from gatehouse.http_api.fields import RowId, Word
from gatehouse.http_api.pages import Filters, after_text, page_cursor
from gatehouse.models import customers, orders, privacy
from gatehouse.models.payments import payments_of_customer

NAVIGATION = (("Customers", "merchant", "customers"),)

FIELDS = ("email", "first_name", "last_name", "phone")

router = APIRouter()


class CustomerFilters(Filters):
    """What customers can be looked for by."""

    limit: int = Field(50, ge=1, le=100)
    text: Word | None = None


class Correction(BaseModel):
    """What is written of a customer; a blank field empties it."""

    model_config = ConfigDict(extra="ignore")

    email: Word
    first_name: Word | None = None
    last_name: Word | None = None
    phone: Word | None = None
    version: RowId


@router.get("/console/m/{merchant}/customers")
async def show_list(request: Request, place: Here) -> Response:
    """List customers, newest first."""
    filters = query_of(request, CustomerFilters)
    is_address = filters.text is not None and "@" in filters.text
    listed = customers.list_customers(
        place.database,
        place.merchant,
        text=None if is_address else filters.text,
        email=filters.text if is_address else None,
        after=after_text(filters),
        most=filters.limit,
    )
    return page(
        request,
        "customers.html",
        "Customers",
        rows=listed.rows,
        next=None if listed.next is None else page_cursor((listed.next,), filters),
        filters=filters,
        asked=filters.model_dump(mode="json", exclude={"cursor"}, exclude_defaults=True),
        path=place.path("customers"),
    )


@router.get("/console/m/{merchant}/customers/{customer_id}")
async def show(request: Request, place: Here, customer_id: RowId) -> Response:
    """Show one customer with orders and payments."""
    found = customers.find_customer(place.database, place.merchant, customer_id)
    name = " ".join(part for part in (found.first_name, found.last_name) if part)
    return page(
        request,
        "customer.html",
        name or f"Customer {found.id}",
        customer=found,
        totals=customers.totals_of_customer(place.database, place.merchant, customer_id),
        orders=orders.orders_of_customer(place.database, place.merchant, customer_id, most=20),
        payments=payments_of_customer(place.database, place.merchant, customer_id, most=20),
        path=place.path(f"customers/{customer_id}"),
    )


@router.post("/console/m/{merchant}/customers/{customer_id}")
async def correct(request: Request, place: Here, customer_id: RowId, form: Changing) -> Response:
    """Write what a customer is called and reached by, unless somebody was faster."""
    said = form.read(Correction)
    customers.change_customer(
        place.database,
        place.merchant,
        customer_id,
        said.model_dump(include=set(FIELDS)),
        expected_version=said.version,
        actor=place.actor,
    )
    return go(request, place.path(f"customers/{customer_id}"), "The customer was changed.")


@router.post("/console/m/{merchant}/customers/{customer_id}/export")
async def export(request: Request, place: HereHealth, customer_id: RowId, form: AdminChanging) -> Response:
    """Hand out everything that is known of a person, as a file: a form and no link, so that nothing asks ahead."""
    del request, form
    found = customers.find_customer(place.database, place.merchant, customer_id)
    if found.email is None:
        raise InputRefused("Nothing personal is left of this customer.", field="email", place="form")
    known: dict[str, Any] = privacy.export_customer(place.database, place.merchant, found.email)
    headers = {**HEADERS, "content-disposition": f'attachment; filename="customer-{customer_id}.json"'}
    return Response(json.dumps(known, indent=2, ensure_ascii=False, default=str), 200, headers, "application/json")


@router.get("/console/m/{merchant}/customers/{customer_id}/erase")
async def ask_to_erase(request: Request, place: Here, operator: Operator, customer_id: RowId) -> Response:  # noqa: ARG001 - being one is enough
    """Say what would be erased."""
    found = customers.find_customer(place.database, place.merchant, customer_id)
    if found.email is None:
        return go(request, place.path(f"customers/{customer_id}"), "Nothing personal is left of this customer.")
    database = desk_of(request).ops_database()
    would = privacy.erase_customer(database, place.merchant, found.email, dry_run=True, actor=place.actor)
    return page(
        request,
        "erase.html",
        "Erase a person",
        customer=found,
        would={table: rows for table, rows in sorted(would.items()) if rows},
        path=place.path(f"customers/{customer_id}"),
    )


@router.post("/console/m/{merchant}/customers/{customer_id}/erase")
async def erase(request: Request, place: Here, operator: Operator, customer_id: RowId, form: AdminChanging) -> Response:
    """Erase a person, whose address was typed once more."""
    del operator
    found = customers.find_customer(place.database, place.merchant, customer_id)
    if found.email is None or form.text("email").lower() != found.email.lower():
        raise InputRefused(
            "email: is not the address of this customer. Nothing was erased.", field="email", place="form"
        )
    desk = desk_of(request)
    database = desk.ops_database()
    privacy.erase_customer(database, place.merchant, found.email, actor=place.actor)
    privacy.erase_payloads_naming(database, place.merchant, found.email, desk.keyring(), actor=place.actor)
    return go(request, place.path(f"customers/{customer_id}"), "The person was erased; money and audit stay.")

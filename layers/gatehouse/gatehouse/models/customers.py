"""Customers: the people whom a merchant deals with, one for each e-mail address."""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound, ValidationError
from gatehouse.models.scope import Page, Store, checked_most, flush_for, page_of, place_after, write_for

sql = load_statements(Path(__file__).with_name("customers.sql"))

MOST_EMAIL_CHARACTERS = 254
MOST_CHARACTERS = 200
LINKED_TABLES = ("payments", "gateway_customers")
_EMAIL = re.compile(r"[^\s@\"\\<>()]+@[^\s@\"\\<>()]+")


class Customer(NamedTuple):
    """A row of `customers`; after an erasure nothing personal is left in it."""

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
    version: int  # grows with every change
    created_at: datetime
    updated_at: datetime


class NewCustomer(NamedTuple):
    """What is known of a customer; None says nothing, and leaves what is known already."""

    email: str
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    consent_at: datetime | None = None
    consent_scope: str | None = None
    retain_until: date | None = None  # the day after which the personal data may go


class Linked(NamedTuple):
    """What one step of giving old rows their customer did; everything up to `last_id` of the table is done."""

    table: str
    last_id: int
    looked_at: int
    linked: int


class CustomerTotals(NamedTuple):
    """What a customer ordered and paid in one currency."""

    currency: str
    orders: int
    completed_orders: int
    paid_minor: int
    refunded_minor: int
    first_order_at: datetime
    last_order_at: datetime


def save_customer(store: Store, merchant: str, customer: NewCustomer, *, actor: str = "") -> Customer:
    """Find the customer of the e-mail address or make one, write what is said, and return the row."""
    said = checked_customer(customer)
    _saved, rows = write_for(
        store, merchant, sql.save_customer(customer=said), sql.saved_customer(merchant=merchant), actor=actor
    )
    return Customer(**rows[0])


def change_customer(
    store: Store,
    merchant: str,
    customer_id: int,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
    actor: str = "",
) -> Customer:
    """Write the named fields of a customer, None among them, and return the row; raise NotFound or ChangedMeanwhile."""
    if unknown := changes.keys() - set(NewCustomer._fields):
        raise ValidationError.of_field(min(unknown), "is no field of a customer that can be changed")
    checked = checked_fields(changes)
    if "email" in checked:
        checked["email"] = checked_email(checked["email"])
    _changed, rows = write_for(
        store,
        merchant,
        sql.change_customer(customer_id=customer_id, changes=checked, expected_version=expected_version),
        sql.customer_by_id(merchant=merchant, customer_id=customer_id),
        actor=actor,
    )
    return Customer(**rows[0])


def find_customer(store: Store, merchant: str, customer_id: int) -> Customer:
    """Return one customer by id, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.customer_by_id(merchant=merchant, customer_id=customer_id))
    if not rows:
        raise NotFound("there is no such customer")
    return Customer(**rows[0])


def find_customer_by_email(store: Store, merchant: str, email: str) -> Customer:
    """Return the customer of an e-mail address, in upper or lower case, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.customer_by_email(merchant=merchant, email=email.strip()))
    if not rows:
        raise NotFound("no customer has this e-mail address")
    return Customer(**rows[0])


def list_customers(
    store: Store,
    merchant: str,
    *,
    text: str | None = None,
    email: str | None = None,
    after: str | None = None,
    most: int = 20,
) -> Page[Customer]:
    """Return a page of customers, newest first: all, or those of an address or with all words of a text."""
    wanted = {"merchant": merchant, "email": email, "most": checked_most(most) + 1, **place_after(after)}
    bound = sql.list_customers(**wanted) if text is None else sql.search_customers(text=text, **wanted)
    (rows,) = flush_for(store, merchant, bound)
    return page_of([Customer(**row) for row in rows], most, lambda last: (last.created_at, last.id))


def totals_of_customer(store: Store, merchant: str, customer_id: int, *, livemode: bool = True) -> list[CustomerTotals]:
    """Return what a customer ordered and paid, for each currency."""
    bound = sql.totals_of_customer(merchant=merchant, customer_id=customer_id, livemode=livemode)
    (rows,) = flush_for(store, merchant, bound)
    return [CustomerTotals(**row) for row in rows]


def link_customers(
    database: Database, *, after: tuple[str, int] = (LINKED_TABLES[0], 0), most: int = 500, actor: str = ""
) -> Iterator[Linked]:
    """Give payments and gateways' customers of before there were customers theirs, some rows a transaction.

    Safe to repeat, and to break off: go on after the last place that was given.
    """
    started_in, last_id = after
    if started_in not in LINKED_TABLES:
        raise ValidationError.of_field("after", f"must begin with one of {', '.join(LINKED_TABLES)}")
    for table in LINKED_TABLES[LINKED_TABLES.index(started_in) :]:
        while True:
            bound = sql.link_customers(table=table, after_id=last_id, most=most)
            ((row,),) = write_for(database, "", bound, actor=actor)
            if not row["looked_at"]:
                break
            last_id = row["last_id"]
            yield Linked(table, **row)
        last_id = 0


def ends_of_links(database: Database) -> dict[str, int]:
    """Return the highest ids of what can be linked."""
    return dict(database.query_one(sql.last_ids))


def checked_customer(customer: NewCustomer) -> dict[str, Any]:
    """Return what is said of a customer as the database takes it; raise ValidationError that names the field."""
    said = checked_fields(customer._asdict())
    return {name: value for name, value in said.items() if value is not None} | {"email": checked_email(customer.email)}


def checked_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with texts stripped and empty ones as None; raise ValidationError for what has the wrong type."""
    wanted = {"consent_at": datetime, "retain_until": date}
    checked: dict[str, Any] = {}
    for name, value in fields.items():
        kind = wanted.get(name, str)
        if value is not None and (not isinstance(value, kind) or (kind is date and isinstance(value, datetime))):
            raise ValidationError.of_field(name, f"must be a {kind.__name__}")
        if isinstance(value, str):
            value = value.strip() or None
            if value and len(value) > MOST_CHARACTERS and name != "email":
                raise ValidationError.of_field(name, f"has more than {MOST_CHARACTERS} characters")
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValidationError.of_field(name, "must say its time zone")
        checked[name] = value
    return checked


def checked_email(email: object, field: str = "email") -> str:
    """Return an e-mail address without spaces around it; raise ValidationError for what cannot be one."""
    address = email.strip() if isinstance(email, str) else ""
    if len(address) > MOST_EMAIL_CHARACTERS or not _EMAIL.fullmatch(address):
        raise ValidationError.of_field(field, "is no e-mail address")
    return address

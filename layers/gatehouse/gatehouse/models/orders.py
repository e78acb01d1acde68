"""Orders: made with their customer and items in one flush, paid by payments that name them, found in many ways.

The money of an order is whole minor units. `status` is the further one of what a person said (set_order_status) and
what its payments say; `payment_state` is what the payments say alone.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import NotFound, SettingError, ValidationError
from gatehouse.models import audit, order_items, payments, refunds
from gatehouse.models.audit import Change
from gatehouse.models.customers import MOST_CHARACTERS, Customer, NewCustomer, checked_customer, checked_email
from gatehouse.models.customers import sql as customers_sql
from gatehouse.models.order_items import ItemCounts, OrderItem
from gatehouse.models.payments import Payment
from gatehouse.models.refunds import Refund
from gatehouse.models.scope import Page, Store, checked_most, flush_for, page_of, place_after, write_for
from gatehouse.money import EXPONENTS, MOST_MINOR
from gatehouse.settings import settings

sql = load_statements(Path(__file__).with_name("orders.sql"))

STATUSES = ("pending", "processing", "completed", "failed", "refunded", "partially_refunded", "cancelled")
PAYMENT_STATES = (
    "unpaid",
    "processing",
    "part_paid",
    "paid",
    "over_paid",
    "wrong_currency",
    "partially_refunded",
    "refunded",
    "reversed",
)
MOST_ITEMS = 500
MOST_QUANTITY = 1_000_000
MOST_METADATA_CHARACTERS = 10_000
_PREFIX = re.compile("[A-Z][A-Z0-9]{0,9}")


class Order(NamedTuple):
    """A row of `orders`, with the e-mail address of its customer."""

    id: int
    merchant: str
    number: str
    customer_id: int
    email: str | None
    livemode: bool
    event_id: str | None
    event_name: str | None
    event_date: date | None
    currency: str
    status: str
    payment_state: str
    subtotal_minor: int
    tax_minor: int
    fee_minor: int
    discount_minor: int
    total_minor: int
    paid_minor: int  # what came in, before refunds
    refunded_minor: int
    reference: str | None
    metadata: dict[str, Any] | None
    version: int  # grows with every change
    created_at: datetime
    updated_at: datetime


class NewItem(NamedTuple):
    """An item to be ordered; a total that is given must be quantity times unit."""

    item_type: str
    unit_minor: int
    quantity: int = 1
    total_minor: int | None = None
    description: str | None = None
    attendee_name: str | None = None
    attendee_email: str | None = None


class NewOrder(NamedTuple):
    """An order to be made; a subtotal or total that is given must be what the items and the other sums make."""

    currency: str
    event_id: str | None = None
    event_name: str | None = None
    event_date: date | None = None
    subtotal_minor: int | None = None
    tax_minor: int = 0
    fee_minor: int = 0
    discount_minor: int = 0
    total_minor: int | None = None
    reference: str | None = None  # the merchant's own name for it; payments may name the order by it
    metadata: Mapping[str, Any] | None = None
    livemode: bool = True  # only payments of the same mode pay for it


class Numbering(NamedTuple):
    """How order numbers are made: PREFIX-YYYYMMDD-NNNN, by the days of a time zone."""

    prefix: str
    zone: str


class CreatedOrder(NamedTuple):
    """What was made, or, where `is_new` is false, what the same idempotency key had made before."""

    order: Order
    customer: Customer
    items: list[OrderItem]
    is_new: bool


class OrderSummary(NamedTuple):
    """An order with all that belongs to it."""

    order: Order
    customer: Customer
    items: list[OrderItem]
    payments: list[Payment]
    refunds: list[Refund]
    history: list[Change]


class OrderCounts(NamedTuple):
    """How many orders of one status and currency there are, and their sums."""

    status: str
    currency: str
    orders: int
    total_minor: int
    paid_minor: int
    refunded_minor: int


class OrderStatistics(NamedTuple):
    """Orders by status, items by type."""

    by_status: list[OrderCounts]
    by_item_type: list[ItemCounts]


class OrderFilter(NamedTuple):
    """Which orders are wanted; None filters nothing."""

    status: str | None = None
    payment_state: str | None = None
    event_id: str | None = None
    item_type: str | None = None
    since: datetime | None = None  # made at this moment or later
    before: datetime | None = None
    livemode: bool | None = None


ALL = OrderFilter()


def create_order(
    store: Store,
    merchant: str,
    order: NewOrder,
    customer: NewCustomer,
    items: Sequence[NewItem],
    *,
    idempotency_key: str | None = None,
    numbering: Numbering | None = None,
    at: datetime | None = None,
    actor: str = "",
) -> CreatedOrder:
    """Make an order with its customer and items, all or nothing, in one flush; raise ValidationError or KeyReused."""
    chosen = _checked_numbering(*(numbering or _numbering_of_settings()))
    said_items = [_checked_item(place, item) for place, item in enumerate(items)]
    said_order = _checked_order(order, said_items)
    said_customer = checked_customer(customer)
    content = json.dumps([said_order, said_customer, said_items], sort_keys=True, default=str)
    made, orders, customers, found_items = write_for(
        store,
        merchant,
        sql.create_order(
            order=said_order,
            customer=said_customer,
            items=Json(said_items),
            prefix=chosen.prefix,
            zone=chosen.zone,
            at=at,
            idempotency_key=_text("idempotency_key", idempotency_key),
            content_hash=sha256(content.encode(errors="replace")).hexdigest() if idempotency_key else None,
        ),
        sql.made_order(merchant=merchant),
        sql.customer_of_made_order(merchant=merchant),
        sql.items_of_made_order(merchant=merchant),
        actor=actor,
    )
    return CreatedOrder(
        Order(**orders[0]), Customer(**customers[0]), [OrderItem(**row) for row in found_items], made[0]["is_new"]
    )


def set_order_status(
    store: Store,
    merchant: str,
    order_id: int,
    status: str,
    *,
    expected_version: int | None = None,
    actor: str = "",
) -> Order:
    """Take a step with an order and return it; raise IllegalStep, which lists those allowed, or ChangedMeanwhile."""
    _one_of("status", status, STATUSES)
    _done, rows = write_for(
        store,
        merchant,
        sql.set_order_status(order_id=order_id, status=status, expected_version=expected_version),
        sql.order_by_id(merchant=merchant, order_id=order_id),
        actor=actor,
    )
    return Order(**rows[0])


def find_order(store: Store, merchant: str, order_id: int) -> Order:
    """Return one order by id, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.order_by_id(merchant=merchant, order_id=order_id))
    if not rows:
        raise NotFound("there is no such order")
    return Order(**rows[0])


def orders_named(store: Store, merchant: str, name: str) -> list[Order]:
    """Return the orders of a number, a reference, or a gateway's id of a payment's object; newest first, at most 20."""
    (rows,) = flush_for(store, merchant, sql.orders_named(merchant=merchant, name=name))
    return [Order(**row) for row in rows]


def find_order_named(store: Store, merchant: str, name: str) -> Order:
    """Return the one order of a number, a reference, or any gateway's id of a payment's object, or raise NotFound."""
    found = orders_named(store, merchant, name)
    # Its own names count before what a payment of another order is called.
    exact = [order for order in found if name in (order.number, order.reference)] or found
    if not exact:
        raise NotFound(f"no order is named {name}")
    if len(exact) > 1:
        raise NotFound(f"several orders are named {name}: {', '.join(order.number for order in exact)}")
    return exact[0]


def orders_of_customer(
    store: Store, merchant: str, customer_id: int, *, after: str | None = None, most: int = 20
) -> Page[Order]:
    """Return a page of a customer's orders, newest first."""
    bound = sql.orders_of_customer(
        merchant=merchant, customer_id=customer_id, most=checked_most(most) + 1, **place_after(after)
    )
    (rows,) = flush_for(store, merchant, bound)
    return _page(rows, most)


def list_orders(
    store: Store,
    merchant: str,
    wanted: OrderFilter = ALL,
    *,
    text: str | None = None,
    after: str | None = None,
    most: int = 20,
) -> Page[Order]:
    """Return a page of orders, newest first: of the filter, with all words of the text or words that begin so."""
    if wanted.status is not None:
        _one_of("status", wanted.status, STATUSES)
    if wanted.payment_state is not None:
        _one_of("payment_state", wanted.payment_state, PAYMENT_STATES)
    filters = {**wanted._asdict(), **place_after(after), "merchant": merchant, "most": checked_most(most) + 1}
    if text is not None:
        bound = sql.search_orders(text=text, **filters)
    elif wanted.item_type is not None:
        bound = sql.list_orders_of_type(**filters)
    else:
        del filters["item_type"]
        bound = sql.list_orders(**filters)
    (rows,) = flush_for(store, merchant, bound)
    return _page(rows, most)


def summarise_order(store: Store, merchant: str, order_id: int) -> OrderSummary:
    """Return an order with its customer, items, payments, refunds and history, read in one flush; or raise NotFound."""
    named = {"merchant": merchant, "order_id": order_id}
    found, items, paid, refunded, history, customers = flush_for(
        store,
        merchant,
        sql.order_by_id(**named),
        order_items.sql.items_of_order(**named),
        payments.sql.payments_of_order(**named),
        refunds.sql.refunds_of_order(**named),
        audit.sql.history_of_order(**named),
        customers_sql.customer_of_order(**named),
    )
    if not found:
        raise NotFound("there is no such order")
    return OrderSummary(
        Order(**found[0]),
        Customer(**customers[0]),
        [OrderItem(**row) for row in items],
        [Payment(**row) for row in paid],
        [Refund(**row) for row in refunded],
        [Change(**row) for row in history],
    )


def order_statistics(
    store: Store,
    merchant: str,
    *,
    event_id: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    livemode: bool = True,
) -> OrderStatistics:
    """Return how many orders there are and what they brought, by status, and by type of item; in one flush."""
    chosen = {"merchant": merchant, "event_id": event_id, "since": since, "before": before, "livemode": livemode}
    by_status, by_type = flush_for(store, merchant, sql.order_counts(**chosen), order_items.sql.item_counts(**chosen))
    return OrderStatistics([OrderCounts(**row) for row in by_status], [ItemCounts(**row) for row in by_type])


# --- what is checked before it leaves -----------------------------------------------------------------------------


def _checked_order(order: NewOrder, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if not 1 <= len(items) <= MOST_ITEMS:
        raise ValidationError.of_field("items", f"must be from 1 to {MOST_ITEMS}")
    if order.currency not in EXPONENTS:
        raise ValidationError.of_field("currency", "is no currency that we know")
    if not isinstance(order.livemode, bool):
        raise ValidationError.of_field("livemode", "must be true or false")
    if order.event_date is not None and (
        not isinstance(order.event_date, date) or isinstance(order.event_date, datetime)
    ):
        raise ValidationError.of_field("event_date", "must be a date")
    sums = {name: _amount(name, getattr(order, name)) for name in ("tax_minor", "fee_minor", "discount_minor")}
    subtotal = sum(item["total_minor"] for item in items)
    total = subtotal + sums["tax_minor"] + sums["fee_minor"] - sums["discount_minor"]
    _agree("subtotal_minor", order.subtotal_minor, subtotal, "what the items make")
    if total < 0:
        raise ValidationError.of_field("discount_minor", f"is more than there is to pay: {total} would be left")
    _agree("total_minor", order.total_minor, total, "subtotal + tax + fee - discount")
    return {
        "currency": order.currency,
        "event_id": _text("event_id", order.event_id),
        "event_name": _text("event_name", order.event_name),
        "event_date": order.event_date,
        "subtotal_minor": _amount("subtotal_minor", subtotal),
        **sums,
        "total_minor": _amount("total_minor", total),
        "reference": _text("reference", order.reference),
        "metadata": _metadata(order.metadata),
        "livemode": order.livemode,
    }


def _checked_item(place: int, item: NewItem) -> dict[str, Any]:
    field = f"items[{place}]"
    quantity = item.quantity
    if not isinstance(quantity, int) or isinstance(quantity, bool) or not 1 <= quantity <= MOST_QUANTITY:
        raise ValidationError.of_field(f"{field}.quantity", f"must be a whole number from 1 to {MOST_QUANTITY}")
    total = _amount(f"{field}.unit_minor", item.unit_minor) * quantity
    _agree(f"{field}.total_minor", item.total_minor, total, "quantity times unit_minor")
    return {
        "item_type": _text(f"{field}.item_type", item.item_type),
        "quantity": quantity,
        "unit_minor": item.unit_minor,
        "total_minor": _amount(f"{field}.total_minor", total),
        "description": _text(f"{field}.description", item.description),
        "attendee_name": _text(f"{field}.attendee_name", item.attendee_name),
        "attendee_email": None
        if item.attendee_email is None
        else checked_email(item.attendee_email, f"{field}.attendee_email"),
    }


def _amount(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_MINOR:
        raise ValidationError.of_field(field, "must be a whole number of minor units, not below 0")
    return value


def _agree(field: str, given: object, computed: int, what: str) -> None:
    if given is not None and _amount(field, given) != computed:
        raise ValidationError.of_field(field, f"is {given}, but {what} is {computed}")


def _text(field: str, value: object) -> str | None:
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > MOST_CHARACTERS:
        raise ValidationError.of_field(field, f"must be a text of 1 to {MOST_CHARACTERS} characters")
    return text


def _metadata(value: object) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or len(json.dumps(dict(value), default=str)) > MOST_METADATA_CHARACTERS:
        raise ValidationError.of_field(
            "metadata", f"must be an object of at most {MOST_METADATA_CHARACTERS} characters"
        )
    return dict(value)


def _one_of(field: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValidationError.of_field(field, f"must be one of {', '.join(choices)}")


def _numbering_of_settings() -> Numbering:
    return Numbering(settings().order_number_prefix, settings().order_time_zone)


@cache
def _checked_numbering(prefix: str, zone: str) -> Numbering:
    if not _PREFIX.fullmatch(prefix):
        raise SettingError("ORDER_NUMBER_PREFIX must be 1 to 10 capital letters and digits, the first one a letter")
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingError("ORDER_TIME_ZONE is no time zone that we know") from None
    return Numbering(prefix, zone)


def _page(rows: Sequence[Mapping[str, Any]], most: int) -> Page[Order]:
    return page_of([Order(**row) for row in rows], most, lambda last: (last.created_at, last.id))

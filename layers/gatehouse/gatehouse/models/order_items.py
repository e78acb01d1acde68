"""Items of orders with their attendees, and the types of which they are: data, and each merchant has its own."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from gatehouse.database.sql import load_statements
from gatehouse.errors import DuplicateEntry, ValidationError
from gatehouse.models.scope import Store, checked_most, flush_for, write_for

sql = load_statements(Path(__file__).with_name("order_items.sql"))


class OrderItem(NamedTuple):
    """A row of `order_items`."""

    id: int
    order_id: int
    item_type: str
    description: str | None
    quantity: int
    unit_minor: int
    total_minor: int
    attendee_name: str | None
    attendee_email: str | None


class ItemCounts(NamedTuple):
    """How many items of one type were ordered and sold, in one currency; refunded orders are not sold."""

    item_type: str
    currency: str
    orders: int
    ordered_quantity: int
    sold_quantity: int
    sold_minor: int  # before tax, fees and discounts of the order


def items_of_order(store: Store, merchant: str, order_id: int) -> list[OrderItem]:
    """Return the items of an order as they were given."""
    (rows,) = flush_for(store, merchant, sql.items_of_order(merchant=merchant, order_id=order_id))
    return [OrderItem(**row) for row in rows]


def items_of_attendee(store: Store, merchant: str, email: str, *, most: int = 20) -> list[OrderItem]:
    """Return the items of an attendee by e-mail address, in upper or lower case, newest first."""
    bound = sql.items_of_attendee(merchant=merchant, email=email.strip(), most=checked_most(most))
    (rows,) = flush_for(store, merchant, bound)
    return [OrderItem(**row) for row in rows]


def count_items(
    store: Store,
    merchant: str,
    *,
    event_id: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    livemode: bool = True,
) -> list[ItemCounts]:
    """Return how many items of each type were ordered and sold, and what they brought."""
    bound = sql.item_counts(merchant=merchant, event_id=event_id, since=since, before=before, livemode=livemode)
    (rows,) = flush_for(store, merchant, bound)
    return [ItemCounts(**row) for row in rows]


def item_types(store: Store, merchant: str) -> list[str]:
    """Return the types of items that the merchant sells."""
    (rows,) = flush_for(store, merchant, sql.item_types(merchant=merchant))
    return [row["name"] for row in rows]


def add_item_type(store: Store, merchant: str, name: str) -> None:
    """Add a type of item, or raise DuplicateEntry."""
    try:
        write_for(store, merchant, sql.add_item_type(name=name))
    except DuplicateEntry:
        raise DuplicateEntry(f"there is an item type {name} already") from None
    except ValidationError:
        reason = "must be lower-case letters, digits, dashes and underscores"
        raise ValidationError.of_field("name", reason) from None

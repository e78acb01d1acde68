"""Orders: made with their customer and items, moved from status to status, found, summed up and counted."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from analytics_api.audit import Change
from analytics_api.customers import Customer
from analytics_api.payments import Payment
from analytics_api.recorded import AS_OF, seen
from analytics_api.refunds import Refund
from gatehouse.backup.reads import order_in_backup, read_from_either
from gatehouse.backup.standing import ServedBy
from gatehouse.database.connection import Database, Transaction
from gatehouse.http_api.application import CHANGE, MISSING, ONE
from gatehouse.http_api.callers import Reader, Writer, desk_of
from gatehouse.http_api.fields import Day, Minor, Moment, Money, RowId, Switch, Word, money
from gatehouse.http_api.pages import Filters, Page, after_text, stored_page
from gatehouse.http_api.repetition import Answer, IdempotencyKey, written_once
from gatehouse.http_api.resources import expected_version, resource
from gatehouse.models import customers as customer_rows
from gatehouse.models import order_items, orders

type OrderStatus = Literal[
    "pending", "processing", "completed", "failed", "refunded", "partially_refunded", "cancelled"
]
type PaymentState = Literal[
    "unpaid",
    "processing",
    "part_paid",
    "paid",
    "over_paid",
    "wrong_currency",
    "partially_refunded",
    "refunded",
    "reversed",
]
AMOUNTS = ("subtotal", "tax", "fee", "discount", "total", "paid", "refunded")


class OrderFilters(Filters):
    """What orders can be looked for by."""

    text: Word | None = Field(None, description="Words or their beginnings: name, e-mail, number, attendee, reference.")
    status: OrderStatus | None = None
    payment_state: PaymentState | None = None
    event_id: Word | None = None
    item_type: Word | None = None
    since: Moment | None = Field(None, description="Made at or after this time.")
    before: Moment | None = Field(None, description="Made before this time.")
    livemode: bool | None = None


class OrdersOfCustomer(Filters):
    """A page of a customer's orders."""


class OrderState(BaseModel):
    """What both databases know of an order."""

    id: int
    merchant: str
    number: str
    customer_id: int
    email: str | None
    livemode: bool
    event_id: str | None
    event_name: str | None
    event_date: date | None
    status: OrderStatus
    payment_state: PaymentState = Field(description="What its payments say, whatever a person has said.")
    subtotal: Money
    tax: Money
    fee: Money
    discount: Money
    total: Money
    paid: Money = Field(description="What came in, before refunds.")
    refunded: Money
    reference: str | None
    metadata: dict[str, Any] | None
    created_at: datetime


class Order(OrderState):
    """One order."""

    version: int = Field(description="Grows with every change; the ETag is made of it.")
    updated_at: datetime


class Item(BaseModel):
    """One item of an order."""

    id: int
    item_type: str
    description: str | None
    quantity: int
    unit: Money
    total: Money
    attendee_name: str | None
    attendee_email: str | None


class OrderWithItems(Order):
    """An order and what was ordered."""

    items: list[Item]


class OneOrder(OrderState):
    """An order, and which database it was read from; what the backup does not keep is null then."""

    version: int | None = Field(None, description="Grows with every change; the ETag is made of it.")
    updated_at: datetime | None = None
    items: list[Item] | None = None
    served_by: ServedBy
    as_of: datetime | None = AS_OF


class OrderSummary(OrderWithItems):
    """An order with its customer, payments, refunds and history."""

    customer: Customer
    payments: list[Payment]
    refunds: list[Refund]
    history: list[Change]


class Given(BaseModel):
    """What is given in a body; a name that is not known is refused, not ignored."""

    model_config = ConfigDict(extra="forbid")


class NewItem(Given):
    """An item to be ordered."""

    item_type: Word
    unit_minor: Minor
    quantity: Annotated[int, Field(strict=True, ge=1, le=orders.MOST_QUANTITY)] = 1
    total_minor: Minor | None = Field(None, description="If given, quantity times unit_minor.")
    description: Word | None = None
    attendee_name: Word | None = None
    attendee_email: Word | None = None


class NewCustomer(Given):
    """Who orders; what is not given stays as it is known."""

    email: Word
    first_name: Word | None = None
    last_name: Word | None = None
    phone: Word | None = None


class NewOrder(Given):
    """An order to be made, with its customer and items."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    customer: NewCustomer
    items: Annotated[list[NewItem], Field(min_length=1, max_length=orders.MOST_ITEMS)]
    event_id: Word | None = None
    event_name: Word | None = None
    event_date: Day | None = None
    tax_minor: Minor = 0
    fee_minor: Minor = 0
    discount_minor: Minor = 0
    subtotal_minor: Minor | None = Field(None, description="If given, what the items make.")
    total_minor: Minor | None = Field(None, description="If given, subtotal + tax + fee - discount.")
    reference: Word | None = None
    metadata: dict[str, Any] | None = None
    livemode: Switch = True


class NewItemType(Given):
    """A type of items to be sold."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class OrderStep(Given):
    """Where an order is to go."""

    status: OrderStatus


class OrderCount(BaseModel):
    """How many orders of one status and currency there are, and their sums."""

    status: OrderStatus
    orders: int
    total: Money
    paid: Money
    refunded: Money


class ItemCount(BaseModel):
    """How many items of one type were ordered and sold, in one currency."""

    item_type: str
    orders: int
    ordered_quantity: int
    sold_quantity: int
    sold: Money


class OrderStatistics(BaseModel):
    """Orders by status, items by type."""

    by_status: list[OrderCount]
    by_item_type: list[ItemCount]


class StatisticsFilters(Given):
    """Which orders are counted."""

    event_id: Word | None = None
    since: Moment | None = None
    before: Moment | None = None
    livemode: bool = True


router = APIRouter(tags=["orders"])


@router.get("/orders")
async def list_orders(request: Request, caller: Reader, filters: Annotated[OrderFilters, Query()]) -> Page[Order]:
    """List orders, newest first."""
    wanted = filters.wanted()
    text = wanted.pop("text")
    found = orders.list_orders(
        desk_of(request).database(),
        caller.merchant,
        orders.OrderFilter(**wanted),
        text=text,
        after=after_text(filters),
        most=filters.limit,
    )
    return stored_page(found.rows, found.next, filters, shown_order)


@router.post("/orders", status_code=201, response_model=OrderWithItems, responses=CHANGE)
async def make_order(request: Request, caller: Writer, order: NewOrder, key: IdempotencyKey = None) -> Response:
    """Make an order with its customer and items, all or nothing."""
    said = order.model_dump(exclude={"customer", "items"})

    def make(transaction: Transaction) -> Answer:
        made = orders.create_order(
            transaction,
            caller.merchant,
            orders.NewOrder(**said),
            customer_rows.NewCustomer(**order.customer.model_dump()),
            [orders.NewItem(**each.model_dump()) for each in order.items],
            actor=caller.actor,
        )
        return Answer(201, _with_items(made.order, made.items).model_dump(mode="json"))

    answer = await written_once(request, caller, key, make)
    desk_of(request).bell().ring_for_backup()  # payments that waited for this order belong to it now
    return answer


@router.get("/orders/named")
async def list_named(
    request: Request, caller: Reader, name: Annotated[Word, Query(description="A number, a reference, a gateway's id.")]
) -> list[Order]:
    """Find orders by their number, their reference, or any gateway's id of a payment; newest first, at most 20."""
    return [shown_order(each) for each in orders.orders_named(desk_of(request).database(), caller.merchant, name)]


@router.get("/orders/statistics")
async def count_orders(
    request: Request, caller: Reader, filters: Annotated[StatisticsFilters, Query()]
) -> OrderStatistics:
    """Count orders by status and items by type."""
    counted = orders.order_statistics(desk_of(request).database(), caller.merchant, **filters.model_dump())
    return OrderStatistics(
        by_status=[OrderCount(**_amounts(each._asdict(), "total", "paid", "refunded")) for each in counted.by_status],
        by_item_type=[ItemCount(**_amounts(each._asdict(), "sold")) for each in counted.by_item_type],
    )


@router.get("/orders/{order_id}", response_model=OneOrder, responses=ONE)
async def show_order(request: Request, caller: Reader, order_id: RowId) -> Response:
    """Show one order with its items; from the backup, which knows it by its payments, while the primary is away."""
    desk = desk_of(request)
    primary = desk.database()

    def read(database: Database) -> dict[str, Any]:
        if database is primary:
            found = orders.summarise_order(database, caller.merchant, order_id)
            return _with_items(found.order, found.items).model_dump()
        kept = {"email": None, "metadata": None} | order_in_backup(database, caller.merchant, order_id)
        return _amounts(kept, *AMOUNTS)

    answer = read_from_either(primary, desk.backup(), read)
    shown = OneOrder.model_validate(answer.found | {"served_by": answer.served_by, "as_of": answer.as_of})
    return resource(request, shown, shown.version)


@router.get("/orders/{order_id}/summary", response_model=OrderSummary, responses=ONE)
async def summarise_order(request: Request, caller: Reader, order_id: RowId) -> Response:
    """Show one order with all that belongs to it."""
    found = orders.summarise_order(desk_of(request).database(), caller.merchant, order_id)
    payments = seen(request, caller, "payments", [each._asdict() for each in found.payments])
    shown = OrderSummary(
        **_with_items(found.order, found.items).model_dump(),
        customer=Customer.model_validate(found.customer._asdict()),
        payments=[Payment.of(each) for each in payments],
        refunds=[Refund.of(each._asdict()) for each in found.refunds],
        history=[Change.model_validate(each._asdict()) for each in found.history],
    )
    return resource(request, shown)


@router.get("/customers/{customer_id}/orders", responses=MISSING)
async def list_orders_of_customer(
    request: Request, caller: Reader, customer_id: RowId, filters: Annotated[OrdersOfCustomer, Query()]
) -> Page[Order]:
    """List what a customer ordered, newest first. What they paid is in `/payments?customer_id=`."""
    store = desk_of(request).database()
    customer_rows.find_customer(store, caller.merchant, customer_id)
    found = orders.orders_of_customer(
        store, caller.merchant, customer_id, after=after_text(filters), most=filters.limit
    )
    return stored_page(found.rows, found.next, filters, shown_order)


@router.patch("/orders/{order_id}", response_model=Order, responses=CHANGE)
async def move_order(request: Request, caller: Writer, order_id: RowId, step: OrderStep) -> Response:
    """Take a step with an order that you have seen as it is: send its ETag in If-Match."""
    moved = orders.set_order_status(
        desk_of(request).database(),
        caller.merchant,
        order_id,
        step.status,
        expected_version=expected_version(request),
        actor=caller.actor,
    )
    desk_of(request).bell().ring_for_backup()
    return resource(request, shown_order(moved), moved.version)


@router.get("/item-types")
async def list_item_types(request: Request, caller: Reader) -> list[str]:
    """List the types of items that the merchant sells."""
    return order_items.item_types(desk_of(request).database(), caller.merchant)


@router.post("/item-types", status_code=201, responses=CHANGE)
async def add_item_type(request: Request, caller: Writer, item_type: NewItemType) -> NewItemType:
    """Add a type of items."""
    order_items.add_item_type(desk_of(request).database(), caller.merchant, item_type.name)
    return item_type


def shown_order(order: orders.Order) -> Order:
    """Return an order as the API shows it."""
    return Order.model_validate(_amounts(order._asdict(), *AMOUNTS))


def _with_items(order: orders.Order, items: list[Any]) -> OrderWithItems:
    rows = [{**each._asdict(), "currency": order.currency} for each in items]
    shown = [Item.model_validate(_amounts(row, "unit", "total")) for row in rows]
    return OrderWithItems(**shown_order(order).model_dump(), items=shown)


def _amounts(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {**row, **{name: money(row, f"{name}_minor") for name in names}}

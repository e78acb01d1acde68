"""`gatehouse orders`: made, shown, searched, and moved along their legal steps."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.stored import (
    DEFAULT_MERCHANT,
    AfterOption,
    JsonOption,
    LimitOption,
    MerchantOption,
    actor,
    as_json,
    is_live_here,
    lines,
    moment,
    money,
)
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.models import order_items, orders
from gatehouse.models.customers import NewCustomer
from gatehouse.models.orders import NewItem, NewOrder, Order, OrderFilter, OrderSummary
from gatehouse.models.scope import Page

app = typer.Typer(
    help="Make, find and move orders.",
    no_args_is_help=True,
)
OrderArgument = Annotated[str, typer.Argument(help="Its number, reference or id, or a gateway's id of its payment.")]
StatusOption = Annotated[str | None, typer.Option("--status", help=", ".join(orders.STATUSES))]
PaymentStateOption = Annotated[str | None, typer.Option("--payment-state", help=", ".join(orders.PAYMENT_STATES))]
EventOption = Annotated[str | None, typer.Option("--event", help="Only of this event id.")]
TypeOption = Annotated[str | None, typer.Option("--item-type", help="Only with an item of this type.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Only made on this day (UTC) or later: 2026-05-01.")]
BeforeOption = Annotated[str | None, typer.Option("--before", help="Only made before this day (UTC).")]


@app.command()
def create(
    file: Annotated[
        Path, typer.Argument(help="JSON {order, customer, items} with amounts in minor units; - is stdin.")
    ],
    merchant: MerchantOption = DEFAULT_MERCHANT,
    key: Annotated[
        str | None, typer.Option("--key", help="Idempotency key: the same one makes no second order.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Make an order with its customer and items. Where orders are not live, say so with "livemode": false."""
    said = _read(file)
    made = orders.create_order(
        ops_database(),
        merchant,
        _filled(NewOrder, {"livemode": is_live_here()} | _object(said, "order"), "order", ("event_date",)),
        _filled(NewCustomer, _object(said, "customer"), "customer", ("retain_until",), ("consent_at",)),
        [_filled(NewItem, item, "items") for item in _list(said, "items")],
        idempotency_key=key,
        actor=actor(),
    )
    if json_:
        output.say(as_json(made))
    else:
        word = "made" if made.is_new else "there already:"
        output.say(f"{word} {made.order.number}, {money(made.order.total_minor, made.order.currency)}")


@app.command()
def show(order: OrderArgument, merchant: MerchantOption = DEFAULT_MERCHANT, json_: JsonOption = False) -> None:
    """Show an order with its items, payments, refunds and history."""
    database = ops_database()
    summary = orders.summarise_order(database, merchant, _named(database, merchant, order).id)
    if json_:
        output.say(as_json(summary))
    else:
        _show(summary)


@app.command("list")
def list_(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    status: StatusOption = None,
    payment_state: PaymentStateOption = None,
    event: EventOption = None,
    item_type: TypeOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    after: AfterOption = None,
    limit: LimitOption = 20,
    json_: JsonOption = False,
) -> None:
    """List orders, newest first."""
    wanted = OrderFilter(status, payment_state, event, item_type, _day(since), _day(before))
    _show_page(orders.list_orders(ops_database(), merchant, wanted, after=after, most=limit), json_=json_)


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words, or their beginnings: of names, e-mail, number, reference.")],
    merchant: MerchantOption = DEFAULT_MERCHANT,
    status: StatusOption = None,
    payment_state: PaymentStateOption = None,
    event: EventOption = None,
    item_type: TypeOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    after: AfterOption = None,
    limit: LimitOption = 20,
    json_: JsonOption = False,
) -> None:
    """Search orders by the words of customer, attendees, number and reference."""
    wanted = OrderFilter(status, payment_state, event, item_type, _day(since), _day(before))
    _show_page(orders.list_orders(ops_database(), merchant, wanted, text=text, after=after, most=limit), json_=json_)


@app.command()
def status(
    order: OrderArgument,
    step: Annotated[str, typer.Argument(help=", ".join(orders.STATUSES))],
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Take a step with an order; one that is not legal is refused with those that are."""
    database = ops_database()
    moved = orders.set_order_status(database, merchant, _named(database, merchant, order).id, step, actor=actor())
    output.say(f"{moved.number} is {moved.status}")


@app.command()
def types(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    add: Annotated[str | None, typer.Option("--add", help="Add a type of this name.")] = None,
) -> None:
    """List the types of items that the merchant sells, or add one."""
    database = ops_database()
    if add is not None:
        order_items.add_item_type(database, merchant, add)
    for name in order_items.item_types(database, merchant):
        output.say(name)


def _named(database: Database, merchant: str, name: str) -> Order:
    if name.isascii() and name.isdigit() and 10 <= len(name) < 19:
        return orders.find_order(database, merchant, int(name))
    return orders.find_order_named(database, merchant, name)


def _show(summary: OrderSummary) -> None:
    order, customer = summary.order, summary.customer
    person = " ".join(filter(None, (customer.first_name, customer.last_name))) or None
    pairs: Sequence[tuple[str, object]] = (
        ("number", order.number),
        ("id", order.id),
        ("status", order.status),
        ("payment", order.payment_state),
        ("customer", customer.email),
        ("name", person),
        ("event", order.event_name or order.event_id),
        ("reference", order.reference),
        ("made", moment(order.created_at)),
        ("mode", "live" if order.livemode else "test"),
        *(
            (name, money(getattr(order, f"{name}_minor"), order.currency))
            for name in ("subtotal", "tax", "fee", "discount", "total", "paid", "refunded")
        ),
    )
    for line in lines(pairs):
        output.say(line)
    parts = (
        ("items", ((i.quantity, i.item_type, money(i.total_minor, order.currency), i.attendee_name, i.attendee_email)
                   for i in summary.items)),
        ("payments", ((p.id, p.gateway, p.status, money(p.received_minor, p.currency)) for p in summary.payments)),
        ("refunds", ((r.id, r.gateway_id, r.status, money(r.amount_minor, r.currency)) for r in summary.refunds)),
        ("history", ((moment(h.at), h.table_name, h.row_id, h.action, h.actor) for h in summary.history)),
    )  # fmt: skip
    for title, rows in parts:
        output.say(f"\n{title}", style="bold")
        for row in rows:
            output.say("  " + "  ".join(str(cell) for cell in row if cell is not None))


def _show_page(page: Page[Order], *, json_: bool) -> None:
    if json_:
        for order in page.rows:
            output.say(as_json(order))
    elif page.rows:
        output.show_table(
            ("Number", "Made", "Status", "Payment", "Total", "Paid", "Customer", "Event"),
            (
                (
                    order.number,
                    moment(order.created_at),
                    order.status,
                    order.payment_state,
                    money(order.total_minor, order.currency),
                    money(order.paid_minor, order.currency),
                    order.email,
                    order.event_id,
                )
                for order in page.rows
            ),
            right=("Total", "Paid"),
        )
    else:
        output.say("no order fits")
    if page.next and not json_:
        output.say(f"more: --after {page.next}")


def _day(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day, such as 2026-05-01") from None
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _read(file: Path) -> dict[str, Any]:
    try:
        said = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as reason:
        raise SettingError(f"{file}: {reason.strerror}") from None
    except ValueError as reason:
        raise SettingError(f"{file}: not JSON ({reason})") from None
    if not isinstance(said, dict):
        raise SettingError(f"{file}: not a JSON object")
    return said


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(said.get(name), dict):
        raise SettingError(f"{name}: must be an object")
    found: dict[str, Any] = said[name]
    return found


def _list(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = said.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise SettingError(f"{name}: must be a list of objects")
    return found


def _filled[Row](
    kind: type[Row], said: dict[str, Any], where: str, days: Sequence[str] = (), moments: Sequence[str] = ()
) -> Row:
    """Return a row filled with what the JSON says, days and times read."""
    read = dict(said)
    try:
        read |= {name: date.fromisoformat(said[name]) for name in days if said.get(name) is not None}
        read |= {name: datetime.fromisoformat(said[name]) for name in moments if said.get(name) is not None}
        return kind(**read)
    except (TypeError, ValueError) as reason:
        # Python's words name the field: "got an unexpected keyword argument 'colour'".
        raise SettingError(f"{where}: {str(reason).partition(') ')[2] or reason}") from None

"""`gatehouse customers`: found, shown with all that is known of them, and erased."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import output
from cli.progress import followed
from cli.stored import (
    DEFAULT_MERCHANT,
    AfterOption,
    JsonOption,
    LimitOption,
    MerchantOption,
    actor,
    as_json,
    lines,
    moment,
    money,
)
from cli.target import keyring, ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.intake.refold import Batch, Place
from gatehouse.models import customers, orders, privacy
from gatehouse.models.payment_names import MOST_DIGITS
from gatehouse.models.privacy import CustomerName
from gatehouse.sealing import Keyring

app = typer.Typer(
    help="Find customers, export all that is known of a person, erase it, link old payments.", no_args_is_help=True
)
EmailArgument = Annotated[str, typer.Argument(help="The e-mail address, in upper or lower case.")]
SomebodyArgument = Annotated[str | None, typer.Argument(help="The e-mail address, in upper or lower case.")]
CustomerOption = Annotated[
    str | None,
    typer.Option("--customer", help="Instead of an address: what a gateway calls them, as a patient's code."),
]
GatewayOption = Annotated[str | None, typer.Option("--gateway", help="Where several call somebody so: which.")]
AccountOption = Annotated[str | None, typer.Option("--account", help="Where several accounts do: which.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without this, only say what would be done.")]


@app.command("list")
def list_(
    text: Annotated[str | None, typer.Argument(help="Words, or their beginnings: of name, e-mail, phone.")] = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
    after: AfterOption = None,
    limit: LimitOption = 20,
    json_: JsonOption = False,
) -> None:
    """List customers, newest first, all or those who have the words."""
    page = customers.list_customers(ops_database(), merchant, text=text, after=after, most=limit)
    if json_:
        for row in page.rows:
            output.say(as_json(row))
        return
    output.show_table(
        ("Id", "E-mail", "First name", "Last name", "Phone", "Since"),
        ((row.id, row.email, row.first_name, row.last_name, row.phone, moment(row.created_at)) for row in page.rows),
        right=("Id",),
    )
    if page.next:
        output.say(f"more: --after {page.next}")


@app.command()
def show(email: EmailArgument, merchant: MerchantOption = DEFAULT_MERCHANT) -> None:
    """Show a customer and their orders, newest first."""
    database = ops_database()
    customer = customers.find_customer_by_email(database, merchant, email)
    for line in lines((name, value) for name, value in customer._asdict().items()):
        output.say(line)
    page = orders.orders_of_customer(database, merchant, customer.id, most=50)
    for order in page.rows:
        output.say(f"  {order.number}  {order.status}  {money(order.total_minor, order.currency)}")


@app.command()
def export(
    email: SomebodyArgument = None,
    customer: CustomerOption = None,
    gateway: GatewayOption = None,
    account: AccountOption = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Write everything that is known of a person, as JSON; with what gateways sent, where the data keys are at hand."""
    database = ops_database()
    person = _person(database, merchant, email, customer, gateway, account)
    keys = _keys_at_hand("what gateways sent is not among it")
    if isinstance(person, CustomerName):
        known = privacy.export_named_customer(database, merchant, person, keys)
    else:
        known = privacy.export_customer(database, merchant, person, keys)
    output.say(json.dumps(known, indent=2, ensure_ascii=False))


@app.command()
def erase(
    email: SomebodyArgument = None,
    customer: CustomerOption = None,
    gateway: GatewayOption = None,
    account: AccountOption = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
    yes: YesOption = False,
) -> None:
    """Erase a person: payloads deleted, personal fields emptied everywhere; money and audit stay. Not to be undone."""
    database = ops_database()
    person = _person(database, merchant, email, customer, gateway, account)
    if isinstance(person, CustomerName):
        done = privacy.erase_named_customer(database, merchant, person, dry_run=not yes, actor=actor())
    else:
        done = privacy.erase_customer(database, merchant, person, dry_run=not yes, actor=actor())
    if keys := _keys_at_hand("the events that failed or were ignored were not looked into"):
        found = privacy.erase_payloads_naming(database, merchant, person, keys, dry_run=not yes, actor=actor())
        done["webhook_payloads"] += found
    _tell(done, "erased" if yes else "would be erased")
    if not yes:
        output.say("nothing was changed: give --yes to do it")


@app.command()
def backfill(
    after: Annotated[str | None, typer.Option("--after", help="Go on behind this place, as payments/123.")] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, max=5000, help="So many rows a transaction.")] = 500,
) -> None:
    """Give all that was recorded before there were customers its customer, by e-mail address. Safe to repeat."""
    table, _, last_id = (after or f"{customers.LINKED_TABLES[0]}/0").partition("/")
    if not last_id.isdecimal() or len(last_id) > MOST_DIGITS or table not in customers.LINKED_TABLES:
        raise typer.BadParameter(f"is {' or '.join(customers.LINKED_TABLES)}, a slash and an id", param_hint="--after")
    database = ops_database()
    looked_at = linked = 0

    def batches() -> Iterator[Batch]:
        nonlocal looked_at, linked
        steps = customers.link_customers(database, after=(table, int(last_id)), most=batch, actor=actor())
        for step in steps:
            looked_at += step.looked_at
            linked += step.linked
            yield Batch(Place(step.table, step.last_id), step.looked_at, [])

    for _ in followed(batches(), customers.ends_of_links(database)):
        pass
    output.say(f"{linked} of {looked_at} rows were given their customer")


@app.command()
def retention(yes: YesOption = False) -> None:
    """Erase the customers of all merchants whose day of retention has passed. For a daily run."""
    database = ops_database()
    due = privacy.customers_past_retention(database, datetime.now(UTC).date())
    for each in due:
        if yes:
            privacy.erase_customer(database, each.merchant, each.email, actor="retention")
        output.say(f"{each.merchant} customer {each.customer_id}: {'erased' if yes else 'would be erased'}")
    output.say(f"{len(due)} past their day" if due else "nobody is past their day")


def _person(
    database: Database,
    merchant: str,
    email: str | None,
    customer: str | None,
    gateway: str | None,
    account: str | None,
) -> str | CustomerName:
    """Return who is meant: an address, or the customer whom a gateway calls so."""
    if (email is None) == (customer is None):
        raise typer.BadParameter("give an e-mail address, or --customer for somebody who has none", param_hint="EMAIL")
    if customer is None:
        if gateway or account:
            raise typer.BadParameter("goes with --customer", param_hint="--gateway" if gateway else "--account")
        return email or ""
    return privacy.named_customer(database, merchant, customer, gateway=gateway, account=account)


def _keys_at_hand(otherwise: str) -> Keyring | None:
    try:
        return keyring()
    except SettingError as missing:
        output.note(f"{otherwise}: {missing}")
        return None


def _tell(done: dict[str, int], word: str) -> None:
    changed = {table: rows for table, rows in sorted(done.items()) if rows}
    for table, rows in changed.items():
        output.say(f"{table:<18} {rows} {word}")
    if not changed:
        output.say("nothing is known of this person; that it stays so is noted")

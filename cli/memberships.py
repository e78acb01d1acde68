"""`gatehouse memberships`: who is a member of what, what people say of it, and who looked."""

from datetime import datetime
from typing import Annotated, Any

import typer

from cli import output
from cli.stored import DEFAULT_MERCHANT, JsonOption, LimitOption, MerchantOption, actor, as_json, lines, moment, money
from cli.target import ops_database
from gatehouse.errors import SettingError
from gatehouse.models import accounts, memberships, products

app = typer.Typer(
    help="List memberships, set what payments cannot say, and make them anew from the payments. Reads are noted.",
    no_args_is_help=True,
)
IdArgument = Annotated[int, typer.Argument(min=1, metavar="ID", help="The number of the membership.")]
BecauseOption = Annotated[str | None, typer.Option("--because", help="Why, for those who look later.")]


@app.command("list")
def list_(
    text: Annotated[str | None, typer.Argument(help="Words, or their beginnings: name, code, e-mail, product.")] = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
    tab: Annotated[str | None, typer.Option("--tab", help="A category; without those that were canceled.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", help=f"One of {', '.join(memberships.STATUSES)}; may be repeated.")
    ] = None,
    missed: Annotated[bool, typer.Option("--missed", help="Only those whose renewal did not come.")] = False,
    sort: Annotated[str, typer.Option("--sort", help=f"By {', '.join(memberships.ORDERS)}.")] = "name",
    after: Annotated[str | None, typer.Option("--after", help="What the page before said under `more`.")] = None,
    limit: LimitOption = 50,
    json_: JsonOption = False,
) -> None:
    """List memberships."""
    if sort not in memberships.ORDERS:
        raise SettingError(f"--sort: must be one of {', '.join(memberships.ORDERS)}")
    order: Any = sort
    place = None
    if after is not None:
        number, _, key = after.partition("/")
        place = memberships.checked_after(order, (key, int(number) if number.isdigit() else None))
    page = memberships.list_memberships(
        ops_database(),
        merchant,
        memberships.Wanted(tab=tab, status=status or None, renewal_missed=missed or None, text=text),
        reader=actor(),
        sort=order,
        after=place,
        most=limit,
    )
    if json_:
        for row in page.rows:
            output.say(as_json(row))
        return
    output.show_table(
        ("Id", "Category", "Status", "Patient", "Code", "Product", "Amount", "Started", "Last paid", "Next expected"),
        (
            (
                row.id,
                row.category,
                f"{row.status}{' by hand' if row.status_by_hand else ''}{', missed' if row.renewal_missed_at else ''}",
                row.name,
                row.customer_ref,
                row.product_name,
                money(row.amount_minor, row.currency),
                _day(row.started_at),
                _day(row.last_payment_at),
                _day(row.next_expected_at),
            )
            for row in page.rows
        ),
        right=("Id", "Amount"),
    )
    if page.next:
        output.say(f"more: --after {page.next[1]}/{page.next[0]}")


@app.command()
def tabs(merchant: MerchantOption = DEFAULT_MERCHANT) -> None:
    """Count the memberships of each tab: all, by category, cancellations."""
    output.show_table(
        ("Tab", "Memberships", "Active", "Paused", "Past due", "Canceled", "Renewal missed"),
        (
            (
                tab.name,
                tab.memberships,
                *(tab.by_status.get(status, 0) for status in ("active", "paused", "past_due", "canceled")),
                tab.renewals_missed,
            )
            for tab in memberships.count_tabs(ops_database(), merchant)
        ),
        right=("Memberships", "Active", "Paused", "Past due", "Canceled", "Renewal missed"),
    )


@app.command()
def show(membership: IdArgument, merchant: MerchantOption = DEFAULT_MERCHANT) -> None:
    """Show a membership, and the payments and invoices of its patient."""
    found = memberships.find_patient(ops_database(), merchant, membership, reader=actor())
    one = next(each for each in found.memberships if each.id == membership)
    for line in lines(
        (name, moment(value) if isinstance(value, datetime) else value) for name, value in one._asdict().items()
    ):
        output.say(line)
    for payment in found.payments:
        amount = money(payment["amount_minor"], payment["currency"])
        output.say(f"  payment {payment['id']}  {_day(payment['first_fact_at'])}  {payment['status']}  {amount}")
    for invoice in found.invoices:
        amount = money(invoice["total_minor"], invoice["currency"])
        output.say(f"  invoice {invoice['number'] or invoice['gateway_id']}  {invoice['status']}  {amount}")


@app.command("set")
def set_(
    membership: IdArgument,
    merchant: MerchantOption = DEFAULT_MERCHANT,
    status: Annotated[
        str | None, typer.Option("--status", help="Stays, whatever the payments say, until `release`.")
    ] = None,
    because: BecauseOption = None,
    google_review: Annotated[
        bool | None, typer.Option("--google-review/--no-google-review", help="Whether a review was submitted.")
    ] = None,
    referral_source: Annotated[
        str | None, typer.Option("--referral-source", help="Where the patient came from; empty for unknown.")
    ] = None,
    fulfillment_type: Annotated[
        str | None, typer.Option("--fulfillment-type", help="How the product gets there; empty for unknown.")
    ] = None,
) -> None:
    """Write what a person knows of a membership. A status wants --because."""
    given: dict[str, Any] = {
        "status": status,
        "google_review_submitted": google_review,
        "referral_source": referral_source,
        "fulfillment_type": fulfillment_type,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changed = memberships.change_membership(
        ops_database(), merchant, membership, changes, reason=because, actor=actor()
    )
    output.say(f"{changed.id} is set: {changed.status}{' by hand' if changed.status_by_hand else ''}")


@app.command()
def release(membership: IdArgument, merchant: MerchantOption = DEFAULT_MERCHANT, because: BecauseOption = None) -> None:
    """Let the payments say the status again."""
    changed = memberships.change_membership(
        ops_database(), merchant, membership, {"status": None}, reason=because, actor=actor()
    )
    output.say(f"{changed.id} is {changed.status}, as its payments say")


@app.command()
def recompute(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    every: Annotated[bool, typer.Option("--all", help="Of every merchant, in place of one.")] = False,
) -> None:
    """Give all payments product, category and membership anew. Safe to repeat and to interrupt."""
    database = ops_database()
    names = [row["id"] for row in accounts.list_merchants(database)] if every else [merchant]
    for name in names:
        payments = changed = memberships_changed = 0
        for step in products.classify_again(database, name):
            payments += step["payments"]
            changed += step["payments_changed"]
            memberships_changed += step["memberships_changed"]
            output.note(f"{name}: {payments} payments")
        output.say(f"{name}: {changed} of {payments} payments and {memberships_changed} memberships changed")


@app.command()
def reads(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    membership: Annotated[int | None, typer.Option("--membership", help="Only what showed this one.")] = None,
    limit: LimitOption = 50,
) -> None:
    """List who read what of the patients' data, newest first."""
    output.show_table(
        ("At", "Reader", "What", "Asked for", "Rows"),
        (
            (moment(each.at), each.reader, each.kind, ", ".join(sorted(each.filters)) or None, each.row_count)
            for each in memberships.list_reads(ops_database(), merchant, membership_id=membership, most=limit)
        ),
        right=("Rows",),
    )


def _day(value: datetime | None) -> str | None:
    return None if value is None else f"{value:%Y-%m-%d}"

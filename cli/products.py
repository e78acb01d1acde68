"""`gatehouse products`: what a merchant sells, by product line; reviewed one by one or from a file."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.stored import DEFAULT_MERCHANT, JsonOption, MerchantOption, actor, as_json
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.intake.refold import wait_for_recordings
from gatehouse.models import products
from gatehouse.models.apps import accounts_of

PAGE = 500

app = typer.Typer(
    help="List a merchant's products, review those that are new, and give them their categories.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    merchant: MerchantOption = DEFAULT_MERCHANT,
    category: Annotated[str | None, typer.Option("--category", help="Only those of this category.")] = None,
    json_: JsonOption = False,
) -> None:
    """List products by name, with their categories."""
    _show(_all(ops_database(), merchant, category=category), json_=json_)


@app.command()
def review(merchant: MerchantOption = DEFAULT_MERCHANT, json_: JsonOption = False) -> None:
    """List the products that nobody has reviewed, each with what its name suggests."""
    _show(_all(ops_database(), merchant, to_review=True), json_=json_)


@app.command("set")
def set_(
    product: Annotated[str, typer.Argument(help="Its name, capital letters and spaces aside, or its id.")],
    category: Annotated[str | None, typer.Argument(help="Its category; the suggested one where none is given.")] = None,
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Give a product its category; past payments and memberships follow at once, and it is said how many."""
    database = ops_database()
    number = int(product) if product.isdigit() else products.product_named(database, merchant, product)
    if category is None:
        category = products.find_product(database, merchant, number, reader=actor()).suggested_category
        if category is None:
            raise SettingError("nothing is suggested for this product: say its category")
    done, begun = products.set_category(database, merchant, number, category, actor=actor())
    output.say(f"{done.product_name}: {done.category}")
    if begun:
        _follow(database, merchant, [begun])


@app.command("import")
def import_(
    file: Annotated[str, typer.Argument(help="CSV with the columns product_name and category; - for stdin.")],
    merchant: MerchantOption = DEFAULT_MERCHANT,
) -> None:
    """Put the products of a file into the list, all or none; past payments and memberships follow at once."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise SettingError(f"{file}: {reason.strerror if isinstance(reason, OSError) else 'is no UTF-8'}") from None
    database = ops_database()
    put, begun = products.put_products(database, merchant, products.read_csv(text), actor=actor())
    for outcome in ("added", "changed", "reviewed", "same"):
        output.say(f"{sum(each.outcome == outcome for each in put)} {outcome}")
    _follow(database, merchant, begun)


@app.command()
def export(merchant: MerchantOption = DEFAULT_MERCHANT) -> None:
    """Write all products as CSV, which can be filled in and imported again."""
    sys.stdout.write(products.as_csv(_all(ops_database(), merchant)))


def _all(
    database: Database, merchant: str, *, category: str | None = None, to_review: bool | None = None
) -> Iterator[products.Product]:
    after = None
    while True:
        page = products.list_products(
            database, merchant, reader=actor(), category=category, to_review=to_review, after=after, most=PAGE
        )
        yield from page.rows
        after = page.next
        if after is None:
            return


def _show(rows: Iterator[products.Product], *, json_: bool) -> None:
    if json_:
        for row in rows:
            output.say(as_json(row))
        return
    output.show_table(
        ("Id", "Product", "Category", "Suggested", "Because", "Reviewed by"),
        (
            (row.id, row.product_name, row.category, row.suggested_category, row.suggested_because, row.reviewed_by)
            for row in rows
        ),
        right=("Id",),
    )


def _follow(database: Database, merchant: str, begun: list[products.Reclassification]) -> None:
    """Give past payments their category. Whatever interrupts it: the job goes on where it stopped."""
    if not begun:
        return
    wait_for_recordings(database, accounts_of(database, merchant))
    payments = memberships = 0
    try:
        for each in begun:
            step = products.step_reclassification(database, each.id)
            while step["finished_at"] is None:
                output.note(f"{step['payments_changed']} of {step['payments_planned']} payments")
                step = products.step_reclassification(database, each.id)
            payments += step["payments_changed"]
            memberships += step["memberships_changed"]
    except KeyboardInterrupt:
        output.note("stopped; what is left is done by the job within a minute")
        raise
    output.say(f"{payments} payments changed their category, and the memberships of {memberships} patients")

"""`gatehouse merchants`: whose money it is."""

import re
from typing import Annotated

import typer

from cli import output
from cli.target import ops_database
from gatehouse.models import accounts

MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # as the table asks

app = typer.Typer(help="Add, list and switch merchants. Every account belongs to one.", no_args_is_help=True)


def _merchant(name: str) -> str:
    if not MERCHANT.fullmatch(name):
        raise typer.BadParameter(
            "must be 1 to 63 lower-case letters (a to z), digits, dashes or underscores, the first one"
            " a letter or digit"
        )
    return name


MerchantArgument = Annotated[
    str, typer.Argument(callback=_merchant, help="Lower-case letters, digits, dashes; it never changes.")
]


@app.command()
def add(
    merchant: MerchantArgument,
    name: Annotated[str, typer.Option("--name", help="As people call it (default: the same).")] = "",
) -> None:
    """Add a merchant."""
    added = accounts.add_merchant(ops_database(), merchant, name or merchant)
    output.say(f"added {added['id']}")


@app.command("list")
def list_() -> None:
    """List the merchants."""
    output.show_table(
        ("Merchant", "Name", "On", "Accounts"),
        (
            (row["id"], row["name"], "yes" if row["is_active"] else "no", row["accounts"])
            for row in accounts.list_merchants(ops_database())
        ),
        right=("Accounts",),
    )


@app.command()
def disable(merchant: MerchantArgument) -> None:
    """Switch a merchant off: events of all its accounts are kept as ignored and count as nothing."""
    accounts.switch_merchant(ops_database(), merchant, is_active=False)
    output.say(f"{merchant} is off")


@app.command()
def enable(merchant: MerchantArgument) -> None:
    """Switch a merchant on again."""
    accounts.switch_merchant(ops_database(), merchant, is_active=True)
    output.say(f"{merchant} is on")

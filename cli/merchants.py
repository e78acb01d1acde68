"""`gatehouse merchants`: whose money it is."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.report import Report
from cli.target import keyring, ops_database
from gatehouse.errors import SettingError
from gatehouse.imports import merchants as importing
from gatehouse.imports.files import open_records
from gatehouse.models import accounts

MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # as the table asks

MOST_SHOWN = 20

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


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV; docs/importing.md has its columns.")],
    report: Annotated[
        Path | None, typer.Option("--report", help="Where bad rows are written (default: FILE.bad.csv).")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check the file and tell what would be done.")
    ] = False,
) -> None:
    """Add or change many merchants and their accounts at MX Merchant: all rows of a file, or none when one is bad."""
    database, keys = ops_database(), keyring()
    opened = open_records(file)
    if not opened.columns:
        raise SettingError(f"{file}: must be a .csv whose first line names the columns")
    columns, ignored = importing.known_columns(opened.columns)
    if ignored:
        output.note(f"columns that mean nothing here: {', '.join(ignored)}")
    wanted, wrong = importing.read_wanted(opened.records, columns)
    planned = importing.plan(database, keys, wanted, wrong)
    if planned.wrong:
        told = Report(report or file.with_name(f"{file.name}.bad.csv"))
        told.add(sorted(planned.wrong))
        told.close()
        for each in sorted(planned.wrong)[:MOST_SHOWN]:
            output.complain(f"line {each.line}, {each.field}: {each.reason}")
        raise SettingError(f"nothing was written: {len(planned.wrong)} things are wrong, all of them in {told.path}")
    would = "would be " if dry_run else ""
    if not dry_run:
        importing.write(database, keys, planned)
    output.say(
        f"{len(wanted)} rows: {len(planned.add)} accounts {would}added, {len(planned.change)} {would}changed,"
        f" {planned.unchanged} as they are; {planned.new_merchants} merchants are new"
    )
    if planned.add and not dry_run:
        output.say(
            "next: `gatehouse merchants subscribe --all` registers their webhooks, `check` tries their credentials"
        )

"""`gatehouse merchants`: whose money it is."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cli import output, webhooks
from cli.report import Report
from cli.stored import actor
from cli.target import keyring, ops_database
from gatehouse.errors import SettingError
from gatehouse.imports import merchants as importing
from gatehouse.imports.files import open_records
from gatehouse.models import accounts

MERCHANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")  # as the table asks

MOST_SHOWN = 20
NOT_ALL_WELL = 3

app = typer.Typer(help="Add, list and switch merchants. Every account belongs to one.", no_args_is_help=True)


def _merchant(name: str) -> str:
    if not MERCHANT.fullmatch(name):
        raise typer.BadParameter(
            "must be 1 to 63 lower-case letters (a to z), digits, dashes or underscores, the first one"
            " a letter or digit"
        )
    return name


def _only(name: str | None) -> str | None:
    return None if name is None else _merchant(name)


def _origin(url: str) -> str:
    if url and not re.fullmatch(r"https?://[^/?#\s]+", url):
        raise typer.BadParameter("must be https:// and a host, with nothing behind it")
    return url


MerchantArgument = Annotated[
    str, typer.Argument(callback=_merchant, help="Lower-case letters, digits, dashes; it never changes.")
]


@app.command()
def add(
    merchant: MerchantArgument,
    name: Annotated[str, typer.Option("--name", help="As people call it (default: the same).")] = "",
) -> None:
    """Add a merchant."""
    added = accounts.add_merchant(ops_database(), merchant, name or merchant, actor=actor())
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
    accounts.switch_merchant(ops_database(), merchant, is_active=False, actor=actor())
    output.say(f"{merchant} is off")


@app.command()
def enable(merchant: MerchantArgument) -> None:
    """Switch a merchant on again."""
    accounts.switch_merchant(ops_database(), merchant, is_active=True, actor=actor())
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
        importing.write(database, keys, planned, actor=actor())
    output.say(
        f"{len(wanted)} rows: {len(planned.add)} accounts {would}added, {len(planned.change)} {would}changed,"
        f" {planned.unchanged} as they are; {planned.new_merchants} merchants are new"
    )
    if planned.add and not dry_run:
        output.say("next: `gatehouse merchants subscribe --all` registers webhooks, `check` tries the credentials")


OnlyOption = Annotated[
    str | None, typer.Option("--merchant", callback=_only, help="Only this merchant (default: all).")
]
UrlOption = Annotated[
    str, typer.Option("--url", callback=_origin, help="Where the world reaches us (default: PUBLIC_API_URL).")
]


@app.command()
def check(merchant: OnlyOption = None, url: UrlOption = "") -> None:
    """Try the credentials of accounts at MX Merchant and look at their webhooks. Exit code 3: not all are well."""
    database, base = ops_database(), webhooks.public_url(url)
    chosen = webhooks.chosen_accounts(database, merchant)
    looked = webhooks.in_order(webhooks.look(chosen, base))
    seen = accounts.last_events(database, webhooks.GATEWAY, [each.kept.row for each in looked])
    output.show_table(
        ("Merchant", "Account", "Mode", "Credentials", "Webhooks", "Last event (UTC)"),
        (
            (
                each.kept.row["merchant"],
                each.kept.row["account"],
                each.kept.row["mode"],
                "taken" if each.repair is not None else each.trouble,
                _webhooks(each),
                f"{seen[name]:%Y-%m-%d %H:%M:%S}" if (name := each.kept.row["account"]) in seen else None,
            )
            for each in looked
        ),
    )
    unwell = [each for each in looked if each.repair is None or each.repair.findings]
    output.say(f"{len(looked) - len(unwell)} of {len(looked)} are well")
    if unwell:
        raise typer.Exit(NOT_ALL_WELL)


@app.command()
def subscribe(
    merchant: Annotated[str | None, typer.Argument(callback=_only, help="The merchant; or give --all.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All merchants with an account at MX Merchant.")] = False,
    url: UrlOption = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
) -> None:
    """Register the webhooks of merchants at MX Merchant, and mend those that have changed. Exit code 3: some failed.

    A webhook's address holds the account's token and is not shown. Webhooks that lead to other places are left alone.
    """
    if every == (merchant is not None):
        raise typer.BadParameter("name a merchant, or give --all")
    database, base = ops_database(), webhooks.public_url(url)
    chosen = webhooks.chosen_accounts(database, merchant)
    done = webhooks.in_order((webhooks.look if dry_run else webhooks.subscribe)(chosen, base))
    changed = [each for each in done if each.repair and each.repair.findings]
    for each in changed:
        output.say(f"{each.kept.row['account']}: {'would mend' if dry_run else 'mended'}: {_webhooks(each)}")
    failed = [each for each in done if each.repair is None]
    for each in failed:
        output.complain(f"{each.kept.row['account']}: {each.trouble}")
    well = len(done) - len(changed) - len(failed)
    output.say(f"{len(done)} accounts: {well} as they should be, {len(changed)} mended, {len(failed)} failed")
    if failed:
        raise typer.Exit(NOT_ALL_WELL)


def _webhooks(looked: webhooks.Looked) -> str:
    """Return how an account's webhooks are, without an address."""
    if looked.repair is None:
        return output.MISSING
    strangers = f"; {looked.repair.strangers} lead elsewhere" if looked.repair.strangers else ""
    if not looked.repair.findings:
        return f"as they should be{strangers}"
    return ", ".join(f"{each.event_type} {each.what}" for each in looked.repair.findings) + strangers

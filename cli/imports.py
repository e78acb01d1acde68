"""`gatehouse import`: payments that happened before Gatehouse was there, from a file or from their gateway."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from cli import output, webhooks
from cli.gateway_names import NeededGatewayOption
from cli.progress import Counted
from cli.report import Report
from cli.target import keyring, ops_database
from gatehouse.accounts import MODES, SWITCHED_OFF, GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import SettingError
from gatehouse.imports import backfill
from gatehouse.imports.files import open_records
from gatehouse.imports.importing import find_or_begin, import_file, lines_before, try_file
from gatehouse.imports.payment_rows import Reading, known_columns
from gatehouse.imports.payments import list_imports
from gatehouse.intake.accounts import DEFAULT_ACCOUNT, DEFAULT_MERCHANT
from gatehouse.models.accounts import find_account

SOME_REFUSED = 3

app = typer.Typer(
    help="Bring in payments that happened before Gatehouse was there. docs/importing.md has the columns.",
    no_args_is_help=True,
)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        raise typer.BadParameter(f"{name!r} is no time zone such as America/Denver") from None
    return name


def _day(text: str, option: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-05-01", param_hint=option) from None


def _mode(name: str) -> str:
    if name and name not in MODES[:2]:
        raise typer.BadParameter("must be test or live")
    return name


@app.command()
def payments(
    file: Annotated[Path, typer.Argument(help="A .csv whose first line names the columns, or a .jsonl.")],
    gateway: NeededGatewayOption,
    account: Annotated[str, typer.Option("--account", help="The account at the gateway.")] = DEFAULT_ACCOUNT,
    mode: Annotated[
        str, typer.Option("--mode", callback=_mode, help="test or live: for an account that does not say it.")
    ] = "",
    zone: Annotated[
        str, typer.Option("--zone", callback=_zone, help="Of times that name no zone, such as UTC (default: refuse).")
    ] = "",
    report: Annotated[
        Path | None, typer.Option("--report", help="Where bad rows are written (default: FILE.bad.csv).")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Go through a file that was imported already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check all rows, and write nothing.")] = False,
) -> None:
    """Import a file of payments; stopped at any point, the same command goes on where it was. Exit code 3: bad rows."""
    database = ops_database()
    target, merchant_id = _account(database, gateway, account, mode)
    reading = Reading(gateway, zone, merchant_id)
    opened = open_records(file)
    if opened.columns:
        ignored = known_columns(opened.columns)[1]
        if ignored:
            output.note(f"columns that mean nothing here: {', '.join(ignored)}")
    running = None if dry_run else find_or_begin(database, target, file, again=again)
    if running and running.place:
        output.note(f"going on after {running.rows_read} rows, begun at {running.started_at:%Y-%m-%d %H:%M}")
    told = Report(
        report or file.with_name(f"{file.name}.bad.csv"),
        keep_up_to=lines_before(file, running.place) if running else 0,
    )
    counted = Counted(opened.size, "rows")
    rows = recorded = refused = 0
    steps = (
        import_file(database, target, file, reading, running, told.add)
        if running
        else try_file(database, target, file, reading, told.add)
    )
    try:
        for step in steps:
            rows, recorded, refused = rows + step.rows, recorded + step.recorded, refused + step.refused
            counted.step(step.place, rows)
    except KeyboardInterrupt:
        output.note("stopped; what was recorded stays, and the same command goes on from here")
        raise
    finally:
        told.close()
    would = "would be " if dry_run else ""
    known = f", {rows - refused - recorded} known already" if rows - refused > recorded else ""
    output.say(f"{rows} rows of {file.name}: {recorded} {would}recorded{known}, {refused} refused")
    if refused:
        output.say(f"refused rows: {told.path}")
        raise typer.Exit(SOME_REFUSED)


@app.command("mx-merchant")
def mx_merchant(
    merchant: Annotated[str, typer.Option("--merchant", help="Whose payments; all accounts at MX Merchant.")],
    since: Annotated[str, typer.Option("--from", help="The first day (UTC): 2026-05-01.")],
    until: Annotated[str, typer.Option("--to", help="The last day (UTC).")],
    again: Annotated[bool, typer.Option("--again", help="Go through days that were imported already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List, and write nothing.")] = False,
) -> None:
    """Import what MX Merchant lists of some days; stopped at any point, the same command goes on where it was.

    Jobs fetch the details of what is new, its invoice and product among them, behind the jobs of today's events.
    """
    first, last = _day(since, "--from"), _day(until, "--to")
    if last < first:
        raise typer.BadParameter("is before --from", param_hint="--to")
    database, end = ops_database(), last + timedelta(days=1)
    for kept in webhooks.chosen_accounts(database, merchant):
        account = kept.for_intake._replace(signing_secrets=(), more={})
        name, client = account.account, webhooks.client_of_account(kept)
        if account.mode == "both":
            raise SettingError(f"{name} takes test and live payments, and a list does not tell them apart")
        running = None if dry_run else backfill.find_or_begin(database, account, first, end, again=again)
        if running and running.place:
            output.note(f"{name}: going on after {running.rows_read} rows")
        listed = recorded = asked = refused = 0
        steps = (
            backfill.import_listed(database, account, client, running, first, end)
            if running
            else backfill.try_listed(database, account, client, first, end)
        )
        counted: Counted | None = None
        for step in steps:
            counted = counted or Counted(step.total or 0, f"listed for {name}")
            listed, recorded, asked = listed + step.listed, recorded + step.recorded, asked + step.asked
            refused += step.refused
            counted.step(listed)
        would = "would be " if dry_run else ""
        details = f"details of {asked} {would}asked for"
        output.say(f"{name}: {listed} listed, {recorded} {would}recorded, {details}, {refused} refused")


@app.command("list")
def list_(
    merchant: Annotated[str | None, typer.Option("--merchant", help="Only this merchant's.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="How many.")] = 20,
) -> None:
    """List the imports, the newest first, and how far each has come."""
    output.show_table(
        ("Import", "Merchant", "Account", "Source", "Rows", "Recorded", "Refused", "Begun (UTC)", "State", "By"),
        (
            (
                row["id"],
                row["merchant"],
                f"{row['gateway']}/{row['account']}",
                row["source"],
                row["rows_read"],
                row["rows_recorded"],
                row["rows_refused"],
                f"{row['started_at']:%Y-%m-%d %H:%M:%S}",
                "through" if row["finished_at"] else "not through",
                row["started_by"],
            )
            for row in list_imports(ops_database(), merchant, most=limit)
        ),
        right=("Import", "Rows", "Recorded", "Refused"),
    )


def _account(database: Database, gateway: str, account: str, mode: str) -> tuple[GatewayAccount, str]:
    """Return the account that is imported for, and its id at the gateway; raise SettingError where it takes nothing."""
    if account == DEFAULT_ACCOUNT:  # it lives in a secret that ops need not be able to read
        if not mode:
            raise SettingError("--mode is missing: the account default does not say here whether it is test or live")
        return GatewayAccount(gateway, account, DEFAULT_MERCHANT, mode), ""
    kept = find_account(database, keyring(), gateway, account)
    found = kept.for_intake
    if not found.is_active:
        raise SettingError(
            f"{SWITCHED_OFF}: the account {gateway}/{account} or its merchant; nothing is imported for it"
        )
    if found.mode != "both" and mode and mode != found.mode:
        raise SettingError(f"--mode {mode}: {gateway}/{account} is a {found.mode} account")
    if found.mode == "both" and not mode:
        raise SettingError(f"--mode is missing: {gateway}/{account} takes test and live payments")
    return found._replace(mode=mode or found.mode, signing_secrets=(), more={}), str(found.more.get("merchant_id", ""))

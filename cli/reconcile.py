"""`gatehouse reconcile` compares days with what the gateways list; `gatehouse completeness` shows how that went."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from cli import output
from cli.gateway_names import GatewayOption
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, SettingError
from gatehouse.gateways import LISTING
from gatehouse.intake.accounts import DEFAULT_ACCOUNT
from gatehouse.jobs.bell import bell
from gatehouse.models.completeness import list_completeness
from gatehouse.reconciliation.plan import Wanted, plan, sql
from gatehouse.settings import settings

INCOMPLETE = 3
MOST_DAYS = 10_000
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_LINES = 2.0

AccountOption = Annotated[str | None, typer.Option("--account", help="Only this account.")]


def reconcile(
    gateway: GatewayOption = None,
    account: AccountOption = None,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Today and so many less one before it.")] = 3,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the comparisons and show them.")] = True,
) -> None:
    """Compare days with what the gateways list and fetch what is missing; exit code 3 when something was.

    The comparisons are jobs of the function reconciler. The account `default` of a gateway is compared when named.
    """
    if gateway and gateway not in LISTING:
        raise SettingError(f"{gateway} has no list to compare with; these have: {', '.join(LISTING)}")
    if account == DEFAULT_ACCOUNT and not gateway:
        raise SettingError("--gateway is missing: which gateway's default account?")
    gateways = (gateway,) if gateway else LISTING
    defaults = gateways if account == DEFAULT_ACCOUNT else ()
    wanted = Wanted(days, gateways=gateways, account=account, defaults=defaults, most=MOST_DAYS)
    database, began = ops_database(), datetime.now(UTC)
    planned = plan(database, wanted, now=began)
    if not planned:
        raise NotFound("no account to compare: see `gatehouse gateways list`, and --gateway with --account default")
    if settings().reconciliation_queue_url:
        bell().ring(planned, budget_seconds=60)
    else:
        output.note("RECONCILIATION_QUEUE_URL is not set: the sweeper rings for these jobs within a minute")
    output.say(f"{len(planned)} days of accounts to compare")
    if not wait:
        return
    error = _followed(database, [job.id for job in planned])
    rows = list_completeness(
        database, None, gateway=gateway, account=account, since=began.date() - timedelta(days=days - 1), most=MOST_DAYS
    )
    compared = [row for row in rows if row["checked_at"] >= began]
    _show(compared)
    if error:
        raise SettingError(f"not everything could be compared: {error}")
    if any(row["recorded"] < row["listed"] for row in compared):
        output.say("what is missing is being fetched; compare again to see that it came")
        raise typer.Exit(INCOMPLETE)


def completeness(
    gateway: GatewayOption = None,
    account: AccountOption = None,
    merchant: Annotated[str | None, typer.Option("--merchant", help="Only this merchant's accounts.")] = None,
    days: Annotated[int, typer.Option("--days", min=1, max=3660, help="Today and so many less one before it.")] = 7,
    missing: Annotated[bool, typer.Option("--missing", help="Only days that lack something.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_DAYS, help="How many.")] = 100,
) -> None:
    """Show how complete each day of each account is, as it was compared last; exit code 3 when one lacks something."""
    since = datetime.now(UTC).date() - timedelta(days=days - 1)
    rows = list_completeness(
        ops_database(),
        merchant,
        gateway=gateway,
        account=account,
        since=since,
        only_missing=missing,
        most=limit,
    )
    _show(rows)
    if any(row["recorded"] < row["listed"] for row in rows):
        raise typer.Exit(INCOMPLETE)


def _followed(database: Database, ids: list[int]) -> str:
    """Wait until the jobs are through, and tell now and then how far they are; return an error that one had."""
    told = time.monotonic()
    try:
        while True:
            row = database.query_one(sql.progress, ids=ids)
            through = row["done"] + row["dead"]
            if through >= len(ids):
                return str(row["an_error"] or "")
            if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
                told = time.monotonic()
                trouble = f"; {row['an_error']}" if row["an_error"] else ""
                output.note(f"{through} of {len(ids)} compared{trouble}")
            time.sleep(SECONDS_BETWEEN_LOOKS)
    except KeyboardInterrupt:
        output.note("stopped looking; the comparisons go on, and `gatehouse completeness` shows them")
        raise


def _show(rows: list[dict[str, object]]) -> None:
    if not rows:
        output.say("nothing was compared yet")
        return
    output.show_table(
        ("Day", "Account", "Merchant", "Listed", "Recorded", "Complete", "Found missing", "Compared (UTC)"),
        (
            (
                row["day"],
                f"{row['gateway']}/{row['account']}",
                row["merchant"],
                row["listed"],
                row["recorded"],
                _percent(row),
                row["found_missing"],
                f"{row['checked_at']:%Y-%m-%d %H:%M:%S}",
            )
            for row in rows
        ),
        right=("Listed", "Recorded", "Complete", "Found missing"),
    )


def _percent(row: dict[str, object]) -> str:
    listed, recorded = row["listed"], row["recorded"]
    if not isinstance(listed, int) or not isinstance(recorded, int) or not listed:
        return "100 %"
    return f"{100 * recorded / listed:.4g} %"

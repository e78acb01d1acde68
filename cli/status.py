"""`gatehouse status`: one screen that says whether money is flowing."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from cli import output
from cli.stored import JsonOption, as_json, moment
from cli.target import ops_database
from gatehouse.backup.standing import Standing as Backup
from gatehouse.backup.standing import standing as backup_standing
from gatehouse.database.connection import Database
from gatehouse.errors import AwsError, DatabaseError
from gatehouse.jobs.depths import Depth, queue_depths
from gatehouse.models.standing import LATE_SECONDS, Standing, concerns_of, standing

NEEDS_A_LOOK = 1


class Picture(NamedTuple):
    """What is known at one moment; one part that does not answer hides no other."""

    at: datetime
    concerns: list[str]
    queues: Sequence[Depth]
    stands: Standing | None
    backup: Backup | None


def status(
    watch: Annotated[bool, typer.Option("--watch", help="Draw it again and again. Ctrl-C ends it.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", min=0.2, help="How often, with --watch.")] = 2.0,
    times: Annotated[int | None, typer.Option("--times", min=1, help="End after so many, with --watch.")] = None,
    json: JsonOption = False,
) -> None:
    """Show whether money flows and what does not. Exit code 1 when something needs a look. Times are UTC."""
    database = ops_database()
    drawn = 0
    try:
        while True:
            picture = _picture(database)
            if watch and not json:
                output.clear_screen()
            output.say(as_json(picture)) if json else _draw(picture)
            drawn += 1
            if not watch or drawn == times:
                break
            time.sleep(seconds)
    except KeyboardInterrupt:
        raise typer.Exit from None
    raise typer.Exit(NEEDS_A_LOOK if picture.concerns else 0)


def _picture(database: Database) -> Picture:
    concerns: list[str] = []
    stands: Standing | None = None
    backup: Backup | None = None
    queues: Sequence[Depth] = ()
    try:
        stands = standing(database)
        concerns += stands.concerns
        backup = backup_standing(database, None)
        concerns += concerns_of_backup(backup)
    except DatabaseError as error:
        concerns.append(f"the database does not answer: {error}")
    try:
        queues = queue_depths()
        concerns += concerns_of(queues)
    except AwsError as error:
        concerns.append(f"the queues are not known: {error}")
    return Picture(datetime.now(UTC), concerns, queues, stands, backup)


def _draw(picture: Picture) -> None:
    output.say(f"Gatehouse at {moment(picture.at)}", style="bold")
    for concern in picture.concerns:
        output.say(f"needs a look: {concern}", style="red")
    if not picture.concerns:
        output.say("all is well", style="green")
    if picture.stands:
        _draw_server(picture.stands)
        _draw_gateways(picture.stands)
    output.say("\nqueues", style="bold")
    numbers = ("Waiting", "In work", "Later", "Dead letters")
    output.show_table(("Queue", *numbers), picture.queues, right=numbers)
    if picture.stands:
        _draw_jobs(picture.stands)
        _draw_apps(picture.stands)
        _draw_rest(picture.stands, picture.backup)


def _draw_server(stands: Standing) -> None:
    server = stands.database
    connections = f"{server['connections']} of {server['max_connections']} connections"
    oldest = f"oldest transaction {server['oldest_transaction_seconds']:.1f} s"
    output.say(f"database {server['milliseconds']} ms, {connections}, {oldest}, {server['database_bytes'] >> 20} MiB")


def _draw_gateways(stands: Standing) -> None:
    output.say("\ngateways", style="bold")
    least = "at least " if any(row["hour_is_cut"] for row in stands.gateways) else ""
    rows = [
        (
            row["gateway"],
            moment(row["last_at"]),
            _ago(row["silent_seconds"]),
            f"{least}{row['in_last_hour']}",
            f"{least}{row['failed_in_last_hour']}",
        )
        for row in stands.gateways
    ]
    output.show_table(
        ("Gateway", "Last event", "Ago", "Last hour", "Failed"), rows, right=("Ago", "Last hour", "Failed")
    )


def _draw_jobs(stands: Standing) -> None:
    output.say("\njobs", style="bold")
    if not stands.jobs:
        output.say("none waits, none was given up")
        return
    rows = [
        (row["topic"], row["waiting"], row["leased"], _ago(row["oldest_due_seconds"]), row["dead"])
        for row in stands.jobs
    ]
    numbers = ("Waiting", "In work", "Oldest due", "Given up")
    output.show_table(("Topic", *numbers), rows, right=numbers)


def _draw_apps(stands: Standing) -> None:
    output.say("\napps, deliveries of 24 hours", style="bold")
    if not stands.apps:
        output.say("nothing was forwarded and nothing waits")
        return
    rows = [
        (row["app"], row["deliveries"], row["success_rate_pct"], row["p95_seconds"], row["waiting"], row["dead"])
        for row in stands.apps
    ]
    numbers = ("Deliveries", "Taken %", "p95 s", "Waiting", "Given up")
    output.show_table(("App", *numbers), rows, right=numbers)


def _draw_rest(stands: Standing, backup: Backup | None) -> None:
    days, tenants = stands.completeness, stands.tenants
    if days["listed"]:
        share = f"{100 * days['recorded'] / days['listed']:.2f} %"
        output.say(f"\ncompleteness of 7 days: {share} of {days['listed']}, compared at {moment(days['compared_at'])}")
    else:
        output.say("\ncompleteness of 7 days: nothing was listed")
    if backup is None or not backup.is_on:
        output.say("backup: none")
    else:
        output.say(
            f"backup: {backup.lag_seconds or 0} s behind, {_known(backup.backlog)} payments wait,"
            f" {_known(backup.refused)} refused, {_known(backup.divergent)} differ"
        )
    output.say(
        f"tenants: {tenants['active']} active, {tenants['creating']} being made, {tenants['suspended']} suspended,"
        f" {tenants['statements_today']} statements today"
    )


def concerns_of_backup(backup: Backup) -> list[str]:
    """Say what of the backup needs a look; one that was never switched on needs none."""
    if not backup.is_on:
        return []
    found = []
    if (backup.lag_seconds or 0) > LATE_SECONDS:
        found.append(f"the backup lacks what changed {backup.lag_seconds} s ago: gatehouse backup status")
    if backup.refused:
        found.append(f"the backup refuses {backup.refused} payments: gatehouse backup status")
    if backup.divergent:
        found.append(f"{backup.divergent} payments differ in the backup: gatehouse backup compare")
    return found


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _ago(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"

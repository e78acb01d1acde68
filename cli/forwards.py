"""`gatehouse forwards`: what was delivered to the apps, what was not and why, and single deliveries made again."""

from typing import Annotated

import typer

from cli import output
from cli.stored import JsonOption, LimitOption, as_json, lines, moment
from cli.target import ops_database
from cli.times import moment as time_of
from gatehouse.jobs.bell import bell
from gatehouse.models import forwards
from gatehouse.settings import settings

app = typer.Typer(help="Look at deliveries to apps, and make single ones again.", no_args_is_help=True)

DeliveryArgument = Annotated[int, typer.Argument(metavar="DELIVERY", help="Its number, as `list` shows it.")]


@app.command("list")
def list_(
    app_name: Annotated[str | None, typer.Option("--app", help="Only to this app.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    error: Annotated[str | None, typer.Option("--error", help="Only with this in their error.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Only of this reference.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only since then: 2026-11-20T08:00Z.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Only older than this one: the next page.")] = None,
    limit: LimitOption = 20,
    json: JsonOption = False,
) -> None:
    """List deliveries, newest first. Times are UTC."""
    found = forwards.list_forwards(
        ops_database(),
        app=app_name,
        ok=False if failed else None,
        error=error,
        reference=reference,
        since=time_of(since),
        before=before,
        most=limit,
    )
    if json:
        for row in found:
            output.say(as_json(row))
        return
    output.show_table(
        ("Delivery", "At", "App", "OK", "Status", "Attempts", "Reference", "Error"),
        (
            (
                row["id"],
                moment(row["created_at"]),
                row["app"],
                "yes" if row["ok"] else "no",
                row["status_code"],
                row["attempt_count"],
                row["reference"],
                row["error_message"],
            )
            for row in found
        ),
        right=("Delivery", "Status", "Attempts"),
    )
    if len(found) == limit:
        output.say(f"more: --before {found[-1]['id']}")


@app.command()
def show(delivery: DeliveryArgument, json: JsonOption = False) -> None:
    """Show one delivery and how its job stands."""
    row = forwards.find_forward(ops_database(), delivery)
    if json:
        output.say(as_json(row))
        return
    for line in lines(row.items()):
        output.say(line)


@app.command()
def retry(delivery: DeliveryArgument) -> None:
    """Make one delivery again, with the same webhook-id, also one that succeeded."""
    database = ops_database()
    row = forwards.find_forward(database, delivery)
    with database.transaction(merchant=row["merchant"]) as transaction:
        job = forwards.forward_again(transaction, delivery)
    if settings().forwarding_queue_url:
        bell().ring([(job, forwards.TOPIC)], budget_seconds=5)
        output.say(f"job {job} is rung for")
    else:
        output.say(f"job {job} waits; the sweeper rings for it within a minute")

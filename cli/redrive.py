"""`gatehouse redrive`: forwards again what was given up, after a look at what that would be."""

from typing import Annotated, Any

import typer

from cli import output
from cli.stored import MerchantOption, actor, moment, money
from cli.target import ops_database
from gatehouse.database.connection import Database
from gatehouse.forwarding.redrive import (
    Plan,
    Progress,
    begin,
    carry_on,
    filters_of,
    find_redrive,
    left_of,
    list_redrives,
    plan,
)
from gatehouse.jobs.bell import bell
from gatehouse.settings import settings


def redrive(
    app: Annotated[str | None, typer.Option("--app", help="Only to this app.")] = None,
    error: Annotated[str | None, typer.Option("--error", help="Only what was given up with this in its error.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only events received since: 2026-11-20T08:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only events received before.")] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", help="Only events of this gateway.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest first.")] = None,
    merchant: MerchantOption = "default",
    replay: Annotated[
        bool, typer.Option("--replay", help="What was delivered, once more; it keeps its webhook-id.")
    ] = False,
    resume: Annotated[int | None, typer.Option("--resume", help="Go on with this redrive.")] = None,
    show_list: Annotated[bool, typer.Option("--list", help="Only list the redrives so far, and who ran them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forward again what was given up: first the plan, then, once confirmed, at the pace that the apps bear."""
    database = ops_database()
    if show_list:
        _list(database)
        return
    if resume is None:
        given: dict[str, Any] = {"app": app, "error": error, "since": since, "until": until, "gateway": gateway}
        filters = filters_of({**given, "limit": limit, "replay": replay})
    else:
        held = find_redrive(database, resume)
        filters, merchant = left_of(held), held["merchant"]
    found = plan(database, merchant, filters, redrive=resume)
    _show(found, "replayed" if filters.get("replay") else "sent again")
    if dry_run or not (found.deliveries or resume):
        return
    if not yes:
        typer.confirm("Send them?", abort=True)
    number = resume or begin(database, merchant, filters, actor(), found.deliveries)
    rings = bell() if settings().forwarding_queue_url else None
    last: Progress | None = None
    try:
        for step in carry_on(database, rings, number):
            if last is None or (step.sent, step.delivered, step.is_ill) != (last.sent, last.delivered, last.is_ill):
                _tell(step)
            last = step
    except KeyboardInterrupt:
        output.note(f"stopped; go on with gatehouse redrive --resume {number}")
        raise
    output.say(f"redrive {number}: all is taken up; `gatehouse forwards list` shows what becomes of it")


def _list(database: Database) -> None:
    output.show_table(
        ("Redrive", "By", "Of", "Planned", "Sent", "Began", "Ended"),
        (
            (
                row["id"],
                row["actor"],
                ", ".join(f"{name} {value}" for name, value in sorted(row["filters"].items())) or "all given up",
                row["planned"],
                row["sent"],
                moment(row["started_at"]),
                moment(row["finished_at"]) or f"not yet: --resume {row['id']}",
            )
            for row in list_redrives(database)
        ),
        right=("Redrive", "Planned", "Sent"),
    )


def _show(found: Plan, what: str) -> None:
    amounts = ", ".join(str(money(minor, currency)) for currency, minor in sorted(found.money.items()))
    output.say(f"{found.deliveries} to be {what}{f', about {amounts}' if amounts else ''}")
    for hindrance, deliveries in sorted(found.hindered.items()):
        output.say(f"{deliveries} would do nothing: {hindrance}")


def _tell(step: Progress) -> None:
    waits = "; an app does not answer, so the others wait" if step.is_ill else ""
    output.note(
        f"redrive {step.redrive}: {step.sent} of {step.planned} sent, {step.delivered} delivered,"
        f" {step.under_way} under way, {step.buried} given up again{waits}"
    )

"""`gatehouse events`: what arrived at the webhooks, what became of it, and what failed taken up again."""

import json
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

import typer

from cli import output
from cli.gateway_names import GatewayOption
from cli.target import keyring, ops_database
from cli.times import moment
from gatehouse.errors import GatehouseError, SettingError
from gatehouse.intake.rejected import list_rejected
from gatehouse.intake.retry import retry as retry_event
from gatehouse.jobs.bell import bell
from gatehouse.models import events

STATUSES = ("received", "applied", "ignored", "failed")
TAIL_SECONDS = 1.0
FOUND_FAILED = 1

app = typer.Typer(
    help="Look at the events of the gateways, follow them live, and retry those that failed. Payloads are never shown.",
    no_args_is_help=True,
)


def _status(value: str | None) -> str | None:
    if value is not None and value not in STATUSES:
        raise typer.BadParameter(f"must be one of {', '.join(STATUSES)}")
    return value


@app.command("list")
def list_(
    status: Annotated[
        str | None, typer.Option("--status", callback=_status, help="received, applied, ignored or failed.")
    ] = None,
    gateway: GatewayOption = None,
    type: Annotated[str | None, typer.Option("--type", help="Only this event type.")] = None,
    reference: Annotated[str | None, typer.Option("--reference", help="Only about this object of the gateway.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Only from this time on: 2026-11-20T08:00Z.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Only rows below this one: the next page.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """List events, newest first. Times are UTC."""
    found = events.list_events(
        ops_database(),
        status=status,
        gateway=gateway,
        type=type,
        reference=reference,
        since=moment(since),
        before=before,
        most=limit,
    )
    if as_json:
        for event in found:
            output.say(_json(event))
    elif found:
        _show(found)
        if len(found) == limit:
            output.say(f"more: --before {found[-1]['id']}")
    else:
        output.say("no event fits" if any((status, gateway, type, reference, since, before)) else "no event yet")


@app.command()
def show(
    event: Annotated[str, typer.Argument(help="The gateway's id of the event, or our row number.")],
    gateway: GatewayOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show one event: what it said, what it changed, and the jobs that it left."""
    database = ops_database()
    story = events.story_of(database, events.find_event(database, event, gateway=gateway))
    if as_json:
        output.say(_json(story._asdict()))
        return
    for name, value in story.event.items():
        output.say(f"{name:<12} {output.MISSING if value is None else _plain(value)}")
    _show_part("what it said", ((f"{fact['kind']} {fact['subject_id']}", fact["words"]) for fact in story.facts))
    _show_part(
        "what it changed",
        (
            (f"{change['table_name']} {change['row_id']} {change['action']} by {change['actor']}", change["changes"])
            for change in story.changes
        ),
    )
    _show_part("the jobs that it left", ((f"job {job['id']} {job['topic']}", job) for job in story.jobs))


@app.command()
def retry(
    event: Annotated[str | None, typer.Argument(help="The gateway's id of the event, or our row number.")] = None,
    gateway: GatewayOption = None,
    all_failed: Annotated[bool, typer.Option("--all-failed", help="Every event that failed, oldest first.")] = False,
) -> None:
    """Translate and record again what failed or was ignored. Safe to repeat. Exit code 1 when any still fails."""
    if (event is None) == (not all_failed):
        raise typer.BadParameter("name one event, or give --all-failed")
    database = ops_database()
    chosen = [events.find_event(database, event, gateway=gateway)] if event else _failed(database, gateway)
    if not chosen:
        output.say("no event has failed")
    still_failed = 0
    for each in chosen:
        try:
            recorded = retry_event(database, each, keyring())
        except GatehouseError as error:
            output.complain(f"{each['event_id']}: {error}")
            still_failed += 1
            continue
        word = "stands already, nothing done" if recorded.status == "duplicate" else recorded.status
        output.say(f"{each['event_id']}: {word}{': ' + recorded.reason if recorded.reason else ''}")
        still_failed += recorded.status == "failed"
        if recorded.jobs:
            _ring(recorded.jobs)
    raise typer.Exit(FOUND_FAILED if still_failed else 0)


@app.command()
def tail(
    gateway: GatewayOption = None,
    last: Annotated[int, typer.Option("--last", min=0, max=1000, help="Begin with so many of the last ones.")] = 10,
    seconds: Annotated[float | None, typer.Option("--seconds", help="Stop after so long (default: Ctrl-C).")] = None,
) -> None:
    """Follow events as they arrive. Ctrl-C ends it."""
    database = ops_database()
    newest = events.list_events(database, most=max(last, 1))
    _follow(reversed(newest[:last]), gateway)
    seen = newest[0]["id"] if newest else 0
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        while deadline is None or time.monotonic() < deadline:
            arrived = events.events_after(database, seen)
            _follow(arrived, gateway)
            seen = arrived[-1]["id"] if arrived else seen
            time.sleep(TAIL_SECONDS if deadline is None else min(TAIL_SECONDS, max(deadline - time.monotonic(), 0)))
    except KeyboardInterrupt:
        output.say("")


@app.command()
def rejected(
    gateway: GatewayOption = None,
    account: Annotated[str | None, typer.Option("--account", help="Only requests for this account.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 20,
    headers: Annotated[bool, typer.Option("--headers", help="Also the headers, masked.")] = False,
) -> None:
    """List requests that were refused lately: a wrong secret shows here. A few a minute are kept, for a week."""
    found = list_rejected(ops_database(), gateway=gateway, account=account, most=limit)
    if not found:
        output.say("no request was refused lately")
        return
    columns = ("Received", "Gateway", "Code", "Reason", "Bytes", "From", *(("Headers",) if headers else ()))
    output.show_table(
        columns,
        (
            (
                _plain(row["received_at"]),
                f"{row['gateway']}/{row['account']}",
                row["code"],
                row["reason"],
                row["body_bytes"],
                row["source_ip"],
                *((_json(row["headers"]),) if headers else ()),
            )
            for row in found
        ),
        right=("Bytes",),
    )


def _failed(database: Any, gateway: str | None) -> list[events.Row]:
    """Return every failed event, oldest first, page by page."""
    found: list[events.Row] = []
    before = None
    while page := events.list_events(database, status="failed", gateway=gateway, before=before, most=500):
        found += page
        before = page[-1]["id"]
    return found[::-1]


def _ring(jobs: Iterable[tuple[int, str]]) -> None:
    """Ring for new jobs where a queue is known; elsewhere the sweeper does within a minute."""
    try:
        bell().ring(jobs, budget_seconds=5)
    except SettingError:
        output.say("its jobs start within a minute")


def _show(found: list[events.Row]) -> None:
    output.show_table(
        ("Row", "Received", "Gateway", "Type", "Event", "Status", "Reason"),
        (
            (
                event["id"],
                _plain(event["received_at"]),
                f"{event['gateway']}/{event['account']}{'' if event['livemode'] else ' (test)'}",
                event["type"],
                event["event_id"],
                event["status"],
                event["reason"] or "",
            )
            for event in found
        ),
        right=("Row",),
    )


def _follow(arrived: Iterable[events.Row], gateway: str | None) -> None:
    for event in arrived:
        if gateway is None or event["gateway"] == gateway:
            output.say(
                f"{_plain(event['received_at'])}  {event['gateway']}/{event['account']}  {event['type']}  "
                f"{event['event_id']}  {event['status']}{'  ' + event['reason'] if event['reason'] else ''}"
            )


def _show_part(title: str, parts: Iterable[tuple[str, dict[str, Any]]]) -> None:
    output.say(f"\n{title}", style="bold")
    shown = False
    for heading, words in parts:
        shown = True
        output.say(f"  {heading}")
        for name, value in words.items():
            if name not in ("id", "topic"):
                output.say(f"    {name:<16} {_plain(value)}")
    if not shown:
        output.say("  nothing")


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list) and len(value) == 2:  # a change, as the audit keeps it
        return f"{_plain(value[0])} → {_plain(value[1])}"
    return _json(value) if isinstance(value, dict | list) else output.MISSING if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda other: other.isoformat() if isinstance(other, datetime) else str(other))

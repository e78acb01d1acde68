"""`gatehouse trace`: the way of one event, from the request that brought it to the apps that were told."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import output
from cli.gateway_names import GatewayOption
from cli.stored import JsonOption, as_json
from cli.target import ops_database
from gatehouse.models.trace import Step, Trace
from gatehouse.models.trace import trace as traces_of

NEEDS_A_LOOK = 1
SINCE_COLUMNS = 12


def trace(
    name: Annotated[str, typer.Argument(help="A request id, a gateway's id of an event, or our row number.")],
    gateway: GatewayOption = None,
    days: Annotated[int, typer.Option("--days", min=1, help="Look so far back for a request id.")] = 3,
    json: JsonOption = False,
) -> None:
    """Show one event's way: request, rows, jobs, deliveries. Exit code 1 when a step needs a look. Times are UTC."""
    found = traces_of(ops_database(), name, gateway=gateway, days=days)
    for each in found:
        if json:
            output.say(as_json(each))
        else:
            _show(each)
    if not all(step.ok for each in found for step in each.steps):
        raise typer.Exit(NEEDS_A_LOOK)


def _show(found: Trace) -> None:
    event = found.rows.get("event", [{}])[0]
    arrived = event.get("received_at") or found.steps[0].at
    for step in found.steps:
        output.say(
            f"{_clock(step)}  {_since(step, arrived):>{SINCE_COLUMNS}}  {step.what:<10} {step.words}",
            style="" if step.ok else "red",
        )
    if event.get("request_id"):
        output.say(f'\nits log lines: filter api_request_id = "{event["request_id"]}" (CloudWatch Logs Insights)')


def _clock(step: Step) -> str:
    return f"{step.at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] if step.at else f"{'not yet':<23}"


def _since(step: Step, arrived: datetime | None) -> str:
    """Return how long after its arrival a step was; the gateway's clock may be days before."""
    if step.at is None or arrived is None:
        return ""
    seconds = (step.at - arrived).total_seconds()
    return f"{seconds:+.3f} s" if abs(seconds) < 1000 else f"{seconds / 3600:+.1f} h"

"""`gatehouse dashboard`: the template's dashboards and alarms, drawn from what the running local stack emits."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cli import output
from cli.target import LOCAL_FOLDER
from gatehouse.errors import SettingError
from local.cloudwatch import Series, State, decide_all
from local.dashboard_page import page
from local.observed_metrics import read_definitions, read_points

app = typer.Typer(help="The CloudWatch dashboards, before they are deployed.", no_args_is_help=True)


@app.callback()
def dashboard() -> None:
    """Keep `preview` a command of its own, with others beside it one day."""


@app.command()
def preview(
    file: Annotated[Path, typer.Option("--output", help="Where to write the page.")] = LOCAL_FOLDER / "dashboards.html",
    period: Annotated[int, typer.Option("--period", min=5, max=3600, help="Seconds of one point.")] = 60,
    folder: Annotated[Path, typer.Option("--folder", help="Where the stack keeps its files.")] = LOCAL_FOLDER,
) -> None:
    """Draw the dashboards and the state of all alarms as one page, from the metrics of `make run`."""
    points = read_points(folder)
    if not points:
        raise SettingError(f"{folder} holds no metrics yet: start `make run`, and send it an event")
    now, series, watching = time.time(), Series(points), read_definitions(folder)
    states = decide_all(watching["alarms"], watching["composite_alarms"], series, now)
    file.write_text(page(watching["dashboards"], series, states, now=now, period=period))
    ringing = sorted(name for name, state in states.items() if state == State.ALARM)
    output.say(f"{file}: {len(watching['dashboards'])} dashboards, {len(states)} alarms")
    for name in ringing:
        output.say(f"ringing: {name}", style="red")

"""`gatehouse report`: figures over a period, and whether the sums behind them are right."""

import json
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from cli import output
from cli.target import ops_database
from cli.times import moment
from gatehouse.reports import verify as checks
from gatehouse.reports.answers import Answer, columns, with_decimals
from gatehouse.reports.ask import REPORTS, arguments, ask
from gatehouse.reports.definitions import DEFINITIONS

app = typer.Typer(help="Figures over a period: `gatehouse report list` says which there are.", no_args_is_help=True)
DRIFTED = 3


@app.command("list")
def list_() -> None:
    """List the reports, and what each of them counts."""
    for name in REPORTS:
        output.say(f"{name}: {DEFINITIONS[name].title}", style="bold")
        output.say(f"  {DEFINITIONS[name].text}")
        takes = sorted(f"--{OPTION_OF.get(each, each.replace('_', '-'))}" for each in REPORTS[name].takes)
        output.say(f"  takes {', '.join(takes)}")


@app.command()
def show(
    report: Annotated[str, typer.Argument(metavar="REPORT", help="Which, as `list` shows them.")],
    merchant: Annotated[str, typer.Option("--merchant", help="Whose figures; * for all merchants together.")] = "*",
    first: Annotated[str | None, typer.Option("--from", help="The first day: 2026-01-01.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="The last day, all of it.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="In place of --from: 2026-11-20T08:00Z.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="In place of --to: up to this moment.")] = None,
    time_zone: Annotated[str, typer.Option("--time-zone", help="In which days begin: America/Denver.")] = "UTC",
    by: Annotated[str | None, typer.Option("--by", help="A row for each hour, day, week or month.")] = None,
    per: Annotated[
        str | None, typer.Option("--per", help="Of breakdown: gateway, app, method, category or item_type.")
    ] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", help="Only of this gateway.")] = None,
    app_name: Annotated[str | None, typer.Option("--app", help="Only of this app.")] = None,
    event: Annotated[str | None, typer.Option("--event", help="Of orders and tickets: the event.")] = None,
    month: Annotated[str | None, typer.Option("--month", help="Of statement: 2026-10.")] = None,
    test: Annotated[bool, typer.Option("--test", help="Test mode in place of real money.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer as JSON.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="The rows as CSV.")] = False,
) -> None:
    """Show a report as a table, as JSON, or as CSV."""
    if as_json and csv:
        raise typer.BadParameter("--json and --csv exclude each other", param_hint="--csv")
    asked = arguments(
        first=_day(first, "--from"),
        last=_day(last, "--to"),
        since=moment(since),
        until=moment(until),
        time_zone=time_zone,
        by=by,
        per=per,
        gateway=gateway,
        app=app_name,
        event_id=event,
        month=month,
        livemode=not test,
    )
    answer = ask(ops_database(), merchant, report, asked, now=datetime.now(UTC))
    if as_json:
        output.say(json.dumps(answer.as_json(), ensure_ascii=False))
    elif csv:
        output.say(answer.as_csv().replace("\r\n", "\n").rstrip("\n"))
    else:
        _show(answer)


@app.command()
def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Put right what differs.")] = False,
) -> None:
    """Compare every sum and every count of memberships with a recount. Exit code 3 when something differs."""
    found = checks.verify(ops_database(), repair=repair)
    output.say(f"{found.rows_checked} payments, refunds, disputes and orders recounted")
    for example in found.examples:
        output.say(f"differs  {example}")
    differs = found.entries_drifted + found.totals_drifted
    if not differs:
        output.say("every sum is right")
        return
    output.say(
        f"{found.entries_drifted} rows and {found.totals_drifted} sums or counts {'were' if repair else 'are'} wrong"
    )
    if repair:
        output.say("all of them are put right")
    else:
        raise typer.Exit(DRIFTED)


OPTION_OF = {"first": "from", "last": "to", "event_id": "event"}


def _show(answer: Answer) -> None:
    rows = [with_decimals(row) for row in answer.rows]
    shown = [name for name in columns(rows) if not name.endswith("_minor")]
    numbers = [name for name in shown if any(_is_number(row.get(name)) for row in rows)]
    if rows:
        output.show_table(shown, ([row.get(name) for name in shown] for row in rows), right=numbers)
    else:
        output.say("nothing in this period")
    mode = "real money" if answer.livemode else "test mode"
    output.say(f"\n{answer.definition}")
    if answer.since and answer.until:
        output.say(f"{answer.since:%Y-%m-%d %H:%M} to {answer.until:%Y-%m-%d %H:%M} UTC, {mode}, {answer.time_zone}")
    output.say(f"complete as of {answer.as_of:%Y-%m-%d %H:%M:%S} UTC, from the {answer.served_by} database")


def _is_number(value: object) -> bool:
    if isinstance(value, int | float):
        return True
    return isinstance(value, str) and value.lstrip("-").replace(".", "", 1).isdigit()


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day, such as 2026-11-20", param_hint=option) from None

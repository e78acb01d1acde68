"""`gatehouse db`: how the database is, and where its time and space go."""

from typing import Annotated

import typer

from cli import output
from cli.target import ops_database
from gatehouse.database import health
from gatehouse.database.flush import Row

app = typer.Typer(help="How the database is, and where its time and space go.", no_args_is_help=True)
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=500, help="How many.")]
NOT_WELL = 1


@app.command("health")
def health_() -> None:
    """Show connections, the oldest transaction, cache hits, size and dead rows. Exit code 1 when it cannot write."""
    database = ops_database()
    found = health.check(database)
    del found["this_process"]
    found |= health.dead_rows(database)
    for name, value in found.items():
        output.say(f"{name:<28} {output.MISSING if value is None else value}")
    if not found["ok"]:
        raise typer.Exit(NOT_WELL)


@app.command()
def slow(
    seconds: Annotated[int, typer.Option("--seconds", min=0, help="Running now for longer than this.")] = 1,
    limit: LimitOption = 20,
) -> None:
    """Show statements that are slow now, and those that took the most time in all where the server counts them."""
    found = health.performance(ops_database(), most=limit, slow_seconds=seconds)
    output.say(f"running for more than {seconds} s", style="bold")
    _show(found["slow_now"])
    output.say("\nmost time in all", style="bold")
    if "slow_on_average" in found:
        _show(found["slow_on_average"])
    else:
        output.say("the server does not count: pg_stat_statements is not installed in this database, or not loaded")


@app.command()
def indexes(limit: LimitOption = 50) -> None:
    """Show how often each index is used, the idle ones first, and where one may be missing."""
    database = ops_database()
    _show(health.performance(database, most=limit)["index_use"])
    output.say("\ntables read whole, where an index may be missing", style="bold")
    _show(health.read_whole(database, most=limit))
    output.say("\nforeign keys without an index", style="bold")
    _show(health.keys_without_index(database, most=limit))


@app.command()
def sizes(limit: LimitOption = 50) -> None:
    """Show the largest tables with their indexes, live and dead rows."""
    _show(health.performance(ops_database(), most=limit)["table_sizes"])


def _show(rows: list[Row]) -> None:
    if not rows:
        output.say("none")
        return
    numbers = [name for name, value in rows[0].items() if isinstance(value, int) and not isinstance(value, bool)]
    output.show_table(list(rows[0]), ([_short(value) for value in row.values()] for row in rows), right=numbers)


def _short(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value

"""Reports over a year at five million payments of 500 merchants, beside the same at half a million.

The numbers are compared with what plain SQL says of the payments themselves before any time is believed.
BENCH_PAYMENTS=30000,300000 sets other sizes, BENCH_KEPT a folder in which the databases are kept. Beside each
time stands how many rows and pages its plan reads, which no load of the machine changes.
"""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from datetime import UTC, date, datetime
from io import StringIO
from typing import Any, NamedTuple, cast

from bench.asking import in_turn
from bench.figures import Figure
from bench.ground import Ground
from bench.report_filling import MERCHANTS, filled
from bench.report_truth import compare
from gatehouse.database.connection import Database
from gatehouse.database.flush import Result
from gatehouse.database.sql import Bound, Statement
from gatehouse.reports.ask import Asked, arguments, ask
from gatehouse.reports.totals import ALL_MERCHANTS

SIZES = "500000,5000000"
ROUNDS, RUNS = 3, 24  # the quietest round counts
MOST_TIMES_DEARER = 1.5
MOST_MILLISECONDS_OF_ONE, MOST_MILLISECONDS_OF_ALL = 50, 300
YEAR: dict[str, Any] = {"first": date(2025, 1, 1), "last": date(2025, 12, 31)}
NOW = datetime(2026, 1, 2, tzinfo=UTC)
BIGGEST = "merchant-000"  # a twelfth of all payments
SMALL = "merchant-250"  # a thousandth

QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "1 gateways": ("gateways", {}),
    "2 revenue by month": ("revenue", {"by": "month"}),
    "2 revenue by day": ("revenue", {"by": "day"}),
    "2 revenue by month, Kolkata": ("revenue", {"by": "month", "time_zone": "Asia/Kolkata"}),
    "2 revenue by day, Denver": ("revenue", {"by": "day", "time_zone": "America/Denver"}),
    "2 revenue by day, Kolkata": ("revenue", {"by": "day", "time_zone": "Asia/Kolkata"}),
    "3 by method, by month": ("breakdown", {"per": "method", "by": "month"}),
    "3 by app": ("breakdown", {"per": "app"}),
    "4 success by week": ("success", {"by": "week"}),
    "4 declines": ("declines", {}),
    "5 refunds and disputes": ("refunds", {}),
    "6 orders by month": ("orders", {"by": "month"}),
    "7 tickets": ("tickets", {}),
}


class Read(NamedTuple):
    """What the plans of one question read."""

    rows: int
    pages: int


class Explaining:
    """A database that explains what it is asked, and counts what the plans read."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.rows = self.pages = 0

    def flush(self, bounds: Sequence[Bound], *, idempotent: bool, merchant: str | None) -> list[Result]:
        """Ask, and have each question explained."""
        results = self._database.flush(bounds, idempotent=idempotent, merchant=merchant)
        for each in bounds:
            text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {each.statement.text}"
            statement = Statement(f"explain {each.statement.name}", "", text, each.statement.parameters)
            [row] = self._database.flush([Bound(statement, each.values)], idempotent=True, merchant=merchant)[0].rows
            told = row["QUERY PLAN"]
            [whole] = json.loads(told) if isinstance(told, str) else told
            self.pages += whole["Plan"]["Shared Hit Blocks"] + whole["Plan"]["Shared Read Blocks"]
            self.rows += rows_read(whole["Plan"])
        return results


def rows_read(plan: dict[str, Any]) -> int:
    """Return how many rows the scans of a plan read from tables, taken or not."""
    below = sum(rows_read(each) for each in plan.get("Plans", ()))
    if "Relation Name" not in plan:
        return below
    read = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return below + round(float(read) * int(plan["Actual Loops"]))


class Connected(NamedTuple):
    """A database as the API asks it for one merchant, and as ops ask it for all."""

    one: Database
    everybody: Database


def run() -> list[Figure]:
    """Measure every question at half a million payments and at five million in turn, or at the sizes that are set."""
    sizes = os.environ.get("BENCH_PAYMENTS", SIZES)
    few, many = (int(size) for size in sizes.split(","))
    with filled(few, many) as (less, more):
        with redirect_stdout(StringIO()):  # the log of what the API answers
            compare(more, [BIGGEST, SMALL])
        print("  API and command line answer what plain SQL says of the payments themselves", flush=True)
        with ExitStack() as opened:
            small, large = (connected(place, opened) for place in (less, more))
            spent = measured(small, large)
            small_read, large_read = explained(small), explained(large)
    figures = []
    for (name, whose), (at_small, at_large) in spent.items():
        bound = MOST_MILLISECONDS_OF_ALL if whose == "all merchants" else MOST_MILLISECONDS_OF_ONE
        figures.append(Figure(f"{name}, {whose}, p95", at_large, "ms", limit=bound))
        figures.append(Figure(f"    beside {few:,}", at_large, "ms", at_small, limit=MOST_TIMES_DEARER))
        before, now = small_read[name, whose], large_read[name, whose]
        figures.append(Figure("    rows that its plan reads", now.rows, "rows", max(before.rows, 1)))
        figures.append(Figure("    pages that its plan reads", now.pages, "pages", max(before.pages, 1)))
    return figures


def connected(place: Ground, opened: ExitStack) -> Connected:
    """Connect to a database, until `opened` is closed."""
    found = Connected(place.database.connect("api"), place.database.connect("ops", statement_milliseconds=60_000))
    for each in found:
        opened.callback(each.close)
    return found


def measured(
    small: Connected, large: Connected, *, rounds: int = ROUNDS, runs: int = RUNS
) -> dict[tuple[str, str], tuple[float, float]]:
    """Return the 95th percentile in milliseconds of every question at both sizes, of some merchants and of all."""
    found: dict[tuple[str, str], tuple[float, float]] = {}
    for name, (report, said) in QUESTIONS.items():
        asked = arguments(**YEAR, **said)
        for whose, merchant in (
            ("one of 500", lambda run: f"merchant-{run % runs * 37 % MERCHANTS:03}"),
            ("the biggest", lambda _run: BIGGEST),
            ("all merchants", lambda _run: ALL_MERCHANTS),
        ):
            places = [place.everybody if whose == "all merchants" else place.one for place in (small, large)]

            def question(
                database: Database,
                run: int,
                merchant: Callable[[int], str] = merchant,
                report: str = report,
                asked: Asked = asked,
            ) -> object:
                return ask(database, merchant(run), report, asked, now=NOW)

            found[name, whose] = in_turn(question, *places, rounds=rounds, runs=runs)
    return found


def explained(place: Connected) -> dict[tuple[str, str], Read]:
    """Return what the plans of every question read, of a small merchant, of the biggest and of all."""
    found: dict[tuple[str, str], Read] = {}
    for name, (report, said) in QUESTIONS.items():
        asked = arguments(**YEAR, **said)
        for whose, database, merchant in (
            ("one of 500", place.one, SMALL),
            ("the biggest", place.one, BIGGEST),
            ("all merchants", place.everybody, ALL_MERCHANTS),
        ):
            explaining = Explaining(database)
            ask(cast("Database", explaining), merchant, report, asked, now=NOW)
            found[name, whose] = Read(explaining.rows, explaining.pages)
    return found

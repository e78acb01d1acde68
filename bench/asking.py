"""How questions are asked of a small and a large database in turn, and whether an index answered them."""

from collections.abc import Callable, Iterable
from statistics import quantiles
from time import perf_counter
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.models import browse
from tests.support.gatehouse_database import GatehouseDatabase

ROUNDS, RUNS = 5, 100  # what else the machine does disturbs a round or two; the quietest counts
PLACE_OF_A_PAGE = {"after_at", "after_id", "most"}

type Question = Callable[[Database, int], object]


def no_filter(table: str) -> dict[str, Any]:
    """Return every filter by which the API lists a table's rows, none of them given."""
    return dict.fromkeys(set(browse.sql[f"list_{table}"].parameters) - PLACE_OF_A_PAGE)


def in_turn(
    question: Question, small: Database, large: Database, *, rounds: int = ROUNDS, runs: int = RUNS
) -> tuple[float, float]:
    """Return the 95th percentile of a question in milliseconds, of the small database and of the large one.

    Each run is given its number. The first round only warms.
    """
    times: dict[Database, list[list[float]]] = {small: [], large: []}
    for turn in range((1 + rounds) * runs):
        for database in (small, large):
            begun = perf_counter()
            question(database, turn)
            spent = (perf_counter() - begun) * 1000
            if turn % runs == 0:
                times[database].append([])
            times[database][-1].append(spent)
    at_small, at_large = (min(quantiles(each, n=20)[-1] for each in times[place][1:]) for place in (small, large))
    return at_small, at_large


def read_whole(database: GatehouseDatabase, filled: Iterable[str]) -> set[str]:
    """Return those of some tables that were read whole since the statistics were reset.

    A plan would not show what a function does; this shows it.
    """
    read = database.sql("select relname::text from pg_stat_user_tables where seq_scan > 0")
    return {name for (name,) in read} & set(filled)

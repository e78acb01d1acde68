"""The bench of the store fills and makes every search, at a size that takes a moment."""

from contextlib import closing

import pytest

from bench.ground import Ground
from bench.store import SEARCHES, fill, measured
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("P3")


def test_every_search_is_made_at_both_sizes(ground: Ground, other_database: GatehouseDatabase) -> None:
    figures = measured(ground, other_database, 200, 400, rounds=1, runs=3)

    assert [figure.name.partition(", p95")[0] for figure in figures[:-1]] == list(SEARCHES)
    assert all(figure.value > 0 for figure in figures[:-1])
    assert other_database.sql("select count(*)::int from orders") == [[400]]


def test_what_is_looked_for_is_there(ground: Ground) -> None:
    fill(ground.database, 1200)  # of which 200 were sold after the item that is not sold any more
    with closing(ground.database.connect("api")) as store:
        found = {name: search(store, 120) for name, search in SEARCHES.items()}
    empty = {name for name, answer in found.items() if not getattr(answer, "rows", answer)}
    assert empty == {"orders by a word that none has", "payments by a status that none has"}

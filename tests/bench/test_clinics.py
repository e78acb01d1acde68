"""The bench of clinics fills, asks every question and records events, at a size that takes a moment."""

from contextlib import closing
from typing import Any

import pytest

from bench.clinics import Size, fill, measured, questions
from bench.ground import Ground
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M5")

SMALL = Size(160, clinics=4, large_patients=120)  # enough for one whom all four filters find


def test_every_question_is_asked_at_both_sizes(ground: Ground, other_database: GatehouseDatabase) -> None:
    figures = measured(ground, other_database, SMALL, SMALL._replace(payments=1600), rounds=1, runs=3)

    assert other_database.sql("select count(*)::int from memberships") == [[4 * 80 + 120]]
    assert other_database.sql("select count(*)::int from payments") == [[1600 + 120 * 5]]
    names = [figure.name for figure in figures]
    assert all(any(name.startswith(asked) for name in names) for asked in questions(SMALL))
    assert all(figure.value > 0 for figure in figures if figure.unit == "ms")


def test_every_question_finds_something(ground: Ground) -> None:
    fill(ground.server, ground.database, SMALL)
    nothing_to_find = {"products to be reviewed"}  # a clinic that has looked at all of them
    with closing(ground.database.connect("api")) as database:
        found = {name: rows_of(ask(database, 4)) for name, ask in questions(SMALL).items()}
    assert [name for name, rows in found.items() if not rows] == list(nothing_to_find)
    assert len(found["payments of one patient"]) == 5
    assert len(found["an invoice by its number"]) == 1


def rows_of(answer: Any) -> Any:
    """Return the rows of a question's answer."""
    return getattr(answer, "rows", getattr(answer, "payments", answer))

"""The bench of importing imports a file and copies what that left, at a size that takes a moment."""

import pytest

from bench.ground import Ground
from bench.importing import measured

pytestmark = pytest.mark.req("M8")

ROWS = 60


def test_a_file_is_imported_and_copied(ground: Ground) -> None:
    figures = measured(ground, ROWS)

    assert [figure.floor is None or figure.floor > 0 for figure in figures] == [True] * 3
    assert ground.database.sql("select count(*)::int from payments") == [[ROWS]]  # the copied ones

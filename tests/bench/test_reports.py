"""The bench of reports at a tiny size: a year is counted, and API and command line answer as plain SQL has it."""

from contextlib import ExitStack

import pytest

from bench.ground import Ground
from bench.report_filling import fill
from bench.report_truth import EXAMPLES, compare
from bench.reports import BIGGEST, SMALL, connected, explained, measured
from local.postgres import PostgresServer
from tests.support.gatehouse_database import GatehouseDatabase

PAYMENTS = 3_000


@pytest.mark.req("P9")
def test_a_tiny_year_is_filled_compared_and_measured(
    postgres_server: PostgresServer, gatehouse_database: GatehouseDatabase
) -> None:
    place = Ground(postgres_server, gatehouse_database)
    fill(place, PAYMENTS)
    chosen = [each for each in EXAMPLES if each.name in ("1 gateways", "2 revenue by day, Asia/Kathmandu")]
    compare(place, [BIGGEST, SMALL], chosen)
    with ExitStack() as opened:
        both = connected(place, opened), connected(place, opened)
        times, reads = measured(*both, rounds=1, runs=2), explained(both[0])
    assert times.keys() == reads.keys()
    assert reads["2 revenue by day, Denver", "all merchants"].rows > 0


def test_a_figure_that_is_not_that_of_plain_sql_stops_the_comparison(
    postgres_server: PostgresServer, gatehouse_database: GatehouseDatabase
) -> None:
    place = Ground(postgres_server, gatehouse_database)
    fill(place, PAYMENTS)
    gatehouse_database.sql("update totals set payments = payments + 1 where level = 'month' and breakdown = 'gateway'")
    with pytest.raises(AssertionError, match="1 gateways"):
        compare(place, [BIGGEST], EXAMPLES[:1])

"""Reports on memberships: how many there are, who came and went, what they pay a month, and how long they stay."""

from pathlib import Path

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.reports.answers import Row, percent
from gatehouse.reports.totals import Cells, Wanted, read_cells

sql = load_statements(Path(__file__).with_name("members.sql"))


def memberships(database: Database, wanted: Wanted) -> tuple[Cells, list[Row]]:
    """Return by category and currency: members and what they pay a month, before and after, and what moved."""
    cells = read_cells(
        database,
        wanted,
        [],
        sql.movements(
            merchant=wanted.merchant,
            livemode=wanted.livemode,
            since=wanted.period.since,
            until=wanted.period.until,
        ),
    )
    return cells, [{**row, "churn_pct": percent(row["lost"], row["members_before"])} for row in cells.rows[0]]


def cohorts(database: Database, wanted: Wanted) -> tuple[Cells, list[Row]]:
    """Return by category and the month in which members started, how many of them stay."""
    cells = read_cells(
        database,
        wanted,
        [],
        sql.cohorts(
            merchant=wanted.merchant,
            livemode=wanted.livemode,
            since=wanted.period.since,
            until=wanted.period.until,
            zone=wanted.period.zone,
        ),
    )
    return cells, [{**row, "stay_pct": percent(row["active_now"], row["members"])} for row in cells.rows[0]]

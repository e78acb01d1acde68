"""The sums that reports are made of: read for a period, and kept by counting what recordings have marked."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gatehouse.database import planning
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.reports.periods import Period, Slot, ranges

sql = load_statements(Path(__file__).with_name("totals.sql"))
backup_sql = load_statements(Path(__file__).with_name("backup.sql"))

type Breakdown = Literal["gateway", "app", "method", "category", "failure", "duration", "order", "item"]
Row = dict[str, Any]

ALL_MERCHANTS = "*"
MOST_OUTSTANDING = 5_000  # marks that an answer counts by itself; with more it says how old it is
MOST_AT_ONCE = 2_000  # marks that are counted in one transaction


class Wanted(NamedTuple):
    """Whose figures, of real money or of test mode, over which period."""

    merchant: str  # ALL_MERCHANTS for all of them together
    period: Period
    livemode: bool = True
    from_backup: bool = False  # asked of the backup database, which has payments and no sums

    @property
    def seen_by(self) -> str | None:
        """Return the merchant that row-level security holds the question to; None for those who see all."""
        return None if self.merchant == ALL_MERCHANTS else self.merchant


class Cells(NamedTuple):
    """What came back of one question: its rows by slot, and until when they are complete."""

    as_of: datetime
    slots: list[Slot]
    rows: list[list[Row]]  # one list for each question


def question(
    statement: str,
    wanted: Wanted,
    breakdown: Breakdown,
    slots: Sequence[Slot],
    *,
    value: str | None = None,
    detail: str | None = None,
    apart: bool = True,
) -> Bound:
    """Return a statement that reads cells of one breakdown: of one value where it is given, else apart or summed up."""
    if wanted.from_backup:
        told = {"apart": apart} if "apart" in backup_sql[statement].parameters else {}
        return backup_sql[statement](
            merchant=wanted.merchant,
            livemode=wanted.livemode,
            breakdown=breakdown,
            value=value,
            detail=detail,
            since=wanted.period.since,
            until=wanted.period.until,
            starts=[slot.since for slot in slots],
            **told,
        )
    nearest, read = ranges(slots, levels_of(breakdown, wanted.merchant))
    return sql[statement](
        merchant=wanted.merchant,
        livemode=wanted.livemode,
        breakdown=breakdown,
        value=value,
        detail=detail,
        apart=apart,
        levels=[each.level for each in read],
        sinces=[each.since for each in read],
        untils=[each.until for each in read],
        adds_to=[each.adds_to for each in read],
        takes_from=[each.takes_from for each in read],
        since=wanted.period.since,
        until=wanted.period.until,
        nearest=nearest,
        starts=[slot.since for slot in slots],
        most_outstanding=MOST_OUTSTANDING,
    )


def read_cells(database: Database, wanted: Wanted, slots: list[Slot], *questions: Bound) -> Cells:
    """Ask in one flush; the merchant of the flush is the one whose figures are wanted."""
    if wanted.from_backup:
        as_of = backup_sql.as_of()
    else:
        as_of = sql.as_of(merchant=wanted.merchant, most_outstanding=MOST_OUTSTANDING)
    asked = [planning.sql.plainly(), as_of, *questions]
    _, first, *found = database.flush(asked, idempotent=True, merchant=wanted.seen_by)
    return Cells(first.rows[0]["as_of"], slots, [each.rows for each in found])


def levels_of(breakdown: Breakdown, merchant: str) -> tuple[str, ...]:
    """Return which sums are kept; the function is_kept of the database says the same."""
    if breakdown == "gateway" or (merchant == ALL_MERCHANTS and breakdown not in ("failure", "duration")):
        return ("month", "day", "six_hours", "hour", "quarter")
    return ("month", "day")


def fold(database: Database, *, most: int = MOST_AT_ONCE) -> int | None:
    """Count what is marked, at most so much; return how much that was, or None while somebody else counts."""
    with database.transaction() as transaction:
        taken: int | None = transaction.query_one(sql.fold, most=most)["taken"]
    return taken

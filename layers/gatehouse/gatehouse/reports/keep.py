"""What keeps the sums of the reports, and the counts of memberships: work of every minute, a recount every night."""

import time
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.observability import log, metrics
from gatehouse.reports.totals import sql
from gatehouse.reports.verify import count_all, verify

PATIENCE_SECONDS = 2.0  # with another one that counts; the next minute comes soon
CHANGES_LEFT_ALONE = 20  # of one merchant's memberships: a tab's count adds so few up at no cost
MOST_MERGED_AT_ONCE = 5_000


def count(database: Database, *, seconds: float) -> dict[str, Any]:
    """Count what is marked, for at most some seconds; tell how much is left, and for how long it has waited."""
    deadline = time.monotonic() + seconds
    counted = count_all(database, seconds=seconds, patience_seconds=PATIENCE_SECONDS)
    left = database.query_one(sql.waiting)
    metrics.measure("TotalsWaiting", left["marks"])
    metrics.measure("OldestTotalWaiting", left["oldest_seconds"])
    merged = _merge_membership_counts(database, deadline)
    log.info("totals counted", counted=counted, waiting=left["marks"], membership_counts_merged=merged)
    return {"counted": counted, "waiting": left["marks"]}


def recount(database: Database, *, seconds: float) -> dict[str, Any]:
    """Compare all sums with a recount, or as much as fits; what differs is told, and left for a person."""
    found = verify(database, seconds=seconds)
    drifted = found.entries_drifted + found.totals_drifted
    metrics.measure("TotalsDrifted", drifted)
    if drifted:
        log.error(
            "totals differ from a recount: gatehouse report verify --repair puts them right",
            entries=found.entries_drifted,
            totals=found.totals_drifted,
            examples=found.examples,
        )
    else:
        log.info("totals equal a recount", rows=found.rows_checked, is_whole=found.is_whole)
    return {"checked": found.rows_checked, "drifted": drifted, "is_whole": found.is_whole}


def _merge_membership_counts(database: Database, deadline: float) -> int:
    """Merge what there is, a part at a time; what is left then is left to the next minute, and counts all the same."""
    merged = 0
    while time.monotonic() < deadline:
        taken = database.query_one(
            sql.merge_membership_counts, left_alone=CHANGES_LEFT_ALONE, most=MOST_MERGED_AT_ONCE
        )["taken"]
        merged += taken
        if taken < MOST_MERGED_AT_ONCE:
            break
    return merged

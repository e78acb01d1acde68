"""Recounts rows and compares: entries with rows, sums with entries, counts with memberships; tells, repairs on command.

A drift should never be: sums are counted from marks that the same transaction writes as changes the row. It would mean
that somebody has changed rows past the triggers, or sums by hand; so it is told, and not silently put right.
"""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.reports.periods import DAY
from gatehouse.reports.totals import fold, sql

ROWS_AT_ONCE = 5_000
MOST_EXAMPLES = 20
WAIT_SECONDS = 0.05  # for somebody else who counts


class Verified(NamedTuple):
    """What a recount found."""

    rows_checked: int
    entries_drifted: int
    totals_drifted: int
    examples: list[str]
    is_whole: bool  # False: the time was up; the next one goes on


def verify(
    database: Database,
    *,
    repair: bool = False,
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> Verified:
    """Recount everything, or what fits into some seconds; leave a row of `total_checks` behind."""
    deadline = clock() + seconds
    check = database.query_one(sql.begin_check)
    bounds = database.query_one(sql.bounds)
    examples: list[str] = []
    wrong_counts, is_whole = _wrong_membership_counts(database, repair=repair, is_time_up=lambda: clock() > deadline)
    wrong_totals = len(wrong_counts)
    wrong_entries = checked = 0

    def note(source: str, row_id: int, merchant: str) -> None:
        nonlocal wrong_entries
        wrong_entries += 1
        if len(examples) < MOST_EXAMPLES:
            examples.append(f"{source} {row_id} of {merchant}")
        if repair:
            database.query(sql.mark, source=source, source_id=row_id, merchant=merchant)

    begin = check["next_payment_id"] if seconds != float("inf") else 0
    next_payment = 0
    for first, after in _ranges(max(begin, bounds["first_payment"]), bounds["last_payment"]):
        if clock() > deadline:
            next_payment, is_whole = first, False
            break
        for row in database.query(sql.drifted_payments, first=first, after=after):
            note("payment", row["payment_id"], row["merchant"])
        checked += after - first
    for first, after in _ranges(bounds["first_order"], bounds["last_order"]):
        if clock() > deadline:
            is_whole = False
            break
        for row in database.query(sql.drifted_orders, first=first, after=after):
            note("order", row["order_id"], row["merchant"])
        checked += after - first
    for row in database.query(sql.drifted_orphans):
        note(row["source"], row["source_id"], row["merchant"])
    if repair:
        count_all(database)
    for since, until, levels in _spans(bounds["first_bucket"], bounds["last_bucket"]):
        if clock() > deadline:
            is_whole = False
            break
        span = {"since": since, "until": until, "levels": list(levels)}
        wrong = database.query(sql.drift_of_totals, **span)
        wrong_totals += len(wrong)
        for row in wrong[: MOST_EXAMPLES - len(examples)]:
            examples.append(f"{row['breakdown']} by {row['level']} {row['bucket']:%Y-%m-%d} of {row['merchant']}")
        if wrong and repair:
            while database.query_one(sql.repair_totals, **span)["repaired"] is None:
                time.sleep(WAIT_SECONDS)
    examples += wrong_counts[: MOST_EXAMPLES - len(examples)]
    found = Verified(checked, wrong_entries, wrong_totals, examples, is_whole)
    database.query(
        sql.end_check,
        id=check["id"],
        next_payment_id=next_payment,
        rows_checked=checked,
        entries_drifted=wrong_entries,
        totals_drifted=wrong_totals,
        repaired=repair,
        examples=Json(examples),
    )
    return found


def count_all(
    database: Database,
    *,
    seconds: float = float("inf"),
    patience_seconds: float = float("inf"),
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Count until nothing is marked or the time is up; return how many marks that were.

    One counts at a time; whoever finds another at it waits, for as long as its patience lasts.
    """
    began = clock()
    counted = 0
    while clock() < began + seconds:
        taken = fold(database)
        if taken is None:
            if clock() > began + patience_seconds:
                break
            time.sleep(WAIT_SECONDS)
            continue
        counted += taken
        if not taken:
            break
    return counted


def last_checks(database: Database, *, most: int = 10) -> list[dict[str, Any]]:
    """Return what the last recounts found."""
    return database.query(sql.last_checks, most=most)


def _wrong_membership_counts(
    database: Database, *, repair: bool, is_time_up: Callable[[], bool]
) -> tuple[list[str], bool]:
    """Recount the memberships of one merchant after the other; return what is wrong, and whether all were recounted."""
    found: list[str] = []
    for merchant in database.query(sql.merchants):
        if is_time_up():
            return found, False
        wrong = database.query(sql.drift_of_membership_counts, merchant=merchant["id"])
        for row in wrong:
            mode = "" if row["livemode"] else " in test mode"
            found.append(
                f"memberships of {row['category']}, {row['status']}{mode}, of {merchant['id']}:"
                f" {row['memberships']} not counted, {row['missed']} missed renewals"
            )
        if wrong and repair:
            database.query(sql.repair_membership_counts, merchant=merchant["id"])
    return found, True


def _ranges(first: int, last: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, last + 1 if last else 0, ROWS_AT_ONCE):
        yield begin, min(begin + ROWS_AT_ONCE, last + 1)


def _spans(first: datetime | None, last: datetime | None) -> Iterator[tuple[datetime, datetime, tuple[str, ...]]]:
    """Give the days whose sums are compared with entries, then the months; the newest of both first."""
    if first is None or last is None:
        return
    day = last.replace(hour=0, minute=0)
    while day > first - DAY:
        yield day, day + DAY, ("quarter", "hour", "six_hours", "day")
        day -= DAY
    month = last.replace(day=1, hour=0, minute=0)
    while month > first - 31 * DAY:
        yield month, (month + 32 * DAY).replace(day=1), ("month",)
        month = (month - DAY).replace(day=1)

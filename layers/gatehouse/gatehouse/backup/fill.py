"""Brings over what was there before the backup was: in order of id, resumable, no faster than it is allowed."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gatehouse.backup.writer import copy, primary_sql, tell_progress
from gatehouse.database.connection import Database
from gatehouse.sealing import Keyring

PAYMENTS_AT_ONCE = 200


class Filled(NamedTuple):
    """How far a fill has come."""

    after: int  # every payment up to this id has been brought over
    payments: int  # in this batch
    written: int  # of them, those that the backup did not have like this


def fill(
    primary: Database,
    backup: Database,
    keyring: Keyring,
    *,
    most_a_second: int = 0,
    from_the_start: bool = False,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Filled]:
    """Bring over every payment from where the last fill stopped, and yield each batch; 0 a second means no limit."""
    after = 0 if from_the_start else primary.query_one(primary_sql.state)["filled_after"]
    began, payments = clock(), 0
    while ids := [row["id"] for row in primary.query(primary_sql.next_payments, after=after, most=PAYMENTS_AT_ONCE)]:
        written = copy(primary, backup, keyring, ids, service="backup_fill")
        after = ids[-1]
        primary.query(primary_sql.filled, after=after, ended=False)
        payments += len(ids)
        yield Filled(after, len(ids), written)
        if most_a_second and (early := payments / most_a_second - (clock() - began)) > 0:
            wait(early)
    primary.query(primary_sql.filled, after=after, ended=True)
    tell_progress(primary, backup)


def payments_left(primary: Database, *, from_the_start: bool = False) -> int:
    """Return about how many payments a fill has before it."""
    after = 0 if from_the_start else primary.query_one(primary_sql.state)["filled_after"]
    left: int = primary.query_one(primary_sql.count_payments, after=after)["payments"]
    return left

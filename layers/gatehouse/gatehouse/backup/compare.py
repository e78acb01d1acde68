"""Compares the two databases by content, and repairs what differs.

Each hashes its payments by gateway and hour, in ranges of ids; only where two hashes differ, single payments are looked
at. What is being brought over this moment is no difference: it is looked at again once it has been.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from gatehouse.backup.writer import backup_sql, copy, primary_sql
from gatehouse.database.connection import Database
from gatehouse.database.sql import Statement
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring

PAYMENTS_OF_A_RANGE = 100_000
PAYMENTS_OF_A_WRITE = 100
SECONDS_TO_SETTLE = 10.0
LOGS_KEPT_DAYS = 90


class Difference(NamedTuple):
    """A payment that is not the same in both databases."""

    payment: int
    kind: str  # missing (in the backup), differs, extra (in the backup alone)


class Compared(NamedTuple):
    """One range of ids, compared."""

    until: int  # every payment with a smaller id has been looked at
    end: int
    payments: int
    differences: list[Difference]


def compare(
    primary: Database,
    backup: Database,
    *,
    payments_of_a_range: int = PAYMENTS_OF_A_RANGE,
    seconds_to_settle: float = SECONDS_TO_SETTLE,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[Compared]:
    """Yield each range as it is compared."""
    end = max(primary.query_one(primary_sql.last_payment)["id"], backup.query_one(backup_sql.last_payment)["id"]) + 1
    for start in range(1, end, payments_of_a_range):
        until = min(start + payments_of_a_range, end)
        payments, suspects = _suspects(primary, backup, start, until)
        yield Compared(until, end, payments, _settled(primary, backup, suspects, seconds_to_settle, wait))


def compare_all(primary: Database, backup: Database, **options: Any) -> list[Difference]:
    """Compare everything, note what was found, and return it."""
    found = [each for compared in compare(primary, backup, **options) for each in compared.differences]
    primary.query(primary_sql.compared, divergent=len(found))
    backup.query(backup_sql.forget_logs, days=LOGS_KEPT_DAYS)
    metrics.measure("BackupDivergent", len(found))
    if found:
        log.warning("the backup differs", payments=[each.payment for each in found[:20]], differences=len(found))
    return found


def repair(
    primary: Database,
    backup: Database,
    keyring: Keyring,
    differences: Sequence[Difference],
    *,
    remove_extra: bool = False,
) -> int:
    """Make the backup's payments what the primary database says; return how many were written or removed.

    What the backup alone has is removed only where that is asked for: it may be all that is left of a loss.
    """
    done = 0
    wrong = [each.payment for each in differences if each.kind != "extra"]
    for place in range(0, len(wrong), PAYMENTS_OF_A_WRITE):
        done += copy(primary, backup, keyring, wrong[place : place + PAYMENTS_OF_A_WRITE], service="backup_repair")
    extra = [each.payment for each in differences if each.kind == "extra"]
    if extra and remove_extra:
        removed, _logged = backup.flush(
            [
                backup_sql.remove(ids=extra),
                backup_sql.log(service="backup_repair", action="remove", ok=True, ids=extra, message=None),
            ]
        )
        done += len(removed.rows)
    return done


def _suspects(primary: Database, backup: Database, start: int, until: int) -> tuple[int, list[int]]:
    with ThreadPoolExecutor(1) as beside:  # two servers, each busy for as long as the other
        hashing = beside.submit(_hashes, backup, backup_sql.hashes, start, until)
        there = _hashes(primary, primary_sql.hashes, start, until)
        here = hashing.result()
    suspects: list[int] = []
    for place in there.keys() | here.keys():
        if there.get(place) == here.get(place):
            continue
        gateway, hour = place
        within = {"from": start, "until": until, "gateway": gateway, "hour": hour}
        ours = {row["payment_id"]: row["hash"] for row in primary.query(primary_sql.hashes_within, **within)}
        theirs = {row["payment_id"]: row["hash"] for row in backup.query(backup_sql.hashes_within, **within)}
        suspects += [each for each in ours.keys() | theirs.keys() if ours.get(each) != theirs.get(each)]
    return sum(payments for payments, _hash in there.values()), sorted(set(suspects))


def _hashes(database: Database, statement: Statement, start: int, until: int) -> dict[tuple[str, Any], tuple[int, Any]]:
    rows = database.query(statement, **{"from": start, "until": until})
    return {(row["gateway"], row["hour"]): (row["payments"], row["hash"]) for row in rows}


def _settled(
    primary: Database,
    backup: Database,
    suspects: list[int],
    seconds: float,
    wait: Callable[[float], None],
) -> list[Difference]:
    """Return those that still differ once nothing of them is under way; what stays under way is told by the lag."""
    found: dict[int, str] = {}
    pause = 0.2
    while suspects:
        # In this order: what is open no longer, when it is read from the backup, has been written there before.
        ours = _hashes_of(primary, primary_sql.hashes_of, suspects)
        open_changes = {row["payment_id"] for row in primary.query(primary_sql.open_changes, ids=suspects)}
        theirs = _hashes_of(backup, backup_sql.hashes_of, suspects)
        again = _hashes_of(primary, primary_sql.hashes_of, suspects)
        under_way = []
        for payment in suspects:
            if ours.get(payment) != theirs.get(payment):
                if payment in open_changes or ours.get(payment) != again.get(payment):
                    under_way.append(payment)
                else:
                    found[payment] = (
                        "missing" if payment not in theirs else "extra" if payment not in ours else "differs"
                    )
        if seconds <= 0:
            break
        suspects = under_way
        if suspects:
            wait(min(pause, seconds))
            seconds -= pause
            pause = min(pause * 2, 2.0)
    return [Difference(payment, kind) for payment, kind in sorted(found.items())]


def _hashes_of(database: Database, statement: Statement, ids: list[int]) -> dict[int, str]:
    return {row["payment_id"]: row["hash"] for row in database.query(statement, ids=ids)}

"""Sealed payloads are kept for some days: older months are dropped whole, and months to come are made ahead.

What the gateways' APIs answered is kept as long: an answer goes as soon as it is older.
"""

from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import ServiceUnavailable, TransactionConflict

sql = load_statements(Path(__file__).with_name("retention.sql"))

Row = dict[str, Any]
MONTHS_AHEAD = 3


class Retention(NamedTuple):
    """What one run did: the partitions that went, those that stay, and how many were made ahead."""

    dropped: list[Row]
    kept: list[Row]
    made: int
    answers: int  # of the gateways' APIs that went


def drop_old_payloads(database: Database, *, days: int, dry_run: bool = False) -> Retention:
    """Drop payloads older than some days, and make the months ahead; all of it or nothing."""
    made = [] if dry_run else [sql.make_payload_partitions(months_ahead=MONTHS_AHEAD)]
    try:
        # The drop comes first: what it locks is locked alone, and asked for once.
        dropped, *others, answers, kept = database.flush(
            [
                sql.drop_old_payloads(days=days, dry_run=dry_run),
                *made,
                sql.drop_old_answers(days=days, dry_run=dry_run),
                sql.kept_payloads(),
            ]
        )
    except TransactionConflict as conflict:
        raise ServiceUnavailable(
            "the payloads are in use just now, and were not waited for, so as not to hold up recordings;"
            f" nothing was dropped, try again ({conflict})"
        ) from None
    gone = {row["partition"] for row in dropped.rows} if dry_run else set()
    return Retention(
        dropped.rows,
        [row for row in kept.rows if row["partition"] not in gone or row["is_default"]],
        others[0].rows[0]["made"] if others else 0,
        answers.rows[0]["answers"],
    )

"""Reads that survive either database: asked of the primary, and of the backup while the primary is away."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, NamedTuple

from gatehouse.backup.standing import BACKUP, PRIMARY, ServedBy, as_of
from gatehouse.backup.writer import backup_sql
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, NotFound, TimeoutError
from gatehouse.models import browse
from gatehouse.observability import log, metrics

SECONDS_BEFORE_THE_LAST_TRY = 1.0


class Answer[Found](NamedTuple):
    """What was found, who said it, and until when that one knows everything; None: until now."""

    found: Found
    served_by: ServedBy
    as_of: datetime | None


def read_from_either[Found](
    primary: Database, backup: Database | None, read: Callable[[Database], Found]
) -> Answer[Found]:
    """Read from the primary; from the backup where the primary does not answer. The first error stands if both fail.

    Where both fail, one of them may only blink: a pooler takes a second to see that its server is back, and a process
    leaves a database alone for some seconds after it failed. So then both are asked once more, after a moment.
    """
    if backup is None:
        return Answer(read(primary), PRIMARY, None)
    try:
        return _read_once(primary, backup, read)
    except (ConnectionError, TimeoutError) as away:
        time.sleep(SECONDS_BEFORE_THE_LAST_TRY)
        primary.ask_again()
        backup.ask_again()
        try:
            return _read_once(primary, backup, read)
        except (ConnectionError, TimeoutError):
            raise away from None


def _read_once[Found](primary: Database, backup: Database, read: Callable[[Database], Found]) -> Answer[Found]:
    try:
        return Answer(read(primary), PRIMARY, None)
    except (ConnectionError, TimeoutError) as away:
        try:
            answer = Answer(read(backup), BACKUP, as_of(backup))
        except (ConnectionError, TimeoutError):
            raise away from None
        log.warning("answered from the backup", reason=away.code)
        metrics.count("ReadsFromBackup")
        return answer


def payment_in_backup(backup: Database, merchant: str, payment_id: int) -> browse.PaymentStory:
    """Return a payment with its story as the backup knows it; raise NotFound when this merchant has none such."""
    payment = browse.find_row(backup, merchant, "payment", payment_id)
    every: dict[str, Any] = {"gateway": None, "status": None, "livemode": None, "since": None, "until": None}
    every |= {"after_at": None, "after_id": None, "payment_id": payment["id"], "most": browse.MOST_OF_A_STORY}
    refunds, disputes, story = backup.flush(
        [
            browse.sql.list_refunds(**every, reference=None),
            browse.sql.list_disputes(**every),
            backup_sql.story(id=payment["id"]),
        ],
        idempotent=True,
        merchant=merchant,
    )
    told = story.rows[0]
    return browse.PaymentStory(payment, refunds.rows, disputes.rows, told["events"], told["changes"])


def find_in_backup(backup: Database, merchant: str, kind: Literal["refund", "dispute"], row_id: int) -> dict[str, Any]:
    """Return one refund or dispute of a payment; raise NotFound when this merchant has none such."""
    rows = backup.flush([backup_sql[f"find_{kind}"](id=row_id)], idempotent=True, merchant=merchant)[0].rows
    if not rows:
        raise NotFound(f"there is no such {kind}")
    return rows[0]


def order_in_backup(backup: Database, merchant: str, order_id: int) -> dict[str, Any]:
    """Return what is kept of an order that has a payment; of another one the backup cannot say that there is none."""
    rows = backup.flush([backup_sql.find_order(id=order_id)], idempotent=True, merchant=merchant)[0].rows
    if not rows:
        raise ConnectionError("only the primary database knows orders without a payment")
    state: dict[str, Any] = rows[0]["order_state"]
    return state


def history_in_backup(backup: Database, merchant: str, payment_id: int) -> list[dict[str, Any]]:
    """Return how a payment changed, oldest first, as the backup knows it."""
    rows = backup.flush([backup_sql.story(id=payment_id)], idempotent=True, merchant=merchant)[0].rows
    return list(rows[0]["changes"]) if rows else []

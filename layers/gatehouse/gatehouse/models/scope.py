"""For whom a flush works: every model sends this first, so that row-level security and the audit know."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from gatehouse.database.connection import Transaction
from gatehouse.database.flush import Result, Row
from gatehouse.database.sql import Bound, Statement
from gatehouse.errors import TransactionConflict, ValidationError

MOST_ATTEMPTS = 5  # a deadlock is rare; five in a row would be a defect
MOST_ROWS = 200  # of one page

_WORK_FOR = Statement(
    "work_for",
    "Say for which merchant this transaction works, and who wants it.",
    "select set_config('gatehouse.merchant', $1, true) as merchant, set_config('gatehouse.actor', $2, true) as actor",
    ("merchant", "actor"),
)


class Store(Protocol):
    """A Database, or a Transaction that is open on one."""

    def flush(self, bounds: Sequence[Bound], /) -> list[Result]:
        """Run several statements in one round trip, all or none of them."""
        ...


class Page[Found](NamedTuple):
    """Some of what was found, and where the next page begins: give `next` as `after`; None at the end."""

    rows: list[Found]
    next: str | None


def flush_for(store: Store, merchant: str, *bounds: Bound, actor: str = "") -> list[list[Row]]:
    """Run statements for one merchant in one flush and return the rows of each."""
    flushed = store.flush([_WORK_FOR(merchant=merchant, actor=actor), *bounds])
    return [result.rows for result in flushed[1:]]


def write_for(store: Store, merchant: str, *bounds: Bound, actor: str = "") -> list[list[Row]]:
    """Do the same where something is written: again after a deadlock, which has undone all of it."""
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            return flush_for(store, merchant, *bounds, actor=actor)
        except TransactionConflict:
            # In a transaction that is open, what was done before is undone too: whoever opened it begins again.
            if attempt == MOST_ATTEMPTS or isinstance(store, Transaction):
                raise
    raise AssertionError("the last attempt returns or raises")


def page_of[Found](rows: list[Found], most: int, place: Any) -> Page[Found]:
    """Return a page of rows of which one more was asked for; `place` says where a row stands: (moment, id)."""
    if len(rows) <= most:
        return Page(rows, None)
    at, row_id = place(rows[most - 1])
    return Page(rows[:most], f"{at.isoformat()}/{row_id}")


def place_after(after: str | None, kind: type[int] | type[UUID] = int) -> dict[str, Any]:
    """Return the place that a page's `next` names, as statements take it; raise ValidationError for anything else."""
    if after is None:
        return {"after_at": None, "after_id": None}
    at, slash, row_id = after.partition("/")
    try:
        moment = datetime.fromisoformat(at)
        place = {"after_at": moment, "after_id": kind(row_id)}
    except ValueError:
        raise ValidationError.of_field("after", "is not what a page gave as its next") from None
    if not slash or moment.tzinfo is None:
        raise ValidationError.of_field("after", "is not what a page gave as its next")
    return place


def checked_most(most: int) -> int:
    """Return how many rows a page may have; raise ValidationError where it is none or too many."""
    if not 1 <= most <= MOST_ROWS:
        raise ValidationError.of_field("most", f"must be from 1 to {MOST_ROWS}")
    return most

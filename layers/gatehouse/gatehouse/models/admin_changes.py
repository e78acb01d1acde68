"""Who changed merchants, accounts, keys and apps: written by triggers, for whoever the flush says acts."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.flush import Row
from gatehouse.database.sql import Bound, Json, load_statements
from gatehouse.models.scope import Store

sql = load_statements(Path(__file__).with_name("admin_changes.sql"))

MOST_DROPPED_AT_ONCE = 5000


class AdminChange(NamedTuple):
    """One change; of what is secret it says no more than that it was set or changed."""

    id: int
    at: datetime
    actor: str
    merchant: str | None  # None: of every merchant
    what: str
    subject: str
    details: dict[str, Any]  # column -> [before, after]


def written_by(store: Store, actor: str, bound: Bound, *, deed: str = "") -> list[Row]:
    """Run a statement for somebody and return its rows; what it changes is noted as his, under the name of a deed."""
    return store.flush([sql.act(actor=actor, deed=deed), bound])[-1].rows


def note_deed(
    store: Store, actor: str, merchant: str | None, what: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Note that somebody did what changes no merchant, account, key or app: took an event up again, say."""
    store.flush(
        [sql.note_deed(actor=actor, merchant=merchant, what=what, subject=subject, details=Json(dict(details or {})))]
    )


def list_changes(
    database: Database, *, merchant: str | None = None, before: int | None = None, most: int = 50
) -> list[AdminChange]:
    """Return changes, the newest first; `before` is the id at which the page before ended."""
    rows = database.query(sql.list_changes, merchant=merchant, before=before, most=most)
    return [AdminChange(**row) for row in rows]


def drop_old_changes(database: Database, *, days: int) -> int:
    """Drop what is older than some days; return how many."""
    dropped = 0
    while gone := database.query_one(sql.drop_old_changes, days=days, most=MOST_DROPPED_AT_ONCE)["dropped"]:
        dropped += int(gone)
    return dropped

"""The audit of money and people: every change with who, what and why; it can be read, and nothing else."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.sql import load_statements
from gatehouse.models.scope import Store, flush_for

sql = load_statements(Path(__file__).with_name("audit.sql"))


class Change(NamedTuple):
    """A row of `payment_audit_log`: one change of one row. Personal values appear only as keyed hashes."""

    id: int
    at: datetime
    table_name: str
    row_id: int
    action: str  # insert, update, delete
    actor: str
    webhook_event_id: int | None  # the event that caused it, where one did
    changes: dict[str, Any]  # column -> [before, after]


def history_of_row(store: Store, merchant: str, table_name: str, row_id: int) -> list[Change]:
    """Return what happened to one row, oldest first."""
    bound = sql.history_of_row(merchant=merchant, table_name=table_name, row_id=row_id)
    (rows,) = flush_for(store, merchant, bound)
    return [Change(**row) for row in rows]


def history_of_order(store: Store, merchant: str, order_id: int) -> list[Change]:
    """Return what happened to an order, its items, its payments and their refunds, oldest first."""
    (rows,) = flush_for(store, merchant, sql.history_of_order(merchant=merchant, order_id=order_id))
    return [Change(**row) for row in rows]

"""Deliveries to apps: listed, looked at, made again, and how they go. Without a merchant, those of all."""

from datetime import datetime
from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database, Transaction
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound

sql = load_statements(Path(__file__).with_name("forwards.sql"))

Row = dict[str, Any]
TOPIC = "forward"
FILTERS = ("app", "ok", "gateway", "reference", "event", "error", "since", "until")


def list_forwards(
    database: Database, merchant: str | None = None, *, before: int | None = None, most: int = 20, **filters: Any
) -> list[Row]:
    """Return a page of deliveries, newest first."""
    wanted = sql.list_forwards(**{**dict.fromkeys(FILTERS), **filters}, before=before, most=most)
    return database.flush([wanted], idempotent=True, merchant=merchant)[0].rows


def find_forward(database: Database, forward: int, merchant: str | None = None) -> Row:
    """Return one delivery with the state of its job; raise NotFound."""
    rows = database.flush([sql.find_forward(id=forward)], idempotent=True, merchant=merchant)[0].rows
    if not rows:
        raise NotFound("there is no such delivery")
    return rows[0]


def forward_again(transaction: Transaction, forward: int) -> int:
    """Let a delivery be made again; return the job to ring for. Raise NotFound, or Conflict while it is under way."""
    return int(transaction.query_one(sql.forward_again, id=forward)["job"])


def stats(database: Database, merchant: str | None = None) -> list[Row]:
    """Return how forwarding to each app goes."""
    return database.flush([sql.stats()], idempotent=True, merchant=merchant)[0].rows


def list_targets(database: Database, merchant: str | None = None) -> list[Row]:
    """Return where and how each app is told."""
    return database.flush([sql.list_targets()], idempotent=True, merchant=merchant)[0].rows


def failures(database: Database, merchant: str | None, *, since: datetime, most: int = 20) -> list[Row]:
    """Return why deliveries failed since a moment, by app and cause: those that were given up most often first."""
    return database.flush([sql.failures(since=since, most=most)], idempotent=True, merchant=merchant)[0].rows

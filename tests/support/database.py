"""Makes the Database objects that tests use."""

from typing import Any

from gatehouse.database.connection import Database


def database_at(address: str, **changes: Any) -> Database:
    """Return a Database with budgets that suit a test; it does not connect yet."""
    return Database(
        address,
        **{
            "connect_milliseconds": 2000,
            "statement_milliseconds": 5000,
            "away_seconds": 0,
            "tls": "off",
            **changes,
        },
    )

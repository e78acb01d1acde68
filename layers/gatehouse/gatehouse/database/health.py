"""How the database is, and where its time goes."""

import time
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.flush import Row
from gatehouse.database.sql import load_statements
from gatehouse.errors import QueryError

# The extension was created, but the server was started without its library.
NOT_LOADED = "55000"

sql = load_statements(Path(__file__).with_name("health.sql"))
performance_sql = load_statements(Path(__file__).with_name("performance.sql"))


def server(database: Database) -> dict[str, Any]:
    """Return what the server says of itself, ready for JSON; raise when it is away."""
    started = time.perf_counter()
    facts = database.query_one(sql.server_facts)
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    return {
        "ok": facts["writable"],
        "milliseconds": milliseconds,
        **{name: float(value) if isinstance(value, Decimal) else value for name, value in facts.items()},
    }


def check(database: Database) -> dict[str, Any]:
    """Return plain facts, ready for JSON, about the server and this process's use of it; raise when it is away."""
    facts = server(database)
    this_process = asdict(database.statistics)
    del this_process["last_error"]  # anybody may ask for health, and an error names hosts and roles
    asked = [sql.database_size(), *([sql.migrations_version()] if facts.pop("migrations_readable") else [])]
    size, *version = database.flush(asked)
    return {
        **facts,
        **size.rows[0],
        "migrations_version": version[0].rows[0]["version"] if version else None,
        "this_process": this_process,
    }


def dead_rows(database: Database) -> Row:
    """Return how many dead rows wait for vacuum, what share they are, and the table with most of them."""
    return database.query_one(performance_sql.dead_rows)


def read_whole(database: Database, *, most: int = 20) -> list[Row]:
    """Return the tables that are read whole again and again: there an index may be missing."""
    return database.query(performance_sql.read_whole, most=most)


def keys_without_index(database: Database, *, most: int = 20) -> list[Row]:
    """Return the foreign keys that have no index: there one is missing as soon as what they point at changes."""
    return database.query(performance_sql.keys_without_index, most=most)


def performance(database: Database, *, most: int = 20, slow_seconds: int = 1) -> dict[str, list[Row]]:
    """Return table sizes, index use, and slow statements; those on average where the server counts statements."""
    sizes, use, slow, statistics = database.flush(
        [
            performance_sql.table_sizes(most=most),
            performance_sql.index_use(most=most),
            performance_sql.slow_now(most=most, seconds=slow_seconds),
            performance_sql.has_statement_statistics(),
        ],
        idempotent=True,
    )
    found = {"table_sizes": sizes.rows, "index_use": use.rows, "slow_now": slow.rows}
    if statistics.rows[0]["kept"]:
        try:
            found["slow_on_average"] = database.query(performance_sql.slow_on_average, most=most)
        except QueryError as refused:
            if refused.sqlstate != NOT_LOADED:
                raise
    return found

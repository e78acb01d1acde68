"""Rows to look at, written past every fold and policy."""

import json
from typing import Any

from tests.support.gatehouse_database import GatehouseDatabase

NEEDED: dict[str, dict[str, Any]] = {
    "payments": {"status": "completed", "amount_minor": 4620, "received_minor": 4620, "currency": "EUR"},
    "refunds": {"status": "completed", "amount_minor": 100, "currency": "JPY"},
    "disputes": {"status": "needs_response", "amount_minor": 4620, "currency": "EUR"},
    "subscriptions": {"status": "active", "amount_minor": 900, "currency": "USD", "plan": "gold"},
    "invoices": {"status": "paid", "total_minor": 900, "currency": "USD", "lines": [{"what": "a seat"}]},
    "payouts": {"status": "settled", "amount_minor": 1234, "currency": "KWD"},
}


def put(database: GatehouseDatabase, table: str, row_id: int, **columns: Any) -> None:
    """Write one row; it was first heard of `row_id` minutes after an hour of 2026."""
    row = {
        "id": row_id,
        "merchant": "default",
        "gateway": "stripe",
        "account": "default",
        "livemode": True,
        "first_fact_at": f"2026-11-20T10:{row_id % 60:02}:00Z",
        "last_fact_at": "2026-11-20T12:00:00Z",
        **({} if table == "payments" else {"gateway_id": f"{table}_{row_id}"}),
        **NEEDED[table],
        **columns,
    }
    insert(database, table, row)


def insert(database: GatehouseDatabase, table: str, row: dict[str, Any]) -> None:
    """Write a row, each value as the text that its column reads."""
    values = ", ".join(_literal(value) for value in row.values())
    database.sql(f"insert into {table} ({', '.join(row)}) values ({values})")


def _literal(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return "null" if value is None else "'{}'".format(text.replace("'", "''"))

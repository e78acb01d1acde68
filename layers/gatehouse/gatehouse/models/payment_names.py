"""Payments, looked up by whatever name somebody has at hand."""

from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound

sql = load_statements(Path(__file__).with_name("payment_names.sql"))

Row = dict[str, Any]
MOST_DIGITS = 18  # of a number that fits into a bigint whatever it is


def payment_named(database: Database, name: str) -> Row:
    """Return one payment by our number, a gateway's name or a reference; raise NotFound for none, or for several."""
    number = int(name) if name.isascii() and name.isdigit() and len(name) <= MOST_DIGITS else None
    found = database.query(sql.find_payments, name=name, number=number)
    if not found:
        raise NotFound(f"no payment is named {name}")
    if len(found) > 1:
        listed = "\n".join(
            f"  {row['id']}  {row['gateway']}/{row['account']}  {row['status']}{'' if row['livemode'] else '  (test)'}"
            for row in found
        )
        raise NotFound(f"several payments are named {name}; give the number of one:\n{listed}")
    return found[0]

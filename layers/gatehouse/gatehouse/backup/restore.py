"""Rebuilds payments, refunds, disputes and orders' states from the backup, into an empty primary database.

Rows are put in as they were, with their ids and with the facts that they are folded from: so what comes later, such as
the requests that wait in the inbox, meets them as if nothing had happened.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.backup.compare import Difference, compare
from gatehouse.backup.writer import backup_sql, facts_of
from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import Conflict
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("restore.sql"))

PAYMENTS_AT_ONCE = 200
ROOM_FOR_LOST_IDS = 10_000  # what the lost database gave out and the backup never heard of is not given out again
# In the order in which each leans on those before it.
STEPS = (
    "merchants",
    "customers",
    "customers_without_address",
    "orders",
    "order_counters",
    "events",
    "payments",
    "names",
    "names_of_others",
    "refunds",
    "disputes",
    "facts",
    "history",
)


class Restored(NamedTuple):
    """One batch of a restore."""

    after: int  # every payment up to this id is there
    payments: int


def restore(backup: Database, into: Database, keyring: Keyring) -> Iterator[Restored]:
    """Put every payment of the backup into an empty, migrated database, and yield each batch."""
    if not into.query_one(sql.is_empty)["is_empty"]:
        raise Conflict("the database to restore into is not empty")
    highest = backup.query_one(backup_sql.highest_ids)
    room = {name: value + ROOM_FOR_LOST_IDS for name, value in highest.items()}
    into.query(
        sql.count_on,
        payment=room["payment"],
        subject=max(room["refund"], room["dispute"]),
        version=room["version"],
        order_id=room["order_id"],
        customer=room["customer"],
        event=room["event"],
        change=room["change"],
    )
    after = 0
    while rows := backup.query(backup_sql.next_payments, after=after, most=PAYMENTS_AT_ONCE):
        payments = Json([row["state"] | {"facts": _facts(row, keyring)} for row in rows])
        into.flush([sql[step](payments=payments) for step in STEPS])
        after = rows[-1]["id"]
        yield Restored(after, len(rows))


def differences(backup: Database, restored: Database) -> list[Difference]:
    """Return what is not the same in the restored database as in the backup; nothing after a good restore."""
    return [each for found in compare(restored, backup, seconds_to_settle=0) for each in found.differences]


def _facts(row: dict[str, Any], keyring: Keyring) -> list[Any]:
    if row["sealed_facts"] is None:
        return []
    opened = keyring.open(row["key_id"], row["sealed_facts"], facts_of(row["id"]))
    found: list[Any] = json.loads(opened)
    return found

"""The demonstration at the start: one signed sample event of each gateway, and what each became in the database."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.money import written
from local import local_database
from local.gateway_accounts import GatewayAccount
from local.send import EventNotSendable, send
from local.terminal import Terminal

FEE_SECONDS = 5.0  # the fee comes from a job, a moment after the answer

sql = load_statements(local_database.FOLDER / "demonstration.sql")


def demonstrate(accounts: Sequence[GatewayAccount], stack: Mapping[str, Any], terminal: Terminal) -> None:
    """Send one event of each gateway through the front door and show what it became."""
    database = local_database.connect(str(stack["database_url"]))
    rows = [("gateway", "event", "answer", "in the database")]
    try:
        for account in accounts:
            body = account.sample.read_bytes()
            try:
                status, answer = send(account.name, body, stack)
            except EventNotSendable as reason:
                rows.append((account.name, account.sample.stem, "none", str(reason)))
                continue
            became = _what_became(database, account.name, body) if status == 200 else ""
            rows.append((account.name, account.sample.stem, f"{status} {_word(answer)}", became))
    finally:
        database.close()
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        terminal.say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)))


def _what_became(database: Database, gateway: str, body: bytes) -> str:
    """Say what stands in the database for the event; waits a moment for the fee."""
    deadline = time.monotonic() + FEE_SECONDS
    while True:
        found = database.query(sql.payment_of_event, gateway=gateway, event_id=json.loads(body)["id"])
        if (found and found[0]["fee_minor"] is not None) or time.monotonic() > deadline:
            return _words(found[0]) if found else "nothing"
        time.sleep(0.1)


def _words(row: Mapping[str, Any]) -> str:
    if row["payment_id"] is None:
        return f"event {row['event_status']}"
    amount = written(row["amount_minor"], row["currency"])
    fee = "unknown yet" if row["fee_minor"] is None else written(row["fee_minor"], row["fee_currency"])
    return f"event {row['event_status']}: payment {row['payment_id']} {row['payment_status']}, {amount}, fee {fee}"


def _word(answer: str) -> str:
    try:
        said = json.loads(answer)
        return str(said.get("status") or said["error"]["code"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer[:40]

"""The demonstration at the start: of each gateway one signed sample event and one forged, and what each became.

Then a charge of the app `elevenone`, which is forwarded to the receiver.
"""

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

FORWARD_SECONDS = 10.0
WORKED_ON_SECONDS = 8.0  # what an event lacks comes from jobs, a moment after the answer
FORGED = "a secret that somebody guessed, as long as any token"

sql = load_statements(local_database.FOLDER / "demonstration.sql")


def demonstrate(accounts: Sequence[GatewayAccount], stack: Mapping[str, Any], terminal: Terminal) -> None:
    """Send a signed and a forged event of each gateway through the front door and show what each became."""
    database = local_database.connect(str(stack["database_url"]))
    rows = [("gateway", "event", "answer", "in the database")]
    try:
        for account in accounts:
            rows.append((account.name, account.sample.stem, *_accepted(account, stack, database)))
            rows.append(("", "  forged", *_refused(account, stack, database)))
        if stack.get("receiver_url"):
            rows += [
                ("paystack", "of the app elevenone", *_forwarded(account, stack, database))
                for account in accounts
                if account.name == "paystack"
            ]
    finally:
        database.close()
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        terminal.say("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)))


def _accepted(account: GatewayAccount, stack: Mapping[str, Any], database: Database) -> tuple[str, str]:
    """Send the sample; return the answer and what stands in the database for it."""
    try:
        status, answer = send(account.name, account.sample.read_bytes(), stack)
    except EventNotSendable as reason:
        return "none", str(reason)
    became = _what_became(database, account.name, json.loads(answer)["event"]) if status == 200 else ""
    return f"{status} {_word(answer)}", became


def _forwarded(account: GatewayAccount, stack: Mapping[str, Any], database: Database) -> tuple[str, str]:
    """Send a new charge of the app elevenone; return the answer and what the receiver made of it."""
    payload = json.loads(account.sample.read_bytes())
    number = time.time_ns() // 1_000_000
    payload["data"] |= {"id": number, "reference": f"demo{number}", "metadata": {"app": "elevenone"}}
    try:
        status, answer = send(account.name, json.dumps(payload).encode(), stack)
    except EventNotSendable as reason:
        return "none", str(reason)
    deadline = time.monotonic() + FORWARD_SECONDS
    while not (found := database.query(sql.delivery_of_reference, reference=f"demo{number}")):
        if time.monotonic() > deadline:
            return f"{status} {_word(answer)}", "not forwarded yet"
        time.sleep(0.1)
    row = found[0]
    became = "forwarded, signature verified" if row["ok"] else f"not forwarded: {row['error_message']}"
    return f"{status} {_word(answer)}", f"{became}, {row['milliseconds']} ms after receipt"


def _refused(account: GatewayAccount, stack: Mapping[str, Any], database: Database) -> tuple[str, str]:
    """Send the sample signed with another secret; return the answer and whether the database has changed."""
    before = database.query(sql.count_events, gateway=account.name)
    try:
        status, answer = send(account.name, account.sample.read_bytes(), stack, secret=FORGED)
    except EventNotSendable as reason:
        return "none", str(reason)
    is_same = database.query(sql.count_events, gateway=account.name) == before
    return f"{status} {_word(answer)}", "nothing" if is_same else "an event: it must not be there"


def _what_became(database: Database, gateway: str, event_id: str) -> str:
    """Say what stands in the database for the event; waits a moment for the jobs that ask for the rest."""
    deadline = time.monotonic() + WORKED_ON_SECONDS
    while True:
        found = database.query(sql.payment_of_event, gateway=gateway, event_id=event_id)
        if not found:
            return "nothing"
        if not found[0]["is_worked_on"] or time.monotonic() > deadline:
            return _words(found[0])
        time.sleep(0.1)


def _words(row: Mapping[str, Any]) -> str:
    if row["payment_id"] is None:
        return f"event {row['event_status']}" + (f": {row['reason']}" if row["reason"] else "")
    amount = written(row["amount_minor"], row["currency"])
    fee = "unknown yet" if row["fee_minor"] is None else written(row["fee_minor"], row["fee_currency"])
    invoice = f", invoice {row['invoice_number']} for {row['product']}" if row["product"] else ""
    payment = f"payment {row['payment_id']} {row['payment_status']}, {amount}, fee {fee}"
    return f"event {row['event_status']}: {payment}{invoice}"


def _word(answer: str) -> str:
    try:
        said = json.loads(answer)
        return str(said.get("status") or said["error"]["code"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return answer[:40]

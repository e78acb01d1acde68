"""What is known of a person by their e-mail address: shown as a whole, and erased."""

import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound, TransactionConflict
from gatehouse.models.customers import checked_email
from gatehouse.models.scope import MOST_ATTEMPTS, flush_for
from gatehouse.observability import log
from gatehouse.sealing import Keyring

# Of john@example.com, neither bigjohn@example.com nor john@example.com.au is the same.
PART_OF_NO_OTHER = r"(?<![\w.%+-]){}(?![\w-]|[.]\w)"
PAYLOADS_AT_ONCE = 200

sql = load_statements(Path(__file__).with_name("privacy.sql"))


class Retained(NamedTuple):
    """A customer whose personal data may go by now."""

    merchant: str
    customer_id: int
    email: str


def export_customer(database: Database, merchant: str, email: str, keyring: Keyring | None = None) -> dict[str, Any]:
    """Return everything that is known of a person, ready for JSON; raise NotFound where that is nothing.

    With the keys, each event has its `raw` text too, as its gateway sent it; null once it is not kept any more.
    """
    address = checked_email(email)
    rows, memberships = flush_for(
        database, merchant, sql.export_customer(email=address), sql.memberships_of_person(email=address)
    )
    known: dict[str, Any] = rows[0]["known"] | {"memberships": memberships[0]["known"]}
    if keyring:
        known["events_of_no_facts"] = list(payloads_naming(database, merchant, email, keyring))
    if not any(known.values()):
        raise NotFound("nothing is known of this e-mail address")
    if keyring:
        events = {event["id"]: event for event in known["webhook_events"]}
        raw = dict.fromkeys(events)
        for row in database.query(sql.payloads_of_events, rows=list(events)):
            event = events[row["webhook_event_id"]]
            opened = keyring.open(row["key_id"], row["sealed"], (event["gateway"], event["account"], event["event_id"]))
            raw[event["id"]] = opened.decode(errors="replace")
        known["webhook_events"] = [event | {"raw": raw[each]} for each, event in events.items()]
    return known


def payloads_naming(database: Database, merchant: str, email: str, keyring: Keyring) -> Iterator[dict[str, Any]]:
    """Look into the bytes of all events that failed or were ignored; yield those that name this address, with `raw`.

    Nothing was made of these, so only their bytes tell of whom they speak. Every one is opened: that may take minutes.
    """
    address = checked_email(email).lower()
    names = re.compile(
        "|".join(PART_OF_NO_OTHER.format(re.escape(each)) for each in (address, quote(address, safe="")))
    )
    last_id = 0
    while rows := database.query(sql.payloads_of_no_facts, merchant=merchant, after_id=last_id, most=PAYLOADS_AT_ONCE):
        for row in rows:
            opened = keyring.open(row["key_id"], row["sealed"], (row["gateway"], row["account"], row["event_id"]))
            raw = opened.decode(errors="replace")
            if names.search(raw.lower()):
                kept = {name: value for name, value in row.items() if name not in ("key_id", "sealed")}
                yield kept | {"received_at": row["received_at"].isoformat(), "raw": raw}
        last_id = rows[-1]["id"]


def erase_payloads_naming(
    database: Database, merchant: str, email: str, keyring: Keyring, *, dry_run: bool = False, actor: str = ""
) -> int:
    """Delete the bytes of events that failed or were ignored and name this address; return how many those are."""
    found = [row["id"] for row in payloads_naming(database, merchant, email, keyring)]
    if found and not dry_run:
        flush_for(database, merchant, sql.erase_payloads(rows=found), actor=actor)
    return len(found)


def erase_customer(
    database: Database, merchant: str, email: str, *, dry_run: bool = False, actor: str = ""
) -> dict[str, int]:
    """Erase a person and return how many rows of each table were changed; a dry run only says, and undoes it all.

    Money and the audit stay. Safe to repeat, also for an address that is not known: then it only stays unknown.
    """
    address = checked_email(email)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            with database.transaction() as transaction:
                (rows,) = flush_for(transaction, merchant, sql.erase_customer(email=address), actor=actor)
                if dry_run:
                    transaction.undo()
            done: dict[str, int] = rows[0]["done"]
            return done
        except TransactionConflict:  # with an event of the same person that was being recorded
            if attempt == MOST_ATTEMPTS:
                raise
    raise AssertionError("the last attempt returns or raises")


def customers_past_retention(database: Database, day: date) -> list[Retained]:
    """Return the customers of all merchants who were to be retained until a day before this one."""
    return [Retained(**row) for row in database.query(sql.customers_past_retention, day=day)]


def erase_past_retention(database: Database, *, seconds: float) -> list[tuple[str, int]]:
    """Erase customers whose day of retention has passed, for at most some seconds; return merchant and id of each.

    What is left, or was just being recorded, is for the next run.
    """
    deadline = time.monotonic() + seconds
    erased: list[tuple[str, int]] = []
    try:
        while time.monotonic() < deadline:
            done = database.query_one(sql.erase_one_past_retention)
            if done["customer_id"] is None:
                break
            erased.append((done["merchant"], done["customer_id"]))
    except TransactionConflict as conflict:
        log.warning("an erasure met an event of the same person; tried again", reason=str(conflict))
    return erased

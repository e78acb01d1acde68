"""What is known of a person, by e-mail address or by the name that a gateway has for them: shown whole, and erased."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.errors import NotFound, TransactionConflict, ValidationError
from gatehouse.models.customers import checked_email
from gatehouse.models.scope import MOST_ATTEMPTS, flush_for
from gatehouse.observability import log
from gatehouse.sealing import Keyring

# Of john@example.com, neither bigjohn@example.com nor john@example.com.au is the same.
PART_OF_NO_OTHER = r"(?<![\w.%+-]){}(?![\w-]|[.]\w)"
PAYLOADS_AT_ONCE = 200
MOST_REF_CHARACTERS = 200
# "customer": "cus_1", "customerNumber": "P17", "customer_code": 17, and "customer": {"id": 17}.
SAID_OF_A_CUSTOMER = r'"[Cc]ustomer\w*"\s*:\s*(?:\{[^{}]*"(?:id|number|\w*code)"\s*:\s*)?(?:"REF"|REF(?![\w.-]))'

sql = load_statements(Path(__file__).with_name("privacy.sql"))


class Retained(NamedTuple):
    """A customer whose personal data may go by now."""

    merchant: str
    customer_id: int
    email: str


class CustomerName(NamedTuple):
    """What a gateway calls a customer of one account: a patient's code at MX Merchant, for one."""

    gateway: str
    account: str
    ref: str

    def __repr__(self) -> str:
        return f"<CustomerName at {self.gateway}>"


def named_customer(
    database: Database, merchant: str, ref: str, *, gateway: str | None = None, account: str | None = None
) -> CustomerName:
    """Return the one customer of a merchant whom a gateway calls so; raise NotFound where there is none, or several."""
    if not 0 < len(ref) <= MOST_REF_CHARACTERS:
        raise ValidationError.of_field("customer", f"must be a text of 1 to {MOST_REF_CHARACTERS} characters")
    (rows,) = flush_for(database, merchant, sql.places_of_customer(ref=ref))
    found = [
        CustomerName(row["gateway"], row["account"], ref)
        for row in rows
        if gateway in (None, row["gateway"]) and account in (None, row["account"])
    ]
    if len(found) > 1:
        places = ", ".join(f"{each.gateway} {each.account}" for each in found)
        raise NotFound(f"several gateways or accounts have a customer of this name: {places}; say which")
    if not found:
        raise NotFound("no gateway has a customer of this name")
    return found[0]


def export_named_customer(
    database: Database, merchant: str, name: CustomerName, keyring: Keyring | None = None
) -> dict[str, Any]:
    """Return everything that is known of a gateway's customer, as `export_customer` does."""
    (rows,) = flush_for(database, merchant, sql.export_named_customer(**name._asdict()))
    known: dict[str, Any] = rows[0]["known"]
    for more in rows[1:]:  # several addresses are known of them: what is found by each is told once
        for table, there in more["known"].items():
            if isinstance(there, list):
                known[table] += [each for each in there if each not in known[table]]
            else:
                known[table] = known[table] or there
    if keyring:
        known["events_of_no_facts"] = list(_payloads_that(database, merchant, _says(name), keyring))
    return _with_payloads(database, known, keyring)


def erase_named_customer(
    database: Database, merchant: str, name: CustomerName, *, dry_run: bool = False, actor: str = ""
) -> dict[str, int]:
    """Erase a gateway's customer, with all that is known of them by an address too; as `erase_customer` does."""
    return _erased(database, merchant, sql.erase_named_customer(**name._asdict()), dry_run=dry_run, actor=actor)


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
    return _with_payloads(database, known, keyring)


def _with_payloads(database: Database, known: dict[str, Any], keyring: Keyring | None) -> dict[str, Any]:
    """Return what is known, each event with what its gateway sent where there are the keys to it."""
    if keyring:
        events = {event["id"]: event for event in known["webhook_events"]}
        raw = dict.fromkeys(events)
        for row in database.query(sql.payloads_of_events, rows=list(events)):
            event = events[row["webhook_event_id"]]
            opened = keyring.open(row["key_id"], row["sealed"], (event["gateway"], event["account"], event["event_id"]))
            raw[event["id"]] = opened.decode(errors="replace")
        known["webhook_events"] = [event | {"raw": raw[each]} for each, event in events.items()]
    return known


def payloads_naming(
    database: Database, merchant: str, person: str | CustomerName, keyring: Keyring
) -> Iterator[dict[str, Any]]:
    """Look into the bytes of all events that failed or were ignored; yield those that name this person, with `raw`.

    Nothing was made of these, so only their bytes tell of whom they speak. Every one is opened: that may take minutes.
    """
    if isinstance(person, CustomerName):
        return _payloads_that(database, merchant, _says(person), keyring)
    address = checked_email(person).lower()
    names = re.compile(
        "|".join(PART_OF_NO_OTHER.format(re.escape(each)) for each in (address, quote(address, safe="")))
    )
    return _payloads_that(database, merchant, lambda _row, raw: bool(names.search(raw.lower())), keyring)


def erase_payloads_naming(
    database: Database,
    merchant: str,
    person: str | CustomerName,
    keyring: Keyring,
    *,
    dry_run: bool = False,
    actor: str = "",
) -> int:
    """Delete the bytes of events that failed or were ignored and name this person; return how many those are."""
    found = [row["id"] for row in payloads_naming(database, merchant, person, keyring)]
    if found and not dry_run:
        flush_for(database, merchant, sql.erase_payloads(rows=found), actor=actor)
    return len(found)


def _payloads_that(
    database: Database, merchant: str, says: Callable[[Mapping[str, Any], str], bool], keyring: Keyring
) -> Iterator[dict[str, Any]]:
    last_id = 0
    while rows := database.query(sql.payloads_of_no_facts, merchant=merchant, after_id=last_id, most=PAYLOADS_AT_ONCE):
        for row in rows:
            opened = keyring.open(row["key_id"], row["sealed"], (row["gateway"], row["account"], row["event_id"]))
            raw = opened.decode(errors="replace")
            if says(row, raw):
                kept = {name: value for name, value in row.items() if name not in ("key_id", "sealed")}
                yield kept | {"received_at": row["received_at"].isoformat(), "raw": raw}
        last_id = rows[-1]["id"]


def _says(name: CustomerName) -> Callable[[Mapping[str, Any], str], bool]:
    """Return what tells whether an event of the customer's account has their name where a customer's stands."""
    ref = re.escape(json.dumps(name.ref, ensure_ascii=False)[1:-1])
    said = re.compile(SAID_OF_A_CUSTOMER.replace("REF", ref))
    return lambda row, raw: (row["gateway"], row["account"]) == name[:2] and said.search(raw) is not None


def erase_customer(
    database: Database, merchant: str, email: str, *, dry_run: bool = False, actor: str = ""
) -> dict[str, int]:
    """Erase a person and return how many rows of each table were changed; a dry run only says, and undoes it all.

    Money and the audit stay. Safe to repeat, also for an address that is not known: then it only stays unknown.
    """
    return _erased(database, merchant, sql.erase_customer(email=checked_email(email)), dry_run=dry_run, actor=actor)


def _erased(database: Database, merchant: str, erasure: Bound, *, dry_run: bool, actor: str) -> dict[str, int]:
    for attempt in range(1, MOST_ATTEMPTS + 1):
        try:
            with database.transaction() as transaction:
                (rows,) = flush_for(transaction, merchant, erasure, actor=actor)
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

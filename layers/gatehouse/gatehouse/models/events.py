"""Webhook events: looked up, listed, followed live, and taken up again when they failed."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound
from gatehouse.gateways import NAMES

sql = load_statements(Path(__file__).with_name("events.sql"))

Row = dict[str, Any]


class Story(NamedTuple):
    """An event with all that it led to."""

    event: Row
    facts: list[Row]
    changes: list[Row]
    jobs: list[Row]


def list_events(
    database: Database,
    *,
    status: str | None = None,
    gateway: str | None = None,
    type: str | None = None,
    reference: str | None = None,
    since: datetime | None = None,
    before: int | None = None,
    most: int = 20,
    merchant: str | None = None,
) -> list[Row]:
    """Return a page of events, newest first; of one merchant, as that one sees them, or of all."""
    wanted: Row = {"status": status, "type": type, "reference": reference, "since": since, "before": before}
    if merchant is None:
        bound = sql.list_events(gateway=gateway, **wanted, most=most)
    else:
        bound = sql.list_events_of_merchant(gateways=[gateway] if gateway else list(NAMES), **wanted, most=most)
    return database.flush([bound], idempotent=True, merchant=merchant)[0].rows


def events_after(database: Database, row: int, *, most: int = 200) -> list[Row]:
    """Return the events recorded after a row, oldest first."""
    return database.query(sql.events_after, after=row, most=most)


def find_event(database: Database, name: str, *, gateway: str | None = None, merchant: str | None = None) -> Row:
    """Return one event by the gateway's id or our row number; raise NotFound for none, or for several."""
    row = int(name) if name.isascii() and name.isdigit() and len(name) < 19 else None
    bound = sql.find_events(event_id=name, row=row)
    found = database.flush([bound], idempotent=True, merchant=merchant)[0].rows
    found = [event for event in found if gateway is None or event["gateway"] == gateway]
    if not found:
        raise NotFound(f"no event is named {name}")
    if len(found) > 1:
        where = ", ".join(f"{event['gateway']}/{event['account']} (row {event['id']})" for event in found)
        raise NotFound(f"several events are named {name}: {where}; name the row instead")
    return found[0]


def story_of(database: Database, event: Row, *, merchant: str | None = None) -> Story:
    """Return an event with its facts, what they changed, and its jobs, in one flush."""
    row = event["id"]
    facts, changes, jobs = database.flush(
        [sql.facts_of_event(row=row), sql.changes_of_event(row=row), sql.jobs_of_event(row=row)],
        idempotent=True,
        merchant=merchant,
    )
    return Story(event, facts.rows, changes.rows, jobs.rows)


def sealed_payload(database: Database, event: Row) -> tuple[str, bytes]:
    """Return the key id and the sealed bytes of an event; raise NotFound once retention has dropped them."""
    found = database.query(sql.payload_of_event, row=event["id"], received_at=event["received_at"])
    if not found:
        raise NotFound(f"the payload of {event['event_id']} is not kept any more")
    return found[0]["key_id"], found[0]["sealed"]

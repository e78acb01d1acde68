"""Sends again what was given up, or replays what was delivered: planned first, paced to the app's health, resumable.

A delivery that is taken up is a job that waits again, with the same webhook-id. Which redrive took it up stands in its
row, so an interrupted redrive goes on where it was, and two of them never take the same delivery.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import NotFound, ValidationError
from gatehouse.jobs.bell import Bell

sql = load_statements(Path(__file__).with_name("redrive.sql"))

TOPIC = "forward"
HANDED_OVER = "redrive"
MOST_UNDER_WAY = 50
POLL_SECONDS = 0.5
RING_SECONDS = 5.0
EVERYTHING = 2**31 - 1
FILTERS = ("app", "gateway", "error", "since", "until", "replay", "limit")

Row = dict[str, Any]


class Plan(NamedTuple):
    """What a redrive would do."""

    deliveries: int
    money: dict[str, int]  # by currency, in minor units
    hindered: dict[str, int]  # how many would do nothing, by what stands in the way
    rows: list[Row]


class Progress(NamedTuple):
    """How far a redrive has come."""

    redrive: int
    planned: int
    sent: int
    under_way: int
    delivered: int
    buried: int
    is_ill: bool  # an app does not answer; nothing more is sent until it does
    is_done: bool  # everything was taken up


def filters_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that are given; raise ValidationError for a name or value that is none."""
    if unknown := given.keys() - set(FILTERS):
        raise ValidationError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FILTERS)}")
    found = {name: value for name, value in given.items() if value not in (None, False, "")}
    for name in ("since", "until"):
        if name in found:
            found[name] = _moment(name, found[name]).isoformat()
    if type(found.get("limit", 1)) is not int or found.get("limit", 1) < 1:
        raise ValidationError.of_field("limit", "must be a whole number from 1")
    return found


def plan(database: Database, merchant: str, filters: Mapping[str, Any], *, redrive: int | None = None) -> Plan:
    """Say what a redrive would do, and do nothing."""
    rows = database.query(
        sql.plan,
        merchant=merchant,
        filters=Json(dict(filters)),
        redrive=redrive,
        most=filters.get("limit", EVERYTHING),
    )
    money: dict[str, int] = {}
    hindered: dict[str, int] = {}
    deliveries = 0
    for row in rows:
        if row["hindrance"]:
            hindered[row["hindrance"]] = hindered.get(row["hindrance"], 0) + row["deliveries"]
            continue
        deliveries += row["deliveries"]
        if row["currency"] and row["amount_minor"] is not None:
            money[row["currency"]] = money.get(row["currency"], 0) + row["amount_minor"]
    return Plan(deliveries, money, hindered, rows)


def begin(database: Database, merchant: str, filters: Mapping[str, Any], actor: str, planned: int) -> int:
    """Note who begins a redrive; return its number."""
    row = database.query_one(
        sql.begin_redrive, merchant=merchant, actor=actor, filters=Json(dict(filters)), planned=planned
    )
    return int(row["id"])


def hand_over(database: Database, redrive: int) -> list[tuple[int, str]]:
    """Have a redrive carried out by event_forwarder; return what to ring for, nothing where it is at work already."""
    return [(row["id"], HANDED_OVER) for row in database.query(sql.hand_over, id=redrive)]


def is_handed_over(database: Database, redrive: int) -> bool:
    """Tell whether a job carries a redrive out."""
    rows = database.query(sql.job_of_redrive, id=redrive)
    return bool(rows) and rows[0]["status"] in ("waiting", "leased")


def carry_on(
    database: Database,
    bell: Bell | None,
    redrive: int,
    *,
    sleep: Callable[[float], None] = time.sleep,
    is_time_up: Callable[[], bool] = lambda: False,
) -> Iterator[Progress]:
    """Take up what is left of a redrive, step by step; without a bell the sweeper rings."""
    held = find_redrive(database, redrive)
    left = min(held["filters"].get("limit", EVERYTHING), EVERYTHING) - held["sent"]
    while left > 0:
        taken: list[int] = []
        if wanted := min(_how_many(database.query_one(sql.state_of_redrive, id=redrive)), left):
            taken = _take_up(database, held, wanted)
            left -= len(taken)
            if not taken:
                break
            if bell:
                bell.ring([(job, TOPIC) for job in taken], budget_seconds=RING_SECONDS)
        yield progress_of(database, redrive)
        if is_time_up():
            return
        if not taken:
            sleep(POLL_SECONDS)
    database.query(sql.finish_redrive, id=redrive)
    yield progress_of(database, redrive)


def find_redrive(database: Database, redrive: int) -> Row:
    """Return one redrive; raise NotFound."""
    rows = database.query(sql.find_redrive, id=redrive)
    if not rows:
        raise NotFound(f"there is no redrive {redrive}")
    return rows[0]


def list_redrives(database: Database, most: int = 20) -> list[Row]:
    """Return redrives, the newest first."""
    return database.query(sql.list_redrives, most=most)


def left_of(held: Row) -> dict[str, Any]:
    """Return the filters of a redrive, with what its limit still allows."""
    filters = dict(held["filters"])
    if "limit" in filters:
        filters["limit"] = max(filters["limit"] - held["sent"], 0)
    return filters


def _how_many(state: Row) -> int:
    """Return how many may be taken up now: of an app that does not answer one, to see whether it does again."""
    if state["is_ill"]:
        return 0 if state["under_way"] else 1
    return max(MOST_UNDER_WAY - int(state["under_way"]), 0)


def _take_up(database: Database, held: Row, most: int) -> list[int]:
    with database.transaction() as transaction:
        rows = transaction.query(
            sql.take_up, merchant=held["merchant"], filters=Json(held["filters"]), redrive=held["id"], most=most
        )
        taken = [row["id"] for row in rows]
        transaction.query(sql.note_sent, id=held["id"], sent=len(taken))
    return taken


def progress_of(database: Database, redrive: int) -> Progress:
    """Return how far a redrive has come."""
    held, state = find_redrive(database, redrive), database.query_one(sql.state_of_redrive, id=redrive)
    return Progress(
        redrive,
        held["planned"],
        held["sent"],
        state["under_way"],
        state["delivered"],
        state["buried"],
        state["is_ill"],
        held["finished_at"] is not None,
    )


def _moment(name: str, said: Any) -> datetime:
    try:
        moment = said if isinstance(said, datetime) else datetime.fromisoformat(str(said))
    except ValueError:
        raise ValidationError.of_field(name, "is no time such as 2026-05-15T10:00:00+00:00") from None
    if moment.tzinfo is None:
        raise ValidationError.of_field(name, "must say its time zone")
    return moment

"""Facts about one money in every order that a gateway may tell them, and what must come of them."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from gatehouse.accounts import GatewayAccount
from gatehouse.facts import LADDER, Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.intake.record import Delivery

ACCOUNT = GatewayAccount("stripe", "default", "default", "both", ("whsec_test",))
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ARRIVED = datetime(2026, 1, 2, tzinfo=UTC)

PLAIN_COLUMNS = (
    "amount_minor",
    "received_minor",
    "refunded_minor",
    "currency",
    "fee_minor",
    "fee_currency",
    "method",
    "reference",
    "customer_ref",
    "metadata",
    "livemode",
)


class Said(NamedTuple):
    """One event with one fact: when the gateway says it happened, and the fact's words."""

    event: str
    second: int | None  # None: the gateway gives no time
    names: tuple[tuple[str, str], ...]
    words: dict[str, Any]


def delivery(said: Said, prefix: str) -> Delivery:
    """Return the event as intake gets it; the prefix keeps the names of one example apart from all others."""
    names = tuple(ObjectName(kind, f"{prefix}{name}") for kind, name in said.names)
    at = None if said.second is None else EPOCH + timedelta(seconds=said.second)
    event = Event(
        event_id=f"{prefix}{said.event}",
        type="test",
        occurred_at=at,
        livemode=False,
        facts=(PaymentFact(objects=names, **said.words),),
        reference=names[0].id,
    )
    return Delivery(ACCOUNT, event, json.dumps(said.words, default=str).encode(), ARRIVED)


def expected_rows(story: Iterable[Said], prefix: str) -> list[dict[str, Any]]:
    """Say in plain Python what rows the facts must end in: an account of the rules that shares no code with the SQL."""
    groups: list[tuple[set[tuple[str, str]], list[Said]]] = []
    for said in {each.event: each for each in story}.values():
        names, members = set(said.names), [said]
        apart = []
        for other_names, others in groups:
            if other_names & names:
                names |= other_names
                members += others
            else:
                apart.append((other_names, others))
        groups = [*apart, (names, members)]
    return sorted((_row(names, members, prefix) for names, members in groups), key=lambda row: row["names"])


def _row(names: set[tuple[str, str]], members: Sequence[Said], prefix: str) -> dict[str, Any]:
    order = sorted(members, key=lambda said: (_time(said), _step(said), f"{prefix}{said.event}"))
    row: dict[str, Any] = dict.fromkeys(PLAIN_COLUMNS)
    spoken: dict[str, Any] = {}
    for said in order:
        spoken |= {word: value for word, value in said.words.items() if value is not None}
    row |= {word: spoken[word] for word in PLAIN_COLUMNS if word in spoken}
    row["livemode"] = False
    step = max(_step(said) for said in members)
    row["status"] = _shown_status(step, spoken)
    row["failure_code"] = spoken.get("failure_code") if step == 3 else None
    row["status_reason"] = spoken.get("status_reason") if step in (4, 6) else None
    completed = [said for said in members if said.words.get("status") == PaymentStatus.COMPLETED]
    row["completed_at"] = min((_moment(said) for said in completed), default=None)
    timed = [_moment(said) for said in members if said.second is not None] or [ARRIVED]
    row["first_fact_at"], row["last_fact_at"] = min(timed), max(timed)
    row["names"] = sorted(f"{kind} {prefix}{name}" for kind, name in names)
    return row


def _time(said: Said) -> int:
    return -1 if said.second is None else said.second


def _moment(said: Said) -> datetime:
    return ARRIVED if said.second is None else EPOCH + timedelta(seconds=said.second)


def _step(said: Said) -> int:
    status = said.words.get("status")
    return LADDER.index(status) + 1 if status else 0


def _shown_status(step: int, spoken: dict[str, Any]) -> str:
    refunded = spoken.get("refunded_minor") or 0
    if step == 5 and refunded:
        return "refunded" if refunded >= spoken["received_minor"] else "partially_refunded"
    return "cancelled" if step == 6 else str(LADDER[step - 1]) if step else "pending"


ROWS = """
select p.*, (select array_agg(o.kind || ' ' || o.object_id order by o.kind || ' ' || o.object_id)
             from payment_objects o where o.payment_id = p.id) as names
from payments p
where p.id in (select payment_id from payment_objects where object_id like '{prefix}%') and p.merged_into is null
"""


def actual_rows(database: Any, prefix: str) -> list[dict[str, Any]]:
    """Return the rows that stand in the database for one example, without what differs by arrival (ids)."""
    rows = database.query(ROWS.format(prefix=prefix))
    kept = {*PLAIN_COLUMNS, "status", "failure_code", "status_reason", "completed_at", "first_fact_at", "last_fact_at"}
    return sorted(({column: row[column] for column in (*kept, "names")} for row in rows), key=lambda row: row["names"])

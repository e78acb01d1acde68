"""The whole story of one payment: what was said of it, by which events, what they changed, and why it is as it is."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.facts import LADDER

sql = load_statements(Path(__file__).with_name("story.sql"))

Row = dict[str, Any]

# What a person is known by, or may have written: the columns that the audit keeps as hashes only.
PERSONAL = {
    "payment": frozenset(("metadata", "failure_message", "customer_ref", "email", "user_id", "product_name")),
    "refund": frozenset(("reason", "failure_message", "metadata")),
    "dispute": frozenset[str](),
    "payout": frozenset(("failure_message", "metadata", "destination")),
    "customer": frozenset(("email", "name", "phone", "user_id", "metadata")),
    "subscription": frozenset(("email", "user_id", "metadata", "customer_ref", "cancel_reason")),
    "invoice": frozenset(
        ("email", "customer_ref", "customer_name", "billing_address", "description", "lines", "metadata")
    ),
}
MASK = "(personal)"

_NOT_TOLD = frozenset(("id", "merchant", "gateway", "account", "merged_into", "first_fact_at", "last_fact_at"))
_WHILE = {
    "failure_code": "told only while the payment has failed",
    "failure_message": "told only while the payment has failed",
    "status_reason": "told only of one that was cancelled",
}
_APP_FROM = {
    "event": "its own events say so",
    "subscription": "its subscription says so",
    "plan": "its plan belongs to that app",
    "customer": "its customer says so",
    "default": "nothing says otherwise, and it is the merchant's default",
}


class Overruled(NamedTuple):
    """A value that a fact said and that does not stand."""

    said_by: str
    value: Any


class Held(NamedTuple):
    """Why a column of the payment is what it is."""

    column: str
    value: Any
    rule: str
    said_by: str | None  # the event or job whose fact gives it; None where no single fact does
    overruled: tuple[Overruled, ...] = ()


class Story(NamedTuple):
    """A payment with all that was said of it and all that came of it."""

    payment: Row
    names: list[str]
    joined: list[int]
    app_is_known_because: str
    refunds: list[Row]
    disputes: list[Row]
    subscription: Row | None
    invoice: Row | None
    events: list[Row]  # in the order of the gateway's clock, each with its facts, changes and jobs
    by_hand: list[Row]  # changes that no event made
    fetched: list[Row]  # what jobs fetched: facts without an event
    columns: list[Held]


def story_of(database: Database, payment: int, *, merchant: str | None = None) -> Story:
    """Return the story of a payment that was not joined away, asked in one flush; as its merchant may see it."""
    chapters = database.flush([sql[name](payment=payment) for name in _CHAPTERS], idempotent=True, merchant=merchant)
    found = {name: chapter.rows for name, chapter in zip(_CHAPTERS, chapters, strict=True)}
    head, facts = found["payment"][0], found["facts"]
    row = head["row"]
    refunds, disputes = ([each["row"] for each in found[name]] for name in ("refunds", "disputes"))
    events = [
        event
        | {
            "said": _of(facts, event["id"]),
            "changed": _of(found["changes"], event["id"]),
            "jobs": _of(found["jobs"], event["id"]),
        }
        for event in found["events"]
    ]
    told = {event["id"] for event in events}
    return Story(
        row,
        head["names"],
        head["joined"],
        _APP_FROM.get(row["app_from"] or "", "no app is known, and the merchant has no default"),
        refunds,
        disputes,
        found["subscription"][0]["row"] if found["subscription"] else None,
        found["invoice"][0]["row"] if found["invoice"] else None,
        events,
        [change for change in found["changes"] if change["webhook_event_id"] not in told],
        [fact for fact in facts if fact["webhook_event_id"] is None],
        columns_of(row, [fact for fact in facts if fact["kind"] == "payment"], refunds),
    )


def columns_of(row: Row, facts: list[Row], refunds: list[Row]) -> list[Held]:
    """Say for each column of a payment by which rule it is what it is; the facts come in the order of the fold."""
    return [
        _derived(column, value, facts, refunds) or _by_newest(column, value, facts)
        for column, value in row.items()
        if column not in _NOT_TOLD and (value is not None or any(column in fact["words"] for fact in facts))
    ]


def masked(story: Story) -> Story:
    """Return the same story without what a person is known by."""
    return story._replace(
        payment=_masked("payment", story.payment),
        refunds=[_masked("refund", row) for row in story.refunds],
        disputes=[_masked("dispute", row) for row in story.disputes],
        subscription=story.subscription and _masked("subscription", story.subscription),
        invoice=story.invoice and _masked("invoice", story.invoice),
        events=[
            event
            | {
                "said": [_masked_part(fact, "words", fact["kind"]) for fact in event["said"]],
                "changed": [_masked_part(change, "changes", change["table_name"][:-1]) for change in event["changed"]],
            }
            for event in story.events
        ],
        by_hand=[_masked_part(change, "changes", change["table_name"][:-1]) for change in story.by_hand],
        fetched=[_masked_part(fact, "words", fact["kind"]) for fact in story.fetched],
        columns=[_masked_column(held) for held in story.columns],
    )


def _masked(kind: str, row: Row) -> Row:
    return {key: MASK if key in PERSONAL[kind] and value is not None else value for key, value in row.items()}


def _masked_part(part: Row, words: str, kind: str) -> Row:
    return part | {words: _masked(kind, part[words])}


def _masked_column(held: Held) -> Held:
    if held.column not in PERSONAL["payment"]:
        return held
    hidden = tuple(each._replace(value=MASK) for each in held.overruled)
    return held._replace(value=None if held.value is None else MASK, overruled=hidden)


_CHAPTERS = ("payment", "refunds", "disputes", "subscription", "invoice", "facts", "events", "changes", "jobs")


def _of(rows: Iterable[Row], event: int) -> list[Row]:
    return [row for row in rows if row["webhook_event_id"] == event]


def _by_newest(column: str, value: Any, facts: list[Row]) -> Held:
    said = [(fact["said_by"], fact["words"][column]) for fact in facts if column in fact["words"]]
    if not said:
        return Held(column, value, "nothing said it: it was written by hand, or is older than its facts", None)
    (winner, its_value), others = said[-1], said[:-1]
    overruled = tuple(Overruled(*each) for each in others if each[1] != its_value)
    silenced = _WHILE.get(column)
    if silenced and value is None:
        return Held(column, None, silenced, None, (*overruled, Overruled(winner, its_value)))
    return Held(column, value, "the newest that says it", winner, overruled)


def _derived(column: str, value: Any, facts: list[Row], refunds: list[Row]) -> Held | None:
    rule: Callable[[Any, list[Row], list[Row]], Held] | None = _RULES.get(column)
    return rule(value, facts, refunds) if rule else None


def _status(value: Any, facts: list[Row], _refunds: list[Row]) -> Held:
    said = [fact for fact in facts if "status" in fact["words"]]
    if not said:
        return Held("status", value, "nothing says one: pending", None)
    highest = max(fact["rank"] for fact in said)
    winner = next(fact for fact in said if fact["rank"] == highest)
    lower = tuple(Overruled(fact["said_by"], fact["words"]["status"]) for fact in said if fact["rank"] < highest)
    step = LADDER[highest - 1]
    more = f", which shows as {value}" if value != step else ""
    return Held("status", value, f"the highest step that anything says: {step}{more}", winner["said_by"], lower)


def _refunded(value: Any, facts: list[Row], refunds: list[Row]) -> Held:
    if not refunds:
        return _by_newest("refunded_minor", value, facts)
    completed = sum(refund["amount_minor"] or 0 for refund in refunds if refund["status"] == "completed")
    said = tuple(
        Overruled(fact["said_by"], fact["words"]["refunded_minor"])
        for fact in facts
        if fact["words"].get("refunded_minor") not in (None, value)
    )
    rest = (value or 0) - completed
    unknown = f", and {rest} that the gateway calls refunded and no known refund explains" if rest else ""
    return Held("refunded_minor", value, f"the completed refunds: {completed}{unknown}", None, said)


def _completed_at(value: Any, facts: list[Row], _refunds: list[Row]) -> Held:
    completed = [fact for fact in facts if fact["words"].get("status") == "completed"]
    winner = completed[0]["said_by"] if len(completed) == 1 else None
    return Held("completed_at", value, "the earliest time at which anything calls it completed", winner)


def _app(value: Any, facts: list[Row], _refunds: list[Row]) -> Held:
    return _linked("app", value, facts)


def _user(value: Any, facts: list[Row], _refunds: list[Row]) -> Held:
    return _linked("user_id", value, facts)


def _linked(column: str, value: Any, facts: list[Row]) -> Held:
    if any(column in fact["words"] for fact in facts):
        return _by_newest(column, value, facts)
    return Held(column, value, "its own events do not say it: from what it hangs on", None)


def _app_from(value: Any, _facts: list[Row], _refunds: list[Row]) -> Held:
    return Held("app_from", value, _APP_FROM.get(value or "", "no app is known"), None)


def _by_product(column: str) -> Callable[[Any, list[Row], list[Row]], Held]:
    def rule(value: Any, _facts: list[Row], _refunds: list[Row]) -> Held:
        return Held(column, value, "by its invoice, and the merchant's list of products", None)

    return rule


_RULES: dict[str, Callable[[Any, list[Row], list[Row]], Held]] = {
    "status": _status,
    "refunded_minor": _refunded,
    "completed_at": _completed_at,
    "app": _app,
    "app_from": _app_from,
    "user_id": _user,
    **{column: _by_product(column) for column in ("product_name", "product_category", "is_recurring")},
}

"""The way of one event through Gatehouse: the request, what it said and changed, its jobs, the apps that were told."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound
from gatehouse.models.events import find_event

sql = load_statements(Path(__file__).with_name("trace.sql"))

Row = dict[str, Any]
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
CHAPTERS = ("event", "said", "changed", "jobs", "fetched", "told")


class Step(NamedTuple):
    """Something that happened on the way; `ok` is False where somebody should look."""

    at: datetime | None  # None: it has not happened yet, or nobody knows when
    what: str
    words: str
    ok: bool = True


class Trace(NamedTuple):
    """The steps of one event in the order of time, and all rows that they were read from."""

    steps: list[Step]
    rows: dict[str, list[Row]]


def trace(database: Database, name: str, *, gateway: str | None = None, days: int = 3) -> list[Trace]:
    """Return the way of what a request id, a gateway's event id or a row number names; raise NotFound.

    One request brings one event; a request id of the last so many days is looked for.
    """
    brought = database.query(sql.events_of_request, request_id=name, days=days)
    if brought:
        return [_of_event(database, row["id"]) for row in brought]
    if refused := database.query(sql.refused_request, request_id=name):
        return [Trace([_refused(refused[0])], {"refused": refused})]
    try:
        return [_of_event(database, find_event(database, name, gateway=gateway)["id"])]
    except NotFound as reason:
        if "several" in str(reason):
            raise
        message = f"nothing is named {name}: no event, and no request of the last {days} days"
        raise NotFound(message) from None


def _of_event(database: Database, event: int) -> Trace:
    results = database.flush([sql[name](event=event) for name in CHAPTERS])
    rows = {name: result.rows for name, result in zip(CHAPTERS, results, strict=True)}
    steps = [*_arrival(rows), *_work(rows), *(_told(row) for row in rows["told"])]
    return Trace(sorted(steps, key=lambda step: step.at or END_OF_TIME), rows)


def _arrival(rows: dict[str, list[Row]]) -> Iterable[Step]:
    event = rows["event"][0]
    mode = "" if event["livemode"] else ", test mode"
    if event["occurred_at"]:
        yield Step(event["occurred_at"], "happened", f"by the clock of {event['gateway']}")
    request = f" in request {event['request_id']}" if event["request_id"] else ""
    place = f"{event['gateway']}/{event['account']}"
    yield Step(event["received_at"], "received", f"{event['type']} {event['event_id']} for {place}{request}{mode}")
    recorded_at = rows["changed"][0]["at"] if rows["changed"] else event["received_at"]
    why = f": {event['reason']}" if event["reason"] else ""
    tries = f", attempt {event['attempts']}" if event["attempts"] > 1 else ""
    yield Step(recorded_at, event["status"], f"row {event['id']}{tries}{why}", ok=event["status"] != "failed")
    for said in rows["said"]:
        yield Step(recorded_at, "said", f"{said['kind']} {said['subject_id']}: {_listed(said['columns'])}")
    for change in rows["changed"]:
        words = f"{change['table_name']} {change['row_id']} ({change['action']}): {_listed(change['columns'])}"
        yield Step(change["at"], "changed", words)


def _work(rows: dict[str, list[Row]]) -> Iterable[Step]:
    for job in rows["jobs"]:
        name = f"job {job['id']} {job['topic']}"
        yield Step(job["created_at"], "to do", name)
        tries = f"{job['attempts']} {'attempt' if job['attempts'] == 1 else 'attempts'}"
        error = f": {job['last_error']}" if job["last_error"] else ""
        if job["status"] == "done":
            yield Step(job["finished_at"], "done", f"{name} after {tries}")
        elif job["status"] == "dead":
            yield Step(job["finished_at"], "given up", f"{name} after {tries}{error}", ok=False)
        else:
            due = f"due {job['due_at']:%Y-%m-%d %H:%M:%S}"
            yield Step(None, job["status"], f"{name}, {due}, {tries}{error}", ok=job["attempts"] == 0)
    for fact in rows["fetched"]:
        words = f"{fact['kind']} {fact['subject_id']}: {_listed(fact['columns'])}, by job {fact['job_id']}"
        yield Step(fact["at"], "fetched", words)


def _told(row: Row) -> Step:
    answer = row["status_code"] or row["error_class"] or "no answer"
    tries = "" if row["attempt_count"] == 1 else f", {row['attempt_count']} attempts"
    error = "" if row["ok"] else f": {row['error_message']}"
    words = f"{row['app']} answered {answer} in {row['duration_ms']} ms{tries}, job {row['job_id']}{error}"
    return Step(row["created_at"], "forwarded", words, ok=row["ok"])


def _refused(row: Row) -> Step:
    words = f"request {row['request_id']} for {row['gateway']}/{row['account']}: {row['code']}: {row['reason']}"
    return Step(row["received_at"], "refused", words, ok=False)


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(columns)

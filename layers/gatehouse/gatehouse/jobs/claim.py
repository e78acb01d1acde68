"""Claims a job, lets it be worked, and settles it: done, postponed or buried. The lease's token guards every write."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from gatehouse.database.connection import Database
from gatehouse.database.flush import Result
from gatehouse.database.sql import Bound, load_statements
from gatehouse.errors import GatehouseError, QueryError
from gatehouse.jobs.bell import Bell, Burial
from gatehouse.jobs.topics import TOPICS, Topic, backoff_seconds
from gatehouse.observability import log, metrics

sql = load_statements(Path(__file__).with_name("jobs.sql"))

LEASE_LOST = "GH002"
TELL_SECONDS = 2.0
GAVE_WAY = "another merchant's work went first"
METRIC_OF = {"done": "JobsDone", "postponed": "JobsPostponed", "held": "JobsHeld", "buried": "JobsBuried"}


class Job(NamedTuple):
    """One job, leased to us."""

    id: int
    topic: str
    business_key: str
    merchant: str
    arguments: dict[str, Any]
    attempts: int
    lease_token: UUID
    livemode: bool | None = None  # of the event that left it; None where no event did
    event_occurred_at: datetime | None = None  # when that event says that it happened
    waited_seconds: float = 0.0  # since it was written, when it was claimed


class Done(NamedTuple):
    """The work is done; its database effects are these statements, written together with the job's end."""

    effects: Sequence[Bound] = ()


class Postponed(NamedTuple):
    """The work cannot be done yet; try again later, not before `least_seconds`."""

    reason: str
    least_seconds: float = 0.0
    effects: Sequence[Bound] = ()


class Held(NamedTuple):
    """The work was not tried, for a reason that is not its own; it comes again later, and no attempt is counted."""

    reason: str
    seconds: float
    rings: bool = False  # at once, behind what is in the queue by now; else the sweeper does when it is due


class Hopeless(NamedTuple):
    """The work can never be done as it stands; a person has to look."""

    reason: str
    effects: Sequence[Bound] = ()


Outcome = Done | Postponed | Held | Hopeless
Worker = Callable[[Job], Outcome]


def work_on(
    job_id: int,
    workers: Mapping[str, Worker],
    database: Database,
    bell: Bell,
    *,
    burial: int | None = None,
    may_be_done_twice: bool = False,
) -> str:
    """Claim one job and settle it; say what became of it: done, postponed, held, buried, lost, or nothing to do.

    Of work that may be done twice the claim does not wait for the disk, which is half of the time that a job takes.
    """
    row = _claim(database, job_id, burial, may_be_done_twice=may_be_done_twice)
    if row is None:
        return "nothing to do"
    beside = row.pop("beside")
    job = Job(**row)
    topic = TOPICS[job.topic]
    if topic.fair_share is not None and beside >= topic.fair_share:
        job = _fairer(job, topic.fair_share, workers, database, bell)
        topic = TOPICS[job.topic]
    began = time.monotonic()
    if job.attempts > topic.most_attempts:  # it kills its worker each time, so no verdict was ever written
        outcome: Outcome = Hopeless(f"its worker vanished; given up after {topic.most_attempts} attempts")
    else:
        outcome = _outcome(workers[job.topic], job)
    verdict = _settle(job, topic, outcome, database, bell)
    if verdict in METRIC_OF:
        metrics.count(METRIC_OF[verdict], topic=job.topic)
    if verdict == "done" and topic.queue == "enrichment":
        taken_seconds = job.waited_seconds + time.monotonic() - began
        metrics.measure("EnrichmentTime", taken_seconds * 1000, topic=job.topic)
    if verdict == "done" and topic.changes_payments:
        bell.ring_for_backup()
    log.info("job settled", job=job.id, topic=job.topic, outcome=verdict, attempts=job.attempts)
    return verdict


def keep_lease(job: Job, database: Database) -> bool:
    """Extend the lease of a long job; False when it is not ours any more, and the work should stop."""
    lease_seconds = TOPICS[job.topic].lease_seconds
    return bool(database.query(sql.keep, id=job.id, token=job.lease_token, lease_seconds=lease_seconds))


def _claim(database: Database, job_id: int, burial: int | None, *, may_be_done_twice: bool) -> dict[str, Any] | None:
    # The lease differs by topic, and the topic is in the row: the longest serves all, and a worker that vanishes
    # costs at most that long.
    lease_seconds = max(topic.lease_seconds for topic in TOPICS.values())
    claim = sql.claim(id=job_id, burial=burial, lease_seconds=lease_seconds)
    relaxed = [sql.claim_without_the_disk()] if may_be_done_twice else []
    rows = database.flush([*relaxed, claim])[-1].rows
    return dict(rows[0]) if rows else None


def _fairer(job: Job, share: int, workers: Mapping[str, Worker], database: Database, bell: Bell) -> Job:
    """Return the job of a merchant who has less than their share at work, in the place of this one; or this one.

    The one that gives way is rung for again: it stands behind what is in the queue by now. So a merchant with a long
    backlog, or a slow gateway, keeps others waiting for one job at most, and has all workers where nobody else waits.
    """
    topics = [name for name in workers if TOPICS[name].queue == TOPICS[job.topic].queue]
    lease_seconds = max(topic.lease_seconds for topic in TOPICS.values())
    rows = database.query(
        sql.claim_of_another, merchant=job.merchant, topics=topics, share=share, lease_seconds=lease_seconds
    )
    if not rows:
        return job
    database.query(sql.hold, id=job.id, token=job.lease_token, error=GAVE_WAY, delay_seconds="0")
    bell.ring([(job.id, job.topic)])
    metrics.count("JobsGivenWay", topic=job.topic)
    other = dict(rows[0])
    other.pop("beside")
    return Job(**other)


def _outcome(worker: Worker, job: Job) -> Outcome:
    """Let the worker work; read an error as what it says about trying again."""
    try:
        return worker(job)
    except GatehouseError as error:
        if error.retry_helps:
            return Postponed(f"{error.code}: {error}", getattr(error, "retry_after_seconds", None) or 0.0)
        return Hopeless(f"{error.code}: {error}")


def _settle(job: Job, topic: Topic, outcome: Outcome, database: Database, bell: Bell) -> str:
    if isinstance(outcome, Done):
        return _finish(job, outcome, database, bell)
    if isinstance(outcome, Held):
        kept = database.query(
            sql.hold, id=job.id, token=job.lease_token, error=outcome.reason[:500], delay_seconds=str(outcome.seconds)
        )
        if kept and outcome.rings:
            bell.ring([(job.id, job.topic)])
        return "held" if kept else "lost"
    if isinstance(outcome, Postponed) and job.attempts < topic.most_attempts:
        delay = max(backoff_seconds(topic, job.attempts), outcome.least_seconds)
        postpone = sql.postpone(id=job.id, token=job.lease_token, error=outcome.reason[:500], delay_seconds=str(delay))
        # What was tried was tried, also where the lease was lost meanwhile: so the effects stand in any case.
        return "postponed" if database.flush([*outcome.effects, postpone])[-1].rows else "lost"
    return _bury(job, outcome.reason, database, bell, outcome.effects)


def _finish(job: Job, outcome: Done, database: Database, bell: Bell) -> str:
    finish = sql.finish(id=job.id, token=job.lease_token)
    try:
        # The effects first: their locks are those that a recording takes before it writes jobs. The other way round the
        # two could wait for each other. A lost lease undoes them, wherever in the flush it shows.
        results = database.flush([*outcome.effects, finish])
    except QueryError as error:
        if error.sqlstate == LEASE_LOST:
            return "lost"
        # The database refuses what the work came to, and would refuse it again: a person has to look.
        return _bury(job, f"{error.code}: {error}", database, bell)
    # What the work has led to goes on at once; a bell that is not rung now is the sweeper's.
    if left := _jobs_left(results):
        bell.ring(left)
    return "done"


def _jobs_left(results: Sequence[Result]) -> list[tuple[int, str]]:
    """Return the jobs (id, topic) that the effects of some work have written, as their statements tell them."""
    told = [row for result in results for row in result.rows]
    lists = [row.get("jobs") or (row.get("outcome") or {}).get("jobs") or () for row in told]
    return [(job["id"], job["topic"]) for jobs in lists for job in jobs]


def _bury(job: Job, reason: str, database: Database, bell: Bell, effects: Sequence[Bound] = ()) -> str:
    bury = sql.bury(id=job.id, token=job.lease_token, error=reason[:500])
    rows = database.flush([*effects, bury])[-1].rows
    if not rows:
        return "lost"
    log.warning("job buried", job=job.id, topic=job.topic, reason=reason)
    tell_burials([Burial(**row) for row in rows], database, bell, budget_seconds=TELL_SECONDS)
    return "buried"


def tell_burials(burials: list[Burial], database: Database, bell: Bell, *, budget_seconds: float) -> int:
    """Tell the dead-letter queues of burials and note which have heard; return how many."""
    told = bell.tell_burials(burials, budget_seconds=budget_seconds)
    if told:
        heard = json.dumps([{"id": each.id, "burials": each.burials} for each in told])
        database.query(sql.burial_told, told=heard)
    return len(told)

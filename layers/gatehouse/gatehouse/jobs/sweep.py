"""Rings again for every job that is due and not done, and tells dead-letter queues what they have not heard."""

import time
from collections import Counter

from gatehouse.database.connection import Database
from gatehouse.errors import TransactionConflict
from gatehouse.jobs.bell import Bell, Burial
from gatehouse.jobs.claim import sql, tell_burials
from gatehouse.observability import log, metrics

MOST_AT_ONCE = 500
GRACE_SECONDS = 60
LEAST_SECONDS_FOR_BURIALS = 1.0
# What has waited for one app goes at an even pace until the next sweep: the events of others come in the same queue,
# behind it.
MOST_A_SECOND_OF_A_LANE = 40
SECONDS_OF_A_SWEEP = 60
MOST_OF_A_LANE = MOST_A_SECOND_OF_A_LANE * SECONDS_OF_A_SWEEP
# Of an app that has taken nothing of late a few go first. They tell whether it answers: if not, its circuit is open by
# the next sweep, and the rest neither waits for its silence nor is claimed only to be held.
FIRST_OF_A_LANE = 5
REJECTED_KEPT_DAYS = 7
MOST_REJECTED_KEPT = 10_000
ANSWERS_KEPT_HOURS = 24


def sweep(database: Database, bell: Bell, *, seconds: float, grace_seconds: int = GRACE_SECONDS) -> dict[str, int]:
    """Sweep for at most some seconds; return how many bells were rung, burials told, and payload partitions made."""
    deadline = time.monotonic() + seconds
    probes = [(row["id"], row["topic"]) for row in database.query(sql.take_probes)]
    rung = bell.ring(probes, budget_seconds=seconds) if probes else 0
    rung += _ring_again(database, bell, deadline)
    burials = database.query(sql.take_untold_burials, most=MOST_AT_ONCE, grace_seconds=grace_seconds)
    metrics.count("JobsRungAgain", rung)
    left = max(deadline - time.monotonic(), LEAST_SECONDS_FOR_BURIALS)
    told = tell_burials([Burial(**row) for row in burials], database, bell, budget_seconds=left)
    database.query(sql.forget_rejected, days=REJECTED_KEPT_DAYS, most=MOST_REJECTED_KEPT)
    database.query(sql.forget_answers, hours=ANSWERS_KEPT_HOURS)
    made = _make_partitions(database)
    for row in database.query(sql.backlog):
        metrics.measure("JobsWaiting", row["waiting"], topic=row["topic"])
        metrics.measure("JobsDead", row["dead"], topic=row["topic"])
        metrics.measure("OldestDueJob", row["oldest_seconds"], topic=row["topic"])
    log.info("swept", rung=rung, told=told, partitions_made=made)
    return {"rung": rung, "told": told, "partitions_made": made}


def _ring_again(database: Database, bell: Bell, deadline: float) -> int:
    """Ring for jobs whose bell is due; of those for one app so many as it can be told of until the next sweep."""
    shares = {row["lane"]: MOST_OF_A_LANE for row in database.query(sql.apps_that_answer)}
    in_lane = Counter[str]()
    rung = 0
    while (left := deadline - time.monotonic()) > 0:
        full = [lane for lane, jobs in in_lane.items() if jobs >= shares.get(lane, FIRST_OF_A_LANE)]
        rows = database.query(sql.take_unrung, most=MOST_AT_ONCE, full_lanes=full)
        now, delays = list[tuple[int, str]](), dict[int, int]()
        for row in rows:
            if lane := row["lane"]:
                place = in_lane[lane]
                in_lane[lane] += 1
                if place >= shares.get(lane, FIRST_OF_A_LANE):
                    continue  # taken with the others of this read: its turn comes with the next sweep
                delays[row["id"]] = place // MOST_A_SECOND_OF_A_LANE
            now.append((row["id"], row["topic"]))
        rung += bell.ring(now, budget_seconds=left, delays=delays)
        if len(rows) < MOST_AT_ONCE:
            break
    return rung


def _make_partitions(database: Database) -> int:
    """Make the payload partitions of the coming months; they have so much time that a busy table is no trouble."""
    try:
        made: int = database.query_one("select make_payload_partitions(2) as made")["made"]
    except TransactionConflict as busy:
        log.warning("payload partitions not made while somebody holds the table; tried again", reason=str(busy))
        return 0
    return made

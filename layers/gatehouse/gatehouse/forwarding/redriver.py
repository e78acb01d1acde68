"""Carries redrives out: for the redriver function, which answers a plan or how far one has come, and for jobs."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.errors import NotFound
from gatehouse.forwarding.redrive import Plan, begin, carry_on, filters_of, plan
from gatehouse.jobs.bell import Bell
from gatehouse.jobs.claim import Done, Held, Job, Outcome
from gatehouse.observability import log

DEFAULT_MERCHANT = "default"
SECONDS_AT_ONCE = 10.0  # then the deliveries of others have their turn
SECONDS_OF_THE_ILL = 60.0
NOT_FILTERS = ("merchant", "actor", "dry_run", "resume")


def answer(event: Mapping[str, Any], database: Database, bell: Bell, is_time_up: Callable[[], bool]) -> dict[str, Any]:
    """Plan or redrive as the event says; `is_done` false asks for another invocation with {"resume": redrive}."""
    redrive = event.get("resume")
    if redrive is None:
        merchant = str(event.get("merchant", DEFAULT_MERCHANT))
        filters = filters_of({name: value for name, value in event.items() if name not in NOT_FILTERS})
        found = plan(database, merchant, filters)
        if event.get("dry_run") or not found.deliveries:
            return {"redrive": None, "is_done": True, **_words(found)}
        actor = f"{event.get('actor', 'somebody')} (redriver function)"
        redrive = begin(database, merchant, filters, actor, found.deliveries)
    progress = None
    for progress in carry_on(database, bell, int(redrive), is_time_up=is_time_up):  # noqa: B007 - the last one counts
        pass
    if progress is None:
        raise NotFound(f"there is no redrive {redrive}")
    log.info("redrive", **progress._asdict())
    return progress._asdict()


def take_a_turn(job: Job, database: Database, bell: Bell, *, seconds: float = SECONDS_AT_ONCE) -> Outcome:
    """Take up deliveries of the job's redrive for a while; what is left goes on in the next turn."""
    ends_at = time.monotonic() + seconds
    for progress in carry_on(
        database, bell, int(job.arguments["redrive"]), is_time_up=lambda: time.monotonic() >= ends_at
    ):
        log.info("redrive", **progress._asdict())
        if progress.is_done:
            return Done()
        if progress.is_ill:
            return Held("an app that it is for does not answer", SECONDS_OF_THE_ILL)
    return Held("goes on", 0.0, rings=True)


def _words(found: Plan) -> dict[str, Any]:
    return {"planned": found.deliveries, "money_minor": found.money, "would_do_nothing": found.hindered}

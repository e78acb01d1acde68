"""Gives past payments of a product its new category, step by step; rung for by the enrichment queue."""

import time
from collections.abc import Callable

from gatehouse.database.connection import Database
from gatehouse.intake.refold import wait_for_recordings
from gatehouse.jobs.claim import Done, Held, Hopeless, Job, Outcome
from gatehouse.models.apps import accounts_of
from gatehouse.models.products import step_reclassification

SECONDS_AT_ONCE = 20.0  # then others have their turn


def reclassify(job: Job, database: Database, *, clock: Callable[[], float] = time.monotonic) -> Outcome:
    """Take steps until all is done or the time is up; what is left is taken up where it stopped."""
    began = clock()
    reclassification = int(job.arguments["reclassification"])
    # A recording that began before the change may still put down a payment with the category of before.
    wait_for_recordings(database, accounts_of(database, job.merchant))
    while True:
        step = step_reclassification(database, reclassification)
        if step["merchant"] is None:
            return Hopeless("there is no such reclassification")
        if step["finished_at"] is not None:
            return Done()
        if clock() - began > SECONDS_AT_ONCE:
            return Held("goes on", 1.0)

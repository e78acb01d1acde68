"""Which worker does the jobs of the reconciliation queue, and what its schedule starts."""

from collections.abc import Mapping
from datetime import UTC, datetime

from gatehouse.database.connection import database
from gatehouse.enrichment.workers import is_live, is_switched_on, work_with_client
from gatehouse.gateways import LISTING
from gatehouse.jobs.bell import bell
from gatehouse.jobs.claim import Done, Job, Outcome, Worker
from gatehouse.observability import log
from gatehouse.reconciliation.compare import compare_day
from gatehouse.reconciliation.plan import Wanted, plan
from gatehouse.settings import settings

RING_SECONDS = 20.0


def workers() -> Mapping[str, Worker]:
    """Return the worker of each topic."""
    return {"reconcile": _reconcile}


def plan_what_is_due() -> dict[str, int]:
    """Plan the days that are due, ring for them, and say how many there are."""
    chosen = settings()
    wanted = Wanted(
        days=chosen.reconcile_days,
        every_hours=chosen.reconcile_every_hours,
        defaults=[gateway for gateway in LISTING if getattr(chosen, f"{gateway}_secret_arn")],
    )
    planned = plan(database(), wanted, now=datetime.now(UTC))
    rung = bell().ring(planned, budget_seconds=RING_SECONDS)
    log.info("reconciliation planned", planned=len(planned), rung=rung)
    return {"planned": len(planned), "rung": rung}


def _reconcile(job: Job) -> Outcome:
    gateway, account = str(job.arguments.get("gateway")), str(job.arguments.get("account"))
    if not is_switched_on(gateway, account):
        return Done()
    livemode = is_live(gateway, account)
    return work_with_client(job, lambda client: compare_day(job, client, database(), livemode=livemode))

"""Rings again, once a minute, for every job that is due and not done, and notes what time alone brings.

That is: what the settings say of apps, renewals of memberships that did not come, and reads of health data that are
older than their notes are kept.
"""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.forwarding.app_rows import keep_environment_url
from gatehouse.jobs.bell import bell
from gatehouse.jobs.sweep import sweep
from gatehouse.models.memberships import drop_old_reads, note_missed_renewals
from gatehouse.observability import log, metrics
from gatehouse.settings import settings

SECONDS_TO_STOP_IN = 5  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ARG001 - the schedule says nothing
    """Sweep until all is rung, or this invocation's time is nearly up."""
    log.bind(request_id=context.aws_request_id)
    try:
        seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        keep_environment_url(database(), settings().elevenone_webhook_url)
        swept = sweep(database(), bell(), seconds=seconds)
        # Last: bells must not wait for them. How many there are tells nothing of anybody.
        missed = note_missed_renewals(database(), grace_days=settings().membership_grace_days)
        dropped = drop_old_reads(database(), days=settings().health_read_retention_days)
        if missed or dropped:
            log.info("memberships swept", renewals_missed=missed, reads_dropped=dropped)
        return swept
    finally:
        metrics.emit()

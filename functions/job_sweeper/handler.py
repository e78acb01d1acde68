"""Rings again, once a minute, for every job that is due and not done, and does what is due by the day.

It notes what the settings say of apps, and erases the customers whose day of retention has passed.
"""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.forwarding.app_rows import keep_environment_url
from gatehouse.jobs.bell import bell
from gatehouse.jobs.sweep import sweep
from gatehouse.models.privacy import erase_past_retention
from gatehouse.observability import log, metrics
from gatehouse.settings import settings

SECONDS_FOR_ERASING = 15
SECONDS_TO_STOP_IN = 5  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ARG001 - the schedule says nothing
    """Sweep until all is rung, or this invocation's time is nearly up."""
    log.bind(request_id=context.aws_request_id)
    try:
        seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        keep_environment_url(database(), settings().elevenone_webhook_url)
        swept = sweep(database(), bell(), seconds=seconds)
        left = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        erased = erase_past_retention(database(), seconds=min(left, SECONDS_FOR_ERASING))
        if erased:
            log.info("erased past retention", customers=erased)
        return {**swept, "erased": len(erased)}
    finally:
        metrics.emit()

"""Counts, once a minute, what recordings have marked for the reports; and once a night recounts all of it."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.observability import log, metrics
from gatehouse.reports.keep import count, recount

SECONDS_TO_STOP_IN = 10  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do what the schedule says: {"work": "recount"}, or count."""
    log.bind(request_id=context.aws_request_id)
    try:
        seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        if event.get("work") == "recount":
            return recount(database(), seconds=seconds)
        return count(database(), seconds=min(seconds, 45))
    finally:
        metrics.emit()

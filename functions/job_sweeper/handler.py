"""Rings again, once a minute, for every job that is due and not done."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.jobs.bell import bell
from gatehouse.jobs.sweep import sweep
from gatehouse.observability import log, metrics

SECONDS_TO_STOP_IN = 5  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, int]:  # noqa: ARG001 - the schedule says nothing
    """Sweep until all is rung, or this invocation's time is nearly up."""
    log.bind(request_id=context.aws_request_id)
    try:
        seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        return sweep(database(), bell(), seconds=seconds)
    finally:
        metrics.emit()

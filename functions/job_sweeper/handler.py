"""Rings again, once a minute, for every job that is due and not done; emits the figures that alarms watch."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.forwarding.app_rows import keep_environment_url
from gatehouse.jobs.bell import bell
from gatehouse.jobs.sweep import sweep
from gatehouse.models.vitals import emit_vitals
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
        emit_vitals(database())
        return swept
    finally:
        metrics.emit()

"""Forwards again what was given up, as `gatehouse redrive` does; invoked by hand.

{"app": "elevenone", "error": "HTTP_500", "since": "2026-05-15T10:00:00+00:00", "gateway": "paystack", "limit": 100,
 "merchant": "default", "actor": "jane", "replay": false, "dry_run": true}   or   {"resume": 7}
"""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.forwarding.redriver import answer
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics

SECONDS_TO_STOP_IN = 10  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Say what would be sent again, or send it for as long as this invocation lasts."""
    log.bind(request_id=context.aws_request_id)
    try:
        return answer(
            event, database(), bell(), lambda: context.get_remaining_time_in_millis() < SECONDS_TO_STOP_IN * 1000
        )
    finally:
        metrics.emit()

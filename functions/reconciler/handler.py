"""Compares what gateways list with what is recorded: the schedule plans, the queue rings for each account and day."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics
from gatehouse.reconciliation.workers import plan_what_is_due, workers


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Plan what is due, or work on the job that each message of the batch rings for."""
    log.bind(request_id=context.aws_request_id)
    try:
        if "Records" not in event:
            return dict(plan_what_is_due())
        return work_through(event, context, workers(), database(), bell())
    finally:
        metrics.emit()

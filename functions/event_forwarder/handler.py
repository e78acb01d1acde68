"""Forwards verified events to the merchants' apps; rung for by the forwarding queue."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.forwarding.worker import THREADS, workers
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Deliver what each message of the batch rings for, all at once."""
    log.bind(request_id=context.aws_request_id)
    try:
        return work_through(event, context, workers(), database(), bell(), threads=THREADS, may_be_done_twice=True)
    finally:
        metrics.emit()

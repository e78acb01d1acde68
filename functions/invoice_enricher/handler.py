"""Asks a gateway's API for what its events leave out; rung for by the enrichment queue."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.enrichment.workers import THREADS, workers
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Work on the job that each message of the batch rings for, several at once."""
    log.bind(request_id=context.aws_request_id)
    try:
        return work_through(event, context, workers(), database(), bell(), threads=THREADS)
    finally:
        metrics.emit()

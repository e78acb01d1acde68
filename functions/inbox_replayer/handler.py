"""Records the requests that waited in the inbox queue while Postgres was away."""

from typing import Any

from gatehouse.intake.receive import process_desk
from gatehouse.intake.replay import replay
from gatehouse.observability import log, metrics


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Record each message of a batch of the inbox queue."""
    log.bind(request_id=context.aws_request_id)
    try:
        return replay(event, process_desk())
    finally:
        metrics.emit()

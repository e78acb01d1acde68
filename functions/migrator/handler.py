"""Migrates a database; invoked by whoever deploys, before new code gets traffic.

{"command": "status" | "up" | "down" | "verify", "database": "primary" | "backup", "to": 7, "dry_run": true}
"""

from typing import Any

from gatehouse.migrations.request import answer
from gatehouse.observability import log


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Do what the event says; an error fails the invocation, so that a deployment stops there."""
    log.bind(request_id=context.aws_request_id)
    return answer(event, tell=log.info)

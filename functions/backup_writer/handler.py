"""Writes every payment into the backup database; rung for by its queue, and once a minute."""

from typing import Any

from gatehouse.backup.connection import backup_or_none
from gatehouse.backup.tend import tend
from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import database
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics

SECONDS_TO_STOP_IN = 10  # before Lambda would stop us in the middle


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Bring over what is due; each minute look after the rest; at night, {"do": "compare"}."""
    log.bind(request_id=context.aws_request_id)
    try:
        backup = backup_or_none()
        if backup is None:
            return {"batchItemFailures": [], "off": True}
        seconds = context.get_remaining_time_in_millis() / 1000 - SECONDS_TO_STOP_IN
        return tend(event, database(), backup, process_keyring(), bell(), seconds=seconds)
    finally:
        metrics.emit()

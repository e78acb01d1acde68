"""Makes and removes tenants' databases; rung for by the tenants queue. By schedule it measures their storage."""

from typing import Any

from gatehouse.data_keys import process_keyring
from gatehouse.database.connection import database
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import bell
from gatehouse.observability import log, metrics
from gatehouse.tenants import factory
from gatehouse.tenants.worker import Workshop, measure, workers


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Work on the job that each message rings for; without messages it is the schedule that calls."""
    log.bind(request_id=context.aws_request_id)
    shop = Workshop(database(), process_keyring, factory.engine, factory.safety())
    try:
        if "Records" not in event:
            return {"measured": measure(shop, factory.configured())}
        return work_through(event, context, workers(shop), database(), bell())
    finally:
        metrics.emit()

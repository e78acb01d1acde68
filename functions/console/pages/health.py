"""Health: what needs a look, the queues, the jobs, the gateways, the database and where its time goes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from console.desk import desk_of
from console.views import fragment, page
from console.visitors import Operator
from gatehouse.database import health
from gatehouse.errors import AwsError
from gatehouse.jobs.depths import Depth
from gatehouse.models.standing import concerns_of, standing

NAVIGATION = (("Health", "ops", "health"),)

MOST_ROWS = 15

router = APIRouter()


@router.get("/console/ops/health")
async def show(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show how everything stands at this moment."""
    desk = desk_of(request)
    database = desk.ops_database()
    found = standing(database)
    depths: list[Depth] = []
    queues_are_away = ""
    try:
        depths = desk.depths()
    except AwsError as away:
        queues_are_away = away.code
    context: dict[str, Any] = {
        "found": found,
        "depths": depths,
        "queues_are_away": queues_are_away,
        "concerns": [*found.concerns, *concerns_of(depths)],
    }
    if "live" in request.query_params:
        return fragment(request, "health_now.html", **context)
    return page(
        request,
        "health.html",
        "Health",
        **context,
        performance=health.performance(database, most=MOST_ROWS),
        read_whole=health.read_whole(database, most=MOST_ROWS),
        dead=health.dead_rows(database),
    )

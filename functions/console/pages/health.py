"""Health: what needs a look, the queues, the jobs, the gateways, the database and where its time goes."""

from typing import Any

from fastapi import APIRouter, Request, Response

from console.desk import ConsoleDesk, desk_of
from console.views import fragment, page
from console.visitors import Operator
from gatehouse.database import health
from gatehouse.errors import AwsError, ConnectionError, TimeoutError
from gatehouse.jobs.depths import Depth
from gatehouse.models.standing import concerns_of, standing

NAVIGATION = (("Health", "ops", "health"),)

MOST_ROWS = 15
AWAY_STATUS = 503

router = APIRouter()


@router.get("/console/ops/health")
async def show(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show how everything stands at this moment; of what does not answer it says so."""
    desk = desk_of(request)
    database, is_live = desk.ops_database(), "live" in request.query_params
    depths, queues_are_away = _depths(desk)
    context: dict[str, Any] = {"depths": depths, "queues_are_away": queues_are_away, "away": ""}
    try:
        found = standing(database, times_of_apps=False)
        context |= {"found": found, "concerns": [*found.concerns, *concerns_of(depths)]}
        if is_live:
            return fragment(request, "health_now.html", **context)
        context |= {
            "performance": health.performance(database, most=MOST_ROWS),
            "read_whole": health.read_whole(database, most=MOST_ROWS),
            "dead": health.dead_rows(database),
        }
    except (ConnectionError, TimeoutError) as away:
        context |= {"away": away.code, "concerns": concerns_of(depths), "has_backup": desk.backup() is not None}
        if is_live:  # 200: the script shows it in the place of what was there
            return fragment(request, "health_now.html", **context)
    return page(request, "health.html", "Health", status=AWAY_STATUS if context["away"] else 200, **context)


def _depths(desk: ConsoleDesk) -> tuple[list[Depth], str]:
    """Return how full the queues are, and why SQS did not say where it does not."""
    try:
        return desk.depths(), ""
    except AwsError as away:
        return [], away.code

"""Sync: both databases, how far the second one is behind, whether they differ, and putting that right; for operators.

Only backup_writer may write the second database, or read all of it. The console asks it for a comparison by its queue
and looks at what it then notes; there is no second way to write a backup.
"""

from datetime import UTC, datetime
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from console.desk import desk_of
from console.forms import query_of
from console.views import fragment, go, page, with_query
from console.visitors import Changing, Operator
from gatehouse.backup.standing import MOST_REFUSED_SHOWN, standing
from gatehouse.backup.writer import MANY_REFUSALS, primary_sql
from gatehouse.errors import Conflict
from gatehouse.models.admin_changes import note_deed

NAVIGATION = (("Sync", "ops", "sync"),)

PATH = "/console/ops/sync"
PATIENCE_SECONDS = 300  # then the page says that no comparison came

router = APIRouter()


class Asked(BaseModel):
    """What the address says: since when a comparison is waited for."""

    model_config = ConfigDict(extra="ignore")

    since: datetime | None = None
    live: Literal["1"] | None = None


@router.get(PATH)
async def show(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show how both databases stand at this moment."""
    asked = query_of(request, Asked)
    desk = desk_of(request)
    database = desk.ops_database()
    found = standing(database, desk.backup())
    refused: list[dict[str, Any]] = []
    if found.refused and found.primary == "ok":
        refused = database.query(primary_sql.refused, many=MANY_REFUSALS, most=MOST_REFUSED_SHOWN)
    context: dict[str, Any] = {"found": found, "refused": refused, **_waiting(asked.since, found.compared_at)}
    if asked.live:
        return fragment(request, "sync_now.html", **context)
    live = with_query(PATH, {"live": "1", "since": _plain(asked.since)})
    return page(request, "sync.html", "Sync", path=PATH, live=live, **context)


@router.get(f"{PATH}/compare")
async def ask_compare(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - as above
    """Say what comparing and repairing does."""
    return page(request, "sync_compare.html", "Compare and repair", path=PATH)


@router.post(f"{PATH}/compare")
async def compare(request: Request, visitor: Operator, form: Changing) -> Response:  # noqa: ARG001 - the form was checked
    """Ask backup_writer to compare both databases, and to bring over what differs."""
    desk = desk_of(request)
    found = standing(desk.ops_database(), desk.backup())
    if found.backup == "off" or not found.is_on:
        raise Conflict("There is no second database, or it is switched off.")
    asked_at = datetime.now(UTC)
    desk.bell().ask_for_comparison()
    note_deed(desk.ops_database(), visitor.actor, None, "databases compared", "backup")
    return go(request, with_query(PATH, {"since": _plain(asked_at)}), "Both databases are being compared.")


def _waiting(since: datetime | None, compared_at: datetime | None) -> dict[str, bool]:
    """Tell whether a comparison is waited for, and whether that has gone on for too long."""
    if since is None:
        return {"is_waiting": False, "is_late": False}
    asked_at = since if since.tzinfo else since.replace(tzinfo=UTC)
    is_open = compared_at is None or compared_at < asked_at
    is_late = is_open and (datetime.now(UTC) - asked_at).total_seconds() > PATIENCE_SECONDS
    return {"is_waiting": is_open and not is_late, "is_late": is_late}


def _plain(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None

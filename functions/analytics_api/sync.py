"""How the backup database stands: what it lacks, since when, and what it refuses."""

from datetime import datetime

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gatehouse.backup.standing import standing
from gatehouse.http_api.callers import Operator, desk_of


class SyncStatus(BaseModel):
    """How the two databases stand to each other; null is what the one that answers does not know."""

    is_well: bool = Field(description="Both answer, and nothing is refused, divergent or still to be filled.")
    primary: str = Field(description="`ok`, or the code of the error.")
    backup: str = Field(description="`ok`, `off` where there is none, or the code of the error.")
    is_on: bool | None = Field(description="Whether changes are noted for the backup.")
    backlog: int | None = Field(description="Payments that the backup has yet to be told of.")
    lag_seconds: int | None = Field(description="How long the oldest of them has waited.")
    refused: int | None = Field(description="Payments that the backup keeps refusing.")
    as_of: datetime | None = Field(description="Until when the backup knows everything.")
    last_write_at: datetime | None
    last_error: str | None
    last_error_at: datetime | None
    compared_at: datetime | None = Field(description="When the two were last compared by content.")
    divergent: int | None = Field(description="How many payments differed then.")
    filled_after: int | None = Field(description="Up to which payment a fill has come.")
    fill_ended_at: datetime | None = Field(description="When the backup had become whole.")


router = APIRouter(prefix="/sync", tags=["sync"])


@router.get("/status")
async def show_sync_status(request: Request, caller: Operator) -> SyncStatus:  # noqa: ARG001 - being one is enough
    """Show lag, backlog, divergence and the last error of the backup database; answers while either is away."""
    desk = desk_of(request)
    found = standing(desk.database(), desk.backup())
    return SyncStatus(is_well=found.is_well, **found._asdict())

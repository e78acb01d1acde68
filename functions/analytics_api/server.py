"""How the database server is, and where its time and space go: for those who look after Gatehouse."""

from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from gatehouse.database import health
from gatehouse.http_api.callers import Operator, desk_of

type Rows = list[dict[str, Any]]
Most = Annotated[int, Query(ge=1, le=500, description="How many rows of each kind.")]

NOT_COUNTED = "the server does not count: pg_stat_statements is not installed in this database, or not loaded"


class SlowStatements(BaseModel):
    """Statements that take long, now and in all."""

    slow_now: Rows = Field(description="Running for longer than asked.")
    slow_on_average: Rows | None = Field(description="Those that took the most time in all; null where nobody counts.")
    note: str | None = Field(description="Why nobody counts.")


class IndexUse(BaseModel):
    """How indexes are used, and where one may be missing."""

    index_use: Rows = Field(description="How often each is used, the least first.")
    read_whole: Rows = Field(description="Tables that are read whole again and again.")
    keys_without_index: Rows = Field(description="Foreign keys that no index helps.")


router = APIRouter(prefix="/server", tags=["server"])


@router.get("/health")
async def show_health(request: Request, caller: Operator) -> dict[str, Any]:  # noqa: ARG001 - being one is enough
    """Show connections, the oldest transaction, cache hits, size and dead rows."""
    database = desk_of(request).database()
    found = health.check(database)
    del found["this_process"]
    return _plain(found | health.dead_rows(database))


@router.get("/slow")
async def show_slow(
    request: Request,
    caller: Operator,  # noqa: ARG001 - as above
    seconds: Annotated[int, Query(ge=0, le=3600, description="Running for longer than this.")] = 1,
    most: Most = 20,
) -> SlowStatements:
    """Show statements that are slow now, and those that took the most time in all where the server counts them."""
    found = health.performance(desk_of(request).database(), most=most, slow_seconds=seconds)
    in_all = found.get("slow_on_average")
    return SlowStatements(
        slow_now=_rows(found["slow_now"]),
        slow_on_average=None if in_all is None else _rows(in_all),
        note=NOT_COUNTED if in_all is None else None,
    )


@router.get("/indexes")
async def show_indexes(request: Request, caller: Operator, most: Most = 50) -> IndexUse:  # noqa: ARG001 - as above
    """Show how often each index is used, the idle ones first, and where one may be missing."""
    database = desk_of(request).database()
    used = health.performance(database, most=most)["index_use"]
    return IndexUse(
        index_use=_rows(used),
        read_whole=_rows(health.read_whole(database, most=most)),
        keys_without_index=_rows(health.keys_without_index(database, most=most)),
    )


@router.get("/sizes")
async def show_sizes(request: Request, caller: Operator, most: Most = 50) -> Rows:  # noqa: ARG001 - as above
    """Show the largest tables with their indexes, live and dead rows."""
    return _rows(health.performance(desk_of(request).database(), most=most)["table_sizes"])


def _rows(rows: list[Any]) -> Rows:
    return [_plain(row) for row in rows]


def _plain(row: Any) -> dict[str, Any]:
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}

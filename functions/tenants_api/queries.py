"""SQL on a tenant's database over HTTP."""

import math
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gatehouse.errors import InputRefused
from gatehouse.http_api.application import MISSING
from gatehouse.http_api.problems import Problem
from gatehouse.observability import metrics
from gatehouse.tenants import records
from gatehouse.tenants.guard import MOST_CHARACTERS
from gatehouse.tenants.run import MOST_ROWS, MOST_ROWS_ASKED, MOST_STATEMENTS, Query, answer_text, run
from tenants_api.desk import Asking, desk_of
from tenants_api.tenants import TenantId

ANSWER_SECONDS = 26.0  # API Gateway hangs up after 30
LAMBDA_MARGIN_SECONDS = 2.0

type Text = Annotated[str, StringConstraints(min_length=1, max_length=MOST_CHARACTERS)]


class OneStatement(BaseModel):
    """A statement with its parameters, `$1`, `$2` and so on."""

    model_config = ConfigDict(extra="forbid")

    query: Text
    params: list[Any] = Field(default_factory=list, max_length=1000)


class Statements(BaseModel):
    """One statement, or several in one transaction."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    query: Text | None = None
    params: list[Any] = Field(default_factory=list, max_length=1000)
    queries: list[OneStatement] | None = Field(None, min_length=1, max_length=MOST_STATEMENTS)
    branch: Annotated[str, StringConstraints(max_length=60)] | None = None
    max_rows: Annotated[int, Field(strict=True, ge=1, le=MOST_ROWS_ASKED)] = Field(MOST_ROWS, alias="maxRows")
    timeout_ms: Annotated[int, Field(strict=True, ge=50, le=25_000)] | None = Field(None, alias="timeoutMs")
    claims: dict[str, Any] | None = Field(
        None, description="For an owner or admin: ask as one of the database's users, to whom its policies apply."
    )


class Column(BaseModel):
    """One column of a result."""

    name: str
    type: str


class QueryAnswer(BaseModel):
    """What one statement gave; of an array, `results` holds one of these for each."""

    success: Literal[True] = True
    data: list[dict[str, Any]] | None = None
    rowCount: int | None = None
    columns: list[Column] | None = None
    truncated: bool | None = Field(None, description="There are more rows than were given.")
    results: list[dict[str, Any]] | None = None
    executionTime: float = Field(description="Milliseconds.")


REFUSALS: dict[int | str, dict[str, Any]] = {
    **MISSING,
    400: {"description": "The database refused it: `sqlstate` and `position` say what and where.", "model": Problem},
    409: {"description": "The database is still being made.", "model": Problem},
    410: {"description": "The tenant was deleted.", "model": Problem},
    423: {"description": "The tenant is suspended.", "model": Problem},
}

router = APIRouter(prefix="/v1/tenants", tags=["queries"])


@router.post("/{tenant_id}/query", response_model=QueryAnswer, responses=REFUSALS)
async def run_query(request: Request, asking: Asking, tenant_id: TenantId, wanted: Statements) -> Response:
    """Run a statement, or several in one transaction, with the rights that the caller's role has in the database."""
    desk = desk_of(request)
    queries = _queries(wanted)
    entered = records.enter(desk.database(), asking.who, tenant_id, is_query=True)
    if wanted.claims is not None:
        entered.needs("admin")
    place = records.place_of(desk.database(), asking.who, desk.keyring(), entered.row, wanted.branch)
    ran = run(
        desk.links(),
        place,
        entered.role,
        queries,
        claims=asking.claims if wanted.claims is None else wanted.claims,
        is_full=entered.is_full,
        seconds_left=min(ANSWER_SECONDS, _seconds_left(request)),
        statement_milliseconds=min(desk.statement_milliseconds, wanted.timeout_ms or desk.statement_milliseconds),
        most_rows=wanted.max_rows,
        acts_as_user=wanted.claims is not None,
    )
    records.add_usage(
        desk.database(), asking.who, tenant_id, rows=ran.rows, size=ran.bytes, milliseconds=ran.milliseconds
    )
    metrics.count("TenantQueries", len(queries))
    metrics.measure("TenantQueryTime", ran.milliseconds)
    return Response(answer_text(ran, is_array=wanted.queries is not None), media_type="application/json")


def _queries(wanted: Statements) -> list[Query]:
    if (wanted.query is None) == (wanted.queries is None):
        raise InputRefused("Give `query`, or `queries` for several.", field="query", place="body")
    if wanted.queries is not None:
        return [Query(each.query, _finite(each.params)) for each in wanted.queries]
    return [Query(wanted.query or "", _finite(wanted.params))]


def _finite(params: list[Any]) -> list[Any]:
    for each in params:
        if isinstance(each, float) and not math.isfinite(each):
            raise InputRefused("JSON has no such number: give it as text.", field="params", place="body")
        if isinstance(each, str) and "\0" in each:
            raise InputRefused("Postgres holds no zero character.", field="params", place="body")
    return params


def _seconds_left(request: Request) -> float:
    """Return how long Lambda lets us go on."""
    context = request.scope.get("aws.context")
    if context is None or not hasattr(context, "get_remaining_time_in_millis"):
        return ANSWER_SECONDS
    return float(context.get_remaining_time_in_millis()) / 1000 - LAMBDA_MARGIN_SECONDS

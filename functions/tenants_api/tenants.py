"""Tenants: created, listed, read, changed, suspended, resumed, deleted; and what they use."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from gatehouse.errors import InputRefused
from gatehouse.http_api.application import CHANGE, MISSING
from gatehouse.http_api.fields import Day, Word
from gatehouse.http_api.pages import Filters, after_pair, page_cursor
from gatehouse.http_api.repetition import IdempotencyKey, request_hash
from gatehouse.tenants import records
from gatehouse.tenants.records import MEGABYTE, NewTenant, Row
from tenants_api.desk import Asking, desk_of, needs_creating

MOST_DAYS = 366

type Plan = Literal["free", "pro", "team", "enterprise"]
type EngineName = Literal["plain", "neon", "digitalocean"]
type Status = Literal["creating", "active", "suspended", "deleted"]
TenantId = Annotated[str, Path(description="The tenant's id.", max_length=60)]
Email = Annotated[str, StringConstraints(min_length=3, max_length=254, pattern=r"^[^\s@]+@[^\s@]+$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]


class WantedTenant(BaseModel):
    """A tenant to be made."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Name
    plan_type: Plan = Field("free", alias="planType")
    engine: EngineName | None = Field(
        None, description="Where; when not given, that of the plan, or of the deployment."
    )
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    organization_id: Word | None = Field(None, alias="organizationId")
    billing_email: Email | None = Field(None, alias="billingEmail")


class TenantChange(BaseModel):
    """What is to be different."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    name: Name | None = None
    plan_type: Plan | None = Field(None, alias="planType")
    organization_id: Word | None = Field(None, alias="organizationId")
    billing_email: Email | None = Field(None, alias="billingEmail")


class Limits(BaseModel):
    """What the plan allows."""

    max_databases: int = Field(description="Its own and its branches.")
    max_storage_mb: int
    max_requests_per_minute: int
    max_requests_per_hour: int
    max_requests_per_day: int


class Tenant(BaseModel):
    """One tenant. Where its database is and how one gets in is told to nobody."""

    id: str
    name: str
    status: Status
    status_reason: str | None
    plan_type: Plan
    engine: EngineName
    region: str | None
    organization_id: str | None
    billing_email: str | None
    role: str | None = Field(None, description="The caller's.")
    limits: Limits
    storage_bytes: int | None = Field(description="As last measured.")
    is_read_only: bool = Field(description="The storage of the plan is used up.")
    created_by: str
    created_at: datetime
    updated_at: datetime
    delete_after: datetime | None = Field(description="Of a deleted one: until then it can be resumed.")


class TenantAnswer(BaseModel):
    """One tenant."""

    success: Literal[True] = True
    data: Tenant


class TenantsAnswer(BaseModel):
    """Some of the tenants, newest first."""

    success: Literal[True] = True
    data: list[Tenant]
    next_cursor: str | None = None


class TenantFilters(Filters):
    """Which tenants are wanted."""

    status: Status | None = None


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")

    reason: Word | None = None


class UsageDay(BaseModel):
    """What a tenant used in one day (UTC)."""

    date: date
    api_requests: int
    query_executions: int
    rows_returned: int
    bytes_returned: int
    milliseconds: int = Field(description="Time that statements took.")
    storage_used_mb: float | None = Field(description="The most that was measured.")
    bandwidth_used_mb: float


class UsageAnswer(BaseModel):
    """What a tenant used, by day, and what its plan allows."""

    success: Literal[True] = True
    data: list[UsageDay]
    limits: Limits


router = APIRouter(prefix="/v1/tenants", tags=["tenants"])


@router.post("", status_code=202, response_model=TenantAnswer, responses=CHANGE)
async def create_tenant(request: Request, asking: Asking, tenant: WantedTenant, key: IdempotencyKey = None) -> Response:
    """Ask for a tenant. It is `creating` at first and `active` within seconds: read it until then."""
    needs_creating(asking)
    desk = desk_of(request)
    wanted = NewTenant(
        tenant.name,
        tenant.plan_type,
        desk.engine_for(tenant.plan_type, tenant.engine),
        tenant.region,
        tenant.organization_id,
        tenant.billing_email,
    )
    asked = request_hash(request, await request.body()) if key else None
    row, jobs = records.create(desk.database(), asking.who, wanted, idempotency_key=key, asked=asked)
    if jobs:
        desk.bell().ring(jobs)
    body = TenantAnswer(data=shown(row, "owner")).model_dump(mode="json")
    return JSONResponse(body, 202, {"location": f"/api/v1/tenants/{row['id']}", "retry-after": "1"})


@router.get("")
async def list_tenants(request: Request, asking: Asking, filters: Annotated[TenantFilters, Query()]) -> TenantsAnswer:
    """List the tenants on which the caller has a role, newest first."""
    rows = records.list_tenants(
        desk_of(request).database(),
        asking.who,
        status=filters.status,
        after=after_pair(filters),
        most=filters.limit + 1,
    )
    found = [shown(row, row["role"]) for row in rows[: filters.limit]]
    last = rows[filters.limit - 1] if len(rows) > filters.limit else None
    cursor = page_cursor((last["created_at"].isoformat(), last["id"]), filters) if last else None
    return TenantsAnswer(data=found, next_cursor=cursor)


@router.get("/{tenant_id}", responses=MISSING)
async def show_tenant(request: Request, asking: Asking, tenant_id: TenantId) -> TenantAnswer:
    """Show one tenant."""
    entered = records.enter(desk_of(request).database(), asking.who, tenant_id)
    return TenantAnswer(data=shown(entered.row, entered.role))


@router.patch("/{tenant_id}", responses=CHANGE)
async def change_tenant(request: Request, asking: Asking, tenant_id: TenantId, change: TenantChange) -> TenantAnswer:
    """Change name, billing or organisation (an admin), or the plan (an owner)."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id).needs("owner" if change.plan_type else "admin")
    row = records.change(database, asking.who, tenant_id, **change.model_dump(exclude_none=True))
    return TenantAnswer(data=shown(row, entered.role))


@router.post("/{tenant_id}/suspend", responses=CHANGE)
async def suspend_tenant(
    request: Request, asking: Asking, tenant_id: TenantId, why: Reason | None = None
) -> TenantAnswer:
    """Close the tenant's database to all queries."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id).needs("owner")
    row = records.suspend(database, asking.who, tenant_id, why.reason if why else None)
    return TenantAnswer(data=shown(row, entered.role))


@router.post("/{tenant_id}/resume", responses=CHANGE)
async def resume_tenant(request: Request, asking: Asking, tenant_id: TenantId) -> TenantAnswer:
    """Open it again; also a deleted one in its days of grace."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id).needs("owner")
    row = records.resume(database, asking.who, tenant_id)
    return TenantAnswer(data=shown(row, entered.role))


@router.delete("/{tenant_id}", status_code=202, responses=CHANGE)
async def delete_tenant(
    request: Request,
    asking: Asking,
    tenant_id: TenantId,
    confirm: Annotated[
        str, Header(alias="Confirm-Name", max_length=300, description="The tenant's name, so that no other one goes.")
    ],
    at_once: Annotated[bool, Query(description="Without days of grace.")] = False,
) -> TenantAnswer:
    """Close a tenant at once, and remove its database after some days of grace."""
    desk = desk_of(request)
    entered = records.enter(desk.database(), asking.who, tenant_id).needs("owner")
    if confirm != entered.row["name"]:
        raise InputRefused("It is not the name of this tenant.", field="Confirm-Name", place="header")
    days = 0 if at_once else desk.grace_days
    row, jobs = records.delete(desk.database(), asking.who, tenant_id, grace_days=days)
    desk.links().forget(tenant_id)
    if jobs:
        desk.bell().ring(jobs)
    return TenantAnswer(data=shown(row, entered.role))


@router.get("/{tenant_id}/usage", responses=MISSING)
async def show_usage(
    request: Request,
    asking: Asking,
    tenant_id: TenantId,
    since: Annotated[Day | None, Query(description="From this day on; 30 days ago when not given.")] = None,
    until: Annotated[Day | None, Query(description="To this day.")] = None,
) -> UsageAnswer:
    """Show what a tenant used, by day, the newest first."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id)
    last = until or datetime.now(UTC).date()
    first = since or last - timedelta(days=30)
    if not 0 <= (last - first).days <= MOST_DAYS:
        raise InputRefused(f"It must lie before `until`, by at most {MOST_DAYS} days.", field="since", place="query")
    days = records.usage(database, asking.who, tenant_id, first, last)
    return UsageAnswer(data=[UsageDay.model_validate(_day(each)) for each in days], limits=_limits(entered.row))


def shown(row: Row, role: str | None = None) -> Tenant:
    """Return a tenant as the API shows it."""
    full = (row["storage_bytes"] or 0) > row["max_storage_mb"] * MEGABYTE
    return Tenant.model_validate({**row, "role": role, "limits": _limits(row), "is_read_only": full})


def _limits(row: Row) -> Limits:
    return Limits.model_validate({name: row[name] for name in Limits.model_fields})


def _day(row: Row) -> dict[str, Any]:
    numbers = {
        name: None if row[name] is None else float(row[name]) for name in ("storage_used_mb", "bandwidth_used_mb")
    }
    return {**row, **numbers}

"""Tenants: databases of their own, made, asked, shared, metered, closed and removed; what a merchant's people do there.

Who may do what is said by the permissions of each tenant, as in the API of tenants: a key counts there as the user
whom it was made for, or as itself.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.desk import desk_of
from console.forms import query_of
from console.views import fragment, go, page
from console.visitors import Changing, Here, Place, Sent
from gatehouse.errors import DatabaseError, GatehouseError, InputRefused, TenantStatementFailed
from gatehouse.http_api.fields import Word
from gatehouse.http_api.pages import Filters, after_pair, page_cursor
from gatehouse.observability import metrics
from gatehouse.tenants import records
from gatehouse.tenants.guard import MOST_CHARACTERS, ROLES
from gatehouse.tenants.plans import PLANS
from gatehouse.tenants.records import MEGABYTE, NewTenant, Row, Who
from gatehouse.tenants.run import Query, Ran, run

NAVIGATION = (("Tenants", "merchant", "tenants"),)

STATUSES = ("creating", "active", "suspended", "deleted")
ENGINES = ("plain", "neon", "digitalocean")
USAGE_DAYS = 30
ANSWER_SECONDS = 26.0  # API Gateway hangs up after 30
MOST_ROWS_SHOWN = 100
MOST_CHARACTERS_OF_A_CELL = 300
MOST_CHARACTERS_SHOWN = 40_000  # a page stays under 100 kB
FIRST_QUERY = "select table_schema, table_name\nfrom information_schema.tables\nwhere table_schema = 'public'"

router = APIRouter()


class TenantFilters(Filters):
    """Which tenants are wanted."""

    status: Literal["creating", "active", "suspended", "deleted"] | None = None


class WantedTenant(BaseModel):
    """A tenant to be made."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    plan: Literal["free", "pro", "team", "enterprise"] = "free"
    engine: Literal["plain", "neon", "digitalocean"] | None = None
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    organization: Word | None = None
    billing_email: Annotated[str, Field(max_length=254, pattern=r"^[^\s@]+@[^\s@]+$")] | None = None


class Grant(BaseModel):
    """A role for somebody."""

    model_config = ConfigDict(extra="ignore")

    subject: Annotated[str, Field(min_length=3, max_length=300, pattern=r"^[a-z0-9_-]+:[!-~]+$")]
    role: Literal["owner", "admin", "developer", "viewer"] = "developer"


class Result(NamedTuple):
    """What a statement gave, as far as a page shows it."""

    columns: list[tuple[str, str]]
    rows: list[list[str | None]]
    row_count: int | None
    is_cut: bool  # there are more rows, or more of a row
    milliseconds: float


@router.get("/console/m/{merchant}/tenants")
async def show_list(request: Request, place: Here) -> Response:
    """Show the tenants on which the visitor has a role, newest first, and a form that asks for another."""
    filters = query_of(request, TenantFilters)
    rows = records.list_tenants(
        place.database,
        _who(place),
        status=filters.status,
        after=after_pair(filters),
        most=filters.limit + 1,
    )
    last = rows[filters.limit - 1] if len(rows) > filters.limit else None
    return page(
        request,
        "tenants.html",
        "Tenants",
        rows=rows[: filters.limit],
        path=place.path("tenants"),
        asked={"status": filters.status},
        next=page_cursor((last["created_at"].isoformat(), last["id"]), filters) if last else None,
        is_first=filters.cursor is None,
        statuses=STATUSES,
        plans=PLANS,
        engines=ENGINES,
    )


@router.post("/console/m/{merchant}/tenants")
async def create(request: Request, place: Here, form: Changing) -> Response:
    """Ask for a tenant; its page then shows how far it has come."""
    wanted, desk = form.read(WantedTenant), desk_of(request)
    row, jobs = records.create(
        place.database,
        _who(place),
        NewTenant(
            wanted.name,
            wanted.plan,
            desk.tenant_engine_for(wanted.plan, wanted.engine),
            wanted.region,
            wanted.organization,
            wanted.billing_email,
        ),
    )
    desk.bell().ring(jobs)
    return go(request, _path(place, row["id"]), f"{wanted.name} is being made.")


@router.get("/console/m/{merchant}/tenants/{tenant_id}")
async def show(request: Request, place: Here, tenant_id: str) -> Response:
    """Show one tenant: how it stands, what it uses of its plan, and who may do what."""
    who = _who(place)
    entered = records.enter(place.database, who, tenant_id)
    if "live" in request.query_params:
        return fragment(request, "tenant_now.html", row=entered.row, path=_path(place, tenant_id), is_fresh=True)
    today = datetime.now(UTC).date()
    days = records.usage(place.database, who, tenant_id, today - timedelta(days=USAGE_DAYS - 1), today)
    return page(
        request,
        "tenant.html",
        entered.row["name"],
        row=entered.row,
        is_fresh=False,  # the actions of the whole page lead to SQL
        role=entered.role,
        path=_path(place, tenant_id),
        back=place.path("tenants"),
        days=days,
        today=next((day for day in days if day["date"] == today), None),
        storage_mb=(entered.row["storage_bytes"] or 0) / MEGABYTE,
        is_full=entered.is_full,
        permissions=records.permissions(place.database, who, tenant_id),
        roles=ROLES,
        plans=PLANS,
        may=lambda role: ROLES.index(entered.role) >= ROLES.index(role),
    )


@router.get("/console/m/{merchant}/tenants/{tenant_id}/sql")
async def show_editor(request: Request, place: Here, tenant_id: str) -> Response:
    """Show a field for SQL."""
    entered = records.enter(place.database, _who(place), tenant_id)
    return _editor(request, place, entered, FIRST_QUERY)


@router.post("/console/m/{merchant}/tenants/{tenant_id}/sql")
async def run_sql(request: Request, place: Here, tenant_id: str, form: Sent) -> Response:
    """Run a statement with the rights of the visitor's role on the tenant, and show what it gave or why it failed.

    A viewer's key reads only, whatever his role there.
    """
    text = form.text("query")
    desk, who = desk_of(request), _who(place)
    entered = records.enter(place.database, who, tenant_id, is_query=True)
    if not text:
        return _editor(request, place, entered, "", failure="There is nothing to run: write a statement first.")
    if len(text) > MOST_CHARACTERS:
        raise InputRefused(f"query: has more than {MOST_CHARACTERS:,} characters.", field="query", place="form")
    subject = who.subject.partition(":")[2]
    where = records.place_of(place.database, who, desk.keyring(), entered.row)
    try:
        ran = run(
            desk.tenant_links(),
            where,
            _role(place, entered),
            [Query(text)],
            claims={"sub": subject, "role": "authenticated"},
            is_full=entered.is_full,
            seconds_left=ANSWER_SECONDS,
            statement_milliseconds=desk.tenant_statement_milliseconds(),
            most_rows=MOST_ROWS_SHOWN,
        )
    except TenantStatementFailed as failed:
        words = f"{failed} ({failed.sqlstate})" if failed.sqlstate else str(failed)
        return _editor(
            request, place, entered, text, failure=f"{words}{_where(text, failed)}", status=failed.http_status
        )
    except GatehouseError as refused:
        # What the guard refuses is mended in the same field; a database that is away is not.
        if isinstance(refused, DatabaseError) or refused.http_status >= 500:
            raise
        return _editor(request, place, entered, text, failure=str(refused), status=refused.http_status)
    records.add_usage(place.database, who, tenant_id, rows=ran.rows, size=ran.bytes, milliseconds=ran.milliseconds)
    metrics.count("TenantQueries", 1)
    metrics.measure("TenantQueryTime", ran.milliseconds)
    return _editor(request, place, entered, text, result=shown(ran))


@router.post("/console/m/{merchant}/tenants/{tenant_id}/permissions")
async def grant(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:
    """Give somebody a role, or another one."""
    who, new = _who(place), form.read(Grant)
    entered = records.enter(place.database, who, tenant_id).needs("admin")
    records.grant(place.database, who, entered, new.subject, new.role)
    return go(request, _path(place, tenant_id), f"{new.subject} is {new.role} now.")


@router.post("/console/m/{merchant}/tenants/{tenant_id}/permissions/revoke")
async def revoke(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:
    """Take somebody's role away; the last owner stays."""
    who, subject = _who(place), form.text("subject")
    entered = records.enter(place.database, who, tenant_id).needs("admin")
    records.revoke(place.database, who, entered, subject)
    return go(request, _path(place, tenant_id), f"{subject} has no role here any more.")


@router.post("/console/m/{merchant}/tenants/{tenant_id}/plan")
async def change_plan(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:
    """Give the tenant another plan, and with it the limits of that."""
    who, plan = _who(place), form.text("plan")
    if plan not in PLANS:
        raise InputRefused(f"plan: must be one of {', '.join(PLANS)}.", field="plan", place="form")
    records.enter(place.database, who, tenant_id).needs("owner")
    records.change(place.database, who, tenant_id, plan_type=plan)
    return go(request, _path(place, tenant_id), f"The plan is {plan} now.")


@router.post("/console/m/{merchant}/tenants/{tenant_id}/suspend")
async def suspend(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:
    """Close the tenant's database to all queries."""
    who = _who(place)
    records.enter(place.database, who, tenant_id).needs("owner")
    records.suspend(place.database, who, tenant_id, form.text("reason") or None)
    return go(request, _path(place, tenant_id), "It is closed to all queries until somebody resumes it.")


@router.post("/console/m/{merchant}/tenants/{tenant_id}/resume")
async def resume(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:  # noqa: ARG001 - the form was checked
    """Open it again; also a deleted one in its days of grace."""
    who = _who(place)
    records.enter(place.database, who, tenant_id).needs("owner")
    records.resume(place.database, who, tenant_id)
    return go(request, _path(place, tenant_id), "It is open again.")


@router.get("/console/m/{merchant}/tenants/{tenant_id}/delete")
async def ask_delete(request: Request, place: Here, tenant_id: str) -> Response:
    """Say what deleting a tenant does, and ask for its name."""
    entered = records.enter(place.database, _who(place), tenant_id).needs("owner")
    return page(
        request,
        "tenant_delete.html",
        f"Delete {entered.row['name']}",
        row=entered.row,
        path=_path(place, tenant_id),
        days=desk_of(request).tenant_grace_days(),
    )


@router.post("/console/m/{merchant}/tenants/{tenant_id}/delete")
async def delete(request: Request, place: Here, tenant_id: str, form: Changing) -> Response:
    """Close a tenant at once, and let its database be removed after its days of grace."""
    desk, who = desk_of(request), _who(place)
    entered = records.enter(place.database, who, tenant_id).needs("owner")
    if form.text("name") != entered.row["name"]:
        raise InputRefused("name: it is not the name of this tenant.", field="name", place="form")
    days = desk.tenant_grace_days()
    _, jobs = records.delete(place.database, who, tenant_id, grace_days=days)
    desk.tenant_links().forget(tenant_id)
    if jobs:
        desk.bell().ring(jobs)
    return go(request, _path(place, tenant_id), f"It is closed. Within {days} days it can be resumed.")


def shown(ran: Ran) -> Result:
    """Return what the only statement gave, cut to what a page holds."""
    heard = ran.results[0]
    rows: list[list[str | None]] = []
    size, is_cut = 0, bool(heard.truncated)
    for each in heard.rows:
        found = json.loads(each)
        cells = [_cell(found.get(name)) for name, _kind in heard.columns]
        size += sum(len(cell or "") + 10 for cell in cells)
        if size > MOST_CHARACTERS_SHOWN:
            is_cut = True
            break
        rows.append(cells)
    columns = [(name, kind) for name, kind in heard.columns]
    return Result(columns, rows, heard.row_count, is_cut, ran.milliseconds)


def _cell(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS_OF_A_CELL else f"{text[:MOST_CHARACTERS_OF_A_CELL]}…"


def _where(text: str, failed: TenantStatementFailed) -> str:
    """Say on which line the server found the fault, where it says so."""
    position: int = getattr(failed, "position", 0)
    return f", in line {text[: position - 1].count(chr(10)) + 1}" if position > 0 else ""


def _editor(
    request: Request,
    place: Place,
    entered: records.Entered,
    text: str,
    *,
    result: Result | None = None,
    failure: str = "",
    status: int = 200,
) -> Response:
    return page(
        request,
        "tenant_sql.html",
        f"SQL on {entered.row['name']}",
        status=status,
        row=entered.row,
        role=_role(place, entered),
        is_held=entered.role != _role(place, entered),
        path=_path(place, entered.row["id"]),
        text=text,
        result=result,
        failure=failure,
        most_rows=MOST_ROWS_SHOWN,
    )


def _role(place: Place, entered: records.Entered) -> str:
    """Return the role with which statements run: of one whose key changes nothing, that of a viewer."""
    return entered.role if place.visitor.may_change else ROLES[0]


def _who(place: Place) -> Who:
    """A key stands for the user whom it was made for, else for itself, and a token for its subject: as in the API."""
    if place.visitor.subject:
        return Who(place.merchant, place.visitor.subject, place.visitor.may("ops"))
    user = records.user_of_key(place.database, place.visitor.key_id)
    subject = f"user:{user}" if user else f"key:{place.visitor.key_id}"
    return Who(place.merchant, subject, place.visitor.may("ops"))


def _path(place: Place, tenant: Row | str) -> str:
    return place.path(f"tenants/{quote(str(tenant))}")

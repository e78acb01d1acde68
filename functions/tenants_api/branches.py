"""Copies of a tenant's database to try things on."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from gatehouse.errors import RequestRefused
from gatehouse.http_api.application import CHANGE, MISSING
from gatehouse.tenants import records
from tenants_api.desk import Asking, desk_of
from tenants_api.tenants import TenantId

NO_BRANCHES = ("digitalocean",)

type BranchName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
BranchPath = Annotated[str, Path(description="Its name.", pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]


class WantedBranch(BaseModel):
    """A branch to be made."""

    model_config = ConfigDict(extra="forbid")

    name: BranchName


class Branch(BaseModel):
    """One branch; statements run on it with `branch` in the query."""

    id: str
    name: str
    status: Literal["creating", "active", "deleted"]
    status_reason: str | None
    created_by: str
    created_at: datetime


class BranchAnswer(BaseModel):
    """One branch."""

    success: Literal[True] = True
    data: Branch


class BranchesAnswer(BaseModel):
    """All branches of a tenant."""

    success: Literal[True] = True
    data: list[Branch]


router = APIRouter(prefix="/v1/tenants", tags=["branches"])


@router.get("/{tenant_id}/branches", responses=MISSING)
async def list_branches(request: Request, asking: Asking, tenant_id: TenantId) -> BranchesAnswer:
    """List the branches of a tenant."""
    database = desk_of(request).database()
    records.enter(database, asking.who, tenant_id)
    return BranchesAnswer(
        data=[Branch.model_validate(each) for each in records.branches(database, asking.who, tenant_id)]
    )


@router.post("/{tenant_id}/branches", status_code=202, responses=CHANGE)
async def create_branch(request: Request, asking: Asking, tenant_id: TenantId, branch: WantedBranch) -> BranchAnswer:
    """Ask for a copy of the tenant's database as it is now; it is `creating` at first."""
    desk = desk_of(request)
    entered = records.enter(desk.database(), asking.who, tenant_id).needs("developer")
    if entered.row["engine"] in NO_BRANCHES:
        raise RequestRefused("There are no branches on this engine.", code="NOT_ON_THIS_ENGINE", status=409)
    row, jobs = records.add_branch(desk.database(), asking.who, entered, branch.name)
    desk.bell().ring(jobs)
    return BranchAnswer(data=Branch.model_validate(row))


@router.delete("/{tenant_id}/branches/{name}", status_code=202, responses=CHANGE)
async def delete_branch(request: Request, asking: Asking, tenant_id: TenantId, name: BranchPath) -> BranchAnswer:
    """Close a branch, and remove it."""
    desk = desk_of(request)
    records.enter(desk.database(), asking.who, tenant_id).needs("developer")
    row, jobs = records.leave_branch(desk.database(), asking.who, tenant_id, name)
    desk.links().forget(row["id"])
    desk.bell().ring(jobs)
    return BranchAnswer(data=Branch.model_validate(row))

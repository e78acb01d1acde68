"""Who may do what on a tenant."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from gatehouse.http_api.application import CHANGE, MISSING
from gatehouse.tenants import records
from tenants_api.desk import Asking, desk_of
from tenants_api.tenants import TenantId

type Role = Literal["owner", "admin", "developer", "viewer"]
type Subject = Annotated[str, StringConstraints(min_length=3, max_length=300, pattern=r"^[a-z0-9_-]+:[!-~]+$")]
SubjectPath = Annotated[
    str, Path(description="user:<id>, key:<id>, or <issuer>:<sub>.", min_length=3, max_length=300, pattern=r"^[!-~]+$")
]


class Grant(BaseModel):
    """A role for somebody."""

    model_config = ConfigDict(extra="forbid")

    subject: Subject
    role: Role = "developer"


class Permission(BaseModel):
    """Somebody's role on a tenant."""

    subject: str
    role: Role
    granted_by: str
    created_at: datetime
    updated_at: datetime


class PermissionAnswer(BaseModel):
    """One permission."""

    success: Literal[True] = True
    data: Permission


class PermissionsAnswer(BaseModel):
    """All permissions of a tenant."""

    success: Literal[True] = True
    data: list[Permission]


router = APIRouter(prefix="/v1/tenants", tags=["permissions"])


@router.get("/{tenant_id}/permissions", responses=MISSING)
async def list_permissions(request: Request, asking: Asking, tenant_id: TenantId) -> PermissionsAnswer:
    """List who may do what."""
    database = desk_of(request).database()
    records.enter(database, asking.who, tenant_id)
    rows = records.permissions(database, asking.who, tenant_id)
    return PermissionsAnswer(data=[Permission.model_validate(each) for each in rows])


@router.post("/{tenant_id}/permissions", responses=CHANGE)
async def grant_permission(request: Request, asking: Asking, tenant_id: TenantId, grant: Grant) -> PermissionAnswer:
    """Give somebody a role, or another one. Only an owner makes owners."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id).needs("admin")
    row = records.grant(database, asking.who, entered, grant.subject, grant.role)
    return PermissionAnswer(data=Permission.model_validate(row))


@router.delete("/{tenant_id}/permissions/{subject}", responses=CHANGE)
async def revoke_permission(
    request: Request, asking: Asking, tenant_id: TenantId, subject: SubjectPath
) -> PermissionAnswer:
    """Take somebody's role away; the last owner stays."""
    database = desk_of(request).database()
    entered = records.enter(database, asking.who, tenant_id).needs("admin")
    return PermissionAnswer(data=Permission.model_validate(records.revoke(database, asking.who, entered, subject)))

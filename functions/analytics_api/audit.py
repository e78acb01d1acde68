"""The audit: every change of money and people, with who, what and why."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gatehouse.errors import RequestRefused
from gatehouse.http_api.callers import Reader, desk_of
from gatehouse.http_api.fields import RowId
from gatehouse.models import audit
from gatehouse.models.memberships import may_read_health_data

type AuditedTable = Literal[
    "customers",
    "orders",
    "order_items",
    "payments",
    "refunds",
    "disputes",
    "subscriptions",
    "invoices",
    "payouts",
    "memberships",
    "product_categories",
]
# What these tell of is health data: not every key may see it, and that it was seen is noted.
HEALTH: dict[str, Literal["membership", "products"]] = {"memberships": "membership", "product_categories": "products"}


class Change(BaseModel):
    """One change of one row."""

    id: int
    at: datetime
    table_name: str
    row_id: int
    action: str
    actor: str
    webhook_event_id: int | None = Field(description="The event that caused it, where one did.")
    changes: dict[str, Any] = Field(description="Column: [before, after]; personal values only as hashes.")


router = APIRouter(tags=["audit"])


@router.get("/audit/{table}/{row_id}")
async def show_history(request: Request, caller: Reader, table: AuditedTable, row_id: RowId) -> list[Change]:
    """Show what happened to one row, oldest first; nothing for a row that there is not."""
    if table in HEALTH and not may_read_health_data(
        desk_of(request).database(), caller.merchant, caller.key_id, kind=HEALTH[table], ids=[row_id]
    ):
        raise RequestRefused("The key may not see health data.", code="HEALTH_DATA_NOT_ALLOWED", status=403)
    history = audit.history_of_row(desk_of(request).database(), caller.merchant, table, row_id)
    return [Change.model_validate(each._asdict()) for each in history]

"""The audit: every change of money and people, with who, what and why."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from gatehouse.http_api.callers import Reader, desk_of
from gatehouse.http_api.fields import RowId
from gatehouse.models import audit

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
]


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
    history = audit.history_of_row(desk_of(request).database(), caller.merchant, table, row_id)
    return [Change.model_validate(each._asdict()) for each in history]

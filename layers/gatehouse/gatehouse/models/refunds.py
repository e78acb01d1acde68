"""Refunds: what gateways say of money given back."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.sql import load_statements

sql = load_statements(Path(__file__).with_name("refunds.sql"))


class Refund(NamedTuple):
    """A row of `refunds`."""

    id: int
    merchant: str
    gateway: str
    account: str
    livemode: bool
    gateway_id: str
    payment_id: int | None
    status: str
    amount_minor: int | None
    currency: str | None
    fee_minor: int | None
    reason: str | None
    failure_code: str | None
    failure_message: str | None
    reference: str | None
    refunded_at: datetime | None
    metadata: dict[str, Any] | None
    first_fact_at: datetime
    last_fact_at: datetime

"""How complete each day of each account is: what its gateway lists, and how much of that is recorded."""

from datetime import date as Date
from pathlib import Path
from typing import Any

from gatehouse.database.sql import load_statements
from gatehouse.models.scope import Store, flush_for

sql = load_statements(Path(__file__).with_name("completeness.sql"))

Row = dict[str, Any]
Place = tuple[Date, str, str]  # the day, the gateway, the account


def list_completeness(
    store: Store,
    merchant: str | None,
    *,
    gateway: str | None = None,
    account: str | None = None,
    since: Date | None = None,
    only_missing: bool = False,
    after: Place | None = None,
    most: int,
) -> list[Row]:
    """Return the days of a merchant's accounts, or of all (for ops), the newest first."""
    after_day, after_gateway, after_account = after or (None, None, None)
    question = sql.list_completeness(
        merchant=merchant,
        gateway=gateway,
        account=account,
        since=since,
        only_missing=only_missing,
        after_day=after_day,
        after_gateway=after_gateway,
        after_account=after_account,
        most=most,
    )
    [rows] = flush_for(store, merchant or "", question)
    return rows

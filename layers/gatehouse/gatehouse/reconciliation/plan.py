"""Says which days of which accounts are to be compared, as jobs: each is small, and any worker may take it."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.gateways import LISTING
from gatehouse.intake.accounts import DEFAULT_ACCOUNT, DEFAULT_MERCHANT
from gatehouse.intake.record import JobRef

sql = load_statements(Path(__file__).with_name("reconciliation.sql"))

MOST_AT_ONCE = 200  # of the jobs of one run; the schedule comes again before these are through


class Wanted(NamedTuple):
    """What is to be compared."""

    days: int  # today and so many less one before it, UTC
    every_hours: int = 0  # a day that was compared within so many hours is left alone
    gateways: Sequence[str] = LISTING
    account: str | None = None  # only this one
    defaults: Sequence[str] = ()  # the gateways whose default account is compared too
    most: int = MOST_AT_ONCE


def plan(database: Database, wanted: Wanted, *, now: datetime) -> list[JobRef]:
    """Write the jobs that are due, at most so many, and return them."""
    slot_seconds = max(wanted.every_hours * 3600, 1)
    defaults = [
        {"gateway": gateway, "account": DEFAULT_ACCOUNT, "merchant": DEFAULT_MERCHANT}
        for gateway in wanted.defaults
        if gateway in wanted.gateways and wanted.account in (None, DEFAULT_ACCOUNT)
    ]
    rows = database.query(
        sql.plan,
        gateways=list(wanted.gateways),
        only_account=wanted.account,
        defaults=Json(defaults),
        today=now.date(),
        days=wanted.days,
        every_hours=wanted.every_hours,
        slot=str(int(now.timestamp()) // slot_seconds),
        most=wanted.most,
    )
    return [JobRef(row["id"], row["topic"]) for row in rows]

"""Brings all tenants' databases to the newest schema: one first, to see whether it goes well, and then the others.

What is done is noted in each tenant's row, so a run that was broken off goes on where it stopped.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gatehouse.errors import GatehouseError
from gatehouse.tenants.records import Row, credentials_of, sql
from gatehouse.tenants.schema import bring_up_to_date, newest_version
from gatehouse.tenants.worker import Workshop

DONE, FAILED, UP_TO_DATE = "done", "FAILED", "up to date"


class Step(NamedTuple):
    """What became of one tenant's database."""

    tenant: str
    outcome: str
    words: str


def migrate_all(
    shop: Workshop,
    *,
    canary: str | None = None,
    only: str | None = None,
    bring: Callable[..., int] = bring_up_to_date,
) -> Iterator[Step]:
    """Give what became of each, the canary first; nobody follows a canary that failed."""
    newest = newest_version()
    rows = [
        row
        for row in shop.database.query(sql.present, engine=None)
        if row["status"] in ("active", "suspended") and row["sealed"] is not None and only in (None, row["id"])
    ]
    behind = [row for row in rows if row["schema_version"] < newest]
    behind.sort(key=lambda row: (row["id"] != canary, row["id"]))
    yield from (Step(row["id"], UP_TO_DATE, str(newest)) for row in rows if row["schema_version"] >= newest)
    for number, row in enumerate(behind):
        step = _migrated(shop, row, newest, bring)
        yield step
        if number == 0 and step.outcome == FAILED:
            return


def _migrated(shop: Workshop, row: Row, newest: int, bring: Callable[..., int]) -> Step:
    try:
        version = bring(credentials_of(shop.keyring(), row), shop.safety)
    except GatehouseError as error:
        return Step(row["id"], FAILED, str(error))
    shop.database.query(sql.keep_schema_version, tenant=row["id"], schema_version=version)
    return Step(row["id"], DONE, f"{row['schema_version']} -> {newest}")

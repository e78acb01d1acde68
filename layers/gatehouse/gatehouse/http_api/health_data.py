"""Records that may tell of somebody's health, as a caller may see them: the read is noted, or the data is hidden."""

from typing import Any, Literal

from gatehouse.database.connection import Database
from gatehouse.models.memberships import may_read_health_data

# Of clinics; the same rule as the one by which events are forwarded.
HEALTH_GATEWAYS = ("mx_merchant",)
HEALTH_TABLES: dict[str, Literal["payments", "invoices"]] = {"payments": "payments", "invoices": "invoices"}
HEALTH_COLUMNS = {"product_name", "product_category", "lines", "description"}

Row = dict[str, Any]


def as_seen(database: Database, merchant: str, key_id: str, table: str, rows: list[Row]) -> list[Row]:
    """Return rows as a key may see them: where they hold health data, the read is noted, or the data is hidden."""
    ids = [row["id"] for row in rows if row["gateway"] in HEALTH_GATEWAYS]
    if table not in HEALTH_TABLES or not ids:
        return rows
    if may_read_health_data(database, merchant, key_id, kind=HEALTH_TABLES[table], ids=ids):
        return rows
    return [row | dict.fromkeys(HEALTH_COLUMNS & row.keys()) if row["id"] in ids else row for row in rows]


def without_health(change: Row) -> Row:
    """Return a change of a row without what tells of somebody's health."""
    told = {column: values for column, values in change["changes"].items() if column not in HEALTH_COLUMNS}
    return change | {"changes": told}

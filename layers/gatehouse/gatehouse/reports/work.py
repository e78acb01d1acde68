"""Reports on the work that follows events: deliveries to apps, what is fetched from gateways, and what was missed."""

from pathlib import Path

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import ValidationError
from gatehouse.reports.answers import Row, percent
from gatehouse.reports.totals import Cells, Wanted, read_cells

sql = load_statements(Path(__file__).with_name("work.sql"))


def forwarding(database: Database, wanted: Wanted, *, app: str | None = None) -> tuple[Cells, list[Row]]:
    """Return how deliveries to each app went, with the most frequent reason of those that failed."""
    asked = {**_asked(wanted), "app": app}
    cells = read_cells(database, wanted, [], sql.forwarding(**asked), sql.failed_deliveries(**asked))
    told, failed = cells.rows
    reasons: dict[str, str] = {}
    for row in failed:
        reasons.setdefault(row["app"], f"{row['reason'] or 'unknown'} ({row['deliveries']})")
    return cells, [
        {
            "app": row["app"],
            "deliveries": row["deliveries"],
            "delivered": row["delivered"],
            "failed": row["deliveries"] - row["delivered"],
            "success_rate_pct": percent(row["delivered"], row["deliveries"]),
            "tries": row["tries"],
            "p50_seconds": _rounded(row["p50_seconds"]),
            "p95_seconds": _rounded(row["p95_seconds"]),
            "most_frequent_failure": reasons.get(row["app"]),
            "waiting": row["waiting"],
            "given_up": row["given_up"],
        }
        for row in told
    ]


def enrichment(database: Database, wanted: Wanted) -> tuple[Cells, list[Row]]:
    """Return how the work of each other topic went."""
    cells = read_cells(database, wanted, [], sql.enrichment(**_asked(wanted)))
    return cells, [
        {
            "topic": row["topic"],
            "jobs": row["jobs"],
            "done": row["done"],
            "waiting": row["waiting"],
            "given_up": row["given_up"],
            "done_pct": percent(row["done"], row["jobs"]),
            "tries": row["tries"],
            "p50_seconds": _rounded(row["p50_seconds"]),
            "p95_seconds": _rounded(row["p95_seconds"]),
        }
        for row in cells.rows[0]
    ]


def completeness(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return by account how much of what its gateway lists was recorded, as each day was compared last."""
    if not wanted.livemode:
        raise ValidationError.of_field("livemode", "cannot be chosen: days are compared whole, whatever mode they hold")
    slots = wanted.period.slots()
    asked = {**_asked(wanted), "gateway": gateway, "starts": [slot.since for slot in slots]}
    cells = read_cells(database, wanted, slots, sql.completeness(**asked))
    return cells, [
        {
            **({"from": slots[row["slot"]].label} if slots[row["slot"]].label else {}),
            "gateway": row["gateway"],
            "account": row["account"],
            "days": row["days"],
            "complete_days": row["complete_days"],
            "listed": row["listed"],
            "recorded": row["recorded"],
            "missing": row["listed"] - row["recorded"],
            "recorded_pct": percent(row["recorded"], row["listed"]),
            "found_missing": row["found_missing"],
            "compared_since": row["compared_since"],
        }
        for row in cells.rows[0]
    ]


def _asked(wanted: Wanted) -> dict[str, object]:
    return {"merchant": wanted.merchant, "since": wanted.period.since, "until": wanted.period.until}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(float(seconds), 3)

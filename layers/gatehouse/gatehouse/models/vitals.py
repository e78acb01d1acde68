"""The figures that alarms watch and that no single function can count: read and emitted once a minute."""

from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.observability import metrics

sql = load_statements(Path(__file__).with_name("vitals.sql"))

LATE_DELIVERY_SECONDS = 900  # a delivery that takes longer than its tries within one run
MOST_DELIVERIES = 20_000


def money_at_risk(database: Database, merchant: str) -> list[dict[str, Any]]:
    """Return by app and currency what was paid to a merchant and has not reached the app that should know."""
    bound = sql.money_at_risk(seconds=LATE_DELIVERY_SECONDS, most=MOST_DELIVERIES)
    return database.flush([bound], idempotent=True, merchant=merchant)[0].rows


def emit_vitals(database: Database) -> None:
    """Emit how full the database is, how old the oldest jobs are, and what money its apps do not know of."""
    server, oldest, at_risk = database.flush(
        [
            sql.server(),
            sql.oldest_jobs(),
            sql.money_at_risk(seconds=LATE_DELIVERY_SECONDS, most=MOST_DELIVERIES),
        ],
        idempotent=True,
    )
    found = server.rows[0]
    metrics.measure("DatabaseConnections", found["connections_pct"])
    metrics.measure("PayloadsWithoutMonth", int(found["has_payloads_without_month"]))
    metrics.measure("EventsWaitingForRepair", found["failed_events"])
    for row in oldest.rows:
        metrics.measure("OldestJob", row["seconds"], topic=row["topic"])
    if not oldest.rows:
        metrics.measure("OldestJob", 0)  # an alarm tells nothing to do from nobody who looked
    for row in at_risk.rows:
        metrics.measure("MoneyAtRisk", row["amount_minor"], app=row["app"], currency=row["currency"])
    if not at_risk.rows:
        metrics.measure("MoneyAtRisk", 0)

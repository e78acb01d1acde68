"""The monthly financial statement: what came in, what went back, what was paid out, and what is left to explain."""

import re
from datetime import date, datetime, timedelta
from pathlib import Path

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import ValidationError
from gatehouse.reports.answers import Row, added
from gatehouse.reports.money import SALES, grouped
from gatehouse.reports.periods import BEGINNING, Period, Slot, period, time_zone
from gatehouse.reports.totals import Cells, Wanted, question, read_cells

sql = load_statements(Path(__file__).with_name("statement.sql"))
MOST_LISTED = 200
LINES = (*SALES, "disputes", "held_minor")
_MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)


def month(name: str | None, zone: str, now: datetime) -> Period:
    """Return a calendar month by its name, such as 2026-10; the last one that has ended, where none is named."""
    within = time_zone(zone)
    if name is None:
        first = (now.astimezone(within).date().replace(day=1) - timedelta(days=1)).replace(day=1)
    else:
        found = _MONTH.fullmatch(name)
        if not found or not 1 <= int(found[2]) <= 12 or not 2000 <= int(found[1]) < 2200:
            raise ValidationError.of_field("month", "must be a month, such as 2026-10")
        first = date(int(found[1]), int(found[2]), 1)
    last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
    return period(now=now, first=first, last=last, zone=zone)


def statement(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return the lines of the statement of a month, by gateway and currency."""
    since, until = wanted.period.since, wanted.period.until
    slots = [Slot("before", BEGINNING, since), Slot("month", since, until)]
    whole = wanted._replace(period=wanted.period._replace(since=BEGINNING))
    asked = {"merchant": wanted.merchant, "livemode": wanted.livemode, "since": since, "until": until}
    cells = read_cells(
        database,
        whole,
        slots,
        question("statement_cells", whole, "gateway", slots),
        sql.payouts_settled(**asked),
        sql.payouts_open(**asked, most=MOST_LISTED),
    )
    sums, settled, open_payouts = cells.rows
    by_key = grouped([{**row, "gateway": row["value"]} for row in sums], ("gateway", "currency"))
    paid = {(row["gateway"], row["currency"]): row for row in settled}
    under_way = grouped(open_payouts, ("gateway", "currency"))
    rows: list[Row] = []
    for key in sorted({*by_key, *paid, *under_way}):
        if gateway is None or key[0] == gateway:
            rows += _lines(key, by_key.get(key, []), paid.get(key), under_way.get(key, []))
    return cells, rows


def _lines(key: tuple[str, ...], sums: list[Row], paid: Row | None, under_way: list[Row]) -> list[Row]:
    before = added([row for row in sums if row["slot"] == 0], LINES)
    now = added([row for row in sums if row["slot"] == 1], LINES)
    paid = paid or dict.fromkeys(("before_minor", "payouts", "paid_minor", "fee_minor"), 0)
    opening = _owed(before) - paid["before_minor"]
    owed = _owed(now)
    paid_out = paid["paid_minor"] + paid["fee_minor"]
    lines: list[tuple[str, int | None, int | None]] = [
        ("balance before", None, opening),
        ("payments", now["sales"], now["gross_minor"]),
        ("refunds", now["refunds"], -now["refund_minor"]),
        ("fees of payments", now["sales"] - now["unknown_fees"], -now["fee_minor"]),
        ("fees of refunds and disputes", None, -now["other_fee_minor"]),
        ("held back by disputes", now["disputes"], -now["held_minor"]),
        ("owed", None, owed),
        ("payouts", paid["payouts"], -paid["paid_minor"]),
        ("fees of payouts", None, -paid["fee_minor"]),
        ("difference of owed and paid out", None, owed - paid_out),
        ("balance after", None, opening + owed - paid_out),
    ]
    if now["unknown_fees"]:
        lines.append(("may differ: payments with unknown fee", now["unknown_fees"], now["unknown_fee_gross_minor"]))
    for row in under_way:
        amount = row["reversed_minor"] if row["status"] == "settled" else row["amount_minor"]
        state = "came back" if row["status"] in ("settled", "reversed") else row["status"]
        lines.append((f"may differ: payout {row['gateway_id']} {state}", 1, amount))
    if not any(count or amount for _, count, amount in lines):
        return []
    gateway, currency = key
    return [
        {"gateway": gateway, "currency": currency, "line": line, "count": count, "amount_minor": amount}
        for line, count, amount in lines
    ]


def _owed(sums: Row) -> int:
    gone = ("refund_minor", "fee_minor", "other_fee_minor", "held_minor")
    return int(sums["gross_minor"]) - sum(int(sums[name]) for name in gone)

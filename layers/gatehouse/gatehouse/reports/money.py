"""Reports on money: by gateway, over time, by what it came through, what succeeded, and what went back."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.reports.answers import Row, added, percent
from gatehouse.reports.totals import Breakdown, Cells, Wanted, question, read_cells

DURATION_BASE = 1.1  # as total_entries_of has it: bin n holds times up to 1.1^n ms

ATTEMPTS = ("payments", "amount_minor", "succeeded", "failed", "cancelled", "duration_ms")
SALES = (
    *("sales", "gross_minor", "fee_minor", "unknown_fees", "unknown_fee_gross_minor", "refunds", "refund_minor"),
    "other_fee_minor",
)
BACK = (
    *("sales", "gross_minor", "sales_refunded", "sales_refunded_minor", "sales_disputed", "refunds", "refund_minor"),
    *("disputes", "dispute_minor", "disputes_lost", "lost_minor"),
)


def by_gateway(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return per gateway and currency: how many payments, how much, and how long they took."""
    slots = wanted.period._replace(by=None).slots()
    cells = read_cells(
        database,
        wanted,
        slots,
        question("attempt_cells", wanted, "gateway", slots, value=gateway),
        question("attempt_cells", wanted, "duration", slots, detail=gateway),
    )
    attempts, durations = cells.rows
    bins: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in durations:
        bins[row["detail"], row["currency"]][int(row["value"])] = row["succeeded"]
    rows = []
    for row in attempts:
        if not any(row[name] for name in ATTEMPTS):
            continue
        timed = bins[row["value"], row["currency"]]
        rows.append(
            {
                "gateway": row["value"],
                "currency": row["currency"],
                "payments": row["payments"],
                "amount_minor": row["amount_minor"],
                "succeeded": row["succeeded"],
                "average_processing_seconds": _seconds(row["duration_ms"], sum(timed.values())),
                "p95_processing_seconds": percentile_seconds(timed, 95),
            }
        )
    return cells, rows


def revenue(
    database: Database, wanted: Wanted, *, gateway: str | None = None, app: str | None = None
) -> tuple[Cells, list[Row]]:
    """Return gross, refunds, fees and net in each hour, day, week or month, or over all of the period."""
    slots = wanted.period.slots()
    breakdown: Breakdown = "gateway" if app is None else "app"
    chosen = question("sale_cells", wanted, breakdown, slots, value=gateway if app is None else app, apart=False)
    cells = read_cells(database, wanted, slots, chosen)
    return cells, _money_rows(cells, cells.rows[0], ("slot", "currency"))


def revenue_by(database: Database, wanted: Wanted, per: Breakdown) -> tuple[Cells, list[Row]]:
    """Return the same by gateway, app, method or product category."""
    slots = wanted.period.slots()
    cells = read_cells(database, wanted, slots, question("sale_cells", wanted, per, slots))
    return cells, _money_rows(cells, cells.rows[0], ("slot", "value", "currency"), named=per)


def success(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return how many payments that were begun succeeded, failed, were cancelled or are open, by gateway."""
    slots = wanted.period.slots()
    cells = read_cells(database, wanted, slots, question("attempt_cells", wanted, "gateway", slots, value=gateway))
    rows = []
    for row in cells.rows[0]:
        ended = row["succeeded"] + row["failed"] + row["cancelled"]
        if not row["payments"]:
            continue
        rows.append(
            {
                **_when(cells, wanted, row),
                "gateway": row["value"],
                "currency": row["currency"],
                "payments": row["payments"],
                "succeeded": row["succeeded"],
                "failed": row["failed"],
                "cancelled": row["cancelled"],
                "open": row["payments"] - ended,
                "success_rate_pct": percent(row["succeeded"], ended),
                "decline_rate_pct": percent(row["failed"], row["succeeded"] + row["failed"]),
            }
        )
    return cells, rows


def declines(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return why payments failed, by gateway, the most frequent reason first."""
    slots = wanted.period._replace(by=None).slots()
    cells = read_cells(database, wanted, slots, question("attempt_cells", wanted, "failure", slots, detail=gateway))
    counted = [row for row in cells.rows[0] if row["failed"]]
    failed: dict[tuple[str, str], int] = defaultdict(int)
    for row in counted:
        failed[row["detail"], row["currency"]] += row["failed"]
    rows: list[Row] = [
        {
            "gateway": row["detail"],
            "currency": row["currency"],
            "reason": row["value"] or None,
            "failed": row["failed"],
            "amount_minor": row["amount_minor"],
            "share_pct": percent(row["failed"], failed[row["detail"], row["currency"]]),
        }
        for row in counted
    ]
    rows.sort(key=lambda row: (row["gateway"], row["currency"], -row["failed"], row["reason"] or ""))
    return cells, rows


def going_back(database: Database, wanted: Wanted, *, gateway: str | None = None) -> tuple[Cells, list[Row]]:
    """Return refunds and disputes: of the sales of the period, and those that were made in it."""
    slots = wanted.period.slots()
    cells = read_cells(database, wanted, slots, question("back_cells", wanted, "gateway", slots, value=gateway))
    rows = [
        {
            **_when(cells, wanted, row),
            "gateway": row["value"],
            "currency": row["currency"],
            "sales": row["sales"],
            "gross_minor": row["gross_minor"],
            "sales_refunded": row["sales_refunded"],
            "refunded_of_sales_minor": row["sales_refunded_minor"],
            "refund_rate_pct": percent(row["sales_refunded"], row["sales"]),
            "refunded_amount_pct": percent(row["sales_refunded_minor"], row["gross_minor"]),
            "sales_disputed": row["sales_disputed"],
            "dispute_rate_pct": percent(row["sales_disputed"], row["sales"]),
            "refunds_made": row["refunds"],
            "refunds_made_minor": row["refund_minor"],
            "disputes_opened": row["disputes"],
            "disputes_opened_minor": row["dispute_minor"],
            "disputes_lost": row["disputes_lost"],
            "disputes_lost_minor": row["lost_minor"],
        }
        for row in cells.rows[0]
        if any(row[name] for name in BACK)
    ]
    return cells, rows


def money_of(row: Row) -> Row:
    """Return what came in, went back and stays. Where a fee is not known, net is not known either."""
    fees = row["fee_minor"] + row["other_fee_minor"]
    left = row["gross_minor"] - row["refund_minor"] - fees
    return {
        "sales": row["sales"],
        "gross_minor": row["gross_minor"],
        "refunds": row["refunds"],
        "refunded_minor": row["refund_minor"],
        "fee_minor": fees,
        "net_minor": None if row["unknown_fees"] else left,
        "sales_with_unknown_fee": row["unknown_fees"],
        "gross_with_unknown_fee_minor": row["unknown_fee_gross_minor"],
        "net_before_unknown_fees_minor": left,
    }


def percentile_seconds(bins: dict[int, int], percentile: int) -> float | None:
    """Return a percentile of a histogram of times, in seconds, to within 5 %."""
    count = sum(number for number in bins.values() if number > 0)
    if not count:
        return None
    rank = -(-count * percentile // 100)
    passed = 0
    for each in sorted(bins):
        passed += max(bins[each], 0)
        if passed >= rank:
            break
    # The middle of the bin, as its neighbours' times go; the first one holds all that took no millisecond.
    return round(DURATION_BASE ** (each - 0.5) / 1000, 3) if each > 0 else 0.001


def grouped(rows: Iterable[Row], names: Sequence[str]) -> dict[tuple[Any, ...], list[Row]]:
    """Return rows by the values of some columns, in the order in which these come first."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def _money_rows(cells: Cells, found: Iterable[Row], names: tuple[str, ...], *, named: str | None = None) -> list[Row]:
    rows = []
    for key, members in sorted(grouped(found, names).items()):
        together = added(members, SALES)
        if not any(together.values()):
            continue
        said = dict(zip(names, key, strict=True))
        when = {"from": cells.slots[said["slot"]].label} if cells.slots[said["slot"]].label else {}
        what = {} if named is None else {named: said["value"] or None}
        rows.append({**when, **what, "currency": said["currency"], **money_of(together)})
    return rows


def _when(cells: Cells, wanted: Wanted, row: Row) -> Row:
    return {} if wanted.period.by is None else {"from": cells.slots[row["slot"]].label}


def _seconds(milliseconds: int, count: int) -> float | None:
    return round(milliseconds / count / 1000, 3) if count else None

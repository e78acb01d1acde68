"""What every report answers: rows, what they mean, whose they are, and until when they are complete."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from gatehouse.money import EXPONENTS, to_decimal

Row = dict[str, Any]
PRIMARY = "primary"
BACKUP = "backup"


class Answer(NamedTuple):
    """The answer of a report."""

    report: str
    definition: str
    merchant: str
    livemode: bool
    since: datetime | None
    until: datetime | None
    time_zone: str | None
    as_of: datetime
    rows: list[Row]
    served_by: str = PRIMARY  # which database answered

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it; amounts also as decimal text."""
        told = self._asdict() | {"rows": [with_decimals(row) for row in self.rows]}
        return {name: _plain(value) for name, value in told.items()}

    def as_csv(self) -> str:
        """Return the rows as CSV with a line of names; what it means stands in the JSON and in docs/reports.md."""
        out = io.StringIO()
        names = columns([with_decimals(row) for row in self.rows])
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerow(names)
        for row in self.rows:
            shown = with_decimals(row)
            writer.writerow([_cell(shown.get(name)) for name in names])
        return out.getvalue()


def with_decimals(row: Mapping[str, Any]) -> Row:
    """Return a row in which each amount of minor units is followed by the same as decimal text of its currency."""
    shown: Row = {}
    currency = row.get("currency") or ""
    for name, value in row.items():
        shown[name] = value
        if name.endswith("_minor"):
            known = value is not None and currency in EXPONENTS
            shown[name.removesuffix("_minor")] = f"{to_decimal(value, currency):f}" if known else None
    return shown


def columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names in rows, in the order in which they come first."""
    return list(dict.fromkeys(name for row in rows for name in row))


def percent(part: int, whole: int) -> float | None:
    """Return a share in percent to two digits; of nothing there is none."""
    return round(100 * part / whole, 2) if whole else None


def average(total: int, count: int) -> int | None:
    """Return the average of whole units, rounded half up; of nothing there is none."""
    return (2 * total + count) // (2 * count) if count else None


def added(rows: Sequence[Mapping[str, Any]], names: Iterable[str]) -> Row:
    """Return the sums of some columns."""
    if len(rows) == 1:  # as it mostly is where a report has hundreds of them
        return {name: rows[0][name] for name in names}
    return {name: sum(row[name] for row in rows) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def _cell(value: Any) -> str:
    """Return a cell; text that a spreadsheet would take for a formula is held back by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

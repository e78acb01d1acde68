"""Lists as files that spreadsheets open."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from fastapi import Response

from console.views import HEADERS
from gatehouse.money import EXPONENTS, to_decimal

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_of(name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, is_whole: bool = True) -> Response:
    """Return rows as a file; each amount of minor units is followed by the same as decimal text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([shown for column in columns for shown in _heads(column)])
    for row in rows:
        writer.writerow([cell for column in columns for cell in _cells(row, column)])
    if not is_whole:
        writer.writerow(["More than this file holds: narrow the filters to get the rest."])
    named = "".join(each if each.isalnum() or each in "-_" else "_" for each in name)
    headers = {**HEADERS, "content-disposition": f'attachment; filename="{named}.csv"'}
    return Response(out.getvalue(), 200, headers, "text/csv; charset=utf-8")


def _heads(column: str) -> list[str]:
    return [column, column.removesuffix("_minor")] if column.endswith("_minor") else [column]


def _cells(row: Mapping[str, Any], column: str) -> list[str]:
    value = row.get(column)
    if not column.endswith("_minor"):
        return [_cell(value)]
    currency = row.get("fee_currency") if column == "fee_minor" and "fee_currency" in row else row.get("currency")
    if value is None:
        return ["", ""]
    return [str(value), f"{to_decimal(value, currency):f}" if currency in EXPONENTS else ""]


def _cell(value: Any) -> str:
    """Return a cell; text that a spreadsheet would take for a formula is held back by an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA) else text

"""How values look in the API: money, moments, and texts that a caller may give."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, Field, StringConstraints

from gatehouse.money import MOST_MINOR, to_decimal

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _written_out(value: object) -> object:
    # pydantic would also take a bare number for seconds since 1970, which nobody means who writes 2026.
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("must be a time with its zone, such as 2026-11-20T10:00:00Z")
    return value


def _day_written_out(value: object) -> object:
    if not isinstance(value, str) or not _DAY.fullmatch(value):
        raise ValueError("must be a day, such as 2026-11-20")
    return value


def _countable(value: datetime) -> datetime:
    if not 1 < value.year < 9999:  # at the edges, another zone is another millennium
        raise ValueError("must lie between the years 2 and 9998")
    return value


Moment = Annotated[
    AwareDatetime, BeforeValidator(_written_out), AfterValidator(_countable), Field(examples=["2026-11-20T10:00:00Z"])
]
Day = Annotated[date, BeforeValidator(_day_written_out), Field(examples=["2026-11-20"])]
# Control characters are in no name or reference, and Postgres cannot store the first of them at all.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
# What is no whole number in JSON is none here: not "5", not 5.0, not true.
Minor = Annotated[int, Field(strict=True, ge=0, le=MOST_MINOR, description="Whole minor units.")]
Switch = Annotated[bool, Field(strict=True)]
RowId = Annotated[int, Field(ge=1, le=2**63 - 1)]


class Money(BaseModel):
    """An amount: whole minor units of its currency (cents, yen, fils), and the same as decimal text."""

    amount_minor: int = Field(examples=[4620])
    currency: str = Field(examples=["EUR"])
    decimal: str = Field(examples=["46.20"])


def money(row: Mapping[str, Any], amount: str, currency: str = "currency") -> Money | None:
    """Return the amount in a column, or None where amount or currency is not known: never a zero."""
    minor, code = row[amount], row[currency]
    if minor is None or code is None:
        return None
    return Money(amount_minor=minor, currency=code, decimal=f"{to_decimal(minor, code):f}")

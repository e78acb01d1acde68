"""When an AWS schedule expression is due next: `rate(5 minutes)` or `cron(0 8 ? * MON-FRI *)`, always in UTC.

cron has six fields: minute, hour, day of month, month, day of week (1 = Sunday), year. One of the two day fields
must be `?`. Besides `*`, lists, ranges, steps and names: `L` (last day of the month; with a weekday, the last such
weekday), `15W` (the working day nearest to the 15th), `LW` (the last working day), `3#2` (the second Tuesday).
"""

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

FIRST_YEAR, LAST_YEAR = 1970, 2199
SATURDAY, SUNDAY = 5, 6  # as datetime.weekday() counts

MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
WEEKDAYS = {name: number for number, name in enumerate(WEEKDAY_NAMES, start=1)}
UNITS = {"minute": 60, "hour": 3600, "day": 86_400}


class ExpressionError(ValueError):
    """The schedule expression is not one that AWS takes; the text says which part."""


@dataclass(frozen=True)
class Rate:
    """Due again and again after the same time."""

    every: timedelta

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the moment one interval later."""
        return moment + self.every


@dataclass(frozen=True)
class Cron:
    """Due at the moments whose fields all match."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...]
    day_of_month: str
    day_of_week: str

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first moment after the given one that matches; None when there is none any more."""
        moment = moment.astimezone(UTC)
        for year in self.years:
            if year < moment.year:
                continue
            for month in self.months:
                if (year, month) < (moment.year, moment.month):
                    continue
                if (found := self._first_in_month(year, month, moment)) is not None:
                    return found
        return None

    def _first_in_month(self, year: int, month: int, moment: datetime) -> datetime | None:
        for day in sorted(self._days(year, month)):
            if date(year, month, day) < moment.date():
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    due = datetime(year, month, day, hour, minute, tzinfo=UTC)
                    if due > moment:
                        return due
        return None

    def _days(self, year: int, month: int) -> set[int]:
        if self.day_of_week == "?":
            return set(_days_of_month(self.day_of_month, year, month))
        return set(_days_of_week(self.day_of_week, year, month))


def parse(expression: str) -> Rate | Cron:
    """Read a schedule expression; raise ExpressionError where AWS would refuse it."""
    if match := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", expression):
        if int(match[1]) == 0:
            raise ExpressionError(f"{expression}: a rate must be at least 1")
        return Rate(timedelta(seconds=int(match[1]) * UNITS[match[2]]))
    if match := re.fullmatch(r"cron\((.*)\)", expression):
        return _cron(expression, match[1].upper().split())
    raise ExpressionError(f"{expression!r} is neither rate(…) nor cron(…)")


def _cron(expression: str, fields: list[str]) -> Cron:
    if len(fields) != 6:
        raise ExpressionError(f"{expression}: cron takes 6 fields, not {len(fields)}")
    minutes, hours, day_of_month, months, day_of_week, years = fields
    if (day_of_month == "?") == (day_of_week == "?"):
        raise ExpressionError(f"{expression}: exactly one of day-of-month and day-of-week must be ?")
    try:
        cron = Cron(
            minutes=_numbers(minutes, 0, 59),
            hours=_numbers(hours, 0, 23),
            months=_numbers(months, 1, 12, MONTHS),
            years=_numbers(years, FIRST_YEAR, LAST_YEAR),
            day_of_month=day_of_month,
            day_of_week=day_of_week,
        )
        cron._days(2024, 1)  # a month of 31 days: every field that can be read at all is read here
    except ValueError as reason:
        raise ExpressionError(f"{expression}: {reason}") from None
    return cron


def _days_of_month(field: str, year: int, month: int) -> Iterator[int]:
    last = monthrange(year, month)[1]
    for part in field.split(","):
        if part == "L":
            yield last
        elif part == "LW":
            yield _nearest_working_day(year, month, last)
        elif match := re.fullmatch(r"(\d+)W", part):
            (wanted,) = _numbers(match[1], 1, 31)
            if wanted <= last:
                yield _nearest_working_day(year, month, wanted)
        else:
            yield from (day for day in _numbers(part, 1, 31) if day <= last)


def _days_of_week(field: str, year: int, month: int) -> Iterator[int]:
    for part in field.split(","):
        if match := re.fullmatch(r"(\w+)#([1-5])", part):
            days = _days_with_weekday(year, month, *_numbers(match[1], 1, 7, WEEKDAYS))
            yield from days[int(match[2]) - 1 : int(match[2])]
        elif part != "L" and (match := re.fullmatch(r"(\w+)L", part)):
            yield _days_with_weekday(year, month, *_numbers(match[1], 1, 7, WEEKDAYS))[-1]
        else:  # L alone is the last day of the week, Saturday
            for weekday in _numbers("7" if part == "L" else part, 1, 7, WEEKDAYS):
                yield from _days_with_weekday(year, month, weekday)


def _days_with_weekday(year: int, month: int, weekday: int) -> list[int]:
    """Return the days of the month that fall on a weekday, which AWS counts from Sunday = 1."""
    first_weekday, last = monthrange(year, month)  # Monday = 0
    first = (weekday - 2 - first_weekday) % 7 + 1
    return list(range(first, last + 1, 7))


def _nearest_working_day(year: int, month: int, day: int) -> int:
    """Return the nearest day from Monday to Friday that is in the same month."""
    last = monthrange(year, month)[1]
    weekday = date(year, month, day).weekday()
    if weekday == SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _numbers(field: str, least: int, most: int, names: dict[str, int] | None = None) -> tuple[int, ...]:
    """Return the sorted numbers that a field of lists, ranges and steps means."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = least, most
        elif "-" in span:
            first, last = (_number(end, names) for end in span.split("-", 1))
        else:
            first = _number(span, names)
            last = most if step else first
        if "/" in part and not (step.isdecimal() and int(step) > 0):
            raise ValueError(f"{part!r} has no step after the /")
        if not least <= first <= last <= most:
            raise ValueError(f"{part!r} is not within {least} to {most}")
        found.update(range(first, last + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number")
    return int(text)

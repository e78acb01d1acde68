"""Periods of reports: cut into hours, days, weeks or months of any time zone, and put together from what is summed.

Sums are kept by month, day, six hours, hour and quarter of an hour of UTC. Each slot of a period is first taken as the
coarsest sums nearest to it, and then put right at both of its ends: a day of Denver is the day of UTC, less its first
six hours and the hour after them, and the same of the next day added. What one slot loses there its neighbour gets, so
an end is read once for both of them; and it is some sums, however many payments they hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gatehouse.errors import ValidationError

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # what is asked for without a beginning begins here
STEPS = ("hour", "day", "week", "month")
MOST_SLOTS = 10_000  # a year of hours has 8,784
NO_SLOT = -1
DEFAULT_DAYS = 30
FINEST = "entry"
LENGTHS = {"month": 28 * DAY, "day": DAY, "six_hours": 6 * HOUR, "hour": HOUR, "quarter": QUARTER}  # coarsest first


class Slot(NamedTuple):
    """One row of time in an answer: from a moment up to another, and how it is called there."""

    label: str
    since: datetime
    until: datetime


class Period(NamedTuple):
    """What a report is about: from a moment up to another, cut into slots where `by` says so."""

    since: datetime
    until: datetime
    zone: str
    by: str | None

    def slots(self) -> list[Slot]:
        """Return the hours, days, weeks or months of the period; the first and the last may be cut short by it."""
        if self.by is None:
            return [Slot("", self.since, self.until)]
        zone = ZoneInfo(self.zone)
        first = self.since.astimezone(zone)
        found: list[Slot] = []
        for (begin, label), (end, _) in pairwise(_hours(first) if self.by == "hour" else _days(first, self.by)):
            if begin >= self.until:
                return found
            since, until = max(begin, self.since), min(end, self.until)
            if since < until:  # a zone may have left out a whole day, or gone through a midnight twice
                found.append(Slot(label, since, until))
            if len(found) > MOST_SLOTS:
                raise ValidationError.of_field("by", f"would give more than {MOST_SLOTS} rows of time")
        raise AssertionError("time does not end")


class Piece(NamedTuple):
    """A range that is read from the sums of one level, or from the entries themselves, and the slots that it is of."""

    level: str
    since: datetime
    until: datetime
    adds_to: int | None  # the number of a slot, or NO_SLOT; None: each of its sums to a slot by `Ranges.nearest`
    takes_from: int  # the number of a slot that it is taken from, or NO_SLOT


class Ranges(NamedTuple):
    """What is read for some slots: where the coarsest sums of each begin, and the ranges of all sums."""

    nearest: list[datetime]
    pieces: list[Piece]


def period(
    *,
    now: datetime,
    first: date | None = None,
    last: date | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    zone: str = "UTC",
    by: str | None = None,
    days: int | None = DEFAULT_DAYS,
) -> Period:
    """Return the period that is asked for: by days of the zone, both of them in it, or by moments, the last one not.

    What is not given is up to now, and from `days` before that; from the beginning where `days` is None.
    """
    within = time_zone(zone)
    if by is not None and by not in STEPS:
        raise ValidationError.of_field("by", f"must be one of {', '.join(STEPS)}")
    if first is not None and since is not None:
        raise ValidationError.of_field("from", "and since exclude each other")
    if last is not None and until is not None:
        raise ValidationError.of_field("to", "and until exclude each other")
    end = _midnight(last + DAY, within) if last is not None else until or _ceiling(now)
    if first is not None:
        begin = _midnight(first, within)
    elif since is not None:
        begin = since
    else:
        begin = BEGINNING if days is None else end - timedelta(days=days)
    for name, moment in (("since", begin), ("until", end)):
        if moment.tzinfo is None or (moment - BEGINNING) % QUARTER:
            raise ValidationError.of_field(name, "must be a full quarter of an hour, with its zone")
        if not BEGINNING <= moment < datetime(2200, 1, 1, tzinfo=UTC):
            raise ValidationError.of_field(name, "must lie between 2000 and 2200")
    if begin >= end:
        raise ValidationError.of_field("from", "must lie before its end")
    return Period(begin.astimezone(UTC), end.astimezone(UTC), zone, by)


def time_zone(name: str) -> ZoneInfo:
    """Return a time zone by its name in the IANA database, or raise ValidationError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError.of_field("time_zone", "is no time zone that we know, such as America/Denver") from None


def ranges(slots: Sequence[Slot], levels: Iterable[str]) -> Ranges:
    """Return from which sums these slots, which touch each other, are put together."""
    kept = set(levels)
    longest = max(slot.until - slot.since for slot in slots)
    usable = [level for level, length in LENGTHS.items() if level in kept and length <= longest]
    coarsest, *finer = *usable, FINEST
    moments = [*(slot.since for slot in slots), slots[-1].until]
    nearest = [_nearest(moment, coarsest, moment) for moment in moments]
    found = [Piece(coarsest, nearest[0], nearest[-1], None, NO_SLOT)] if nearest[0] < nearest[-1] else []
    for number, (moment, begin) in enumerate(zip(moments, nearest, strict=True)):
        found += _corrections(moment, begin, finer, number - 1, number if number < len(slots) else NO_SLOT)
    return Ranges(nearest[:-1], found)


def _corrections(moment: datetime, begin: datetime, levels: Sequence[str], before: int, after: int) -> Iterator[Piece]:
    """Give what lies between a moment and where coarser sums have put it, for the slots before and after it."""
    for level in levels:
        if begin == moment:
            return
        end = _nearest(moment, level, begin)
        if end > begin:
            yield Piece(level, begin, end, before, after)
        elif end < begin:
            yield Piece(level, end, begin, after, before)
        begin = end


def _nearest(moment: datetime, level: str, begin: datetime) -> datetime:
    """Return the beginning of a sum of a level that is nearest to a moment, in the middle the one on the way to it."""
    if level == FINEST:
        return moment
    if level == "month":
        below = moment.replace(day=1, hour=0, minute=0)
        above = _next_month(below)
    else:
        below = moment - (moment - BEGINNING) % LENGTHS[level]
        above = below + LENGTHS[level]
    rest, missing = moment - below, above - moment
    return below if rest < missing or (rest == missing and begin <= below) else above


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)


def _hours(local: datetime) -> Iterator[tuple[datetime, str]]:
    """Give the moments at which hours begin, from the local time of a zone on, and what they are called there."""
    begin = local.astimezone(UTC) - timedelta(minutes=local.minute)
    while True:
        yield begin, begin.astimezone(local.tzinfo).isoformat()
        begin += HOUR


def _days(local: datetime, by: str) -> Iterator[tuple[datetime, str]]:
    """Give the moments at which days, weeks or months begin, from the local time of a zone on, and their first days."""
    day = local.date()
    if by == "week":
        day -= timedelta(days=day.weekday())
    elif by == "month":
        day = day.replace(day=1)
    while True:
        yield _midnight(day, local.tzinfo), day.isoformat()
        if by == "month":
            day = (day + timedelta(days=32)).replace(day=1)
        else:
            day += timedelta(days=7 if by == "week" else 1)


def _midnight(day: date, zone: tzinfo | None) -> datetime:
    """Return when a day begins; where clocks jump over midnight that is the moment of the jump."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _ceiling(now: datetime) -> datetime:
    return now + (BEGINNING - now) % QUARTER

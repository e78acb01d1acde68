"""Periods of reports: cut into hours, days, weeks or months of any time zone, and put together from what is summed.

Sums are kept by hour, day and month of UTC. A month of Kolkata is then its first half hours as entries, the hours up to
midnight of UTC, the days, and the same again backwards: exact, and never more than a few pieces.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gatehouse.errors import ValidationError

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)  # what is asked for without a beginning begins here
STEPS = ("hour", "day", "week", "month")
MOST_SLOTS = 10_000  # a year of hours has 8,784
DEFAULT_DAYS = 30
FINEST = "entry"
COARSEST_FIRST = ("month", "day", "hour")


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
        found: list[Slot] = []
        begin = _slot_begin(self.since.astimezone(zone), self.by)
        while begin < self.until:
            end = _slot_end(begin, self.by, zone)
            label = begin.astimezone(zone).isoformat() if self.by == "hour" else f"{begin.astimezone(zone):%Y-%m-%d}"
            found.append(Slot(label, max(begin, self.since), min(end, self.until)))
            if len(found) > MOST_SLOTS:
                raise ValidationError.of_field("by", f"would give more than {MOST_SLOTS} rows of time")
            begin = end
        return found


class Piece(NamedTuple):
    """A range that is read from the sums of one level, or from the entries themselves."""

    level: str
    since: datetime
    until: datetime


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


def pieces(slots: Sequence[Slot], levels: Iterable[str]) -> list[Piece]:
    """Return from which sums these slots are put together, with the coarsest that fit, touching ranges joined."""
    wanted = set(levels)
    usable = tuple(level for level in COARSEST_FIRST if level in wanted)
    found: list[Piece] = []
    for slot in slots:
        for piece in _cut(slot.since, slot.until, usable):
            if found and found[-1].level == piece.level and found[-1].until == piece.since:
                found[-1] = found[-1]._replace(until=piece.until)
            else:
                found.append(piece)
    return found


def _cut(since: datetime, until: datetime, levels: Sequence[str]) -> Iterator[Piece]:
    if since >= until:
        return
    if not levels:
        yield Piece(FINEST, since, until)
        return
    level, *finer = levels
    begin, end = _up(since, level), _down(until, level)
    if begin >= end:
        yield from _cut(since, until, finer)
        return
    yield from _cut(since, begin, finer)
    yield Piece(level, begin, end)
    yield from _cut(end, until, finer)


def _down(moment: datetime, level: str) -> datetime:
    if level == "month":
        return moment.replace(day=1, hour=0, minute=0)
    return moment - (moment - BEGINNING) % (DAY if level == "day" else HOUR)


def _up(moment: datetime, level: str) -> datetime:
    below = _down(moment, level)
    if below == moment:
        return moment
    return _next_month(below) if level == "month" else below + (DAY if level == "day" else HOUR)


def _next_month(first: datetime) -> datetime:
    return (first + timedelta(days=32)).replace(day=1)


def _slot_begin(local: datetime, by: str) -> datetime:
    if by == "hour":
        return local.astimezone(UTC) - timedelta(minutes=local.minute)
    day = local.date()
    if by == "week":
        day -= timedelta(days=day.weekday())
    elif by == "month":
        day = day.replace(day=1)
    return _midnight(day, local.tzinfo)


def _slot_end(begin: datetime, by: str, zone: ZoneInfo) -> datetime:
    if by == "hour":
        return begin + HOUR
    day = begin.astimezone(zone).date()
    if by == "month":
        return _midnight((day + timedelta(days=32)).replace(day=1), zone)
    return _midnight(day + timedelta(days=7 if by == "week" else 1), zone)


def _midnight(day: date, zone: object) -> datetime:
    """Return when a day begins; where clocks jump over midnight that is the moment of the jump."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)  # type: ignore[arg-type]  # a tzinfo


def _ceiling(now: datetime) -> datetime:
    return now + (BEGINNING - now) % QUARTER

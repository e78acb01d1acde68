"""Periods: cut in any time zone, and put together again without a gap or an overlap."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random

import pytest

from gatehouse.errors import ValidationError
from gatehouse.reports.periods import BEGINNING, Period, Ranges, Slot, period, ranges

NOW = datetime(2026, 11, 28, 10, 7, tzinfo=UTC)
ALL_LEVELS = ("month", "day", "six_hours", "hour", "quarter")
ZONES = ("UTC", "America/Denver", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Sao_Paulo")


def test_days_are_of_the_time_zone_and_the_last_one_is_in_it() -> None:
    found = period(now=NOW, first=date(2026, 1, 1), last=date(2026, 12, 31), zone="America/Denver", by="month")
    assert found.since == datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert found.until == datetime(2027, 1, 1, 7, tzinfo=UTC)
    slots = found.slots()
    assert [slot.label for slot in slots] == [f"2026-{month:02}-01" for month in range(1, 13)]
    assert slots[6].since == datetime(2026, 7, 1, 6, tzinfo=UTC)  # in summer


def test_without_an_end_it_goes_up_to_now_and_thirty_days_back() -> None:
    found = period(now=NOW)
    assert found.until == datetime(2026, 11, 28, 10, 15, tzinfo=UTC)
    assert found.until - found.since == timedelta(days=30)
    assert period(now=NOW, days=None).since == BEGINNING


def test_the_day_that_has_no_midnight_begins_when_the_clocks_jump() -> None:
    found = period(now=NOW, first=date(2018, 11, 4), last=date(2018, 11, 4), zone="America/Sao_Paulo", by="day")
    assert found.until - found.since == timedelta(hours=23)


def test_a_day_that_a_zone_left_out_is_no_row() -> None:
    found = period(now=NOW, first=date(2011, 12, 29), last=date(2011, 12, 31), zone="Pacific/Apia", by="day")
    assert [slot.label for slot in found.slots()] == ["2011-12-29", "2011-12-31"]


def read_in(slots: Sequence[Slot], found: Ranges) -> list[set[tuple[datetime, int]]]:
    """Return what is read for each slot: where it begins (1) and ends (-1), what cancels itself left out."""
    read: list[Counter[datetime]] = [Counter() for _ in slots]

    def note(number: int, since: datetime, until: datetime, sign: int) -> None:
        if number >= 0:
            read[number][since] += sign
            read[number][until] -= sign

    for piece in found.pieces:
        if piece.adds_to is None:  # cut as width_bucket cuts it
            for at, end in pairwise([*sorted({*found.nearest, piece.since}), piece.until]):
                note(bisect_right(found.nearest, at) - 1, at, end, 1)
        else:
            note(piece.adds_to, piece.since, piece.until, 1)
        note(piece.takes_from, piece.since, piece.until, -1)
    return [{(at, sign) for at, sign in each.items() if sign} for each in read]


@pytest.mark.parametrize("by", ["hour", "day", "week", "month", None])
@pytest.mark.parametrize("zone", ZONES)
def test_each_slot_is_put_together_exactly(by: str | None, zone: str) -> None:
    random = Random(f"{by} {zone}")  # noqa: S311 - no secrets
    for _ in range(20):
        since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * random.randrange(40_000))
        until = since + timedelta(minutes=15 * random.randrange(1, 20_000))
        slots = Period(since, until, zone, by).slots()
        for levels in (("month", "day"), ("month", "day", "hour"), ALL_LEVELS, ()):
            found = ranges(slots, levels)
            for piece in found.pieces:
                assert piece.since < piece.until
                step = {"hour": 3600, "six_hours": 21_600, "day": 86_400}.get(piece.level, 900)
                assert (piece.since - BEGINNING).total_seconds() % step == 0
                assert (piece.until - BEGINNING).total_seconds() % step == 0
                if piece.level == "month":
                    assert piece.since.day == piece.until.day == 1
            assert read_in(slots, found) == [{(slot.since, 1), (slot.until, -1)} for slot in slots]
        assert [slot.since for slot in slots[1:]] == [slot.until for slot in slots[:-1]]
        assert (slots[0].since, slots[-1].until) == (since, until)


def test_a_year_of_whole_months_is_twelve_sums_and_no_entry() -> None:
    year = period(now=NOW, first=date(2026, 1, 1), last=date(2026, 12, 31), by="month")
    assert [piece.level for piece in ranges(year.slots(), ALL_LEVELS).pieces] == ["month"]


@pytest.mark.parametrize(
    ("zone", "most"),
    [("UTC", 1), ("America/Denver", 3), ("Asia/Kolkata", 4), ("Asia/Kathmandu", 4), ("Asia/Tokyo", 5)],
)
def test_a_day_of_any_zone_is_some_sums(zone: str, most: int) -> None:
    year = period(now=NOW, first=date(2026, 1, 1), last=date(2026, 12, 31), zone=zone, by="day")
    found = ranges(year.slots(), ALL_LEVELS).pieces
    steps = {"quarter": 900, "hour": 3600, "six_hours": 21_600, "day": 86_400}
    sums = sum((piece.until - piece.since).total_seconds() / steps[piece.level] for piece in found)
    assert sums <= (365 + 1) * most


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"zone": "Mars/Olympus"}, "time_zone"),
        ({"zone": "../../etc/passwd"}, "time_zone"),
        ({"by": "fortnight"}, "by"),
        ({"since": datetime(2026, 1, 1, 0, 7, tzinfo=UTC)}, "since"),
        ({"since": datetime(2026, 1, 1)}, "since"),  # noqa: DTZ001 - a time without a zone is the mistake
        ({"first": date(2026, 1, 2), "last": date(2026, 1, 1)}, "from"),
        ({"first": date(2026, 1, 2), "since": NOW}, "from"),
        ({"last": date(2026, 1, 2), "until": NOW}, "to"),
        ({"first": date(1969, 1, 2)}, "since"),
    ],
)
def test_what_is_no_period_names_its_field(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        period(now=NOW, **wrong)  # type: ignore[arg-type]  # wrong ones, of any type
    assert refused.value.field == field


def test_too_many_rows_of_time_are_refused() -> None:
    with pytest.raises(ValidationError):
        period(now=NOW, days=None, by="hour").slots()

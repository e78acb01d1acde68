"""Periods: cut in any time zone, and put together again without a gap or an overlap."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from gatehouse.errors import ValidationError
from gatehouse.reports.periods import BEGINNING, Period, period, pieces

NOW = datetime(2026, 11, 28, 10, 7, tzinfo=UTC)
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


@pytest.mark.parametrize("by", ["hour", "day", "week", "month", None])
@pytest.mark.parametrize("zone", ZONES)
def test_slots_and_pieces_cover_the_period_once(by: str | None, zone: str) -> None:
    random = Random(f"{by} {zone}")  # noqa: S311 - no secrets
    for _ in range(20):
        since = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * random.randrange(40_000))
        until = since + timedelta(minutes=15 * random.randrange(1, 20_000))
        slots = Period(since, until, zone, by).slots()
        for levels in (("month", "day"), ("month", "day", "hour"), ()):
            found = pieces(slots, levels)
            at = since
            for piece in found:
                assert piece.since == at < piece.until
                at = piece.until
                step = {"hour": 3600, "day": 86_400}.get(piece.level, 900)
                assert (piece.since - BEGINNING).total_seconds() % step == 0
                assert (piece.until - BEGINNING).total_seconds() % step == 0
                if piece.level == "month":
                    assert piece.since.day == piece.until.day == 1
            assert at == until
        assert [slot.since for slot in slots[1:]] == [slot.until for slot in slots[:-1]]
        assert (slots[0].since, slots[-1].until) == (since, until)


def test_a_year_of_whole_months_is_twelve_sums_and_no_entry() -> None:
    year = period(now=NOW, first=date(2026, 1, 1), last=date(2026, 12, 31), by="month")
    assert [piece.level for piece in pieces(year.slots(), ("month", "day", "hour"))] == ["month"]


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

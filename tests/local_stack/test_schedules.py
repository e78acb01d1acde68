"""Schedules are due when AWS says, and the function gets EventBridge's event."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat

import pytest

from local.cron import ExpressionError, parse
from local.schedules import Outcome, Schedules, scheduled_event
from local.template import Schedule

FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def next_times(expression: str, after: datetime, count: int) -> list[str]:
    """Return the next few moments as text."""
    moments = []
    moment: datetime | None = after
    for _ in range(count):
        assert moment is not None
        moment = parse(expression).next_after(moment)
        moments.append(moment.strftime("%a %Y-%m-%d %H:%M") if moment else "never")
    return moments


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # The examples of AWS's own pages, and what they promise.
        ("cron(0 10 * * ? *)", ["Sat 2026-11-21 10:00", "Sun 2026-11-22 10:00"]),
        ("cron(15 12 * * ? *)", ["Fri 2026-11-20 12:15", "Sat 2026-11-21 12:15"]),
        ("cron(0 18 ? * MON-FRI *)", ["Fri 2026-11-20 18:00", "Mon 2026-11-23 18:00"]),
        ("cron(0 8 1 * ? *)", ["Tue 2026-12-01 08:00", "Fri 2027-01-01 08:00"]),
        ("cron(0/15 * * * ? *)", ["Fri 2026-11-20 12:15", "Fri 2026-11-20 12:30"]),
        ("cron(0/10 * ? * MON-FRI *)", ["Fri 2026-11-20 12:10", "Fri 2026-11-20 12:20"]),
        ("cron(0/5 8-17 ? * MON-FRI *)", ["Fri 2026-11-20 12:05", "Fri 2026-11-20 12:10"]),
        ("cron(0 9 ? * 2#1 *)", ["Mon 2026-12-07 09:00", "Mon 2027-01-04 09:00"]),
        ("cron(15 10 ? * 6L 2026-2027)", ["Fri 2026-11-27 10:15", "Fri 2026-12-25 10:15"]),
        # The special days.
        ("cron(0 0 L * ? *)", ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00"]),
        ("cron(0 0 L 2 ? *)", ["Sun 2027-02-28 00:00", "Tue 2028-02-29 00:00"]),
        ("cron(0 0 15W * ? *)", ["Tue 2026-12-15 00:00", "Fri 2027-01-15 00:00", "Mon 2027-02-15 00:00"]),
        ("cron(0 0 1W 5,8 ? *)", ["Mon 2027-05-03 00:00", "Mon 2027-08-02 00:00"]),  # a Saturday and a Sunday
        ("cron(0 0 31W * ? *)", ["Thu 2026-12-31 00:00", "Fri 2027-01-29 00:00"]),  # never in February
        ("cron(0 0 LW * ? *)", ["Mon 2026-11-30 00:00", "Thu 2026-12-31 00:00", "Fri 2027-01-29 00:00"]),
        ("cron(0 0 ? * L *)", ["Sat 2026-11-21 00:00", "Sat 2026-11-28 00:00"]),
        ("cron(0 0 ? * WED#5 *)", ["Wed 2026-12-30 00:00", "Wed 2027-03-31 00:00"]),
        ("cron(30 6 29 2 ? *)", ["Tue 2028-02-29 06:30", "Sun 2032-02-29 06:30"]),
        (
            "cron(10-20/5,50 0 ? JAN,mar SUN *)",
            ["Sun 2027-01-03 00:10", "Sun 2027-01-03 00:15", "Sun 2027-01-03 00:20"],
        ),
        ("cron(0 12 1 1 ? 2020)", ["never"]),
        ("rate(1 minute)", ["Fri 2026-11-20 12:01", "Fri 2026-11-20 12:02"]),
        ("rate(12 hours)", ["Sat 2026-11-21 00:00", "Sat 2026-11-21 12:00"]),
        ("rate(7 days)", ["Fri 2026-11-27 12:00", "Fri 2026-12-04 12:00"]),
    ],
)
@pytest.mark.req("O2")
def test_the_next_times_are_those_of_aws(expression: str, expected: list[str]) -> None:
    assert next_times(expression, FRIDAY_NOON, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("every minute", "neither rate"),
        ("rate(0 minutes)", "at least 1"),
        ("rate(5 seconds)", "neither rate"),
        ("cron(0 10 * * *)", "6 fields, not 5"),
        ("cron(0 10 * * * *)", "must be ?"),
        ("cron(0 10 ? * ? *)", "must be ?"),
        ("cron(60 10 * * ? *)", "0 to 59"),
        ("cron(0 10 32 * ? *)", "1 to 31"),
        ("cron(0 10 ? * MON#6 *)", "not a number"),
        ("cron(0 10 ? * 8L *)", "1 to 7"),
        ("cron(0/ 10 * * ? *)", "no step"),
        ("cron(0 10 * FOO ? *)", "not a number"),
        ("cron(0 17-8 * * ? *)", "0 to 23"),
    ],
)
@pytest.mark.req("O2")
def test_an_expression_that_aws_refuses_is_refused_here(expression: str, complaint: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(expression)
    assert complaint in str(refused.value)


@dataclass
class Answer:
    """What a fake function answered."""

    failed: bool = False


@dataclass
class FakeFunction:
    """Keeps the events that it is invoked with."""

    error: Exception | None = None
    events: list[bytes] = field(default_factory=list)
    invoked: threading.Event = field(default_factory=threading.Event)

    def invoke(self, payload: bytes) -> Outcome:
        """Keep the event."""
        self.events.append(payload)
        self.invoked.set()
        if self.error is not None:
            raise self.error
        return Answer()


def schedule(function_id: str, *, enabled: bool = True, input_text: str | None = None) -> Schedule:
    """Return a schedule of every minute."""
    return Schedule(function_id, f"{function_id}Schedule", "rate(1 minute)", enabled, input_text)


@contextmanager
def running(schedules: Schedules) -> Iterator[None]:
    """Keep schedules running for a while."""
    schedules.start()
    try:
        yield
    finally:
        schedules.stop()


@pytest.mark.req("O2")
def test_due_schedules_run_again_and_again_and_disabled_ones_never() -> None:
    sweeper, sleeper, broken = FakeFunction(), FakeFunction(), FakeFunction(error=RuntimeError("throttled"))
    outcomes: list[tuple[str, str]] = []
    enough = threading.Event()

    def on_run(ran: Schedule, outcome: Outcome | Exception) -> None:
        outcomes.append((ran.function_id, type(outcome).__name__))
        if len(outcomes) >= 6:
            enough.set()

    schedules = Schedules(
        [schedule("Sweeper"), schedule("Sleeper", enabled=False), schedule("Broken")],
        {"Sweeper": sweeper, "Sleeper": sleeper, "Broken": broken},
        on_run=on_run,
        every_seconds=0.02,
    )
    with running(schedules):
        assert enough.wait(5)
    assert sleeper.events == []
    assert set(outcomes) == {("Sweeper", "Answer"), ("Broken", "RuntimeError")}
    assert len(sweeper.events) >= 2


@pytest.mark.req("O2")
def test_a_machine_that_slept_runs_a_schedule_once_and_not_for_every_missed_minute() -> None:
    sweeper = FakeFunction()
    clock = chain([FRIDAY_NOON], repeat(FRIDAY_NOON + timedelta(hours=3)))
    schedules = Schedules([schedule("Sweeper")], {"Sweeper": sweeper}, on_run=lambda *_: None, now=lambda: next(clock))
    with running(schedules):
        assert sweeper.invoked.wait(5)
    assert [json.loads(event)["time"] for event in sweeper.events] == ["2026-11-20T12:01:00Z"]


@pytest.mark.req("O2")
def test_the_event_is_the_one_of_eventbridge() -> None:
    event = json.loads(scheduled_event(schedule("Sweeper"), FRIDAY_NOON))
    assert event.pop("id")
    assert event == {
        "version": "0",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": "2026-11-20T12:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/SweeperSchedule"],
        "detail": {},
    }


@pytest.mark.req("O2")
def test_a_schedule_with_its_own_input_sends_that() -> None:
    assert scheduled_event(schedule("Sweeper", input_text='{"only": "stripe"}'), FRIDAY_NOON) == b'{"only": "stripe"}'

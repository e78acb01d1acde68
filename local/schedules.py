"""Runs the template's schedules: at each due moment the function gets the event that EventBridge would send.

EventBridge repeats a failed invocation twice, minutes later. Here it is only reported: a schedule comes again anyway.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from local.cron import Cron, Rate, parse
from local.sam_expansion import ACCOUNT, REGION
from local.template import Schedule


class Outcome(Protocol):
    """What a schedule wants to know about an invocation."""

    @property
    def failed(self) -> bool:
        """Tell whether the function raised, crashed or ran out of time."""


class Invocable(Protocol):
    """A function that can be invoked and waits for the answer."""

    def invoke(self, payload: bytes) -> Outcome:
        """Run the function once with this event."""


@dataclass
class _Clockwork:
    schedule: Schedule
    expression: Rate | Cron
    due: datetime | None


class Schedules:
    """All enabled schedules of a stack, on one thread; each due run has a thread of its own.

    `every_seconds` takes the place of every expression: for tests, which cannot wait a minute.
    """

    def __init__(
        self,
        schedules: Sequence[Schedule],
        functions: Mapping[str, Invocable],
        *,
        on_run: Callable[[Schedule, Outcome | Exception], None],
        every_seconds: float | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._functions = functions
        self._on_run = on_run
        self._now = now
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_time, name="schedules", daemon=True)
        self._clockworks = [
            _Clockwork(each, Rate(timedelta(seconds=every_seconds)) if every_seconds else parse(each.expression), None)
            for each in schedules
            if each.enabled
        ]

    def start(self) -> None:
        """Begin to count; a rate is due one interval from now, as on AWS."""
        for clockwork in self._clockworks:
            clockwork.due = clockwork.expression.next_after(self._now())
        self._thread.start()

    def stop(self) -> None:
        """Start no further run; runs that have begun go on until their function ends."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _keep_time(self) -> None:
        while not self._stopped.wait(self._seconds_to_next()):
            now = self._now()
            for clockwork in self._clockworks:
                if clockwork.due is not None and clockwork.due <= now:
                    threading.Thread(target=self._run, args=(clockwork.schedule, clockwork.due), daemon=True).start()
                    # A machine that slept does not catch up: the next moment is counted from now.
                    following = clockwork.expression.next_after(clockwork.due)
                    late = following is not None and following <= now
                    clockwork.due = clockwork.expression.next_after(now) if late else following

    def _seconds_to_next(self) -> float:
        waits = [(each.due - self._now()).total_seconds() for each in self._clockworks if each.due is not None]
        return max(0.0, min(waits, default=60.0))

    def _run(self, schedule: Schedule, due: datetime) -> None:
        try:
            outcome: Outcome | Exception = self._functions[schedule.function_id].invoke(scheduled_event(schedule, due))
        except Exception as reason:  # noqa: BLE001 - throttled or stopped: reported, and the clock goes on
            outcome = reason
        if not self._stopped.is_set():
            self._on_run(schedule, outcome)


def scheduled_event(schedule: Schedule, due: datetime) -> bytes:
    """Return the event of one run: the schedule's own input where it has one, else EventBridge's."""
    if schedule.input is not None:
        return schedule.input.encode()
    event = {
        "version": "0",
        "id": str(uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": due.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{schedule.name}"],
        "detail": {},
    }
    return json.dumps(event).encode()

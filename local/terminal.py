"""What `make run` shows: one line a request, batch and failure; with VERBOSE=1 also what the functions write."""

import sys
import threading
from datetime import datetime
from typing import TextIO

from local.lambda_runtime import Invocation
from local.queue_pollers import BatchOutcome
from local.schedules import Outcome
from local.template import Schedule

LONGEST_WORDS = 300


class Terminal:
    """Writes whole lines, from any thread."""

    def __init__(self, *, verbose: bool = False, output: TextIO | None = None) -> None:
        self._verbose = verbose
        self._output = output or sys.stdout
        self._turn = threading.Lock()

    def say(self, words: str = "") -> None:
        """Write a line as it is."""
        with self._turn:
            print(words, file=self._output, flush=True)

    def request(self, status: int, route: str, function: str, milliseconds: float) -> None:
        """Write the line of one HTTP request."""
        self._event(str(status), route, function, milliseconds)

    def batch(self, function: str, queue: str, outcome: BatchOutcome) -> None:
        """Write the line of one batch of messages."""
        status = "ok" if outcome.failure is None else "failed"
        what = f"{queue}: {outcome.done} of {outcome.messages} done"
        self._event(status, what, function, outcome.milliseconds, outcome.failure or "")

    def scheduled(self, function: str, schedule: Schedule, outcome: Outcome | Exception) -> None:
        """Write that a scheduled run could not begin; in verbose mode also each good run, as there is one a minute.

        Why a run failed is told by `function_failed`.
        """
        if isinstance(outcome, Exception):
            self._event("failed", f"{schedule.expression}: {type(outcome).__name__}: {outcome}", function, 0)
        elif self._verbose and not outcome.failed:
            self._event("ok", schedule.expression, function, 0)

    def function_failed(self, function: str, invocation: Invocation) -> None:
        """Write why a function failed: it raised, could not be imported, crashed, or ran out of time."""
        self._event("error", f"{invocation.error_type}: {invocation.error_message}", function, invocation.milliseconds)

    def function_broken(self, handler: str, reason: str) -> None:
        """Write that a function cannot be imported, before anybody has asked for it."""
        self._event("error", f"cannot be imported: {reason}", handler.partition(".")[0], 0)

    def function_line(self, function: str, line: str) -> None:
        """Write a line that a function wrote, in verbose mode."""
        if self._verbose:
            self.say(f"  {function}  {line}")

    def _event(self, status: str, what: str, function: str, milliseconds: float, remark: str = "") -> None:
        moment = datetime.now().astimezone().strftime("%H:%M:%S")
        words = " ".join(f"{what}{'  ' if remark else ''}{remark}".split())
        if len(words) > LONGEST_WORDS:
            words = words[:LONGEST_WORDS] + " …"
        time = f"{milliseconds:6.0f} ms" if milliseconds else " " * 9
        self.say(f"{moment} {status:>6} {time}  {function:<19} {words}")

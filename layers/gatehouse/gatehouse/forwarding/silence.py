"""Knows within one process when an app has fallen silent, long before its circuit can.

A delivery to a silent app waits for the end of three attempts (a probe: of one), and the whole batch waits with it.
Where several deliveries run into the same silence at once, further attempts bring nothing: they end, and the queue
comes again.
"""

import threading
import time
from collections.abc import Callable, Hashable

SURE_AFTER = 5  # as many as open a circuit
SECONDS = 30.0  # what was longer ago proves nothing


class Silence:
    """Counts the attempts of late that an app left without an answer; safe for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._noted: dict[Hashable, list[float]] = {}

    def note(self, app: Hashable) -> bool:
        """Note an attempt without an answer; tell whether there have been so many that nobody seems to be there."""
        now = self._clock()
        with self._turn:
            recent = [moment for moment in self._noted.get(app, ()) if moment > now - SECONDS]
            self._noted[app] = [*recent[-SURE_AFTER:], now]
            return len(recent) + 1 >= SURE_AFTER

    def broken(self, app: Hashable) -> None:
        """Note that the app has answered."""
        with self._turn:
            self._noted.pop(app, None)

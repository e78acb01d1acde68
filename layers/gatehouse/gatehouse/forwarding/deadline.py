"""One moment by which a whole piece of work must be done, however many steps it has."""

import time
from collections.abc import Callable


class Deadline:
    """A moment that comes; each step asks how much is left."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock() + seconds

    def left(self) -> float:
        """Return the seconds that are left; raise TimeoutError when there are none."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError("the time is up")
        return left

    def sooner(self, seconds: float) -> "Deadline":
        """Return this deadline, or one in so many seconds if that is earlier."""
        other = Deadline(seconds, self._clock)
        return other if other._at < self._at else self

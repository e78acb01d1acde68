"""How far a long command has come: a line on stderr now and then, and where to go on."""

import time
from collections.abc import Callable, Iterable, Iterator

from cli import output
from gatehouse.intake.refold import Batch, Place

SECONDS_BETWEEN_LINES = 2.0


def followed(
    batches: Iterable[Batch],
    ends: dict[str, int],
    *,
    go_on: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Batch]:
    """Yield the batches, and tell on the way how fast it goes and what is left; Ctrl-C tells where to go on."""
    began = told = clock()
    rows = 0
    place: Place | None = None
    kind, kind_began, kind_from = "", began, 0
    try:
        for batch in batches:
            if batch.done.kind != kind:
                kind, kind_began, kind_from = batch.done.kind, clock(), place.id if place and place.kind == kind else 0
            yield batch
            rows += batch.rows
            place = batch.done
            now = clock()
            if now - told >= SECONDS_BETWEEN_LINES:
                told = now
                left = _left(place.id - kind_from, ends.get(kind, 0) - place.id, now - kind_began)
                output.note(f"{kind}/{place.id}: {rows} rows, {rows / (now - began):.0f} a second, {left} of this kind")
    except KeyboardInterrupt:
        if place:
            how = go_on or f"Go on with --after {place.kind}/{place.id}"
            output.note(f"stopped; everything up to here is done. {how}")
        raise


def _left(done: int, to_do: int, seconds: float) -> str:
    if done <= 0 or to_do <= 0:
        return "almost at the end"
    left = seconds * to_do / done
    return f"about {left / 60:.0f} minutes left" if left >= 90 else f"about {left:.0f} seconds left"


class Counted:
    """How far a command has come that knows how much there is: a line on stderr now and then."""

    def __init__(self, total: int, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._what = what
        self._clock = clock
        self._began = self._told = clock()

    def step(self, done: int, rows: int | None = None) -> None:
        """Note that so much of the total is done; `rows` counts them where the total is of something else."""
        now = self._clock()
        if now - self._told < SECONDS_BETWEEN_LINES:
            return
        self._told = now
        seconds = now - self._began
        counted = done if rows is None else rows
        left = _left(done, self._total - done, seconds)
        share = f"{100 * done // self._total} %" if self._total else "all"
        output.note(f"{share}: {counted} {self._what}, {counted / seconds:.0f} a second, {left}")


class Pace:
    """How far a command has come of about so many things, told now and then with its rate and the time left."""

    def __init__(self, expected: int, what: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = expected
        self._what = what
        self._clock = clock
        self._began = self._told = clock()
        self.done = 0

    def move(self, more: int, place: str) -> None:
        """Note that so many more are done, up to this place."""
        self.done += more
        now = self._clock()
        if now - self._told >= SECONDS_BETWEEN_LINES:
            self._told = now
            left = _left(self.done, self._expected - self.done, now - self._began)
            output.note(
                f"{place}: {self.done} of about {self._expected} {self._what}, {self.rate:.0f} a second, {left}"
            )

    @property
    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return max(self._clock() - self._began, 0.001)

    @property
    def rate(self) -> float:
        """Return how many a second."""
        return self.done / self.seconds

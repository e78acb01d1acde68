"""A measured figure, and how a candidate is measured beside its floor."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured value; with a floor its limit bounds the ratio, without one the value itself."""

    name: str
    value: float
    unit: str
    floor: float | None = None
    limit: float | None = None
    more_is_better: bool = False

    @property
    def ratio(self) -> float | None:
        """Return how much dearer than the floor this is: 1 is as good as the floor, 2 costs twice as much."""
        if self.floor is None:
            return None
        return self.floor / self.value if self.more_is_better else self.value / self.floor

    @property
    def missed(self) -> bool:
        """Tell whether a limit was set and not held."""
        judged = self.value if self.ratio is None else self.ratio
        return self.limit is not None and judged > self.limit

    def line(self) -> str:
        """Return the figure as one plain line."""
        words = [f"{self.name:<58}", f"{_number(self.value)} {self.unit:<9}"]
        words.append("" if self.floor is None else f"floor {_number(self.floor)}")
        words.append("" if self.ratio is None else f"ratio {self.ratio:5.2f}")
        words.append("" if self.limit is None else f"limit {self.limit:g}")
        words.append("" if self.limit is None else "MISSED" if self.missed else "ok")
        return "  ".join(word for word in words if word)


class Measured(NamedTuple):
    """Medians over the rounds: of the floor, of the candidate, and of the ratio within a round."""

    floor: float
    value: float
    ratio: float


def alternating(floor: Callable[[], float], candidate: Callable[[], float], *, rounds: int) -> Measured:
    """Measure floor and candidate in turn, so that a machine that slows down slows both.

    The first round warms caches and is not counted. The value is the floor's median times the median ratio: so the
    printed ratio is the one that was measured within the rounds.
    """
    pairs = []
    for turn in range(rounds + 1):
        pairs.append((floor(), candidate()) if turn % 2 else (candidate(), floor())[::-1])
    counted = pairs[1:]
    ratio = median(value / base for base, value in counted)
    base = median(base for base, _ in counted)
    return Measured(base, base * ratio, ratio)


def show(figures: Sequence[Figure]) -> list[str]:
    """Print the figures; return the names of those that missed their number."""
    for figure in figures:
        print(figure.line(), flush=True)
    return [figure.name for figure in figures if figure.missed]


def _number(value: float) -> str:
    return f"{value:9.0f}" if value >= 1000 else f"{value:9.3f}" if value < 10 else f"{value:9.1f}"

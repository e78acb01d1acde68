"""Charts as plain geometry: templates draw it as SVG, beside a table that says the same in words."""

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 720, 180
GAP = 2


class Bar(NamedTuple):
    """One bar, and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    label: str
    value: float
    shown: str


def bars(points: Sequence[tuple[str, float, str]]) -> list[Bar]:
    """Return a bar for each (label, value, value as shown); the highest fills the chart, less than nothing is none."""
    if not points:
        return []
    top = max(max(value for _, value, _ in points), 0) or 1
    step = WIDTH / len(points)
    made = []
    for place, (label, value, shown) in enumerate(points):
        height = round(max(value, 0) / top * (HEIGHT - 4), 1)
        width = round(max(step - GAP, 1), 1)
        made.append(
            Bar(round(place * step + GAP / 2, 1), round(HEIGHT - height, 1), width, height, label, value, shown)
        )
    return made


def lines(values: Sequence[float]) -> str:
    """Return the points of a line through the values, as SVG's polyline takes them."""
    if not values:
        return ""
    top = max(max(values), 0) or 1
    step = WIDTH / max(len(values) - 1, 1)
    return " ".join(
        f"{place * step:.1f},{HEIGHT - 2 - max(value, 0) / top * (HEIGHT - 4):.1f}"
        for place, value in enumerate(values)
    )

"""The dashboards of the template as a page, drawn from the metrics that the local stack has emitted."""

import html
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from local.cloudwatch import Dimensions, Series, State

COLOURS = ("#1f77b4", "#d95f02", "#1b9e77", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#666666", "#17becf", "#bcbd22")
WIDTH, HEIGHT, MARGIN = 600, 150, 8
MOST_PERIODS = 60

STYLE = Path(__file__).with_suffix(".css").read_text()


class Line(NamedTuple):
    """One metric of a widget: its name in the legend, and a value for each period, the oldest first."""

    label: str
    values: list[float | None]


def page(
    dashboards: Mapping[str, Mapping[str, Any]],
    series: Series,
    states: Mapping[str, State],
    *,
    now: float,
    period: int = 60,
) -> str:
    """Return the whole page, without anything that a browser would have to fetch."""
    ringing_first = sorted(states.items(), key=lambda alarm: alarm[1] != State.ALARM)
    alarms = "".join(_alarm(name, state) for name, state in ringing_first)
    parts = [f"<h1>{_summary(list(states.values()))}</h1><p class=alarms>{alarms}</p>"]
    for name, dashboard in dashboards.items():
        widgets = "".join(_widget(widget, series, now, period) for widget in dashboard["widgets"])
        parts.append(f"<h1>{html.escape(name)}</h1><div class=grid>{widgets}</div>")
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    note = f"<p class=note>Drawn at {moment} from what the local stack emitted; one point is {period} s.</p>"
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width'><title>Gatehouse dashboards</title>"
    body = "".join(parts) + note
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>"


def _summary(states: Sequence[State]) -> str:
    """Say in a line whether anything rings."""
    ringing = sum(state == State.ALARM for state in states)
    if ringing:
        return f"{ringing} of {len(states)} alarms {'rings' if ringing == 1 else 'ring'}"
    return f"Alarms: all {len(states)} are quiet"


def _alarm(name: str, state: State) -> str:
    ringing = " ringing" if state == State.ALARM else ""
    return f"<span class='alarm{ringing}'>{html.escape(name)}: {state}</span>"


def _widget(widget: Mapping[str, Any], series: Series, now: float, period: int) -> str:
    column = f"grid-column: {widget['x'] + 1} / span {widget['width']}"
    place = f"{column}; grid-row: {widget['y'] + 1} / span {widget['height']}"
    properties = widget["properties"]
    if widget["type"] == "text":
        return f"<div class=card style='{place}'>{_markdown(properties['markdown'])}</div>"
    lines = list(_lines(properties, series, now, period))
    draw = _numbers if properties["view"] == "singleValue" else _chart
    return f"<section class=card style='{place}'><h2>{html.escape(properties['title'])}</h2>{draw(lines)}</section>"


def _lines(properties: Mapping[str, Any], series: Series, now: float, period: int) -> Iterator[Line]:
    is_number = properties["view"] == "singleValue"
    for namespace, metric, *rest in properties["metrics"]:
        options: Mapping[str, Any] = rest[-1] if rest and isinstance(rest[-1], dict) else {}
        names = [each for each in rest if isinstance(each, str)]
        dimensions: Dimensions = tuple(sorted(zip(names[::2], names[1::2], strict=True)))
        statistic = options.get("stat", properties.get("stat", "Sum"))
        length = properties.get("period", period) if is_number else period
        count = 1 if is_number else MOST_PERIODS
        starts = [now - length * place for place in range(count, 0, -1)]
        values = [series.value(namespace, metric, dimensions, statistic, start, start + length) for start in starts]
        yield Line(options.get("label", metric), values)


def _numbers(lines: Sequence[Line]) -> str:
    shown = "".join(
        f"<div class=number><b>{'–' if line.values[-1] is None else _short(line.values[-1])}</b>"  # noqa: RUF001 - an en dash, as in tables
        f"{html.escape(line.label)}</div>"
        for line in lines
    )
    return f"<div class=numbers>{shown}</div>"


def _chart(lines: Sequence[Line]) -> str:
    highest = max((value for line in lines for value in line.values if value is not None), default=None)
    if highest is None:
        return "<p class=empty>nothing was emitted in this time</p>"
    top = highest or 1.0
    curves = "".join(_curve(line, COLOURS[place % len(COLOURS)], top) for place, line in enumerate(lines))
    axis = f"<span class=note>{_short(top)}</span>"  # beside the drawing, which is stretched to its place
    base = f"<line x1=0 x2={WIDTH} y1={HEIGHT - MARGIN} y2={HEIGHT - MARGIN} stroke=currentColor opacity=.3 />"
    legend = "".join(
        f"<span><b style='color: {COLOURS[place % len(COLOURS)]}'>■</b> {html.escape(line.label)}</span>"
        for place, line in enumerate(lines)
    )
    described = html.escape(", ".join(line.label for line in lines))
    svg = (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' preserveAspectRatio=none role=img aria-label='{described}'>"
        f"{base}{curves}</svg>"
    )
    return f"{axis}{svg}<div class=legend>{legend}</div>"


def _curve(line: Line, colour: str, top: float) -> str:
    """Return a line through the periods that have a value, and a dot where one stands alone."""
    step = WIDTH / max(len(line.values) - 1, 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for place, value in enumerate(line.values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((place * step, HEIGHT - MARGIN - value / top * (HEIGHT - 3 * MARGIN)))
    drawn = []
    for piece in (each for each in pieces if each):
        if len(piece) == 1:
            drawn.append(f"<circle cx={piece[0][0]:.1f} cy={piece[0][1]:.1f} r=3 fill='{colour}' />")
        else:
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in piece)
            drawn.append(f"<polyline points='{points}' fill=none stroke='{colour}' stroke-width=2 />")
    return "".join(drawn)


def _short(value: float | None) -> str:
    if value is None:
        return ""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if unit == ' k' else size):.1f}{unit}"
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


def _markdown(text: str) -> str:
    """Return the little of Markdown that the dashboards use: a heading and a paragraph."""
    head, _, body = text.partition("\n")
    return f"<h2>{html.escape(head.lstrip('# '))}</h2><span class=number>{html.escape(body)}</span>"

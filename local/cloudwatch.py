"""CloudWatch's arithmetic, for alarms and dashboards on this machine: points, statistics, and what an alarm decides.

Only what the template uses is here; anything else is refused in words, so that a definition is never half understood.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

import ast
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

Dimensions = tuple[tuple[str, str], ...]


class NotUnderstood(ValueError):
    """A definition uses something of CloudWatch that is not imitated here."""


class Point(NamedTuple):
    """Values of one metric that were written at one moment."""

    namespace: str
    metric: str
    dimensions: Dimensions  # sorted by name
    at: float  # seconds since 1970
    values: tuple[float, ...]


class State(StrEnum):
    """What an alarm says."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


def points_of_line(line: str) -> list[Point]:
    """Return what CloudWatch reads from a log line: the points of its Embedded Metric Format, none from other lines."""
    if '"_aws"' not in line:
        return []
    try:
        said = json.loads(line)
        about = said["_aws"]
        return [
            Point(directive["Namespace"], metric["Name"], _dimensions(said, names), about["Timestamp"] / 1000, values)
            for directive in about["CloudWatchMetrics"]
            for metric in directive["Metrics"]
            for values in [_values(said[metric["Name"]])]
            for names in directive["Dimensions"]
        ]
    except (ValueError, KeyError, TypeError):  # CloudWatch too takes no metric from a document that is not whole
        return []


def dimensions_of(pairs: Iterable[Mapping[str, str]]) -> Dimensions:
    """Return the dimensions as a template lists them, [{Name, Value}]."""
    return tuple(sorted((pair["Name"], pair["Value"]) for pair in pairs))


def statistic_of(values: Sequence[float], statistic: str) -> float | None:
    """Return Sum, Average, Minimum, Maximum, SampleCount or a percentile such as p95; None of nothing."""
    if not values:
        return None
    simple: Mapping[str, Callable[[Sequence[float]], float]] = {
        "Sum": math.fsum,
        "Average": lambda many: math.fsum(many) / len(many),
        "Minimum": min,
        "Maximum": max,
        "SampleCount": len,
    }
    if statistic in simple:
        return float(simple[statistic](values))
    if found := re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)", statistic):
        ordered = sorted(values)
        return ordered[max(math.ceil(len(ordered) * float(found[1]) / 100) - 1, 0)]
    raise NotUnderstood(f"the statistic {statistic!r}")


class Series:
    """Points that were gathered, asked for the values of periods."""

    def __init__(self, points: Iterable[Point]) -> None:
        self._by_metric: dict[tuple[str, str, Dimensions], list[Point]] = {}
        for point in points:
            self._by_metric.setdefault((point.namespace, point.metric, point.dimensions), []).append(point)

    def has(self, namespace: str, metric: str, dimensions: Dimensions) -> bool:
        """Tell whether anything was ever written of this metric."""
        return (namespace, metric, dimensions) in self._by_metric

    def value(
        self, namespace: str, metric: str, dimensions: Dimensions, statistic: str, start: float, end: float
    ) -> float | None:
        """Return the statistic of a metric from `start` up to `end`; None where nothing was written."""
        points = self._by_metric.get((namespace, metric, dimensions), [])
        return statistic_of([value for each in points if start <= each.at < end for value in each.values], statistic)

    def periods(self, query: Mapping[str, Any], period: int, count: int, end: float) -> list[float | None]:
        """Return the last periods before `end` of a metric as a template writes it, the oldest first."""
        statistic = query.get("Statistic") or query.get("ExtendedStatistic") or query.get("Stat")
        name = query["Namespace"], query["MetricName"], dimensions_of(query.get("Dimensions", ()))
        starts = [end - period * place for place in range(count, 0, -1)]
        return [self.value(*name, str(statistic), start, start + period) for start in starts]


def decide(alarm: Mapping[str, Any], series: Series, now: float) -> State:
    """Return what an alarm of the template says at a moment; its properties are resolved, with no reference in them."""
    count = int(alarm["EvaluationPeriods"])
    needed = int(alarm.get("DatapointsToAlarm", count))
    compare = _COMPARISONS.get(alarm["ComparisonOperator"])
    if compare is None:
        raise NotUnderstood(f"the comparison {alarm['ComparisonOperator']!r}")
    values = _alarm_values(alarm, series, count, now)
    missing = alarm.get("TreatMissingData", "missing")
    if missing not in ("missing", "breaching", "notBreaching"):
        raise NotUnderstood(f"TreatMissingData: {missing}")
    if missing == "missing" and all(value is None for value in values):
        return State.INSUFFICIENT_DATA
    threshold = float(alarm["Threshold"])
    breaching = sum(missing == "breaching" if value is None else bool(compare(value, threshold)) for value in values)
    return State.ALARM if breaching >= needed else State.OK


def decide_composite(rule: str, states: Mapping[str, State]) -> State:
    """Return what a composite alarm says: ALARM(a) OR (ALARM(b) AND NOT ALARM(c))."""
    names: dict[str, bool] = {}

    def put(found: re.Match[str]) -> str:
        if found[2] not in states:
            raise NotUnderstood(f"the alarm {found[2]!r} in a rule")
        names[f"x{len(names)}"] = states[found[2]] == State(found[1])
        return f"x{len(names) - 1}"

    text = re.sub(r'(ALARM|OK|INSUFFICIENT_DATA)\("?([^")]+)"?\)', put, rule)
    text = re.sub(r"\b(AND|OR|NOT)\b", lambda found: found[1].lower(), text)
    return State.ALARM if _evaluated(text, names) else State.OK


def decide_all(
    alarms: Mapping[str, Mapping[str, Any]], composites: Mapping[str, Mapping[str, Any]], series: Series, now: float
) -> dict[str, State]:
    """Return what all alarms say, by their names."""
    states = {alarm["AlarmName"]: decide(alarm, series, now) for alarm in alarms.values()}
    return states | {each["AlarmName"]: decide_composite(each["AlarmRule"], states) for each in composites.values()}


def period_of(alarm: Mapping[str, Any]) -> int:
    """Return the seconds of one period of an alarm."""
    if "Metrics" not in alarm:
        return int(alarm["Period"])
    periods = {int(query["MetricStat"]["Period"]) for query in alarm["Metrics"] if "MetricStat" in query}
    if len(periods) != 1:
        raise NotUnderstood("metrics of several periods in one alarm")
    return periods.pop()


def metrics_of(alarm: Mapping[str, Any]) -> list[tuple[str, str, Dimensions]]:
    """Return the metrics (namespace, name, dimensions) that an alarm looks at."""
    queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", ()) if "MetricStat" in query] or [alarm]
    return [(each["Namespace"], each["MetricName"], dimensions_of(each.get("Dimensions", ()))) for each in queries]


def _alarm_values(alarm: Mapping[str, Any], series: Series, count: int, now: float) -> list[float | None]:
    period = period_of(alarm)
    if "Metrics" not in alarm:
        return series.periods(alarm, period, count, now)
    inputs: dict[str, list[float | None]] = {}
    for query in alarm["Metrics"]:
        if stat := query.get("MetricStat"):
            inputs[query["Id"]] = series.periods({**stat["Metric"], "Stat": stat["Stat"]}, period, count, now)
    returned = [query for query in alarm["Metrics"] if str(query.get("ReturnData", "true")).lower() == "true"]
    if len(returned) != 1:
        raise NotUnderstood("an alarm that does not return exactly one metric")
    if "Expression" not in returned[0]:
        return inputs[returned[0]["Id"]]
    return [
        _math(returned[0]["Expression"], {name: values[place] for name, values in inputs.items()})
        for place in range(count)
    ]


def _math(expression: str, names: Mapping[str, float | None]) -> float | None:
    """Return metric math of one period; missing data stay missing, unless FILL says otherwise."""
    found = _evaluated(expression, names)
    return None if found is None else float(found)


_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _evaluated(text: str, names: Mapping[str, Any]) -> Any:
    try:
        return _of_node(ast.parse(text.strip(), mode="eval").body, names)
    except SyntaxError as reason:
        raise NotUnderstood(f"the expression {text!r}") from reason


def _of_node(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=int() | float()):
            return node.value
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.BoolOp():
            of_all = all if isinstance(node.op, ast.And) else any
            return of_all([_of_node(value, names) for value in node.values])
        case ast.UnaryOp(op=ast.Not()):
            return not _of_node(node.operand, names)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            left, right = _of_node(node.left, names), _of_node(node.right, names)
            if left is None or right is None or (isinstance(node.op, ast.Div) and right == 0):
                return None  # CloudWatch has no point either where it would have to divide by zero
            return _OPERATORS[type(node.op)](left, right)
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, ast.Constant(value=filling)]):
            found = _of_node(inner, names)
            return filling if found is None else found
        case ast.Call(func=ast.Name(id="MAX"), args=[ast.List(elts=several)]):
            known = [value for each in several if (value := _of_node(each, names)) is not None]
            return max(known) if known else None
        case _:
            raise NotUnderstood(f"{ast.unparse(node)!r} in an expression")


def _dimensions(said: Mapping[str, Any], names: Iterable[str]) -> Dimensions:
    return tuple(sorted((name, str(said[name])) for name in names))


def _values(said: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in (said if isinstance(said, list) else [said]))

"""CloudWatch's arithmetic on this machine: statistics, periods, and what alarms decide."""

from typing import Any

import pytest

from gatehouse.observability import Metrics
from local.cloudwatch import (
    NotUnderstood,
    Point,
    Series,
    State,
    decide,
    decide_composite,
    points_of_line,
    statistic_of,
)

NOW = 1_800_000_000.0
STAGE = (("stage", "local"),)
ALARM: dict[str, Any] = {
    "Namespace": "Gatehouse",
    "MetricName": "JobsDead",
    "Dimensions": [{"Name": "stage", "Value": "local"}],
    "Statistic": "Maximum",
    "Period": 60,
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 2,
    "Threshold": 5,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "TreatMissingData": "notBreaching",
}


def minutes_ago(minutes: float, *values: float, metric: str = "JobsDead") -> Point:
    """Return a point in the middle of a minute."""
    return Point("Gatehouse", metric, STAGE, NOW - minutes * 60 + 30, values)


def decided(*points: Point, **changes: Any) -> State:
    """Return what the alarm, with changes, says of these points."""
    return decide({**ALARM, **changes}, Series(points), NOW)


def test_what_the_functions_print_is_read() -> None:
    lines: list[str] = []
    emitted = Metrics(lines.append, clock=lambda: NOW)
    emitted.count("JobsDone", 2, topic="refetch")
    emitted.measure("IntakeTime", 1.5)
    emitted.measure("IntakeTime", 2.5)
    emitted.emit()
    points = [point for line in [*lines, "plain words", '{"_aws": 1}', '{"_aws"'] for point in points_of_line(line)]
    assert {(each.metric, tuple(name for name, _ in each.dimensions), each.values) for each in points} == {
        ("JobsDone", ("stage",), (2.0,)),
        ("JobsDone", ("stage", "topic"), (2.0,)),
        ("IntakeTime", ("stage",), (1.5, 2.5)),
    }
    assert {each.at for each in points} == {NOW}


@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("Sum", 10), ("Average", 2.5), ("Minimum", 1), ("Maximum", 4), ("SampleCount", 4), ("p50", 2), ("p99", 4)],
)
def test_statistics(statistic: str, expected: float) -> None:
    assert statistic_of([4, 1, 3, 2], statistic) == expected
    assert statistic_of([], statistic) is None


def test_m_of_n_periods_must_breach() -> None:
    assert decided(minutes_ago(1, 9)) == State.OK
    assert decided(minutes_ago(1, 9), minutes_ago(3, 5)) == State.ALARM
    assert decided(minutes_ago(1, 9), minutes_ago(4, 9)) == State.OK, "four minutes ago is not looked at any more"
    assert decided(minutes_ago(1, 2, 9), minutes_ago(2, 4)) == State.OK
    assert decided(minutes_ago(1, 9), minutes_ago(2, 9), Threshold=9.5) == State.OK
    other_stage = minutes_ago(1, 9)._replace(dimensions=(("stage", "prod"),))
    assert decided(minutes_ago(2, 9), other_stage) == State.OK


def test_missing_data() -> None:
    assert decided(TreatMissingData="breaching") == State.ALARM
    assert decided(minutes_ago(1, 0), TreatMissingData="breaching") == State.ALARM
    assert decided(minutes_ago(1, 0), minutes_ago(2, 0), TreatMissingData="breaching") == State.OK
    assert decided(TreatMissingData="missing") == State.INSUFFICIENT_DATA
    assert decided(TreatMissingData="notBreaching") == State.OK


def query(name: str, metric: str, stat: str = "Sum") -> dict[str, Any]:
    """Return a metric as an alarm with metric math names it."""
    asked = {"Namespace": "Gatehouse", "MetricName": metric, "Dimensions": ALARM["Dimensions"]}
    return {"Id": name, "MetricStat": {"Metric": asked, "Period": 60, "Stat": stat}, "ReturnData": False}


def test_metric_math_of_each_period() -> None:
    math = {
        key: value
        for key, value in ALARM.items()
        if key not in ("Namespace", "MetricName", "Dimensions", "Statistic", "Period")
    } | {
        "Metrics": [
            query("ok", "ForwardsDelivered"),
            query("failed", "ForwardsFailed"),
            {"Id": "share", "Expression": "100 * FILL(failed, 0) / (FILL(ok, 0) + FILL(failed, 0))"},
        ],
        "Threshold": 50,
    }
    healthy = [minutes_ago(each, 3, metric="ForwardsDelivered") for each in (1, 2, 3)]
    ill = [minutes_ago(each, 4, metric="ForwardsFailed") for each in (1, 2)]
    assert decide(math, Series(healthy), NOW) == State.OK
    assert decide(math, Series([*healthy, *ill]), NOW) == State.ALARM
    assert decide(math, Series([]), NOW) == State.OK, "nothing is divided by nothing"
    math["Metrics"][2]["Expression"] = "MAX([ok, failed])"
    assert decide({**math, "Threshold": 4}, Series([*healthy, *ill]), NOW) == State.ALARM


def test_composites() -> None:
    states = {"a": State.ALARM, "b": State.OK, "c": State.INSUFFICIENT_DATA}
    for rule, expected in {
        'ALARM("a") OR ALARM("b")': State.ALARM,
        "ALARM(a) AND NOT ALARM(b)": State.ALARM,
        "ALARM(b) OR (ALARM(c) AND ALARM(a))": State.OK,
        "OK(b) AND INSUFFICIENT_DATA(c)": State.ALARM,
    }.items():
        assert decide_composite(rule, states) == expected, rule
    with pytest.raises(NotUnderstood, match="'d'"):
        decide_composite("ALARM(d)", states)


def test_what_is_not_imitated_is_refused() -> None:
    for changes in (
        {"ComparisonOperator": "LessThanLowerThreshold"},
        {"TreatMissingData": "ignore"},
        {"Statistic": "tm99"},
    ):
        with pytest.raises(NotUnderstood):
            decided(minutes_ago(1, 9), **changes)
    with pytest.raises(NotUnderstood):
        decide(
            {**ALARM, "Metrics": [query("a", "JobsDone"), {"Id": "b", "Expression": "ANOMALY_DETECTION_BAND(a)"}]},
            Series([]),
            NOW,
        )

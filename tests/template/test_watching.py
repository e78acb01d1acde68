"""Each alarm has its heading in the runbook, each queue its alarm, and whatever is looked at is emitted."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.gateways import NAMES
from gatehouse.observability import DIMENSIONS, METRICS
from tests.template.expansion import PROJECT, our_template

RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()
OBSERVED = (PROJECT / "local" / "observed_metrics.py").read_text()  # the metrics of AWS that the local stack emits too
ALARMS = our_template().of_type("AWS::CloudWatch::Alarm") | our_template().of_type("AWS::CloudWatch::CompositeAlarm")
DASHBOARDS = our_template().of_type("AWS::CloudWatch::Dashboard")


def name_of(alarm: dict[str, Any]) -> str:
    """Return an alarm's name without the stack's, which is its heading in the runbook."""
    name: str = alarm["Properties"]["AlarmName"]["Fn::Sub"]
    return name.removeprefix("${AWS::StackName}-")


def metrics_of_alarms() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (who looks, namespace, metric, dimensions) of each alarm."""
    for name, alarm in our_template().of_type("AWS::CloudWatch::Alarm").items():
        properties = alarm["Properties"]
        queries = [each["MetricStat"]["Metric"] for each in properties.get("Metrics", ()) if "MetricStat" in each]
        for metric in queries or [properties]:
            dimensions = {pair["Name"]: pair["Value"] for pair in metric["Dimensions"]}
            yield name, metric["Namespace"], metric["MetricName"], dimensions


def widgets_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the widgets of a dashboard, with `…` for each name that only a deployment has."""
    body: str = dashboard["Properties"]["DashboardBody"]["Fn::Sub"]
    widgets: list[dict[str, Any]] = json.loads(re.sub(r"\$\{[^}]+\}", "…", body))["widgets"]
    return widgets


def metrics_of_dashboards() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield (who looks, namespace, metric, dimensions) of each line of each widget."""
    for name, dashboard in DASHBOARDS.items():
        for widget in widgets_of(dashboard):
            for namespace, metric, *rest in widget["properties"].get("metrics", ()):
                pairs = [each for each in rest if isinstance(each, str)]
                looks = f"{name}: {widget['properties']['title']}"
                yield looks, namespace, metric, dict(zip(pairs[::2], pairs[1::2], strict=True))


@pytest.mark.req("O1")
def test_each_alarm_has_its_heading_and_each_heading_its_alarm() -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE)
    assert sorted(headings) == sorted(name_of(alarm) for alarm in ALARMS.values())
    for heading, section in zip(headings, RUNBOOK.split("\n## ")[1:], strict=True):
        assert [word for word in ("Meaning", "Look", "Fix") if f"- **{word}.** " not in section] == [], heading
    for alarm in ALARMS.values():
        assert alarm["Properties"]["AlarmDescription"].endswith(f"See docs/runbook.md#{name_of(alarm)}.")


@pytest.mark.req("O1")
def test_the_runbook_leads_to_headings_that_exist() -> None:
    headings = set(re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE))
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= headings


@pytest.mark.req("O1")
def test_each_alarm_tells_somebody() -> None:
    for name, alarm in ALARMS.items():
        assert alarm["Properties"]["AlarmActions"] in ([{"Ref": "PagesTopic"}], [{"Ref": "NoticesTopic"}]), name
    for name, alarm in our_template().of_type("AWS::CloudWatch::CompositeAlarm").items():
        assert alarm["Properties"]["AlarmActions"] == [{"Ref": "PagesTopic"}], name
        watched = set(re.findall(r"\$\{AWS::StackName\}-([a-z-]+)", alarm["Properties"]["AlarmRule"]["Fn::Sub"]))
        assert watched == {name_of(ALARMS[each]) for each in alarm["DependsOn"]}, name


@pytest.mark.req("M6", "O1")
def test_every_dead_letter_queue_has_an_alarm() -> None:
    watched = {
        dimensions["QueueName"]["Fn::GetAtt"][0]
        for _name, namespace, _metric, dimensions in metrics_of_alarms()
        if namespace == "AWS/SQS"
    }
    queues = {name for name in our_template().of_type("AWS::SQS::Queue") if name.endswith("DeadLetterQueue")}
    assert queues <= watched


@pytest.mark.req("O1")
def test_every_gateway_has_an_alarm_for_its_silence() -> None:
    watched = {
        dimensions["gateway"]: our_template().of_type("AWS::CloudWatch::Alarm")[name]["Properties"]["TreatMissingData"]
        for name, _namespace, metric, dimensions in metrics_of_alarms()
        if metric == "EventsVerified"
    }
    assert watched == dict.fromkeys(NAMES, "breaching")


@pytest.mark.req("O1")
@pytest.mark.parametrize(
    ("looks", "namespace", "metric", "dimensions"), [*metrics_of_alarms(), *metrics_of_dashboards()], ids=str
)
def test_what_is_looked_at_is_emitted(looks: str, namespace: str, metric: str, dimensions: dict[str, Any]) -> None:
    if namespace == "Gatehouse":
        assert metric in METRICS, looks
        assert set(dimensions) - {"stage"} <= set(DIMENSIONS), looks
        assert "stage" in dimensions, looks
    else:
        assert f'"{namespace}"' in OBSERVED, looks
        assert f'"{metric}"' in OBSERVED, looks


@pytest.mark.req("O1")
def test_widgets_do_not_overlap_and_are_readable_at_a_glance() -> None:
    assert {name_of_dashboard(each) for each in DASHBOARDS.values()} == {"business", "technical"}
    for name, dashboard in DASHBOARDS.items():
        taken: set[tuple[int, int]] = set()
        for widget in widgets_of(dashboard):
            cells = {
                (x, y)
                for x in range(widget["x"], widget["x"] + widget["width"])
                for y in range(widget["y"], widget["y"] + widget["height"])
            }
            assert not cells & taken, f"{name}: {widget}"
            assert widget["x"] + widget["width"] <= 24, f"{name}: {widget}"
            taken |= cells
            assert len(widget["properties"].get("metrics", ())) <= 12, f"{name}: too many lines to be read"


def name_of_dashboard(dashboard: dict[str, Any]) -> str:
    """Return a dashboard's name without the stack's."""
    name: str = dashboard["Properties"]["DashboardName"]["Fn::Sub"]
    return name.removeprefix("${AWS::StackName}-")


@pytest.mark.req("M9", "O1")
def test_nothing_of_a_person_is_a_dimension() -> None:
    assert set(DIMENSIONS) == {"gateway", "topic", "app", "currency", "reason", "function"}


@pytest.mark.req("O1")
def test_slack_may_look_and_do_nothing_else() -> None:
    (channel,) = our_template().of_type("AWS::Chatbot::SlackChannelConfiguration").values()
    assert channel["Properties"]["GuardrailPolicies"] == ["arn:aws:iam::aws:policy/CloudWatchReadOnlyAccess"]
    role = our_template().expanded["Resources"]["SlackRole"]["Properties"]
    (statement,) = role["Policies"][0]["PolicyDocument"]["Statement"]
    assert [action for action in statement["Action"] if not re.match(r"cloudwatch:(Get|Describe)", action)] == []

"""python -m bench.cost [--write]: what AWS takes for a million events, and for a month in which none comes.

The template says how much memory each function has, what runs by schedule, and how many alarms, dashboards, queues
and secrets there are. Prices and times are the constants here, each with its source. The tables stand in docs/scale.md,
and a test holds that they are the ones that this module gives: a template that becomes dearer shows.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.gateways import NAMES
from gatehouse.observability import METRICS
from local import sam_expansion

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "scale.md"
BEGIN, END = "<!-- python -m bench.cost --write -->", "<!-- the end of what it writes -->"

PRICES_OF = "November 2026, us-east-1, in US dollars, without the free tier; look them up before you rely on them"
LAMBDA_GB_SECOND = 0.0000133334  # arm64
LAMBDA_REQUEST = 0.20 / 1e6
HTTP_API_REQUEST = 1.00 / 1e6
SQS_REQUEST = 0.40 / 1e6
LOGS_GB = 0.50  # taken in
LOGS_GB_MONTH = 0.03  # kept
METRIC_MONTH = 0.30
ALARM_MONTH = 0.10  # for each metric that it looks at
COMPOSITE_MONTH = 0.50
DASHBOARD_MONTH = 3.00
SECRET_MONTH = 0.40
SNAPSTART_GB_SECOND = 0.0000015046  # of a version that is kept ready

MONTH_DAYS = 30
MONTH_SECONDS = MONTH_DAYS * 86_400
POLLS_A_MONTH = 5 * MONTH_SECONDS // 20  # of one queue: Lambda has five who ask, each for 20 seconds
VERSIONS_KEPT = 2  # of a function with SnapStart: the one that is live and the one before
MINUTES = {"rate(1 minute)": 1, "rate(10 minutes)": 10, "rate(15 minutes)": 15}
NIGHTLY_MINUTES = 1440
TOPICS = 12  # that have jobs now and then, at most


class Step(NamedTuple):
    """One thing that happens to an event: which function does it, for how many of a hundred, and how long."""

    name: str
    function: str
    of_hundred: int
    milliseconds: int
    log_bytes: int
    queue: bool = True


# Milliseconds are what is billed: the CPU of docs/benchmarks.md, and waits of 2 ms for each round trip to Postgres, 10
# for SQS, 200 for a gateway's or an app's answer. Each message is taken to come alone; under load ten share a call.
STEPS = (
    Step("recorded by its webhook, bell rung", "StripeWebhookFunction", 100, 20, 2_600, queue=False),
    Step("asked of its gateway (fees, invoices)", "InvoiceEnricherFunction", 60, 230, 1_900),
    Step("told to its app", "EventForwarderFunction", 100, 230, 1_900),
    Step("written to the backup", "BackupWriterFunction", 60, 30, 1_500),
)
SCHEDULED_MILLISECONDS = {
    "JobSweeperFunction": 120,
    "TotalsKeeperFunction": 100,
    "BackupWriterFunction": 60,
    "ReconcilerFunction": 300,
    "TenantProvisionerFunction": 300,
}
NIGHTLY_MILLISECONDS = 60_000
SCHEDULED_LOG_BYTES = 3_000


class Cost(NamedTuple):
    """A line of a table: what, how much of it, and dollars."""

    what: str
    amount: str
    dollars: float


def template() -> dict[str, Any]:
    """Return the resources of the template, expanded."""
    source = sam_expansion.read_template(ROOT / "template.yaml")
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:x"  # for those that must be given
    values = {name: str(each.get("Default", arn)) for name, each in source["Parameters"].items()}
    found: dict[str, Any] = sam_expansion.expand(source, values | {"Stage": "prod"})["Resources"]
    return found


def of_a_million(resources: dict[str, Any]) -> list[Cost]:
    """Return what a million events cost beyond what a month costs anyway."""
    costs = [Cost("HTTP API", "1,000,000 requests", 1e6 * HTTP_API_REQUEST)]
    log_bytes = sqs = 0.0
    for step in STEPS:
        times = 1e4 * step.of_hundred
        gigabytes = resources[step.function]["Properties"]["MemorySize"] / 1024
        dollars = times * (LAMBDA_REQUEST + gigabytes * step.milliseconds / 1000 * LAMBDA_GB_SECOND)
        amount = f"{times:,.0f} x {step.milliseconds} ms x {gigabytes:g} GB"
        costs.append(Cost(f"Lambda: {step.name}", amount, dollars))
        log_bytes += times * step.log_bytes
        sqs += 3 * times if step.queue else 0  # sent, received, deleted
    costs.append(Cost("SQS", f"{sqs:,.0f} requests", sqs * SQS_REQUEST))
    gigabytes = log_bytes / 1e9
    costs.append(Cost("CloudWatch Logs, taken in", f"{gigabytes:.1f} GB", gigabytes * LOGS_GB))
    costs.append(Cost("CloudWatch Logs, kept for 30 days", f"{gigabytes:.1f} GB", gigabytes * LOGS_GB_MONTH))
    return costs


def of_a_month(resources: dict[str, Any]) -> list[Cost]:
    """Return what a month costs in which no event comes."""
    of_type: dict[str, list[dict[str, Any]]] = {}
    for each in resources.values():
        of_type.setdefault(each["Type"], []).append(each["Properties"])
    calls = gb_seconds = 0.0
    for function, minutes in _schedules(resources):
        times = MONTH_DAYS * 1440 / minutes
        lasts = NIGHTLY_MILLISECONDS if minutes == NIGHTLY_MINUTES else SCHEDULED_MILLISECONDS[function]
        calls += times
        gb_seconds += times * resources[function]["Properties"]["MemorySize"] / 1024 * lasts / 1000
    queues = len(of_type["AWS::Lambda::EventSourceMapping"])
    polls = queues * POLLS_A_MONTH
    alarmed = sum(
        sum("MetricStat" in each for each in alarm.get("Metrics", ())) or 1
        for alarm in of_type["AWS::CloudWatch::Alarm"]
    )
    composites, dashboards = len(of_type["AWS::CloudWatch::CompositeAlarm"]), len(of_type["AWS::CloudWatch::Dashboard"])
    ready = [each for each in of_type["AWS::Lambda::Function"] if each.get("SnapStart")]
    cached = sum(each["MemorySize"] for each in ready) / 1024 * VERSIONS_KEPT
    secrets = _secrets()
    metrics = _metrics()
    logs = calls * SCHEDULED_LOG_BYTES / 1e9
    return [
        Cost(
            "Lambda, by schedule",
            f"{calls:,.0f} calls, {gb_seconds:,.0f} GB-s",
            calls * LAMBDA_REQUEST + gb_seconds * LAMBDA_GB_SECOND,
        ),
        Cost("SnapStart, versions kept ready", f"{cached:g} GB", cached * MONTH_SECONDS * SNAPSTART_GB_SECOND),
        Cost("SQS, asked while empty", f"{queues} queues, {polls:,.0f} requests", polls * SQS_REQUEST),
        Cost("CloudWatch metrics", f"about {metrics}", metrics * METRIC_MONTH),
        Cost(
            "CloudWatch alarms",
            f"{alarmed} metrics, {composites} composites",
            alarmed * ALARM_MONTH + composites * COMPOSITE_MONTH,
        ),
        Cost("CloudWatch dashboards", f"{dashboards}", dashboards * DASHBOARD_MONTH),
        Cost("CloudWatch Logs", f"{logs:.1f} GB", logs * (LOGS_GB + LOGS_GB_MONTH)),
        Cost("Secrets Manager", f"{len(secrets)} secrets at most", len(secrets) * SECRET_MONTH),
    ]


def tables() -> str:
    """Return both tables as they stand in the guide."""
    resources = template()
    lines = [f"Prices of {PRICES_OF}.", ""]
    for title, costs in (("A million events", of_a_million(resources)), ("A month without one", of_a_month(resources))):
        lines += [f"| {title} | how much | dollars |", "|---|---|---|"]
        lines += [f"| {each.what} | {each.amount} | {each.dollars:.2f} |" for each in costs]
        lines += [f"| **in all** | | **{sum(each.dollars for each in costs):.2f}** |", ""]
    return "\n".join(lines)


def written(guide: str) -> str:
    """Return the guide with the tables of today in it."""
    before, rest = guide.split(BEGIN)
    return f"{before}{BEGIN}\n{tables()}{END}{rest.split(END)[1]}"


def _schedules(resources: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for each in resources.values():
        if each["Type"] == "AWS::Events::Rule":
            (target,) = each["Properties"]["Targets"]
            expression = each["Properties"]["ScheduleExpression"]
            minutes = NIGHTLY_MINUTES if expression.startswith("cron") else MINUTES[expression]
            yield target["Arn"]["Fn::GetAtt"][0], minutes


def _secrets() -> set[str]:
    """Return the parameters that name a secret; those of gateways and engines that are not used need not be there."""
    return {name for name in sam_expansion.read_template(ROOT / "template.yaml")["Parameters"] if "SecretArn" in name}


def _metrics() -> int:
    """Return how many metrics there can be: each name once in all, and once for each value of its dimension."""
    values = {"gateway": len(NAMES), "topic": TOPICS, "function": 4, "app": 2, "reason": 10, "currency": 3}
    count = len(METRICS)
    call = re.compile(r"metrics\.(?:count|measure)\(\s*[^()]*?((?:\w+=[^=]*?)+)\)")
    for file in (*(ROOT / "layers").rglob("*.py"), *(ROOT / "functions").rglob("*.py")):
        for said in call.findall(file.read_text()):
            count += _product(values[name] for name in re.findall(r"(\w+)=", said) if name in values)
    return count


def _product(numbers: Iterator[int]) -> int:
    result = 0
    for number in numbers:
        result = max(result, 1) * number
    return result


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        GUIDE.write_text(written(GUIDE.read_text()))
    else:
        print(tables())

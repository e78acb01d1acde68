"""Keeps every metric that the local stack emits, as CloudWatch would: those of the functions' log lines, and AWS's own.

They are in `metrics.jsonl` beside `stack.json`, a line each, and what looks at them (the template's alarms and
dashboards) in `watching.json`: for `gatehouse dashboard preview` and for the tests of the alarms.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatehouse.errors import AwsError
from local.cloudwatch import Point, points_of_line
from local.lambda_runtime import Invocation
from local.queue_pollers import QueueClient
from local.template import Stack

FILE = "metrics.jsonl"
DEFINITIONS = "watching.json"
MOST_BYTES = 64 * 1024 * 1024
SECONDS_BETWEEN_LOOKS = 5.0  # at the queues; SQS itself reports once a minute
API = (("ApiId", "local"), ("Stage", "$default"))


class ObservedMetrics:
    """Where all metrics of a running stack come together."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / FILE
        self._clock = clock
        self._turn = threading.Lock()
        if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
            self._path.replace(self._path.with_suffix(".old.jsonl"))
        self._file = self._path.open("a", encoding="utf-8")
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    def line(self, _function: str, line: str) -> None:
        """Take the metrics out of a line that a function wrote."""
        for point in points_of_line(line):
            self._keep(point)

    def invoked(self, function_name: str, invocation: Invocation) -> None:
        """Note an invocation as AWS/Lambda does."""
        figures = {"Invocations": 1, "Errors": int(invocation.failed), "Duration": invocation.milliseconds}
        self._figures("AWS/Lambda", (("FunctionName", function_name),), figures)

    def throttled(self, function_name: str) -> None:
        """Note an invocation that found no free environment."""
        self._figures("AWS/Lambda", (("FunctionName", function_name),), {"Throttles": 1})

    def requested(self, status: int, milliseconds: float) -> None:
        """Note a request as AWS/ApiGateway does."""
        figures = {"Count": 1, "4xx": int(400 <= status < 500), "5xx": int(status >= 500), "Latency": milliseconds}
        self._figures("AWS/ApiGateway", API, figures)

    def watch(self, queues: Mapping[str, str], connect: Callable[[], QueueClient]) -> None:
        """Look at the queues (name and URL) now and then, as AWS/SQS does, until the stack ends."""
        self._watcher = threading.Thread(target=self._look, args=(queues, connect()), name="queue-metrics", daemon=True)
        self._watcher.start()

    def keep_definitions(self, stack: Stack) -> None:
        """Write down the alarms and dashboards of the template, with every reference resolved."""
        parts = {
            "alarms": stack.alarms,
            "composite_alarms": stack.composite_alarms,
            "dashboards": stack.dashboards,
        }
        (self._path.parent / DEFINITIONS).write_text(json.dumps(parts))

    def stop(self) -> None:
        """End the watch and close the file."""
        self._stopped.set()
        if self._watcher is not None:
            self._watcher.join(timeout=10)
        with self._turn:
            self._file.close()

    def _look(self, queues: Mapping[str, str], sqs: QueueClient) -> None:
        filled_since: dict[str, float] = {}
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            for name, url in queues.items():
                try:
                    visible, in_work = _counts(sqs, url)
                except AwsError:  # it is away, as in a test of that: AWS too has no figures then
                    continue
                now = self._clock()
                since = filled_since.setdefault(name, now) if visible + in_work else filled_since.pop(name, now)
                figures = {
                    "ApproximateNumberOfMessagesVisible": visible,
                    "ApproximateNumberOfMessagesNotVisible": in_work,
                    "ApproximateAgeOfOldestMessage": now - since,  # at most: since when the queue has not been empty
                }
                self._figures("AWS/SQS", (("QueueName", name),), figures)

    def _figures(self, namespace: str, dimensions: tuple[tuple[str, str], ...], figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            self._keep(Point(namespace, name, dimensions, self._clock(), (float(value),)))

    def _keep(self, point: Point) -> None:
        line = json.dumps(point._asdict())
        with self._turn:
            if not self._file.closed:
                self._file.write(line + "\n")
                self._file.flush()


def read_definitions(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the alarms, composite alarms and dashboards of the stack that was last started there."""
    found: dict[str, dict[str, Any]] = json.loads((folder / DEFINITIONS).read_text())
    return found


def _counts(sqs: QueueClient, url: str) -> tuple[int, int]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    said = sqs.call("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": names}, timeout_seconds=5)["Attributes"]
    return int(said.get(names[0], 0)), int(said.get(names[1], 0))


def read_points(folder: Path) -> list[Point]:
    """Return all metrics that the stack of a folder has emitted."""
    path = folder / FILE
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [_point(json.loads(line)) for line in file if line.endswith("\n")]


def _point(said: Mapping[str, Any]) -> Point:
    dimensions = tuple((str(name), str(value)) for name, value in said["dimensions"])
    return Point(said["namespace"], said["metric"], dimensions, said["at"], tuple(said["values"]))

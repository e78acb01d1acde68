"""The one logger and the one metrics object: JSON lines on stdout, and the names of all metrics.

Lambda ships stdout to CloudWatch Logs, and CloudWatch makes metrics of lines in its Embedded Metric Format, so neither
needs a call to AWS. Powertools does the same for 48 ms of every cold start.

    log.bind(request_id=context.aws_request_id)      # at the start of an invocation
    log.info("Recorded an event.", gateway="stripe", event_id="evt_1")
    metrics.count("EventsRecorded", gateway="stripe")
    metrics.emit()                                   # at its end

Bodies and secrets are never handed to the logger. Should one slip through, what can be known by its field's name or by
its own form is masked here.
"""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

from gatehouse.errors import GatehouseError
from gatehouse.scrub import MASK, scrub_text
from gatehouse.settings import settings

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
MOST_CHARACTERS = 4000  # of one logged text; a stranger's payload may hold a text of any size
MOST_DEPTH = 6
MOST_VALUES = 100  # of one metric in one line; CloudWatch drops a line with more

# A text or structure under a name with one of these words in it is masked; numbers, and the ARNs of secrets, are not.
SECRET_WORDS = re.compile(
    r"secret|signature|authori[sz]ation|password|passphrase|credential|token|cookie|api_?key|body|payload", re.I
)
# What is secret wherever it stands is known to `scrub`; in logs, so is the password inside a database address.
ADDRESS_PASSWORD = re.compile(r"(?<=:)[^/:@\s]+(?=@)")


class Log:
    """Writes one JSON object a line; the fields given to `bind` are in every line of the invocation."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or _write_to_stdout
        self._bound: dict[str, Any] = {}
        self._invocations = 0

    def bind(self, **fields: Any) -> None:
        """Begin an invocation: forget the last one's fields and put these into every line."""
        self._invocations += 1
        self._bound = fields

    def add(self, **fields: Any) -> None:
        """Put more fields into every further line of this invocation."""
        self._bound = {**self._bound, **fields}

    def debug(self, message: str, /, **fields: Any) -> None:
        """Log what only somebody who hunts a fault wants to read."""
        self._line("DEBUG", message, fields)

    def info(self, message: str, /, **fields: Any) -> None:
        """Log what happened as it should."""
        self._line("INFO", message, fields)

    def warning(self, message: str, /, **fields: Any) -> None:
        """Log what should not happen, and was coped with."""
        self._line("WARNING", message, fields)

    def error(self, message: str, /, *, error: BaseException | None = None, **fields: Any) -> None:
        """Log what somebody must look at; with `error`, its type, message and where it was raised."""
        self._line("ERROR", message, fields if error is None else {**fields, **_describe(error)})

    def _line(self, level: str, message: str, fields: Mapping[str, Any]) -> None:
        function_name, least = _process()
        if LEVELS[level] < LEVELS[least]:
            return
        line = {
            "level": level,
            "message": _shown(message),
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "function": function_name,
            "cold_start": self._invocations <= 1,
        }
        shown = {name: _masked(name, value) for name, value in (*self._bound.items(), *fields.items())}
        self._write(json.dumps({**line, **shown, **line}))  # the line's own names come first, and win


class Metric(NamedTuple):
    """One metric: its CloudWatch unit and what it counts."""

    unit: str
    sentence: str


METRICS = {
    "EventsReceived": Metric("Count", "Requests that came to a webhook, whatever became of them."),
    "EventsVerified": Metric("Count", "Requests that are really from their gateway."),
    "EventsRecorded": Metric("Count", "Events written with their rows."),
    "EventsDuplicate": Metric("Count", "Deliveries of an event that was there already."),
    "EventsIgnored": Metric("Count", "Events kept without a meaning for us."),
    "EventsFailed": Metric("Count", "Events kept whose facts were refused."),
    "EventsQueued": Metric("Count", "Requests put into the inbox queue because Postgres was away."),
    "EventsReplayed": Metric("Count", "Requests of the inbox queue that were recorded later."),
    "EventsTurnedAway": Metric("Count", "Requests answered with 503: neither Postgres nor the queue took them."),
    "SignaturesRefused": Metric("Count", "Requests whose signature is missing or wrong."),
    "ForgeriesDropped": Metric("Count", "Requests of the inbox queue whose signature turned out to be wrong."),
    "RequestsRefused": Metric("Count", "Requests that are too large, not JSON or not an event."),
    "RequestsRejected": Metric("Count", "Refused requests of both kinds, by the code of the reason."),
    "OldSecretUsed": Metric("Count", "Events that were signed with another than the first signing secret."),
    "IntakeTime": Metric("Milliseconds", "From a request's arrival in the function to its answer."),
    "RecordingTime": Metric("Milliseconds", "Of that, the one flush that records an event."),
    "ColdStarts": Metric("Count", "First invocations of a new execution environment."),
    "BellsNotRung": Metric("Count", "Jobs whose message could not be sent in time; the sweeper rings again."),
    "JobsDone": Metric("Count", "Jobs that were finished."),
    "JobsPostponed": Metric("Count", "Jobs that will be tried again later."),
    "CredentialsRefused": Metric("Count", "Times that a gateway refused an account's credentials, or it has none."),
    "JobsGivenWay": Metric("Count", "Jobs that let one of another merchant go first, as theirs has its share."),
    "JobsHeld": Metric("Count", "Jobs held back without a try: the app is paused or ill, or wants less speed."),
    "JobsBuried": Metric("Count", "Jobs that were given up and lie in the dead-letter queue."),
    "JobsRungAgain": Metric("Count", "Jobs that were due and not done, rung again by the sweeper."),
    "JobsWaiting": Metric("Count", "Jobs that are not done yet."),
    "JobsDead": Metric("Count", "Jobs that were given up and not taken up again."),
    "EnrichmentTime": Metric("Milliseconds", "From the writing of a job that asks a gateway to its end."),
    "MessagesFailed": Metric("Count", "Queue messages that were reported as failed and come back."),
    "ApiTime": Metric("Milliseconds", "From a request's arrival in the API function to its answer."),
    "ApiFailures": Metric("Count", "Requests to the API that were answered with 5xx."),
    "ApiRefusals": Metric("Count", "Requests to the API that were answered with 4xx."),
    "ForwardsDelivered": Metric("Count", "Deliveries that an app took."),
    "ForwardsFailed": Metric("Count", "Deliveries that an app refused, or did not answer."),
    "ForwardTime": Metric("Milliseconds", "From the receipt of an event to its delivery."),
    "PaymentsListed": Metric("Count", "Payments that a gateway listed when a day was compared."),
    "PaymentsMissing": Metric("Count", "Those of them that were not recorded, or not as far; they are asked for."),
    "BackupWritten": Metric("Count", "Payments written to the backup database."),
    "BackupRefused": Metric("Count", "Payments that the backup database refused to take."),
    "BackupErrors": Metric("Count", "Times that the backup database could not be written."),
    "BackupLag": Metric("Seconds", "How long the oldest change has waited that the backup lacks."),
    "BackupBacklog": Metric("Count", "Payments that the backup has yet to be told of."),
    "BackupRefusedNow": Metric("Count", "Payments that the backup keeps refusing."),
    "BackupDivergent": Metric("Count", "Payments that differed when the two databases were last compared."),
    "ReadsFromBackup": Metric("Count", "Questions answered from the backup because the primary was away."),
    "TotalsWaiting": Metric("Count", "Changes that the sums of the reports do not hold yet; answers add them."),
    "OldestTotalWaiting": Metric("Seconds", "How long the oldest of them has waited to be counted."),
    "TotalsDrifted": Metric(
        "Count", "Entries and sums of the reports, and counts of memberships, that a nightly recount found wrong."
    ),
    "TenantReadyTime": Metric("Milliseconds", "From a tenant's request to its database being ready."),
    "TenantsNotMade": Metric("Count", "Tenants that could not be made, and were undone."),
    "TenantsMeasured": Metric("Count", "Tenants whose storage was measured."),
    "TenantsUnmeasured": Metric("Count", "Tenants whose storage could not be measured."),
    "TenantsOverLimit": Metric("Count", "Tenants that use up the storage of their plan, and may only read and delete."),
    "TenantFullest": Metric("Percent", "Storage of the fullest tenant, of what its plan allows."),
    "TenantQueries": Metric("Count", "Statements on tenants' databases that were run over HTTP."),
    "TenantQueryTime": Metric("Milliseconds", "From a statement's start on a tenant's database to its last row."),
    "OldestDueJob": Metric("Seconds", "How long the longest waiting job has been due."),
    "OldestJob": Metric("Seconds", "How long ago the oldest job that is not done was written."),
    "MoneyAtRisk": Metric(
        "None", "Live payments, in minor units, of which their app has not heard after a quarter of an hour."
    ),
    "EventsWaitingForRepair": Metric("Count", "Events whose facts were refused and that nobody has taken up again."),
    "DatabaseConnections": Metric("Percent", "Connections in use, of those that the server allows."),
    "PayloadsWithoutMonth": Metric("Count", "1 while sealed payloads lie outside the monthly partitions."),
}

# Every value of a dimension is a metric of its own to CloudWatch, and paid for: nothing with many values goes here.
DIMENSIONS = ("gateway", "topic", "app", "currency", "reason", "function")


class Metrics:
    """Gathers the figures of one invocation and prints them in CloudWatch's Embedded Metric Format."""

    def __init__(
        self,
        write: Callable[[str], object] | None = None,
        *,
        clock: Callable[[], float] = time.time,
        is_of_process: bool = False,
    ) -> None:
        self._write = write or _write_to_stdout
        self._clock = clock
        self._gathered: dict[tuple[tuple[str, str], ...], dict[str, list[float]]] = {}
        self._is_cold = is_of_process  # a process is one execution environment, and its first figures are told once
        self._turn = threading.RLock()  # event_forwarder delivers in threads

    def count(self, name: str, value: int = 1, **dimensions: str) -> None:
        """Add to a metric that counts."""
        with self._turn:
            values = self._values(name, dimensions)
            values[:] = [sum(values) + value]

    def measure(self, name: str, value: float, **dimensions: str) -> None:
        """Note one measured value, such as a time; CloudWatch makes percentiles of them."""
        with self._turn:
            if len(self._values(name, dimensions)) == MOST_VALUES:
                self.emit()
            self._values(name, dimensions).append(round(float(value), 3))

    def emit(self) -> None:
        """Print what was gathered, one line for each set of dimension values, and begin anew."""
        with self._turn:
            if self._is_cold:
                self._is_cold = False
                self.count("ColdStarts", function=_process()[0] or "none")
            gathered, self._gathered = self._gathered, {}
        for dimensions, values in gathered.items():
            self._write(json.dumps(_embedded(dict(dimensions), values, round(self._clock() * 1000))))

    def _values(self, name: str, dimensions: Mapping[str, str]) -> list[float]:
        if name not in METRICS:
            raise ValueError(f"no metric is named {name!r}: METRICS lists them all")
        if unknown := dimensions.keys() - set(DIMENSIONS):
            raise ValueError(f"no metric has the dimension {', '.join(sorted(unknown))}")
        return self._gathered.setdefault(tuple(sorted(dimensions.items())), {}).setdefault(name, [])


def _embedded(dimensions: dict[str, str], values: dict[str, list[float]], milliseconds: int) -> dict[str, Any]:
    """Return one document of the format: each figure once in all, and once by its dimensions.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    directive = {
        "Namespace": "Gatehouse",
        "Dimensions": [["stage"], ["stage", *dimensions]] if dimensions else [["stage"]],
        "Metrics": [{"Name": name, "Unit": METRICS[name].unit} for name in values],
    }
    figures = {name: many[0] if len(many) == 1 else many for name, many in values.items()}
    return {
        "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
        "stage": settings().stage,
        **dimensions,
        **figures,
    }


def _process() -> tuple[str, str]:
    """Return the function's name and the least level, also where the settings themselves are wrong."""
    try:
        return settings().aws_lambda_function_name, settings().log_level
    except GatehouseError:  # the reason is being logged by whoever needs the settings, through this very function
        return "", "INFO"


def _write_to_stdout(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _describe(error: BaseException) -> dict[str, Any]:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{code.co_filename}:{trace.tb_lineno} {code.co_qualname}")
        trace = trace.tb_next
    described: dict[str, Any] = {"error_type": type(error).__name__, "error_message": str(error), "trace": frames[-20:]}
    if isinstance(error, GatehouseError):
        described["error_code"] = error.code
    return described


def _masked(name: str, value: Any, depth: int = 0) -> Any:
    """Return what may be shown of a field: its value in JSON's types, or the mask."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN is no JSON
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if _names_a_secret(name):
        return MASK
    if isinstance(value, str):
        return _shown(value)
    if depth == MOST_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return {str(key): _masked(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_masked(name, inner, depth + 1) for inner in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    return _shown(value)


@lru_cache(maxsize=256)
def _names_a_secret(name: str) -> bool:
    return bool(SECRET_WORDS.search(name)) and not name.endswith("_arn")


def _shown(value: object) -> str:
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception as reason:  # noqa: BLE001 - a field whose __str__ fails must not fail the work that logs it
        return f"<{type(value).__name__}, not shown: {type(reason).__name__}>"
    text = ADDRESS_PASSWORD.sub(MASK, scrub_text(text))
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}… ({len(text)} characters)"


log = Log()
metrics = Metrics(is_of_process=True)

"""CPU time of an event: in the function's process and in the Postgres process that works for it."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

from bench.answering_server import answering_server
from bench.figures import Figure
from bench.ground import Cloud, Ground, cloud, cpu_seconds, desk, function_processes, ground, intake
from bench.recording import fill, receive_one
from bench.samples import PROCESSING, SUCCEEDED, payload, requests
from local.lambda_runtime import LambdaFunction

WARM_UP = 200
EVENTS = 2400
PARTS = 12  # the median of several parts, as the neighbours of this process come and go
MOST_MILLISECONDS = 0.65
AT_ONCE = 'def handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'


class Spent(NamedTuple):
    """CPU milliseconds of one event."""

    process: float
    postgres: float


def run() -> list[Figure]:
    """Measure in process and in Lambda shape, with events that leave a job to ring for and with events that do not."""
    figures = []
    with ExitStack() as started:
        place = started.enter_context(ground())
        fill(place)
        sky = started.enter_context(cloud(place))
        sqs = started.enter_context(answering_server(b"{}"))
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-bench-cpu-")))
        (folder / "at_once.py").write_text(AT_ONCE)
        at_once = replace(sky.spec("stripe_webhook"), handler="at_once.handler", code_folder=folder)
        bare = process_milliseconds(sky.function(at_once), requests(PROCESSING))
        print(f"  a handler that answers at once, Lambda shape: process {bare:.3f} ms")
        for kind in (PROCESSING, SUCCEEDED):
            figures += _told(f"in process, {kind}", in_process(place, kind))
            figures += _told(f"Lambda shape, {kind}", in_lambda_shape(place, sky, sqs, kind))
    return figures


def in_process(place: Ground, kind: str) -> Spent:
    """Measure intake.receive in this process; ringing costs nothing here."""
    database = intake(place)
    its_desk = desk(database)
    stock = requests(kind)
    with Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
        for request in islice(stock, WARM_UP):
            receive_one(its_desk, request)
        backend = place.backend_of("intake")
        parts = []
        for _ in range(PARTS):
            waiting = list(islice(stock, EVENTS // PARTS))
            before = Spent(process_time(), cpu_seconds(backend))
            for request in waiting:
                receive_one(its_desk, request)
            parts.append(_between(before, Spent(process_time(), cpu_seconds(backend))))
    database.close()
    return _median(parts)


def in_lambda_shape(place: Ground, sky: Cloud, sqs: str, kind: str) -> Spent:
    """Measure the function under Lambda's own runtime client; it rings at an SQS that answers at once."""
    function = sky.function(sky.spec("stripe_webhook"), AWS_ENDPOINT_URL_SQS=sqs)
    stock = requests(kind)
    if function.invoke(payload(next(stock))).failed:
        raise RuntimeError("the function fails")
    backend = place.backend_of("intake")
    before = cpu_seconds(backend)
    process = process_milliseconds(function, stock)
    return Spent(process, (cpu_seconds(backend) - before) * 1000 / (WARM_UP + EVENTS))


def process_milliseconds(function: LambdaFunction, stock: Iterator[dict[str, Any]]) -> float:
    """Return the CPU time that the function's process takes for an event; the function is stopped afterwards."""
    for request in islice(stock, WARM_UP):
        function.invoke(payload(request))
    [process] = function_processes(function.spec.handler)
    parts = []
    for _ in range(PARTS):
        waiting = [payload(request) for request in islice(stock, EVENTS // PARTS)]
        before = cpu_seconds(process)
        for event in waiting:
            function.invoke(event)
        parts.append((cpu_seconds(process) - before) * 1000 * PARTS / EVENTS)
    function.stop()
    return median(parts)


def _between(before: Spent, after: Spent) -> Spent:
    return Spent(*((late - early) * 1000 * PARTS / EVENTS for early, late in zip(before, after, strict=True)))


def _median(parts: list[Spent]) -> Spent:
    return Spent(*(median(values) for values in zip(*parts, strict=True)))


def _told(what: str, spent: Spent) -> list[Figure]:
    print(f"  {what}: process {spent.process:.3f} ms + Postgres {spent.postgres:.3f} ms", flush=True)
    return [Figure(f"CPU per event {what}", sum(spent), "ms", limit=MOST_MILLISECONDS)]

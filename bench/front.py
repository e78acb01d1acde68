"""Events a second through the front door of the local stack, beside a function that answers at once."""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from bench.figures import Figure, alternating
from bench.ground import cloud, ground
from bench.load import events_a_second
from bench.recording import fill
from local.http_front import HttpFront
from local.template import Route

CLIENTS = (1, 4, 16)
REQUESTS = 1200
ROUNDS = 5
MOST_ENVIRONMENTS = 4  # two for each of two cores
AT_ONCE = 'def handler(event, context):\n    return {"statusCode": 200, "body": "{}"}\n'


def run() -> list[Figure]:
    """Measure with 1, 4 and 16 clients, without the template's throttles."""
    figures = []
    with ExitStack() as started:
        place = started.enter_context(ground())
        fill(place)
        sky = started.enter_context(cloud(place))
        ours = sky.spec("stripe_webhook")
        folder = Path(started.enter_context(tempfile.TemporaryDirectory(prefix="gatehouse-bench-front-")))
        (folder / "at_once.py").write_text(AT_ONCE)
        floor = replace(ours, logical_id="AtOnce", handler="at_once.handler", code_folder=folder)
        functions = {spec.logical_id: sky.function(spec, most_environments=MOST_ENVIRONMENTS) for spec in (ours, floor)}
        routes = [Route("POST", "/ours", ours.logical_id), Route("POST", "/floor", floor.logical_id)]
        front = HttpFront(routes, functions, 0)
        started.callback(front.stop)
        front.start()
        for clients in CLIENTS:
            rates = {path: _seconds_an_event(front.port, path, clients) for path in ("/floor", "/ours")}
            measured = alternating(rates["/floor"], rates["/ours"], rounds=ROUNDS)
            name = f"events a second through the front, {clients} client{'s' if clients > 1 else ''}"
            figures.append(Figure(name, 1 / measured.value, "/s", 1 / measured.floor, more_is_better=True))
    return figures


def _seconds_an_event(port: int, path: str, clients: int) -> Callable[[], float]:
    return lambda: 1 / events_a_second(port, path, clients=clients, requests=REQUESTS)

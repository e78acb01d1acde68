"""Recording one event in process at one client, beside pgbench with the same call; and that it is one round trip."""

import json
from collections.abc import Sequence
from contextlib import closing, redirect_stdout
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, cast

from bench.figures import Figure, alternating
from bench.ground import ACCOUNT, DATA_KEYS, Ground, desk, ground, intake
from bench.samples import SUCCEEDED, bodies, requests
from gatehouse.database.connection import Database
from gatehouse.database.flush import Result
from gatehouse.database.sql import Bound, Json
from gatehouse.gateways import stripe
from gatehouse.intake.receive import Desk, receive
from gatehouse.intake.record import Delivery, record
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring
from tests.support.proxies import CountingProxy

EVENTS_A_ROUND = 300
ROUNDS = 15
EVENTS_BEFORE = 5000  # in an empty database every index is one page, and plans are made for that
MOST_TIMES_THE_FLOOR = 1.5
FRESH = "FRESH"  # stands in a pgbench variable where each call puts a number of its own


def run() -> list[Figure]:
    """Measure, and print how many round trips an event takes."""
    with ground() as place:
        return measured(place)


def measured(
    place: Ground, *, before: int = EVENTS_BEFORE, events: int = EVENTS_A_ROUND, rounds: int = ROUNDS
) -> list[Figure]:
    """Measure behind so many events, so many in each round."""
    with closing(intake(place)) as database, Path("/dev/null").open("w") as nowhere:
        print(f"  {round_trips(place)} round trip for an event, counted on the wire")
        script, variables = floor_of(SUCCEEDED)
        fill(place, before)
        stock = requests(SUCCEEDED)
        its_desk = desk(database)

        def candidate() -> float:
            with redirect_stdout(nowhere):
                return median_milliseconds(its_desk, list(islice(stock, events)))

        def floor() -> float:
            return place.pgbench(script, transactions=events, **variables)

        taken = alternating(floor, candidate, rounds=rounds)
    return [Figure("one event in process, 1 client", taken.value, "ms", taken.floor, MOST_TIMES_THE_FLOOR)]


def fill(place: Ground, events: int = EVENTS_BEFORE) -> None:
    """Put events into the database and let Postgres learn how large its tables are, as autovacuum does by and by."""
    script, variables = floor_of(SUCCEEDED)
    place.pgbench(script, transactions=events, **variables)
    place.database.sql("vacuum analyze")


def receive_one(its_desk: Desk, request: dict[str, Any]) -> None:
    """Do with one request what the webhook's handler does."""
    log.bind(request_id="request", gateway=stripe.NAME)
    answer = receive(cast(Any, stripe), request, its_desk)
    metrics.emit()
    if answer["statusCode"] != 200:
        raise AssertionError(answer["body"])


def median_milliseconds(its_desk: Desk, signed: Sequence[dict[str, Any]]) -> float:
    """Return the median time that a request takes."""
    times = []
    for request in signed:
        begun = perf_counter()
        receive_one(its_desk, request)
        times.append(perf_counter() - begun)
    return median(times) * 1000


def round_trips(place: Ground) -> int:
    """Return how often the client speaks and waits for one event, over a connection that stands."""
    with CountingProxy(place.server.port) as proxy, Path("/dev/null").open("w") as nowhere, redirect_stdout(nowhere):
        database = intake(place, port=proxy.port)
        first, second = islice(requests(SUCCEEDED), 2)
        receive_one(desk(database), first)
        proxy.forget()
        receive_one(desk(database), second)
        counted = proxy.round_trips
        database.close()
    return counted


class _Listener:
    """Takes the place of the database to hear what it would be told."""

    bounds: Sequence[Bound] = ()

    def flush(self, bounds: Sequence[Bound], **_options: object) -> list[Result]:
        self.bounds = bounds
        return [Result([{"outcome": {"event_row": 1, "jobs": [], "changed": []}}], 1, "SELECT 1")]


def floor_of(kind: str) -> tuple[str, dict[str, str]]:
    """Return a pgbench script that makes the very call that recording makes, and its variables.

    Every value travels with every call, as ours do; ids and locks are new each time.
    """
    body = next(bodies(kind))
    event = stripe.translate(stripe.read_event(body), ACCOUNT.account)
    listener = _Listener()
    delivery = Delivery(ACCOUNT, event, body, datetime.now(UTC))
    record(cast(Database, listener), delivery, Keyring(DATA_KEYS))
    [bound] = listener.bounds

    text, variables = bound.statement.text, {}
    numbered = list(enumerate(zip(bound.statement.parameters, bound.values, strict=True), start=1))
    for number, (name, value) in reversed(numbered):  # $10 before $1
        expression, content = _pgbench_value(name, value, event.event_id)
        text = text.replace(f"${number}", expression)
        if content is not None:
            variables[name] = content
    return f"\\set fresh random(1, 9000000000000000)\n{text};\n", variables


def _pgbench_value(name: str, value: Any, event_id: str) -> tuple[str, str | None]:
    """Return how a parameter is written in the script, and what the variable of its name holds."""
    if value is None:
        return "null", None
    if value == "":  # pgbench takes no empty variable
        return "''", None
    if name == "name_locks":
        return f"array[{', '.join(f':fresh::bigint + {each}' for each in range(len(value)))}]", None
    if isinstance(value, bool):
        return f":{name}::boolean", str(value).lower()
    if isinstance(value, bytes):
        return f":{name}::bytea", f"\\x{value.hex()}"
    if isinstance(value, datetime):
        return f":{name}::timestamptz", value.isoformat()
    if isinstance(value, Json):
        content = json.dumps(value.value, default=str, ensure_ascii=False, separators=(",", ":"))
        run = event_id.rpartition("_")[2]  # what makes the sample's ids this run's own
        return f"replace(:{name}, '{FRESH}', :fresh)::jsonb", content.replace(run, FRESH)
    if name in ("event_id", "reference"):
        return f":{name} || :fresh", str(value)
    return f":{name}", str(value)

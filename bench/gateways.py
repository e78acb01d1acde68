"""One event of each gateway, translated and recorded in process, beside Stripe's."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import Any

from bench.figures import Figure, alternating
from bench.ground import DATA_KEYS, Ground, ground
from bench.samples import SUCCEEDED, bodies
from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.gateways import gateway_named
from gatehouse.intake.record import Delivery, record
from gatehouse.sealing import Keyring
from tests.support.gateway_samples import samples

EVENTS_A_ROUND = 100
ROUNDS = 7
OTHERS = {
    "paypal": "payment.capture.completed",
    "paystack": "charge.success__2024_ngn_metadata",
    "sayswitch": "payment.success",
    "mx_merchant": "PaymentSuccess",
}


def run() -> list[Figure]:
    """Measure each gateway in turn with Stripe."""
    with ground() as place:
        return measured(place)


def measured(place: Ground, *, events: int = EVENTS_A_ROUND, rounds: int = ROUNDS) -> list[Figure]:
    """Measure so many events of each in each round."""
    figures = []
    with closing(place.database.connect("intake")) as database:
        for gateway, sample in OTHERS.items():
            stripes, theirs = bodies(SUCCEEDED), bodies_of(gateway, sample)

            def floor(stream: Iterator[bytes] = stripes) -> float:
                return milliseconds(database, "stripe", stream, events)

            def candidate(stream: Iterator[bytes] = theirs, gateway: str = gateway) -> float:
                return milliseconds(database, gateway, stream, events)

            taken = alternating(floor, candidate, rounds=rounds)
            figures.append(Figure(f"one event of {gateway} (floor: Stripe's)", taken.value, "ms", taken.floor))
    return figures


def milliseconds(database: Database, gateway: str, stream: Iterator[bytes], events: int) -> float:
    """Translate and record so many events; return the time of one."""
    package, keyring = gateway_named(gateway), Keyring(DATA_KEYS)
    account = GatewayAccount(gateway, "default", "default", "both")
    taken = [next(stream) for _ in range(events)]
    begun = perf_counter()
    for body in taken:
        event = package.translate(package.read_event(body), "default")
        became = record(database, Delivery(account, event, body, datetime.now(UTC)), keyring)
        if became.status != "applied":
            raise RuntimeError(f"{gateway}: {became.status}, {became.reason}")
    return (perf_counter() - begun) * 1000 / events


def bodies_of(gateway: str, sample: str) -> Iterator[bytes]:
    """Return events of a gateway without end, each of a payment of its own."""
    content = samples(gateway)[sample].read_bytes()
    run = int(token_hex(4), 16) * 100_000
    for number in count(run):
        payload: dict[str, Any] = json.loads(content)
        match gateway:
            case "paypal":
                payload["id"] = f"WH-{number}"
                payload["resource"]["id"] = f"{number:017d}"
                payload["resource"]["links"] = []
                payload["resource"].pop("supplementary_data", None)
            case "mx_merchant":
                payload["id"] = str(number)
            case _:
                payload["data"] |= {"id": number, "reference": f"bench-{number}"}
        yield json.dumps(payload).encode()

"""Deliveries that are no first ones: duplicates, and what waited in the inbox while Postgres was away."""

from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.figures import Figure, alternating
from bench.ground import ACCOUNT, DATA_KEYS, Ground, desk, ground, intake
from bench.recording import EVENTS_BEFORE, fill, median_milliseconds, receive_one
from bench.samples import PROCESSING, bodies, requests
from gatehouse.accounts import fingerprint
from gatehouse.http_request import read_request
from gatehouse.intake.inbox import Waiting, sealed_message
from gatehouse.intake.receive import Desk
from gatehouse.intake.replay import replay
from gatehouse.sealing import Keyring
from tests.support.queues import sqs_event
from tests.support.stripe_requests import api_request

EVENTS_A_ROUND = 200
ROUNDS = 9
BATCH = 10  # messages that the template's mapping hands over at once


def run() -> list[Figure]:
    """Measure both beside first deliveries."""
    with ground() as place:
        return measured(place)


def measured(
    place: Ground, *, before: int = EVENTS_BEFORE, events: int = EVENTS_A_ROUND, rounds: int = ROUNDS
) -> list[Figure]:
    """Measure behind so many events, so many in each round, which are whole batches."""
    with ExitStack() as started:
        fill(place, before)
        nowhere = started.enter_context(Path("/dev/null").open("w"))
        started.enter_context(redirect_stdout(nowhere))
        database = intake(place)
        started.callback(database.close)
        its_desk = desk(database)
        stock = requests(PROCESSING)
        waiting = _batches()
        known = list(islice(requests(PROCESSING), events))
        for request in known:
            receive_one(its_desk, request)

        def first_deliveries() -> float:
            return median_milliseconds(its_desk, list(islice(stock, events)))

        def duplicates() -> float:
            return median_milliseconds(its_desk, known)

        def replayed() -> float:
            return _replay_milliseconds(its_desk, list(islice(waiting, events // BATCH)))

        duplicate = alternating(first_deliveries, duplicates, rounds=rounds)
        from_inbox = alternating(first_deliveries, replayed, rounds=rounds)
    return [
        Figure("a duplicate (floor: a first delivery)", duplicate.value, "ms", duplicate.floor),
        Figure("an event replayed from the inbox (floor: a first delivery)", from_inbox.value, "ms", from_inbox.floor),
        Figure("events replayed from the inbox, one worker", 1000 / from_inbox.value, "/s"),
    ]


def _batches() -> Iterator[dict[str, Any]]:
    """Return what the inbox queue hands over, without end."""
    keyring = Keyring(DATA_KEYS)
    stock = bodies(PROCESSING)
    while True:
        yield sqs_event(*(_message(body, keyring) for body in islice(stock, BATCH)))


def _message(body: bytes, keyring: Keyring) -> str:
    request = read_request(api_request(body), now=datetime.now(UTC))
    signed_by = fingerprint(ACCOUNT.signing_secrets[0])
    return sealed_message(Waiting(ACCOUNT.gateway, ACCOUNT.account, ACCOUNT, signed_by, request), keyring)


def _replay_milliseconds(its_desk: Desk, batches: list[dict[str, Any]]) -> float:
    begun = perf_counter()
    for batch in batches:
        answer = replay(batch, its_desk)
        if answer["batchItemFailures"]:
            raise RuntimeError(f"not replayed: {answer}")
    return (perf_counter() - begun) * 1000 / (len(batches) * BATCH)

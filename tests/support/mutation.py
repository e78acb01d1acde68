"""Damages a JSON payload in the ways that strangers, proxies and bugs do; the same damage for the same seed."""

import json
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

WRONG_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 10**30, 1.5, "", "\x00", "\ud800", "x" * 10_000, [], {}, [None], {"id": 7}, [[[]]], "usd", 2**63
)  # fmt: skip


def mutations(body: bytes, *, seed: str, count: int) -> Iterator[bytes]:
    """Yield damaged copies of a payload: some as bytes, some as JSON of another shape."""
    chance = random.Random(seed)  # noqa: S311 - the same damage in each run, nothing secret
    ways: tuple[Callable[[bytes, random.Random], bytes], ...] = (
        _cut, _flip, _repeat, _exchange_value, _exchange_value, _exchange_value, _drop_key, _nest
    )  # fmt: skip
    for _ in range(count):
        yield chance.choice(ways)(body, chance)


def _cut(body: bytes, chance: random.Random) -> bytes:
    return body[: chance.randrange(len(body))]


def _flip(body: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(body)
    for _ in range(chance.randint(1, 4)):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def _repeat(body: bytes, chance: random.Random) -> bytes:
    start, end = sorted((chance.randrange(len(body)), chance.randrange(len(body))))
    return body[:end] + body[start:]


def _exchange_value(body: bytes, chance: random.Random) -> bytes:
    payload = json.loads(body)
    for _ in range(chance.randint(1, 3)):
        holder, key = _place(payload, chance)
        holder[key] = deepcopy(chance.choice(WRONG_VALUES))  # the next exchange may land inside it
    return json.dumps(payload).encode()


def _drop_key(body: bytes, chance: random.Random) -> bytes:
    payload = json.loads(body)
    holder, key = _place(payload, chance)
    del holder[key]
    return json.dumps(payload).encode()


def _nest(body: bytes, chance: random.Random) -> bytes:
    payload = json.loads(body)
    holder, key = _place(payload, chance)
    holder[key] = "DEEP"
    depth = chance.choice((10, 400, 100_000))
    return json.dumps(payload).encode().replace(b'"DEEP"', b"[" * depth + b"]" * depth)


def _place(payload: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return a random place in a payload: a dict or list, and a key or index of it."""
    places = []
    waiting = [payload]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
    return chance.choice(places)

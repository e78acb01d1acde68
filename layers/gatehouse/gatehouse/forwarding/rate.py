"""Sends to an app no faster than it wants: a bucket of tokens that fills at a steady rate, one token a delivery.

The bucket is a row's two values. `now` comes from one clock for all workers, which is the database's.
"""

import math
from datetime import datetime, timedelta
from typing import NamedTuple

_NEARLY = 1e-6  # after exactly the wait that was told, rounding leaves a token short of one by less than that


class Bucket(NamedTuple):
    """What was left in the bucket, and when."""

    tokens: float
    filled_at: datetime


class Taken(NamedTuple):
    """The bucket afterwards, and how long to wait; 0 when a token was taken."""

    bucket: Bucket
    wait_seconds: float


def take(bucket: Bucket | None, *, per_second: float, burst: int, now: datetime) -> Taken:
    """Take a token out, or take nothing and tell when there will be one. No bucket yet is a full one."""
    if per_second <= 0 or burst < 1:
        raise ValueError(f"{per_second} a second with a burst of {burst} lets nothing through")
    if bucket is None:
        bucket = Bucket(float(burst), now)
    filled_at = max(now, bucket.filled_at)  # a clock that was set back fills nothing, and nothing twice
    gained = (filled_at - bucket.filled_at) / timedelta(seconds=1) * per_second
    tokens = min(float(burst), max(bucket.tokens, 0.0) + gained)
    if tokens >= 1 - _NEARLY:
        return Taken(Bucket(max(tokens - 1, 0.0), filled_at), 0.0)
    filled_in = (1 - tokens) / per_second + (filled_at - now) / timedelta(seconds=1)
    return Taken(Bucket(tokens, filled_at), math.ceil(filled_in * 1_000_000) / 1_000_000)

"""The bucket of tokens: never faster than agreed, and never slower than it has to be."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.forwarding.rate import Bucket, Taken, take

pytestmark = pytest.mark.req("R3")

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_burst_goes_at_once_and_the_next_one_waits() -> None:
    bucket = None
    for left in (2.0, 1.0, 0.0):
        taken = take(bucket, per_second=2, burst=3, now=NOW)
        assert taken == Taken(Bucket(left, NOW), 0.0)
        bucket = taken.bucket
    assert take(bucket, per_second=2, burst=3, now=NOW) == Taken(Bucket(0.0, NOW), 0.5)
    assert take(bucket, per_second=2, burst=3, now=at(0.5)) == Taken(Bucket(0.0, at(0.5)), 0.0)


def test_it_fills_up_to_its_brim() -> None:
    assert take(Bucket(0, NOW), per_second=1, burst=5, now=at(3600)).bucket.tokens == 4


def test_a_clock_that_was_set_back_fills_nothing_twice() -> None:
    waits = take(Bucket(0, at(10)), per_second=1, burst=5, now=NOW)
    assert waits == Taken(Bucket(0, at(10)), 11.0)


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_that_lets_nothing_through_is_no_rate(per_second: float, burst: int) -> None:
    with pytest.raises(ValueError, match="lets nothing through"):
        take(None, per_second=per_second, burst=burst, now=NOW)


@settings(deadline=None, derandomize=True, max_examples=200, database=None)
@given(
    per_second=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.one_of(st.just(0.0), st.floats(0, 10)), max_size=80),
)
def test_whatever_the_rhythm(per_second: float, burst: int, pauses: list[float]) -> None:
    bucket, now, sent = None, NOW, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        taken = take(bucket, per_second=per_second, burst=burst, now=now)
        if taken.wait_seconds:
            assert 0 < taken.wait_seconds <= 1 / per_second + 0.001
            now += timedelta(seconds=taken.wait_seconds)  # whoever waits as long as was said gets the next one
            taken = take(taken.bucket, per_second=per_second, burst=burst, now=now)
        assert taken.wait_seconds == 0
        assert 0 <= taken.bucket.tokens <= burst - 1
        bucket = taken.bucket
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            elapsed = (sent[last] - sent[first]) / timedelta(seconds=1)
            assert last - first + 1 <= burst + elapsed * per_second + 0.01

"""A stream of events under one fault after the other; in the end every row is what it would be without any."""

from collections.abc import Callable

import pytest

from tests.faults.faults import storm
from tests.faults.ground import Ground
from tests.faults.reckoning import settled
from tests.faults.stream import chance, told

SEED = 20260101
PAYMENTS = 35
SECONDS = 14.0
LONGEST_FAULT_SECONDS = 0.8


@pytest.mark.req("G8", "G9", "G10", "P11", "M6")
def test_through_every_fault_nothing_acknowledged_is_lost_and_nothing_doubled(
    ground: Ground, show: Callable[[object], None]
) -> None:
    random = chance(SEED)
    events = told(PAYMENTS, "storm", random)
    sender = storm(ground, events, seconds=SECONDS, longest_fault_seconds=LONGEST_FAULT_SECONDS, random=random)
    reckoning = settled(ground)
    show(f"{reckoning} (seed {SEED})")
    assert reckoning.is_right, reckoning.in_full
    assert ground.acknowledged == set(ground.sent)
    # The storm was one: events waited in the inbox, were sent again, and found themselves recorded.
    assert sender.answers[200, "queued"] > 0
    assert sender.answers[503, ""] > 0
    assert sender.answers[200, "duplicate"] > 0
    assert {status for status, _ in sender.answers} <= {0, 200, 429, 503}

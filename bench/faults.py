"""The long storm: events under every fault, again and again for five minutes, with a seed from the clock.

    python -m bench.faults [seed]

Every round ends as the short one in tests/faults does: all comes back, queues and sweeper do their work, and every row
is compared with that of a database in which nothing went wrong. The seed chooses events, order and faults; what the
machine makes of them at which moment it does not choose, so a seed repeats the plan and not every race.
"""

import sys
import time
from collections import Counter

from tests.faults.faults import storm
from tests.faults.ground import Ground
from tests.faults.reckoning import Reckoning, settled
from tests.faults.stream import chance, told

ROUNDS = 4
PAYMENTS_A_ROUND = 42  # six of each story: 156 events
SECONDS_A_ROUND = 65.0
LONGEST_FAULT_SECONDS = 2.5  # longer than the functions wait for a statement, a connection, a queue


def run(seed: int | None = None) -> int:
    """Go through all rounds and print what they did; return 0 when nothing was lost, doubled or different."""
    seed = int(time.time()) if seed is None else seed
    print(f"faults: seed {seed}, {ROUNDS} rounds of {SECONDS_A_ROUND:.0f} seconds")
    answers: Counter[tuple[int, str]] = Counter()
    with Ground() as ground:
        for number in range(1, ROUNDS + 1):
            random = chance(seed + number)
            events = told(PAYMENTS_A_ROUND, f"round{number}x", random)
            sender = storm(
                ground,
                events,
                seconds=SECONDS_A_ROUND,
                longest_fault_seconds=LONGEST_FAULT_SECONDS,
                random=random,
            )
            answers += sender.answers
            reckoning = settled(ground)
            print(f"  round {number}: {reckoning}", flush=True)
            if not _is_right(reckoning):
                print(reckoning.in_full)
                return 1
        _print_counts("answers", {f"{status} {words}".strip(): times for (status, words), times in answers.items()})
        _print_counts("faults", ground.faults)
    print(reckoning)
    return 0


def _is_right(reckoning: Reckoning) -> bool:
    return reckoning.is_right and reckoning.acknowledged == reckoning.events


def _print_counts(what: str, counts: dict[str, int]) -> None:
    shown = ", ".join(f"{name} {times}" for name, times in sorted(counts.items(), key=lambda each: -each[1]))
    print(f"  {what}: {shown}")


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]) if len(sys.argv) > 1 else None))

"""Recording through PgBouncer in transaction mode, beside recording over a direct connection."""

from contextlib import ExitStack, redirect_stdout
from itertools import islice
from pathlib import Path

from bench.figures import Figure, alternating
from bench.ground import desk, ground, intake
from bench.recording import fill, median_milliseconds
from bench.samples import SUCCEEDED, requests
from tests.support import pgbouncer
from tests.support.pgbouncer import PgBouncer

EVENTS_A_ROUND = 200
ROUNDS = 11


def run() -> list[Figure]:
    """Measure both, where PgBouncer is installed."""
    if not pgbouncer.installed():
        print(f"  not measured: {pgbouncer.MISSING}")
        return []
    with ExitStack() as started:
        place = started.enter_context(ground())
        fill(place)
        bouncer = PgBouncer(place.server)
        started.callback(bouncer.stop)
        bouncer.start()
        nowhere = started.enter_context(Path("/dev/null").open("w"))
        started.enter_context(redirect_stdout(nowhere))
        stock = requests(SUCCEEDED)
        direct, pooled = intake(place), intake(place, port=bouncer.port)
        desks = desk(direct), desk(pooled)

        def through(number: int) -> float:
            return median_milliseconds(desks[number], list(islice(stock, EVENTS_A_ROUND)))

        measured = alternating(lambda: through(0), lambda: through(1), rounds=ROUNDS)
        direct.close()
        pooled.close()
    return [Figure("one event through PgBouncer (floor: direct)", measured.value, "ms", measured.floor)]

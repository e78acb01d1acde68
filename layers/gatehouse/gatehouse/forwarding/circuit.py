"""Leaves an app alone that does not answer, and tries with one delivery at a time whether it is back.

The state is a row's: four values that the caller reads, and writes again only if nobody has changed them meanwhile.

    closed      send. After some failures in a row: open
    open        hold everything until `probe_at`; then one delivery may go as a probe: half_open
    half_open   a probe is on its way; hold the others. Delivered: closed. Failed: open, for twice as long
                A probe that is not back at `probe_at` has vanished with its worker, and another one may go

Only silence, faults (5xx) and "later" (429 …) count as failures. Who refuses a delivery with 400 is there.
"""

from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from gatehouse.forwarding.outcome import What

type State = Literal["closed", "open", "half_open"]

_MOST_DOUBLINGS = 20


class Limits(NamedTuple):
    """When a circuit opens and for how long."""

    opens_after_failures: int = 5
    first_hold_seconds: float = 30.0
    most_hold_seconds: float = 900.0
    probe_seconds: float = 60.0  # longer than one delivery can take


class Circuit(NamedTuple):
    """How an app has been answering."""

    state: State = "closed"
    consecutive_failures: int = 0
    opened_at: datetime | None = None  # since when it has not been closed, over all probes
    probe_at: datetime | None = None  # open: when a probe may go; half_open: when the next one may


class Send(NamedTuple):
    """The delivery may go."""


class Probe(NamedTuple):
    """The delivery may go as a probe, by whoever writes `probing` first."""


class Hold(NamedTuple):
    """The delivery waits."""

    until: datetime


LIMITS = Limits()
CLOSED = Circuit()


def may_send(circuit: Circuit, now: datetime) -> Send | Probe | Hold:
    """Tell what a delivery may do now."""
    if circuit.state == "closed":
        return Send()
    if circuit.probe_at is None or now >= circuit.probe_at:
        return Probe()
    return Hold(circuit.probe_at)


def probing(circuit: Circuit, now: datetime, limits: Limits = LIMITS) -> Circuit:
    """Return the circuit while one probe is on its way."""
    return circuit._replace(state="half_open", probe_at=now + timedelta(seconds=limits.probe_seconds))


def after(
    circuit: Circuit,
    what: What,
    now: datetime,
    *,
    retry_after_seconds: float | None = None,
    limits: Limits = LIMITS,
) -> Circuit:
    """Return the circuit after a delivery; an app that says how long to wait is left alone for that long."""
    if what != "retry":
        return CLOSED
    failed = circuit._replace(consecutive_failures=circuit.consecutive_failures + 1)
    asked_until = now + timedelta(seconds=retry_after_seconds) if retry_after_seconds else None
    if circuit.state == "open":  # this one was on its way when the circuit opened
        held = [each for each in (circuit.probe_at, asked_until) if each]
        return failed._replace(probe_at=max(held, default=now))
    opens = circuit.state == "half_open" or failed.consecutive_failures >= limits.opens_after_failures
    if not opens and asked_until is None:
        return failed
    hold_until = now + timedelta(seconds=_hold_seconds(failed.consecutive_failures, limits)) if opens else now
    return failed._replace(
        state="open",
        opened_at=circuit.opened_at or now,
        probe_at=max(hold_until, asked_until or hold_until),
    )


def _hold_seconds(failures: int, limits: Limits) -> float:
    doublings = min(max(failures - limits.opens_after_failures, 0), _MOST_DOUBLINGS)
    return min(limits.first_hold_seconds * (1 << doublings), limits.most_hold_seconds)

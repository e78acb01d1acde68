"""The circuit: leaves an app alone that fails, lets one probe at a time through, and closes as soon as one arrives."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.forwarding.circuit import CLOSED, LIMITS, Circuit, Hold, Limits, Probe, Send, after, may_send, probing
from gatehouse.forwarding.outcome import What

pytestmark = pytest.mark.req("R3")

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUICK = Limits(opens_after_failures=3, first_hold_seconds=10, most_hold_seconds=35, probe_seconds=5)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def failed(times: int, circuit: Circuit = CLOSED, when: datetime = NOW) -> Circuit:
    for _ in range(times):
        circuit = after(circuit, "retry", when, limits=QUICK)
    return circuit


def test_a_closed_circuit_lets_everything_through_until_enough_failed_in_a_row() -> None:
    assert may_send(CLOSED, NOW) == Send()
    assert failed(2) == Circuit("closed", 2)
    assert may_send(failed(2), NOW) == Send()
    assert failed(3) == Circuit("open", 3, NOW, at(10))


@pytest.mark.parametrize("what", ["delivered", "final", "gone"])
def test_whoever_answers_is_there(what: What) -> None:
    assert after(failed(2), what, NOW, limits=QUICK) == CLOSED
    assert after(failed(3), what, NOW, limits=QUICK) == CLOSED  # it was on its way when the circuit opened


def test_an_open_circuit_holds_until_a_probe_may_go() -> None:
    opened = failed(3)
    assert may_send(opened, NOW) == Hold(at(10))
    assert may_send(opened, at(9.999)) == Hold(at(10))
    assert may_send(opened, at(10)) == Probe()


def test_one_probe_at_a_time() -> None:
    on_its_way = probing(failed(3), at(10), QUICK)
    assert on_its_way == Circuit("half_open", 3, NOW, at(15))
    assert may_send(on_its_way, at(10)) == Hold(at(15))
    assert may_send(on_its_way, at(15)) == Probe()  # the first one has vanished with its worker


def test_a_probe_that_arrives_closes_and_one_that_fails_holds_for_twice_as_long() -> None:
    on_its_way = probing(failed(3), at(10), QUICK)
    assert after(on_its_way, "delivered", at(11), limits=QUICK) == CLOSED
    again = after(on_its_way, "retry", at(11), limits=QUICK)
    assert again == Circuit("open", 4, NOW, at(31))  # still since NOW
    once_more = after(probing(again, at(31), QUICK), "retry", at(32), limits=QUICK)
    assert once_more.probe_at == at(32 + 35)  # the most


def test_what_was_on_its_way_when_it_opened_changes_no_time() -> None:
    assert failed(1, failed(3), at(3)) == Circuit("open", 4, NOW, at(10))


def test_an_app_that_says_how_long_is_left_alone_for_that_long() -> None:
    asked = after(CLOSED, "retry", NOW, retry_after_seconds=120, limits=QUICK)
    assert asked == Circuit("open", 1, NOW, at(120))
    assert after(asked, "retry", at(1), retry_after_seconds=300, limits=QUICK).probe_at == at(301)
    assert after(asked, "retry", at(1), retry_after_seconds=2, limits=QUICK).probe_at == at(120)
    assert after(failed(2), "retry", NOW, retry_after_seconds=1, limits=QUICK).probe_at == at(10)
    assert after(CLOSED, "retry", NOW, retry_after_seconds=0, limits=QUICK) == Circuit("closed", 1)


def test_a_row_that_lost_its_time_is_probed() -> None:
    assert may_send(Circuit("open", 5, NOW, None), NOW) == Probe()
    assert after(Circuit("open", 5, NOW, None), "retry", NOW).probe_at == NOW


def test_a_year_of_failures() -> None:
    circuit = CLOSED._replace(state="half_open", consecutive_failures=10**9)
    assert after(circuit, "retry", NOW).probe_at == at(LIMITS.most_hold_seconds)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["delivered", "final", "retry", "retry", "retry", "gone"]),
        st.floats(0, 2000),
        st.one_of(st.none(), st.floats(0, 86_400)),
    ),
    max_size=60,
)


@settings(deadline=None, derandomize=True, max_examples=200, database=None)
@given(STEPS)
def test_whatever_happens(steps: list[tuple[What, float, float | None]]) -> None:
    """The worker's loop: ask, deliver when allowed, and write down what became of it."""
    circuit, now, in_a_row = CLOSED, NOW, 0
    for what, pause_seconds, retry_after_seconds in steps:
        now += timedelta(seconds=pause_seconds)
        permission = may_send(circuit, now)
        if isinstance(permission, Hold):
            assert now < permission.until <= now + timedelta(days=1)
            assert circuit.state != "closed"
            continue
        if isinstance(permission, Probe):
            assert circuit.state != "closed"
            circuit = probing(circuit, now)
            assert isinstance(may_send(circuit, now), Hold)  # nobody else goes
        circuit = after(circuit, what, now, retry_after_seconds=retry_after_seconds)
        in_a_row = in_a_row + 1 if what == "retry" else 0
        assert circuit.consecutive_failures == in_a_row
        if what != "retry":
            assert circuit == CLOSED
        elif in_a_row >= LIMITS.opens_after_failures or retry_after_seconds:
            assert circuit.state == "open"
        if circuit.state == "closed":
            assert (circuit.opened_at, circuit.probe_at) == (None, None)
        else:
            assert circuit.opened_at is not None
            assert circuit.opened_at <= now

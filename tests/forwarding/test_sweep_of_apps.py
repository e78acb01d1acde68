"""The sweeper rings for what waits for apps: not while an app is away, and then not for everything at once."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from gatehouse.forwarding.app_rows import pause
from gatehouse.jobs.bell import NO_DELAYS, Bell
from gatehouse.jobs.sweep import FIRST_OF_A_LANE, MOST_A_SECOND_OF_A_LANE, MOST_OF_A_LANE, sweep
from gatehouse.observability import metrics
from tests.forwarding.story import Story


class Listener(Bell):
    """Notes for which jobs was rung, and how long each bell was put off."""

    def __init__(self) -> None:
        self.heard: dict[int, int] = {}

    def ring(
        self, jobs: Iterable[tuple[int, str]], *, budget_seconds: float = 0.0, delays: Mapping[int, int] = NO_DELAYS
    ) -> int:
        """Take it down."""
        assert budget_seconds > 0
        rung = {job: delays.get(job, 0) for job, _topic in jobs}
        self.heard |= rung
        return len(rung)


def write_forwards(story: Story, app: str, number: int) -> list[int]:
    """Write jobs that are due for an app; return them, the oldest first."""
    rows = story.rows(
        "insert into jobs (topic, business_key, merchant, arguments, due_at, ring_after)"
        f" select 'forward', '{app}' || n, 'default', jsonb_build_object('app', '{app}'), now(), now()"
        f" from generate_series(1, {number}) n returning id"
    )
    return sorted(job for (job,) in rows)


def ids(jobs: Iterable[int]) -> str:
    """Return jobs as Postgres writes them in an array."""
    return ",".join(str(job) for job in jobs)


def rung(story: Story) -> dict[int, int]:
    """Sweep once; return the jobs that were rung for, with the seconds by which each bell was put off."""
    listener = Listener()
    sweep(story.worker, listener, seconds=20)
    return listener.heard


@pytest.mark.req("R3")
def test_what_waits_for_an_app_that_is_away_is_not_rung_for_but_for_one_probe_in_its_time(story: Story) -> None:
    dead, well = write_forwards(story, "elevenone", 5), write_forwards(story, "nexai", 2)
    opened = "update apps set circuit_state = 'open', circuit_probe_at = now() + interval '{}' where name = 'elevenone'"
    story.rows(opened.format("1 minute"))
    assert rung(story).keys() == set(well)
    story.rows(opened.format("-1 second"))
    assert rung(story).keys() == {dead[0]}
    story.rows("update apps set circuit_state = 'half_open', circuit_probe_at = now() + interval '1 minute'")
    assert rung(story).keys() == set()
    story.rows("update apps set circuit_state = 'closed', circuit_probe_at = null; update jobs set ring_after = now()")
    assert rung(story).keys() == {*dead, *well}


@pytest.mark.req("R3")
def test_what_waits_for_a_paused_app_is_not_rung_for(story: Story) -> None:
    pause(story.ops, "default", "elevenone", "by hand")
    write_forwards(story, "elevenone", 2)
    assert rung(story) == {}


def write_delivery(story: Story, app: str, *, ok: bool, ago: str) -> None:
    """Write that an app was told of an event."""
    story.rows(
        "insert into webhook_forward_logs (app, target_url, ok, attempt_count, merchant, created_at)"
        f" values ('{app}', 'https://app.example', {ok}, 1, 'default', now() - interval '{ago}')"
    )


@pytest.mark.req("R3")
def test_what_has_waited_for_an_app_that_answers_goes_at_an_even_pace_and_the_rest_with_the_next_sweep(
    story: Story,
) -> None:
    most = MOST_OF_A_LANE
    write_delivery(story, "elevenone", ok=True, ago="1 minute")
    backlog, others = write_forwards(story, "elevenone", most + 700), write_forwards(story, "nexai", 3)
    first = rung(story)
    assert all(first[job] == 0 for job in others)
    of_backlog = Counter(seconds for job, seconds in first.items() if job in set(backlog))
    assert of_backlog == dict.fromkeys(range(60), MOST_A_SECOND_OF_A_LANE)
    story.rows(
        "update jobs set ring_after = now() - interval '1 second' where ring_after < now() + interval '2 minutes'"
    )
    story.rows(f"update jobs set status = 'done', finished_at = now() where id = any ('{{{ids(first)}}}')")
    assert set(rung(story)) == set(backlog) - set(first)


@pytest.mark.req("R3")
@pytest.mark.parametrize(
    "last",
    [None, {"ok": True, "ago": "6 minutes"}, {"ok": False, "ago": "1 second"}],
    ids=["nothing was sent", "long ago", "failed"],
)
def test_of_what_waits_for_an_app_that_has_taken_nothing_of_late_a_few_go_first(
    story: Story, last: dict[str, Any] | None
) -> None:
    if last:
        write_delivery(story, "elevenone", ok=True, ago="10 minutes")
        write_delivery(story, "elevenone", **last)
    backlog, others = write_forwards(story, "elevenone", 1200), write_forwards(story, "nexai", 3)
    first = rung(story)
    assert set(others) < set(first)
    assert len(set(first) & set(backlog)) == FIRST_OF_A_LANE
    write_delivery(story, "elevenone", ok=True, ago="0 seconds")
    story.rows("update jobs set ring_after = now() - interval '1 second'")
    assert set(backlog) <= set(rung(story))


@pytest.mark.req("R3")
def test_a_forward_whose_worker_vanished_is_rung_for_whatever_else_waits_for_its_app(story: Story) -> None:
    backlog = write_forwards(story, "elevenone", 700)
    left = backlog[-1]
    story.rows(
        "update jobs set status = 'leased', lease_token = gen_random_uuid(), lease_until = now() - interval '1 second',"
        f" attempts = 1 where id = {left}"
    )
    assert left in rung(story)


@pytest.mark.req("R3", "O1")
def test_what_waits_for_an_app_that_is_away_is_counted_and_is_not_late(
    story: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    write_forwards(story, "elevenone", 2)
    story.rows("update jobs set due_at = now() - interval '1 hour'")

    def told() -> tuple[int, int]:
        metrics.emit()  # what tests before this one have left
        capsys.readouterr()
        rung(story)
        metrics.emit()
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        (line,) = [line for line in lines if line.get("topic") == "forward" and "JobsWaiting" in line]
        return line["JobsWaiting"], line["OldestDueJob"]

    waiting, oldest_seconds = told()
    assert (waiting, oldest_seconds >= 3600) == (2, True)
    pause(story.ops, "default", "elevenone", "by hand")
    assert told() == (2, 0)

"""An app that falls silent while many are told to it keeps a batch for one attempt, not for three."""

import pytest

from gatehouse.forwarding.deliver import Patience
from gatehouse.forwarding.silence import SECONDS, SURE_AFTER, Silence
from local.receiver import Conduct
from tests.forwarding.story import Story

pytestmark = pytest.mark.req("R3")


def test_a_few_at_once_are_a_silence_and_one_app_is_not_another() -> None:
    moment = [0.0]
    silence = Silence(lambda: moment[0])
    assert [silence.note("a") for _ in range(SURE_AFTER + 1)] == [False] * (SURE_AFTER - 1) + [True] * 2
    assert not silence.note("b")
    silence.broken("a")
    assert not silence.note("a")


def test_what_was_long_ago_proves_nothing() -> None:
    moment = [0.0]
    silence = Silence(lambda: moment[0])
    for _ in range(100):
        moment[0] += SECONDS / (SURE_AFTER - 1) + 0.01
        assert not silence.note("a")


def test_a_batch_for_a_silent_app_ends_after_little_more_than_one_attempt_each(story: Story) -> None:
    story.patience = Patience(3, 0.4, (1,))
    with story.receiver() as app:
        app.behave(Conduct("slow", seconds=2))
        for _ in range(10):
            story.charge()
        story.work()
    attempts = sorted(row["attempt_count"] for row in story.logs())
    assert len(attempts) == 10
    # Of those that are first to end, fewer than make the silence certain may begin another attempt.
    assert attempts[: 10 - SURE_AFTER + 1] == [1] * (10 - SURE_AFTER + 1)
    assert {row["error_class"] for row in story.logs()} == {"TIMEOUT"}
    assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["open"]]


def test_one_alone_has_all_its_attempts(story: Story) -> None:
    story.patience = Patience(3, 0.2, (1,))
    with story.receiver() as app:
        app.behave(Conduct("slow", seconds=1))
        story.charge()
        story.work()
    assert [row["attempt_count"] for row in story.logs()] == [3]


AWAY = "update apps set circuit_state = 'open', circuit_probe_at = now() where name = 'elevenone'"


def test_a_probe_that_meets_the_silence_again_is_one_attempt(story: Story) -> None:
    story.patience = Patience(3, 0.2, (1,))
    with story.receiver() as app:
        story.rows(AWAY)
        app.behave(Conduct("slow", seconds=1))
        story.charge()
        story.work()
    assert [row["attempt_count"] for row in story.logs()] == [1]
    assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["open"]]


def test_a_probe_that_is_answered_has_all_its_attempts(story: Story) -> None:
    with story.receiver() as app:
        story.rows(AWAY)
        app.behave(Conduct("status", 503, times=2))
        story.charge()
        story.work()
    assert [(row["ok"], row["attempt_count"]) for row in story.logs()] == [(True, 3)]
    assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["closed"]]

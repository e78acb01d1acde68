"""What was given up is sent again: planned, once each, by the same webhook-id, whoever is interrupted."""

import itertools

import pytest

from gatehouse.forwarding.redrive import begin, carry_on, filters_of, find_redrive, plan
from gatehouse.forwarding.redriver import answer
from local.receiver import Conduct, Receiver
from tests.forwarding.story import Story


def given_up(story: Story, app: Receiver, number: int, status: int = 400) -> None:
    """Record charges that the app refuses."""
    app.behave(Conduct("status", status))
    for _ in range(number):
        story.charge()
    story.work()
    app.behave(None)
    app.control("DELETE", "/_received", b"")


@pytest.mark.req("R3", "D3")
def test_the_plan_tells_how_many_how_much_and_what_would_do_nothing(story: Story) -> None:
    with story.receiver() as app:
        given_up(story, app, 3)
        story.rows(
            "delete from webhook_payloads where webhook_event_id = (select max(webhook_event_id) from webhook_payloads)"
        )
        found = plan(story.ops, "default", filters_of({"app": "elevenone", "error": "http_400"}))
        amount = story.rows("select amount_minor, currency from app_transactions limit 1")[0]
        assert found.deliveries == 2
        assert found.money == {amount[1]: 2 * amount[0]}
        assert found.hindered == {"the bytes of the event are gone": 1}
        assert plan(story.ops, "default", filters_of({"error": "HTTP_500"})).deliveries == 0
        assert plan(story.ops, "default", filters_of({"app": "nexai"})).deliveries == 0
        assert plan(story.ops, "default", filters_of({"gateway": "stripe"})).deliveries == 0
        assert plan(story.ops, "default", filters_of({"until": "2020-01-01T00:00Z"})).deliveries == 0
        assert app.received == []


@pytest.mark.req("R3", "D3")
def test_a_redrive_that_is_interrupted_goes_on_and_each_is_sent_once(story: Story) -> None:
    with story.receiver() as app:
        given_up(story, app, 4)
        filters = filters_of({"app": "elevenone"})
        number = begin(story.ops, "default", filters | {"limit": 2}, "jane", 4)
        list(carry_on(story.ops, story.queues.bell(), number))
        assert find_redrive(story.ops, number)["sent"] == 2
        assert [step.is_done for step in carry_on(story.ops, None, number)] == [True]  # its limit is reached
        assert plan(story.ops, "default", filters).deliveries == 2
        second = begin(story.ops, "default", filters, "jane", 2)
        steps = list(carry_on(story.ops, story.queues.bell(), second))
        assert steps[-1].is_done
        rung = story.queues.take_json("forwarding")
        story.work(*[each["job"] for each in rung])
        assert len(app.received) == 4
        assert len({each.id for each in app.received}) == 4
    assert story.rows("select actor, planned, sent, finished_at is not null from redrives order by id") == [
        ["jane", 4, 2, True],
        ["jane", 2, 2, True],
    ]


@pytest.mark.req("R3", "D3")
def test_a_replay_of_what_was_delivered_keeps_its_id(story: Story) -> None:
    with story.receiver() as app:
        story.charge()
        story.work()
        said = answer({"app": "elevenone", "replay": True}, story.worker, story.queues.bell(), lambda: False)
        assert (said["sent"], said["is_done"]) == (1, True)
        story.work()
        assert [each.is_repeated for each in app.received] == [False, True]


@pytest.mark.req("R3", "D3")
def test_an_app_that_does_not_answer_gets_one_until_it_does(story: Story) -> None:
    with story.receiver() as app:
        given_up(story, app, 4)
        story.rows(
            "update apps set circuit_state = 'open', circuit_failures = 5, circuit_opened_at = now(),"
            " circuit_probe_at = now() - interval '1 s' where name = 'elevenone'"
        )
        number = begin(story.ops, "default", {"app": "elevenone"}, "jane", 4)
        steps = carry_on(story.ops, None, number, sleep=lambda _: None)
        assert [step.sent for step in itertools.islice(steps, 3)] == [1, 1, 1]
        story.work()
        assert len(app.received) == 1
        assert [step.sent for step in steps][-1] == 4


@pytest.mark.req("R3", "D3")
def test_the_function_plans_redrives_and_says_when_its_time_is_up(story: Story) -> None:
    with story.receiver() as app:
        given_up(story, app, 2)
        bell = story.queues.bell()
        planned = answer({"dry_run": True}, story.worker, bell, lambda: False)
        assert (planned["planned"], planned["is_done"]) == (2, True)
        story.rows("update apps set circuit_state = 'open', circuit_probe_at = now() where name = 'elevenone'")
        begun = answer({"actor": "jane"}, story.worker, bell, lambda: True)
        assert (begun["sent"], begun["is_done"]) == (1, False)
        story.work()
        done = answer({"resume": begun["redrive"]}, story.worker, bell, lambda: False)
        assert (done["sent"], done["is_done"]) == (2, True)
    assert story.rows("select actor from redrives") == [["jane (redriver function)"]]

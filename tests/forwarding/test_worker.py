"""From the recorded event to the app and its log row: the testing guide of the owner, on real parts."""

from typing import Any

import pytest

from gatehouse.forwarding.app_rows import pause, resume, rotate_secret
from gatehouse.forwarding.deliver import Patience
from gatehouse.forwarding.sign import message_id
from gatehouse.intake.record import Recorded
from local.receiver import Conduct
from tests.forwarding.story import ROOT, Story, url_of

FORWARD = "forward"


def forwards(recorded: Recorded) -> list[int]:
    """Return the forward jobs that a recording left, as the bell hears of them."""
    return [job.id for job in recorded.jobs if job.topic == FORWARD]


@pytest.mark.req("R1", "R2", "R4", "B7")
def test_an_event_of_the_app_arrives_byte_for_byte_signed_and_is_logged_once(story: Story) -> None:
    with story.receiver(headers={"authorization": "Bearer t"}) as app:
        body, recorded = story.charge(reference="T1")
        assert len(forwards(recorded)) == 1
        story.work(*forwards(recorded))
        (got,) = app.received
    assert got.body.encode() == body
    assert got.is_genuine
    assert (got.event, got.gateway) == ("charge.success", "paystack")
    assert got.headers["x-router-source"] == "nexai-paystack-router"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["authorization"] == "Bearer t"
    event = story.ops.query_one("select event_id from webhook_events")["event_id"]
    assert got.id == message_id("paystack", "default", event)
    (row,) = story.logs()
    assert (row["app"], row["ok"], row["status_code"], row["attempt_count"]) == ("elevenone", True, 200, 1)
    assert (row["reference"], row["gateway"], row["error_message"]) == ("T1", "paystack", None)
    assert row["target_url"] == url_of(app).partition("?")[0]
    assert [job["status"] for job in story.jobs()] == ["done"]


@pytest.mark.req("R2")
def test_the_bytes_go_on_under_the_content_type_that_they_came_with(story: Story) -> None:
    story.database.sql("update apps set takes = '{\"every_app\": true}'")
    stripe = (ROOT / "events" / "stripe" / "payment_intent.succeeded.json").read_bytes()
    with story.receiver() as app:
        story.event("stripe", stripe, content_type="application/json; charset=utf-8")
        story.charge()
        story.work()
        came = {each.gateway: each.headers["content-type"] for each in app.received}
    assert came == {"stripe": "application/json; charset=utf-8", "paystack": "application/json"}
    # Nothing is kept where nothing is to be told, and a session of the pooler keeps it for no other event.
    assert story.rows("select content_type from webhook_payloads order by 1") == [
        ["application/json; charset=utf-8"],
        [None],
    ]


@pytest.mark.req("R1")
def test_an_event_without_an_app_is_of_the_default_and_is_not_forwarded(story: Story) -> None:
    with story.receiver() as app:
        _body, recorded = story.charge(app=None)
        assert forwards(recorded) == []
        story.work()
        assert app.received == []
    assert story.rows("select app from app_transactions") == [["nexai"]]
    assert story.logs() == []


@pytest.mark.req("R5")
def test_without_an_address_nothing_is_forwarded(story: Story) -> None:
    _body, recorded = story.charge()
    assert forwards(recorded) == []
    assert story.rows("select app from app_transactions") == [["elevenone"]]


@pytest.mark.req("R3", "R4")
def test_two_faults_and_then_success_are_one_row_with_three_attempts(story: Story) -> None:
    story.patience = Patience()
    with story.receiver() as app:
        app.behave(Conduct("status", 500, times=2))
        story.charge()
        story.work()
        assert [each.status for each in app.received] == [500, 500, 200]
        assert len({each.id for each in app.received}) == 1
    (row,) = story.logs()
    assert (row["ok"], row["attempt_count"], row["status_code"]) == (True, 3, 200)
    assert story.waits == [0.3, 0.6]  # with chance in the middle


@pytest.mark.req("R3", "R4", "R5")
def test_an_app_that_cannot_be_reached_is_tried_again_later_and_the_recording_stands(story: Story) -> None:
    with story.receiver() as app:
        pass  # it has stopped
    _body, recorded = story.charge()
    assert recorded.status == "applied"
    story.work()
    (row,) = story.logs()
    assert (row["ok"], row["attempt_count"], row["status_code"], row["error_class"]) == (False, 3, None, "NETWORK")
    assert "hooks.example.com could not be asked" in row["error_message"]
    (job,) = story.jobs()
    assert (job["status"], job["attempts"]) == ("waiting", 1)
    assert app.received == []


@pytest.mark.req("R3", "R4")
@pytest.mark.parametrize("status", [301, 400, 401, 404, 422])
def test_a_refusal_is_final_and_lies_in_the_dead_letters_with_its_reason(story: Story, status: int) -> None:
    with story.receiver() as app:
        app.behave(Conduct("status", status))
        story.charge()
        story.work()
        assert len(app.received) == 1
    (job,) = story.jobs()
    assert (job["status"], job["last_error"].partition(":")[0]) == ("dead", f"HTTP_{status}")
    assert story.queues.take_json("forwarding-dlq") == [{"job": job["id"], "burial": 1}]
    (row,) = story.logs()
    assert (row["ok"], row["status_code"], row["attempt_count"]) == (False, status, 1)


@pytest.mark.req("R3")
def test_who_asks_for_patience_gets_it(story: Story) -> None:
    with story.receiver() as app:
        app.behave(Conduct("status", 429, retry_after_seconds=3000))
        story.charge()
        story.work()
        assert len(app.received) == 1
    ((seconds,),) = story.rows("select extract(epoch from due_at - now())::int from jobs where topic = 'forward'")
    assert 2950 < seconds <= 3000
    assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["open"]]


@pytest.mark.req("R3")
def test_410_pauses_the_app_and_what_comes_then_waits_until_somebody_resumes_it(story: Story) -> None:
    with story.receiver() as app:
        app.behave(Conduct("status", 410))
        story.charge()
        story.work()
        app.behave(None)
        story.charge()
        story.work()
        assert len(app.received) == 1
        gone, waits = story.jobs()
        assert (gone["status"], waits["status"], waits["attempts"]) == ("dead", "waiting", 0)
        assert waits["last_error"] == "the app is paused: it answered 410: it wants nothing more"
        assert resume(story.ops, "default", "elevenone") == 1
        story.work()
        assert len(app.received) == 2


@pytest.mark.req("R3", "B7")
def test_what_is_held_back_by_the_circuit_burns_no_attempt_and_all_arrives_once_after_an_hour(story: Story) -> None:
    with story.receiver() as app:
        app.behave(Conduct("down"))
        for _ in range(12):
            story.charge()
        story.work(threads=1)
        assert story.rows("select circuit_state, circuit_failures from apps where name = 'elevenone'") == [["open", 5]]
        assert len(app.received) == 5 * 3
        assert sorted(job["attempts"] for job in story.jobs()) == [0] * 7 + [1] * 5
        for _ in range(8):  # an hour of probes in vain: one delivery each
            story.later()
            before = len(app.received)
            story.work(threads=1)
            assert len(app.received) == before + 3
        app.behave(None)
        app.control("DELETE", "/_received", b"")
        story.later()
        story.work(threads=1)
        story.later()
        story.work(threads=1)
        assert len(app.received) == 12
        assert len({each.id for each in app.received}) == 12
    assert {job["status"] for job in story.jobs()} == {"done"}
    assert story.rows("select circuit_state from apps where name = 'elevenone'") == [["closed"]]


@pytest.mark.req("R3")
def test_an_app_is_told_no_faster_than_it_wants(story: Story) -> None:
    with story.receiver(rate_per_second=0.001, burst=2) as app:
        for _ in range(4):
            story.charge()
        story.work()
        assert len(app.received) == 2
    assert sorted((job["status"], job["attempts"]) for job in story.jobs()) == [
        *[("done", 1)] * 2,
        *[("waiting", 0)] * 2,
    ]


@pytest.mark.req("R3")
def test_a_silent_app_holds_up_no_other_app_of_its_batch(story: Story) -> None:
    with story.receiver() as sick, story.receiver("nexai") as well:
        sick.behave(Conduct("slow", seconds=1.5))
        for _ in range(5):
            story.charge()
        for _ in range(5):
            story.charge(app=None)
        story.work()
        delays = story.rows(
            "select app, max(extract(epoch from l.created_at - e.received_at))::float8 from webhook_forward_logs l"
            " join webhook_events e on e.id = l.webhook_event_id group by app order by app"
        )
        assert len(well.received) == 5
    by_app: dict[str, Any] = dict(map(tuple, delays))
    assert by_app["nexai"] < by_app["elevenone"] - 0.5


@pytest.mark.req("R2", "R4")
@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1/hooks", "not public"),
        ("https://169.254.169.254/latest/meta-data", "not public"),
        ("https://2130706433/", "unusual form"),
        ("https://[::ffff:10.0.0.1]/", "not public"),
        ("http://app.example.com/hooks", "https"),
    ],
)
def test_an_address_that_may_not_be_written_to_is_refused_with_its_reason(story: Story, url: str, why: str) -> None:
    # Past the command, which would refuse it: somebody wrote it into the table by hand.
    story.rows(f"update apps set target_url = '{url}' where name = 'elevenone'")
    story.charge()
    story.work()
    (row,) = story.logs()
    assert (row["ok"], row["error_class"], row["attempt_count"]) == (False, "TARGET_REFUSED", 0)
    assert why in row["error_message"]
    (job,) = story.jobs()
    assert job["status"] == "dead"


@pytest.mark.req("R2")
def test_while_a_secret_is_rotated_both_sign(story: Story) -> None:
    with story.receiver() as app:
        rotate_secret(story.ops, story.keyring, "default", "elevenone")
        story.charge()
        story.work()
        assert app.received[0].is_genuine  # it has the old one
        assert len(app.received[0].headers["webhook-signature"].split()) == 2
        rotate_secret(story.ops, story.keyring, "default", "elevenone", drop_old=True)
        story.charge()
        story.work()
        assert not app.received[1].is_genuine


@pytest.mark.req("R3")
def test_an_event_whose_bytes_are_gone_is_told_so(story: Story) -> None:
    with story.receiver() as app:
        story.charge()
        story.rows("delete from webhook_payloads")
        story.work()
        assert app.received == []
    (job,) = story.jobs()
    assert job["status"] == "dead"
    assert "the bytes of the event are gone" in job["last_error"]


@pytest.mark.req("R3")
def test_a_paused_app_is_told_nothing_and_no_attempt_is_burnt(story: Story) -> None:
    with story.receiver() as app:
        pause(story.ops, "default", "elevenone", "maintenance")
        _body, recorded = story.charge()
        story.work(*forwards(recorded))
        assert app.received == []
        assert [(job["status"], job["attempts"]) for job in story.jobs()] == [("waiting", 0)]


@pytest.mark.req("R3", "D3")
def test_dead_letters_that_are_moved_back_are_delivered_and_late_ones_open_nothing(story: Story) -> None:
    with story.receiver() as app:
        app.behave(Conduct("status", 400))
        story.charge()
        story.work()
        app.behave(None)
        (letter,) = story.queues.take("forwarding-dlq")  # AWS's own redrive moves the message as it is
        story.queues.bell().send(story.queues.urls["forwarding"], letter, timeout_seconds=5)
        (back,) = story.queues.take_json("forwarding")
        story.work(back["job"], burials={back["job"]: back["burial"]})
        assert [each.status for each in app.received] == [400, 200]
        story.work(back["job"], burials={back["job"]: back["burial"]})
        assert len(app.received) == 2
    assert [job["status"] for job in story.jobs()] == ["done"]

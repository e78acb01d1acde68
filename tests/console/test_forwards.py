"""Forwarding: what failed is found by its cause, looked at, and sent again in steps."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.forwarding import redrive
from gatehouse.forwarding.app_rows import set_up
from gatehouse.forwarding.redriver import take_a_turn
from gatehouse.gateways import gateway_named
from gatehouse.intake.record import Delivery, record
from gatehouse.jobs.claim import work_on
from gatehouse.models.admin_changes import list_changes
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser, Console
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("R6", "O4")
PATH = "/console/m/default/forwards"
CHARGE = Path(__file__).parents[2] / "events" / "paystack" / "charge.success__2024_ngn_metadata.json"
GIVEN_UP = 3


@pytest.fixture
def given_up(intake: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase) -> None:
    """Three events that their app refused until they were given up."""
    set_up(ops, keyring, "default", "elevenone", {"target_url": "https://hooks.example.com/paid?key=secret"})
    account = GatewayAccount("paystack", "default", "default", "both", ("x",))
    known = gateway_named("paystack")
    for number in range(GIVEN_UP):
        told = json.loads(CHARGE.read_bytes())
        told["data"] |= {"id": 7000 + number, "reference": f"ref{number}"}
        told["data"]["metadata"] = {"user_id": f"u{number}", "app": "elevenone"}
        body = json.dumps(told).encode()
        event = known.translate(known.read_event(body), "default")
        record(intake, Delivery(account, event, body, datetime.now(UTC)), keyring)
    gatehouse_database.sql(
        "update jobs set status = 'dead', attempts = 9, finished_at = now(), last_error = 'HTTP_500: it answered 500'"
        " where topic = 'forward';"
        "insert into webhook_forward_logs (app, target_url, ok, status_code, attempt_count, error_class, error_message,"
        " reference, merchant, gateway, duration_ms, webhook_event_id, job_id)"
        " select 'elevenone', 'https://hooks.example.com/paid', false, 500, 3, 'HTTP_500', 'it answered 500', 'a ref',"
        " merchant, 'paystack', 40, webhook_event_id, id from jobs where topic = 'forward'"
    )


@pytest.mark.usefixtures("given_up")
def test_failures_are_grouped_by_cause_and_one_delivery_is_made_again(
    console: Console, admin: Browser, viewer: Browser
) -> None:
    shown = viewer.get(PATH)
    assert "HTTP_500 elevenone 3 3" in shown.words
    assert "key=secret" not in shown.text
    assert "redrive" not in shown.text, "only operators send many again"
    first = viewer.get(PATH, ok="false", error="http_500", app="elevenone", limit="2")
    (following,) = [link for link in first.links() if "cursor=" in link]
    assert following
    assert "No delivery is like this" in viewer.get(PATH, ok="true").words
    one = admin.get(f"{PATH}/1")
    for words in ("did not take it and answered 500, after 3 attempts", "given up", "charge.success", "a ref"):
        assert words in one.words, words
    console.rung.clear()
    done = admin.post(f"{PATH}/1/again")
    assert "It is being delivered again" in admin.get(done.location).words
    assert [topic for _, topic in console.rung] == ["forward"]
    assert "waiting" in admin.get(f"{PATH}/1").words


@pytest.mark.req("R3")
@pytest.mark.usefixtures("given_up")
def test_what_was_given_up_is_planned_confirmed_and_sent_again_with_progress(
    console: Console, operator: Browser, admin: Browser, worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    assert admin.get(f"{PATH}/redrive").status == 404
    assert "Nothing is to be sent again" in operator.get(f"{PATH}/redrive", error="HTTP_404").words
    plan = operator.get(f"{PATH}/redrive", app="elevenone", error="HTTP_500")
    assert "3 deliveries will be sent again" in plan.words
    assert gatehouse_database.sql("select count(*) from jobs where status = 'dead'") == [[3]], "a plan does nothing"
    begun = operator.post(f"{PATH}/redrive", plan.hidden())
    assert begun.location == f"{PATH}/redrives/1"
    assert [topic for _, topic in console.rung] == ["redrive"]
    assert operator.post("/console/m/acme/forwards/redrive", plan.hidden()).status == 422
    assert operator.get("/console/m/acme/forwards/redrives/1").status == 404
    looked = operator.get(f"{PATH}/redrives/1")
    assert "Sent: 0 of 3" in looked.words
    assert "also when this page is closed" in looked.words
    assert "Sent: 0 of 3" in operator.get(begun.location).words, "looking takes nothing up"
    assert '<meta http-equiv="refresh"' in looked.text
    (job, _), *_ = console.rung
    console.rung.clear()
    assert carried_out(worker, console, job) == "done"
    assert "Sent: 3 of 3" in operator.get(begun.location).words
    assert [topic for _, topic in console.rung] == ["forward"] * GIVEN_UP
    gatehouse_database.sql("update jobs set status = 'done', finished_at = now() where topic = 'forward'")
    gatehouse_database.sql(
        "update jobs set status = 'dead' where id = (select max(id) from jobs where topic = 'forward')"
    )
    part = operator.get(f"{PATH}/redrives/1", live="yes")
    assert "data-over" in part.text
    assert "2 arrived, 1 were given up again" in part.words
    assert "http-equiv" not in operator.get(begun.location).text
    assert "elevenone" in operator.get(PATH).words
    again = operator.post(f"{PATH}/redrive", plan.hidden())
    assert again.location.endswith("redrives/2"), "what was given up again can be sent again"


def carried_out(worker: Database, console: Console, job: int, **patience: float) -> str:
    """Let event_forwarder's worker take a turn with a redrive."""
    workers = {"redrive": lambda taken: take_a_turn(taken, worker, console, **patience)}  # type: ignore[arg-type]  # rings
    return work_on(job, workers, worker, console)  # type: ignore[arg-type]  # likewise


@pytest.mark.req("R3")
@pytest.mark.usefixtures("given_up")
def test_a_redrive_goes_on_turn_by_turn_and_after_whoever_began_it_has_died(
    console: Console, operator: Browser, admin: Browser, worker: Database, ops: Database
) -> None:
    number = redrive.begin(ops, "default", {"app": "elevenone"}, "jane (gatehouse command)", GIVEN_UP)
    page = f"{PATH}/redrives/{number}"
    assert "Nobody carries it out" in operator.get(page).words
    assert admin.post(f"{page}/go-on").status == 404
    operator.post(f"{page}/go-on")
    operator.post(f"{page}/go-on")
    ((job, topic),) = console.rung
    assert topic == "redrive", "one that is at work is not begun twice"
    assert list_changes(ops, most=1)[0].what == "redrive taken up again"
    assert "Nobody carries it out" not in operator.get(page).words
    ops.query("update apps set circuit_state = 'open', circuit_opened_at = now(), circuit_probe_at = now()")
    assert carried_out(worker, console, job) == "held"
    assert "Sent: 1 of 3" in operator.get(page).words, "of an app that does not answer one delivery is tried"
    (row,) = ops.query("select last_error from jobs where id = :id::bigint", id=job)
    assert "does not answer" in row["last_error"]
    ops.query("update apps set circuit_state = 'closed', circuit_opened_at = null, circuit_probe_at = null")
    ops.query("update jobs set due_at = now() where topic = 'redrive'")
    console.rung.clear()
    assert carried_out(worker, console, job, seconds=0) == "held"
    assert [topic for _, topic in console.rung] == ["forward", "forward", "redrive"], "it rings for its next turn"
    assert carried_out(worker, console, job) == "done"
    shown = operator.get(page).words
    assert "Sent: 3 of 3" in shown
    assert "jane (gatehouse command)" in shown

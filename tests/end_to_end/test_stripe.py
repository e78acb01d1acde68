"""From a signed request at the front door to the payment, its fee, and what ops see: through the running stack."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import command_line
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until
from tests.support.stripe_requests import stripe_event

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "events" / "stripe" / "payment_intent.succeeded.json"


def send(stack: RunningStack, event: bytes | dict[str, Any], *, secret: str = "") -> tuple[int, dict[str, Any]]:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    status, answer = stack.send("stripe", body, secret=secret)
    return status, json.loads(answer)


def sql(stack: RunningStack, text: str) -> list[list[Any]]:
    return run_sql(stack.facts["database_url"], text)


def payments_of(stack: RunningStack, intent: str) -> list[list[Any]]:
    return sql(
        stack,
        "select p.status, p.amount_minor, p.currency, p.fee_minor from payments p join payment_objects o "
        f"on o.payment_id = p.id where o.object_id = '{intent}'",
    )


def gatehouse(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as ops would, against this stack."""
    environment = {"PATH": os.environ["PATH"], **stack.facts["command_line"]}
    return command_line.gatehouse(*arguments, environment=environment)


@pytest.mark.req("G1", "G8", "G17", "D3", "D4")
def test_a_sample_sent_twice_is_one_payment_with_its_fee(running_stack: RunningStack) -> None:
    sample = SAMPLE.read_bytes()
    intent = json.loads(sample)["data"]["object"]["id"]
    status, words = send(running_stack, sample)
    assert (status, words["status"]) == (200, "applied")
    status, words = send(running_stack, sample)
    assert (status, words["status"]) == (200, "duplicate")
    assert "first_received_at" in words
    # The bell was rung, the job claimed, Stripe's stand-in asked: 2.9 % of 46.20 EUR and 30 cents.
    wait_until(lambda: payments_of(running_stack, intent) == [["completed", 4620, "EUR", 164]])


@pytest.mark.req("G1")
def test_a_forged_event_is_refused_and_leaves_nothing(running_stack: RunningStack) -> None:
    event = stripe_event("evt_forged", id="pi_forged", latest_charge=None)
    status, words = send(running_stack, event, secret="whsec_forged")
    assert (status, words["error"]["code"]) == (400, "SIGNATURE_REFUSED")
    assert sql(running_stack, "select from webhook_events where event_id = 'evt_forged'") == []


@pytest.mark.req("G10")
def test_what_is_sent_while_postgres_is_stopped_appears_when_it_is_back(running_stack: RunningStack) -> None:
    send(running_stack, stripe_event("evt_before", id="pi_before", latest_charge=None))
    running_stack.stop_postgres()
    try:
        answers = [
            send(running_stack, stripe_event(f"evt_away_{n}", id=f"pi_away_{n}", latest_charge=None)) for n in range(5)
        ]
        assert [(status, words["status"]) for status, words in answers] == [(200, "queued")] * 5
    finally:
        running_stack.start_postgres()
    arrived = "select count(distinct payment_id) from payment_objects where object_id like 'pi_away_%'"
    wait_until(lambda: sql(running_stack, arrived) == [[5]], seconds=60)
    counted = sql(running_stack, "select count(*) from webhook_events where event_id like 'evt_away_%'")
    assert counted == [[5]]
    # Each environment leaves Postgres alone for some seconds after it failed, and then records at once again.
    probe = stripe_event("evt_back", id="pi_back", latest_charge=None)
    wait_until(lambda: send(running_stack, probe)[1]["status"] in ("applied", "duplicate"))


@pytest.mark.req("P7", "G18", "O5")
def test_ops_list_show_retry_and_follow_events(running_stack: RunningStack) -> None:
    sql(running_stack, "alter table payments add constraint no_yen check (currency <> 'JPY')")
    event = stripe_event("evt_refused", id="pi_refused", latest_charge=None, currency="jpy")
    assert send(running_stack, event)[1]["status"] == "failed"

    listed = gatehouse(running_stack, "events", "list", "--status", "failed")
    assert "evt_refused" in listed.stdout
    assert "no_yen" in listed.stdout
    retried = gatehouse(running_stack, "events", "retry", "evt_refused")
    assert (retried.returncode, "failed" in retried.stdout) == (1, True)

    sql(running_stack, "alter table payments drop constraint no_yen")
    retried = gatehouse(running_stack, "events", "retry", "--all-failed")
    assert (retried.returncode, retried.stdout.strip()) == (0, "evt_refused: applied")
    assert gatehouse(running_stack, "events", "retry", "--all-failed").stdout.strip() == "no event has failed"
    assert gatehouse(running_stack, "events", "retry", "evt_refused").stdout.strip().endswith("nothing done")
    wait_until(lambda: payments_of(running_stack, "pi_refused")[0][:3] == ["completed", 4620, "JPY"])

    shown = gatehouse(running_stack, "events", "show", "evt_refused")
    assert "amount_minor     – → 4620" in shown.stdout  # noqa: RUF001 - the dash that tables show for nothing
    assert "fetch_fee" in shown.stdout
    as_json = json.loads(gatehouse(running_stack, "events", "show", "evt_refused", "--json").stdout)
    assert as_json["event"]["attempts"] == 3
    tail = gatehouse(running_stack, "events", "tail", "--seconds", "0.2", "--last", "3")
    assert "evt_refused" in tail.stdout


@pytest.mark.req("O5")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("events", "show", "evt_nobody_sent"), "no event is named evt_nobody_sent"),
        (("events", "list", "--status", "lost"), "must be one of received, applied, ignored, failed"),
        (("events", "list", "--since", "yesterday"), "is not a time with a zone"),
        (("events", "retry"), "name one event, or give --all-failed"),
    ],
)
def test_a_wrong_command_is_told_what_is_wrong(
    running_stack: RunningStack, arguments: tuple[str, ...], complaint: str
) -> None:
    done = gatehouse(running_stack, *arguments)
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


@pytest.mark.req("G12", "M9")
def test_no_secret_and_no_payload_is_in_what_the_functions_log(running_stack: RunningStack) -> None:
    event = stripe_event("evt_private", id="pi_private", latest_charge=None, metadata={"note": "a very private word"})
    assert send(running_stack, event)[0] == 200
    wait_until(lambda: "evt_private" in "\n".join(running_stack.lines))
    logged = "\n".join(running_stack.lines)
    assert "a very private word" not in logged
    assert running_stack.facts["gateways"]["stripe"]["signing_secret"] not in logged

"""`gatehouse trace`: one event from its request to the apps that were told of it."""

import json

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import Need, ObjectName
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.cli.test_explain import FULL, tell
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.fixture
def event(intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase) -> int:
    """Return the row of an event that left two jobs, of which one is done and one was given up, and was forwarded."""
    needs = (Need("fetch_fee", "stripe/default/ch_1", {"id": "ch_1"}), Need("refetch", "again", {"id": "ch_1"}))
    row = tell(intake, keyring, "evt_paid", 4, FULL._replace(objects=(ObjectName("charge", "ch_1"),)), needs=needs)
    assert row is not None
    gatehouse_database.sql(
        "update webhook_events set received_at = (select min(at) - interval '1 s' from payment_audit_log);"
        "update jobs set status = 'done', attempts = 2, finished_at = now() + interval '3 s' where topic = 'fetch_fee';"
        "update jobs set status = 'dead', attempts = 12, finished_at = now() + interval '9 h',"
        " last_error = 'no such id' where topic = 'refetch';"
        "insert into webhook_forward_logs (created_at, app, target_url, ok, status_code, attempt_count, merchant,"
        " gateway, duration_ms, webhook_event_id, job_id)"
        " values (now() + interval '1 s', 'elevenone', 'https://a.example', true, 200, 3, 'default', 'stripe', 41,"
        f" {row}, 77)"
    )
    return row


@pytest.mark.req("O1", "O5")
def test_all_steps_of_an_event_by_its_request_its_id_or_its_row(gatehouse: Command, event: int) -> None:
    by_request, by_id, by_row = (gatehouse("trace", name) for name in ("req-evt_paid", "evt_paid", str(event)))
    assert by_request.stdout == by_id.stdout == by_row.stdout
    assert by_request.returncode == 1, "a job was given up"
    lines = by_request.stdout.splitlines()
    whats = [line[23:].split(" s  ")[-1].split(" h  ")[-1].split()[0] for line in lines if line.startswith("20")]
    assert whats.index("received") < whats.index("applied") < whats.index("said")
    assert "type.of.evt_paid evt_paid for stripe/default in request req-evt_paid" in by_request.stdout
    assert "elevenone answered 200 in 41 ms, 3 attempts, job 77" in by_request.stdout
    assert "fetch_fee after 2 attempts" in by_request.stdout
    assert "refetch after 12 attempts: no such id" in by_request.stdout
    assert 'filter api_request_id = "req-evt_paid"' in by_request.stdout


@pytest.mark.req("O1", "M9")
def test_no_value_of_a_person_is_shown(gatehouse: Command, event: int) -> None:
    shown = gatehouse("trace", str(event)).stdout + gatehouse("trace", str(event), "--json").stdout
    assert "planted" not in shown
    assert "email" in shown, "that an address was said is told"


@pytest.mark.req("O1")
def test_as_json_for_other_programs(gatehouse: Command, event: int) -> None:
    said = json.loads(gatehouse("trace", "evt_paid", "--json").stdout)
    assert {step["what"] for step in said["steps"]} >= {
        "happened",
        "received",
        "applied",
        "done",
        "given up",
        "forwarded",
    }
    assert [step["ok"] for step in said["steps"] if step["what"] in ("done", "given up")] == [True, False]
    assert said["rows"]["event"][0]["id"] == event


@pytest.mark.req("O1")
def test_a_refused_request_is_found_and_an_unknown_name_is_an_error(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(
        "insert into rejected_requests (received_at, gateway, account, code, reason, headers, body_bytes, source_ip,"
        " request_id)"
        " values (now(), 'stripe', 'default', 'SIGNATURE_REFUSED', 'another secret', '{}', 9, '192.0.2.1', 'rq9')"
    )
    refused = gatehouse("trace", "rq9")
    assert "request rq9 for stripe/default: SIGNATURE_REFUSED: another secret" in refused.stdout
    assert refused.returncode == 1
    unknown = gatehouse("trace", "rq10")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nothing is named rq10: no event, and no request of the last 3 days" in unknown.stderr

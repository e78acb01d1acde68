"""`gatehouse status`: well when all is well, and each thing that needs a look is named."""

import json

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import Need, ObjectName
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.cli.test_explain import FULL, tell
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.mark.req("O5")
def test_a_new_database_is_well_and_says_so(gatehouse: Command) -> None:
    done = gatehouse("status")
    assert done.returncode == 0, done.stdout
    assert "all is well" in done.stdout
    assert "none waits, none was given up" in done.stdout
    assert "nothing was forwarded and nothing waits" in done.stdout
    assert "completeness of 7 days: nothing was listed\nbackup: none\ntenants: 0 active" in done.stdout


@pytest.mark.req("O5", "B4")
def test_what_is_missed_and_what_the_second_database_and_tenants_lack(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(
        "insert into completeness (gateway, account, day, merchant, listed, recorded) values"
        " ('stripe', 'default', (now() at time zone 'UTC')::date, 'default', 200, 150),"
        " ('stripe', 'default', (now() at time zone 'UTC')::date - 30, 'default', 200, 0);"
        "update backup_state set is_on = true, divergent = 2, compared_at = now();"
        "insert into backup_changes (payment_id, merchant, changed_at, due_at, attempts, last_error)"
        " values (1, 'default', now() - interval '1 hour', now(), 9, 'refused');"
        "insert into platform_tenants (id, merchant, name, engine, status, max_databases, max_storage_mb,"
        " max_requests_per_minute, max_requests_per_hour, max_requests_per_day, created_by, created_at, storage_bytes)"
        " select 'tenant000000000' || n, 'default', 'T', 'plain', status, 1, 100, 1, 1, 1, 'ops:x',"
        " now() - interval '1 hour', bytes"
        " from (values (2, 'creating', null::bigint), (3, 'active', 200000000), (4, 'suspended', 5))"
        " as t (n, status, bytes)"
    )
    done = gatehouse("status")
    assert done.returncode == 1
    for said in (
        "needs a look: 1 day lacks 50 of 200 payments: gatehouse completeness",
        "needs a look: 1 tenant not made after a quarter of an hour: gatehouse tenants doctor",
        "needs a look: 1 tenant over the storage of the plan: gatehouse tenants list",
        "s ago: gatehouse backup status",
        "needs a look: the backup refuses 1 payments: gatehouse backup status",
        "needs a look: 2 payments differ in the backup: gatehouse backup compare",
        "completeness of 7 days: 75.00 % of 200",
        "1 payments wait, 1 refused, 2 differ",
        "tenants: 1 active, 1 being made, 1 suspended, 0 statements today",
    ):
        assert said in done.stdout, said


@pytest.mark.req("O5")
def test_each_thing_that_needs_a_look_is_named(
    gatehouse: Command, gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring
) -> None:
    needs = (Need("fetch_fee", "stripe/default/ch_1", {"id": "ch_1"}), Need("forward", "an app", {"app": "elevenone"}))
    tell(intake, keyring, "evt_paid", 4, FULL._replace(objects=(ObjectName("charge", "ch_1"),)), needs=needs)
    tell(intake, keyring, "evt_broken", 5, reference="ch_1", refused_because="amount is no number")
    gatehouse_database.sql(
        "update webhook_events set received_at = now() - interval '10 s';"
        "update jobs set due_at = now() - interval '10 min' where topic = 'fetch_fee';"
        "update jobs set status = 'dead', finished_at = now() where topic = 'forward';"
        "insert into webhook_forward_logs (app, target_url, ok, attempt_count, merchant, gateway, duration_ms)"
        " values ('elevenone', 'https://a.example', false, 3, 'default', 'stripe', 41)"
    )
    done = gatehouse("status")
    assert done.returncode == 1
    looks = [
        line.removeprefix("needs a look: ") for line in done.stdout.splitlines() if line.startswith("needs a look")
    ]
    assert looks[0].startswith("a job of fetch_fee has been due for 60")
    assert looks[1:] == [
        "1 job of forward given up: gatehouse redrive --dry-run",
        "elevenone took 0.0 % of its deliveries in 24 hours: gatehouse forwards list --failed",
        "1 event failed: gatehouse events list --status failed",
    ]

    said = json.loads(gatehouse("status", "--json", "--watch", "--times", "1").stdout)
    assert len(said["concerns"]) == 4
    stripe = next(row for row in said["stands"]["gateways"] if row["gateway"] == "stripe")
    assert (stripe["in_last_hour"], stripe["failed_in_last_hour"], stripe["hour_is_cut"]) == (2, 1, False)
    paypal = next(row for row in said["stands"]["gateways"] if row["gateway"] == "paypal")
    assert (paypal["last_at"], paypal["in_last_hour"]) == (None, 0)


@pytest.mark.req("O5")
def test_what_does_not_answer_is_told_and_hides_nothing_else(gatehouse: Command) -> None:
    away = gatehouse("status", POSTGRES_URL="postgres://nobody@127.0.0.1:1/none", DATABASE_TLS="off")
    assert away.returncode == 1
    assert "needs a look: the database does not answer" in away.stdout
    assert "Traceback" not in away.stderr
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k"}
    queues = gatehouse("status", INBOX_QUEUE_URL="http://127.0.0.1:1/1/inbox", AWS_REGION="eu-west-1", **nowhere)
    assert "needs a look: the queues are not known" in queues.stdout
    assert "gateways" in queues.stdout

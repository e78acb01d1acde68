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
    assert (stripe["in_last_hour"], stripe["failed_in_last_hour"]) == (2, 1)
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

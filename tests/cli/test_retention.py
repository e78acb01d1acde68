"""`gatehouse retention`: old payloads go by the month, and nothing else goes."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Command
from tests.support.gatehouse_database import GatehouseDatabase

NOW = datetime.now(UTC)
DAYS = 100


def partition_of(moment: datetime) -> str:
    """Return the name of a month's partition."""
    return f"webhook_payloads_{moment:%Y_%m}"


def make_month(database: GatehouseDatabase, moment: datetime) -> str:
    """Make the partition of a past month with two payloads in it; return its name."""
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = (first + timedelta(days=32)).replace(day=1)
    name = partition_of(first)
    database.sql(
        f"set role gatehouse_owner; create table {name} partition of webhook_payloads"
        f" for values from ('{first.isoformat()}') to ('{following.isoformat()}'); reset role;"
        f"insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)"
        f" select n, 'default', '{first.isoformat()}', 'k1', '' from generate_series(1, 2) n; analyze {name}"
    )
    return name


def add_payload(database: GatehouseDatabase, event: int, moment: datetime) -> None:
    """Write one payload; it falls into the default partition where its month has none."""
    database.sql(
        "insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)"
        f" values ({event}, 'default', '{moment.isoformat()}', 'k1', '')"
    )


def partitions(database: GatehouseDatabase) -> set[str]:
    """Return the partitions that are there."""
    rows = database.sql(
        "select inhrelid::regclass::text from pg_inherits where inhparent = 'webhook_payloads'::regclass"
    )
    return {name for (name,) in rows}


def payloads(database: GatehouseDatabase) -> list[int]:
    """Return the events whose payloads are there."""
    return [event for (event,) in database.sql("select webhook_event_id::int from webhook_payloads order by 1")]


@pytest.mark.req("G12", "O5")
def test_old_months_go_and_what_straddles_the_border_stays(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    border = NOW - timedelta(days=DAYS)
    long_ago = make_month(gatehouse_database, NOW - timedelta(days=400))
    straddling = make_month(gatehouse_database, border)
    add_payload(gatehouse_database, 11, NOW - timedelta(days=300))  # its month has no partition
    add_payload(gatehouse_database, 12, border - timedelta(days=40))
    before = partitions(gatehouse_database), payloads(gatehouse_database)

    tried = gatehouse("retention", "--days", str(DAYS), "--dry-run")
    assert tried.returncode == 0, tried.stderr
    assert f"would go  {long_ago}  about 2 payloads" in tried.stdout
    assert "would go  webhook_payloads_default  2 payloads" in tried.stdout
    assert f"kept     {straddling}" in tried.stdout
    assert f"kept     {long_ago}" not in tried.stdout
    assert (partitions(gatehouse_database), payloads(gatehouse_database)) == before

    done = gatehouse("retention", "--days", str(DAYS))
    assert done.returncode == 0, done.stderr
    assert f"dropped  {long_ago}  about 2 payloads" in done.stdout
    assert "dropped  webhook_payloads_default  2 payloads" in done.stdout
    assert f"kept     {straddling}" in done.stdout
    assert long_ago not in partitions(gatehouse_database)
    assert straddling in partitions(gatehouse_database)
    assert "webhook_payloads_default" in partitions(gatehouse_database)
    assert payloads(gatehouse_database) == [1, 2]  # those of the straddling month
    again = gatehouse("retention", "--days", str(DAYS))
    assert again.stdout.splitlines()[0] == f"no payload is older than {DAYS} days, whole months counted"


@pytest.mark.req("G12", "P11")
def test_the_setting_says_for_how_long_and_the_months_ahead_are_made(
    gatehouse: Command, gatehouse_database: GatehouseDatabase
) -> None:
    old = make_month(gatehouse_database, NOW - timedelta(days=200))
    assert gatehouse("retention").returncode == 0
    assert old in partitions(gatehouse_database), "400 days are the default"
    ahead = (NOW.replace(day=1) + timedelta(days=95)).replace(day=1)
    assert partition_of(ahead) in partitions(gatehouse_database)
    assert gatehouse("retention", PAYLOAD_RETENTION_DAYS="120").returncode == 0
    assert old not in partitions(gatehouse_database)
    assert gatehouse("retention", "--days", "0").returncode == 2
    wrong = gatehouse("retention", PAYLOAD_RETENTION_DAYS="0")
    assert wrong.returncode == 1
    assert "PAYLOAD_RETENTION_DAYS" in wrong.stderr


@pytest.mark.req("G12", "O5")
def test_a_busy_table_is_told_and_nothing_is_dropped(gatehouse: Command, gatehouse_database: GatehouseDatabase) -> None:
    old = make_month(gatehouse_database, NOW - timedelta(days=400))
    recording = gatehouse_database.connect("owner")
    with recording.transaction() as transaction:
        transaction.query(f"select count(*) from {old}")
        told = gatehouse("retention", "--days", str(DAYS))
    assert told.returncode == 1
    assert told.stderr.startswith("error: the payloads are in use just now")
    assert "Traceback" not in told.stderr
    assert old in partitions(gatehouse_database)
    recording.close()
    assert gatehouse("retention", "--days", str(DAYS)).returncode == 0
    assert old not in partitions(gatehouse_database)


@pytest.mark.req("R4", "O5")
def test_what_was_told_to_apps_long_ago_is_forgotten(gatehouse: Command, gatehouse_database: GatehouseDatabase) -> None:
    for days in (1, 100, 200, 300):
        moment = (NOW - timedelta(days=days)).isoformat()
        gatehouse_database.sql(
            "insert into webhook_forward_logs (created_at, app, target_url, ok, merchant)"
            f" values ('{moment}', 'elevenone', 'https://app.example.com', true, 'default');"
            "insert into redrives (merchant, actor, filters, planned, started_at)"
            f" values ('default', 'jane', '{{}}', 1, '{moment}')"
        )
    counts = (
        "select (select count(*)::int from webhook_forward_logs),"
        " (select count(*)::int from redrives), (select max(now()::date - created_at::date) from webhook_forward_logs)"
    )
    oldest = (NOW - timedelta(days=300)).date()
    tried = gatehouse("retention", "--dry-run")
    assert f"would go  2 deliveries to apps, the oldest of {oldest}" in tried.stdout
    assert gatehouse_database.sql(counts)[0][:2] == [4, 4]
    done = gatehouse("retention")  # 180 days are the default
    assert f"dropped  2 deliveries to apps, the oldest of {oldest}\ndropped  2 notes of redrives\n" in done.stdout
    assert gatehouse_database.sql(counts) == [[2, 2, 100]]
    assert "no delivery to an app is older than 180 days" in gatehouse("retention").stdout
    assert "dropped  1 deliveries" in gatehouse("retention", FORWARD_LOG_RETENTION_DAYS="50").stdout
    assert "dropped  1 deliveries" in gatehouse("retention", "--forward-log-days", "1", "--days", "400").stdout

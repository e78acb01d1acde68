"""Every alarm of the template: its condition is caused on the running stack, and its own definition says ALARM.

What the stack emits is the input; the definition (statistic, periods, M of N, missing data) is read from the expanded
template. As nobody waits for minutes here, what was emitted in a moment is taken to go on for as long as the alarm
looks back. In a healthy run every alarm stays quiet.
"""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from string import ascii_letters, digits
from typing import Any
from uuid import uuid4

import pytest

from gatehouse.gateways import NAMES
from local.cloudwatch import Point, Series, State, decide, decide_composite, metrics_of, period_of
from local.gateway_apis import Fault
from local.observed_metrics import SECONDS_BETWEEN_LOOKS, read_points
from tests.end_to_end.test_ops_commands import gatehouse
from tests.support.postgres import connection_to, run_sql
from tests.support.stack import RunningStack, run_now, wait_until

FORGED = "a secret that somebody guessed, as long as any token"
MOST_SILENT_HOURS = 24


def emitted(stack: RunningStack, since: int) -> list[Point]:
    """Return what was emitted after the first so many points."""
    return read_points(stack.folder)[since:]


def going_on(points: list[Point], definition: dict[str, Any]) -> tuple[Series, float]:
    """Return the points as they would be if the moment lasted as long as an alarm looks back; and the end of it."""
    period, count = period_of(definition), int(definition["EvaluationPeriods"])
    end = time.time()
    starts = [end - period * place for place in range(1, count + 1)]
    return Series([point._replace(at=start + period / 2) for point in points for start in starts]), end


def says(stack: RunningStack, alarm: str, points: list[Point]) -> State:
    """Return what an alarm's own definition says when these points go on."""
    definition = alarms_of(stack)[alarm]
    return decide(definition, *going_on(points, definition))


def alarms_of(stack: RunningStack) -> dict[str, dict[str, Any]]:
    """Return the alarms of the expanded template."""
    assert stack.supervisor.template is not None
    return stack.supervisor.template.alarms


def payload_of(stack: RunningStack, gateway: str) -> dict[str, Any]:
    """Return the sample of a gateway."""
    (sample,) = (account.sample for account in stack.supervisor.accounts if account.name == gateway)
    found: dict[str, Any] = json.loads(sample.read_bytes())
    return found


def send_sample(stack: RunningStack, gateway: str, **changes: Any) -> int:
    """Send the sample of a gateway through the front door; return the status."""
    return stack.send(gateway, json.dumps(payload_of(stack, gateway) | changes).encode())[0]


@contextmanager
def outage(stack: RunningStack) -> Iterator[None]:
    """Postgres is away."""
    stack.stop_postgres()
    try:
        yield
    finally:
        stack.start_postgres()


# ── The conditions ────────────────────────────────────────────────────────────────────────────────────────────────────
def requests_are_turned_away(stack: RunningStack) -> None:
    """Postgres is away, and the body is too large for the inbox."""
    noise = "".join(Random(0).choices(ascii_letters + digits + "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", k=1_030_000))  # noqa: S311 - noise, no secret
    body = json.dumps(payload_of(stack, "stripe") | {"noise": noise}).encode()
    with outage(stack):
        assert stack.send("stripe", body)[0] == 503


def requests_wait_in_the_inbox(stack: RunningStack) -> None:
    """Postgres is away; the inbox takes what comes."""
    with outage(stack):
        assert send_sample(stack, "stripe", id=f"evt_{uuid4().hex}") == 200


def a_webhook_fails(stack: RunningStack) -> None:
    """The function gets what API Gateway never sends, and raises."""
    assert stack.supervisor.functions["StripeWebhookFunction"].invoke(b"[]").failed


def a_worker_fails(stack: RunningStack) -> None:
    """The function gets what SQS never sends, and raises."""
    assert stack.supervisor.functions["InvoiceEnricherFunction"].invoke(b"[]").failed


def more_come_at_once_than_may(stack: RunningStack) -> None:
    """All executions of SaySwitch's webhook wait for a lock, and another request comes."""
    with connection_to(stack.facts["database_url"]) as connection:
        connection.run("begin; lock table webhook_events in access exclusive mode")
        statuses: list[int] = []
        waiting = [threading.Thread(target=lambda: statuses.append(send_sample(stack, "sayswitch"))) for _ in range(8)]
        for each in waiting:
            each.start()
        wait_until(lambda: 503 in statuses)
        connection.run("rollback")
        for each in waiting:
            each.join(timeout=20)


def signatures_are_wrong(stack: RunningStack) -> None:
    """Twenty requests are signed with another secret."""
    for _ in range(20):
        assert stack.send("paystack", json.dumps(payload_of(stack, "paystack")).encode(), secret=FORGED)[0] == 400


def facts_are_refused(stack: RunningStack) -> None:
    """An event says a currency that nobody knows."""
    payload = payload_of(stack, "stripe")
    payload["data"]["object"]["currency"] = "of the moon"
    assert send_sample(stack, "stripe", id=f"evt_{uuid4().hex}", data=payload["data"]) == 200
    # After an outage the function leaves Postgres alone for some seconds, and the inbox takes the event meanwhile.
    wait_until(lambda: run_sql(stack.facts["database_url"], "select from webhook_events where status = 'failed'"), 60)
    run_now(stack, "JobSweeperFunction")


def letters_are_dead(queue: str) -> Callable[[RunningStack], None]:
    """A message lies in a dead-letter queue, longer than between two looks."""

    def cause(stack: RunningStack) -> None:
        url = stack.facts["queues"][queue]
        sqs = stack.supervisor.sqs()
        since = len(read_points(stack.folder))
        sqs.call(
            "SendMessage", {"QueueUrl": url, "MessageBody": json.dumps({"job": 0, "burial": 0})}, timeout_seconds=5
        )
        name = ("QueueName", url.rpartition("/")[2])
        wait_until(
            lambda: any(point.dimensions == (name,) and max(point.values) > 0 for point in emitted(stack, since)),
            SECONDS_BETWEEN_LOOKS * 4,
        )
        sqs.call("PurgeQueue", {"QueueUrl": url}, timeout_seconds=5)

    return cause


def a_job_is_late(stack: RunningStack) -> None:
    """A job has been due for an hour, and its bell is not heard."""
    run_sql(
        stack.facts["database_url"],
        "insert into jobs (topic, business_key, merchant, due_at, ring_after) values ('fetch_fee', 'late', 'default',"
        " now() - interval '1 hour', now() + interval '1 day')",
    )
    run_now(stack, "JobSweeperFunction")
    run_sql(stack.facts["database_url"], "delete from jobs where business_key = 'late'")


def connections_run_out(stack: RunningStack) -> None:
    """Somebody opens connections without end."""
    url = stack.facts["database_url"]
    ((most, used),) = run_sql(
        url,
        "select current_setting('max_connections')::int, (select count(*)::int from pg_stat_activity"
        " where backend_type = 'client backend')",
    )
    with ExitStack() as held:
        for _ in range(int(most * 0.9) - used):
            held.enter_context(connection_to(url))
        run_now(stack, "JobSweeperFunction")


def payloads_have_no_month(stack: RunningStack) -> None:
    """A payload of another century is written."""
    url = stack.facts["database_url"]
    run_sql(
        url,
        "insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)"
        " values (0, 'default', '1999-01-01Z', 'k1', '')",
    )
    run_now(stack, "JobSweeperFunction")
    run_sql(url, "delete from webhook_payloads where received_at = '1999-01-01Z'")
    run_sql(url, "vacuum webhook_payloads_default")


def an_app_takes_nothing(stack: RunningStack) -> None:
    """The app is told at an address that Gatehouse refuses to call, so each delivery fails; then time passes."""
    url = stack.facts["database_url"]
    ((address,),) = run_sql(url, "select target_url from apps where merchant = 'default' and name = 'elevenone'")
    run_sql(url, "update apps set target_url = 'https://10.0.0.1/hooks' where name = 'elevenone'")
    number = time.time_ns() % 10**12
    payload = payload_of(stack, "paystack")
    payload["data"] |= {"id": number, "reference": f"alarm{number}", "domain": "live", "metadata": {"app": "elevenone"}}
    since = len(read_points(stack.folder))
    assert stack.send("paystack", json.dumps(payload).encode())[0] == 200
    wait_until(lambda: any(point.metric == "ForwardsFailed" for point in emitted(stack, since)))
    run_sql(url, "update jobs set created_at = now() - interval '1 hour' where topic = 'forward' and status = 'dead'")
    run_now(stack, "JobSweeperFunction")
    run_sql(
        url,
        f"update apps set target_url = '{address}' where name = 'elevenone'; delete from jobs where status = 'dead'",
    )


def the_api_fails(stack: RunningStack, path: str = "/api/orders") -> None:
    """Postgres is away while somebody asks."""
    host, key = stack.facts["api_url"].removeprefix("http://"), stack.facts["api_key"]
    with outage(stack):
        for _ in range(5):
            connection = HTTPConnection(host, timeout=20)
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"})
            assert connection.getresponse().status == 503
            connection.close()


def the_api_of_tenants_fails(stack: RunningStack) -> None:
    """Likewise, while somebody asks about tenants."""
    the_api_fails(stack, "/api/v1/tenants")


def a_tenant_cannot_be_made(stack: RunningStack) -> None:
    """Neon refuses to make a project for it."""
    # After an outage both functions leave Postgres alone for some seconds; a bell that rings then is heard much later.
    run_now(stack, "TenantProvisionerFunction")
    control = stack.facts["tenants"]["neon_api_url"].partition("/api/")[0].removeprefix("http://")
    connection = HTTPConnection(control, timeout=20)
    fault = {"fail": {"status": 422, "method": "POST", "path": "/projects", "times": 1}}
    connection.request("PUT", "/_control/objects", json.dumps(fault))
    assert connection.getresponse().status < 300
    connection.close()
    headers = {"authorization": f"Bearer {stack.facts['api_key']}", "content-type": "application/json"}
    statuses: list[int] = []

    def ask() -> bool:
        """Ask once more while Postgres is left alone after an outage."""
        if 201 not in statuses and 202 not in statuses:
            host = HTTPConnection(stack.facts["api_url"].removeprefix("http://"), timeout=30)
            host.request("POST", "/api/v1/tenants", json.dumps({"name": "Nobody", "planType": "enterprise"}), headers)
            statuses.append(host.getresponse().status)
            host.close()
        return 201 in statuses or 202 in statuses

    wait_until(ask, 60)
    wait_until(
        lambda: run_sql(
            stack.facts["database_url"], "select from platform_tenants where name = 'Nobody' and removed_at is not null"
        ),
        60,
    )


def a_tenant_cannot_be_measured(stack: RunningStack) -> None:
    """A tenant's credentials are not to be unsealed, so its size is not known."""
    url = stack.facts["database_url"]
    run_sql(
        url,
        "insert into platform_tenants (id, merchant, name, engine, status, max_databases, max_storage_mb,"
        " max_requests_per_minute, max_requests_per_hour, max_requests_per_day, sealed, key_id, created_by)"
        " values ('tunmeasurable000', 'default', 'Unmeasurable', 'plain', 'active', 1, 100, 1, 1, 1, 'x', 'k0',"
        " 'ops:x')",
    )
    run_now(stack, "TenantProvisionerFunction")
    run_sql(url, "update platform_tenants set status = 'deleted', removed_at = now() where id = 'tunmeasurable000'")


def the_backup_waits(stack: RunningStack) -> None:
    """So many payments have been waiting for an hour, one of which the backup keeps refusing."""
    url = stack.facts["database_url"]
    run_sql(
        url,
        "insert into backup_changes (payment_id, merchant, changed_at, due_at) select -n, 'default',"
        " now() - interval '1 hour', now() + interval '1 hour' from generate_series(1, 50001) n;"
        "update backup_changes set attempts = 9, last_error = 'refused' where payment_id = -1",
    )
    run_now(stack, "BackupWriterFunction")
    run_sql(url, "delete from backup_changes where payment_id < 0")


def the_backup_is_away(stack: RunningStack) -> None:
    """The backup's Postgres does not answer."""
    stack.supervisor.stop_backup()
    try:
        run_now(stack, "BackupWriterFunction")
    finally:
        stack.supervisor.start_backup()


def the_backup_differs(stack: RunningStack) -> None:
    """Somebody has changed an amount in the backup; the nightly comparison finds it, and takes the primary's."""
    url = stack.facts["backup_database_url"]
    run_now(stack, "BackupWriterFunction")  # from now on it is on
    payload = payload_of(stack, "stripe")
    payload["data"]["object"]["id"] = f"pi_{uuid4().hex}"
    assert send_sample(stack, "stripe", id=f"evt_{uuid4().hex}", data=payload["data"]) == 200
    wait_until(lambda: run_sql(url, "select from payment_services limit 1"))
    run_sql(url, "update payment_services set amount_minor = amount_minor + 1")
    writer = stack.supervisor.functions["BackupWriterFunction"]
    # After it was away, the backup too is left alone for some seconds.
    wait_until(lambda: b"divergent" in writer.invoke(b'{"do": "compare"}').payload, 60)


def sums_are_late(stack: RunningStack) -> None:
    """Somebody else holds the turn to count, and a mark is an hour old."""
    url = stack.facts["database_url"]
    keeper = "TotalsKeeperFunction"
    with connection_to(url) as connection:
        connection.run("select pg_advisory_lock(hashtextextended('gatehouse/totals', 0))")
        connection.run("insert into total_marks values ('payment', 0, 'default', now() - interval '1 hour')")
        run_now(stack, keeper)
    run_now(stack, keeper)


def sums_are_wrong(stack: RunningStack) -> None:
    """Somebody has changed a sum; the nightly recount finds it."""
    url = stack.facts["database_url"]
    keeper = "TotalsKeeperFunction"

    def are_counted() -> bool:
        run_now(stack, keeper)
        return bool(run_sql(url, "select from totals limit 1"))

    wait_until(are_counted, 120)
    run_sql(url, "update totals set payments = payments + 1 where payments is not null")
    run_now(stack, keeper, b'{"work": "recount"}')
    run_sql(url, "update totals set payments = payments - 1 where payments is not null")


def events_do_not_arrive(stack: RunningStack) -> None:
    """The gateway lists a payment of which no event told; a comparison finds it."""
    (api,) = (account.api for account in stack.supervisor.accounts if account.name == "stripe")
    assert api
    name = f"never_told_{uuid4().hex[:8]}"
    charge = {"id": f"ch_{name}", "object": "charge", "amount": 7700, "amount_captured": 7700, "currency": "eur"}
    charge |= {"captured": True, "status": "succeeded", "created": int(time.time()), "livemode": False, "metadata": {}}
    charge |= {"payment_intent": f"pi_{name}", "payment_method_details": {"type": "card"}, "amount_refunded": 0}
    api.gateway.remember(charge)
    done = gatehouse(stack, "reconcile", "--gateway", "stripe", "--account", "default", "--days", "1")
    assert done.returncode == 3, done.stderr


def credentials_are_refused(stack: RunningStack) -> None:
    """MX Merchant's API does not take the account's key any more."""
    (api,) = (account.api for account in stack.supervisor.accounts if account.name == "mx_merchant")
    assert api
    since = len(read_points(stack.folder))
    api.fail_with(Fault("401"))
    payload = payload_of(stack, "mx_merchant") | {"id": str(time.time_ns())[:16]}
    assert stack.send("mx_merchant", json.dumps(payload).encode())[0] == 200
    wait_until(lambda: any(point.metric == "CredentialsRefused" for point in emitted(stack, since)))
    api.fail_with(None)
    run_sql(stack.facts["database_url"], "delete from gateway_troubles")


CONDITIONS: dict[str, Callable[[RunningStack], None]] = {
    "RequestsTurnedAwayAlarm": requests_are_turned_away,
    "WebhookErrorsAlarm": a_webhook_fails,
    "WorkerErrorsAlarm": a_worker_fails,
    "ThrottlesAlarm": more_come_at_once_than_may,
    "SignaturesRefusedAlarm": signatures_are_wrong,
    "InboxInUseAlarm": requests_wait_in_the_inbox,
    "EventsFailingAlarm": facts_are_refused,
    "EventsFailedAlarm": facts_are_refused,
    "EnrichmentDeadLettersAlarm": letters_are_dead("EnrichmentDeadLetterQueue"),
    "ForwardingDeadLettersAlarm": letters_are_dead("ForwardingDeadLetterQueue"),
    "InboxDeadLettersAlarm": letters_are_dead("InboxDeadLetterQueue"),
    "OldestJobAlarm": a_job_is_late,
    "DatabaseConnectionsAlarm": connections_run_out,
    "PayloadsWithoutMonthAlarm": payloads_have_no_month,
    "ForwardsFailingAlarm": an_app_takes_nothing,
    "MoneyAtRiskAlarm": an_app_takes_nothing,
    "ApiFailuresAlarm": the_api_fails,
    "ReconciliationDeadLettersAlarm": letters_are_dead("ReconciliationDeadLetterQueue"),
    "TenantErrorsAlarm": the_api_of_tenants_fails,
    "TenantsNotMadeAlarm": a_tenant_cannot_be_made,
    "TenantsUnmeasuredAlarm": a_tenant_cannot_be_measured,
    "TenantsDeadLettersAlarm": letters_are_dead("TenantsDeadLetterQueue"),
    "BackupDeadLettersAlarm": letters_are_dead("BackupDeadLetterQueue"),
    "BackupLagAlarm": the_backup_waits,
    "BackupBacklogAlarm": the_backup_waits,
    "BackupRefusedAlarm": the_backup_waits,
    "BackupErrorsAlarm": the_backup_is_away,
    "BackupDivergentAlarm": the_backup_differs,
    "TotalsLateAlarm": sums_are_late,
    "TotalsDriftedAlarm": sums_are_wrong,
    "CompletenessAlarm": events_do_not_arrive,
    "CredentialsRefusedAlarm": credentials_are_refused,
}
SILENCES = {
    **{f"{''.join(word.title() for word in name.split('_'))}SilentAlarm": name for name in NAMES},
    "SweeperSilentAlarm": "",
}
SLOW = ("WebhookTimeAlarm", "WorkerTimeAlarm")


@pytest.fixture(scope="module")
def healthy(running_stack: RunningStack) -> list[Point]:
    """Return what a healthy stack emits: an event of each gateway, a sweep, a look at the queues."""
    since = len(read_points(running_stack.folder))
    for gateway in NAMES:
        assert send_sample(running_stack, gateway) == 200
    run_now(running_stack, "JobSweeperFunction")
    run_now(running_stack, "BackupWriterFunction")
    wait_until(lambda: any(point.namespace == "AWS/SQS" for point in emitted(running_stack, since)))
    return emitted(running_stack, since)


@pytest.mark.req("O1")
def test_every_alarm_has_its_test(running_stack: RunningStack) -> None:
    template = running_stack.supervisor.template
    assert template is not None
    assert set(template.alarms) == {*CONDITIONS, *SILENCES, *SLOW}


@pytest.mark.req("O1")
def test_all_is_quiet_in_a_healthy_run(running_stack: RunningStack, healthy: list[Point]) -> None:
    template = running_stack.supervisor.template
    assert template is not None
    states = {name: says(running_stack, name, healthy) for name in template.alarms}
    assert {name for name, state in states.items() if state != State.OK} == set()
    by_full_name = {template.alarms[name]["AlarmName"]: state for name, state in states.items()}
    for name, composite in template.composite_alarms.items():
        assert decide_composite(composite["AlarmRule"], by_full_name) == State.OK, name


@pytest.mark.req("O1", "M6")
@pytest.mark.parametrize("alarm", CONDITIONS)
def test_an_alarm_rings_in_its_condition(running_stack: RunningStack, healthy: list[Point], alarm: str) -> None:
    assert says(running_stack, alarm, healthy) == State.OK
    since = len(read_points(running_stack.folder))
    CONDITIONS[alarm](running_stack)
    wait_until(lambda: says(running_stack, alarm, emitted(running_stack, since)) == State.ALARM)


@pytest.mark.req("O1")
@pytest.mark.parametrize("alarm", SILENCES)
def test_silence_rings(running_stack: RunningStack, healthy: list[Point], alarm: str) -> None:
    definition = alarms_of(running_stack)[alarm]
    assert all(Series(healthy).has(*metric) for metric in metrics_of(definition)), "it used to speak"
    series, end = going_on(healthy, definition)
    assert decide(definition, series, end) == State.OK
    assert decide(definition, series, end + MOST_SILENT_HOURS * 3600) == State.ALARM


@pytest.mark.req("O1")
@pytest.mark.parametrize("alarm", SLOW)
def test_what_takes_too_long_rings(running_stack: RunningStack, healthy: list[Point], alarm: str) -> None:
    """Their own time-outs end the functions sooner, so the measured durations are stretched: 13 of 15 seconds."""
    slow = [
        point._replace(values=(13_000.0,)) if (point.namespace, point.metric) == ("AWS/Lambda", "Duration") else point
        for point in healthy
    ]
    if alarm == "WorkerTimeAlarm":
        slow = [
            point._replace(values=(41_000.0,))
            if ("FunctionName", "gatehouse-local-job-sweeper") in point.dimensions and point.metric == "Duration"
            else point
            for point in healthy
        ]
    assert says(running_stack, alarm, slow) == State.ALARM


@pytest.mark.req("O1")
def test_composites_page_when_one_of_theirs_rings(running_stack: RunningStack) -> None:
    template = running_stack.supervisor.template
    assert template is not None
    quiet = {alarm["AlarmName"]: State.OK for alarm in template.alarms.values()}
    for composite in template.composite_alarms.values():
        watched = [name for name in quiet if f'ALARM("{name}")' in composite["AlarmRule"]]
        assert watched
        for name in watched:
            assert decide_composite(composite["AlarmRule"], {**quiet, name: State.ALARM}) == State.ALARM
        others = {name: State.ALARM for name in quiet if name not in watched}
        assert decide_composite(composite["AlarmRule"], {**quiet, **others}) == State.OK


@pytest.mark.req("O1")
def test_the_dashboards_are_drawn_from_what_was_emitted(
    running_stack: RunningStack, healthy: list[Point], tmp_path: Path
) -> None:
    assert healthy
    file = tmp_path / "page.html"
    command = [
        sys.executable,
        "-m",
        "cli.main",
        "dashboard",
        "preview",
        "--folder",
        str(running_stack.folder),
        "--output",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "2 dashboards" in done.stdout
    drawn = file.read_text()
    for title in (
        "Events recorded, one day",
        "Genuine events by gateway",
        "The one flush that records",
        "Dead letters",
    ):
        assert f"<h2>{title}</h2>" in drawn
    assert "gatehouse-local-stripe-silent: OK" in drawn
    assert "gatehouse-local-worker-time: OK" in drawn
    assert re.findall(r"(?:src|href)=|url\(|<script", drawn) == [], "nothing has to be fetched"


@pytest.mark.req("O1")
def test_without_metrics_the_preview_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "dashboard", "preview", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds no metrics yet: start `make run`" in done.stderr

"""`gatehouse apps`, `forwards` and `redrive`, as ops type them, on apps that are told over TLS."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from gatehouse.aws import AwsClient
from gatehouse.forwarding.app_rows import find_app, opened
from local.moto_server import MotoServer
from local.receiver import Conduct
from tests.forwarding.story import Story
from tests.forwarding.test_redrive import given_up
from tests.intake.conftest import KEYS
from tests.support import command_line
from tests.support.queues import CREDENTIALS

ROOT = Path(__file__).parents[2]
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def data_keys_arn(moto: MotoServer) -> str:
    """The secret with the data keys of the tests."""
    client = AwsClient(
        "secretsmanager", region="us-east-1", endpoint_url=moto.endpoint, credentials=lambda: CREDENTIALS
    )
    request = {"Name": "forwarding-commands/data-keys", "SecretString": json.dumps(KEYS)}
    arn = str(client.call("CreateSecret", request, timeout_seconds=10)["ARN"])
    client.close()
    return arn


@pytest.fixture
def environment(story: Story, moto: MotoServer, data_keys_arn: str) -> dict[str, str]:
    """What the command is told of its surroundings."""
    return {
        "PATH": os.environ["PATH"],
        "STAGE": "local",
        "DATABASE_TLS": "off",
        "POSTGRES_URL": story.database.url("ops"),
        "AWS_ENDPOINT_URL": moto.endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "DATA_KEYS_SECRET_ARN": data_keys_arn,
        "FORWARDING_QUEUE_URL": story.queues.urls["forwarding"],
    }


@pytest.fixture
def gatehouse(environment: dict[str, str]) -> Command:
    """Return a function that runs `gatehouse …` and returns what it said."""

    def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return command_line.gatehouse(*arguments, environment=environment, stdin=stdin)

    return run


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command said that must have worked."""
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.req("R2", "R5", "O5")
def test_an_app_is_set_up_listed_and_taken_away(gatehouse: Command, story: Story) -> None:
    options = ["--url", "https://app.example.com/hooks?token=t0ken", "--takes", '{"types": ["charge.*"]}']
    options += ["--header", "authorization: Bearer s3cret", "--source", "ours", "--attempts", "2", "--timeout", "900"]
    options += ["--wait", "10", "--wait", "20", "--rate", "5", "--burst", "7", "--health-data"]
    first = said(gatehouse("apps", "set", "elevenone", *options))
    row = find_app(story.ops, "default", "elevenone")
    content = opened(story.keyring, "default", row, "elevenone")
    assert first == f"elevenone of default is set\nsecret, shown this once: {content.secrets[0]}\n"
    assert content.headers == {"authorization": "Bearer s3cret"}
    assert (row["takes"], row["router_source"], row["attempts"]) == ({"types": ["charge.*"]}, "ours", 2)
    assert (row["attempt_milliseconds"], row["waits_milliseconds"]) == (900, [10, 20])
    assert (row["rate_per_second"], row["burst"], row["takes_health_data"]) == (5.0, 7, True)

    shown = said(gatehouse("apps", "targets"))
    assert 'elevenone  https://app.example.com/hooks  {"types": ["charge.*"]}  5.0   told' in shown
    assert "t0ken" not in shown
    assert "s3cret" not in shown

    again = said(gatehouse("apps", "set", "elevenone", "--rate", "0", "--takes", "{}", "--no-headers", "--defaults"))
    assert again == "elevenone of default is set\n", "the secret is shown once"
    row = find_app(story.ops, "default", "elevenone")
    assert (row["rate_per_second"], row["takes"], row["attempts"], row["router_source"]) == (None, {}, None, None)
    assert opened(story.keyring, "default", row, "elevenone").headers == {}

    assert "has no address any more" in said(gatehouse("apps", "remove", "elevenone"))
    row = find_app(story.ops, "default", "elevenone")
    assert row["target_url"] is None
    assert opened(story.keyring, "default", row, "elevenone").secrets == content.secrets


@pytest.mark.req("R2", "O5")
@pytest.mark.parametrize(
    ("arguments", "exit_code", "word"),
    [
        (("--url", "http://app.example.com"), 1, "does not begin with https://"),
        (("--url", "https://10.0.0.1/x"), 1, "the address 10.0.0.1 is not public"),
        (("--takes", '{"kinds": []}'), 1, "--takes is an object of"),
        (("--header", "host: elsewhere"), 1, "the header host is not the app's to choose"),
    ],
)
def test_what_cannot_be_set_is_told_and_nothing_is_changed(
    gatehouse: Command, story: Story, arguments: tuple[str, ...], exit_code: int, word: str
) -> None:
    done = gatehouse("apps", "set", "elevenone", *arguments)
    assert (done.returncode, done.stdout) == (exit_code, "")
    assert word in done.stderr
    assert find_app(story.ops, "default", "elevenone")["target_url"] is None


@pytest.mark.req("R2", "R3", "O5")
def test_an_app_is_paused_and_resumed_and_its_secret_rotates_without_a_refused_event(
    gatehouse: Command, story: Story
) -> None:
    with story.receiver() as app:
        assert "is paused" in said(gatehouse("apps", "pause", "elevenone", "--because", "their maintenance"))
        story.charge()
        story.work()
        assert "paused: their maintenance" in said(gatehouse("apps", "targets"))
        assert app.received == []
        assert "1 events have waited" in said(gatehouse("apps", "resume", "elevenone"))
        rotated = said(gatehouse("apps", "rotate-secret", "elevenone"))
        story.work()
        assert [each.is_genuine for each in app.received] == [True]  # the receiver has the old one
        newest = rotated.splitlines()[0].partition("once: ")[2]
        app.control("PUT", "/_control/secrets", json.dumps({"secrets": [newest]}).encode())
        assert newest not in said(gatehouse("apps", "rotate-secret", "elevenone", "--drop-old"))
        story.charge()
        story.work()
        assert [each.is_genuine for each in app.received] == [True, True]
    nobody = gatehouse("apps", "pause", "nobody")
    assert (nobody.returncode, nobody.stderr) == (1, "error: default has no app nobody\n")


@pytest.mark.req("R3", "R6", "O5")
def test_deliveries_are_listed_shown_and_made_again(gatehouse: Command, story: Story) -> None:
    with story.receiver() as app:
        story.charge(reference="T0")
        story.work()
        app.behave(Conduct("status", 422))
        story.charge(reference="T1")
        story.work()
        app.behave(None)
        rows = [json.loads(line) for line in said(gatehouse("forwards", "list", "--json")).splitlines()]
        assert [(row["reference"], row["ok"], row["status_code"]) for row in rows] == [
            ("T1", False, 422),
            ("T0", True, 200),
        ]
        failed = said(gatehouse("forwards", "list", "--failed", "--app", "elevenone", "--error", "http_422"))
        (line,) = failed.splitlines()[1:]
        assert line.split()[3:8] == ["elevenone", "no", "422", "1", "T1"]
        shown = said(gatehouse("forwards", "show", str(rows[0]["id"])))
        assert "job_status     dead" in shown
        assert "event_type     charge.success" in shown
        job = rows[0]["job_id"]
        assert said(gatehouse("forwards", "retry", str(rows[0]["id"]))) == f"job {job} is rung for\n"
        assert {"job": job} in story.queues.take_json("forwarding")
        story.work(job)
        assert [each.status for each in app.received] == [200, 422, 200]
        assert app.received[2].id == app.received[1].id
    missing = gatehouse("forwards", "show", "99999")
    assert (missing.returncode, missing.stderr) == (1, "error: there is no such delivery\n")


@pytest.mark.req("R3", "D3", "O5")
def test_a_redrive_shows_its_plan_first_and_is_noted_with_who_ran_it(gatehouse: Command, story: Story) -> None:
    with ExitStack() as apps:
        app, other = apps.enter_context(story.receiver()), apps.enter_context(story.receiver("nexai"))
        given_up(story, app, 2)
        other.behave(Conduct("status", 404))
        story.charge(app=None, currency="GHS")
        story.charge(app=None)
        story.work()
        story.rows("update apps set is_paused = true where name = 'nexai'")
        story.rows(
            "delete from webhook_payloads where webhook_event_id = (select min(webhook_event_id) from webhook_payloads)"
        )
        amount = story.rows("select amount_minor from app_transactions where currency = 'NGN' limit 1")[0][0] / 100
        plan = (
            f"1 to be sent again, about {amount:.2f} NGN\n"
            "2 would do nothing: the app is paused\n"
            "1 would do nothing: the bytes of the event are gone\n"
        )
        assert said(gatehouse("redrive", "--dry-run")) == plan
        assert gatehouse("redrive", stdin="n\n").returncode == 1
        assert story.rows("select count(*) from redrives") == [[0]]
        story.queues.take("forwarding")

        story.rows("update apps set is_paused = false where name = 'nexai'")
        done = gatehouse("redrive", "--yes", "--error", "HTTP_404", "--gateway", "paystack")
        assert f"2 to be sent again, about 500.00 GHS, {amount:.2f} NGN" in said(done)
        assert "redrive 1: 2 of 2 sent, 0 delivered, 2 under way, 0 given up again" in done.stderr
        rung = [each["job"] for each in story.queues.take_json("forwarding")]
        assert len(rung) == 2
        other.behave(None)
        story.work(*rung)
        assert [each.status for each in other.received] == [404, 404, 200, 200]

        replayed = gatehouse("redrive", "--replay", "--app", "nexai", "--limit", "1", "--yes")
        assert "1 to be replayed" in said(replayed)
        story.work()
        assert [each.is_repeated for each in other.received] == [False, False, True, True, True]
        listed = said(gatehouse("redrive", "--list")).splitlines()
        assert [line.split()[0] for line in listed] == ["Redrive", "2", "1"]
        assert "(gatehouse command)" in listed[1]
        assert "app nexai, limit 1, replay True" in listed[1]
        wrong = gatehouse("redrive", "--since", "yesterday")
        assert wrong.returncode == 1
        assert "since is no time" in wrong.stderr.replace(":", "")


@pytest.mark.req("R3", "D3")
def test_a_redrive_that_was_killed_goes_on_and_sends_each_once(
    gatehouse: Command, story: Story, environment: dict[str, str]
) -> None:
    with story.receiver() as app:
        given_up(story, app, 3)
        # An app that does not answer: one goes, and the redrive waits for what becomes of it. There it is killed.
        story.rows("update apps set circuit_state = 'open', circuit_probe_at = now() where name = 'elevenone'")
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "redrive", "--yes"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        told = process.stderr.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert told.startswith("redrive 1: 1 of 3 sent, 0 delivered, 1 under way")
        assert "an app does not answer, so the others wait" in told
        story.work()
        assert len(app.received) == 1
        assert "not yet: --resume 1" in said(gatehouse("redrive", "--list"))
        done = gatehouse("redrive", "--resume", "1", "--yes")
        assert "2 to be sent again" in said(done)
        assert "redrive 1: 3 of 3 sent, 1 delivered" in done.stderr
        story.work()
        assert len({each.id for each in app.received}) == len(app.received) == 3

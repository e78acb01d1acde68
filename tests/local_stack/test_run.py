"""`make run` as a whole: it runs what the template says, ends in order, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.aws import AwsClient
from gatehouse.errors import ConnectionError
from gatehouse.settings import AwsCredentials
from local import local_database, outage, pooler, send, stack_file
from local.__main__ import main
from local.demo_data import REFUSED_REFERENCE
from local.postgres import free_port
from local.supervisor import CHECKOUT, RunOptions, StartRefused, Supervisor
from local.terminal import Terminal
from tests.support.stack import RunningStack, erase, own_options, started, wait_until

STRIPE_SAMPLE = CHECKOUT / "events" / "stripe" / "payment_intent.succeeded.json"

pytestmark = pytest.mark.req("O2")

# A function nobody in local/ has heard of, with a route, a queue and a schedule; and one that cannot be imported.
TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
  GreeterFunction:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      CodeUri: code/
      Handler: greeter.handler.handler
      Timeout: 5
      Environment:
        Variables:
          DIARY: {diary}
          GREETINGS_QUEUE_URL: !Ref GreetingsQueue
      Events:
        Greeting:
          Type: HttpApi
          Properties: {{ApiId: !Ref Api, Method: GET, Path: "/greetings/{{name}}"}}
        Greetings:
          Type: SQS
          Properties: {{Queue: !GetAtt GreetingsQueue.Arn, BatchSize: 5}}
        Daily:
          Type: Schedule
          Properties: {{Schedule: "cron(0 8 * * ? *)"}}
  BrokenFunction:
    Type: AWS::Serverless::Function
    Properties:
      Runtime: python3.13
      CodeUri: code/
      Handler: broken.handler.handler
      Events:
        Broken:
          Type: HttpApi
          Properties: {{ApiId: !Ref Api, Method: GET, Path: /broken}}
  GreetingsQueue:
    Type: AWS::SQS::Queue
    Properties: {{VisibilityTimeout: 30}}
"""

GREETER = '''
"""Writes down whatever it is invoked with, and greets."""
import json, os
def handler(event, context):
    kind = "queue" if "Records" in event else event.get("detail-type") or "route"
    bodies = [record["body"] for record in event.get("Records", [])]
    with open(os.environ["DIARY"], "a") as diary:
        diary.write(json.dumps([kind, bodies]) + "\\n")
    if kind == "route":
        return {"statusCode": 200, "body": "hello " + event["pathParameters"]["name"]}
'''


@dataclass
class Greeter:
    """A running stack with the greeter in it."""

    stack: RunningStack
    diary: Path

    @property
    def entries(self) -> list[Any]:
        """Return what the function has written down: [what for, message bodies]."""
        return [json.loads(line) for line in self.diary.read_text().splitlines()] if self.diary.exists() else []

    def get(self, path: str) -> httpx.Response:
        """Ask the front."""
        return httpx.get(self.stack.facts["api_url"] + path, timeout=20)


@pytest.fixture(scope="module")
def greeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Greeter]:
    """One stack of another template for the tests here."""
    project = tmp_path_factory.mktemp("project")
    for name, code in (("greeter", GREETER), ("broken", "import there_is_no_such_module\n")):
        (project / "code" / name).mkdir(parents=True)
        (project / "code" / name / "handler.py").write_text(code)
    (project / "template.yaml").write_text(TEMPLATE.format(diary=project / "diary"))
    options = own_options(template=project / "template.yaml", schedule_every_seconds=0.3)
    with started(options) as stack:
        yield Greeter(stack, project / "diary")


def test_a_new_function_gets_its_route_queue_and_schedule_from_the_template_alone(greeter: Greeter) -> None:
    answer = greeter.get("/greetings/ada")
    assert (answer.status_code, answer.text) == (200, "hello ada")
    sqs = AwsClient(
        "sqs",
        region="us-east-1",
        endpoint_url=greeter.stack.facts["sqs_endpoint"],
        credentials=lambda: AwsCredentials("test", "test"),
    )
    message = {"QueueUrl": greeter.stack.facts["queues"]["GreetingsQueue"], "MessageBody": "good morning"}
    sqs.call("SendMessage", message, timeout_seconds=5)
    wait_until(lambda: ["queue", ["good morning"]] in greeter.entries)
    wait_until(lambda: ["Scheduled Event", []] in greeter.entries)
    assert ["route", []] in greeter.entries


def test_each_request_and_batch_is_one_line_in_the_terminal(greeter: Greeter) -> None:
    greeter.get("/greetings/grace")
    assert greeter.get("/nothing").status_code == 404
    wait_until(lambda: any("404" in line for line in greeter.stack.lines))
    (line,) = [line for line in greeter.stack.lines if "greetings/{name}" in line and " 200 " in line][-1:]
    assert "GET /greetings/{name}" in line
    assert "greeter" in line
    assert " ms " in line
    assert "grace" not in line  # the route, never the path


def test_a_function_that_cannot_be_imported_is_told_at_once_and_is_503_and_the_others_go_on(greeter: Greeter) -> None:
    wait_until(lambda: any("cannot be imported" in line for line in greeter.stack.lines))
    (told,) = [line for line in greeter.stack.lines if "cannot be imported" in line]
    assert "broken " in told
    assert greeter.get("/broken").status_code == 503
    assert greeter.get("/greetings/alan").status_code == 200
    (shown,) = [line for line in greeter.stack.lines if "Runtime.ImportModuleError" in line and " error " in line]
    for line in (told, shown):
        assert "there_is_no_such_module" in line


def test_stack_json_says_where_everything_is(greeter: Greeter) -> None:
    facts = stack_file.read(greeter.stack.folder)
    assert facts == greeter.stack.facts
    assert set(facts) >= {"api_url", "database_url", "pooled_database_url", "sqs_endpoint", "queues", "gateways"}
    assert (greeter.stack.folder / stack_file.NAME).stat().st_mode & 0o777 == 0o600
    addresses = [facts["database_url"]] + [facts["pooled_database_url"]] * pooler.is_installed()
    for address in addresses:
        database = local_database.connect(address)
        stage = "SELECT current_setting('gatehouse.stage', true) AS stage"
        assert database.query(stage) == [{"stage": "development"}]
        database.close()


def test_postgres_can_go_and_come_back_at_the_same_address(greeter: Greeter) -> None:
    greeter.stack.stop_postgres()
    with pytest.raises(ConnectionError):
        local_database.connect(greeter.stack.facts["database_url"]).query("SELECT 1 AS one")
    greeter.stack.start_postgres()
    database = local_database.connect(greeter.stack.facts["database_url"])
    assert database.query("SELECT 1 AS one") == [{"one": 1}]
    database.close()


def test_a_second_one_says_where_the_first_is(greeter: Greeter) -> None:
    options = replace(greeter.stack.supervisor.options, port=free_port())
    with pytest.raises(StartRefused) as refused:
        Supervisor(options, Terminal(output=greeter.stack.output)).start()
    assert f"pid {os.getpid()} at {greeter.stack.facts['api_url']}" in str(refused.value)
    assert greeter.get("/greetings/still-there").status_code == 200
    assert stack_file.read(greeter.stack.folder) == greeter.stack.facts


def test_a_taken_port_is_one_clear_line(greeter: Greeter, options: RunOptions) -> None:
    taken = greeter.stack.supervisor.options.port
    with pytest.raises(StartRefused) as refused:
        Supervisor(replace(options, port=taken), Terminal()).start()
    assert f"port {taken} is taken" in str(refused.value)
    assert "PORT=" in str(refused.value)


@pytest.mark.parametrize("port", ["0", "-1", "65536", "http"])
def test_what_is_no_port_is_one_clear_line(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--port", port])
    assert refused.value.code == 2
    assert f"argument --port: '{port}' is not a port: 1 to 65535" in capsys.readouterr().err


# --- as a process of its own, with the project's own template -----------------------------------------------------


@pytest.fixture
def options() -> Iterator[RunOptions]:
    """Options of a run in a folder of its own, which is removed with all data."""
    chosen = own_options()
    yield chosen
    erase(chosen)


def command_of(options: RunOptions, *arguments: str) -> list[str]:
    """Return the command that `make run` is."""
    where = ["--port", str(options.port), "--folder", str(options.folder)]
    return [sys.executable, "-m", "local", *where, *arguments]


@dataclass
class Run:
    """A `python -m local` that is ready."""

    process: "subprocess.Popen[str]"
    facts: dict[str, Any]
    output: Path


@contextmanager
def make_run(options: RunOptions, *arguments: str) -> Iterator[Run]:
    """Run `python -m local` until the block ends."""
    output = options.folder / "output.txt"
    command = command_of(options, *arguments)
    with output.open("w") as sink:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=sink, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: process.poll() is not None or "is ready" in output.read_text(), seconds=60)
        assert process.poll() is None, output.read_text()
        yield Run(process, stack_file.read(options.folder), output)
    finally:
        process.kill()
        process.wait()


def children_of(pid: int) -> set[int]:
    """Return the processes below this one."""
    found: set[int] = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _parent_of(folder) == pid:
            found |= {int(folder.name)} | children_of(int(folder.name))
    return found


def _parent_of(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def alive(pids: set[int]) -> set[int]:
    """Return those that still run."""
    return {pid for pid in pids if Path(f"/proc/{pid}").exists() and _state_of(pid) != "Z"}


def _state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def postgres_pid(facts: dict[str, Any]) -> int:
    """Return the process of the Postgres that listens at the stack's address."""
    database = local_database.connect(facts["database_url"])
    try:
        (row,) = database.query("SELECT setting FROM pg_settings WHERE name = 'data_directory'")
    finally:
        database.close()
    return int((Path(row["setting"]) / "postmaster.pid").read_text().splitlines()[0])


def count_events(facts: dict[str, Any]) -> int:
    """Return how many events the database holds, without those of the demo merchants, which come meanwhile."""
    database = local_database.connect(facts["database_url"])
    try:
        counted = (
            "select count(*) as n from webhook_events where merchant = 'default' and reference is distinct from :demo"
        )
        return int(database.query(counted, demo=REFUSED_REFERENCE)[0]["n"])
    finally:
        database.close()


def another_event(sample: Path) -> bytes:
    """Return the sample with ids of its own."""
    return (
        sample.read_bytes().replace(b"evt_", b"evt_second").replace(b"pi_", b"pi_second").replace(b"ch_", b"ch_second")
    )


@pytest.mark.req("G10", "P12")
def test_a_killed_run_is_followed_by_one_that_works_at_once_and_has_lost_nothing(
    options: RunOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_run(options, "--demo", "1") as first:
        assert httpx.get(f"{first.facts['api_url']}/health/database", timeout=20).status_code == 200
        # One of each gateway, and one that is forwarded; what was forged is not there.
        assert count_events(first.facts) == 6
        assert "payment 1 completed" in first.output.read_text()
        assert first.facts["gateways"]["mx_merchant"]["url"].rpartition("/")[2] not in first.output.read_text()
        # An event that was answered with 200 while Postgres was away is in a queue, and nowhere else.
        assert outage.main(["stop", "--folder", str(options.folder)]) == 0
        status, answer = send.send("stripe", another_event(STRIPE_SAMPLE), first.facts)
        assert (status, json.loads(answer)["status"]) == (200, "queued")
        children = children_of(first.process.pid)
        assert len(children) >= 2
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        wait_until(lambda: not alive(children), seconds=5)
        with pytest.raises(stack_file.StackNotRunning, match="was killed: start it again with `make run`"):
            stack_file.read(options.folder)

    with make_run(options, "--demo", "0") as second:
        assert second.facts["database_url"] == first.facts["database_url"]
        assert httpx.get(f"{second.facts['api_url']}/health/database", timeout=20).status_code == 200
        wait_until(lambda: count_events(second.facts) == 7)
        children = children_of(second.process.pid) | {postgres_pid(second.facts)}
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(20) == 0
    assert not alive(children)
    assert not (options.folder / stack_file.NAME).exists()
    assert second.output.read_text().splitlines()[-1] == "stopped"
    assert outage.main(["start", "--folder", str(options.folder)]) == 1
    assert "make run" in capsys.readouterr().err


def test_an_error_in_the_template_is_one_clear_line(options: RunOptions, tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE.format(diary="diary").replace("code/", "nowhere/"))
    command = command_of(options, "--template", str(template))
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("gatehouse: ")
    assert "nowhere" in done.stderr

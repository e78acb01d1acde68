"""The running stack with its two Postgres servers: each is stopped, killed and started; then one is lost for good."""

import json
import os
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from typing import Any
from urllib.error import HTTPError

import pg8000.exceptions  # type: ignore[import-untyped]  # pg8000 ships no types
import pytest

from gatehouse.backup.compare import Difference, compare_all
from local import local_database
from tests.support import command_line
from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, own_options, started, wait_until
from tests.support.stripe_requests import stripe_event

SEED = 20261128
FAULTS = 6  # three of each server
PAUSE_SECONDS = 0.08

type Fault = tuple[Callable[[], None], Callable[[], None]]


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    """A stack whose servers nobody else needs."""
    with started(own_options()) as running:
        yield running


class Stream:
    """Sends events one after the other, each again until it is acknowledged, as a gateway does."""

    def __init__(self, stack: RunningStack, prefix: str) -> None:
        self.acknowledged: dict[str, tuple[str, int]] = {}  # event -> the intent's id, and its amount
        self.queued = 0
        self._stack = stack
        self._prefix = prefix
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def send(self, number: int) -> None:
        """Send one event until it is taken: a new payment, or more of one that is there."""
        intent = f"pi_{self._prefix}_{number // 2}"
        event_id, amount = f"evt_{self._prefix}_{number}", 1000 + number
        kind = "payment_intent.succeeded" if number % 2 else "payment_intent.created"
        status = {"status": "succeeded"} if number % 2 else {"status": "requires_payment_method", "amount_received": 0}
        body = stripe_event(event_id, kind, id=intent, latest_charge=f"ch_{intent}", **({"amount": amount} | status))
        body["created"] += number
        for _attempt in range(200):
            try:
                code, words = self._stack.send("stripe", json.dumps(body).encode())
            except OSError:
                code, words = 0, ""
            if code == 200:
                self.queued += "queued" in words
                self.acknowledged[event_id] = (intent, amount)
                return
            time.sleep(0.1)
        raise AssertionError(f"{event_id} was never taken")

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(60)

    def _send(self) -> None:
        number = 0
        while not self._is_over.is_set():
            self.send(number)
            number += 1
            time.sleep(PAUSE_SECONDS)


class Readings:
    """Asks for payments again and again, and counts who answered."""

    def __init__(self, stack: RunningStack) -> None:
        self.answers: dict[str, int] = {}
        self._stack = stack
        self._is_over = threading.Event()
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._read, daemon=True)
        wait_until(lambda: ask(stack, "/api/payments")[0] == 200, seconds=60)  # started, and warm
        self._thread.start()

    def read(self) -> None:
        """Ask once, and count who answered."""
        status, body = ask(self._stack, "/api/payments?limit=3")
        served = body.get("served_by", "") if status == 200 else f"{status} {body}"
        with self._turn:
            self.answers[served] = self.answers.get(served, 0) + 1

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(30)

    def _read(self) -> None:
        while not self._is_over.is_set():
            self.read()
            time.sleep(PAUSE_SECONDS)


def ask(stack: RunningStack, path: str) -> tuple[int, dict[str, Any]]:
    """Ask the API with the stack's own key."""
    request = urllib.request.Request(  # noqa: S310 - our own front
        stack.facts["api_url"] + path, headers={"authorization": f"Bearer {stack.facts['api_key']}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return answer.status, json.load(answer)
    except HTTPError as refused:
        return refused.code, json.load(refused)


def gatehouse(stack: RunningStack, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as ops would, against this stack."""
    environment = {"PATH": os.environ["PATH"], **stack.facts["command_line"]}
    return command_line.gatehouse(*arguments, environment=environment)


def answers(stack: RunningStack) -> bool:
    """Tell whether the primary answers where the API asks it."""
    url = stack.facts["pooled_database_url"] or stack.facts["database_url"]
    kept = stack.supervisor._kept
    role = local_database.ROLES["api"]
    as_api = url.replace(f"postgres:{kept.password('postgres')}@", f"{role}:{kept.password(role)}@")
    try:
        return bool(run_sql(as_api, "select 1"))
    except (pg8000.exceptions.Error, OSError):
        return False


def primary(stack: RunningStack, text: str) -> list[list[Any]]:
    return run_sql(stack.facts["database_url"], text)


def second(stack: RunningStack, text: str) -> list[list[Any]]:
    return run_sql(stack.facts["backup_database_url"], text)


def differences(stack: RunningStack) -> list[Difference]:
    """Compare both databases by content, without repairing anything."""
    ours = local_database.connect(stack.facts["database_url"])
    theirs = local_database.connect(stack.facts["backup_database_url"])
    try:
        return compare_all(ours, theirs)
    finally:
        ours.close()
        theirs.close()


def recorded(stack: RunningStack) -> set[str]:
    return {event for (event,) in primary(stack, "select event_id from webhook_events where status = 'applied'")}


def let_it_settle(stack: RunningStack, acknowledged: dict[str, Any]) -> None:
    """Wait until every acknowledged event is recorded and the backup lacks nothing."""
    wait_until(lambda: acknowledged.keys() <= recorded(stack), seconds=150)
    last = Stream(stack, f"last{time.monotonic_ns()}")

    def is_settled() -> bool:
        nothing_waits = primary(stack, "select count(*)::int from backup_changes") == [[0]]
        return nothing_waits and last.acknowledged.keys() <= recorded(stack)

    for number in range(40):
        primary(stack, "update backup_changes set due_at = now()")  # what a killed writer had claimed does not wait
        last.send(number)  # its bell makes the writer look; a message that failed comes back only after minutes
        with suppress(AssertionError):
            wait_until(is_settled, seconds=3)
            break
    else:
        raise AssertionError("the backup never had everything")
    acknowledged |= last.acknowledged


@pytest.mark.req("B2", "B3", "G10")
def test_each_server_in_turn_is_stopped_and_killed_under_a_stream(
    stack: RunningStack, record_property: Callable[[str, object], None]
) -> None:
    chance = Random(SEED)  # noqa: S311 - the same faults every time
    server, backup_server = stack.supervisor._server, stack.supervisor._backup_server
    assert backup_server is not None
    stream, meanwhile, readings = Stream(stack, "kill"), Stream(stack, "meanwhile"), Readings(stack)
    stream.start()
    faults = 0
    try:
        while faults < FAULTS:
            each = (server, backup_server)[faults % 2]
            each.stop(chance.choice(("fast", "immediate")))
            time.sleep(chance.uniform(0.0, 0.5))
            meanwhile.send(faults)  # taken and answered, whichever of them is away
            readings.read()
            each.start()
            wait_until(lambda: answers(stack))  # one at a time: a pooler takes a second to see that its server is back
            faults += 1
            time.sleep(chance.uniform(0.1, 0.4))
    finally:
        stream.end()
    stream.acknowledged |= meanwhile.acknowledged
    stream.queued += meanwhile.queued
    let_it_settle(stack, stream.acknowledged)
    readings.end()
    assert stream.queued > 0, "no event had to wait in the inbox: the faults were none"
    lost = stream.acknowledged.keys() - recorded(stack)
    record_property(
        "reckoning",
        f"{faults} faults, {len(stream.acknowledged)} events acknowledged ({stream.queued} by the inbox), {len(lost)} "
        f"lost, reads {readings.answers} (seed {SEED})",
    )
    assert lost == set()
    assert differences(stack) == []
    assert readings.answers.keys() == {"primary", "backup"}, readings.answers
    # Every payment is what its last event says, in the second database.
    there = dict(
        second(stack, "select name ->> 'id', amount_minor from payment_services, jsonb_array_elements(names) name")
    )
    for event, (intent, amount) in stream.acknowledged.items():
        if int(event.rpartition("_")[2]) % 2:
            assert there[intent] == amount


@pytest.mark.req("B4", "B5", "O5")
def test_ops_see_compare_repair_and_fill(stack: RunningStack) -> None:
    status = gatehouse(stack, "backup", "status", "--json")
    assert (status.returncode, json.loads(status.stdout)["is_well"]) == (0, True), status.stderr
    # Not always 1: a flush that was cut off has used up a number.
    ((chosen,),) = second(stack, "select min(id)::int from payment_services where id > 0")
    for _attempt in range(5):  # what becomes known of a payment meanwhile, as its fee, writes all of it again
        second(stack, f"update payment_services set amount_minor = amount_minor + 1 where id = {chosen}")
        compared = gatehouse(stack, "backup", "compare")
        if compared.returncode:
            break
    assert compared.returncode == 3, compared.stderr
    assert f"payment {chosen} differs" in compared.stdout
    assert ask(stack, "/api/sync/status")[1]["divergent"] == 1
    repaired = gatehouse(stack, "backup", "repair")
    assert (repaired.returncode, repaired.stdout.splitlines()[-1]) == (0, "1 repaired")
    second(stack, f"delete from payment_services where id = {chosen}")
    filled = gatehouse(stack, "backup", "fill", "--from-the-start", "--rate", "0")
    assert filled.returncode == 0, filled.stderr
    assert "payments looked at" in filled.stdout
    told = gatehouse(stack, "backup", "status")
    assert told.returncode == 0
    assert "divergence 0 payments" in told.stdout
    assert differences(stack) == []


@pytest.mark.req("B2", "B3", "G10", "O5")
def test_the_primary_is_lost_for_good_and_comes_back_from_the_backup(
    stack: RunningStack, record_property: Callable[[str, object], None]
) -> None:
    before = Stream(stack, "before")
    for number in range(6):
        before.send(number)
    let_it_settle(stack, before.acknowledged)
    rows = "select id, status, amount_minor, received_minor, currency, fee_minor, reference from payments order by id"
    was = primary(stack, rows)
    server, kept = stack.supervisor._server, stack.supervisor._kept
    server.stop("immediate")
    shutil.rmtree(server.data)
    began = time.monotonic()
    during = Stream(stack, "during")
    for number in range(6):
        during.send(number)
    assert during.queued == 6
    status, answer = ask(stack, "/api/payments?limit=50")
    assert (status, answer["served_by"], len(answer["items"])) == (200, "backup", min(50, len(was)))

    server.start()  # a new, empty server at the old address
    local_database.make_database(server, kept)
    run_sql(server.url(), "alter database gatehouse reset gatehouse.stage")
    into = server.url(local_database.NAME, local_database.OWNER, kept.password(local_database.OWNER))
    restored = gatehouse(stack, "backup", "restore", "--into", into)
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert f"{len(was)} payments restored" in restored.stdout
    local_database.let_roles_log_in(server, kept)
    assert primary(stack, rows) == was
    # What is folded anew from the restored facts is what was restored.
    assert primary(stack, "select * from fold_payments(array(select id from payments))") == []

    wait_until(lambda: gatehouse(stack, "backup", "fill", "--rate", "0").returncode == 0)  # the pooler sees it soon
    let_it_settle(stack, during.acknowledged)
    seconds = time.monotonic() - began
    acknowledged = before.acknowledged | during.acknowledged
    lost = acknowledged.keys() - recorded(stack)
    record_property("drill", f"{len(acknowledged)} acknowledged, {len(lost)} lost, back after {seconds:.1f} s")
    assert lost == set()
    # An event that comes again is known, and a new one of a restored payment meets its facts.
    before.send(1)
    assert before.queued == 0
    assert primary(stack, "select count(*)::int from webhook_events where event_id = 'evt_before_1'") == [[1]]
    assert differences(stack) == []

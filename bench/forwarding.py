"""Forwarding: from receipt to delivery on `make run`, what one worker delivers, and what a dead app costs another.

The first and the last are measured on a whole `make run`, as somebody would start it: front, moto's SQS, pollers,
functions under the runtime client, a Postgres that waits for its disk, and the receiver that checks each signature.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx

from bench.answering_server import answering_server
from bench.figures import Figure
from bench.ground import DATA_KEYS, Ground, SilentSqs, cpu_seconds, ground
from gatehouse.accounts import GatewayAccount
from gatehouse.forwarding.app_rows import set_up
from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.worker import THREADS, Desk, forward
from gatehouse.gateways import gateway_named
from gatehouse.intake.record import Delivery, record
from gatehouse.jobs.batch import work_through
from gatehouse.jobs.bell import Bell
from gatehouse.jobs.sweep import sweep
from gatehouse.sealing import Keyring
from local import local_database, stack_file
from local.child_process import CHECKOUT
from local.postgres import PostgresServer, free_port, stop_leftover
from local.send import sign_paystack
from tests.support.queues import sqs_event

EVENTS_A_SECOND = int(os.environ.get("BENCH_EVENTS_A_SECOND", "50"))
SECONDS_TO_WARM = 30
SECONDS_OF_DYING = 15
SENDERS = 8
WAITING = 10_000
# Events of one customer are recorded one after the other, and each folds all that is known of him.
PERSONS = 1_000
# One sweep at least, which is where ten thousand jobs would show, and one probe that is answered by silence; alone as
# long, with what every minute brings.
SECONDS_OF_A_MINUTE_AND_MORE = 75
DEAD_PATH = "/dead"

BATCH = 10  # what the template's mapping hands over at once
FORWARDS = 2_000
ROUNDS = 5

MOST_P95_SECONDS = 1.0
LEAST_FORWARDS_A_SECOND = 200
MOST_RATIO_BESIDE_THE_DEAD = 1.2

_SAMPLE = json.loads((CHECKOUT / "events/paystack/charge.success__2024_ngn_metadata.json").read_text())
_numbers = count(time.time_ns() // 1000)


def run() -> list[Figure]:
    """Measure the worker alone, then the running stack, then the same with a dead app beside."""
    return [*worker_figures(), *sweep_figures(), *stack_figures()]


# ── One worker ───────────────────────────────────────────────────────────────────────────────────────────────────────
class Millis(NamedTuple):
    """What one forward takes."""

    elapsed: float
    process: float
    postgres: float


def worker_figures() -> list[Figure]:
    """Deliver recorded events in batches of ten to an app that answers at once, over kept connections."""
    with ExitStack() as started:
        place = started.enter_context(ground())
        url = started.enter_context(answering_server(b"{}"))
        nowhere = started.enter_context(Path("/dev/null").open("w"))
        started.enter_context(redirect_stdout(nowhere))
        desk, bell = _desk(place, url, started)
        rounds = []
        for _ in range(ROUNDS + 1):  # the first one opens connections and fills caches
            rounds.append(_deliver_all(place, desk, bell, _recorded(place, FORWARDS // ROUNDS)))
    spent = Millis(*(median(each) for each in zip(*rounds[1:], strict=True)))
    name = "CPU per forward, the worker's process and its Postgres process"
    print(f"  a forward: process {spent.process:.2f} ms + Postgres {spent.postgres:.2f} ms", flush=True)
    rate = 1000 / spent.elapsed
    return [
        # As a floor it is the least: a ratio of 1 or below holds it.
        Figure("forwards a second, one worker, batches of 10", rate, "/s", LEAST_FORWARDS_A_SECOND, 1, True),
        Figure(name, spent.process + spent.postgres, "ms"),
    ]


def _desk(place: Ground, url: str, started: ExitStack) -> tuple[Desk, Bell]:
    keyring = Keyring(DATA_KEYS)
    worker, ops = place.database.connect("worker"), place.database.connect("ops")
    allowed = urlsplit(url).netloc
    set_up(ops, keyring, "default", "elevenone", {"target_url": f"{url}/hooks"}, allowed_local=[allowed])
    ops.close()
    transport = Connections()
    for each in (worker, transport):
        started.callback(each.close)
    bell = Bell(SilentSqs(), queues={"forwarding": "http://queue"}, dead_letters={"forwarding": "http://dead"})
    return Desk(lambda: worker, lambda: keyring, transport, allowed_local=(allowed,)), bell


def _recorded(place: Ground, number: int) -> list[int]:
    """Record so many charges of the app; return the jobs to forward them."""
    database, keyring = place.database.connect("intake"), Keyring(DATA_KEYS)
    paystack = gateway_named("paystack")
    account = GatewayAccount("paystack", "default", "default", "both", ("x",))
    jobs = []
    for _ in range(number):
        body = charge("elevenone")
        told = paystack.translate(paystack.read_event(body), "default")
        recorded = record(database, Delivery(account, told, body, datetime.now(UTC)), keyring)
        jobs += [job.id for job in recorded.jobs if job.topic == "forward"]
    database.close()
    if len(jobs) != number:
        raise RuntimeError(f"{number} events left {len(jobs)} forwards")
    return jobs


class _Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def _deliver_all(place: Ground, desk: Desk, bell: Bell, jobs: list[int]) -> Millis:
    messages = [json.dumps({"job": job}) for job in jobs]
    events = [sqs_event(*messages[start : start + BATCH]) for start in range(0, len(messages), BATCH)]
    desk.database().query("select 1")
    backend = place.backend_of("worker")
    before = perf_counter(), process_time(), cpu_seconds(backend)
    for event in events:
        answer = work_through(
            event,
            _Context(),
            {"forward": lambda job: forward(job, desk)},
            desk.database(),
            bell,
            threads=THREADS,
            may_be_done_twice=True,
        )
        if answer["batchItemFailures"]:
            raise RuntimeError(f"not forwarded: {answer}")
    after = perf_counter(), process_time(), cpu_seconds(backend)
    left = place.database.sql("select count(*) from jobs where topic = 'forward' and status <> 'done'")[0][0]
    if left:
        raise RuntimeError(f"{left} forwards are not done")
    return Millis(*((late - early) * 1000 / len(jobs) for early, late in zip(before, after, strict=True)))


# ── The sweeper ──────────────────────────────────────────────────────────────────────────────────────────────────────
def sweep_figures() -> list[Figure]:
    """Sweep while ten thousand jobs wait for an app that does not answer: none of them may be rung for."""
    with ExitStack() as started:
        place = started.enter_context(ground())
        nowhere = started.enter_context(Path("/dev/null").open("w"))
        worker = place.database.connect("worker")
        started.callback(worker.close)
        write_waiting(place.database.sql)
        place.database.sql(
            "update apps set circuit_state = 'open', circuit_probe_at = now() + interval '1 hour' where name = 'nexai';"
            "update jobs set ring_after = now() - interval '1 second'; analyze jobs"
        )
        bell = Bell(SilentSqs(), queues={"forwarding": "http://queue"}, dead_letters={})
        worker.query("select 1")
        backend = place.backend_of("worker")
        spent = []
        for _ in range(ROUNDS):
            before = process_time(), cpu_seconds(backend)
            with redirect_stdout(nowhere):
                if rung := sweep(worker, bell, seconds=40)["rung"]:
                    raise RuntimeError(f"{rung} jobs of a dead app were rung for")
            spent.append((process_time() - before[0] + cpu_seconds(backend) - before[1]) * 1000)
    return [Figure(f"CPU of a sweep past {WAITING} jobs of a dead app, no bell", median(spent), "ms")]


def write_waiting(sql: Callable[[str], Any]) -> None:
    """Write ten thousand jobs that are due for the app nexai, all of Paystack's last event where there is one."""
    sql(
        "insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)"
        """ select 'forward', 'bench' || n, 'default', '{"app": "nexai"}',"""
        " (select max(id) from webhook_events where gateway = 'paystack') from generate_series(1, 10000) n"
    )


# ── The whole stack ──────────────────────────────────────────────────────────────────────────────────────────────────
def stack_figures() -> list[Figure]:
    """Send 50 events a second; the same with a dead app for which ten thousand jobs wait; and the first once more.

    The slowest twentieth of the same work differs from one minute to the next, and grows with what there is, so what
    the dead app costs is told against the minutes before and after it together.
    """
    with running() as stack:
        rows = local_database.connect(stack["database_url"])
        _send_for(stack, SECONDS_TO_WARM)  # environments start, connections open, sessions plan what they do
        before = _delays(rows, _send_for(stack, SECONDS_OF_A_MINUTE_AND_MORE))
        _let_an_app_die(stack, rows)
        onset = _delays(rows, _send_for(stack, SECONDS_OF_DYING))
        _wait_until_open(rows)
        beside = _delays(rows, _send_for(stack, SECONDS_OF_A_MINUTE_AND_MORE))
        held = rows.query_one(
            "select count(*) as n from jobs where topic = 'forward' and status <> 'done'"
            " and arguments ->> 'app' = 'nexai'"
        )["n"]
        _bury_the_app(rows)
        after = _delays(rows, _send_for(stack, SECONDS_OF_A_MINUTE_AND_MORE))
        rows.close()
    if held < WAITING:
        raise RuntimeError(f"only {held} jobs waited for the dead app")
    alone = before + after
    for when, delays in (("before", before), ("while it was dying", onset), ("beside it", beside), ("after", after)):
        print(
            f"  {when}: median {median(delays):.3f} s, p95 {_p95(delays):.3f} s, the slowest {max(delays):.2f} s",
            flush=True,
        )
    return [
        Figure(
            f"receipt to delivered, p95, {EVENTS_A_SECOND} a second on make run",
            _p95(alone),
            "s",
            limit=MOST_P95_SECONDS,
        ),
        Figure(
            f"the same beside a dead app, {WAITING} waiting (floor: alone)",
            _p95(beside),
            "s",
            _p95(alone),
            MOST_RATIO_BESIDE_THE_DEAD,
        ),
    ]


@contextmanager
def running() -> Iterator[dict[str, Any]]:
    """Run `make run` in a folder of its own; give what stack.json says."""
    folder = Path(tempfile.mkdtemp(prefix="gatehouse-bench-run-"))
    command = [sys.executable, "-m", "local", f"--port={free_port()}", "--demo=0", f"--folder={folder}"]
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": _python_path()}
    )
    try:
        deadline = time.monotonic() + 120
        while not (folder / "stack.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("make run did not start")
            time.sleep(0.2)
        yield dict(stack_file.read(folder))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
        server = PostgresServer(folder / "postgres", port=0, password="")
        stop_leftover(server.data)
        server.erase()
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def _python_path() -> str:
    return os.pathsep.join((str(CHECKOUT), str(CHECKOUT / "layers" / "gatehouse")))


def charge(app: str) -> bytes:
    """Return a charge of its own that belongs to an app."""
    number = next(_numbers)
    person = number % PERSONS
    data = {
        **_SAMPLE["data"],
        "id": number,
        "reference": f"bench{number}",
        "metadata": {"app": app, "user_id": f"u{person}"},
        "customer": {
            **_SAMPLE["data"]["customer"],
            "id": person,
            "customer_code": f"CUS_bench{person}",
            "email": f"person{person}@example.com",
        },
    }
    return json.dumps({**_SAMPLE, "data": data}).encode()


def _send_for(stack: dict[str, Any], seconds: int) -> list[str]:
    """Send events at an even pace, whatever the answers take; return the references of what was taken."""
    bodies = [charge("elevenone") for _ in range(EVENTS_A_SECOND * seconds)]
    gateway = stack["gateways"]["paystack"]
    turn, begun = count(), time.monotonic() + 0.2
    refused: list[str] = []
    again: list[int] = []

    def send() -> None:
        with httpx.Client(timeout=30) as client:
            while (place := next(turn)) < len(bodies):
                time.sleep(max(begun + place / EVENTS_A_SECOND - time.monotonic(), 0))
                headers = {"content-type": "application/json", **sign_paystack(bodies[place], gateway, "", 0)}
                answer = client.post(gateway["url"], content=bodies[place], headers=headers)
                while answer.status_code == 429:  # every environment is busy or starts: a gateway sends again
                    again.append(place)
                    time.sleep(0.2)
                    answer = client.post(gateway["url"], content=bodies[place], headers=headers)
                if answer.status_code != 200 or "applied" not in answer.text:
                    refused.append(answer.text)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise RuntimeError(f"{len(refused)} events were not taken, such as: {refused[0]}")
    if again:
        print(f"  sent again after 429: {len(again)} times", flush=True)
    took = time.monotonic() - begun
    if took > seconds * 1.1:
        print(f"  the front was slower than {EVENTS_A_SECOND} a second: {len(bodies) / took:.0f}", flush=True)
    return [json.loads(body)["data"]["reference"] for body in bodies]


def _delays(rows: Any, references: list[str]) -> list[float]:
    """Return the seconds from receipt to delivery of each, once all are there."""
    deadline = time.monotonic() + 240
    while True:
        found = rows.query(
            "select extract(epoch from l.created_at - e.received_at)::double precision as seconds"
            " from webhook_forward_logs l join webhook_events e on e.id = l.webhook_event_id"
            " where l.ok and l.app = 'elevenone' and l.reference between :first and :last",
            first=references[0],
            last=references[-1],
        )
        if len(found) == len(references):
            return [row["seconds"] for row in found]
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(found)} of {len(references)} were delivered")
        time.sleep(0.5)


def _let_an_app_die(stack: dict[str, Any], rows: Any) -> None:
    """Give the app nexai an address that is silent, and ten thousand jobs that are due now."""
    receiver = urlsplit(stack["receiver_url"])
    base = f"{receiver.scheme}://{receiver.netloc}"
    conduct = {"kind": "slow", "seconds": 30, "path": DEAD_PATH}
    httpx.put(f"{base}/_control/conduct", json=conduct).raise_for_status()
    rows.query("update apps set target_url = :url where name = 'nexai'", url=base + DEAD_PATH)
    write_waiting(rows.query)


def _bury_the_app(rows: Any) -> None:
    """Pause the app nexai and delete what waits for it, so that the stack is as it was without them."""
    rows.query("update apps set is_paused = true where name = 'nexai'")
    rows.query("delete from jobs where topic = 'forward' and status <> 'done' and arguments ->> 'app' = 'nexai'")


def _wait_until_open(rows: Any) -> None:
    deadline = time.monotonic() + 150
    while rows.query_one("select circuit_state from apps where name = 'nexai'")["circuit_state"] == "closed":
        if time.monotonic() > deadline:
            raise RuntimeError("the circuit of the dead app never opened")
        time.sleep(1)


def _p95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]

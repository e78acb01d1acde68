"""docs/receiving_forwards.md tells the truth: its receivers are run as they stand there, and delivered to."""

import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gatehouse.forwarding.circuit import LIMITS
from gatehouse.forwarding.connections import Connections
from gatehouse.forwarding.deliver import App, Deliverer, Delivery, Message, Patience
from gatehouse.forwarding.http_answer import MOST_BODY_BYTES
from gatehouse.forwarding.sign import TOLERANCE_SECONDS, message_id, new_secret
from tests.forwarding.apps import MESSAGE, Ground, headers_of
from tests.support.scripted_server import answering

pytestmark = pytest.mark.req("R2", "R3")

PROJECT = Path(__file__).parents[2]
GUIDE = (PROJECT / "docs" / "receiving_forwards.md").read_text()
NEW, OLD = new_secret(), new_secret()
BODY = '{ "event":"charge.success",\n  "name": "J\u00fcrgen", "amount": 4620.00 }\n'.encode()


class RunningReceiver:
    """A receiver of the guide in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = int(self._lines.get(timeout=20).removeprefix("receiving on port "))
        self.transport = Connections()

    def deliver(self, number: int, *, body: bytes = BODY, secrets: tuple[str, ...] = (NEW,), at: float = 0) -> Delivery:
        """Forward an event, signed so many seconds from now."""
        message = Message(message_id("paystack", str(number)), "paystack", "charge.success", body)
        deliverer = Deliverer(
            self.transport,
            patience=Patience(1),
            allowed_local=[f"127.0.0.1:{self.port}"],
            now=lambda: time.time() + at,
        )
        return deliverer.deliver(message, App(f"http://127.0.0.1:{self.port}/hooks", secrets))

    def taken_in(self) -> list[str]:
        """Return the lines that it wrote since the last look."""
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get())
        return lines

    def stop(self) -> None:
        """End it, and read what it still said."""
        self.transport.close()
        self._process.kill()
        self._reader.join(10)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.rstrip("\n"))


@pytest.fixture(params=["python", "js"])
def receiver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunningReceiver]:
    """Each receiver of the guide, running with two secrets."""
    interpreter = sys.executable if request.param == "python" else shutil.which("node")
    if interpreter is None:
        pytest.skip("node is not installed, so the receiver in Node was not tried")
    (source,) = re.findall(rf"^```{request.param}\n(.+?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    file = tmp_path / ("receiver.py" if request.param == "python" else "receiver.mjs")
    file.write_text(source)
    environment = {**os.environ, "PORT": "0", "WEBHOOK_SECRETS": f"{NEW} {OLD}"}
    with subprocess.Popen([interpreter, str(file)], env=environment, stdout=subprocess.PIPE, text=True) as process:
        running = RunningReceiver(process)
        yield running
        running.stop()


def test_it_takes_in_what_is_ours_once(receiver: RunningReceiver) -> None:
    assert [receiver.deliver(number).status_code for number in (1, 1, 2, 1)] == [200] * 4
    receiver.stop()
    lines = receiver.taken_in()
    assert len(lines) == 2
    assert all(line.startswith("took in charge.success of paystack: ") for line in lines)
    assert "J\u00fcrgen" in lines[0]


def test_it_takes_either_secret_while_they_are_rotated(receiver: RunningReceiver) -> None:
    stranger = new_secret()
    for number, secrets in enumerate([(NEW,), (OLD,), (NEW, OLD), (stranger, OLD)]):
        assert receiver.deliver(number, secrets=secrets).ok, secrets


def test_it_refuses_what_is_not_ours_or_not_of_now(receiver: RunningReceiver) -> None:
    assert receiver.deliver(1, secrets=(new_secret(),)).status_code == 400
    for seconds in (-TOLERANCE_SECONDS - 5, TOLERANCE_SECONDS + 5):
        assert receiver.deliver(2, at=seconds).status_code == 400
    for seconds in (-TOLERANCE_SECONDS + 5, TOLERANCE_SECONDS - 5):
        assert receiver.deliver(3, at=seconds).ok
    assert receiver.deliver(4, body=b"x" * (2 * 1024 * 1024 + 1)).ok is False
    receiver.stop()
    assert len(receiver.taken_in()) == 1


def test_its_connection_serves_the_next_event(receiver: RunningReceiver) -> None:
    for number in range(5):
        assert receiver.deliver(number, body=json.dumps({"number": number}).encode()).ok
    assert len(receiver.transport._idle) == 1


def test_the_guide_names_every_header_that_is_sent(ground: Ground) -> None:
    with ground.server(answering(b"")) as server:
        assert ground.deliver(server, message=MESSAGE).ok
    sent = set(headers_of(server.requests[0]))
    told = set(re.findall(r"^\| `([a-z-]+)` \|", GUIDE, re.MULTILINE))
    assert sent - told == {"host", "accept", "accept-encoding", "content-length"}
    assert told <= sent


def test_the_guide_tells_the_numbers_of_the_code() -> None:
    patience = Patience()
    assert (patience.attempts, patience.attempt_seconds) == (3, 6.0)
    assert "Up to three attempts" in GUIDE
    assert "An attempt has 6 seconds" in GUIDE
    first, second, _ = (wait / 1000 for wait in patience.waits_milliseconds)
    assert f"about {first} and {second} seconds" in GUIDE
    assert f"{MOST_BODY_BYTES // 1024} KiB" in GUIDE
    assert f"more than {TOLERANCE_SECONDS // 60} minutes away" in GUIDE
    assert (LIMITS.first_hold_seconds, LIMITS.most_hold_seconds) == (30, 15 * 60)
    assert "first half a minute and at most 15" in GUIDE

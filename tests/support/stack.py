"""The real stack of template.yaml, started in the test's own process: front, functions, queues, schedules, Postgres."""

import io
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from local import send
from local.lambda_runtime import Throttled
from local.postgres import PostgresServer, free_port, stop_leftover
from local.supervisor import BACKUP_FOLDER, RunOptions, Supervisor
from local.terminal import Terminal
from tests.support.postgres import FAST_SETTINGS, chosen_binaries, new_folder


@dataclass
class RunningStack:
    """A stack that runs; `facts` is what stack.json says."""

    supervisor: Supervisor
    facts: dict[str, Any]
    output: io.StringIO

    @property
    def folder(self) -> Path:
        """Return the folder that stands for `.local`."""
        return self.supervisor.options.folder

    @property
    def lines(self) -> list[str]:
        """Return what the terminal has shown so far."""
        return self.output.getvalue().splitlines()

    def send(self, gateway: str, body: bytes, *, secret: str = "") -> tuple[int, str]:
        """Sign and send an event through the front door; return status and answer."""
        return send.send(gateway, body, self.facts, secret=secret)

    def stop_postgres(self) -> None:
        """Let Postgres go away, as in an outage."""
        self.supervisor.stop_postgres()

    def start_postgres(self) -> None:
        """Bring Postgres back at the same address."""
        self.supervisor.start_postgres()


def own_options(**changes: Any) -> RunOptions:
    """Return options for a stack of its own: free ports, a temporary folder, no waiting for the disk or an outage."""
    settings = {name: value for name, value in FAST_SETTINGS.items() if name != "log_min_messages"}
    options = RunOptions(
        port=free_port(),
        folder=new_folder("gatehouse-test-stack-"),
        postgres_settings={**settings, "max_connections": "100"},
        postgres_binaries=chosen_binaries(),
        first_backoff_seconds=0.2,
    )
    return replace(options, **changes)


@contextmanager
def started(options: RunOptions) -> Iterator[RunningStack]:
    """Start a stack, and leave nothing of it behind."""
    output = io.StringIO()
    supervisor = Supervisor(options, Terminal(verbose=True, output=output))
    try:
        yield RunningStack(supervisor, supervisor.start(), output)
    finally:
        supervisor.stop()
        erase(options)


def erase(options: RunOptions) -> None:
    """Remove the data of a stack, wherever Postgres had to keep it, also where the stack was killed."""
    for name in ("postgres", BACKUP_FOLDER):
        server = PostgresServer(options.folder / name, port=0, password="")
        stop_leftover(server.data)
        server.erase()
    shutil.rmtree(options.folder, ignore_errors=True)


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until the condition holds; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


AFTER_AN_OUTAGE = ("ConnectionError", "TimeoutError", "ServiceUnavailable")  # what a function fails with then


def run_now(stack: RunningStack, function: str, payload: bytes = b"{}") -> None:
    """Let a function run once, as its schedule does; after an outage it leaves Postgres alone for some seconds."""

    def has_run() -> bool:
        """Run, unless the schedule does just then: some functions may run once at a time."""
        try:
            outcome = stack.supervisor.functions[function].invoke(payload)
        except Throttled:
            return False
        assert not outcome.failed or outcome.error_type in AFTER_AN_OUTAGE, outcome
        return not outcome.failed

    wait_until(has_run, 60)


@pytest.fixture(scope="session")
def running_stack() -> Iterator[RunningStack]:
    """The stack of template.yaml for the whole session; a test that stops Postgres starts it again."""
    with started(own_options()) as stack:
        yield stack

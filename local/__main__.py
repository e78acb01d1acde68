"""`make run`: starts the whole of Gatehouse on this machine and serves until Ctrl-C."""

import argparse
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from gatehouse.errors import GatehouseError
from local import demo_data
from local.demonstration import demonstrate
from local.send import EventNotSendable
from local.supervisor import RunOptions, StartRefused, Supervisor
from local.terminal import Terminal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Somebody asked us to end while we were starting; no Exception, so that nothing on the way takes it for one."""


class Ending:
    """Turns signals into the end of the run: at once while starting, in order while serving, and only once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._starting = True
        for each in SIGNALS:
            signal.signal(each, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._starting and not self._asked.is_set():
            self._asked.set()
            raise StopRequested
        self._asked.set()

    def wait(self) -> None:
        """Return when somebody asks to end."""
        self._starting = False
        self._asked.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stack; return 0 after an orderly end and 1 when it cannot start."""
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--port", type=_port, default=8080)
    for switch, default in (("demo", 1), ("fresh", 0), ("verbose", 0)):
        parser.add_argument(f"--{switch}", type=int, choices=(0, 1), default=default)
    parser.add_argument("--template", type=Path, default=RunOptions.template)
    parser.add_argument("--folder", type=Path, default=RunOptions.folder, help="where data and stack.json are")
    options = parser.parse_args(arguments)

    terminal = Terminal(verbose=bool(options.verbose))
    supervisor = Supervisor(
        RunOptions(port=options.port, template=options.template, folder=options.folder, fresh=bool(options.fresh)),
        terminal,
    )
    ending = Ending()
    try:
        run(supervisor, terminal, ending, with_demonstration=bool(options.demo))
    except StartRefused as reason:
        if options.verbose:
            traceback.print_exc()
        print(f"gatehouse: {reason}", file=sys.stderr)
        return 1
    except StopRequested:
        terminal.say("stopped before it was ready")
        return 1
    return 0


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


def run(supervisor: Supervisor, terminal: Terminal, ending: Ending, *, with_demonstration: bool) -> None:
    """Start, show, serve until somebody asks to end, and stop."""
    began = time.monotonic()
    terminal.say("Gatehouse starts …")
    stack = supervisor.start()
    try:
        seconds = time.monotonic() - began
        if with_demonstration and supervisor.accounts:
            terminal.say("  of each gateway one signed sample event and one forged, through the front door:")
            demonstrate(supervisor.accounts, stack, terminal)
        terminal.say(f"Gatehouse is ready after {seconds:.1f} s; Ctrl-C ends it.")
        for line in hints(stack):
            terminal.say(f"  {line}")
        if with_demonstration and supervisor.accounts:
            # Beside serving: it takes some seconds, and nobody has to wait for it.
            threading.Thread(target=fill_demo, args=(supervisor, terminal), daemon=True).start()
        ending.wait()
        terminal.say("Gatehouse stops …")
    finally:
        supervisor.stop()
    terminal.say("stopped")


def fill_demo(supervisor: Supervisor, terminal: Terminal) -> None:
    """Write the demo merchants with their months of payments; say when they are there, or why they are not."""
    began = time.monotonic()
    try:
        stack = demo_data.open_stack(supervisor)
        try:
            recorded = demo_data.fill(stack, supervisor.stack)
        finally:
            for database in (stack.intake, stack.api, stack.ops):
                database.close()
    except (GatehouseError, OSError, EventNotSendable) as reason:
        terminal.say(f"  the demo data is not whole: {reason}")
        return
    if recorded:
        terminal.say(f"  demo data: {recorded} events recorded in {time.monotonic() - began:.1f} s; see the console")


def hints(stack: Mapping[str, Any]) -> list[str]:
    """Return what to try first."""
    lines = [f"the console: {stack['console_url']}"] if stack.get("console_url") else []
    lines += [f"curl {stack['api_url']}/health/database"]
    lines += [f"POST {stack['api_url']}/webhooks/… for {', '.join(stack['gateways'])}"] if stack["gateways"] else []
    lines += [f"curl -H 'Authorization: Bearer …' {stack['api_url']}/api/payments"] if stack["api_key"] else []
    lines += ["make send EVENT=events/stripe/payment_intent.succeeded.json"] if "stripe" in stack["gateways"] else []
    lines += [f"psql {stack['database_url']}"]
    if not stack["pooled_database_url"]:
        lines += ["without a pooler: pgbouncer is not on PATH"]
    return [*lines, "all addresses and secrets: .local/stack.json"]


if __name__ == "__main__":
    sys.exit(main())

"""One Lambda execution environment: a process of awslambdaric, and the Runtime API that it asks for work.

The Runtime API of an environment is one listening socket, and whoever invokes speaks on it: no thread and no queue
stands between a caller and the function. The process runs only while it has an invocation: like Lambda's, it is stopped
(SIGSTOP) after its answer and goes on (SIGCONT) with the next one, so what a function leaves to a background thread
does not happen here either.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from local.http_connection import HttpMessage, HttpReader, HttpRefused, answer_bytes, limit_time
from local.sam_expansion import ACCOUNT, REGION
from local.template import FunctionSpec

INIT_SECONDS = 10
LOOK_SECONDS = 1.0  # how often we look after a process that is silent
MOST_PAYLOAD_BYTES = 6_291_556  # 6 MB and what Lambda allows above it

_PROGRAM = Path(__file__).with_name("environment_process.py")
_API = "/2018-06-01/runtime"
_ACCEPTED = answer_bytes(202, [("content-type", "application/json")], b'{"status":"OK"}\n')
_TOO_LARGE = answer_bytes(413, [("connection", "close")], b"")
# Linux kills a child when the *thread* that started it ends, so one thread that lives as long as the runner starts all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts-environments")


@dataclass(frozen=True)
class Answer:
    """What the function said: its result, or the error as Lambda reports it."""

    payload: bytes
    error_type: str = ""
    error_message: str = ""


class EnvironmentEnded(Exception):
    """The environment cannot be used any more; `answer` is what its last caller gets."""

    def __init__(self, error_type: str, error_message: str, payload: bytes = b"") -> None:
        super().__init__(f"{error_type}: {error_message}")
        words = json.dumps({"errorType": error_type, "errorMessage": error_message}).encode()
        self.answer = Answer(payload or words, error_type, error_message)


class _TimeOver(Exception):
    """The function did not answer in time."""


class LambdaEnvironment:
    """One process of a function; used by one caller at a time."""

    def __init__(self, spec: FunctionSpec, variables: dict[str, str], on_line: Callable[[str, str], None]) -> None:
        self.is_initialised = False
        self._spec = spec
        self._on_line = on_line
        self._deadline = 0.0
        self._is_frozen = False
        self._asks_for_work = False
        self._connection: socket.socket | None = None
        self._reader = self._new_reader()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4)
        api = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._process = _starter.submit(_start, spec, {**variables, "AWS_LAMBDA_RUNTIME_API": api}).result()
        self._process_handle = os.pidfd_open(self._process.pid)
        self._poll = select.poll()
        self._poll.register(self._listener, select.POLLIN)
        self._poll.register(self._process_handle, select.POLLIN)
        self._log_thread = threading.Thread(target=self._pass_lines_on, name=f"logs-{spec.logical_id}", daemon=True)
        self._log_thread.start()

    def initialise(self, request_id: str) -> None:
        """Return when the function is imported and asks for work."""
        seconds = max(INIT_SECONDS, self._spec.timeout_seconds)
        self._deadline = time.monotonic() + seconds
        try:
            message = self._next_message(request_id)
        except _TimeOver as error:
            raise self._timed_out(request_id, seconds) from error
        if message.target == f"{_API}/init/error":
            self._send(_ACCEPTED)
            report = json.loads(message.body)
            raise EnvironmentEnded(report["errorType"], report["errorMessage"], message.body)
        self._asks_for_work = True
        self.is_initialised = True

    def invoke(self, request_id: str, payload: bytes) -> Answer:
        """Give the function one event and return its answer; raise EnvironmentEnded when it died of it."""
        self._thaw()
        self._deadline = time.monotonic() + self._spec.timeout_seconds
        try:
            while not self._asks_for_work:
                self._asks_for_work = self._next_message(request_id).target == f"{_API}/invocation/next"
            self._asks_for_work = False
            self._send(self._event(request_id, payload))
            return self._answer(request_id, self._next_message(request_id))
        except _TimeOver as error:
            raise self._timed_out(request_id, self._spec.timeout_seconds) from error

    def freeze(self) -> None:
        """Stop the process and all that it started until the next invocation."""
        if not self._is_frozen:
            self._is_frozen = True
            self._signal(signal.SIGSTOP)

    def kill(self) -> None:
        """Kill the process and all that it started, frozen or not; whoever waits for its answer sees it end."""
        self._signal(signal.SIGKILL)

    def end(self) -> None:
        """Kill the process and let go of everything that it used; nobody may be waiting for it."""
        self.kill()
        self._process.wait()
        self._log_thread.join(timeout=1)  # its last words; a grandchild may hold the pipe open for longer
        if self._connection is not None:
            self._connection.close()
        self._listener.close()
        os.close(self._process_handle)

    def _answer(self, request_id: str, message: HttpMessage) -> Answer:
        place = f"{_API}/invocation/{request_id}"
        if message.target == f"{place}/error":
            self._send(_ACCEPTED)
            report = json.loads(message.body)
            return Answer(message.body, report["errorType"], report["errorMessage"])
        if message.target != f"{place}/response":
            raise EnvironmentEnded("Runtime.InvalidRequest", f"the runtime client asked for {message.target}")
        self._send(_ACCEPTED)
        return Answer(message.body)

    def _next_message(self, request_id: str) -> HttpMessage:
        """Return the next request of the runtime client."""
        while True:
            try:
                if self._reader.wait():
                    return self._reader.read()
            except HttpRefused as refused:
                if refused.status == 413:
                    self._send(_TOO_LARGE)
                    raise EnvironmentEnded(
                        "Function.ResponseSizeTooLarge",
                        f"Response payload size exceeded maximum allowed payload size ({MOST_PAYLOAD_BYTES} bytes).",
                    ) from refused
                raise EnvironmentEnded("Runtime.InvalidRequest", "the runtime client broke off") from refused
            except ProcessLookupError as error:
                raise self._exited(request_id) from error

    def _receive(self) -> bytes:
        """Return what the runtime client has sent; b"" when it has opened or closed a connection instead."""
        while True:
            seconds = self._deadline - time.monotonic()
            if self._connection is None:
                ready = {descriptor for descriptor, _ in self._poll.poll(max(0.0, seconds * 1000))}
                if self._listener.fileno() in ready:
                    self._accept()
                    return b""
                if self._process_handle in ready:
                    raise ProcessLookupError(self._process.pid)
                raise _TimeOver
            if seconds <= 0:
                raise _TimeOver
            if (received := self._received_within(min(seconds, LOOK_SECONDS))) is not None:
                return received
            if self._poll.poll(0):  # it died and a child of its own holds the connection, or it opened a new one
                self._drop_connection()
                return b""

    def _received_within(self, seconds: float) -> bytes | None:
        """Return what arrives on the connection, b"" when it is closed, None when nothing happens in this time."""
        connection = self._connection
        if connection is None:
            return b""
        limit_time(connection, seconds)
        try:
            received = connection.recv(262_144)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            received = b""
        if not received:
            self._drop_connection()
        return received

    def _accept(self) -> None:
        self._connection, _ = self._listener.accept()
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._new_reader()

    def _drop_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _new_reader(self) -> HttpReader:
        # A failed invocation carries its stack trace in a header too, of up to a MiB.
        return HttpReader(self._receive, most_body_bytes=MOST_PAYLOAD_BYTES, most_head_bytes=2**21)

    def _send(self, answer: bytes) -> None:
        if self._connection is not None:
            try:
                self._connection.sendall(answer)
            except (ConnectionError, BlockingIOError):
                self._drop_connection()  # why it is gone shows when we next wait for the process

    def _event(self, request_id: str, payload: bytes) -> bytes:
        spec = self._spec
        return answer_bytes(
            200,
            [
                ("content-type", "application/json"),
                ("lambda-runtime-aws-request-id", request_id),
                ("lambda-runtime-deadline-ms", str(int((time.time() + spec.timeout_seconds) * 1000))),
                ("lambda-runtime-invoked-function-arn", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{spec.name}"),
                ("lambda-runtime-trace-id", f"Root=1-{int(time.time()):08x}-{uuid4().hex[:24]};Sampled=0"),
            ],
            payload,
        )

    def _thaw(self) -> None:
        if self._is_frozen:
            self._is_frozen = False
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return  # the whole group is gone; who waits for the process will see it

    def _timed_out(self, request_id: str, seconds: float) -> EnvironmentEnded:
        message = f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
        self._on_line(self._spec.name, message)
        return EnvironmentEnded("Sandbox.Timedout", message)

    def _exited(self, request_id: str) -> EnvironmentEnded:
        # Looked at and not reaped: until `end` has killed its group, nobody else may get this process id.
        found = os.waitid(os.P_PIDFD, self._process_handle, os.WEXITED | os.WNOWAIT)
        if found is not None and found.si_code == os.CLD_EXITED:
            why = f"with error: exit status {found.si_status}" if found.si_status else "without providing a reason"
        else:
            why = f"with error: signal: {signal.strsignal(found.si_status) if found else 'unknown'}".lower()
        message = f"RequestId: {request_id} Error: Runtime exited {why}"
        self._log_thread.join(timeout=1)
        self._on_line(self._spec.name, message)
        return EnvironmentEnded("Runtime.ExitError", message)

    def _pass_lines_on(self) -> None:
        output = self._process.stdout
        if output is not None:
            with output:
                for line in output:
                    # awslambdaric joins the lines of a stack trace by carriage returns, to keep them together.
                    self._on_line(self._spec.name, line.decode(errors="replace").rstrip().replace("\r", " "))


def _start(spec: FunctionSpec, variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(_PROGRAM), str(os.getpid()), spec.handler],
        cwd=spec.code_folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,  # Ctrl-C in the terminal is for the runner; a freeze is for the whole group
    )

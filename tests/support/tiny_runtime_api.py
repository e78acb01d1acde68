"""The least of a Lambda Runtime API: hands one event to a function's process and keeps its answer."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Event, Thread
from typing import Any


class TinyRuntimeApi:
    """`address` is for AWS_LAMBDA_RUNTIME_API; `answer` waits for what the function makes of the one event."""

    def __init__(self, event: Any) -> None:
        self._answers: Queue[tuple[str, Any]] = Queue()
        given, body = Event(), json.dumps(event).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                if given.is_set():
                    time.sleep(3600)  # there is only one event; the process is stopped while it waits for another
                given.set()
                handler.send_response(200)
                handler.send_header("Lambda-Runtime-Aws-Request-Id", "11111111-2222-3333-4444-555555555555")
                handler.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + 30) * 1000)))
                handler.send_header(
                    "Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:123456789012:function:f"
                )
                handler.send_header("Content-Type", "application/json")  # without it the client crashes
                handler.send_header("Content-Length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def do_POST(handler) -> None:
                answer = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
                handler.send_response(202)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                self._answers.put((handler.path.rsplit("/", 1)[-1], answer))

            def log_message(handler, *_: object) -> None:
                """Say nothing: the test speaks."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.address = f"127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self) -> Iterator["TinyRuntimeApi"]:
        """Serve until the block ends."""
        thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def answer(self, still_running: Callable[[], bool], timeout_seconds: float = 30) -> tuple[str, Any]:
        """Return ("response" | "error", body), or ("gone", {}) when the process ended without a word."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            running = still_running()
            try:
                return self._answers.get(timeout=0.1)
            except Empty:
                if not running:
                    return "gone", {}
        raise TimeoutError(f"no answer within {timeout_seconds} s")

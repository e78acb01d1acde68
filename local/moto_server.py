"""The moto server: the AWS services of the local stack (SQS, Secrets Manager and the like), in a process of its own.

moto keeps everything in memory, but what lies in a queue may be the only copy of an event. So this process writes
the messages to a file when it ends, also when the runner was killed; `kept_messages` gives them to the next one.
"""

import argparse
import functools
import logging
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import Any

from local.child_process import end, start
from local.sam_expansion import ACCOUNT, REGION
from local.stack_file import write_private

START_SECONDS = 60


class MotoServer:
    """One moto server on 127.0.0.1; where a file is given, the messages of its queues are written there at its end."""

    def __init__(self, port: int, messages_file: Path | None = None) -> None:
        self.port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self._messages_file = messages_file
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process and return at once: its imports take a second that others can use."""
        command = [sys.executable, "-m", "local.moto_server", "--port", str(self.port)]
        if self._messages_file is not None:
            command += ["--messages-file", str(self._messages_file.resolve())]
        self._process = start(command, death_signal=signal.SIGTERM)

    def wait_until_ready(self) -> None:
        """Return when the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                raise RuntimeError("the moto server ended while it started: try `python -m local.moto_server --port 1`")
            if time.monotonic() > deadline:
                raise RuntimeError(f"the moto server does not answer after {START_SECONDS} seconds")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the process; what is not in the messages file is gone with it."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def _answers(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def serve() -> None:
    """Serve in this process until it is told to end."""
    arguments = argparse.ArgumentParser(description=serve.__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--messages-file", type=Path)
    options = arguments.parse_args()

    def on_end(_number: int, _frame: FrameType | None) -> None:
        if options.messages_file is not None:
            write_messages(options.messages_file)
        sys.exit(0)

    signal.signal(signal.SIGTERM, on_end)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request, which nobody reads

    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
    from werkzeug.serving import run_simple

    delete_under_lock()
    look_less()
    application = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", options.port, application, threaded=True, request_handler=MotoRequestHandler)


def delete_under_lock() -> None:
    """Keep moto 5.2.5 from losing messages: a delete rebuilds the list, without what is sent meanwhile."""
    from moto.sqs.models import Queue

    delete = Queue.delete_message

    def delete_message(self: Queue, receipt_handle: str) -> None:
        with self._messages_lock:
            named = next((each for each in self._messages if each.receipt_handle == receipt_handle), None)
            if named is None:  # unknown, gone already, or received again meanwhile
                delete(self, receipt_handle)
                return
            self._messages = [each for each in self._messages if each is not named]
            self.pending_messages.discard(named)
            self.deleted_messages.update(each for each in named.all_receipt_handles if each)

    Queue.delete_message = delete_message  # type: ignore[method-assign]  # that is the point


def look_less() -> None:
    """Spare moto what it does for each message of a queue, or for each call, again and again.

    It asks for every attribute of a queue, each of which counts the messages, to know the age of one; so a thousand
    messages that wait would cost seconds a call, which no queue of AWS does.
    """
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication
    from moto.sqs.models import Message, Queue, SQSBackend

    def fresh(self: Any, queue_name: str, message: Any) -> bool:
        kept_seconds = self.get_queue(queue_name).message_retention_period
        return bool(message.sent_timestamp / 1000 + kept_seconds > time.time())

    def visible(self: Message) -> bool:
        return time.time() * 1000 > self.visible_at

    def delayed(self: Message) -> bool:
        return time.time() * 1000 < self.delayed_until

    def to_be_received(self: Queue) -> list[Message]:
        now = time.time() * 1000
        return [each for each in self._messages if now > each.visible_at and now >= each.delayed_until]

    backend_for_host = functools.cache(DomainDispatcherApplication.get_backend_for_host)
    for owner, name, cheaper in (
        (SQSBackend, "is_message_valid_based_on_retention_period", fresh),
        (Message, "visible", property(visible)),
        (Message, "delayed", property(delayed)),
        (Queue, "messages", property(to_be_received)),
        (DomainDispatcherApplication, "get_backend_for_host", backend_for_host),
    ):
        setattr(owner, name, cheaper)


def write_messages(file: Path) -> None:
    """Write what lies in the queues, also what a consumer has just received: {queue name: [message, …]}."""
    from moto.sqs.models import sqs_backends

    queues: dict[str, list[dict[str, Any]]] = {}
    for name, queue in sqs_backends[ACCOUNT][REGION].queues.items():
        queues[name] = [{"body": each.body, "attributes": each.message_attributes} for each in queue._messages]
    if any(queues.values()):
        write_private(file, queues)


if __name__ == "__main__":
    serve()

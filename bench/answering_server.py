"""An HTTP server that answers every request at once with the same body, in a process of its own.

It stands for SQS where only our side of a call is to be measured: moto takes some milliseconds for a message.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from local.child_process import CHECKOUT
from local.http_connection import HttpReader, HttpRefused, answer_bytes


@contextmanager
def answering_server(body: bytes) -> Iterator[str]:
    """Serve until the block ends; the value is the server's URL."""
    command = [sys.executable, "-m", "bench.answering_server", body.decode()]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def serve(body: bytes) -> None:
    """Say the URL on stdout and serve for ever, a thread for each connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    answer = answer_bytes(200, [("content-type", "application/json")], body)
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_converse, args=(connection, answer), daemon=True).start()


def _converse(connection: socket.socket, answer: bytes) -> None:
    reader = HttpReader(lambda: connection.recv(65_536), most_body_bytes=2**21)
    with connection:
        try:
            while reader.wait():
                reader.read()
                connection.sendall(answer)
        except (OSError, HttpRefused):  # the client has gone
            return


if __name__ == "__main__":
    serve(sys.argv[1].encode())

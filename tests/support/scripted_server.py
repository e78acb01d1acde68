"""A TCP server that says on each connection what a test wrote for it, byte for byte; over TLS where it has a key."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

Conversation = Callable[[socket.socket, "ScriptedServer"], None]


class ScriptedServer:
    """Accepts connections one after the other; each follows the next conversation of the script."""

    def __init__(self, *conversations: Conversation, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._conversations = conversations
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopping.set()
        with suppress(OSError):
            socket.create_connection(self._listener.getsockname(), timeout=1).close()
        self._thread.join(timeout=10)
        self._listener.close()

    def read_request(self, connection: socket.socket) -> bytes:
        """Read one HTTP request with its body, and remember it."""
        request = b""
        while b"\r\n\r\n" not in request:
            request += _more(connection)
        head, _, body = request.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        while len(body) < int(lengths[0] if lengths else 0):
            body += _more(connection)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def wait(self, seconds: float) -> None:
        """Do nothing, but no longer than the test lasts."""
        self._stopping.wait(seconds)

    def _serve(self) -> None:
        for conversation in self._conversations:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopping.is_set():
                    return
                self.connections += 1
                with suppress(OSError):  # the client hung up: the test says whether it should have
                    self._converse(connection, conversation)

    def _converse(self, connection: socket.socket, conversation: Conversation) -> None:
        if self._tls is None:
            conversation(connection, self)
            return
        with self._tls.wrap_socket(connection, server_side=True) as secured:
            conversation(secured, self)


def answering(*bodies: bytes, status: str = "200 OK") -> Conversation:
    """Answer as many requests on one connection, then hang up."""

    def conversation(connection: socket.socket, server: ScriptedServer) -> None:
        for body in bodies:
            server.read_request(connection)
            connection.sendall(response(body, status))

    return conversation


def response(body: bytes, status: str = "200 OK") -> bytes:
    """Return an HTTP response with a body."""
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def nobody_listening() -> Iterator[str]:
    """Give the address of a port that refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


def _more(connection: socket.socket) -> bytes:
    if not (received := connection.recv(65536)):
        raise ConnectionResetError
    return received

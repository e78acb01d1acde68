"""Proxies that a test steers while traffic passes: strike at the Nth message, hold everything back, or fail.

proxy.strike_at(TO_SERVER, 4, lambda: ground.kill("stripe_webhook"))    in the place of the fifth message
"""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from tests.support.proxies import TO_CLIENT, TO_SERVER, CutHere, Message, ProtocolProxy

HTTP = "http"  # the code of a message that is a whole HTTP request or answer
FAILED = (
    b'HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json\r\ncontent-length: 34\r\n\r\n{"__type": '
    b'"InternalServiceError"}'
)

HIDDEN = re.compile(rb'(?<="VisibilityTimeout": )\d+')


def _soon(seconds: re.Match[bytes]) -> bytes:
    return b"1".rjust(len(seconds[0]))  # as long as it was, so that the content-length stays right


def nothing() -> None:
    """Do nothing more than the cut itself."""


@dataclass
class Strike:
    """What shall happen: after so many messages of one direction the blow, and the end of the connection."""

    direction: str
    after_messages: int
    blow: Callable[[], None]
    times: int
    left: int = 0


class SteeredProxy(ProtocolProxy):
    """Reads the Postgres protocol; behaves until it is told otherwise."""

    def __init__(self, port: int) -> None:
        self._strike: Strike | None = None
        self._may_pass = threading.Event()
        self._may_pass.set()
        self._held: tuple[str, ...] = ()
        super().__init__(port)

    def strike_at(
        self, direction: str, after_messages: int, blow: Callable[[], None] = nothing, *, times: int = 1
    ) -> None:
        """Let so many messages of a direction pass; in the place of the next do the blow and end the connection.

        With `times`, messages are counted anew after each blow, over all connections, their logins included.
        """
        with self._lock:
            self._strike = Strike(direction, after_messages, blow, times, left=after_messages)

    def disarm(self) -> int:
        """Strike no more; return how many blows were still to come."""
        with self._lock:
            strike, self._strike = self._strike, None
        return strike.times if strike else 0

    def hold(self, *directions: str) -> None:
        """Pass on nothing, or nothing of one direction, and keep every connection open: a network that swallows."""
        self._held = directions or (TO_SERVER, TO_CLIENT)
        self._may_pass.clear()

    def let_go(self) -> None:
        """Pass on what was held back, late as it is, and everything after it."""
        self._may_pass.set()

    def heal(self) -> None:
        """Behave again."""
        self.disarm()
        self.let_go()
        self.accept()

    def stop(self) -> None:
        """End everything and wait for the threads."""
        self.let_go()
        super().stop()

    def on_message(self, message: Message) -> None:
        if message.direction in self._held:
            self._may_pass.wait()
        with self._lock:
            strike = self._strike
            if strike is None or message.direction != strike.direction:
                return
            if strike.left > 0:
                strike.left -= 1
                return
            strike.times -= 1
            strike.left = strike.after_messages
            if strike.times == 0:
                self._strike = None
        strike.blow()
        raise CutHere


class AwsProxy(SteeredProxy):
    """Reads HTTP, as the functions speak it with SQS and Secrets Manager; a message is a whole request or answer.

    What a function hides in a queue for up to two minutes comes back after a second: only the waiting is cut short.
    """

    def __init__(self, port: int) -> None:
        self._is_failing = False
        super().__init__(port)

    @property
    def url(self) -> str:
        """Return the address that stands for the service's own."""
        return f"http://127.0.0.1:{self.port}"

    def fail(self) -> None:
        """Answer every request with 500, without passing it on."""
        self._is_failing = True

    def heal(self) -> None:
        """Behave again."""
        self._is_failing = False
        super().heal()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        held = b""
        try:
            while chunk := source.recv(65536):
                held += chunk
                while size := _http_size(held):
                    message, held = Message(direction, HTTP, held[:size]), held[size:]
                    self._take(message)
                    if direction == TO_SERVER and self._is_failing:
                        source.sendall(FAILED)
                    else:
                        target.sendall(HIDDEN.sub(_soon, message.data))
        except (OSError, CutHere):
            pass  # whichever side broke, both are ended below
        finally:
            with self._lock:
                self._open -= {source, target}
            for link in (source, target):
                with suppress(OSError):  # the other thread may have closed it
                    link.shutdown(socket.SHUT_RDWR)
                link.close()


def _http_size(held: bytes) -> int:
    """Return the size of the first request or answer, or 0 when it is not complete."""
    head, separator, _ = held.partition(b"\r\n\r\n")
    if not separator:
        return 0
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    size = len(head) + len(separator) + (int(length[1]) if length else 0)
    return size if len(held) >= size else 0

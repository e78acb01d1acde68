"""TCP proxies that read the Postgres protocol message by message, and count, cut or stall it.

    with CuttingProxy(server.port, cut_after_messages=3, direction=TO_SERVER) as proxy:
        database_at(proxy.address(server.url()))

Every proxy can also `refuse()` new connections (and end the open ones) and `accept()` again on the same port.
Faults in tests come from here and never from hooks in the product.
"""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

TO_SERVER = "to_server"
TO_CLIENT = "to_client"
STARTUP = "startup"  # the first message has no code letter


class CutHere(Exception):
    """Raised by a proxy's `on_message` to end the connection before this message."""


@dataclass(frozen=True)
class Message:
    """One message that passed: which way, its code letter, and all of its bytes."""

    direction: str
    code: str
    data: bytes


class ProtocolProxy:
    """Passes every message on, in threads, and remembers them in order."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.messages: list[Message] = []
        self.connections = 0
        self.port = 0
        self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def address(self, url: str) -> str:
        """Return an address of the server with this proxy in between."""
        parts = urlsplit(url)
        return url.replace(f"@{parts.hostname}:{parts.port}/", f"@127.0.0.1:{self.port}/")

    def accept(self) -> None:
        """Listen, on the same port as before if there was one."""
        if self._listener is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", self.port))
            listener.listen(64)
            self.port = int(listener.getsockname()[1])
            self._listener = listener
            self._start(self._serve, listener)

    def refuse(self) -> None:
        """End every connection, and let nobody connect."""
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits in accept()
            self._listener.close()
            self._listener = None
        self.cut_all()

    def cut_all(self) -> None:
        """End every open connection at once, as a crash would."""
        with self._lock:
            open_now, self._open = self._open, set()
        for link in open_now:
            _cut(link)

    def stop(self) -> None:
        """End everything and wait for the threads."""
        self.refuse()
        for thread in self._threads:
            thread.join(5)

    def forget(self) -> None:
        """Forget the messages that passed so far."""
        with self._lock:
            self.messages.clear()

    def on_message(self, message: Message) -> None:
        """Look at a message before it is passed on; raise CutHere to end its connection instead."""

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]  # any callable
        self._threads.append(thread)
        thread.start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # refuse() closed it
                return
            try:
                server = socket.create_connection(self._target, 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            for link in (client, server):
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._pump, client, server, TO_SERVER)
            self._start(self._pump, server, client, TO_CLIENT)

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        held = b""
        started = direction == TO_CLIENT  # only what the client says begins with a message without a letter
        try:
            while chunk := source.recv(65536):
                held += chunk
                passed = b""
                while size := _size(held, started):
                    code = chr(held[0]) if started else STARTUP
                    message, held, started = Message(direction, code, held[:size]), held[size:], True
                    try:
                        self._take(message)
                    except CutHere:
                        target.sendall(passed)
                        raise
                    passed += message.data
                target.sendall(passed)
        except (OSError, CutHere):
            pass  # whichever side broke, both are ended below
        finally:
            for link in (source, target):
                with self._lock:
                    self._open.discard(link)
                _cut(link)

    def _take(self, message: Message) -> None:
        self.on_message(message)
        with self._lock:
            self.messages.append(message)


class CountingProxy(ProtocolProxy):
    """Counts what a round trip costs."""

    @property
    def syncs(self) -> int:
        """How many Syncs the client sent."""
        return self.codes(TO_SERVER).count("S")

    @property
    def round_trips(self) -> int:
        """How often the client spoke after silence or after the server had spoken."""
        with self._lock:
            directions = [message.direction for message in self.messages]
        return sum(
            1
            for before, now in zip([TO_CLIENT, *directions], directions, strict=False)
            if (before, now) == (TO_CLIENT, TO_SERVER)
        )

    def codes(self, direction: str) -> str:
        """Return the code letters of the messages that went one way, in order."""
        with self._lock:
            return "".join(message.code for message in self.messages if message.direction == direction)


class CuttingProxy(ProtocolProxy):
    """Ends the connection instead of passing on the message after the Nth of one direction; then behaves.

    Messages are counted over all connections since the last `arm`. The first of a connection is its startup message.
    """

    def __init__(
        self, port: int, *, cut_after_messages: int | None = None, direction: str = TO_SERVER, times: int = 1
    ) -> None:
        self.cuts = 0
        self._left: int | None = None
        self._again = 0
        self._direction = direction
        self._times = times
        super().__init__(port)
        if cut_after_messages is not None:
            self.arm(cut_after_messages, direction, times)

    def arm(self, cut_after_messages: int, direction: str = TO_SERVER, times: int = 1) -> None:
        """Let so many messages of this direction pass from now on, cut, and do that so many times."""
        with self._lock:
            self._again = self._left = cut_after_messages
            self._direction = direction
            self._times = times

    def disarm(self) -> None:
        """Pass everything."""
        with self._lock:
            self._left = None

    def on_message(self, message: Message) -> None:
        with self._lock:
            if self._left is None or message.direction != self._direction:
                return
            if self._left > 0:
                self._left -= 1
                return
            self.cuts += 1
            self._times -= 1
            self._left = self._again if self._times > 0 else None
        raise CutHere


class StallingProxy(ProtocolProxy):
    """Passes on nothing more after the Nth message of one direction, and keeps the connection open: half-open."""

    def __init__(self, port: int, *, stall_after_messages: int | None = None, direction: str = TO_SERVER) -> None:
        self._left = stall_after_messages
        self._direction = direction
        self._may_pass = threading.Event()
        self._may_pass.set()
        super().__init__(port)

    def stall(self, after_messages: int = 0, direction: str = TO_SERVER) -> None:
        """Let so many messages of this direction pass from now on, and then nothing."""
        with self._lock:
            self._left, self._direction = after_messages, direction

    def release(self) -> None:
        """Pass on what was held back, and everything after it."""
        with self._lock:
            self._left = None
        self._may_pass.set()

    def stop(self) -> None:
        """End everything and wait for the threads."""
        self.release()
        super().stop()

    def on_message(self, message: Message) -> None:
        with self._lock:
            if self._left is not None and message.direction == self._direction:
                if self._left == 0:
                    self._may_pass.clear()
                else:
                    self._left -= 1
        self._may_pass.wait()


def _size(held: bytes, started: bool) -> int:
    """Return the size of the first message, or 0 when it is not complete."""
    head = 1 if started else 0
    if len(held) < head + 4:
        return 0
    size = head + int(struct.unpack_from("!i", held, head)[0])
    return size if len(held) >= size else 0


def _cut(link: socket.socket) -> None:
    with suppress(OSError):  # the other thread may have closed it
        link.shutdown(socket.SHUT_RDWR)
    link.close()

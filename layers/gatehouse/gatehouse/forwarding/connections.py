"""Speaks with the hosts of apps: TLS to the very address that was checked, and everything within one deadline.

The name is looked up once for a connection, which then goes to an address of that answer: a hostile DNS server is not
asked twice. The certificate must be for the name. Why this is not httpx: docs/decisions/0009.

Connections are kept for some seconds: a delivery over a new one took 1.6 ms of CPU, over a kept one 0.4. Safe for
several threads; each connection is in the hands of one at a time.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

from gatehouse.forwarding.deadline import Deadline
from gatehouse.forwarding.http_answer import Answer, read_answer
from gatehouse.forwarding.targets import Lookup, Target, resolve, system_lookup
from gatehouse.tls import trusting

MOST_ADDRESSES = 4  # of a name that are tried one after the other
LEAST_CONNECT_SECONDS = 1.0  # for each of them, where the deadline leaves as much
MOST_KEPT = 32
MOST_IDLE_SECONDS = 4.0  # Node hangs up after 5
MOST_AGE_SECONDS = 60.0  # then the name is looked up again, so that an app can move
PIECE_BYTES = 16 * 1024

_HUNG_UP = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Connections:
    """Exchanges requests and answers with the targets that passed `check_url`.

    Ages are told by the wall clock, which a frozen Lambda cannot stop.
    """

    def __init__(
        self,
        *,
        lookup: Lookup = system_lookup,
        trust: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lookup = lookup
        self._trust = trust
        self._now = now
        self._lock = threading.Lock()
        self._idle: list[_Connection] = []  # the one that was used last is the last

    def exchange(self, target: Target, request: bytes, deadline: Deadline) -> Answer:
        """Send a request and return its answer.

        Raise TargetRefused when the name leads where nothing may be sent, TimeoutError at the deadline, and OSError or
        AnswerUnreadable for all else that goes wrong.
        """
        try:
            if kept := self._take_kept(target):
                try:
                    return self._exchange_over(kept, request, deadline)
                except _HUNG_UP:
                    # The other side closed an idle connection, and we see it only now. It may have read the request
                    # all the same: then it gets a second one with the same webhook-id, as after any failure.
                    if kept.has_heard:
                        raise
                self._forget(target)
            return self._exchange_over(self._connect(target, deadline), request, deadline)
        except BaseException:
            self._forget(target)  # what is wrong with one connection is likely wrong with its sisters
            raise

    def close(self) -> None:
        """Hang up everything that is kept."""
        with self._lock:
            idle, self._idle = self._idle, []
        for each in idle:
            each.close()

    def _exchange_over(self, connection: "_Connection", request: bytes, deadline: Deadline) -> Answer:
        connection.has_heard = False
        try:
            connection.send(request, deadline)
            answer = read_answer(connection.receive, deadline)
        except BaseException:
            connection.close()
            raise
        if answer.is_complete:
            self._keep(connection)
        else:
            connection.close()
        return answer

    def _connect(self, target: Target, deadline: Deadline) -> "_Connection":
        addresses = self._addresses(target, deadline)[:MOST_ADDRESSES]
        sock = _connected(addresses, target.port, deadline)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.is_tls:
                sock.settimeout(deadline.left())
                # Python counts this time-out for the whole handshake, not for each of its messages.
                sock = (self._trust or trusting()).wrap_socket(sock, server_hostname=target.host)
        except BaseException:
            sock.close()
            raise
        return _Connection(_key(target), sock, self._now())

    def _addresses(self, target: Target, deadline: Deadline) -> tuple[str, ...]:
        """Resolve in a thread of its own: the system's resolver knows no time-out of ours, and its own is longer."""
        resolved: Future[tuple[str, ...]] = Future()

        def look_up() -> None:
            try:
                resolved.set_result(resolve(target, self._lookup))
            except Exception as reason:  # noqa: BLE001 - it is raised by `result` in the thread that waits
                resolved.set_exception(reason)

        threading.Thread(target=look_up, name=f"look up {target.host}", daemon=True).start()
        return resolved.result(deadline.left())

    # ── What is kept ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _take_kept(self, target: Target) -> "_Connection | None":
        key = _key(target)
        while True:
            with self._lock:
                self._hang_up_old()
                found = next((each for each in reversed(self._idle) if each.key == key), None)
                if found is None:
                    return None
                self._idle.remove(found)
            if found.is_quiet():
                return found
            found.close()

    def _keep(self, connection: "_Connection") -> None:
        connection.used_at = self._now()
        with self._lock:
            self._idle.append(connection)
            self._hang_up_old()

    def _forget(self, target: Target) -> None:
        with self._lock:
            for each in [each for each in self._idle if each.key == _key(target)]:
                self._idle.remove(each)
                each.close()

    def _hang_up_old(self) -> None:
        now = self._now()
        good = [
            each
            for each in self._idle[-MOST_KEPT:]
            if 0 <= now - each.used_at < MOST_IDLE_SECONDS and 0 <= now - each.opened_at < MOST_AGE_SECONDS
        ]
        for each in self._idle:
            if each not in good:
                each.close()
        self._idle = good


class _Key(NamedTuple):
    host: str
    port: int
    is_tls: bool
    is_local: bool


class _Connection:
    """One open connection."""

    def __init__(self, key: _Key, sock: socket.socket, opened_at: float) -> None:
        self.key = key
        self.opened_at = opened_at
        self.used_at = opened_at
        self.has_heard = False  # anything since the last request
        self._sock = sock

    def send(self, request: bytes, deadline: Deadline) -> None:
        """Send all of it; the time-out is that of the whole and not of each piece, with TLS and without."""
        self._sock.settimeout(deadline.left())
        self._sock.sendall(request)

    def receive(self, deadline: Deadline) -> bytes:
        """Return what comes next; b"" when the other side has hung up."""
        self._sock.settimeout(deadline.left())
        received = self._sock.recv(PIECE_BYTES)
        self.has_heard = self.has_heard or bool(received)
        return received

    def is_quiet(self) -> bool:
        """Tell whether the other side has neither hung up nor said anything that was not asked for."""
        self._sock.settimeout(0)
        try:
            self._sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Hang up."""
        self._sock.close()


def _key(target: Target) -> _Key:
    return _Key(target.host, target.port, target.is_tls, target.is_local)


def _connected(addresses: tuple[str, ...], port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers; none of them takes the time of all others."""
    failure: OSError | None = None
    for index, address in enumerate(addresses):
        left = deadline.left()
        try:
            return _connected_to(address, port, min(left, max(left / (len(addresses) - index), LEAST_CONNECT_SECONDS)))
        except OSError as reason:
            failure = reason
    raise failure or OSError("there is no address to connect to")


def _connected_to(address: str, port: int, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock

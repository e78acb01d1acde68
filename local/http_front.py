"""The front door of the local stack: an HTTP server that does to a request what API Gateway's HTTP API does.

One thread serves one connection and waits for the function itself, so nothing is handed from thread to thread.
"""

import json
import re
import secrets
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from typing import Protocol

from local.api_gateway_event import (
    BadTarget,
    HttpAnswer,
    answer_of_function,
    api_gateway_event,
    failed_answer,
    message_answer,
    read_target,
)
from local.http_connection import HttpMessage, HttpReader, HttpRefused, answer_bytes, limit_time
from local.lambda_runtime import Invocation, PayloadTooLarge, Throttled
from local.template import Route

MOST_BODY_BYTES = 6 * 1024 * 1024  # what Lambda takes; API Gateway itself would take 10 MB
MOST_CONNECTIONS = 256
HEAD_SECONDS = 10.0
BODY_SECONDS = 30.0
IDLE_SECONDS = 75.0
LINGER_SECONDS = 2.0
STOP_SECONDS = 10.0

OnRequest = Callable[[str, str, str, int, float, str], None]


class Invocable(Protocol):
    """A function that can be invoked and waits for the answer."""

    def invoke(self, payload: bytes) -> Invocation:
        """Run the function once with this event."""


class TokenBucket:
    """A throttle: `rate` requests a second on average, `burst` of them at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._tokens = float(burst)
        self._at = clock()
        self._lock = threading.Lock()

    def takes(self) -> bool:
        """Tell whether one more request may pass now, and count it when it may."""
        with self._lock:
            now = self._clock()
            self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._rate)
            self._at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True


@dataclass(frozen=True)
class Match:
    """The route of a request, and what its path says in the places of the route's parameters."""

    route: Route
    path_parameters: dict[str, str]


class RouteTable:
    """Finds the route of a request as API Gateway does: full match, then greedy, then $default."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._default = next((route for route in routes if route.path == "$default"), None)
        patterns = [(_pattern(route.path), route) for route in routes if route.path != "$default"]
        self._patterns = sorted(patterns, key=lambda one: _priority(one[1]))

    def find(self, method: str, path: str) -> Match | None:
        """Return the route that takes this request, or None."""
        for pattern, route in self._patterns:
            if route.method in (method, "ANY") and (found := pattern.fullmatch(path)):
                names = re.findall(r"\{([^}+]+)\+?\}", route.path)
                return Match(route, dict(zip(names, found.groups(), strict=True)))
        return Match(self._default, {}) if self._default else None

    def methods(self, path: str) -> list[str]:
        """Return the methods that the path is known for."""
        return sorted({route.method for pattern, route in self._patterns if pattern.fullmatch(path)})


class HttpFront:
    """Serves the routes of the template on 127.0.0.1."""

    def __init__(
        self,
        routes: Sequence[Route],
        functions: Mapping[str, Invocable],
        port: int,
        *,
        on_request: OnRequest = lambda *_: None,
        on_error: Callable[[str], None] = lambda _: None,
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self._routes = RouteTable(routes)
        self._functions = functions
        self._on_request = on_request
        self._on_error = on_error
        self._head_seconds = head_seconds
        self._throttles = {route: _throttle(route) for route in routes}
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._idle: set[socket.socket] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._accept, name="http-front", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests, finish those that are under way, and return."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = True
            idle = list(self._idle)
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in idle:
            _shut(connection)
        deadline = time.monotonic() + STOP_SECONDS
        with self._lock:
            threads = list(self._connections.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self) -> None:
        while True:
            self._places.acquire()
            try:
                connection, (source_ip, _) = self._listener.accept()
            except OSError:
                return  # the listener is closed
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection, source_ip), daemon=True)
            with self._lock:
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket, source_ip: str) -> None:
        client = _Client(connection, self._head_seconds)
        try:
            while self._wait_for_request(connection, client):
                if not self._serve_one(client, source_ip):
                    break
            client.say_goodbye()
        except OSError:
            pass  # the client went away: there is nobody left to tell
        finally:
            with self._lock:
                del self._connections[connection]
            connection.close()
            self._places.release()

    def _wait_for_request(self, connection: socket.socket, client: "_Client") -> bool:
        with self._lock:
            if self._stopping:
                return False
            self._idle.add(connection)
        try:
            return client.wait()
        finally:
            with self._lock:
                self._idle.discard(connection)

    def _serve_one(self, client: "_Client", source_ip: str) -> bool:
        """Answer one request; return whether the connection can be used again."""
        begun = time.perf_counter()
        request_id = b64encode(secrets.token_bytes(11)).decode()  # 16 characters, as API Gateway's are
        method, path, match = "-", "-", None
        keeps_alive = False
        try:
            message = client.read()
            method = message.method
            target = read_target(message.target)
            path = target.path
            match = self._routes.find(method, path)
            keeps_alive = message.keeps_alive and not self._stopping
            if match is None:
                answer = self._no_route(path)
            else:
                event = api_gateway_event(
                    message,
                    target,
                    route_key=match.route.key,
                    path_parameters=match.path_parameters,
                    source_ip=source_ip,
                    port=self.port,
                    request_id=request_id,
                )
                answer = self._answer_of(match.route, json.dumps(event, ensure_ascii=False).encode())
        except HttpRefused as refused:
            answer = message_answer(refused.status, _words(refused))
        except BadTarget:
            answer = message_answer(400, "Bad Request")
        headers = [*answer.headers, ("apigw-requestid", request_id), ("date", formatdate(usegmt=True))]
        if not keeps_alive:
            headers.append(("connection", "close"))
        client.send(answer_bytes(answer.status, headers, answer.body, is_head=method == "HEAD"))
        milliseconds = (time.perf_counter() - begun) * 1000
        route_key, function_id = (match.route.key, match.route.function_id) if match else ("", "")
        self._on_request(method, route_key, path, answer.status, milliseconds, function_id)
        return keeps_alive

    def _no_route(self, path: str) -> HttpAnswer:
        # API Gateway says 404 for a wrong method too; 405 tells a developer more.
        if methods := self._routes.methods(path):
            answer = message_answer(405, "Method Not Allowed")
            return HttpAnswer(405, [*answer.headers, ("allow", ", ".join(methods))], answer.body)
        return message_answer(404, "Not Found")

    def _answer_of(self, route: Route, event: bytes) -> HttpAnswer:
        throttle = self._throttles[route]
        if throttle is not None and not throttle.takes():
            return message_answer(429, "Too Many Requests")
        try:
            invocation = self._functions[route.function_id].invoke(event)
        except PayloadTooLarge:
            return message_answer(413, "Request Entity Too Large")
        except Throttled:
            return message_answer(503, "Service Unavailable")
        except Exception as error:  # noqa: BLE001 - whatever it is, one request must not end the server; it is reported
            self._on_error(f"{route.function_id}: {type(error).__name__}: {error}")
            return failed_answer()
        return failed_answer() if invocation.failed else answer_of_function(invocation.payload)


class _Client:
    """One client's connection, with the patience that we have for it."""

    def __init__(self, connection: socket.socket, head_seconds: float) -> None:
        self._connection = connection
        self._head_seconds = head_seconds
        self._deadline = 0.0
        self._reader = HttpReader(
            self._receive,
            most_body_bytes=MOST_BODY_BYTES,
            expects_continue=lambda: self.send(answer_bytes(100, [], b"")),
        )

    def wait(self) -> bool:
        """Return when a request begins; False when the client has gone, or stayed silent for too long."""
        self._deadline = time.monotonic() + IDLE_SECONDS
        try:
            return self._reader.wait()
        except HttpRefused:
            return False

    def read(self) -> HttpMessage:
        """Read the request whole, within `head_seconds` for its head and BODY_SECONDS more for its body."""
        self._deadline = time.monotonic() + self._head_seconds
        return self._reader.read(lambda: self._allow(BODY_SECONDS))

    def send(self, answer: bytes) -> None:
        """Send an answer; a client that does not take it in time is given up."""
        limit_time(self._connection, BODY_SECONDS)
        self._connection.sendall(answer)

    def say_goodbye(self) -> None:
        """Close our side, then read on for a moment: closing on unread bytes would destroy the answer on its way."""
        self._connection.shutdown(socket.SHUT_WR)
        self._deadline = time.monotonic() + LINGER_SECONDS
        try:
            while self._receive():
                pass
        except HttpRefused:
            return  # it had its time

    def _allow(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _receive(self) -> bytes:
        limit_time(self._connection, self._deadline - time.monotonic())
        try:
            return self._connection.recv(65_536)
        except BlockingIOError as error:
            raise HttpRefused(408) from error


def _words(refused: HttpRefused) -> str:
    return "Request Entity Too Large" if refused.status == 413 else refused.reason


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that waits for a request
    except OSError:
        return  # the client was faster


def _throttle(route: Route) -> TokenBucket | None:
    if route.rate is None and route.burst is None:
        return None
    rate = float(route.burst or 0) if route.rate is None else route.rate
    return TokenBucket(rate, max(1, round(rate)) if route.burst is None else route.burst)


def _pattern(path: str) -> re.Pattern[str]:
    """Return the pattern of a route's path: {name} is one segment, {name+} all that follow."""
    parts = re.split(r"(\{[^}]+\})", path)
    return re.compile(
        "".join(
            ("(.+)" if part.endswith("+}") else "([^/]+)") if part.startswith("{") else re.escape(part)
            for part in parts
        ),
        re.DOTALL,
    )


def _priority(route: Route) -> tuple[tuple[int, ...], bool]:
    """Return what sorts a literal segment before a parameter, that before a greedy one, and a method before ANY."""
    ranks = tuple(2 if part.endswith("+}") else 1 if part.startswith("{") else 0 for part in route.path.split("/"))
    return ranks, route.method == "ANY"

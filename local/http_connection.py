"""Reads HTTP/1.1 requests from a socket, within limits, and writes answers: what the front and the Runtime API share.

Written by hand and strict: one event passes through it twice, and a general parser costs more than the function.
"""

import re
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/1\.([01])" % _TOKEN.pattern)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_REASONS = {status.value: status.phrase for status in HTTPStatus}
MOST_HEAD_BYTES = 10_240  # API Gateway's limit for request line and headers together


class HttpRefused(Exception):
    """The request cannot be answered as it is; `status` says how to refuse it."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS[status])
        self.status = status
        self.reason = _REASONS[status]


@dataclass(slots=True)
class HttpMessage:
    """One request: header names in lower case, in the order of their arrival, bytes as they came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    keeps_alive: bool


class HttpReader:
    """Reads one request after the other from `receive`, which returns b"" when the other side has closed."""

    def __init__(
        self,
        receive: Callable[[], bytes],
        *,
        most_body_bytes: int,
        most_head_bytes: int = MOST_HEAD_BYTES,
        expects_continue: Callable[[], None] = lambda: None,
    ) -> None:
        self._receive = receive
        self._most_body_bytes = most_body_bytes
        self._most_head_bytes = most_head_bytes
        self._expects_continue = expects_continue
        self._buffer = b""

    def wait(self) -> bool:
        """Return when the next request begins to arrive; False when the other side has closed instead."""
        while not (buffer := self._buffer.lstrip(b"\r\n")):  # some clients send a line break after a body
            self._buffer = self._receive()
            if not self._buffer:
                return False
        self._buffer = buffer
        return True

    def read(self, on_head: Callable[[], None] = lambda: None) -> HttpMessage:
        """Read one request whole; raise HttpRefused when it is wrong, too large or cut off."""
        end = self._buffer.find(b"\r\n\r\n")
        while end < 0:
            if len(self._buffer) > self._most_head_bytes:
                raise HttpRefused(431)
            self._receive_more()
            end = self._buffer.find(b"\r\n\r\n")
        if end > self._most_head_bytes:
            raise HttpRefused(431)
        lines = self._buffer[:end].split(b"\r\n")
        self._buffer = self._buffer[end + 4 :]
        on_head()
        first = _REQUEST_LINE.fullmatch(lines[0])
        if first is None:
            raise HttpRefused(400)
        headers = [_header(line) for line in lines[1:]]
        is_http_1_1 = first[3] == b"1"
        if is_http_1_1 and sum(name == "host" for name, _ in headers) != 1:
            raise HttpRefused(400)
        closes = any("close" in value.lower() for name, value in headers if name == "connection")
        return HttpMessage(
            method=first[1].decode(),
            target=first[2].decode(),
            headers=headers,
            body=self._body(headers),
            keeps_alive=is_http_1_1 and not closes,
        )

    def _body(self, headers: list[tuple[str, str]]) -> bytes:
        lengths = {value for name, value in headers if name == "content-length"}
        codings = [value.lower() for name, value in headers if name == "transfer-encoding"]
        if not lengths and not codings:
            return b""
        if (lengths and codings) or len(lengths) > 1 or (codings and codings != ["chunked"]):
            raise HttpRefused(400)  # two readings of one request are how requests are smuggled
        length = lengths.pop() if lengths else "0"
        if not (length.isascii() and length.isdigit()):
            raise HttpRefused(400)
        if len(length) > 18 or int(length) > self._most_body_bytes:
            raise HttpRefused(413)
        if any(name == "expect" for name, _ in headers):
            self._expects_continue()
        return self._chunked() if codings else self._take(int(length))

    def _chunked(self) -> bytes:
        parts: list[bytes] = []
        total = 0
        while True:
            size = _CHUNK_SIZE.fullmatch(self._line())
            if size is None:
                raise HttpRefused(400)
            length = int(size[1], 16)
            total += length
            if total > self._most_body_bytes:
                raise HttpRefused(413)
            if length == 0:
                for _ in range(100):  # trailers, which nobody reads
                    if not self._line():
                        return b"".join(parts)
                raise HttpRefused(431)
            parts.append(self._take(length))
            if self._take(2) != b"\r\n":
                raise HttpRefused(400)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > self._most_head_bytes:
                raise HttpRefused(431)
            self._receive_more()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _take(self, length: int) -> bytes:
        if len(self._buffer) < length:
            parts = [self._buffer]
            missing = length - len(self._buffer)
            while missing > 0:
                part = self._receive()
                if not part:
                    raise HttpRefused(400)
                parts.append(part)
                missing -= len(part)
            self._buffer = b"".join(parts)
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def _receive_more(self) -> None:
        part = self._receive()
        if not part:
            raise HttpRefused(400)
        self._buffer += part


def answer_bytes(status: int, headers: Iterable[tuple[str, str]], body: bytes, *, is_head: bool = False) -> bytes:
    """Return an HTTP/1.1 answer; its length is added, and a body left out where there cannot be one."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    has_body = status >= 200 and status not in (204, 304)
    if has_body:
        lines.append(f"content-length: {len(body)}")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    return head + body if has_body and not is_head else head


def limit_time(connection: socket.socket, seconds: float) -> None:
    """Let each later recv and send of a blocking socket raise BlockingIOError after this time.

    The kernel keeps the time: Python's own time-outs add a poll and an ioctl to each call, and each of those hands the
    interpreter to another thread, which cost a third of all requests when many clients were served at once.
    """
    microseconds = max(1000, int(seconds * 1_000_000))
    duration = struct.pack("ll", *divmod(microseconds, 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, duration)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, duration)


def _header(line: bytes) -> tuple[str, str]:
    name, colon, value = line.partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
        raise HttpRefused(400)
    return name.decode().lower(), value.strip(b" \t").decode("latin-1")

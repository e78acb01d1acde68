"""Reads as much of an HTTP/1.1 answer as a delivery needs: the status, the headers, the beginning of the body.

Whoever answers is not trusted. Nothing is read without a bound of bytes, for the head and for the body, and one of time
for both. What follows an answer without having been asked for ends the connection, so that it can never be taken for
the answer to the next delivery.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from gatehouse.errors import GatehouseError
from gatehouse.forwarding.deadline import Deadline

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 4096
# The status has been said, so a body that takes its time must not keep the next delivery waiting.
BODY_SECONDS = 1.0

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?", re.DOTALL)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)", re.DOTALL)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?", re.DOTALL)

type Receive = Callable[[Deadline], bytes]


class AnswerUnreadable(GatehouseError):
    """What came back is no HTTP answer."""

    code = "ANSWER_UNREADABLE"
    retry_helps = True


class Unanswered(ConnectionError):
    """The other side hung up before its answer was complete."""


class Answer(NamedTuple):
    """An answer; `is_complete` when it was read to its end and the connection is good for another request."""

    status: int
    headers: dict[str, str]
    beginning: bytes
    is_complete: bool


def read_answer(receive: Receive, deadline: Deadline) -> Answer:
    """Read one answer from `receive`, which returns b"" when the other side has hung up.

    Raise AnswerUnreadable, Unanswered, or TimeoutError when the head is not there in time. A body that is too long or
    too slow is left unread, and the status counts.
    """
    reader = _Reader(receive, deadline)
    head = _read_head(reader)
    while head.status < 200:  # 100 Continue, 103 Early Hints: more is to come
        if head.status == 101:
            raise AnswerUnreadable("the answer switches to a protocol that nobody asked for")
        head = _read_head(reader)
    reader.deadline = deadline.sooner(BODY_SECONDS)
    try:
        has_ended = _read_body(reader, head)
    except TimeoutError:
        has_ended = False
    return Answer(
        head.status,
        head.headers,
        bytes(reader.body),
        is_complete=has_ended and head.stays_open and not reader.left_over,
    )


class _Head(NamedTuple):
    status: int
    headers: dict[str, str]
    stays_open: bool


class _Reader:
    """Takes bytes from the connection piece by piece, up to a bound."""

    def __init__(self, receive: Receive, deadline: Deadline) -> None:
        self.deadline = deadline
        self.body = bytearray()
        self._receive = receive
        self._buffer = bytearray()
        self._head_bytes = 0

    @property
    def left_over(self) -> bool:
        return bool(self._buffer)

    def line(self) -> bytes:
        """Return the next line of the head or of a chunk's frame, without its end."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            if self._head_bytes + len(self._buffer) > MOST_HEAD_BYTES:
                raise AnswerUnreadable(f"the head of the answer has more than {MOST_HEAD_BYTES} bytes")
            self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        self._head_bytes += end + 2
        if self._head_bytes > MOST_HEAD_BYTES:
            raise AnswerUnreadable(f"the head of the answer has more than {MOST_HEAD_BYTES} bytes")
        return line

    def take_body(self, length: int) -> bool:
        """Read so many bytes of the body; False when that is more than is kept, and reading stops."""
        wanted = min(length, MOST_BODY_BYTES - len(self.body))
        while wanted:
            if not self._buffer:
                self._more()
            part = self._buffer[:wanted]
            self.body += part
            del self._buffer[: len(part)]
            wanted -= len(part)
            length -= len(part)
        return length == 0

    def take_all(self) -> None:
        """Read the body until the other side hangs up, or enough is there."""
        try:
            self.take_body(MOST_BODY_BYTES)
        except Unanswered:
            return  # the end of such a body looks like this

    def _more(self) -> None:
        part = self._receive(self.deadline)
        if not part:
            raise Unanswered("hung up before the end of the answer")
        self._buffer += part


def _read_head(reader: _Reader) -> _Head:
    first = _STATUS_LINE.fullmatch(reader.line())
    if first is None:
        raise AnswerUnreadable("the answer does not begin as one of HTTP/1.1")
    headers: dict[str, str] = {}
    while line := reader.line():
        header = _HEADER.fullmatch(line)
        if header is None:
            raise AnswerUnreadable("the answer has a header that is none")
        name, value = header[1].decode().lower(), header[2].decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    closes = "close" in headers.get("connection", "").lower()
    return _Head(int(first[2]), headers, stays_open=first[1] == b"1" and not closes)


def _read_body(reader: _Reader, head: _Head) -> bool:
    """Read the body as far as it is kept; return whether its end was reached, and is not that of the connection."""
    if head.status in (204, 304):
        return True
    coding, length = head.headers.get("transfer-encoding"), head.headers.get("content-length")
    if coding is not None and length is None and coding.lower() == "chunked":
        return _read_chunks(reader)
    if coding is None and length is not None and length.isascii() and length.isdigit() and len(length) <= 18:
        return reader.take_body(int(length))
    reader.take_all()  # without a length, or with one that can be read in two ways
    return False


def _read_chunks(reader: _Reader) -> bool:
    while True:
        size = _CHUNK_SIZE.fullmatch(reader.line())
        if size is None:
            return False
        length = int(size[1], 16)
        if length == 0:
            while reader.line():  # trailers, which nobody reads
                pass
            return True
        if not reader.take_body(length) or reader.line():
            return False

"""Answers are read strictly and within bounds, however they come apart on their way."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.forwarding.deadline import Deadline
from gatehouse.forwarding.http_answer import (
    MOST_BODY_BYTES,
    MOST_HEAD_BYTES,
    Answer,
    AnswerUnreadable,
    Unanswered,
    read_answer,
)

pytestmark = pytest.mark.req("R3")

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
HINTS = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


def read(*pieces: bytes, then: Callable[[], bytes] = lambda: b"") -> Answer:
    """Read an answer that comes in these pieces; then the other side hangs up, or does what is given."""
    waiting = iter(pieces)

    def receive(deadline: Deadline) -> bytes:
        deadline.left()
        return next(waiting, None) or then()

    return read_answer(receive, Deadline(60))


@pytest.mark.parametrize(
    ("raw", "status", "body", "is_complete"),
    [
        (OK + b"content-length: 2\r\n\r\nok", 200, b"ok", True),
        (OK + b"Content-Length:0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b"", True),
        (CHUNKED + b"2\r\nok\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 200, b"ok0123456789", True),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n0\r\nx-trailer: 1\r\n\r\n", 200, b"", True),
        (HINTS + OK + b"content-length: 0\r\n\r\n", 200, b"", True),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
        (OK + b"connection: Close\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
        (OK + b"\r\nuntil it hangs up", 200, b"until it hangs up", False),
        (OK + b"content-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", 200, b"ok", False),  # an answer that nobody asked for
        (CHUNKED + b"0\r\n\r\nmore", 200, b"", False),
        (CHUNKED + b"not a size\r\n", 200, b"", False),
        (CHUNKED + b"2\r\nokmore\r\n", 200, b"ok", False),
        (OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
        (OK + b"transfer-encoding: gzip, chunked\r\n\r\nok", 200, b"ok", False),
        (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok", 200, b"ok", False),
        (OK + b"content-length: -2\r\n\r\nok", 200, b"ok", False),
        (OK + b"content-length: 2\xb2\r\n\r\nok", 200, b"ok", False),
        (OK + b"content-length: 5000\r\n\r\n" + b"x" * 5000, 200, b"x" * MOST_BODY_BYTES, False),
        (CHUNKED + b"ffffffff\r\n" + b"x" * 5000, 200, b"x" * MOST_BODY_BYTES, False),
        (b"HTTP/1.1 599 \r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n", 599, b"", True),
    ],
)
def test_is_read_whole_or_byte_by_byte(raw: bytes, status: int, body: bytes, is_complete: bool) -> None:
    answer = read(raw)
    assert (answer.status, answer.beginning, answer.is_complete) == (status, body, is_complete)
    drop_by_drop = read(*(raw[index : index + 1] for index in range(len(raw))))
    assert (drop_by_drop.status, drop_by_drop.beginning) == (status, body)
    # What comes after its end is not waited for: the connection itself finds it before it is used again.
    assert drop_by_drop.is_complete >= is_complete


def test_headers_are_named_in_lower_case_and_joined() -> None:
    answer = read(
        OK + b"Retry-After:  7\t\r\nX-Empty:\r\nset-cookie: a\r\nSet-Cookie: b\xe9\r\ncontent-length: 0\r\n\r\n"
    )
    assert answer.headers == {"retry-after": "7", "x-empty": "", "set-cookie": "a, b\xe9", "content-length": "0"}


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 600 Odd\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        OK + b"no header\r\n\r\n",
        OK + b" folded: 1\r\n\r\n",
        OK + b"spaced : 1\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        OK + b"x: " + b"a" * MOST_HEAD_BYTES + b"\r\n\r\n",
        OK + b"x: a\r\n" * (MOST_HEAD_BYTES // 6) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (MOST_HEAD_BYTES // 25 + 1),
    ],
)
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(AnswerUnreadable):
        read(raw)


def test_a_head_that_never_ends_is_given_up() -> None:
    def endless() -> Iterator[bytes]:
        yield OK + b"x: "
        while True:
            yield b"a" * 1000

    pieces = endless()
    with pytest.raises(AnswerUnreadable, match="more than 65536 bytes"):
        read(then=lambda: next(pieces))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200 OK",
        OK,
        OK + b"content-length: 2\r\n",
        OK + b"content-length: 3\r\n\r\nok",
        CHUNKED + b"3\r\nok",
        CHUNKED + b"2\r\nok\r\n",
        CHUNKED + b"0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_off_is_none(raw: bytes) -> None:
    with pytest.raises(Unanswered):
        read(raw)


def test_a_slow_head_is_out_of_time_and_a_slow_body_is_not() -> None:
    def never() -> bytes:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        read(OK, then=never)
    answer = read(OK + b"content-length: 9\r\n\r\nbegin", then=never)
    assert (answer.status, answer.beginning, answer.is_complete) == (200, b"begin", False)


@settings(deadline=None, derandomize=True, max_examples=300, database=None)
@given(head=st.binary(max_size=80), body=st.binary(max_size=200), cut=st.integers(1, 50))
def test_nothing_else_comes_of_noise(head: bytes, body: bytes, cut: int) -> None:
    raw = OK + head + b"\r\n\r\n" + body
    try:
        answer = read(*(raw[start : start + cut] for start in range(0, len(raw), cut)))
    except (AnswerUnreadable, Unanswered):
        return
    assert answer.status == 200
    assert len(answer.beginning) <= MOST_BODY_BYTES

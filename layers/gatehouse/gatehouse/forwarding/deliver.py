"""One delivery of a verified body to an app: the exact bytes, signed, in a few attempts within some seconds.

    deliverer = Deliverer(Connections())
    delivery = deliverer.deliver(message, app)
    delivery.what          delivered | final | retry | gone, see outcome.py

`may_try_again` is asked before each further attempt, and told how the last one ended.
An attempt has one deadline from looking up the name to the answer. A redirect is not followed, and is final. An answer
that asks for more patience than this delivery has ends it; the queue comes again.
"""

import random
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from secrets import SystemRandom
from typing import NamedTuple, Protocol
from urllib.parse import quote

from gatehouse.errors import GatehouseError, TargetRefused
from gatehouse.forwarding import sign
from gatehouse.forwarding.app_headers import checked_headers, checked_value
from gatehouse.forwarding.deadline import Deadline
from gatehouse.forwarding.excerpt import safe_excerpt
from gatehouse.forwarding.http_answer import Answer
from gatehouse.forwarding.loops import HOP, HOP_HEADER
from gatehouse.forwarding.outcome import What, of_status
from gatehouse.forwarding.targets import Target, check_url

ROUTER_SOURCE = "nexai-paystack-router"
USER_AGENT = "Gatehouse-Webhooks/1"
MOST_RETRY_AFTER_SECONDS = 86_400.0
MOST_NAME_CHARACTERS = 200
MOST_MESSAGE_CHARACTERS = 300
JITTER = (0.8, 1.2)
TIMEOUT = "TIMEOUT"

_PLAIN = "!\"#$&'()*+,/:;<=>?@[\\]^`{|}~"  # beside letters, digits and _.-, what a header may say as it is; no space

_random: random.Random = SystemRandom()  # `random` itself would be the same in each environment of one snapshot


class Patience(NamedTuple):
    """How often an app is asked in one delivery, and for how long; the last wait is that of all further attempts."""

    attempts: int = 3
    attempt_seconds: float = 6.0
    waits_milliseconds: Sequence[int] = (300, 600, 1200)


class Message(NamedTuple):
    """What is forwarded."""

    id: str  # see sign.message_id
    gateway: str
    event: str  # the gateway's own name of it
    body: bytes
    content_type: str = "application/json"

    def __repr__(self) -> str:
        return f"<Message {self.id} {self.gateway} {len(self.body)} bytes>"


class App(NamedTuple):
    """Where it goes."""

    url: str
    secrets: Sequence[str]  # the new one first, while there are two
    headers: Mapping[str, str] = {}  # the app's own, see app_headers.py
    router_source: str = ROUTER_SOURCE

    def __repr__(self) -> str:
        return "<App>"  # the address may hold a token, a header a password


class Delivery(NamedTuple):
    """What became of it; words and numbers that may be written into a log."""

    what: What
    status_code: int | None  # of the last answer, None where there was none
    attempt_count: int  # 0 when nothing could be tried
    duration_milliseconds: int  # with the waits
    error_class: str | None  # HTTP_<status>, or TIMEOUT, NAME_UNKNOWN, TLS, NETWORK, or the code of a GatehouseError
    error_message: str | None
    retry_after_seconds: float | None  # what the app asked for; at most a day

    @property
    def ok(self) -> bool:
        """Tell whether the app has it."""
        return self.what == "delivered"


class Transport(Protocol):
    """What carries a request to a target: Connections, or a stand-in."""

    def exchange(self, target: Target, request: bytes, deadline: Deadline) -> Answer:
        """Send a request and return its answer."""
        ...


class _Attempt(NamedTuple):
    what: What
    status_code: int | None = None
    error_class: str | None = None
    error_message: str | None = None
    retry_after_seconds: float | None = None


class Deliverer:
    """Delivers messages; safe for several threads when its transport is."""

    def __init__(
        self,
        transport: Transport,
        *,
        patience: Patience = Patience(),  # noqa: B008 - it cannot be changed
        allowed_local: Sequence[str] = (),
        may_try_again: Callable[[str | None], bool] = lambda _error_class: True,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        random: random.Random = _random,
    ) -> None:
        self._transport = transport
        self._patience = patience
        self._allowed_local = frozenset(allowed_local)
        self._may_try_again = may_try_again
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._random = random

    def deliver(self, message: Message, app: App) -> Delivery:
        """Deliver a message, in as many attempts as it takes and patience allows; never raise for what an app does."""
        began = self._clock()
        attempt_count = 0
        try:
            target = check_url(app.url, self._allowed_local)
            headers = {**_our_headers(target, message, app), **checked_headers(app.headers)}
            sign.check_secrets(app.secrets)
        except GatehouseError as reason:
            attempt = _Attempt("final", None, reason.code, str(reason))
        else:
            while True:
                attempt_count += 1
                attempt = self._attempt(target, headers, message, app)
                wait = self._wait_seconds(attempt, attempt_count)
                if wait is None or not self._may_try_again(attempt.error_class):
                    break
                self._sleep(wait)
        return Delivery(
            attempt.what,
            attempt.status_code,
            attempt_count,
            round((self._clock() - began) * 1000),
            attempt.error_class,
            attempt.error_message,
            attempt.retry_after_seconds,
        )

    def _wait_seconds(self, attempt: _Attempt, attempt_count: int) -> float | None:
        """Return how long to wait for the next attempt of this delivery; None when there is none."""
        if attempt.what != "retry" or attempt_count >= self._patience.attempts:
            return None
        if attempt.error_class == TargetRefused.code:  # a name leads elsewhere in an hour, not in a second
            return None
        waits = self._patience.waits_milliseconds or (0,)
        wait = waits[min(attempt_count, len(waits)) - 1] / 1000 * self._random.uniform(*JITTER)
        return None if (attempt.retry_after_seconds or 0) > wait else wait

    def _attempt(self, target: Target, headers: Mapping[str, str], message: Message, app: App) -> _Attempt:
        try:
            request = _request(target, headers, message, app.secrets, int(self._now()))
            deadline = Deadline(self._patience.attempt_seconds, self._clock)
            answer = self._transport.exchange(target, request, deadline)
        except GatehouseError as reason:
            return _Attempt("retry" if reason.retry_helps else "final", None, reason.code, str(reason))
        except OSError as reason:
            return _Attempt("retry", None, *_network_failure(target, reason))
        return self._judged(target, answer, [message.body, *(value.encode() for value in app.headers.values())])

    def _judged(self, target: Target, answer: Answer, sent: Sequence[bytes]) -> _Attempt:
        what = of_status(answer.status)
        if what == "delivered":
            return _Attempt(what, answer.status)
        told = f"{target.host} answered {answer.status}"
        if 300 <= answer.status < 400:
            told += ", a redirect, which is not followed"
        elif said := safe_excerpt(answer.beginning, sent):
            told += f": {said}"
        patience = answer.headers.get("retry-after", "") if what == "retry" else ""
        retry_after_seconds = _retry_after_seconds(patience, self._now())
        return _Attempt(
            what, answer.status, f"HTTP_{answer.status}", told[:MOST_MESSAGE_CHARACTERS], retry_after_seconds
        )


def _our_headers(target: Target, message: Message, app: App) -> dict[str, str]:
    """Return the headers that are the same in each attempt."""
    return {
        "host": target.authority,
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": checked_value("content-type", message.content_type),
        "content-length": str(len(message.body)),
        "x-router-source": checked_value("x-router-source", app.router_source),
        sign.ID: message.id,
        "x-gatehouse-event": _as_header(message.event),
        "x-gatehouse-gateway": _as_header(message.gateway),
        HOP_HEADER: HOP,
    }


def _request(
    target: Target, headers: Mapping[str, str], message: Message, secrets: Sequence[str], timestamp: int
) -> bytes:
    """Return the bytes of one attempt, signed at its own time."""
    signed = {sign.TIMESTAMP: timestamp, sign.SIGNATURE: sign.sign(message.body, message.id, timestamp, secrets)}
    lines = [f"POST {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in {**headers, **signed}.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii") + message.body


def _as_header(name: str) -> str:
    """Return a name that a gateway chose as it can stand in a header: what is not plain ASCII as %XX of UTF-8."""
    return quote(name[:MOST_NAME_CHARACTERS], safe=_PLAIN, errors="replace")


def _network_failure(target: Target, reason: OSError) -> tuple[str, str]:
    """Return class and message of an attempt that got no answer."""
    if isinstance(reason, TimeoutError):
        return TIMEOUT, f"{target.host} did not answer in time"
    if isinstance(reason, socket.gaierror):
        return "NAME_UNKNOWN", f"{target.host} has no address: {reason.strerror}"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return "TLS", f"{target.host} has a certificate that does not hold: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "TLS", f"no TLS with {target.host}: {reason.reason or type(reason).__name__}"
    return "NETWORK", f"{target.host} could not be asked: {reason.strerror or reason or type(reason).__name__}"


def _retry_after_seconds(said: str, now: float) -> float | None:
    """Return what Retry-After asks for, given in seconds or as a date; None when it says neither."""
    if said.isascii() and said.isdigit():
        seconds = float(said[:20])
    else:
        try:
            moment = parsedate_to_datetime(said)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return min(max(seconds, 0.0), MOST_RETRY_AFTER_SECONDS)

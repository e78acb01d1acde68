"""What the clients of all gateways share: kept connections, safe retries, a rate that is kept, typed errors."""

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, RequestRefused
from gatehouse.gateways.json_body import read_json_object
from gatehouse.scrub import scrub_text

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 4.5  # three times that is less than a worker leaves for its last message
MOST_ATTEMPTS = 3
FIRST_WAIT_SECONDS = 0.25
MOST_WAIT_SECONDS = 2.0  # whoever is asked to wait longer gives its job back instead
MOST_RETRY_AFTER_SECONDS = 3600.0
MOST_SENTENCE_CHARACTERS = 300
RETRYABLE_STATUSES = (408, 409, 425, 429)  # 409: another request holds the object; and everything from 500 up

_random: random.Random = SystemRandom()  # `random` itself would be the same in each environment of one snapshot


class Answer(NamedTuple):
    """What a gateway's API answered, and when by its own clock."""

    said: dict[str, Any]
    answered_at: datetime


class ApiClient:
    """One account's access to one gateway's API.

    `words` tells a refusal in the gateway's codes: its sentences may quote keys or people. `is_missing` knows a refusal
    that means a missing object, where a gateway answers such a question with another status than 404. `sentence` finds
    a refusal's sentence where its codes tell no reason; it goes beside the error's message and not into it.
    """

    def __init__(
        self,
        gateway: str,
        http: "httpx.Client",
        *,
        words: Callable[["httpx.Response", Mapping[str, Any]], str],
        is_missing: Callable[["httpx.Response", Mapping[str, Any]], bool] | None = None,
        sentence: Callable[[Mapping[str, Any]], object] = lambda _said: None,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gateway = gateway
        self._http = http
        self._words = words
        self._is_missing = is_missing or (lambda _response, _said: False)
        self._sentence = sentence
        self._rate = Rate(per_second, clock)
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"<ApiClient {self._gateway} {self._http.base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        is_safe: bool | None = None,
        headers: Mapping[str, str] | None = None,
        list_name: str | None = None,
        may_be_empty: bool = False,
        **request: Any,
    ) -> Answer:
        """Send one request and return its JSON object; raise GatewayError for everything else.

        Where `list_name` is given, a bare list is an answer too, and is returned under that name; with `may_be_empty`
        an answer without a body is an empty object.

        What is safe to send twice (every GET, and what carries an idempotency key) is sent again after a network
        error, a 429 or a fault of the gateway's own, three times in all and with growing waits.
        """
        may_repeat = method == "GET" if is_safe is None else is_safe
        for attempt in range(1, MOST_ATTEMPTS + 1):
            self._keep_the_rate()
            try:
                return self._asked_once(method, path, headers, list_name, may_be_empty, request)
            except GatewayError as error:
                wait = error.retry_after_seconds or FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * _random.uniform(0.8, 1.2)
                last = attempt == MOST_ATTEMPTS or not may_repeat or not error.retry_helps
                if last or wait > MOST_WAIT_SECONDS:
                    raise
                self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _keep_the_rate(self) -> None:
        wait = self._rate.wait_seconds()
        if wait > MOST_WAIT_SECONDS:
            message = f"{self._gateway} is being asked more often than it allows"
            raise GatewayError(message, retry_helps=True, retry_after_seconds=wait)
        if wait > 0:
            self._sleep(wait)

    def _asked_once(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None,
        list_name: str | None,
        may_be_empty: bool,
        request: Mapping[str, Any],
    ) -> Answer:
        import httpx

        try:
            response = self._http.request(method, path, headers=headers, **request)
        except httpx.LocalProtocolError:  # its words quote what cannot be sent, which may be a key
            raise GatewayError(f"{method} {path} cannot be sent to {self._gateway}", retry_helps=False) from None
        except httpx.HTTPError as reason:
            message = f"{self._gateway} did not answer {method} {path}: {type(reason).__name__}"
            raise GatewayError(message, retry_helps=True) from reason
        said = {} if may_be_empty and not response.content else _json_object(response, list_name)
        if not 200 <= response.status_code < 300:
            raise self._refusal(f"{method} {path}", response, said or {})
        if said is None:
            raise GatewayError(f"{self._gateway}'s answer to {method} {path} is not a JSON object", retry_helps=True)
        return Answer(said, _answered_at(response))

    def _refusal(self, question: str, response: "httpx.Response", said: Mapping[str, Any]) -> GatewayError:
        status = response.status_code
        message = f"{self._gateway} answered {status} ({self._words(response, said)}) to {question}"
        sentence = self._sentence(said)
        words = scrub_text(sentence)[:MOST_SENTENCE_CHARACTERS] if isinstance(sentence, str) and sentence else None
        if status == 404 or self._is_missing(response, said):
            return GatewayObjectMissing(message, retry_helps=False, answered_status=status, gateway_words=words)
        if status in (401, 403):
            return GatewayKeyRefused(message, retry_helps=False, answered_status=status)
        advice = response.headers.get("stripe-should-retry")
        retry_helps = advice == "true" if advice in ("true", "false") else status in RETRYABLE_STATUSES or status >= 500
        return GatewayError(
            message,
            retry_helps=retry_helps,
            retry_after_seconds=_retry_after_seconds(response) if retry_helps else None,
            answered_status=status,
            gateway_words=words,
        )


class Rate:
    """A bucket of requests that fills at a steady rate; a second's worth may go at once."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._most = max(per_second, 1.0)
        self._left = self._most
        self._clock = clock
        self._filled_at = clock()
        self._turn = threading.Lock()

    def wait_seconds(self) -> float:
        """Take one request out of the bucket; return how long it must wait, 0 when it may go now."""
        with self._turn:
            now = self._clock()
            self._left = min(self._most, self._left + (now - self._filled_at) * self._per_second)
            self._filled_at = now
            wait = max(0.0, (1.0 - self._left) / self._per_second)
            if wait <= MOST_WAIT_SECONDS:  # a request that will not wait so long takes nothing out
                self._left -= 1.0
            return wait


def _json_object(response: "httpx.Response", list_name: str | None = None) -> dict[str, Any] | None:
    """Return the JSON of an answer, read as strictly as an event; its facts end in the same columns."""
    content = response.content
    if list_name and content.lstrip().startswith(b"["):
        content = f'{{"{list_name}":'.encode() + content + b"}"
    try:
        return read_json_object(content)
    except RequestRefused:  # cut short, or the page of some proxy
        return None


def _answered_at(response: "httpx.Response") -> datetime:
    """Return when the gateway says that it answered: the clock that also times its events; ours where it is silent."""
    try:
        said = parsedate_to_datetime(response.headers["date"])
        return said.astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.now(UTC)


def _retry_after_seconds(response: "httpx.Response") -> float | None:
    said = response.headers.get("retry-after", "")
    return min(float(said), MOST_RETRY_AFTER_SECONDS) if said.isascii() and said.isdigit() else None

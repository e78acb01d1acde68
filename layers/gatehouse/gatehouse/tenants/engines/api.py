"""What the clients of engines' HTTP APIs share: kept connections, one rate for all processes, waits, typed errors."""

import random
import time
from collections.abc import Callable, Mapping
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any

from gatehouse.errors import EngineError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0
MOST_ATTEMPTS = 4
FIRST_WAIT_SECONDS = 0.5
MOST_WAIT_SECONDS = 5.0  # whoever must wait longer gives the job back
# Said by Neon's document: a change that met one of these was not begun, so that it may be sent again.
NOT_BEGUN = (423, 429, 503)

_random: random.Random = SystemRandom()  # `random` itself would be the same in each environment of one snapshot

type TakeTurn = Callable[[], float]  # says for how many seconds to wait


class EngineApi:
    """One account's access to an engine's API. No answer is ever logged: some hold passwords."""

    def __init__(
        self,
        engine: str,
        http: "httpx.Client",
        take_turn: TakeTurn = lambda: 0.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._http = http
        self._take_turn = take_turn
        self.sleep = sleep

    def __repr__(self) -> str:
        return f"<EngineApi {self._engine}>"

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: Mapping[str, str] | None = None,
        missing_is_fine: bool = False,
        known_is_fine: bool = False,
    ) -> dict[str, Any] | None:
        """Return the JSON of the answer, or None for a 404 where that is fine; raise EngineError for all else."""
        for attempt in range(1, MOST_ATTEMPTS + 1):
            self._keep_the_rate()
            try:
                return self._asked_once(method, path, json, params, missing_is_fine, known_is_fine)
            except EngineError as error:
                wait = error.retry_after_seconds or FIRST_WAIT_SECONDS * 2 ** (attempt - 1) * _random.uniform(0.8, 1.2)
                may_repeat = error.retry_helps and (method == "GET" or error.status in NOT_BEGUN)
                if attempt == MOST_ATTEMPTS or not may_repeat or wait > MOST_WAIT_SECONDS:
                    raise
                self.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _keep_the_rate(self) -> None:
        wait = self._take_turn()
        if wait > MOST_WAIT_SECONDS:
            raise EngineError(f"{self._engine} is asked too often", retry_helps=True, retry_after_seconds=wait)
        if wait > 0:
            self.sleep(wait)

    def _asked_once(
        self,
        method: str,
        path: str,
        json: Any,
        params: Mapping[str, str] | None,
        missing_is_fine: bool,
        known_is_fine: bool,
    ) -> dict[str, Any] | None:
        import httpx

        question = f"{method} {path}"
        try:
            response = self._http.request(method, path, json=json, params=params)
        except httpx.HTTPError as reason:
            # Of a change nobody knows whether it was done: the job begins again and looks first.
            raise EngineError(
                f"{self._engine} did not answer {question}: {type(reason).__name__}", retry_helps=True
            ) from None
        status = response.status_code
        if (status == 404 and missing_is_fine) or (status == 409 and known_is_fine):
            return None
        if not 200 <= status < 300:
            raise EngineError(
                f"{self._engine} answered {status} ({_code(response)}) to {question}",
                retry_helps=status in (408, *NOT_BEGUN) or status >= 500,
                retry_after_seconds=_retry_after(response),
                status=status,
            )
        if status == 204 or not response.content:
            return {}
        try:
            said = response.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise EngineError(f"{self._engine}'s answer to {question} is no JSON object", retry_helps=True)
        return said


def _code(response: "httpx.Response") -> str:
    """Return the API's code for a refusal; its sentences may quote what was sent."""
    try:
        said = response.json()
        return str(said.get("code") or said.get("id") or "no code")[:60]
    except (ValueError, AttributeError):
        return "no code"


def _retry_after(response: "httpx.Response") -> float | None:
    said = response.headers.get("retry-after", "")
    return min(float(said), 600.0) if said.isascii() and said.isdigit() else None

"""Keeps a short memory of refused requests, so that a wrong secret shows before money is missed.

Anybody can send us anything, so the memory is bounded on every side: few a minute from each process, headers cut and
masked, never a body, and the sweeper drops what is old or too much.
"""

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import DatabaseError, RequestRefused
from gatehouse.http_request import HttpRequest
from gatehouse.observability import log

sql = load_statements(Path(__file__).with_name("rejected.sql"))

MOST_A_MINUTE = 10  # of one process
MOST_HEADERS = 40
MOST_CHARACTERS = 200

# Shown as they came; of every other header only how long it was. A deny-list would miss the next gateway's.
SHOWN_HEADERS = frozenset(
    {"accept", "content-length", "content-type", "host", "paypal-auth-algo", "paypal-transmission-time", "user-agent"}
)


class Rejections:
    """Notes refused requests, a few a minute."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._noted_at: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def note(
        self,
        database: Callable[[], Database],
        gateway: str,
        account: str,
        request: HttpRequest,
        refusal: RequestRefused,
    ) -> None:
        """Keep what a refused request looked like, unless too many were kept just now or the database is away."""
        now = self._clock()
        if len(self._noted_at) == MOST_A_MINUTE and now - self._noted_at[0] < 60:
            return
        self._noted_at.append(now)
        try:
            database().query(
                sql.note_rejected,
                received_at=request.received_at,
                gateway=gateway,
                account=_cut(account),
                code=refusal.code,
                reason=_cut(str(refusal)),
                headers=masked(request.headers),
                body_bytes=len(request.body),
                source_ip=_cut(request.source_ip),
                request_id=_cut(request.request_id),
            )
        except DatabaseError as error:
            log.warning("a refused request was not noted", code=error.code, reason=str(error))


def masked(headers: dict[str, str]) -> dict[str, str]:
    """Return headers as they may be kept."""
    return {
        _cut(name): _cut(value) if name in SHOWN_HEADERS else f"({len(value)} characters)"
        for name, value in list(headers.items())[:MOST_HEADERS]
    }


def list_rejected(
    database: Database, *, gateway: str | None = None, account: str | None = None, most: int = 20
) -> list[dict[str, Any]]:
    """Return the refused requests that are kept, newest first."""
    return database.query(sql.list_rejected, gateway=gateway, account=account, most=most)


def _cut(text: str) -> str:
    """Return text that a column can hold, of bounded length."""
    return text[:MOST_CHARACTERS].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()

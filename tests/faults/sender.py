"""Sends as Stripe does: whatever is not answered with 200 is sent again later, signed anew, up to a bound."""

import heapq
import json
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from random import Random
from urllib.parse import urlsplit

from tests.faults.stream import DEFAULT, SIGNING_SECRETS, Delivery, StripeEvent
from tests.support.stripe_requests import signature

PATH = "/webhooks/stripe"
PATIENCE_SECONDS = 20.0
MOST_ATTEMPTS = 90
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


@dataclass(order=True)
class Due:
    """One delivery and when it is to be tried."""

    at: float
    number: int
    event: StripeEvent = field(compare=False)
    attempts: int = field(default=0, compare=False)


def post(url: str, event: StripeEvent, *, secret: str = "") -> tuple[int, str]:
    """Send an event once; return the status and what became of it, or 0 and why there was no answer."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_SECONDS)
    try:
        signed = signature(event.body, secret=secret or SIGNING_SECRETS[event.account])
        headers = {"content-type": "application/json", "stripe-signature": signed}
        path = PATH if event.account == DEFAULT else f"{PATH}/{event.account}"
        connection.request("POST", path, event.body, headers)
        answer = connection.getresponse()
        words = json.loads(answer.read())
        return answer.status, str(words.get("status", ""))
    except (OSError, HTTPException, ValueError) as reason:
        return 0, type(reason).__name__
    finally:
        connection.close()


class StripeSender:
    """Several connections that deliver from one list."""

    def __init__(self, url: str, deliveries: Iterable[Delivery], *, clients: int, random: Random) -> None:
        began = time.monotonic()
        self.acknowledged: set[str] = set()
        self.answers: Counter[tuple[int, str]] = Counter()
        self._url = url
        self._random = random
        self._turn = threading.Condition()
        self._due = [Due(began + each.at_seconds, number, each.event) for number, each in enumerate(deliveries)]
        heapq.heapify(self._due)
        self._open = len(self._due)
        self._threads = [threading.Thread(target=self._deliver, name="stripe", daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        """Tell whether every delivery was acknowledged or given up."""
        return self._open == 0

    def wait(self, seconds: float) -> None:
        """Wait until all is delivered; what is not by then is given up."""
        with self._turn:
            self._turn.wait_for(lambda: self.is_done, timeout=seconds)
            self._open -= len(self._due)
            self._due.clear()
            self._turn.notify_all()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _deliver(self) -> None:
        while (due := self._next()) is not None:
            status, words = post(self._url, due.event)
            due.attempts += 1
            with self._turn:
                self.answers[status, words] += 1
                if status == 200:
                    self.acknowledged.add(due.event.id)
                if status == 200 or due.attempts == MOST_ATTEMPTS:
                    self._open -= 1
                else:
                    pause = min(FIRST_PAUSE_SECONDS * 2 ** (due.attempts - 1), LONGEST_PAUSE_SECONDS)
                    due.at = time.monotonic() + pause * self._random.uniform(0.5, 1.5)
                    heapq.heappush(self._due, due)
                self._turn.notify_all()

    def _next(self) -> Due | None:
        """Return the next delivery when its time has come; None when there will be none."""
        with self._turn:
            while self._open:
                left = self._due[0].at - time.monotonic() if self._due else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._due)
                self._turn.wait(left)
            return None

"""The console's pages at five million payments, as Lambda would answer them, beside the same at half a million.

Each page goes through the Lambda handler of one function environment, with the session of a merchant's key or of ops:
opening the session, looking up key and merchant, all questions, and Jinja. Both databases are asked in turn.
BENCH_PAYMENTS=50000,500000 sets other sizes, multiples of 1,000; BENCH_RUNS how often each page is looked at, and
BENCH_PAGES=events only those that have the word in their name. BENCH_KEPT is told in `bench.console_ground`. How long
SQS takes to say how full its queues are is not ours to measure.
"""

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from io import StringIO
from statistics import quantiles
from time import perf_counter
from typing import Any, NamedTuple

from bench.console_ground import BIGGEST, CLINIC, MERCHANTS, filled
from bench.figures import Figure
from bench.ground import DATA_KEYS, Ground
from gatehouse.jobs.depths import Depth
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser, Console
from tests.http_api.api_client import made_key

SIZES = "500000,5000000"
RUNS, WARMING = "60", 3
MOST_MILLISECONDS = 50.0
MOST_BYTES = 100_000
QUEUES = ("backup", "enrichment", "forwarding", "inbox", "reconciliation", "tenants")
A_REQUEST_A_MINUTE = 60_000


class Asked(NamedTuple):
    """A page, who looks at it, and its address by the number of the run."""

    name: str
    who: str
    path: Callable[[int], str]
    zone: str = "UTC"


class Heard(NamedTuple):
    """What one look at a page cost."""

    milliseconds: float
    round_trips: int
    size: int


class House:
    """The console over one database, with a browser for each visitor."""

    def __init__(self, place: Ground) -> None:
        self.place = place
        self.console = Console()
        self.console.api_database = place.database.connect("api", statement_milliseconds=60_000)
        self.console.ops_database = place.database.connect("ops", statement_milliseconds=60_000)
        self.console.keys = Keyring(DATA_KEYS)
        self.console.queue_depths = [Depth(queue, 0, 0, 0, 0) for queue in QUEUES]
        self._handler, self.console.handler = self.console.handler, self._timed
        self._spent = 0.0
        self._browsers: dict[str, Browser] = {}
        self._known: dict[str, list[int]] = {}

    def close(self) -> None:
        """Close the connections."""
        for database in (self.console.api_database, self.console.ops_database):
            if database:
                database.close()

    def look(self, asked: Asked, run: int) -> Heard:
        """Look at a page once; raise where it is no page."""
        merchant = {"one": f"merchant-{50 + run * 37 % (MERCHANTS - 50):03}", "biggest": BIGGEST, "clinic": CLINIC}.get(
            asked.who
        )
        browser = self._browser(merchant)
        browser.cookies["gatehouse_zone"] = asked.zone
        path = asked.path(run)
        for name in ("payment", "order", "customer", "event", "forward", "membership"):
            if "{" + name + "}" in path:
                path = path.replace("{" + name + "}", str(self._id(name, merchant, run)))
        path = path.replace("{m}", f"/console/m/{merchant}")
        before = self._round_trips()
        shown = browser.get(path)
        is_shown = shown.status == 200 or (shown.status == 303 and "sign-in" not in shown.location)
        if not is_shown and not (shown.status == 404 and path.endswith("/0")):
            raise RuntimeError(f"{asked.name}: {path} answered {shown.status} {shown.location} {shown.words[:300]}")
        return Heard(self._spent, self._round_trips() - before, len(shown.text.encode()))

    def _timed(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        with redirect_stdout(StringIO()):  # its log, which Lambda takes
            begun = perf_counter()
            answer = self._handler(event, context)
            self._spent = (perf_counter() - begun) * 1000
        return answer

    def _round_trips(self) -> int:
        databases = (self.console.api_database, self.console.ops_database)
        return sum(each.statistics.flushes for each in databases if each)

    def _browser(self, merchant: str | None) -> Browser:
        name = merchant or "*"
        if name not in self._browsers:
            assert self.console.ops_database is not None
            role = "admin" if merchant else "ops"
            key = made_key(self.console.ops_database, merchant, role, rate_per_minute=A_REQUEST_A_MINUTE)
            self._browsers[name] = self.console.sign_in(key)
        return self._browsers[name]

    def _id(self, kind: str, merchant: str | None, run: int) -> int:
        """Return the id of some row of a merchant."""
        table, wanted = {
            "payment": ("payments", "id % 10 = 0"),
            "order": ("orders", "true"),
            "customer": ("customers", "true"),
            "event": ("webhook_events", "id % 10 = 0"),
            "forward": ("webhook_forward_logs", "true"),
            "membership": ("memberships", "true"),
        }[kind]
        name = f"{kind} {merchant}"
        if name not in self._known:
            whose = f"merchant = '{merchant}' and" if merchant else ""
            found = self.place.database.sql(
                f"select id from (select id from {table} where {whose} {wanted} limit 2000) as found order by id % 101"  # noqa: S608 - our own words
            )
            self._known[name] = [int(row[0]) for row in found]
        rows = self._known[name]
        return rows[run % len(rows)] if rows else 0  # at a tiny size a small merchant has none


def _always(path: str, _run: int) -> str:
    return path


def month(run: int) -> str:
    """Return the query of a month of the year."""
    first = datetime.now(UTC).date() - timedelta(days=60 + run % 200)
    return f"since={first}&until={first + timedelta(days=30)}"


def pages() -> list[Asked]:
    """Return every page that is measured."""
    found = []
    for who in ("one", "biggest"):
        lists = {
            "overview": "{m}",
            "payments": "{m}/payments?limit=100",
            "payments that failed": "{m}/payments?status=failed&limit=100",
            "payments of a rare status": "{m}/payments?status=cancelled",
            "payments of a status that none has": "{m}/payments?status=processing",
            "payments by a part of the gateway's id": "{m}/payments?text=pi_0000",
            "a payment": "{m}/payments/{payment}",
            "disputes": "{m}/payments/disputes",
            "refunds asked for": "{m}/payments/refunds",
            "orders": "{m}/orders?limit=100",
            "orders that nobody paid": "{m}/orders?payment_state=unpaid",
            "orders of an event": "{m}/orders?event_id=event-3",
            "an order": "{m}/orders/{order}",
            "customers": "{m}/customers?limit=100",
            "a customer": "{m}/customers/{customer}",
            "events": "{m}/events?limit=100",
            "events, live": "{m}/events?live=1",
            "events that failed": "{m}/events?status=failed",
            "events of a rare type": "{m}/events?type=payment_intent.partially_funded",
            "events of a type that none has": "{m}/events?type=charge.nothing",
            "events of a gateway that sent none": "{m}/events?gateway=none",
            "an event": "{m}/events/{event}",
            "forwarding": "{m}/forwards?limit=100",
            "deliveries that failed": "{m}/forwards?ok=false",
            "deliveries with words of an error": "{m}/forwards?error=no%20such%20words",
            "a delivery": "{m}/forwards/{forward}",
            "users of an app": "{m}/subscriptions?limit=100",
            "subscriptions": "{m}/subscriptions/all?limit=100",
            "subscriptions of a rare status": "{m}/subscriptions/all?status=expired",
            "products": "{m}/products",
            "tenants": "{m}/tenants",
        }
        found += [Asked(name, who, partial(_always, path)) for name, path in lists.items()]
        found += [
            Asked("overview, Kolkata", who, lambda _run: "{m}", "Asia/Kolkata"),
            Asked("overview, Denver", who, lambda _run: "{m}", "America/Denver"),
            Asked("payments by reference", who, lambda run: f"{{m}}/payments?text=basket-{1 + run * 7919:08}"),
            Asked("payments by e-mail", who, lambda run: f"{{m}}/payments?text=guest{run * 397:07}@example.com"),
            Asked("payments of a month", who, lambda run: f"{{m}}/payments?{month(run)}&limit=100"),
            Asked("payments that failed, of a month", who, lambda run: f"{{m}}/payments?status=failed&{month(run)}"),
            Asked(
                "payments, far in",
                who,
                lambda run: f"{{m}}/payments?until={datetime.now(UTC).date() - timedelta(days=300 + run % 50)}",
            ),
            Asked("orders by e-mail", who, lambda run: f"{{m}}/orders?text=guest{run * 397:07}@example.com"),
            Asked("orders by the beginning of a name", who, lambda run: f"{{m}}/orders?text=family{run * 31:06}"),
            Asked("orders of a month", who, lambda run: f"{{m}}/orders?{month(run)}&limit=100"),
            Asked("customers by e-mail", who, lambda run: f"{{m}}/customers?text=guest{run * 397:07}@example.com"),
            Asked("customers by name", who, lambda run: f"{{m}}/customers?text=family{run * 31:06}"),
            Asked("events by reference", who, lambda run: f"{{m}}/events?reference=basket-{1 + run * 7919:08}"),
            Asked(
                "deliveries by reference", who, lambda run: f"{{m}}/forwards?reference=basket-{4 * (1 + run * 997):08}"
            ),
            Asked("deliveries of a month", who, lambda run: f"{{m}}/forwards?{month(run)}"),
        ]
    clinic = {
        "overview": "{m}",
        "memberships of 20,000": "{m}/memberships?limit=100",
        "memberships, a tab": "{m}/memberships?tab=TRT&limit=100",
        "memberships, cancellations": "{m}/memberships?tab=Cancellations",
        "memberships by last payment": "{m}/memberships?sort=last_payment",
        "memberships, four filters": (
            "{m}/memberships?status=past_due&google_review_submitted=true&referral_source=Google&tab=ED"
        ),
        "a patient": "{m}/memberships/{membership}",
        "payments, noted": "{m}/payments?limit=100",
        "products": "{m}/products?show=all&limit=100",
    }
    found += [Asked(name, "clinic", partial(_always, path)) for name, path in clinic.items()]
    found.append(Asked("memberships by name", "clinic", lambda run: f"{{m}}/memberships?text=ename{run * 13}"))
    ops = {
        "overview": "/console/ops",
        "events": "/console/ops/events?limit=100",
        "events, live": "/console/ops/events?live=1",
        "events that failed": "/console/ops/events?status=failed",
        "events of a rare type": "/console/ops/events?type=payment_intent.partially_funded",
        "events of a type that none has": "/console/ops/events?type=charge.nothing",
        "an event": "/console/ops/events/{event}",
        "refused requests": "/console/ops/rejected",
        "health": "/console/ops/health",
        "health, live": "/console/ops/health?live=1",
        "settings": "/console/ops/settings",
        "sync": "/console/ops/sync",
        "subscriptions": "/console/ops/subscriptions",
    }
    found += [Asked(name, "ops", partial(_always, path)) for name, path in ops.items()]
    found += [
        Asked("overview, Kolkata", "ops", lambda _run: "/console/ops", "Asia/Kolkata"),
        Asked("overview, Denver", "ops", lambda _run: "/console/ops", "America/Denver"),
        Asked("events by reference", "ops", lambda run: f"/console/ops/events?reference=basket-{1 + run * 7919:08}"),
    ]
    return found


class Measured(NamedTuple):
    """The 95th percentile of a page in milliseconds, the most round trips, and the most bytes."""

    p95: float
    round_trips: int
    size: int


def measured(asked: Asked, houses: list[House], runs: int) -> list[Measured]:
    """Look at a page again and again over each database in turn."""
    heard: list[list[Heard]] = [[] for _ in houses]
    for run in range(WARMING + runs):
        for house, kept in zip(houses, heard, strict=True):
            kept.append(house.look(asked, run))
    found = []
    for kept in heard:
        p95 = quantiles([each.milliseconds for each in kept[WARMING:]], n=20)[-1]
        trips = max(each.round_trips for each in kept[WARMING:])  # the first ones may connect
        found.append(Measured(p95, trips, max(each.size for each in kept)))
    return found


def run() -> list[Figure]:
    """Measure every page at both sizes."""
    few, many = (int(size) for size in os.environ.get("BENCH_PAYMENTS", SIZES).split(","))
    runs, only = int(os.environ.get("BENCH_RUNS", RUNS)), os.environ.get("BENCH_PAGES", "")
    with filled(few, many) as places:
        houses = [House(place) for place in places]
        try:
            found = {each: measured(each, houses, runs) for each in pages() if only in f"{each.who}: {each.name}"}
        finally:
            for house in houses:
                house.close()
    figures = []
    for asked, (small, large) in found.items():
        told = f"{large.round_trips} trips, {large.size / 1000:.0f} kB, {large.p95 / small.p95:.2f} times {few:,}"
        figures.append(Figure(f"{asked.who}: {asked.name} ({told})", large.p95, "ms", limit=MOST_MILLISECONDS))
    of_bytes = max(found, key=lambda asked: found[asked][1].size)
    figures.append(Figure(f"the largest page: {of_bytes.name}", found[of_bytes][1].size, "bytes", limit=MOST_BYTES))
    of_trips = max(found, key=lambda asked: found[asked][1].round_trips)
    figures.append(Figure(f"the most round trips: {of_trips.name}", found[of_trips][1].round_trips, "trips"))
    return figures


if __name__ == "__main__":
    sys.exit("make bench ARGS=console")

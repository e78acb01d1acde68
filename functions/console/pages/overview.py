"""The overview: what came in, went back and stays, and what needs a person; of one merchant, and of all."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from console.desk import desk_of
from console.forms import query_of
from console.views import page, zone_of
from console.visitors import Here, Operator, Place
from gatehouse.backup.reads import read_from_either
from gatehouse.backup.standing import PRIMARY
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, TimeoutError
from gatehouse.http_api.fields import Word
from gatehouse.models import browse
from gatehouse.models.accounts import look_for_merchants
from gatehouse.models.completeness import list_completeness
from gatehouse.models.events import list_events
from gatehouse.models.refunds import list_refund_requests
from gatehouse.models.standing import concerns
from gatehouse.models.vitals import money_at_risk
from gatehouse.money import EXPONENTS, to_decimal
from gatehouse.reports.answers import Answer
from gatehouse.reports.ask import arguments, ask
from gatehouse.reports.totals import ALL_MERCHANTS

NAVIGATION = (("Overview", "merchant", ""), ("Overview", "ops", ""))

DAYS = 30
SPANS = (("Today", 1), ("7 days", 7), ("30 days", DAYS))
MOST_CONCERNS = 50
MOST_MERCHANTS = 50
SUMMED = ("sales", "gross_minor", "refunds", "refunded_minor", "fee_minor", "sales_with_unknown_fee")

Row = dict[str, Any]
router = APIRouter()


# What the overview of one merchant has in the place of a list of merchants.
NO_MERCHANTS: Row = {"merchants": [], "text": None, "after": None, "more": None}


class Asked(BaseModel):
    """What an overview can be asked."""

    model_config = ConfigDict(extra="forbid")

    livemode: bool = True


class AskedOfAll(Asked):
    """What the overview of all merchants can be asked: also for merchants, and those behind one."""

    text: Word | None = None
    after: Word | None = None


class Concern(NamedTuple):
    """Something that needs a person, and where he does it."""

    words: str
    path: str


class Money(NamedTuple):
    """One currency: its figures by span, and what came in day by day."""

    currency: str
    spans: list[tuple[str, Row]]
    days: list[tuple[str, float, str]]


@router.get("/console/m/{merchant}")
async def show(request: Request, place: Here) -> Response:
    """Show one merchant's money; while the main database is away, as far as the second one knows it."""
    asked = query_of(request, Asked)
    answer = read_from_either(
        place.database,
        place.backup,
        lambda database: _figures(
            request, database, place.merchant, livemode=asked.livemode, from_backup=database is place.backup
        ),
    )
    is_whole = answer.served_by == PRIMARY
    return page(
        request,
        "overview.html",
        "Overview",
        **answer.found,
        **NO_MERCHANTS,
        concerns=_concerns(place) if is_whole else [],
        at_risk=money_at_risk(place.database, place.merchant) if is_whole else [],
        days_compared=list_completeness(place.database, place.merchant, most=10) if is_whole else [],
        path=place.path(),
    )


@router.get("/console/ops")
async def show_all(request: Request, visitor: Operator) -> Response:  # noqa: ARG001 - being one is enough
    """Show the money of all merchants together, and where each of them is."""
    asked, database = query_of(request, AskedOfAll), desk_of(request).ops_database()
    try:
        found = concerns(database)
        figures = _figures(request, database, ALL_MERCHANTS, livemode=asked.livemode)
        merchants = look_for_merchants(database, text=asked.text, after=asked.after, most=MOST_MERCHANTS + 1)
    except (ConnectionError, TimeoutError) as away:  # the second database answers for one merchant at a time
        has_backup = desk_of(request).backup() is not None
        return page(request, "away.html", "All merchants", status=503, away=away.code, has_backup=has_backup)
    return page(
        request,
        "overview.html",
        "All merchants",
        **figures,
        concerns=[Concern(words, "/console/ops/health") for words in found],
        at_risk=[],
        days_compared=[],
        merchants=merchants[:MOST_MERCHANTS],
        text=asked.text,
        after=asked.after,
        more=merchants[MOST_MERCHANTS - 1]["id"] if len(merchants) > MOST_MERCHANTS else None,
        path="/console/ops",
    )


def _figures(request: Request, database: Database, merchant: str, *, livemode: bool, from_backup: bool = False) -> Row:
    zone, now = zone_of(request), datetime.now(UTC)
    today = now.astimezone(zone).date()
    period = {"first": today - timedelta(days=DAYS - 1), "last": today, "time_zone": zone.key, "livemode": livemode}

    def told(report: str, **said: str) -> Answer:
        return ask(database, merchant, report, arguments(**period, **said), now=now, from_backup=from_backup)

    revenue, through, success = told("revenue", by="day"), told("breakdown", per="gateway"), told("success")
    rates = {(row["gateway"], row["currency"]): row for row in success.rows}
    return {
        "livemode": livemode,
        "money": by_currency(revenue.rows, today),
        "through": [row | {"success": rates.pop((row["gateway"], row["currency"]), None)} for row in through.rows],
        "without_sales": list(rates.values()),
        "definition": revenue.definition,
        "as_of": revenue.as_of,
        "served_by": revenue.served_by,
    }


def by_currency(rows: Sequence[Mapping[str, Any]], today: date) -> list[Money]:
    """Return the figures of each currency from the rows of its days."""
    found = []
    for currency in dict.fromkeys(row["currency"] for row in rows):
        own = {row["from"]: row for row in rows if row["currency"] == currency}
        days = [(today - timedelta(days=back)).isoformat() for back in reversed(range(DAYS))]
        spans = [(name, summed(own[day] for day in days[-length:] if day in own)) for name, length in SPANS]
        gross = [own[day]["gross_minor"] if day in own else 0 for day in days]
        shown = [(day, float(minor), _shown(minor, currency)) for day, minor in zip(days, gross, strict=True)]
        found.append(Money(currency, spans, shown))
    return found


def summed(rows: Iterable[Mapping[str, Any]]) -> Row:
    """Return sums of days; net is not known while a fee of one of them is not."""
    total = dict.fromkeys((*SUMMED, "net_minor"), 0)
    net_is_known = True
    for row in rows:
        for name in SUMMED:
            total[name] += row[name]
        total["net_minor"] += row["net_before_unknown_fees_minor"]
        net_is_known = net_is_known and row["net_minor"] is not None
    return {**total, "net_is_known": net_is_known}


def _shown(minor: int, currency: str) -> str:
    return f"{to_decimal(minor, currency):,f} {currency}" if currency in EXPONENTS else f"{minor:,} {currency}"


def _concerns(place: Place) -> list[Concern]:
    """Return what of this merchant's needs a person."""
    database, merchant = place.database, place.merchant
    every: Row = dict.fromkeys(("gateway", "livemode", "since", "until", "payment_id"))
    disputes = browse.list_rows(database, merchant, "disputes", status=["needs_response"], **every, most=MOST_CONCERNS)
    unknown = list_refund_requests(database, merchant, state="unknown", most=MOST_CONCERNS).rows
    failed = list_events(database, status="failed", merchant=merchant, most=MOST_CONCERNS)
    found = [
        Concern(f"{_many(disputes, 'dispute waits', 'disputes wait')} for an answer", place.path("payments/disputes")),
        Concern(
            f"{_many(unknown, 'refund', 'refunds')} of which nobody knows whether it was made",
            place.path("payments/refunds?state=unknown"),
        ),
        Concern(f"{_many(failed, 'event', 'events')} could not be applied", place.path("events?status=failed")),
    ]
    return [concern for concern, rows in zip(found, (disputes, unknown, failed), strict=True) if rows]


def _many(rows: Sequence[Any], one: str, several: str) -> str:
    more = " or more" if len(rows) == MOST_CONCERNS else ""
    return f"{len(rows)}{more} {one if len(rows) == 1 else several}"

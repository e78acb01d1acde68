"""Asks a report by its name: what the API and the command line have in common."""

from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, ValidationError
from gatehouse.reports import members, money, sold, statement, work
from gatehouse.reports.answers import BACKUP, PRIMARY, Answer, Row
from gatehouse.reports.definitions import DEFINITIONS
from gatehouse.reports.periods import DEFAULT_DAYS, Period, period
from gatehouse.reports.totals import Cells, Wanted

PER = ("gateway", "app", "method", "category", "item_type")


class Asked(NamedTuple):
    """What can be asked of reports; each refuses what it does not know how to honour."""

    first: date | None = None
    last: date | None = None
    since: datetime | None = None
    until: datetime | None = None
    time_zone: str = "UTC"
    by: str | None = None
    per: str | None = None
    gateway: str | None = None
    app: str | None = None
    event_id: str | None = None
    month: str | None = None
    livemode: bool = True


type Asker = Callable[[Database, Wanted, Asked], tuple[Cells, list[Row]]]


class Report(NamedTuple):
    """A report: who makes it, what it takes besides a period, and how far back it goes by itself."""

    make: Asker
    takes: frozenset[str]
    days: int | None = DEFAULT_DAYS
    # Whether the backup database can answer it: as the primary does, or nearly, and so only while that is away.
    in_backup: Literal["whole", "nearly", "not"] = "not"


PERIOD = frozenset({"first", "last", "since", "until"})


def _breakdown(database: Database, wanted: Wanted, asked: Asked) -> tuple[Cells, list[Row]]:
    if asked.per == "item_type":
        return sold.tickets(database, wanted)
    if asked.per not in PER:
        raise ValidationError.of_field("per", f"must be one of {', '.join(PER)}")
    return money.revenue_by(database, wanted, asked.per)  # type: ignore[arg-type]  # one of them


def _revenue(database: Database, wanted: Wanted, asked: Asked) -> tuple[Cells, list[Row]]:
    if asked.gateway is not None and asked.app is not None:
        raise ValidationError.of_field("app", "and gateway exclude each other")
    return money.revenue(database, wanted, gateway=asked.gateway, app=asked.app)


REPORTS: dict[str, Report] = {
    "gateways": Report(
        lambda d, w, a: money.by_gateway(d, w, gateway=a.gateway), PERIOD | {"gateway"}, in_backup="whole"
    ),
    "revenue": Report(_revenue, PERIOD | {"by", "gateway", "app"}, in_backup="nearly"),
    "breakdown": Report(_breakdown, PERIOD | {"by", "per"}, in_backup="nearly"),
    "success": Report(
        lambda d, w, a: money.success(d, w, gateway=a.gateway), PERIOD | {"by", "gateway"}, in_backup="whole"
    ),
    "declines": Report(
        lambda d, w, a: money.declines(d, w, gateway=a.gateway), PERIOD | {"gateway"}, in_backup="whole"
    ),
    "refunds": Report(
        lambda d, w, a: money.going_back(d, w, gateway=a.gateway), PERIOD | {"by", "gateway"}, in_backup="nearly"
    ),
    "orders": Report(
        lambda d, w, a: sold.order_statistics(d, w, event=a.event_id), PERIOD | {"by", "event_id"}, days=None
    ),
    "tickets": Report(lambda d, w, a: sold.tickets(d, w, event=a.event_id), PERIOD | {"by", "event_id"}, days=None),
    "memberships": Report(lambda d, w, _: members.memberships(d, w), PERIOD),
    "cohorts": Report(lambda d, w, _: members.cohorts(d, w), PERIOD, days=None),
    "forwarding": Report(lambda d, w, a: work.forwarding(d, w, app=a.app), PERIOD | {"app"}, days=1),
    "enrichment": Report(lambda d, w, _: work.enrichment(d, w), PERIOD, days=1),
    "completeness": Report(lambda d, w, a: work.completeness(d, w, gateway=a.gateway), PERIOD | {"by", "gateway"}),
    "statement": Report(lambda d, w, a: statement.statement(d, w, gateway=a.gateway), frozenset({"month", "gateway"})),
}
HEALTH = frozenset(
    {"memberships", "cohorts"}
)  # and the breakdown by category: which products a merchant's patients take
ALWAYS = frozenset({"time_zone", "livemode"})


def ask(
    database: Database, merchant: str, name: str, asked: Asked, *, now: datetime, from_backup: bool = False
) -> Answer:
    """Return the answer of a report for one merchant, or for all of them together.

    With `from_backup` it is the backup database that is asked: for one merchant, and for what it can answer.
    """
    report = REPORTS.get(name)
    if report is None:
        raise NotFound(f"there is no report {name[:40]!r}; there are {', '.join(REPORTS)}")
    for field, value in asked._asdict().items():
        if value is not None and field not in report.takes | ALWAYS:
            raise ValidationError.of_field(SAID.get(field, field), f"is nothing that the report {name} takes")
    wanted = Wanted(merchant, _period(name, report, asked, now), asked.livemode, from_backup)
    cells, rows = report.make(database, wanted, asked)
    return Answer(
        report=name,
        definition=DEFINITIONS[name].text,
        merchant=merchant,
        livemode=asked.livemode,
        since=wanted.period.since,
        until=wanted.period.until,
        time_zone=asked.time_zone,
        as_of=cells.as_of,
        rows=rows,
        served_by=BACKUP if from_backup else PRIMARY,
    )


SAID: dict[str, str] = {"first": "from", "last": "to"}


def _period(name: str, report: Report, asked: Asked, now: datetime) -> Period:
    if name == "statement":
        return statement.month(asked.month, asked.time_zone, now)
    return period(
        now=now,
        first=asked.first,
        last=asked.last,
        since=asked.since,
        until=asked.until,
        zone=asked.time_zone,
        by=asked.by,
        days=report.days,
    )


def in_backup(name: str, asked: Asked) -> Literal["whole", "nearly", "not"]:
    """Tell whether the backup database can answer; by category or type of item it cannot."""
    if name not in REPORTS or asked.per in ("category", "item_type"):
        return "not"
    return REPORTS[name].in_backup


def is_about_health(name: str, asked: Asked) -> bool:
    """Tell whether the answer speaks of products and memberships, which not every key may see."""
    return name in HEALTH or asked.per == "category"


def arguments(**given: Any) -> Asked:
    """Return what is asked; what is None is not."""
    return Asked(**{name: value for name, value in given.items() if value is not None})

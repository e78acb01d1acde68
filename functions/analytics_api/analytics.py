"""Reports: figures over a period, each with what it means and until when it is complete; as JSON or CSV."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from analytics_api.recorded import GatewayName
from gatehouse.backup.reads import read_from_either
from gatehouse.backup.standing import BACKUP, reading_database
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, InputRefused, RequestRefused, TimeoutError
from gatehouse.http_api.application import MISSING
from gatehouse.http_api.callers import MERCHANT_HEADER, Caller, Reader, desk_of
from gatehouse.http_api.fields import Day, Moment, Word
from gatehouse.models.memberships import may_read_health_data
from gatehouse.reports.answers import Answer
from gatehouse.reports.ask import REPORTS, arguments, ask, in_backup, is_about_health
from gatehouse.reports.definitions import DEFINITIONS
from gatehouse.reports.periods import QUARTER
from gatehouse.reports.totals import ALL_MERCHANTS
from gatehouse.settings import settings

CSV = "text/csv; charset=utf-8"
SEED_DAYS = 30

type ReportName = Literal[
    "gateways",
    "revenue",
    "breakdown",
    "success",
    "declines",
    "refunds",
    "orders",
    "tickets",
    "memberships",
    "cohorts",
    "forwarding",
    "enrichment",
    "completeness",
    "statement",
]


class Asking(BaseModel):
    """What reports can be asked; one that does not take something refuses it."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: Day | None = Field(None, alias="from", description="The first day, in the time zone.")
    last: Day | None = Field(None, alias="to", description="The last day, all of it.")
    since: Moment | None = Field(None, description="In place of `from`: from this full quarter of an hour.")
    until: Moment | None = Field(None, description="In place of `to`: up to this full quarter of an hour.")
    time_zone: Word = Field("UTC", description="In which days begin: a name such as America/Denver.")
    by: Literal["hour", "day", "week", "month"] | None = Field(None, description="A row for each of them.")
    per: Literal["gateway", "app", "method", "category", "item_type"] | None = Field(
        None, description="Of the breakdown: by what."
    )
    gateway: GatewayName | None = None
    app: Word | None = None
    event_id: Word | None = Field(None, description="Of orders and tickets: the event that is sold.")
    month: Annotated[str, Field(pattern=r"^\d{4}-\d\d$")] | None = Field(
        None, description="Of the statement: which month; the last one that has ended when not given."
    )
    livemode: bool = Field(True, description="Real money; false for test mode. Never both together.")
    format: Literal["json", "csv"] = "json"


class ReportAnswer(BaseModel):
    """What a report answers. Amounts are whole minor units, and decimal text under the name without `_minor`."""

    report: str
    definition: str = Field(description="What exactly is counted.")
    merchant: str
    livemode: bool
    since: datetime | None
    until: datetime | None = Field(description="The period ends before it.")
    time_zone: str | None
    as_of: datetime = Field(description="Everything that was recorded until then is counted.")
    served_by: str = Field(description="Which database answered.")
    rows: list[dict[str, Any]] = Field(description="One currency a row.")


class ReportInList(BaseModel):
    """A report that there is."""

    report: str
    title: str
    definition: str


class ReportList(BaseModel):
    """The reports that there are."""

    reports: list[ReportInList]


class GatewayFigures(BaseModel):
    """What came through one gateway in one currency."""

    gateway_provider: str
    currency: str
    total_transactions: int
    total_amount: str | None = Field(description="Decimal text; null where the gateway named no currency.")
    total_amount_minor: int
    avg_processing_time: float | None = Field(description="Seconds from the first fact to completion.")
    p95_processing_time: float | None


router = APIRouter(tags=["analytics"])


@router.get("/analytics")
async def list_reports(caller: Reader) -> ReportList:  # noqa: ARG001 - a key is needed, whoever's
    """List the reports, and what each counts."""
    return ReportList(
        reports=[
            ReportInList(report=name, title=DEFINITIONS[name].title, definition=DEFINITIONS[name].text)
            for name in REPORTS
        ]
    )


@router.get("/analytics/{report}", responses=MISSING, response_model=ReportAnswer)
async def show_report(
    request: Request, caller: Reader, report: Annotated[ReportName, Path()], asking: Annotated[Asking, Query()]
) -> Response:
    """Show a report of the merchant's own figures."""
    answer = _asked(request, caller, report, asking)
    if asking.format == "csv":
        return Response(answer.as_csv(), media_type=CSV, headers=_told(answer))
    return Response(ReportAnswer.model_validate(answer.as_json()).model_dump_json(), media_type="application/json")


@router.get("/payments/analytics")
async def show_payment_analytics(
    request: Request,
    response: Response,
    caller: Reader,
    days: Annotated[int, Query(ge=1, le=3660, description="How many days back from now.")] = SEED_DAYS,
    livemode: Annotated[bool, Query(description="Real money; false for test mode.")] = True,
) -> list[GatewayFigures]:
    """Show per gateway how many payments there were, how much they were, and how long they took.

    What exactly is counted, and until when, is in the headers Gatehouse-Definition and Gatehouse-As-Of; the same
    figures with all of it in the answer are `/api/analytics/gateways`.
    """
    now = datetime.now(UTC)
    begin = now - timedelta(days=days)
    begin -= (begin - datetime(2000, 1, 1, tzinfo=UTC)) % QUARTER
    asking = Asking.model_validate({"since": begin.isoformat(), "livemode": livemode})
    answer = _asked(request, caller, "gateways", asking, now=now)
    response.headers.update(_told(answer))
    return [
        GatewayFigures(
            gateway_provider=row["gateway"],
            currency=row["currency"],
            total_transactions=row["payments"],
            total_amount=row["amount"],
            total_amount_minor=row["amount_minor"],
            avg_processing_time=row["average_processing_seconds"],
            p95_processing_time=row["p95_processing_seconds"],
        )
        for row in answer.as_json()["rows"]
    ]


def _asked(
    request: Request, caller: Caller, report: ReportName, asking: Asking, *, now: datetime | None = None
) -> Answer:
    asked = arguments(**asking.model_dump(exclude={"format"}))
    database = desk_of(request).database()
    if caller.merchant == ALL_MERCHANTS:
        raise InputRefused("Each answer is of one merchant.", field=MERCHANT_HEADER, place="header")
    if is_about_health(report, asked) and not may_read_health_data(database, caller.merchant, caller.key_id):
        raise RequestRefused("The key may not see health data.", code="HEALTH_DATA_NOT_ALLOWED", status=403)
    at = now or datetime.now(UTC)
    kept = in_backup(report, asked)
    backup = desk_of(request).backup() if kept != "not" else None

    def read(asked_of: Database) -> Answer:
        return ask(asked_of, caller.merchant, report, asked, now=at, from_backup=asked_of is backup)

    most_lag = settings().backup_most_lag_seconds
    if backup and kept == "whole" and reading_database(database, backup, max_lag_seconds=most_lag).served_by == BACKUP:
        try:
            return read(backup)
        except (ConnectionError, TimeoutError):
            return read(database)
    return read_from_either(database, backup, read).found


def _told(answer: Answer) -> dict[str, str]:
    return {
        "gatehouse-as-of": answer.as_of.isoformat(),
        "gatehouse-definition": answer.definition,
        "gatehouse-served-by": answer.served_by,
    }

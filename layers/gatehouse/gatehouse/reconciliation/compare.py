"""Compares one day of one account with what its gateway lists, and leaves a job for everything that is missing.

The job is `refetch`, as where an event leaves something open: its answer goes through the same merge as an event, so
an event that comes after all changes nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from datetime import date as Date
from itertools import batched
from typing import Protocol

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.errors import GatewayListsNothing
from gatehouse.facts import ObjectName, PaymentStatus
from gatehouse.gateways import Listed
from gatehouse.jobs.claim import Done, Hopeless, Job, Outcome
from gatehouse.observability import log, metrics
from gatehouse.reconciliation.plan import sql

NAMES_A_QUESTION = 500

_STEPS = {status.value: step for step, status in enumerate(PaymentStatus)}
# What the ladder is called in our rows, where the word is another: a reversed payment shows as cancelled.
_STEP_OF_ROW = {
    **_STEPS,
    PaymentStatus.CANCELLED.value: _STEPS[PaymentStatus.REVERSED],
    "refunded": _STEPS[PaymentStatus.COMPLETED],
    "partially_refunded": _STEPS[PaymentStatus.COMPLETED],
}


class ListingClient(Protocol):
    """The part of a gateway's client that lists."""

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give every payment that was made in a span of time, page by page."""
        ...


def compare_day(job: Job, client: ListingClient, database: Database, *, livemode: bool | None) -> Outcome:
    """Compare the job's day with the gateway's list, ask for what is missing, and note how complete the day is."""
    try:
        gateway, account = job.arguments["gateway"], job.arguments["account"]
        day, slot = Date.fromisoformat(job.arguments["day"]), job.arguments["slot"]
    except (KeyError, ValueError) as wrong:
        return Hopeless(f"the job does not say its {wrong}")
    since = datetime.combine(day, time(), UTC)
    listed: dict[ObjectName, Listed] = {}  # one that slips to the next page meanwhile would count twice
    try:
        for each in client.listed_payments(since, since + timedelta(days=1)):
            listed[each.name] = each
    except GatewayListsNothing as reason:  # which nobody can mend but by asking the gateway for it
        log.warning("a gateway lists nothing", where=f"{gateway}/{account} {day}", reason=str(reason))
        return Done()
    missing = [
        each
        for names in batched(listed.values(), NAMES_A_QUESTION, strict=False)
        for each in behind(database, gateway, account, names)
    ]
    metrics.count("PaymentsListed", len(listed), gateway=gateway)
    metrics.count("PaymentsMissing", len(missing), gateway=gateway)
    if missing:
        where = f"{gateway}/{account} {day}"
        log.warning("payments that no event told of", where=where, listed=len(listed), missing=len(missing))
    asked = [
        {
            "key": "/".join((gateway, account, *each.name, "listed", slot)),
            "arguments": {
                "gateway": gateway,
                "account": account,
                "kind": each.name.kind,
                "id": each.name.id,
                "livemode": livemode,
            },
        }
        for each in missing
    ]
    return Done(
        [
            sql.note(
                gateway=gateway,
                account=account,
                day=day,
                merchant=job.merchant,
                listed=len(listed),
                recorded=len(listed) - len(missing),
            ),
            *([sql.ask_for(merchant=job.merchant, missing=Json(asked))] if asked else []),
        ]
    )


def behind(database: Database, gateway: str, account: str, listed: Sequence[Listed]) -> list[Listed]:
    """Return what of a list is not here, or is here with less than the gateway says of it."""
    names = [{"kind": each.name.kind, "id": each.name.id} for each in listed]
    rows = database.query(sql.known, gateway=gateway, account=account, names=Json(names))
    held = {ObjectName(row["kind"], row["id"]): row["status"] for row in rows}
    return [each for each in listed if not _is_as_far(held.get(each.name), each)]


def _is_as_far(held: str | None, listed: Listed) -> bool:
    if held is None or listed.status is None:
        return held is not None
    if listed.name.kind == "refund":  # whose ladder is another; one that is pending here may have ended there
        return held != "pending" or listed.status in (PaymentStatus.PENDING, PaymentStatus.PROCESSING)
    return _STEP_OF_ROW[held] >= _STEPS[listed.status]

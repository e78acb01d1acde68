"""Sends a refund that somebody asked for to its gateway, once, whatever is interrupted.

Where the gateway honours an idempotency key, an interrupted call is simply made again while the key is remembered. Else
nobody knows whether an interrupted call was carried out: then the gateway's refunds are listed and ours is looked for
among them. Where it is not found, nothing is sent again: the request becomes `unknown` and waits for a person.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast
from uuid import UUID

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound
from gatehouse.errors import GatewayError, GatewayKeyRefused
from gatehouse.facts import Fact, ObjectName, RefundFact, RefundStatus
from gatehouse.gateways import Fetched
from gatehouse.intake.record import fetched_facts
from gatehouse.jobs.claim import Done, Hopeless, Job, Outcome, Postponed
from gatehouse.models.refunds import RefundRequest, find_refund_request, sql
from gatehouse.models.scope import flush_for

LISTINGS_UNTIL_UNKNOWN = 4  # a gateway may show a refund some time after it took it
OUR_NAME = "gatehouse_refund"


class RefundClient(Protocol):
    """The part of a gateway's client that refunds."""

    @property
    def refundable(self) -> tuple[str, ...]:
        """The kinds of payment names that it can refund, the best first."""
        ...

    @property
    def keeps_refund_keys(self) -> timedelta:
        """For how long a second call with the same idempotency key is no second refund; zero where there are none."""
        ...

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:
        """Refund a part of a payment, or all of it; return its RefundFact. What was refused raises GatewayError."""
        ...

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return the RefundFacts of all refunds of a payment."""
        ...


def send_refund(
    job: Job,
    client_of: Callable[[str, str], RefundClient],
    database: Database,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Outcome:
    """Ask the gateway for the refund of a job, and record what it says."""
    request = find_refund_request(database, job.merchant, UUID(job.arguments["request"]))
    if request.state not in ("pending", "sending"):
        return Done()
    client = client_of(request.gateway, request.account)
    name = _refundable_name(job, client)
    if name is None:
        return Hopeless(f"{request.gateway} can refund none of the names of this payment")
    may_repeat = now() - request.created_at < client.keeps_refund_keys
    if request.state == "sending" and not may_repeat:
        return _look_for_it(job, request, client, name, database)
    # Kept before the call leaves: whoever comes after an interruption must know that there may have been one.
    flush_for(database, job.merchant, _note(request, "sending"))
    try:
        fetched = client.refund(
            name, amount_minor=request.amount_minor, currency=request.currency, idempotency_key=str(request.id)
        )
    except GatewayKeyRefused as refusal:  # of us, and not of the refund: it was not made, and a person mends the key
        return _not_made(request, refusal, database)
    except GatewayError as refusal:
        if refusal.retry_helps:
            raise
        return _failed(job, request, refusal.gateway_words or str(refusal), now())
    return _sent(job, request, fetched)


def _refundable_name(job: Job, client: RefundClient) -> ObjectName | None:
    names = [ObjectName(each["kind"], each["id"]) for each in job.arguments["payment"]]
    return next((name for kind in client.refundable for name in names if name.kind == kind), None)


def _look_for_it(
    job: Job, request: RefundRequest, client: RefundClient, name: ObjectName, database: Database
) -> Outcome:
    """Look for the refund of an interrupted call among those of the gateway."""
    listed = client.list_refunds(name)
    refunds = [fact for fact in listed.facts if isinstance(fact, RefundFact)]
    marked = [fact for fact in refunds if (fact.metadata or {}).get(OUR_NAME) == str(request.id)]
    if marked:
        return _sent(job, request, Fetched((marked[0],), listed.answered_at))
    candidates = [fact for fact in refunds if _may_be(fact, request)]
    ids = [name.id for fact in candidates for name in fact.objects]
    rows = database.query(
        sql.refunds_that_we_know_ours, gateway=request.gateway, account=request.account, object_ids=ids
    )
    ours = {row["object_id"] for row in rows}
    free = [fact for fact in candidates if ours.isdisjoint(name.id for name in fact.objects)]
    if len(free) == 1:
        return _sent(job, request, Fetched((free[0],), listed.answered_at))
    if free:
        return Done([_note(request, "unknown", f"{len(free)} refunds at the gateway could be this one")])
    if job.attempts <= LISTINGS_UNTIL_UNKNOWN:
        return Postponed("the call was interrupted, and the gateway does not show the refund yet")
    return Done([_note(request, "unknown", "the call was interrupted, and the gateway shows no such refund")])


def _may_be(fact: RefundFact, request: RefundRequest) -> bool:
    return (
        fact.amount_minor == request.amount_minor
        and fact.currency in (None, request.currency)
        and (fact.refunded_at is None or fact.refunded_at >= request.created_at.replace(microsecond=0))
    )


def _sent(job: Job, request: RefundRequest, fetched: Fetched) -> Done:
    """Return what the gateway said, its refund and ours being one."""
    ours = ObjectName(OUR_NAME, str(request.id))
    first = next(place for place, fact in enumerate(fetched.facts) if isinstance(fact, RefundFact))
    facts: list[Fact] = list(fetched.facts)
    refund = cast(RefundFact, facts[first])
    facts[first] = refund._replace(objects=(*refund.objects, ours))
    effects = _effects(job, request, facts, fetched.answered_at)
    if refund.status is RefundStatus.FAILED:  # some gateways refuse with a refund that was declined
        reason = refund.failure_message or refund.failure_code or "the gateway declined it"
        return Done([*effects, _note(request, "failed", reason[:500])])
    return Done([*effects, _note(request, "sent")])


def _failed(job: Job, request: RefundRequest, reason: str, at: datetime) -> Done:
    fact = RefundFact(
        (ObjectName(OUR_NAME, str(request.id)),), status=RefundStatus.FAILED, failure_message=reason[:500]
    )
    return Done([*_effects(job, request, [fact], at), _note(request, "failed", reason[:500])])


def _not_made(request: RefundRequest, refusal: GatewayError, database: Database) -> Hopeless:
    flush_for(database, request.merchant, _note(request, "pending", str(refusal)[:500]))
    return Hopeless(f"{refusal.code}: {refusal}")


def _effects(job: Job, request: RefundRequest, facts: Sequence[Fact], at: datetime) -> list[Bound]:
    return fetched_facts(
        GatewayAccount(request.gateway, request.account, job.merchant, "both", ()),
        tuple(facts),
        said_by=f"job {job.id}",
        occurred_at=at,
        job_id=job.id,
        livemode=job.arguments["livemode"],
    )


def _note(request: RefundRequest, state: str, failure: str | None = None) -> Bound:
    return sql.note_refund(request=request.id, state=state, failure=failure)

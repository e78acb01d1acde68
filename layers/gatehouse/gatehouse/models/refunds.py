"""Refunds: what gateways say of money given back, and the refunds that we ask gateways for.

A refund of ours is three rows written together: the request, the refund (pending), and the job that sends it. The
request says what became of the asking; the refund says what became of the money.
"""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound, ValidationError
from gatehouse.models.scope import Page, Store, checked_most, flush_for, page_of, place_after, write_for

sql = load_statements(Path(__file__).with_name("refunds.sql"))

REFUNDING_GATEWAYS = ("stripe", "paypal", "paystack", "sayswitch", "mx_merchant")
FULL_REFUNDS_ONLY = ("sayswitch",)
STATUSES = ("pending", "completed", "cancelled", "failed")
REQUEST_STATES = ("pending", "sending", "sent", "failed", "unknown")
MOST_REASON_CHARACTERS = 200


class Refund(NamedTuple):
    """A row of `refunds`."""

    id: int
    merchant: str
    gateway: str
    account: str
    livemode: bool
    gateway_id: str
    payment_id: int | None
    status: str
    amount_minor: int | None
    currency: str | None
    fee_minor: int | None
    reason: str | None
    failure_code: str | None
    failure_message: str | None
    reference: str | None
    refunded_at: datetime | None
    metadata: dict[str, Any] | None
    first_fact_at: datetime
    last_fact_at: datetime


class RefundRequest(NamedTuple):
    """A refund that we asked for: the asking (`state`), the money (`refund_status`), and the job that sends it."""

    id: UUID
    merchant: str
    payment_id: int
    refund_id: int
    gateway: str
    account: str
    amount_minor: int
    currency: str
    reason: str | None
    state: str  # pending, sending, sent, failed; unknown: nobody knows, and a person has to look
    failure: str | None
    refund_status: str
    gateway_id: str  # the gateway's, once it has answered
    actor: str
    job_id: int
    job_status: str
    job_error: str | None
    created_at: datetime
    updated_at: datetime


def request_refund(
    store: Store,
    merchant: str,
    payment_id: int,
    *,
    amount_minor: int | None = None,
    reason: str | None = None,
    idempotency_key: str | None = None,
    actor: str = "",
) -> RefundRequest:
    """Ask for a refund, of all that is left where no amount is given; raise RefundTooLarge, Conflict or NotFound.

    Its job is written, and not rung for: call `bell().ring([(request.job_id, "send_refund")])`, or the sweeper rings.
    """
    if amount_minor is not None and (
        not isinstance(amount_minor, int) or isinstance(amount_minor, bool) or amount_minor < 1
    ):
        raise ValidationError.of_field("amount_minor", "must be a whole number of minor units, at least 1")
    for field, value in (("reason", reason), ("idempotency_key", idempotency_key)):
        if value is not None and not 0 < len(value) <= MOST_REASON_CHARACTERS:
            raise ValidationError.of_field(field, f"must be a text of 1 to {MOST_REASON_CHARACTERS} characters")
    _asked, rows = write_for(
        store,
        merchant,
        sql.request_refund(
            payment_id=payment_id,
            amount_minor=amount_minor,
            reason=reason,
            idempotency_key=idempotency_key,
            gateways=list(REFUNDING_GATEWAYS),
            full_only=list(FULL_REFUNDS_ONLY),
        ),
        sql.requested_refund(merchant=merchant),
        actor=actor,
    )
    return RefundRequest(**rows[0])


def find_refund_request(store: Store, merchant: str, request: UUID) -> RefundRequest:
    """Return one refund that we asked for, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.refund_request(merchant=merchant, request=request))
    if not rows:
        raise NotFound("there is no such refund request")
    return RefundRequest(**rows[0])


def list_refund_requests(
    store: Store,
    merchant: str,
    *,
    state: str | None = None,
    payment_id: int | None = None,
    after: str | None = None,
    most: int = 20,
) -> Page[RefundRequest]:
    """Return a page of the refunds that we asked for, newest first; those that wait for a person are `unknown`."""
    if state is not None and state not in REQUEST_STATES:
        raise ValidationError.of_field("state", f"must be one of {', '.join(REQUEST_STATES)}")
    bound = sql.list_refund_requests(
        merchant=merchant,
        state=state,
        payment_id=payment_id,
        most=checked_most(most) + 1,
        **place_after(after, UUID),
    )
    (rows,) = flush_for(store, merchant, bound)
    return page_of([RefundRequest(**row) for row in rows], most, lambda last: (last.created_at, last.id))


def send_refund_again(store: Store, merchant: str, request: UUID, *, actor: str = "") -> RefundRequest:
    """Let an unknown refund be sent anew, as a person has seen that it was not made; raise Conflict for any other."""
    _done, rows = write_for(
        store,
        merchant,
        sql.send_refund_again(request=request),
        sql.refund_request(merchant=merchant, request=request),
        actor=actor,
    )
    return RefundRequest(**rows[0])


def settle_refund(store: Store, merchant: str, request: UUID, *, made_as: str | None, actor: str = "") -> RefundRequest:
    """Settle an unknown refund by what a person has seen: made under the gateway's name for it, or (None) not made.

    Raise Conflict where it is not unknown, NotFound where nothing has told of a refund of that name yet, and
    ValidationError where that is one of another payment or amount.
    """
    _done, rows = write_for(
        store,
        merchant,
        sql.settle_unknown_refund(request=request, made_as=made_as),
        sql.refund_request(merchant=merchant, request=request),
        actor=actor,
    )
    return RefundRequest(**rows[0])


def find_refund(store: Store, merchant: str, refund_id: int) -> Refund:
    """Return one refund by id, or raise NotFound."""
    (rows,) = flush_for(store, merchant, sql.refund_by_id(merchant=merchant, refund_id=refund_id))
    if not rows:
        raise NotFound("there is no such refund")
    return Refund(**rows[0])


def refunds_of_payment(store: Store, merchant: str, payment_id: int) -> list[Refund]:
    """Return the refunds of a payment, oldest first."""
    (rows,) = flush_for(store, merchant, sql.refunds_of_payment(merchant=merchant, payment_id=payment_id))
    return [Refund(**row) for row in rows]


def list_refunds(
    store: Store, merchant: str, *, status: str | None = None, after: str | None = None, most: int = 20
) -> Page[Refund]:
    """Return a page of refunds, whoever asked for them, newest first."""
    if status is not None and status not in STATUSES:
        raise ValidationError.of_field("status", f"must be one of {', '.join(STATUSES)}")
    bound = sql.list_refunds(merchant=merchant, status=status, most=checked_most(most) + 1, **place_after(after))
    (rows,) = flush_for(store, merchant, bound)
    return page_of([Refund(**row) for row in rows], most, lambda last: (last.first_fact_at, last.id))

"""Refunds that the merchant asks for: recorded first, then sent to the gateway by a job, settled by its event."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from gatehouse.database.connection import Transaction
from gatehouse.http_api.application import CHANGE, ONE
from gatehouse.http_api.callers import Reader, Writer, desk_of
from gatehouse.http_api.fields import Money, RowId, Word, money
from gatehouse.http_api.pages import Filters, Page, after_text, stored_page
from gatehouse.http_api.repetition import Answer, written_once
from gatehouse.http_api.resources import resource
from gatehouse.models import refunds
from gatehouse.money import MOST_MINOR

TOPIC = "send_refund"

type RequestState = Literal["pending", "sending", "sent", "failed", "unknown"]


class RefundRequestFilters(Filters):
    """Which of them are wanted; those that wait for a person are `unknown`."""

    state: RequestState | None = None
    payment_id: RowId | None = None


class NewRefund(BaseModel):
    """A refund to be asked for."""

    model_config = ConfigDict(extra="forbid")

    payment_id: Annotated[RowId, Field(strict=True)]
    amount_minor: Annotated[int, Field(strict=True, ge=1, le=MOST_MINOR)] | None = Field(
        None, description="In the currency of the payment; all that is left of it when not given."
    )
    reason: Word | None = None


class RefundRequest(BaseModel):
    """A refund that was asked for: what became of the asking, and of the money."""

    id: UUID
    merchant: str
    payment_id: int
    refund_id: int
    gateway: str
    account: str
    amount: Money
    reason: str | None
    state: RequestState = Field(description="Of the asking; unknown: nobody knows, and a person has to look.")
    failure: str | None = Field(description="Why the gateway refused it.")
    refund_status: str = Field(description="Of the money.")
    gateway_id: str = Field(description="The gateway's, once it has answered.")
    actor: str
    created_at: datetime
    updated_at: datetime


router = APIRouter(tags=["refunds"])


@router.post("/refunds", status_code=202, response_model=RefundRequest, responses=CHANGE)
async def ask_for_refund(
    request: Request,
    caller: Writer,
    refund: NewRefund,
    key: Annotated[
        str,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=200,
            pattern=r"^[\x21-\x7e]+$",
            description="Made by you for this refund, such as a UUID. Needed: sent twice, it would be two refunds.",
        ),
    ],
) -> Response:
    """Ask for a refund. It is recorded at once, sent within seconds, and settled when the gateway says so."""
    jobs: list[tuple[int, str]] = []

    def ask(transaction: Transaction) -> Answer:
        asked = refunds.request_refund(
            transaction,
            caller.merchant,
            refund.payment_id,
            amount_minor=refund.amount_minor,
            reason=refund.reason,
            actor=caller.actor,
        )
        jobs.append((asked.job_id, TOPIC))
        return Answer(202, _shown(asked).model_dump(mode="json"))

    answer = await written_once(request, caller, key, ask)
    if jobs:
        bell = desk_of(request).bell()
        bell.ring(jobs)
        bell.ring_for_backup()
    return answer


@router.get("/refund-requests")
async def list_refund_requests(
    request: Request, caller: Reader, filters: Annotated[RefundRequestFilters, Query()]
) -> Page[RefundRequest]:
    """List the refunds that were asked for here, newest first."""
    found = refunds.list_refund_requests(
        desk_of(request).database(),
        caller.merchant,
        **filters.wanted(),
        after=after_text(filters),
        most=filters.limit,
    )
    return stored_page(found.rows, found.next, filters, _shown)


@router.get("/refund-requests/{request_id}", response_model=RefundRequest, responses=ONE)
async def show_refund_request(request: Request, caller: Reader, request_id: UUID) -> Response:
    """Show one refund that was asked for."""
    found = refunds.find_refund_request(desk_of(request).database(), caller.merchant, request_id)
    return resource(request, _shown(found))


def _shown(asked: refunds.RefundRequest) -> RefundRequest:
    row = asked._asdict()
    return RefundRequest.model_validate({**row, "amount": money(row, "amount_minor")})

"""PayPal's disputes in our words: inquiries, claims and chargebacks, and the RISK.DISPUTE of old."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from gatehouse.facts import DisputeFact, DisputeStatus, Fact, ObjectName
from gatehouse.gateways.fields import first_moment, identifier, mapping, text
from gatehouse.gateways.paypal.resource import Said, amount_of, required_id, status_word, things

STATUS_BY_NAME = {
    "CUSTOMER.DISPUTE.CREATED": DisputeStatus.NEEDS_RESPONSE,
    "RISK.DISPUTE.CREATED": DisputeStatus.NEEDS_RESPONSE,
    "CUSTOMER.DISPUTE.RESOLVED": DisputeStatus.CLOSED,
}
STATUSES = {
    "open": DisputeStatus.NEEDS_RESPONSE,
    "waiting_for_seller_response": DisputeStatus.NEEDS_RESPONSE,
    "waiting_for_buyer_response": DisputeStatus.UNDER_REVIEW,  # nothing for the merchant to do
    "under_review": DisputeStatus.UNDER_REVIEW,
    "resolved": DisputeStatus.CLOSED,
}
# Buyer and merchant talk without PayPal (INQUIRY) as long as nobody is waited for but the buyer.
AT_REST_IN_AN_INQUIRY = ("open", "waiting_for_buyer_response")
# Every other outcome names no winner: cancelled by the buyer, paid by PayPal itself, merged into another dispute.
STATUS_BY_OUTCOME = {
    "RESOLVED_BUYER_FAVOUR": DisputeStatus.LOST,
    "RESOLVED_SELLER_FAVOUR": DisputeStatus.WON,
}
# The API's own list spells it with an S, its payloads with a Z: one word, so that reports count one reason.
SPELT_OTHERWISE = {"UNAUTHORISED": "UNAUTHORIZED"}

MOST_MILLISECONDS = 253_402_300_799_999  # the last of the year 9999


def dispute_facts(said: Said) -> tuple[Fact, ...]:
    """Say how a dispute stands, and which payment it is about."""
    dispute = said.resource
    amount = amount_of(dispute.get("dispute_amount"))
    status = _status(said)
    ended = status in (DisputeStatus.CLOSED, DisputeStatus.WON, DisputeStatus.LOST)
    reason = text(dispute.get("reason"))
    return (
        DisputeFact(
            objects=(ObjectName("dispute", required_id(dispute.get("dispute_id"))),),
            payment=_payment(dispute),
            status=status,
            amount_minor=amount.minor,
            currency=amount.currency,
            reason=SPELT_OTHERWISE.get(reason or "", reason),
            outcome=_outcome(dispute),
            respond_by=first_moment(dispute, "seller_response_due_date"),
            opened_at=first_moment(dispute, "create_time") or _unix_milliseconds(dispute.get("dispute_creation_date")),
            closed_at=first_moment(dispute, "update_time") or said.at if ended else None,
        ),
    )


def _status(said: Said) -> DisputeStatus | None:
    word = status_word(said.resource)
    status = STATUSES.get(word, STATUS_BY_NAME.get(said.type))
    if status is DisputeStatus.CLOSED:
        return STATUS_BY_OUTCOME.get(_outcome(said.resource) or "", status)
    if word in AT_REST_IN_AN_INQUIRY and said.resource.get("dispute_life_cycle_stage") == "INQUIRY":
        return DisputeStatus.WARNING
    return status


def _outcome(dispute: Mapping[str, Any]) -> str | None:
    return text(mapping(dispute.get("dispute_outcome")).get("outcome_code"))


def _payment(dispute: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    """Return the disputed payment; a dispute about several is about none of them alone."""
    ids = {identifier(each.get("seller_transaction_id")) for each in things(dispute.get("disputed_transactions"))}
    ids.add(identifier(dispute.get("seller_payment_id")))  # of RISK.DISPUTE
    named = [each for each in ids if each]
    return (ObjectName("transaction", named[0]),) if len(named) == 1 else ()


def _unix_milliseconds(value: object) -> datetime | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_MILLISECONDS:
        return None
    return datetime.fromtimestamp(value // 1000, UTC)

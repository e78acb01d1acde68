"""PayPal's events in our words: payments of the Orders API (v2) and of the older Payments API (v1).

One money speaks as an order, an authorisation and a capture, or as a sale; the ids of the others are in fields or only
in links. Each event becomes a fact about the payment that all these names lead to.

A field that is missing, null or of another type says nothing. Only money that is said to have come in must be beyond
doubt: when its amount or currency makes no sense, the event is refused, which keeps it as failed with the reason.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import (
    MOST_ID_CHARACTERS,
    currency_code,
    first_moment,
    identifier,
    mapping,
    minor_of_major,
    moment,
    text,
)
from gatehouse.gateways.json_body import read_json_object

NAME = "paypal"

# Every event that becomes a fact, and the step that its name alone tells; the object's own status goes before it.
# All others are kept as ignored.
HANDLED = {
    "PAYMENT.AUTHORIZATION.CREATED": PaymentStatus.PROCESSING,
    "PAYMENT.AUTHORIZATION.VOIDED": PaymentStatus.CANCELLED,
    "PAYMENT.CAPTURE.COMPLETED": PaymentStatus.COMPLETED,
    "PAYMENT.CAPTURE.DECLINED": PaymentStatus.FAILED,
    "PAYMENT.CAPTURE.DENIED": PaymentStatus.FAILED,
    "PAYMENT.CAPTURE.PENDING": PaymentStatus.PROCESSING,
    "PAYMENT.SALE.COMPLETED": PaymentStatus.COMPLETED,
    "PAYMENT.SALE.DENIED": PaymentStatus.FAILED,
    "PAYMENT.SALE.PENDING": PaymentStatus.PROCESSING,
}

# These speak of a payment by their names, and carry a refund: its id and its amount, not the payment's.
CARRY_A_REFUND = (
    "PAYMENT.CAPTURE.REFUNDED",
    "PAYMENT.CAPTURE.REVERSED",
    "PAYMENT.SALE.REFUNDED",
    "PAYMENT.SALE.REVERSED",
)

# https://developer.paypal.com/docs/api/payments/v2: `status`; in v1 it is `state`, with the same words in lower case.
CAPTURE_STATUSES = {
    "pending": PaymentStatus.PROCESSING,  # the buyer has paid; an eCheck clears, or the merchant must accept it
    "completed": PaymentStatus.COMPLETED,
    "partially_refunded": PaymentStatus.COMPLETED,
    "refunded": PaymentStatus.COMPLETED,
    "declined": PaymentStatus.FAILED,
    "denied": PaymentStatus.FAILED,
    "failed": PaymentStatus.FAILED,
}
AUTHORIZATION_STATUSES = {
    "pending": PaymentStatus.PENDING,
    "created": PaymentStatus.PROCESSING,
    "authorized": PaymentStatus.PROCESSING,
    "partially_created": PaymentStatus.PROCESSING,
    "partially_captured": PaymentStatus.PROCESSING,  # what came in, its captures say
    "captured": PaymentStatus.PROCESSING,
    "denied": PaymentStatus.FAILED,
    "expired": PaymentStatus.CANCELLED,
    "voided": PaymentStatus.CANCELLED,
}

# https://developer.paypal.com/reference/currency-codes: PayPal takes whole forints, yen and Taiwan dollars only.
WITHOUT_DECIMALS = ("HUF", "JPY", "TWD")

# The merchant's own words, v2 and v1; the first that says something is the reference.
MERCHANTS_OWN = ("invoice_id", "custom_id", "invoice_number", "custom")

# How the resources of different events name themselves.
MAIN_IDS = ("id", "dispute_id", "payout_item_id")

# What the last two parts of a link's path name: …/v2/checkout/orders/<id>. Links are read and never followed.
KIND_IN_A_LINK = {
    "orders": "order",
    "authorization": "authorization",
    "authorizations": "authorization",
    "payment": "payment",
}
_NAME_IN_A_LINK = re.compile(r".*/([a-z]{1,20})/([A-Z0-9-]{1,255})", re.ASCII)
_SANDBOX_LINK = re.compile(r"https://api(-m)?\.sandbox\.paypal\.com/", re.ASCII)


class Said(NamedTuple):
    """What one event says: its name, when it happened, whether with real money, and the resource it speaks of."""

    type: str
    occurred_at: datetime | None
    livemode: bool | None
    resource: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """What the resource is: an authorization, capture or sale."""
        return self.type.split(".")[1].lower()


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds; raise RequestRefused when it is not JSON or no event of PayPal's."""
    payload = read_json_object(body)
    for name in ("id", "event_type"):
        if not identifier(payload.get(name)):
            raise _no_event(f'its "{name}" is not a text of 1 to {MOST_ID_CHARACTERS} characters')
    if len(_event_id(payload)) > MOST_ID_CHARACTERS:
        raise _no_event(f'its "id" and "event_type" have more than {MOST_ID_CHARACTERS} characters together')
    return payload


def translate(payload: dict[str, Any], account: str) -> Event:  # noqa: ARG001 - every gateway's translate is called alike
    """Say in our words what an event of `read_event` says; never fails, whatever the resource holds."""
    said = Said(
        type=payload["event_type"],
        # The simulator sends events of the 19th month. PayPal's own advice is the time of sending, which no body says.
        occurred_at=moment(payload.get("create_time")),
        livemode=_livemode(payload),
        resource=mapping(payload.get("resource")),
    )
    facts: tuple[PaymentFact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = _not_handled(said.type)
    else:
        try:
            facts = (_payment_fact(said),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=_event_id(payload),
        type=said.type,
        occurred_at=said.occurred_at,
        livemode=said.livemode,
        facts=facts,
        reference=next((found for name in MAIN_IDS if (found := identifier(said.resource.get(name)))), None),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as PayPal writes it in minor units of ISO 4217; raise FactRefused where it makes no sense."""
    minor = minor_of_major(amount, currency)
    if currency_code(currency) in WITHOUT_DECIMALS and isinstance(amount, (str, Decimal)) and Decimal(amount) % 1:
        raise FactRefused(f"the amount {amount} is not a whole number of {currency}")
    return minor


def _event_id(payload: Mapping[str, Any]) -> str:
    """Return what tells an event from every other: events of the simulator share their ids across types."""
    return f"{payload['id']}:{payload['event_type']}"


def _livemode(payload: Mapping[str, Any]) -> bool | None:
    """Return False for an event that links to the sandbox, else None: then the account says.

    A link to api.paypal.com proves nothing, for the simulator's events have it too. Verification has done the rest: a
    live account believes the live certificate only, and a test account not even that.
    """
    hrefs = (*_hrefs(payload), *_hrefs(mapping(payload.get("resource"))))
    return False if any(_SANDBOX_LINK.match(href) for href in hrefs) else None


def _hrefs(holder: Mapping[str, Any]) -> Iterator[str]:
    links = holder.get("links")
    for link in links if isinstance(links, list) else ():
        href = mapping(link).get("href")
        if isinstance(href, str):
            yield href


def _not_handled(event_type: str) -> str:
    if event_type in CARRY_A_REFUND:
        return f"not a payment event but a refund: {event_type}"
    return f"event type not handled: {event_type}"


def _payment_fact(said: Said) -> PaymentFact:
    resource = said.resource
    status = _status(said)
    completed = status is PaymentStatus.COMPLETED
    amount_minor, currency = _amount(resource.get("amount"), must_be_known=completed)
    fee_minor, fee_currency = _fee(resource) if completed else (None, None)
    own_words = {name: word for name in MERCHANTS_OWN if (word := text(resource.get(name)))}
    return PaymentFact(
        objects=_objects(said),
        status=status,
        amount_minor=amount_minor,
        received_minor=amount_minor if completed else None,
        currency=currency,
        fee_minor=fee_minor,
        fee_currency=fee_currency,
        method=(text(resource.get("payment_mode")) or "").lower() or None,
        reference=next(iter(own_words.values()), None),
        metadata=own_words or None,
        failure_code=_failure_code(resource) if status is PaymentStatus.FAILED else None,
        status_reason=_status_reason(said) if status is PaymentStatus.CANCELLED else None,
        completed_at=said.occurred_at or first_moment(resource, "update_time", "create_time") if completed else None,
    )


def _object_status(resource: Mapping[str, Any]) -> str:
    return (text(resource.get("status")) or text(resource.get("state")) or "").lower()


def _status(said: Said) -> PaymentStatus:
    known = AUTHORIZATION_STATUSES if said.kind == "authorization" else CAPTURE_STATUSES
    return known.get(_object_status(said.resource), HANDLED[said.type])


def _status_reason(said: Said) -> str:
    expired = _object_status(said.resource) == "expired"
    return "the authorisation expired" if expired else "the authorisation was voided"


def _failure_code(resource: Mapping[str, Any]) -> str | None:
    return (
        text(mapping(resource.get("status_details")).get("reason"))
        or text(resource.get("reason_code"))
        or text(mapping(resource.get("processor_response")).get("response_code"))
    )


def _objects(said: Said) -> tuple[ObjectName, ...]:
    """Return every name of the money, its own first.

    A capture that is said not to be the final one of its authorisation goes by its own name alone: others may follow,
    each with money of its own, and under one name only the last of them would count.
    """
    resource = said.resource
    if (own_id := identifier(resource.get("id"))) is None:
        raise FactRefused("the resource has no id")
    own = ObjectName(said.kind, own_id)
    if resource.get("final_capture") is False or resource.get("is_final_capture") is False:
        return (own,)
    related = mapping(mapping(resource.get("supplementary_data")).get("related_ids"))
    in_fields = (
        ("order", related.get("order_id")),
        ("authorization", related.get("authorization_id")),
        ("payment", resource.get("parent_payment")),
    )
    names = [ObjectName(kind, found) for kind, value in in_fields if (found := identifier(value))]
    names += [
        ObjectName(KIND_IN_A_LINK[named[1]], named[2])
        for href in _hrefs(resource)
        if (named := _NAME_IN_A_LINK.fullmatch(href)) and named[1] in KIND_IN_A_LINK
    ]
    return tuple(dict.fromkeys((own, *names)))


def _amount(money: object, *, must_be_known: bool) -> tuple[int | None, str | None]:
    """Return an amount and its currency, of v2 {value, currency_code} or of v1 {total or value, currency}."""
    fields = mapping(money)
    amount = fields.get("value", fields.get("total"))
    currency = fields.get("currency_code", fields.get("currency"))
    try:
        return iso_minor(amount, currency), currency_code(currency)
    except FactRefused:
        if must_be_known:
            raise
        return None, currency_code(currency)  # it was not said, or cannot be counted; no money depends on it


def _fee(resource: Mapping[str, Any]) -> tuple[int | None, str | None]:
    breakdown = mapping(resource.get("seller_receivable_breakdown"))
    fee_minor, fee_currency = _amount(breakdown.get("paypal_fee", resource.get("transaction_fee")), must_be_known=False)
    return fee_minor, fee_currency if fee_minor is not None else None


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of PayPal: {reason}", code="NOT_AN_EVENT")

"""Stripe's events in our words. The shapes of API versions 2020-08-27 to 2026-06-24 are read, by meaning.

Here are the envelope, and who reads which event; what an object says is read in the modules beside this one.

A field that is missing, null or of another type says nothing. Only money that is said to have come in or gone back must
be beyond doubt: when its amount or currency makes no sense, the event is refused, which keeps it as failed with the
reason.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, Fact, InvoiceFact, InvoiceStatus, Need, PaymentFact, PaymentStatus
from gatehouse.gateways import refetch
from gatehouse.gateways.fields import MOST_ID_CHARACTERS, identifier, mapping, text
from gatehouse.gateways.json_body import read_json_object
from gatehouse.gateways.stripe.customers import CUSTOMER_EVENTS, customer_facts
from gatehouse.gateways.stripe.invoices import (
    INVOICE_PAYMENT_EVENTS,
    INVOICE_STEPS,
    invoice_facts,
    invoice_payment_facts,
    leaves_its_lines_open,
    leaves_its_payment_open,
)
from gatehouse.gateways.stripe.payments import (
    CHARGE_STEPS,
    CHECKOUT_EVENTS,
    INTENT_STEPS,
    charge_facts,
    checkout_session_facts,
    leaves_refunds_open,
    payment_intent_facts,
)
from gatehouse.gateways.stripe.payouts import PAYOUT_STEPS, TRANSFER_EVENTS, payout_facts, transfer_facts
from gatehouse.gateways.stripe.refunds import DISPUTE_EVENTS, REFUND_STEPS, dispute_facts, refund_facts
from gatehouse.gateways.stripe.shapes import Said, is_time
from gatehouse.gateways.stripe.subscriptions import SUBSCRIPTION_STEPS, subscription_facts

NAME = "stripe"

# Every event that becomes facts, and who reads it; all others are kept as ignored. Top-ups are among those: they bring
# the merchant's own money to Stripe, the other way than payouts. So are credit notes: they change an invoice, which
# says so itself.
HANDLED: Mapping[str, Callable[[Said], tuple[Fact, ...]]] = {
    **dict.fromkeys(INTENT_STEPS, payment_intent_facts),
    **dict.fromkeys(CHARGE_STEPS, charge_facts),
    **dict.fromkeys(CHECKOUT_EVENTS, checkout_session_facts),
    **dict.fromkeys(REFUND_STEPS, refund_facts),
    **dict.fromkeys(DISPUTE_EVENTS, dispute_facts),
    **dict.fromkeys(SUBSCRIPTION_STEPS, subscription_facts),
    **dict.fromkeys(INVOICE_STEPS, invoice_facts),
    **dict.fromkeys(INVOICE_PAYMENT_EVENTS, invoice_payment_facts),
    **dict.fromkeys(PAYOUT_STEPS, payout_facts),
    **dict.fromkeys(TRANSFER_EVENTS, transfer_facts),
    **dict.fromkeys(CUSTOMER_EVENTS, customer_facts),
}

# What the API can be asked about, by the kinds of its names, and who reads the answer.
READERS: Mapping[str, Callable[[Said], tuple[Fact, ...]]] = {
    "payment_intent": payment_intent_facts,
    "charge": charge_facts,
    "checkout_session": checkout_session_facts,
    "refund": refund_facts,
    "dispute": dispute_facts,
    "subscription": subscription_facts,
    "invoice": invoice_facts,
    "payout": payout_facts,
    "transfer": transfer_facts,
    "customer": customer_facts,
}
ASKABLE = frozenset(READERS)


def read_event(body: bytes) -> dict[str, Any]:
    """Return the event that a body holds; raise RequestRefused when it is not JSON or no event of Stripe's."""
    payload = read_json_object(body)
    kind = payload.get("object")
    if isinstance(kind, str) and kind.startswith("v2."):
        raise _no_event("it is a thin v2 event, which holds no object; choose the snapshot payload style in Stripe")
    if kind != "event":
        raise _no_event('its "object" is not "event"')
    for name in ("id", "type"):
        if not identifier(payload.get(name)):
            raise _no_event(f'its "{name}" is not a text of 1 to {MOST_ID_CHARACTERS} characters')
    if not is_time(payload.get("created")):
        raise _no_event('its "created" is not a time')
    if not isinstance(mapping(payload.get("data")).get("object"), dict):
        raise _no_event('its "data" has no "object"')
    return payload


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever the object holds."""
    said = Said(
        object=payload["data"]["object"],
        at=datetime.fromtimestamp(payload["created"], UTC),
        type=payload["type"],
        api_version=text(payload.get("api_version")) or "",
    )
    facts: tuple[Fact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = f"event type not handled: {said.type}"
    else:
        try:
            facts = HANDLED[said.type](said)
        except FactRefused as reason:
            refused_because = str(reason)
        else:
            ignored_because = None if facts else f"it names no payment, subscription or customer: {said.type}"
    return Event(
        event_id=payload["id"],
        type=said.type,
        occurred_at=said.at,
        livemode=payload.get("livemode") is True,  # an event that does not say is never counted as real money
        facts=facts,
        needs=_needs(said, facts, account, payload["id"]),
        reference=identifier(said.object.get("id")),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def _needs(said: Said, facts: tuple[Fact, ...], account: str, event_id: str) -> tuple[Need, ...]:
    """Return what the event leaves open: a fee, which no event says; refunds without names; an invoice's payments."""
    needs = [_fee_of(fact, account) for fact in facts if _has_come_in(fact)]
    if leaves_refunds_open(said, facts):
        needs.append(refetch(NAME, account, "charge", str(said.object["id"]), because=event_id))
    needs += [
        refetch(NAME, account, "invoice", fact.objects[0].id, because=reason)
        for fact in facts
        if isinstance(fact, InvoiceFact) and (reason := _why_it_is_asked_for(said, fact))
    ]
    return tuple(needs)


def _has_come_in(fact: Fact) -> bool:
    return isinstance(fact, PaymentFact) and fact.status is PaymentStatus.COMPLETED and fact.fee_minor is None


def _fee_of(payment: Fact, account: str) -> Need:
    """Return the question for a payment's fee: one job for all events of the payment."""
    asked = next((name for name in payment.objects if name.kind == "payment_intent"), payment.objects[0])
    arguments = {"gateway": NAME, "account": account, "kind": asked.kind, "id": asked.id}
    return Need("fetch_fee", f"{NAME}/{account}/{asked.id}", arguments)


def _why_it_is_asked_for(said: Said, invoice: InvoiceFact) -> str | None:
    """Return the reason to ask about an invoice: which payment it means, the same for both events that say it is paid;
    or what it is for, where it does not show its lines, or not all of them.

    `invoice_payment.paid` says the payment too, to those who have subscribed to it.
    """
    if not leaves_its_payment_open(said.object):
        return "lines" if leaves_its_lines_open(said.object) else None
    if invoice.status is InvoiceStatus.PAID and invoice.paid_minor:
        return "paid"
    if said.type == "invoice.payment_failed":
        return "payment_failed"
    return "lines" if leaves_its_lines_open(said.object) else None


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of Stripe: {reason}", code="NOT_AN_EVENT")

"""PayPal's payments in our words: orders, authorisations and captures of v2, sales and captures of v1, and refunds.

One money speaks as an order, an authorisation and a capture, or as a sale; the ids of the others are in fields or only
in links. Each becomes a fact about the payment that all these names lead to. Disputes and invoices do not say whether
they mean a capture or a sale, so both are also known as the "transaction" of that id.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gatehouse.errors import FactRefused
from gatehouse.facts import Fact, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.gateways.fields import first_moment, identifier, mapping, text
from gatehouse.gateways.paypal.resource import (
    Amount,
    Said,
    amount_of,
    amount_without_sign,
    email,
    links,
    merchants_own,
    merged,
    person,
    required_id,
    status_word,
    sum_of,
    things,
)

# The step that an event's name alone tells; the object's own status goes before it.
STATUS_BY_NAME = {
    "PAYMENT.AUTHORIZATION.CREATED": PaymentStatus.PROCESSING,
    "PAYMENT.AUTHORIZATION.VOIDED": PaymentStatus.CANCELLED,
    "PAYMENT.CAPTURE.COMPLETED": PaymentStatus.COMPLETED,
    "PAYMENT.CAPTURE.DECLINED": PaymentStatus.FAILED,
    "PAYMENT.CAPTURE.DENIED": PaymentStatus.FAILED,
    "PAYMENT.CAPTURE.PENDING": PaymentStatus.PROCESSING,
    "PAYMENT.SALE.COMPLETED": PaymentStatus.COMPLETED,
    "PAYMENT.SALE.DENIED": PaymentStatus.FAILED,
    "PAYMENT.SALE.PENDING": PaymentStatus.PROCESSING,
    "CHECKOUT.ORDER.APPROVED": PaymentStatus.PENDING,
    "CHECKOUT.ORDER.COMPLETED": PaymentStatus.PROCESSING,
    "CHECKOUT.PAYMENT-APPROVAL.REVERSED": PaymentStatus.CANCELLED,
}

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
# https://developer.paypal.com/docs/api/orders/v2: no order is money; its authorisations and captures are.
ORDER_STATUSES = {
    "created": PaymentStatus.PENDING,
    "saved": PaymentStatus.PENDING,
    "payer_action_required": PaymentStatus.PENDING,
    "approved": PaymentStatus.PENDING,
    "completed": PaymentStatus.PROCESSING,  # authorised or captured
    "voided": PaymentStatus.CANCELLED,
}

REFUND_STATUS_BY_NAME = {
    "PAYMENT.CAPTURE.REFUNDED": RefundStatus.COMPLETED,
    "PAYMENT.CAPTURE.REVERSED": RefundStatus.COMPLETED,
    "PAYMENT.SALE.REFUNDED": RefundStatus.COMPLETED,
    "PAYMENT.SALE.REVERSED": RefundStatus.COMPLETED,
    "PAYMENT.REFUND.PENDING": RefundStatus.PENDING,
    "PAYMENT.REFUND.FAILED": RefundStatus.FAILED,
}
REFUND_STATUSES = {
    "pending": RefundStatus.PENDING,  # an eCheck, mostly
    "completed": RefundStatus.COMPLETED,
    "cancelled": RefundStatus.CANCELLED,
    "failed": RefundStatus.FAILED,
}

# The words in links before the id of another name of the same money, and before the payment that a refund gives back.
PARENT_IN_A_LINK = {
    "orders": "order",
    "authorization": "authorization",
    "authorizations": "authorization",
    "payment": "payment",
}
REFUNDED_IN_A_LINK = {"captures": "capture", "capture": "capture", "sale": "sale"}
REFUND_IN_A_LINK = ("refunds", "refund")

SUBSCRIPTION_PREFIX = "I-"  # B-… is an agreement under which the merchant charges when it likes


def authorization_facts(said: Said) -> tuple[Fact, ...]:
    """Say what an authorisation is: never money that came in."""
    return (_payment_fact(said, "authorization"),)


def capture_facts(said: Said) -> tuple[Fact, ...]:
    """Say what a capture is: money, once it is completed."""
    return (_payment_fact(said, "capture"),)


def sale_facts(said: Said) -> tuple[Fact, ...]:
    """Say what a sale is, the capture of v1; what subscriptions are paid with still comes as one."""
    return (_payment_fact(said, "sale"),)


def refund_facts(said: Said) -> tuple[Fact, ...]:
    """Say what a refund gives back, and what has been given back of its payment so far where it tells.

    What PayPal calls a reversal of a capture or sale carries a refund too: money that PayPal has taken back itself.
    """
    refund = _refund_fact(said)
    total = _total_refunded(said.resource)
    # The total counts the refund itself, also one that has not come through; and it must be in the payment's currency.
    if refund.status is not RefundStatus.COMPLETED or total.minor is None or total.currency != refund.currency:
        return (refund,)
    link = PaymentFact(refund.payment, refunded_minor=total.minor, currency=total.currency)
    return (refund, link) if refund.payment else (refund,)


def order_facts(said: Said) -> tuple[Fact, ...]:
    """Say what an order is, with the authorisations, captures and refunds that stand in its purchase units.

    One capture of the whole is the order's money. Several are monies of their own, as several authorisations are:
    under the order's name only the last of them would count.
    """
    units = things(said.resource.get("purchase_units"))
    captures, authorizations, refunds = (_within(units, name) for name in ("captures", "authorizations", "refunds"))
    order = _order_fact(said, units)
    facts: list[Fact] = []
    for kind, parts in (("capture", captures), ("authorization", authorizations)):
        for part in parts:
            fact = _payment_fact(Said(part), kind)
            if len(units) > 1 or len(parts) > 1 or _others_may_follow(part):
                facts.append(fact._replace(objects=_names_of_transaction(kind, fact.objects[0].id)))
            else:
                facts.append(fact._replace(objects=fact.objects + order.objects))
    facts.append(order)
    facts += [fact for refund in refunds for fact in refund_facts(Said(refund))]
    if customer := person(_payer(said.resource)):
        facts.append(customer._replace(app=order.app, user_id=order.user_id))
    return merged(facts)


def _payment_fact(said: Said, kind: str) -> PaymentFact:
    resource = said.resource
    known = AUTHORIZATION_STATUSES if kind == "authorization" else CAPTURE_STATUSES
    status = known.get(status_word(resource), STATUS_BY_NAME.get(said.type))
    completed = status is PaymentStatus.COMPLETED
    amount = amount_of(resource.get("amount"), must_be_known=completed)
    fee = _fee(resource) if completed else Amount(None, None)
    return PaymentFact(
        objects=_objects(resource, kind),
        status=status,
        amount_minor=amount.minor,
        received_minor=amount.minor if completed else None,
        currency=amount.currency,
        fee_minor=fee.minor,
        fee_currency=fee.currency if fee.minor is not None else None,
        method=(text(resource.get("payment_mode")) or "").lower() or None,
        subscription_ref=_subscription(resource),
        failure_code=_failure_code(resource) if status is PaymentStatus.FAILED else None,
        status_reason=_why_cancelled(resource) if status is PaymentStatus.CANCELLED else None,
        completed_at=_completed_at(said) if completed else None,
        **merchants_own(resource),
    )


def _objects(resource: Mapping[str, Any], kind: str) -> tuple[ObjectName, ...]:
    """Return every name of the money, its own first.

    A capture that is said not to be the final one of its authorisation goes by its own name alone: others may follow,
    each with money of its own, and under one name only the last of them would count.
    """
    own = _names_of_transaction(kind, required_id(resource.get("id")))
    if _others_may_follow(resource):
        return own
    related = mapping(mapping(resource.get("supplementary_data")).get("related_ids"))
    in_fields = (
        ("order", related.get("order_id")),
        ("authorization", related.get("authorization_id")),
        ("payment", resource.get("parent_payment")),
    )
    names = [ObjectName(kind, found) for kind, value in in_fields if (found := identifier(value))]
    names += [
        ObjectName(PARENT_IN_A_LINK[link.word], link.id) for link in links(resource) if link.word in PARENT_IN_A_LINK
    ]
    return tuple(dict.fromkeys((*own, *names)))


def _names_of_transaction(kind: str, own_id: str) -> tuple[ObjectName, ...]:
    own = ObjectName(kind, own_id)
    return (own,) if kind == "authorization" else (own, ObjectName("transaction", own_id))


def _others_may_follow(capture: Mapping[str, Any]) -> bool:
    return capture.get("final_capture") is False or capture.get("is_final_capture") is False


def _completed_at(said: Said) -> datetime | None:
    return said.at or first_moment(said.resource, "update_time", "create_time")


def _subscription(resource: Mapping[str, Any]) -> str | None:
    agreement = identifier(resource.get("billing_agreement_id"))
    return agreement if agreement and agreement.startswith(SUBSCRIPTION_PREFIX) else None


def _why_cancelled(resource: Mapping[str, Any]) -> str:
    return "the authorisation expired" if status_word(resource) == "expired" else "the authorisation was voided"


def _failure_code(resource: Mapping[str, Any]) -> str | None:
    return (
        text(mapping(resource.get("status_details")).get("reason"))
        or text(resource.get("reason_code"))
        or text(mapping(resource.get("processor_response")).get("response_code"))
    )


def _fee(resource: Mapping[str, Any]) -> Amount:
    breakdown = mapping(resource.get("seller_receivable_breakdown"))
    return amount_of(breakdown.get("paypal_fee", resource.get("transaction_fee")))


# ── Refunds ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _refund_fact(said: Said) -> RefundFact:
    resource = said.resource
    status = REFUND_STATUSES.get(status_word(resource), REFUND_STATUS_BY_NAME.get(said.type))
    amount = amount_without_sign(resource.get("amount"), must_be_known=status is RefundStatus.COMPLETED)
    fee = amount_without_sign(
        mapping(resource.get("seller_payable_breakdown")).get("paypal_fee", resource.get("refund_from_transaction_fee"))
    )
    own = merchants_own(resource)
    return RefundFact(
        objects=_refund_names(resource),
        payment=_refunded_payment(resource),
        status=status,
        amount_minor=amount.minor,
        currency=amount.currency,
        fee_minor=-fee.minor if fee.minor is not None and fee.currency == amount.currency else None,
        reason="reversed" if said.type.endswith(".REVERSED") else _reason(resource),
        failure_code=_failure_code(resource) if status is RefundStatus.FAILED else None,
        reference=own["reference"],
        refunded_at=first_moment(resource, "create_time") or said.at,
        metadata=own["metadata"],
    )


def _refund_names(resource: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    """Return the names of a refund: its id, and the one in its link to itself where that is another.

    In v1 the link alone: a published sample of a reversed sale has the id of the sale, and links to the refund.
    """
    itself = [link for link in links(resource) if link.rel == "self"]
    linked = [link for link in itself if link.word in REFUND_IN_A_LINK]
    if itself and not linked:
        raise FactRefused("the resource is no refund")
    ids = [link.id for link in linked]
    if not any(link.word == "refund" for link in linked):
        ids.insert(0, required_id(resource.get("id")))
    return tuple(ObjectName("refund", each) for each in dict.fromkeys(ids))


def _refunded_payment(resource: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    related = mapping(mapping(resource.get("supplementary_data")).get("related_ids"))
    in_fields = (
        ("sale", resource.get("sale_id")),
        ("capture", resource.get("capture_id")),
        ("capture", related.get("capture_id")),
    )
    named = [(kind, found) for kind, value in in_fields if (found := identifier(value))]
    named += [(REFUNDED_IN_A_LINK[link.word], link.id) for link in links(resource) if link.word in REFUNDED_IN_A_LINK]
    return _names_of_transaction(*named[0]) if named else ()


def _reason(resource: Mapping[str, Any]) -> str | None:
    return text(resource.get("note_to_payer")) or text(resource.get("reason"))


def _total_refunded(resource: Mapping[str, Any]) -> Amount:
    breakdown = mapping(resource.get("seller_payable_breakdown"))
    return amount_without_sign(breakdown.get("total_refunded_amount", resource.get("total_refunded_amount")))


# ── Orders ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _order_fact(said: Said, units: list[Mapping[str, Any]]) -> PaymentFact:
    order = said.resource
    status = ORDER_STATUSES.get(status_word(order), STATUS_BY_NAME.get(said.type))
    payer = _payer(order)
    customer = person(payer)
    asked = sum_of([amount_of(unit.get("amount")) for unit in units])
    reversed_approval = said.type == "CHECKOUT.PAYMENT-APPROVAL.REVERSED"
    why = "the payment's approval was reversed" if reversed_approval else "the order was voided"
    return PaymentFact(
        objects=(ObjectName("order", required_id(order.get("id") or order.get("order_id"))),),
        status=status,
        amount_minor=asked.minor,
        currency=asked.currency,
        method=_method(order),
        customer_ref=customer.objects[0].id if customer else None,
        email=email(payer),
        status_reason=why if status is PaymentStatus.CANCELLED else None,
        **(merchants_own(units[0]) if len(units) == 1 else {}),
    )


def _within(units: list[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    return [each for unit in units for each in things(mapping(unit.get("payments")).get(name))]


def _payer(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return who pays: newer orders say it in the way they are paid, by its name: {"paypal": {…}}."""
    ways = mapping(order.get("payment_source"))
    return mapping(order.get("payer")) or (mapping(next(iter(ways.values()))) if len(ways) == 1 else {})


def _method(order: Mapping[str, Any]) -> str | None:
    ways = mapping(order.get("payment_source"))
    return text(next(iter(ways))) if len(ways) == 1 else None

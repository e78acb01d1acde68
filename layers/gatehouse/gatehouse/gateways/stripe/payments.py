"""Stripe's PaymentIntents, Charges and Checkout Sessions: money that comes in.

One card payment speaks as a PaymentIntent and as its Charge, in several events, in any order. Each becomes a fact about
the one payment that both names lead to; recording folds them. A Checkout Session only adds names to it, and what the
merchant wrote there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gatehouse.facts import CustomerFact, Fact, ObjectName, PaymentFact, PaymentStatus, RefundFact, SubscriptionFact
from gatehouse.gateways.fields import currency_code, mapping, said_for_an_app, text
from gatehouse.gateways.stripe.amounts import iso_minor, minor_or_none
from gatehouse.gateways.stripe.customers import customer_told
from gatehouse.gateways.stripe.refunds import refunds_of_charge
from gatehouse.gateways.stripe.shapes import (
    Said,
    app_and_user,
    id_of,
    merchants_metadata,
    merchants_reference,
    moment,
    named,
    required_id,
)

# Every event about a payment, and the step that its name alone tells; the object's own status goes before it.
INTENT_STEPS = {
    "payment_intent.amount_capturable_updated": PaymentStatus.PROCESSING,
    "payment_intent.canceled": PaymentStatus.CANCELLED,
    "payment_intent.created": PaymentStatus.PENDING,
    "payment_intent.partially_funded": PaymentStatus.PENDING,
    "payment_intent.payment_failed": PaymentStatus.FAILED,
    "payment_intent.processing": PaymentStatus.PROCESSING,
    "payment_intent.requires_action": PaymentStatus.PENDING,
    "payment_intent.succeeded": PaymentStatus.COMPLETED,
}
CHARGE_STEPS = {
    "charge.captured": None,  # of a charge that does not say `captured: true`, no name tells that its money came in
    "charge.expired": PaymentStatus.CANCELLED,
    "charge.failed": PaymentStatus.FAILED,
    "charge.pending": PaymentStatus.PROCESSING,
    "charge.refunded": None,
    "charge.succeeded": None,
    "charge.updated": None,
}
CHECKOUT_EVENTS = (
    "checkout.session.async_payment_failed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
)

INTENT_STATUSES = {
    "requires_payment_method": PaymentStatus.PENDING,
    "requires_confirmation": PaymentStatus.PENDING,
    "requires_action": PaymentStatus.PENDING,
    "requires_source": PaymentStatus.PENDING,  # the first and third as they were called before 2019-02-11
    "requires_source_action": PaymentStatus.PENDING,
    "processing": PaymentStatus.PROCESSING,
    "requires_capture": PaymentStatus.PROCESSING,
    "canceled": PaymentStatus.CANCELLED,
    "succeeded": PaymentStatus.COMPLETED,
}

# From this version on, what was authorised and not captured is released without a refund:
# https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
FIRST_WITHOUT_REFUND_OF_RELEASES = "2025-03-31"


def payment_intent_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a PaymentIntent says, with the charges that it holds whole: before 2022-11-15, or when asked for."""
    intent = said.object
    charges = [each for each in _charges_of(intent) if isinstance(each, dict) and id_of(each)]
    fact = _intent_fact(said)
    refunds: dict[tuple[ObjectName, ...], RefundFact] = {}
    for charge in charges:
        charge_said = said._replace(object={"currency": intent.get("currency"), **charge}, type="")
        refunds |= {each.objects: each for each in _refunds_of(charge_said, fact.objects)}
        if fact.status is PaymentStatus.COMPLETED and _charge_status(charge_said)[0] is PaymentStatus.COMPLETED:
            fact = _joined(fact, _charge_fact(charge_said))
    return (fact, *refunds.values())


def charge_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a charge says, with the refunds that it lists."""
    fact = _charge_fact(said)
    return (fact, *_refunds_of(said, fact.objects))


def checkout_session_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a Checkout Session links: its payment or subscription, the customer, the merchant's own words."""
    session = said.object
    required_id(session)
    found = (_payment_of_session(said), _subscription_of_session(session), _customer_of_session(said))
    return tuple(fact for fact in found if fact)


def _intent_fact(said: Said) -> PaymentFact:
    intent = said.object
    status = INTENT_STATUSES.get(text(intent.get("status")) or "", INTENT_STEPS.get(said.type))
    if said.type == "payment_intent.payment_failed" and status is PaymentStatus.PENDING:
        status = PaymentStatus.FAILED  # the intent itself is back at requires_payment_method, open for another try
    completed = status is PaymentStatus.COMPLETED
    failure = mapping(intent.get("last_payment_error")) if status is PaymentStatus.FAILED else {}
    names = [ObjectName("payment_intent", required_id(intent))]
    names += [name for charge in _charges_of(intent) for name in named("charge", charge)]
    return PaymentFact(
        objects=tuple(dict.fromkeys(names)),
        status=status,
        **_amounts(intent.get("amount"), intent.get("amount_received"), intent.get("currency"), completed=completed),
        method=_only_method(intent.get("payment_method_types")),
        email=text(intent.get("receipt_email")),
        failure_code=text(failure.get("code")),
        failure_message=_failure_message(failure.get("message"), failure.get("decline_code")),
        status_reason=text(intent.get("cancellation_reason")) if status is PaymentStatus.CANCELLED else None,
        completed_at=said.at if completed and said.type else None,
        **_links_and_merchants_words(intent),
    )


def _charge_fact(said: Said) -> PaymentFact:
    charge = said.object
    status, status_reason = _charge_status(said)
    completed = status is PaymentStatus.COMPLETED
    failed = status is PaymentStatus.FAILED
    # Before 2020 a charge did not say what part of it was captured. A pending bank debit says so too early.
    captured = charge.get("amount_captured", charge.get("amount"))
    names = [ObjectName("charge", required_id(charge)), *named("payment_intent", charge.get("payment_intent"))]
    return PaymentFact(
        objects=tuple(names),
        status=status,
        **_amounts(charge.get("amount"), captured if completed else None, charge.get("currency"), completed=completed),
        refunded_minor=_refunded(said) if completed else None,
        **_booked(said, completed=completed),
        method=text(mapping(charge.get("payment_method_details")).get("type")),
        email=text(mapping(charge.get("billing_details")).get("email")) or text(charge.get("receipt_email")),
        failure_code=text(charge.get("failure_code")) if failed else None,
        failure_message=_failure_message(charge.get("failure_message"), mapping(charge.get("outcome")).get("reason"))
        if failed
        else None,
        status_reason=status_reason,
        **_links_and_merchants_words(charge),
    )


def _charges_of(intent: Mapping[str, Any]) -> Iterator[object]:
    """Give the charges of an intent, as ids or whole: the one that counts, then all tries, as before 2022-11-15."""
    yield intent.get("latest_charge")
    listed = mapping(intent.get("charges")).get("data")
    yield from listed if isinstance(listed, list) else ()


def _joined(fact: PaymentFact, other: PaymentFact) -> PaymentFact:
    """Return one fact of two about the same money; what the first says goes before the other."""
    words = {word: said for word, said in fact._asdict().items() if said is not None}
    return PaymentFact(**{**other._asdict(), **words, "objects": tuple(dict.fromkeys(fact.objects + other.objects))})


def _charge_status(said: Said) -> tuple[PaymentStatus | None, str | None]:
    """Return the step of a charge and, when it was cancelled, why. Only a captured charge is money that came in."""
    charge = said.object
    match charge.get("status"):
        case "failed":
            return PaymentStatus.FAILED, None
        case "pending":  # a bank debit on its way
            return PaymentStatus.PROCESSING, None
        case "succeeded" if charge.get("captured") is True:
            return PaymentStatus.COMPLETED, None
        case "succeeded" if said.type == "charge.expired":
            return PaymentStatus.CANCELLED, "the authorisation expired"
        case "succeeded" if charge.get("refunded") is True:  # Stripe called the release of an authorisation a refund
            return PaymentStatus.CANCELLED, "the authorisation was released"
        case "succeeded":
            return PaymentStatus.PROCESSING, None
    return CHARGE_STEPS.get(said.type), None


def _amounts(asked: object, came_in: object, currency: object, *, completed: bool) -> dict[str, Any]:
    """Return amount, received amount and currency; of money that came in, all of them or FactRefused."""
    count = iso_minor if completed else minor_or_none
    return {
        "amount_minor": count(asked, currency),
        "received_minor": count(came_in, currency),
        "currency": currency_code(currency),
    }


def _booked(said: Said, *, completed: bool) -> dict[str, Any]:
    """Return when the money came in, and the fee where the charge holds its balance transaction whole."""
    transaction = mapping(said.object.get("balance_transaction"))
    fee_minor = minor_or_none(transaction.get("fee"), transaction.get("currency"))
    told = said.at if said.type in ("charge.succeeded", "charge.captured") else None
    return {
        "completed_at": (told or moment(transaction.get("created"))) if completed else None,
        "fee_minor": fee_minor if completed else None,
        "fee_currency": currency_code(transaction.get("currency")) if completed and fee_minor is not None else None,
    }


def _refunded(said: Said) -> int | None:
    """Return what was given back of the money that came in."""
    refunded = minor_or_none(said.object.get("amount_refunded"), said.object.get("currency"))
    return None if refunded is None else refunded - _released_by_refund(said)


def _released_by_refund(said: Said) -> int:
    """Return how much of `amount_refunded` was never ours: what was authorised, and let go instead of captured.

    Stripe counted it as a refund: of 20675 authorised and 20300 captured, 375 are "refunded"
    (github.com/woocommerce/woocommerce-gateway-stripe/issues/1073). Since 2025-03-31 it does not; which way a charge
    went shows in its numbers, or else in the version that the account speaks.
    """
    charge = said.object
    asked, captured, refunded = (
        minor_or_none(charge.get(name), charge.get("currency"))
        for name in ("amount", "amount_captured", "amount_refunded")
    )
    if charge.get("captured") is not True:
        captured = 0  # Stripe wrote null before 2025-03-31
    if asked is None or captured is None or refunded is None:
        return 0
    released = asked - captured
    if released <= 0 or refunded < released:
        return 0
    if refunded > captured or said.type == "charge.captured":  # more than came in; or all before it could come in
        return released
    return released if said.api_version < FIRST_WITHOUT_REFUND_OF_RELEASES else 0


def _refunds_of(said: Said, payment: tuple[ObjectName, ...]) -> tuple[RefundFact, ...]:
    return refunds_of_charge(said.object, payment, _released_by_refund(said))


def _payment_of_session(said: Said) -> PaymentFact | None:
    """Return the link from a session to its payment; it alone tells only of a payment that will never come."""
    session = said.object
    intent = named("payment_intent", session.get("payment_intent"))
    expired = session.get("status") == "expired" or said.type == "checkout.session.expired"
    # Since 2022-08-01 an intent is made when the customer pays, so a session that nobody paid names none.
    if not intent and not (expired and session.get("mode") == "payment"):
        return None
    return PaymentFact(
        objects=(*intent, *named("checkout_session", session)),
        status=PaymentStatus.CANCELLED if expired else None,
        **(_amounts(session.get("amount_total"), None, session.get("currency"), completed=False) if expired else {}),
        status_reason="the checkout session expired" if expired else None,
        email=_email_of_session(session),
        **_links_and_merchants_words(session) | {"reference": _reference_of_session(session)},
    )


def _subscription_of_session(session: Mapping[str, Any]) -> SubscriptionFact | None:
    if not (names := named("subscription", session.get("subscription"))):
        return None
    return SubscriptionFact(  # its metadata are its own object's: those of the session are others
        objects=names,
        customer_ref=id_of(session.get("customer")),
        email=_email_of_session(session),
        reference=_reference_of_session(session),
        **app_and_user(merchants_metadata(session)),
    )


def _customer_of_session(said: Said) -> CustomerFact | None:
    """Return what a customer entered; only as it was completed, for a session is never brought up to date."""
    if said.type != "checkout.session.completed":
        return None
    session, details = said.object, mapping(said.object.get("customer_details"))
    fact = customer_told(session.get("customer"), *(details.get(word) for word in ("email", "name", "phone")))
    return fact._replace(**app_and_user(merchants_metadata(session))) if fact else None


def _email_of_session(session: Mapping[str, Any]) -> str | None:
    return text(mapping(session.get("customer_details")).get("email")) or text(session.get("customer_email"))


def _reference_of_session(session: Mapping[str, Any]) -> str | None:
    return text(session.get("client_reference_id")) or merchants_reference(merchants_metadata(session))


def _links_and_merchants_words(stripe_object: Mapping[str, Any]) -> dict[str, Any]:
    """Return customer and invoice, and what the merchant said with the payment."""
    metadata = merchants_metadata(stripe_object)
    return {
        "metadata": metadata,
        "reference": merchants_reference(metadata),
        "customer_ref": id_of(stripe_object.get("customer")),
        "invoice_ref": id_of(stripe_object.get("invoice")),  # of intents and charges before 2025-03-31
        **said_for_an_app(metadata),
    }


def _only_method(types: object) -> str | None:
    """Return the payment method when the PaymentIntent leaves no choice; otherwise its charge will say."""
    return text(types[0]) if isinstance(types, list) and len(types) == 1 else None


def _failure_message(message: object, decline_code: object) -> str | None:
    """Return the message with the bank's own reason, which is finer than `failure_code`."""
    sentence, reason = text(message), text(decline_code)
    if sentence and reason:
        return f"{sentence} ({reason})"
    return sentence or reason

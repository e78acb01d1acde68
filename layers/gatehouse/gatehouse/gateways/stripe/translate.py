"""Stripe's events in our words. The shapes of API versions 2020-08-27 to 2026-06-24 are read, by meaning.

One card payment speaks as a PaymentIntent and as its Charge, in several events, in any order. Each becomes a fact about
the one payment that both names lead to; recording folds them.

A field that is missing, null or of another type says nothing. Only money that is said to have come in must be beyond
doubt: when its amount or currency makes no sense, the event is refused, which keeps it as failed with the reason.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import Event, Need, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.fields import MOST_ID_CHARACTERS, currency_code, identifier, mapping, text
from gatehouse.gateways.json_body import read_json_object
from gatehouse.money import EXPONENTS, MOST_MINOR

NAME = "stripe"

# Every event that becomes a fact, and the step that its name alone tells; the object's own status goes before it.
# All others are kept as ignored.
HANDLED = {
    "payment_intent.amount_capturable_updated": PaymentStatus.PROCESSING,
    "payment_intent.canceled": PaymentStatus.CANCELLED,
    "payment_intent.created": PaymentStatus.PENDING,
    "payment_intent.partially_funded": PaymentStatus.PENDING,
    "payment_intent.payment_failed": PaymentStatus.FAILED,
    "payment_intent.processing": PaymentStatus.PROCESSING,
    "payment_intent.requires_action": PaymentStatus.PENDING,
    "payment_intent.succeeded": PaymentStatus.COMPLETED,
    "charge.captured": None,  # of a charge that does not say `captured: true`, no name tells that its money came in
    "charge.expired": PaymentStatus.CANCELLED,
    "charge.failed": PaymentStatus.FAILED,
    "charge.pending": PaymentStatus.PROCESSING,
    "charge.refunded": None,
    "charge.succeeded": None,
    "charge.updated": None,
}

MOST_TIME = 253_402_300_799  # the last second of the year 9999

# Keys of `metadata` that shops use for the number of their own order; anything else may mean anything.
REFERENCE_KEYS = ("order_id", "order_number", "order_reference", "reference")

# https://docs.stripe.com/currencies#zero-decimal and #three-decimal
WITHOUT_DECIMALS = (
    "BIF",
    "CLP",
    "DJF",
    "GNF",
    "JPY",
    "KMF",
    "KRW",
    "MGA",
    "PYG",
    "RWF",
    "VND",
    "VUV",
    "XAF",
    "XOF",
    "XPF",
)
WITH_THREE_DECIMALS = ("BHD", "JOD", "KWD", "OMR", "TND")

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


class Said(NamedTuple):
    """What one event says: its name, when it happened, whether with real money, and the object it speaks of."""

    type: str
    occurred_at: datetime
    livemode: bool
    object: dict[str, Any]


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
    if not _is_time(payload.get("created")):
        raise _no_event('its "created" is not a time')
    if not isinstance(mapping(payload.get("data")).get("object"), dict):
        raise _no_event('its "data" has no "object"')
    return payload


def translate(payload: dict[str, Any], account: str) -> Event:
    """Say in our words what an event of `read_event` says; never fails, whatever the object holds."""
    said = Said(
        type=payload["type"],
        occurred_at=datetime.fromtimestamp(payload["created"], UTC),
        livemode=payload.get("livemode") is True,  # an event that does not say is never counted as real money
        object=payload["data"]["object"],
    )
    facts: tuple[PaymentFact, ...] = ()
    ignored_because = refused_because = None
    if said.type not in HANDLED:
        ignored_because = _not_handled(said.type)
    else:
        try:
            facts = (_FACT_OF[said.type.partition(".")[0]](said),)
        except FactRefused as reason:
            refused_because = str(reason)
    return Event(
        event_id=payload["id"],
        type=said.type,
        occurred_at=said.occurred_at,
        livemode=said.livemode,
        facts=facts,
        needs=tuple(need for fact in facts for need in _needs(fact, account)),
        reference=identifier(said.object.get("id")),
        ignored_because=ignored_because,
        refused_because=refused_because,
    )


def iso_minor(amount: object, currency: object) -> int:
    """Return an amount as Stripe counts it in the minor units of ISO 4217; raise FactRefused where it has none.

    https://docs.stripe.com/currencies: ISK and UGX are written with two decimals that they do not have, and MGA
    without the two that it has.
    """
    code = currency_code(currency)
    if code is None:
        raise FactRefused("the currency is missing or unknown")
    if not isinstance(amount, int) or isinstance(amount, bool) or not 0 <= amount <= MOST_MINOR:
        raise FactRefused("the amount is missing or not a whole number of minor units")
    shift = EXPONENTS[code] - _stripe_exponent(code)
    minor, rest = divmod(amount * int(10 ** max(shift, 0)), int(10 ** max(-shift, 0)))
    if rest:
        raise FactRefused(f"the amount {amount} is not a whole number of {code}")
    if minor > MOST_MINOR:
        raise FactRefused("the amount is larger than can be counted")
    return minor


def _stripe_exponent(code: str) -> int:
    return 0 if code in WITHOUT_DECIMALS else 3 if code in WITH_THREE_DECIMALS else 2


def _intent_fact(said: Said) -> PaymentFact:
    intent = said.object
    status = INTENT_STATUSES.get(text(intent.get("status")) or "", HANDLED[said.type])
    if said.type == "payment_intent.payment_failed" and status is PaymentStatus.PENDING:
        status = PaymentStatus.FAILED  # the intent itself is back at requires_payment_method, open for another try
    completed = status is PaymentStatus.COMPLETED
    failure = mapping(intent.get("last_payment_error")) if status is PaymentStatus.FAILED else {}
    charges = mapping(intent.get("charges")).get("data")  # before 2022-11-15
    names = [ObjectName("payment_intent", _required_id(intent))]
    names += [
        ObjectName("charge", charge_id)
        for charge in (intent.get("latest_charge"), *(charges if isinstance(charges, list) else ()))
        if (charge_id := _id_of(charge))
    ]
    return PaymentFact(
        objects=tuple(dict.fromkeys(names)),
        status=status,
        **_amounts(intent.get("amount"), intent.get("amount_received"), intent.get("currency"), completed=completed),
        method=_only_method(intent.get("payment_method_types")),
        failure_code=text(failure.get("code")),
        failure_message=_failure_message(failure.get("message"), failure.get("decline_code")),
        status_reason=text(intent.get("cancellation_reason")) if status is PaymentStatus.CANCELLED else None,
        completed_at=said.occurred_at if completed else None,
        **_merchants_own(intent),
    )


def _charge_fact(said: Said) -> PaymentFact:
    charge = said.object
    status, status_reason = _charge_status(said)
    completed = status is PaymentStatus.COMPLETED
    failed = status is PaymentStatus.FAILED
    # Before 2020 a charge did not say what part of it was captured. A pending bank debit says so too early.
    captured = charge.get("amount_captured", charge.get("amount"))
    intent_id = _id_of(charge.get("payment_intent"))
    names = [ObjectName("charge", _required_id(charge))]
    return PaymentFact(
        objects=(*names, ObjectName("payment_intent", intent_id)) if intent_id else tuple(names),
        status=status,
        **_amounts(charge.get("amount"), captured if completed else None, charge.get("currency"), completed=completed),
        refunded_minor=_refunded(charge) if completed else None,
        method=text(mapping(charge.get("payment_method_details")).get("type")),
        failure_code=text(charge.get("failure_code")) if failed else None,
        failure_message=_failure_message(charge.get("failure_message"), mapping(charge.get("outcome")).get("reason"))
        if failed
        else None,
        status_reason=status_reason,
        completed_at=said.occurred_at if completed and said.type in ("charge.succeeded", "charge.captured") else None,
        **_merchants_own(charge),
    )


_FACT_OF: dict[str, Callable[[Said], PaymentFact]] = {"payment_intent": _intent_fact, "charge": _charge_fact}


def _not_handled(event_type: str) -> str:
    if event_type.startswith(("charge.dispute.", "charge.refund.")):
        return f"not a payment event: {event_type}"
    return f"event type not handled: {event_type}"


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
        case "succeeded" if charge.get("refunded") is True:  # Stripe calls the release of an authorisation a refund
            return PaymentStatus.CANCELLED, "the authorisation was released"
        case "succeeded":
            return PaymentStatus.PROCESSING, None
    return HANDLED[said.type], None


def _amounts(asked: object, came_in: object, currency: object, *, completed: bool) -> dict[str, Any]:
    """Return amount, received amount and currency; of money that came in, all of them or FactRefused."""
    count = iso_minor if completed else _minor_or_none
    return {
        "amount_minor": count(asked, currency),
        "received_minor": count(came_in, currency),
        "currency": currency_code(currency),
    }


def _refunded(charge: Mapping[str, Any]) -> int | None:
    """Return what was given back of the money that came in.

    Capturing a part releases the rest, and Stripe adds that to `amount_refunded`, though it never was ours: of 20675
    authorised and 20300 captured, 375 are "refunded" (github.com/woocommerce/woocommerce-gateway-stripe/issues/1073).
    """
    currency = charge.get("currency")
    refunded = _minor_or_none(charge.get("amount_refunded"), currency)
    asked, captured = (_minor_or_none(charge.get(name), currency) for name in ("amount", "amount_captured"))
    if refunded is None or asked is None or captured is None:
        return refunded
    return max(0, refunded - max(0, asked - captured))


def _merchants_own(stripe_object: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the merchant said with the payment: metadata, its own reference, the customer."""
    metadata = {key: said for key, said in mapping(stripe_object.get("metadata")).items() if isinstance(said, str)}
    references = (text(metadata.get(key)) for key in REFERENCE_KEYS)
    return {
        # A charge without metadata says nothing against that of its PaymentIntent.
        "metadata": metadata or None,
        "reference": next((reference for reference in references if reference), None),
        "customer_ref": _id_of(stripe_object.get("customer")),
    }


def _needs(fact: PaymentFact, account: str) -> tuple[Need, ...]:
    """Return what the event leaves open: the fee, which no event says. One job for all events of a payment."""
    if fact.status is not PaymentStatus.COMPLETED:
        return ()
    asked = next((name for name in fact.objects if name.kind == "payment_intent"), fact.objects[0])
    arguments = {"gateway": NAME, "account": account, "kind": asked.kind, "id": asked.id}
    return (Need("fetch_fee", f"{NAME}/{account}/{asked.id}", arguments),)


def _no_event(reason: str) -> RequestRefused:
    return RequestRefused(f"the body is not an event of Stripe: {reason}", code="NOT_AN_EVENT")


def _required_id(stripe_object: Mapping[str, Any]) -> str:
    if (found := identifier(stripe_object.get("id"))) is None:
        raise FactRefused("the object has no id")
    return found


def _id_of(reference: object) -> str | None:
    """Return the id of an object that is given by its id, or whole ("expanded")."""
    return identifier(reference.get("id")) if isinstance(reference, dict) else identifier(reference)


def _is_time(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TIME


def _minor_or_none(amount: object, currency: object) -> int | None:
    try:
        return iso_minor(amount, currency)
    except FactRefused:  # it was not said, or says nothing that can be counted; no money depends on it
        return None


def _only_method(types: object) -> str | None:
    """Return the payment method when the PaymentIntent leaves no choice; otherwise its charge will say."""
    return text(types[0]) if isinstance(types, list) and len(types) == 1 else None


def _failure_message(message: object, decline_code: object) -> str | None:
    """Return the message with the bank's own reason, which is finer than `failure_code`."""
    sentence, reason = text(message), text(decline_code)
    if sentence and reason:
        return f"{sentence} ({reason})"
    return sentence or reason

"""PayPal's subscriptions in our words: those of v2, and the billing agreements of v1.

What they are paid with comes as sales of its own; no event names a payment together with its subscription's state.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from gatehouse.facts import Fact, ObjectName, SubscriptionFact, SubscriptionStatus
from gatehouse.gateways.fields import first_moment, identifier, mapping, text
from gatehouse.gateways.paypal.resource import (
    Amount,
    Said,
    amount_of,
    email,
    merchants_own,
    person,
    required_id,
    status_word,
    things,
)
from gatehouse.money import MOST_MINOR

STATUS_BY_NAME = {
    "BILLING.SUBSCRIPTION.CREATED": SubscriptionStatus.PENDING,
    "BILLING.SUBSCRIPTION.ACTIVATED": SubscriptionStatus.ACTIVE,
    "BILLING.SUBSCRIPTION.RE-ACTIVATED": SubscriptionStatus.ACTIVE,
    "BILLING.SUBSCRIPTION.EXPIRED": SubscriptionStatus.EXPIRED,
    "BILLING.SUBSCRIPTION.CANCELLED": SubscriptionStatus.CANCELLED,
    "BILLING.SUBSCRIPTION.SUSPENDED": SubscriptionStatus.PAUSED,
    "BILLING.SUBSCRIPTION.PAYMENT.FAILED": SubscriptionStatus.PAST_DUE,
}
STATUSES = {
    "approval_pending": SubscriptionStatus.PENDING,
    "approved": SubscriptionStatus.PENDING,
    "pending": SubscriptionStatus.PENDING,  # this and the other spellings are of v1
    "active": SubscriptionStatus.ACTIVE,
    "suspended": SubscriptionStatus.PAUSED,
    "cancelled": SubscriptionStatus.CANCELLED,
    "canceled": SubscriptionStatus.CANCELLED,
    "expired": SubscriptionStatus.EXPIRED,
}
ENDED = (SubscriptionStatus.CANCELLED, SubscriptionStatus.EXPIRED)

MOST_COUNTED = 10**9  # of periods, units or failures: more is a mistake


class Price(NamedTuple):
    """What one regular period of a subscription costs, and how long it is."""

    amount: Amount
    interval: str | None


def subscription_facts(said: Said) -> tuple[Fact, ...]:
    """Say how a subscription stands, and who pays for it."""
    resource = said.resource
    subscriber = mapping(resource.get("subscriber")) or mapping(resource.get("payer"))
    customer = person(subscriber)
    plan = mapping(resource.get("plan"))
    price = _price(resource)
    status = _status(said)
    own = merchants_own(resource)
    subscription = SubscriptionFact(
        objects=(ObjectName("subscription", required_id(resource.get("id"))),),
        status=status,
        plan=identifier(resource.get("plan_id")) or identifier(plan.get("id")) or own.get("plan"),
        plan_name=text(plan.get("name")),
        amount_minor=price.amount.minor,
        currency=price.amount.currency,
        interval=price.interval,
        customer_ref=customer.objects[0].id if customer else None,
        email=email(subscriber),
        reference=own["reference"],
        started_at=first_moment(resource, "start_time", "start_date"),
        next_payment_at=first_moment(mapping(resource.get("billing_info")), "next_billing_time")
        or first_moment(mapping(resource.get("agreement_details")), "next_billing_date"),
        ended_at=first_moment(resource, "status_update_time") or said.at if status in ENDED else None,
        cancel_reason=text(resource.get("status_change_note")) if status is SubscriptionStatus.CANCELLED else None,
        app=own.get("app"),
        user_id=own.get("user_id"),
        metadata=own["metadata"],
    )
    if customer is None:
        return (subscription,)
    return (subscription, customer._replace(app=own.get("app"), user_id=own.get("user_id")))


def _status(said: Said) -> SubscriptionStatus | None:
    """Return where a subscription stands: PayPal goes on calling it active while its payments fail.

    It counts the failures since the last payment that succeeded, so that the next event or answer tells when one has.
    """
    by_name = STATUS_BY_NAME.get(said.type)
    status = STATUSES.get(status_word(said.resource), by_name)
    if status is not SubscriptionStatus.ACTIVE or said.type.endswith("ACTIVATED"):
        return status
    failures = _count(mapping(said.resource.get("billing_info")).get("failed_payments_count"))
    failures = failures or _count(mapping(said.resource.get("agreement_details")).get("failed_payment_count"))
    return SubscriptionStatus.PAST_DUE if failures or by_name is SubscriptionStatus.PAST_DUE else status


def _price(resource: Mapping[str, Any]) -> Price:
    """Return the price and length of a regular period; where the plan is not there, what the last one was paid with."""
    plan = mapping(resource.get("plan"))
    for cycle in things(plan.get("billing_cycles")):
        if cycle.get("tenure_type") == "REGULAR":
            frequency = mapping(cycle.get("frequency"))
            each = amount_of(mapping(cycle.get("pricing_scheme")).get("fixed_price"))
            interval = _interval(frequency.get("interval_unit"), frequency.get("interval_count"))
            return Price(_times(each, resource.get("quantity", "1")), interval)
    for definition in things(plan.get("payment_definitions")):  # v1; its tax and shipping come on top
        if definition.get("type") == "REGULAR":
            interval = _interval(definition.get("frequency"), definition.get("frequency_interval"))
            return Price(amount_of(definition.get("amount"), currency=plan.get("curr_code")), interval)
    billing = mapping(resource.get("billing_info"))
    cycles = things(billing.get("cycle_executions"))
    if not any(cycle.get("tenure_type") == "REGULAR" and _count(cycle.get("cycles_completed")) for cycle in cycles):
        return Price(Amount(None, None), None)  # a trial may have been paid last, for less
    return Price(amount_of(mapping(billing.get("last_payment")).get("amount")), None)


def _times(each: Amount, quantity: object) -> Amount:
    count = _count(quantity)
    if each.minor is None or count is None or each.minor * count > MOST_MINOR:
        return Amount(None, each.currency)
    return Amount(each.minor * count, each.currency)


def _interval(unit: object, count: object) -> str | None:
    word = (text(unit) or "").lower()
    number = _count(count)
    if word not in ("day", "week", "month", "year") or not number:
        return None
    return word if number == 1 else f"{number} {word}"


def _count(value: object) -> int | None:
    """Return a number of things, which v1 writes as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_COUNTED else None

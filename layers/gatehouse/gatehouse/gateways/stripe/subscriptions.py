"""Stripe's subscriptions. What they cost and how long a period lasts stands in their items, since 2025-03-31 alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gatehouse.facts import Fact, SubscriptionFact, SubscriptionStatus
from gatehouse.gateways.fields import currency_code, mapping, text
from gatehouse.gateways.stripe.amounts import minor_or_none
from gatehouse.gateways.stripe.shapes import (
    Said,
    app_and_user,
    entries,
    id_of,
    merchants_metadata,
    merchants_reference,
    moment,
    named,
    required_id,
)

# Every event about a subscription, and the status that its name alone tells; the object's own goes before it.
SUBSCRIPTION_STEPS = {
    "customer.subscription.created": None,
    "customer.subscription.deleted": SubscriptionStatus.CANCELLED,
    "customer.subscription.paused": SubscriptionStatus.PAUSED,
    "customer.subscription.pending_update_applied": None,
    "customer.subscription.pending_update_expired": None,
    "customer.subscription.resumed": None,
    "customer.subscription.trial_will_end": None,
    "customer.subscription.updated": None,
}

_STATUSES = {
    "incomplete": SubscriptionStatus.PENDING,
    "incomplete_expired": SubscriptionStatus.EXPIRED,
    "trialing": SubscriptionStatus.TRIALING,
    "active": SubscriptionStatus.ACTIVE,
    "past_due": SubscriptionStatus.PAST_DUE,
    "unpaid": SubscriptionStatus.PAST_DUE,
    "paused": SubscriptionStatus.PAUSED,
    "canceled": SubscriptionStatus.CANCELLED,
}
_RUNNING = (SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING)


def subscription_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a subscription's own object says."""
    subscription = said.object
    required_id(subscription)
    items = _items_of(subscription)
    first = items[0] if items else {}
    price = _price_of(first)
    status = _status(said, items)
    metadata = merchants_metadata(subscription)
    currency = subscription.get("currency") or price.get("currency")
    period_end = moment(_period(subscription, first, "end"))
    ends_with_period = subscription.get("cancel_at_period_end") is True
    next_end = min(_period_ends(subscription, items), default=None)
    return (
        SubscriptionFact(
            objects=named("subscription", subscription),
            status=status,
            plan=id_of(price),
            plan_name=text(price.get("nickname")) or text(mapping(price.get("product")).get("name")),
            amount_minor=_amount(items, currency),
            currency=currency_code(currency),
            interval=_interval(price),
            customer_ref=id_of(subscription.get("customer")),
            reference=merchants_reference(metadata),
            started_at=moment(subscription.get("start_date")),
            period_start=moment(_period(subscription, first, "start")),
            period_end=period_end,
            next_payment_at=next_end if status in _RUNNING else None,
            cancel_at=moment(subscription.get("cancel_at")) or (period_end if ends_with_period else None),
            ended_at=moment(subscription.get("ended_at")),
            cancel_reason=_cancel_reason(mapping(subscription.get("cancellation_details"))),
            **app_and_user(metadata, *(mapping(_price_of(item).get("metadata")) for item in items)),
            metadata=metadata,
        ),
    )


def _items_of(subscription: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the items; before 2018-05-21 a subscription of one plan may have none, and holds the plan itself."""
    return list(entries(subscription.get("items"))) or ([subscription] if mapping(subscription.get("plan")) else [])


def _price_of(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the price of an item in the shape of today; before 2020 it is a plan."""
    if price := mapping(item.get("price")):
        return price
    plan = mapping(item.get("plan"))
    recurring = {word: plan.get(word) for word in ("interval", "interval_count", "usage_type")}
    moved = {"unit_amount": plan.get("amount"), "transform_quantity": plan.get("transform_usage")}
    return {**plan, **moved, "recurring": recurring} if plan else {}


def _status(said: Said, items: list[Mapping[str, Any]]) -> SubscriptionStatus | None:
    """Return the status; of one that runs, whether it goes on.

    That nothing is collected goes before that it will end: `cancel_at` tells the end besides.
    """
    subscription = said.object
    status = _STATUSES.get(text(subscription.get("status")) or "", SUBSCRIPTION_STEPS.get(said.type))
    if status in _RUNNING and mapping(subscription.get("pause_collection")):
        return SubscriptionStatus.PAUSED
    if status in _RUNNING and _ends_with_its_period(subscription, items):
        return SubscriptionStatus.NON_RENEWING
    return status


def _ends_with_its_period(subscription: Mapping[str, Any], items: list[Mapping[str, Any]]) -> bool:
    """Return whether nothing will be paid any more.

    In flexible billing mode the customer's portal sets `cancel_at` to the end of the last period, and
    `cancel_at_period_end` stays false: https://docs.stripe.com/billing/subscriptions/billing-mode/compare
    """
    if subscription.get("cancel_at_period_end") is True:
        return True
    cancel_at, ends = moment(subscription.get("cancel_at")), _period_ends(subscription, items)
    return cancel_at is not None and bool(ends) and cancel_at <= max(ends)


def _period(subscription: Mapping[str, Any], item: Mapping[str, Any], side: str) -> object:
    """Return a bound of the current period: of the subscription before 2025-03-31, of its items since."""
    return subscription.get(f"current_period_{side}") or item.get(f"current_period_{side}")


def _period_ends(subscription: Mapping[str, Any], items: list[Mapping[str, Any]]) -> list[datetime]:
    said = (_period(subscription, item, "end") for item in (items or [{}]))
    return [at for end in said if (at := moment(end))]


def _amount(items: list[Mapping[str, Any]], currency: object) -> int | None:
    """Return what one period costs: the sum over all prices. What is metered costs nothing until it is used.

    None where a price has no amount of its own (tiers), or where the prices have periods of different lengths.
    """
    fixed = [(item, _price_of(item)) for item in items]
    fixed = [(item, price) for item, price in fixed if mapping(price.get("recurring")).get("usage_type") != "metered"]
    if len({_interval(price) for _, price in fixed}) != 1 or any(
        price.get("currency") not in (None, currency) for _, price in fixed
    ):
        return None
    total = 0
    for item, price in fixed:
        amount, quantity = price.get("unit_amount"), _billed_quantity(item, price)
        if not isinstance(amount, int) or isinstance(amount, bool) or quantity is None:
            return None
        total += amount * quantity
    return minor_or_none(total, currency)


def _billed_quantity(item: Mapping[str, Any], price: Mapping[str, Any]) -> int | None:
    """Return how often the price is paid: the quantity, by packages where it is sold in packages."""
    quantity = item.get("quantity", 1)
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
        return None
    package = mapping(price.get("transform_quantity"))
    if not package:
        return quantity
    size = package.get("divide_by")
    if not isinstance(size, int) or isinstance(size, bool) or size < 1 or package.get("round") not in ("up", "down"):
        return None
    return -(-quantity // size) if package["round"] == "up" else quantity // size


def _interval(price: Mapping[str, Any]) -> str | None:
    """Return how long a period lasts: "month", "3 month"."""
    recurring = mapping(price.get("recurring"))
    interval, count = text(recurring.get("interval")), recurring.get("interval_count")
    if interval and isinstance(count, int) and not isinstance(count, bool) and count > 1:
        return f"{count} {interval}"
    return interval


def _cancel_reason(details: Mapping[str, Any]) -> str | None:
    """Return why it ends, with what the customer chose for an answer; what the customer wrote stays in the payload."""
    reason, feedback = text(details.get("reason")), text(details.get("feedback"))
    return f"{reason} ({feedback})" if reason and feedback else reason or feedback

"""Paystack's subscriptions, their invoices, and payment requests, which are invoices that a merchant writes.

Their money comes in by `charge.success`; what stands here of a transaction only links to it.
"""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import Fact, InvoiceFact, InvoiceStatus, PaymentFact, SubscriptionFact, SubscriptionStatus
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier,
    identifier_or_number,
    mapping,
    moment,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.paystack.amounts import minor_or_none
from gatehouse.gateways.paystack.customers import app_of_customer, customer_facts, payer
from gatehouse.gateways.paystack.payments import payment_names, plan_of
from gatehouse.gateways.paystack.times import born_at

SUBSCRIPTION_STATUSES = {
    "active": SubscriptionStatus.ACTIVE,
    "attention": SubscriptionStatus.PAST_DUE,
    "non-renewing": SubscriptionStatus.NON_RENEWING,
    "complete": SubscriptionStatus.EXPIRED,
    "completed": SubscriptionStatus.EXPIRED,  # as the documents spell it
    "cancelled": SubscriptionStatus.CANCELLED,
}
ENDED = (SubscriptionStatus.EXPIRED, SubscriptionStatus.CANCELLED)
INTERVALS = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "biannually": "half_year",
    "annually": "year",
}
INVOICE_STATUSES = {
    "success": InvoiceStatus.PAID,
    "failed": InvoiceStatus.PAST_DUE,
    "attention": InvoiceStatus.PAST_DUE,
}
MOST_COUNT = 2**31 - 1  # what an integer column holds
REQUEST_STATUSES = {
    "success": InvoiceStatus.PAID,
    "pending": InvoiceStatus.OPEN,
    "draft": InvoiceStatus.DRAFT,
    "archived": InvoiceStatus.VOID,
}


def subscription_facts(subscription: Mapping[str, Any], *, named: SubscriptionStatus | None = None) -> tuple[Fact, ...]:
    """Return the facts of a subscription; `named` is its state where it says none that we know."""
    plan = mapping(subscription.get("plan"))
    currency = plan.get("currency")
    status = SUBSCRIPTION_STATUSES.get(text(subscription.get("status")) or "", named)
    fact = SubscriptionFact(
        objects=object_names(("subscription", subscription.get("subscription_code"))),
        status=status,
        plan=plan_of(subscription),
        plan_name=text(plan.get("name")),
        amount_minor=minor_or_none(subscription.get("amount"), currency),
        currency=currency_code(currency),
        interval=INTERVALS.get(text(plan.get("interval")) or ""),
        **payer(subscription),
        started_at=first_moment(subscription, "createdAt", "created_at"),  # the latter is that of `subscription.create`
        # Of one that has ended it is the day on which it would have gone on.
        next_payment_at=None if status in ENDED else moment(subscription.get("next_payment_date")),
        ended_at=first_moment(subscription, "cancelledAt", "cancelled_at") if status in ENDED else None,
        **app_of_customer(mapping(subscription.get("customer"))),
    )
    return (fact, *_latest_invoice_facts(subscription, fact), *customer_facts(subscription))


def invoice_facts(invoice: Mapping[str, Any], *, named: InvoiceStatus) -> tuple[Fact, ...]:
    """Return the facts of a subscription's invoice; `named` is its state where it is still open."""
    transaction = mapping(invoice.get("transaction"))
    subscription = mapping(invoice.get("subscription"))
    currency = transaction.get("currency") or invoice.get("currency")  # neither stands in one that nothing has paid
    fact = _invoice_fact(invoice, currency, named)._replace(
        **payer(invoice), subscription_ref=identifier(subscription.get("subscription_code"))
    )
    links = {
        "invoice_ref": fact.objects[0].id,
        "subscription_ref": fact.subscription_ref,
        **payer(invoice),
        **app_of_customer(mapping(invoice.get("customer"))),
    }
    paid_by = payment_names(transaction.get("id"), transaction.get("reference"))
    return (
        *((PaymentFact(objects=paid_by, **links),) if paid_by else ()),
        fact,
        *_subscription_inside(invoice, currency),
        *customer_facts(invoice),
    )


def payment_request_facts(request: Mapping[str, Any], *, named: InvoiceStatus | None = None) -> tuple[Fact, ...]:
    """Return the facts of a payment request; its customer is a number in events, and whole in the API's answers."""
    currency = request.get("currency")
    status = REQUEST_STATUSES.get(text(request.get("status")) or "", named)
    total_minor = minor_or_none(request.get("amount"), currency)
    fact = InvoiceFact(
        objects=object_names(("payment_request", request.get("request_code") or request.get("id"))),
        status=status,
        number=identifier_or_number(request.get("invoice_number")),
        **_amounts(status, total_minor),
        currency=currency_code(currency),
        **payer(request),
        issued_at=born_at(request),
        due_at=moment(request.get("due_date")),
        paid_at=moment(request.get("paid_at")),
        description=text(request.get("description")),
        lines=_lines(request.get("line_items"), currency),
        metadata=plain_metadata(request.get("metadata")),
    )
    return (fact, *customer_facts(request))


def _invoice_fact(invoice: Mapping[str, Any], currency: object, named: InvoiceStatus | None) -> InvoiceFact:
    status = _invoice_status(invoice, named)
    return InvoiceFact(
        objects=object_names(("invoice", invoice.get("invoice_code"))),
        status=status,
        **_amounts(status, minor_or_none(invoice.get("amount"), currency)),
        currency=currency_code(currency),
        attempts=_count(invoice.get("retries")),
        issued_at=born_at(invoice),
        paid_at=moment(invoice.get("paid_at")) if status is InvoiceStatus.PAID else None,
        period_start=moment(invoice.get("period_start")),
        period_end=moment(invoice.get("period_end")),
        description=text(invoice.get("description")),
    )


def _invoice_status(invoice: Mapping[str, Any], named: InvoiceStatus | None) -> InvoiceStatus | None:
    """Return the state of an invoice by its word; `paid` stands at 1 beside `attention` in Paystack's own sample."""
    word = text(invoice.get("status"))
    if word is None and invoice.get("paid") is True:
        return InvoiceStatus.PAID
    return INVOICE_STATUSES.get(word or "", named)


def _latest_invoice_facts(subscription: Mapping[str, Any], fact: SubscriptionFact) -> tuple[Fact, ...]:
    """Return the facts of a subscription's latest invoice, of which the API has no page of its own."""
    invoice = mapping(subscription.get("most_recent_invoice"))
    if not identifier(invoice.get("invoice_code")):
        return ()
    billed = _invoice_fact(invoice, fact.currency, InvoiceStatus.OPEN)._replace(
        **payer(subscription), subscription_ref=fact.objects[0].id
    )
    if fact.plan_name:  # that is what it is for: Paystack shows no lines of such an invoice
        line = {"product": fact.plan_name, "description": fact.plan_name, "amount_minor": billed.total_minor}
        line |= {"quantity": 1, "plan": fact.plan}
        billed = billed._replace(lines=({word: value for word, value in line.items() if value is not None},))
    paid_by = payment_names(invoice.get("transaction"), None) if billed.status is InvoiceStatus.PAID else ()
    links = {"invoice_ref": billed.objects[0].id, "subscription_ref": fact.objects[0].id, **payer(subscription)}
    return (*((PaymentFact(objects=paid_by, **links),) if paid_by else ()), billed)


def _subscription_inside(invoice: Mapping[str, Any], currency: object) -> tuple[Fact, ...]:
    """Return the fact of the subscription that an invoice shows in short; {} where it shows none."""
    subscription = mapping(invoice.get("subscription"))
    if not identifier(subscription.get("subscription_code")):
        return ()
    status = SUBSCRIPTION_STATUSES.get(text(subscription.get("status")) or "")
    fact = SubscriptionFact(
        objects=object_names(("subscription", subscription.get("subscription_code"))),
        status=status,
        amount_minor=minor_or_none(subscription.get("amount"), currency),
        currency=currency_code(currency),
        **payer(invoice),
        next_payment_at=None if status in ENDED else moment(subscription.get("next_payment_date")),
        **app_of_customer(mapping(invoice.get("customer"))),
    )
    return (fact,)


def _amounts(status: InvoiceStatus | None, total_minor: int | None) -> dict[str, Any]:
    """Return total, paid and due; an invoice of Paystack's is paid whole or not at all."""
    if status is InvoiceStatus.PAID:
        return {"total_minor": total_minor, "paid_minor": total_minor, "due_minor": None if total_minor is None else 0}
    return {"total_minor": total_minor, "due_minor": total_minor}


def _lines(items: object, currency: object) -> tuple[dict[str, Any], ...] | None:
    lines = [
        {
            "product": text(item.get("name")),
            "description": text(item.get("name")),
            "amount_minor": minor_or_none(item.get("amount"), currency),
            "quantity": _count(item.get("quantity")),
        }
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict)
    ]
    said = [{word: value for word, value in line.items() if value is not None} for line in lines]
    return tuple(line for line in said if line) or None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNT else None

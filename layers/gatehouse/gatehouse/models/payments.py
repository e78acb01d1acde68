"""Payments, to be found and read; they are made and moved by what gateways tell (intake), and by nothing else."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound
from gatehouse.models.scope import Page, Store, checked_most, flush_for, page_of, place_after

sql = load_statements(Path(__file__).with_name("payments.sql"))


class Payment(NamedTuple):
    """A row of `payments`."""

    id: int
    merchant: str
    gateway: str
    account: str
    livemode: bool
    status: str
    amount_minor: int | None
    received_minor: int | None
    refunded_minor: int | None
    currency: str | None
    fee_minor: int | None  # None: not known yet
    fee_currency: str | None
    method: str | None
    reference: str | None
    order_id: int | None
    customer_id: int | None
    customer_ref: str | None
    email: str | None
    subscription_ref: str | None
    invoice_ref: str | None
    app: str | None
    user_id: str | None
    plan: str | None
    failure_code: str | None
    failure_message: str | None
    status_reason: str | None
    metadata: dict[str, Any] | None
    first_fact_at: datetime
    last_fact_at: datetime
    completed_at: datetime | None
    source: str | None
    surcharge_minor: int | None
    invoice_number: str | None
    product_name: str | None
    product_category: str | None
    is_recurring: bool


def find_payment(store: Store, merchant: str, payment_id: int) -> Payment:
    """Return one payment by id, or raise NotFound; one that was joined with another leads to that."""
    (rows,) = flush_for(store, merchant, sql.payment_by_id(merchant=merchant, payment_id=payment_id))
    if not rows:
        raise NotFound("there is no such payment")
    return Payment(**rows[0])


def find_payment_by_object(store: Store, merchant: str, object_id: str, *, gateway: str | None = None) -> Payment:
    """Return the payment that a gateway knows by this id (of an intent, a charge, a capture …), or raise NotFound."""
    bound = sql.payments_by_object(merchant=merchant, object_id=object_id, gateway=gateway)
    (rows,) = flush_for(store, merchant, bound)
    if not rows:
        raise NotFound("no payment has this id at a gateway")
    if len(rows) > 1:
        raise NotFound(f"several payments have this id, at {', '.join(row['gateway'] for row in rows)}: say which")
    return Payment(**rows[0])


def payments_by_reference(store: Store, merchant: str, reference: str, *, most: int = 20) -> list[Payment]:
    """Return the payments that have this reference of the merchant's own, newest first."""
    bound = sql.payments_by_reference(merchant=merchant, reference=reference, most=checked_most(most))
    (rows,) = flush_for(store, merchant, bound)
    return [Payment(**row) for row in rows]


def payments_of_order(store: Store, merchant: str, order_id: int) -> list[Payment]:
    """Return the payments for an order, oldest first."""
    (rows,) = flush_for(store, merchant, sql.payments_of_order(merchant=merchant, order_id=order_id))
    return [Payment(**row) for row in rows]


def payments_of_customer(store: Store, merchant: str, customer_id: int, *, most: int = 20) -> list[Payment]:
    """Return the payments of a customer, newest first."""
    bound = sql.payments_of_customer(merchant=merchant, customer_id=customer_id, most=checked_most(most))
    (rows,) = flush_for(store, merchant, bound)
    return [Payment(**row) for row in rows]


def list_payments(
    store: Store,
    merchant: str,
    *,
    status: str | None = None,
    gateway: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    livemode: bool | None = None,
    after: str | None = None,
    most: int = 20,
) -> Page[Payment]:
    """Return a page of payments, newest first, with any of the filters."""
    # Most payments are completed, and are met soon among the newest; the others have an index of their own.
    statement = sql.list_payments if status in (None, "completed") else sql.list_payments_of_status
    bound = statement(
        merchant=merchant,
        status=status,
        gateway=gateway,
        since=since,
        before=before,
        livemode=livemode,
        most=checked_most(most) + 1,
        **place_after(after),
    )
    (rows,) = flush_for(store, merchant, bound)
    return page_of([Payment(**row) for row in rows], most, lambda last: (last.first_fact_at, last.id))

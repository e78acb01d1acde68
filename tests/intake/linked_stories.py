"""Stories of refunds, disputes, subscriptions, invoices, payouts, customers and apps, and the rows they must end in.

The rows are written by hand, from what the gateway means and not from what the SQL does. A text that begins with ~ is a
name of this example alone: each order is told with names of its own. Seconds count from EPOCH.
"""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.intake.record import Delivery, fetched_facts, record
from gatehouse.sealing import Keyring
from tests.intake.stories import ACCOUNT, ARRIVED, EPOCH

PI = ObjectName("payment_intent", "~pi")
CHARGE = ObjectName("charge", "~ch")
REFUND, REFUND_2 = ObjectName("refund", "~re"), ObjectName("refund", "~re2")
REFUND_REFERENCE = ObjectName("refund_reference", "~rr")
DISPUTE = ObjectName("dispute", "~dp")
SUBSCRIPTION, SUBSCRIPTION_2 = ObjectName("subscription", "~sub"), ObjectName("subscription", "~sub2")
INVOICE = ObjectName("invoice", "~in")
PAYOUT = ObjectName("payout", "~po")
CUSTOMER = ObjectName("customer", "~cus")

PAID = PaymentFact(
    objects=(CHARGE,),
    status=PaymentStatus.COMPLETED,
    amount_minor=1000,
    received_minor=1000,
    currency="EUR",
    completed_at=EPOCH,
)
OTHER_APP = "elevenone"  # the default app of the merchant is nexai
PLAN_OF_OTHER_APP = "plan_of_elevenone"
ITS_PLAN = f"update apps set plans = '{{{PLAN_OF_OTHER_APP}}}' where name = '{OTHER_APP}'"


class Told(NamedTuple):
    """One event of a story, or the answer to a question that a job asked."""

    event: str
    second: int | None
    facts: tuple[Fact, ...]
    is_answer: bool = False  # fetched by a job: no event of the gateway


class Story(NamedTuple):
    """What is told, in any order, and what must stand at the end: table -> name -> columns."""

    told: tuple[Told, ...]
    ends: dict[str, dict[str, dict[str, Any]]]


def says(event: str, second: int | None, *facts: Fact) -> Told:
    """Return one event."""
    return Told(event, second, facts)


def at(second: int) -> str:
    """Return a moment as JSON of the database has it."""
    return (EPOCH + timedelta(seconds=second)).isoformat()


def refund(name: ObjectName, status: RefundStatus | None, amount_minor: int | None = None, **more: Any) -> RefundFact:
    """Return what is said of a refund of the one charge."""
    words: dict[str, Any] = {"payment": (CHARGE,), **more}
    return RefundFact(objects=(name,), status=status, amount_minor=amount_minor, currency="EUR", **words)


def dispute(status: DisputeStatus | None, **words: Any) -> DisputeFact:
    """Return what is said of a dispute about the one charge."""
    return DisputeFact(objects=(DISPUTE,), payment=(CHARGE,), status=status, **words)


def subscription(status: SubscriptionStatus | None, **words: Any) -> SubscriptionFact:
    """Return what is said of the one subscription."""
    return SubscriptionFact(objects=(SUBSCRIPTION,), status=status, **words)


STORIES: dict[str, Story] = {
    "a refund before its payment": Story(
        (
            says("refunded", 5, refund(REFUND, RefundStatus.COMPLETED, 1000)),
            says("paid", 1, PAID),
            says("made", 0, PaymentFact(objects=(CHARGE, PI), status=PaymentStatus.PENDING)),
        ),
        {
            "payments": {"~ch ~pi": {"status": "refunded", "refunded_minor": 1000, "received_minor": 1000}},
            "refunds": {"~re": {"status": "completed", "amount_minor": 1000, "payment": "~ch ~pi"}},
        },
    ),
    "two refunds in part, then the rest": Story(
        (
            says("paid", 1, PAID),
            says("first", 2, refund(REFUND, RefundStatus.COMPLETED, 300)),
            says("second", 3, refund(REFUND_2, RefundStatus.PENDING, 200)),
            says("second done", 4, refund(REFUND_2, RefundStatus.COMPLETED, 200)),
            says("rest", 5, refund(ObjectName("refund", "~re3"), RefundStatus.COMPLETED, 500)),
        ),
        {
            "payments": {"~ch": {"status": "refunded", "refunded_minor": 1000}},
            "refunds": {
                "~re": {"status": "completed", "amount_minor": 300},
                "~re2": {"status": "completed", "amount_minor": 200},
                "~re3": {"status": "completed", "amount_minor": 500, "payment": "~ch"},
            },
        },
    ),
    "two refunds in part and no more": Story(
        (
            says("paid", 1, PAID),
            says("first", 2, refund(REFUND, RefundStatus.COMPLETED, 300)),
            says("second", 3, refund(REFUND_2, RefundStatus.COMPLETED, 200)),
            says("total", 3, PAID._replace(refunded_minor=500)),
        ),
        {
            "payments": {"~ch": {"status": "partially_refunded", "refunded_minor": 500}},
            "refunds": {"~re": {"amount_minor": 300}, "~re2": {"amount_minor": 200}},
        },
    ),
    "a refund comes back from the bank": Story(
        (
            says("paid", 1, PAID),
            says("refunded", 2, refund(REFUND, RefundStatus.COMPLETED, 1000)),
            says("total", 2, PAID._replace(refunded_minor=1000)),
            says("failed", 9, refund(REFUND, RefundStatus.FAILED, None, failure_code="lost_or_stolen_card")),
        ),
        {
            "payments": {"~ch": {"status": "completed", "refunded_minor": 0}},
            "refunds": {"~re": {"status": "failed", "failure_code": "lost_or_stolen_card", "amount_minor": 1000}},
        },
    ),
    "a total that no known refund explains": Story(
        (
            says("paid", 1, PAID),
            says("total", 4, PAID._replace(refunded_minor=700)),
            says("known", 2, refund(REFUND, RefundStatus.COMPLETED, 300)),
        ),
        {
            "payments": {"~ch": {"status": "partially_refunded", "refunded_minor": 700}},
            "refunds": {"~re": {"status": "completed", "amount_minor": 300}},
        },
    ),
    "a dispute that is won, its money taken and given back": Story(
        (
            says("paid", 1, PAID),
            says(
                "opened", 10, dispute(DisputeStatus.NEEDS_RESPONSE, amount_minor=1000, currency="EUR", reason="fraud")
            ),
            says("withdrawn", 11, dispute(None, is_withdrawn=True)),
            says("won", 30, dispute(DisputeStatus.WON, outcome="won"), PaymentFact(objects=(CHARGE, PI))),
            says("reinstated", 31, dispute(None, is_withdrawn=False)),
        ),
        {
            "payments": {"~ch ~pi": {"status": "completed", "refunded_minor": None}},
            "disputes": {
                "~dp": {
                    "status": "won",
                    "outcome": "won",
                    "is_withdrawn": False,
                    "amount_minor": 1000,
                    "reason": "fraud",
                    "payment": "~ch ~pi",
                }
            },
        },
    ),
    "a dispute that is lost": Story(
        (
            says("opened", 10, dispute(DisputeStatus.NEEDS_RESPONSE, amount_minor=1000, currency="EUR")),
            says("withdrawn", 11, dispute(None, is_withdrawn=True)),
            says("lost", 30, dispute(DisputeStatus.LOST)),
            says("paid", 1, PAID),
        ),
        {
            "payments": {"~ch": {"status": "completed"}},
            "disputes": {"~dp": {"status": "lost", "is_withdrawn": True, "payment": "~ch"}},
        },
    ),
    "failed, then succeeded": Story(
        (
            says("declined", 1, PaymentFact(objects=(PI,), status=PaymentStatus.FAILED, failure_code="declined")),
            says("paid", 2, PAID._replace(objects=(PI, CHARGE))),
            says("declined again", 3, PaymentFact(objects=(PI,), status=PaymentStatus.FAILED, failure_code="late")),
        ),
        {"payments": {"~ch ~pi": {"status": "completed", "failure_code": None, "completed_at": at(0)}}},
    ),
    "authorised, captured in part, the rest voided": Story(
        (
            says("held", 1, PaymentFact(objects=(CHARGE,), status=PaymentStatus.PROCESSING, amount_minor=1000)),
            says("captured", 2, PAID._replace(received_minor=600)),
            says(
                "voided", 3, PaymentFact(objects=(CHARGE,), status=PaymentStatus.CANCELLED, status_reason="automatic")
            ),
        ),
        {"payments": {"~ch": {"status": "completed", "amount_minor": 1000, "received_minor": 600}}},
    ),
    "authorised and voided": Story(
        (
            says("made", 0, PaymentFact(objects=(CHARGE,), status=PaymentStatus.PENDING, currency="EUR")),
            says("held", 1, PaymentFact(objects=(CHARGE,), status=PaymentStatus.PROCESSING, amount_minor=1000)),
            says("voided", 3, PaymentFact(objects=(CHARGE,), status=PaymentStatus.CANCELLED, status_reason="expired")),
        ),
        {"payments": {"~ch": {"status": "cancelled", "status_reason": "expired", "received_minor": None}}},
    ),
    "paid and reversed": Story(
        (
            says("paid", 1, PAID),
            says("returned", 5, PaymentFact(objects=(CHARGE,), status=PaymentStatus.REVERSED, status_reason="R01")),
            says("late word", 6, PaymentFact(objects=(CHARGE,), status=PaymentStatus.PROCESSING)),
        ),
        {"payments": {"~ch": {"status": "cancelled", "status_reason": "R01", "received_minor": 1000}}},
    ),
    "cancelled, and a late older word": Story(
        (
            says("made", 0, subscription(SubscriptionStatus.ACTIVE, plan="gold", customer_ref="~cus", amount_minor=5)),
            says("updated", 5, subscription(SubscriptionStatus.PAST_DUE, plan="silver")),
            says("cancelled", 9, subscription(SubscriptionStatus.CANCELLED, ended_at=EPOCH, cancel_reason="cost")),
        ),
        {
            "subscriptions": {
                "~sub": {
                    "status": "cancelled",
                    "plan": "silver",
                    "amount_minor": 5,
                    "ended_at": at(0),
                    "cancel_reason": "cost",
                    "app": "nexai",
                    "app_from": "default",
                }
            },
            # What an event does not say is told from what stands in the end.
            "app_transactions": {
                "~made": {"status": "active", "plan": "gold", "amount_minor": 5},
                "~updated": {"status": "past_due", "plan": "silver", "amount_minor": 5},
                "~cancelled": {"status": "cancelled", "plan": "silver", "amount_minor": 5},
            },
        },
    ),
    "not renewed, without a time, and what the gateway answers": Story(
        (
            says("made", 0, subscription(SubscriptionStatus.ACTIVE, plan="gold", currency="NGN", amount_minor=5)),
            says("not renewed", None, subscription(SubscriptionStatus.NON_RENEWING)),
            Told("answer", 60, (subscription(SubscriptionStatus.NON_RENEWING, plan="gold"),), is_answer=True),
        ),
        {"subscriptions": {"~sub": {"status": "non_renewing", "plan": "gold", "last_fact_at": at(60)}}},
    ),
    "a refund known by two names, each of another name of the payment": Story(
        (
            says("asked", 2, refund(REFUND_REFERENCE, RefundStatus.PENDING, 400, payment=(PI,))),
            says("done", 3, refund(REFUND, RefundStatus.COMPLETED, 400, payment=(CHARGE,))),
            says("both", 4, RefundFact(objects=(REFUND, REFUND_REFERENCE))),
            says("paid", 1, PAID),
        ),
        {
            "payments": {"~ch ~pi": {"status": "partially_refunded", "refunded_minor": 400}},
            "refunds": {"~re": {"status": "completed", "amount_minor": 400, "payment": "~ch ~pi"}},
        },
    ),
    "a refund known by two names, and a third name of the payment": Story(
        (
            says("asked", 2, refund(REFUND_REFERENCE, RefundStatus.PENDING, 400, payment=(PI,))),
            says("done", 3, refund(REFUND, RefundStatus.COMPLETED, 400, payment=())),
            says(
                "both",
                4,
                RefundFact(objects=(REFUND, REFUND_REFERENCE), payment=(ObjectName("checkout_session", "~cs"),)),
            ),
            says("paid", 1, PAID._replace(objects=(CHARGE, PI))),
        ),
        {
            "payments": {"~ch ~cs ~pi": {"status": "partially_refunded", "refunded_minor": 400}},
            "refunds": {"~re": {"status": "completed", "payment": "~ch ~cs ~pi"}},
        },
    ),
    "a dispute known by two names, each of another name of the payment": Story(
        (
            says("opened", 2, dispute(DisputeStatus.NEEDS_RESPONSE)),
            says(
                "case",
                3,
                DisputeFact(objects=(ObjectName("case", "~case"),), payment=(PI,), status=DisputeStatus.UNDER_REVIEW),
            ),
            says("both", 1, DisputeFact(objects=(DISPUTE, ObjectName("case", "~case")))),
            says("paid", 1, PAID),
        ),
        {
            "payments": {"~ch ~pi": {"status": "completed"}},
            "disputes": {"~case": {"status": "under_review", "payment": "~ch ~pi"}},
        },
    ),
    "an invoice, paid by a payment that comes later": Story(
        (
            says(
                "sent", 1, InvoiceFact(objects=(INVOICE,), status=InvoiceStatus.OPEN, total_minor=1000, due_minor=1000)
            ),
            says("failed", 2, InvoiceFact(objects=(INVOICE,), status=InvoiceStatus.PAST_DUE, attempts=1)),
            says("paid", 3, InvoiceFact(objects=(INVOICE,), status=InvoiceStatus.PAID, paid_minor=1000, due_minor=0)),
            says("money", 4, PAID._replace(invoice_ref="~in")),
        ),
        {
            "invoices": {
                "~in": {"status": "paid", "total_minor": 1000, "due_minor": 0, "paid_minor": 1000, "attempts": 1}
            },
            "payments": {"~ch": {"status": "completed", "invoice_ref": "~in"}},
        },
    ),
    "a payout that the bank sends back": Story(
        (
            says("made", 1, PayoutFact(objects=(PAYOUT,), status=PayoutStatus.PENDING, amount_minor=9, currency="EUR")),
            says("paid", 2, PayoutFact(objects=(PAYOUT,), status=PayoutStatus.SETTLED, settled_at=EPOCH)),
            says("failed", 3, PayoutFact(objects=(PAYOUT,), status=PayoutStatus.FAILED, failure_code="account_closed")),
        ),
        {"payouts": {"~po": {"status": "failed", "failure_code": "account_closed", "amount_minor": 9}}},
    ),
    "the app, said by the customer": Story(
        (
            says("paid", 1, PAID._replace(customer_ref="~cus")),
            says("subscribed", 2, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus", plan="gold")),
            says("customer", 9, CustomerFact(objects=(CUSTOMER,), app=OTHER_APP, user_id="u7")),
            says("renewed", 5, PAID._replace(objects=(PI,), subscription_ref="~sub")),
        ),
        {
            "gateway_customers": {"~cus": {"app": OTHER_APP, "user_id": "u7"}},
            "payments": {
                "~ch": {"app": OTHER_APP, "app_from": "customer", "user_id": "u7"},
                "~pi": {"app": OTHER_APP, "app_from": "subscription", "user_id": "u7"},
            },
            "subscriptions": {"~sub": {"app": OTHER_APP, "app_from": "customer", "user_id": "u7"}},
            "app_transactions": {
                "~paid": {"app": OTHER_APP, "user_id": "u7"},
                "~subscribed": {"app": OTHER_APP, "user_id": "u7"},
                "~renewed": {"app": OTHER_APP, "user_id": "u7"},
            },
        },
    ),
    "the app, known by the plan": Story(
        (
            says("subscribed", 1, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus")),
            says("planned", 2, subscription(SubscriptionStatus.ACTIVE, plan=PLAN_OF_OTHER_APP)),
            says("paid", 3, PAID._replace(customer_ref="~cus", plan=PLAN_OF_OTHER_APP)),
            says("renewed", 4, PAID._replace(objects=(PI,), subscription_ref="~sub")),
        ),
        {
            "subscriptions": {"~sub": {"app": OTHER_APP, "app_from": "plan"}},
            "payments": {
                "~ch": {"app": OTHER_APP, "app_from": "subscription", "plan": PLAN_OF_OTHER_APP},
                "~pi": {"app": OTHER_APP, "app_from": "subscription", "plan": None},
            },
            "app_transactions": {
                "~subscribed": {"app": OTHER_APP, "plan": PLAN_OF_OTHER_APP},
                "~planned": {"app": OTHER_APP, "plan": PLAN_OF_OTHER_APP},
                "~paid": {"app": OTHER_APP, "plan": PLAN_OF_OTHER_APP},
                "~renewed": {"app": OTHER_APP, "plan": None},
            },
        },
    ),
    "the app, said by the subscription": Story(
        (
            says("paid", 1, PAID._replace(subscription_ref="~sub")),
            says("subscribed", 2, subscription(SubscriptionStatus.ACTIVE, plan="gold")),
            says("told", 9, subscription(None, app=OTHER_APP, user_id="u1")),
            says("refunded", 5, refund(REFUND, RefundStatus.COMPLETED, 1000)),
        ),
        {
            "subscriptions": {"~sub": {"app": OTHER_APP, "app_from": "event", "user_id": "u1"}},
            "payments": {"~ch": {"app": OTHER_APP, "app_from": "subscription", "user_id": "u1", "status": "refunded"}},
            "refunds": {"~re": {"payment": "~ch"}},
            "app_transactions": {
                "~paid": {"app": OTHER_APP, "user_id": "u1"},
                "~subscribed": {"app": OTHER_APP, "user_id": "u1"},
            },
        },
    ),
    "the app, said by a payment of the subscription": Story(
        (
            says("subscribed", 1, subscription(SubscriptionStatus.ACTIVE, plan="gold")),
            says("first", 2, PAID._replace(subscription_ref="~sub", app=OTHER_APP)),
            says("who", 3, PAID._replace(user_id="u1")),
            says("corrected", 4, PaymentFact(objects=(CHARGE,), user_id="u2")),
            says("renewed", 5, PAID._replace(objects=(PI,), subscription_ref="~sub")),
        ),
        {
            "subscriptions": {"~sub": {"app": OTHER_APP, "app_from": "payment", "user_id": "u2"}},
            "payments": {
                "~ch": {"app": OTHER_APP, "app_from": "event", "user_id": "u2"},
                "~pi": {"app": OTHER_APP, "app_from": "subscription", "user_id": "u2"},
            },
            "app_transactions": {
                "~subscribed": {"app": OTHER_APP, "user_id": "u2"},
                "~first": {"app": OTHER_APP, "user_id": "u2"},
                "~who": {"app": OTHER_APP, "user_id": "u2"},
                "~renewed": {"app": OTHER_APP, "user_id": "u2"},
            },
        },
    ),
    "two payments name different users of one subscription": Story(
        (
            says("subscribed", 1, subscription(SubscriptionStatus.ACTIVE)),
            says("first", 2, PAID._replace(subscription_ref="~sub", app=OTHER_APP)),
            says("second", 3, PAID._replace(objects=(PI,), subscription_ref="~sub", app=OTHER_APP, user_id="u1")),
            says("corrected", 4, PaymentFact(objects=(PI,), user_id="u2")),
        ),
        {
            "subscriptions": {"~sub": {"app": OTHER_APP, "app_from": "payment", "user_id": "u2"}},
            "payments": {"~ch": {"user_id": "u2", "app_from": "event"}, "~pi": {"user_id": "u2", "app_from": "event"}},
            "app_transactions": {
                "~subscribed": {"app": OTHER_APP, "user_id": "u2"},
                "~first": {"app": OTHER_APP, "user_id": "u2"},
                "~second": {"app": OTHER_APP, "user_id": "u2"},
            },
        },
    ),
    "a payment that names no subscription follows the customer's first one to its plan": Story(
        (
            says("paid", 5, PAID._replace(customer_ref="~cus", plan="gold")),
            says("first", 1, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus", plan="gold")),
            says(
                "second",
                2,
                SubscriptionFact(
                    objects=(SUBSCRIPTION_2,),
                    status=SubscriptionStatus.ACTIVE,
                    customer_ref="~cus",
                    plan="gold",
                    app=OTHER_APP,
                ),
            ),
        ),
        {
            "subscriptions": {"~sub": {"app": "nexai"}, "~sub2": {"app": OTHER_APP, "app_from": "event"}},
            "payments": {"~ch": {"app": "nexai", "app_from": "default"}},
            "app_transactions": {
                "~paid": {"app": "nexai"},
                "~first": {"app": "nexai"},
                "~second": {"app": OTHER_APP},
            },
        },
    ),
    "a payment keeps to the subscription that it names": Story(
        (
            says("paid", 5, PAID._replace(customer_ref="~cus", plan="gold", subscription_ref="~sub")),
            says("named", 3, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus", plan="gold")),
            says(
                "other",
                2,
                SubscriptionFact(
                    objects=(SUBSCRIPTION_2,),
                    status=SubscriptionStatus.ACTIVE,
                    customer_ref="~cus",
                    plan="gold",
                    app=OTHER_APP,
                    user_id="u9",
                ),
            ),
        ),
        {
            "subscriptions": {"~sub": {"app": "nexai", "user_id": None}, "~sub2": {"app": OTHER_APP}},
            "payments": {"~ch": {"app": "nexai", "app_from": "default", "user_id": None}},
            "app_transactions": {
                "~paid": {"app": "nexai", "user_id": None},
                "~named": {"app": "nexai"},
                "~other": {"app": OTHER_APP, "user_id": "u9"},
            },
        },
    ),
    "two payments of an app turn out to be one": Story(
        (
            says("charged", 1, PAID._replace(app=OTHER_APP, subscription_ref="~sub")),
            says("intent", 2, PaymentFact(objects=(PI,), status=PaymentStatus.PENDING, app="nexai", user_id="u1")),
            says("link", 3, PaymentFact(objects=(PI, CHARGE))),
            says("subscribed", 1, subscription(SubscriptionStatus.ACTIVE)),
        ),
        {
            "payments": {"~ch ~pi": {"status": "completed", "app": "nexai", "app_from": "event", "user_id": "u1"}},
            "subscriptions": {"~sub": {"app": "nexai", "app_from": "payment", "user_id": "u1"}},
            "app_transactions": {
                "~charged": {"app": "nexai", "user_id": "u1", "payment": "~ch ~pi"},
                "~intent": {"app": "nexai", "user_id": "u1", "payment": "~ch ~pi"},
                "~subscribed": {"app": "nexai", "user_id": "u1"},
            },
        },
    ),
    "a payment moves to another subscription": Story(
        (
            says("first", 1, subscription(SubscriptionStatus.ACTIVE)),
            says(
                "second", 1, SubscriptionFact(objects=(SUBSCRIPTION_2,), status=SubscriptionStatus.ACTIVE, plan="gold")
            ),
            says("paid", 2, PAID._replace(subscription_ref="~sub", app=OTHER_APP, user_id="u1")),
            says("moved", 3, PaymentFact(objects=(CHARGE,), subscription_ref="~sub2")),
        ),
        {
            "payments": {"~ch": {"app": OTHER_APP, "subscription_ref": "~sub2"}},
            "subscriptions": {
                "~sub": {"app": "nexai", "app_from": "default", "user_id": None},
                "~sub2": {"app": OTHER_APP, "app_from": "payment", "user_id": "u1"},
            },
            "app_transactions": {
                "~first": {"app": "nexai", "user_id": None},
                "~second": {"app": OTHER_APP, "user_id": "u1"},
                "~paid": {"app": OTHER_APP, "user_id": "u1"},
            },
        },
    ),
    "one event says a status and joins its payment by a refund": Story(
        (
            says("asked", 1, refund(REFUND, RefundStatus.PENDING, 100, payment=(PI,))),
            says(
                "refunded",
                3,
                PAID._replace(refunded_minor=100),
                refund(REFUND, RefundStatus.COMPLETED, 100, payment=(CHARGE,)),
            ),
            says("intent", 0, PaymentFact(objects=(PI,), status=PaymentStatus.PENDING, reference="A-1")),
        ),
        {
            "payments": {"~ch ~pi": {"status": "partially_refunded", "refunded_minor": 100, "reference": "A-1"}},
            "refunds": {"~re": {"status": "completed", "payment": "~ch ~pi"}},
            "app_transactions": {
                "~refunded": {"payment": "~ch ~pi", "reference": "A-1", "amount_minor": 1000},
                "~intent": {"payment": "~ch ~pi", "reference": "A-1", "amount_minor": 1000},
            },
        },
    ),
    "a hint, the details of its payment and of its invoice, and a return": Story(
        (
            says(
                "hint",
                1,
                PaymentFact(
                    objects=(CHARGE,),
                    status=PaymentStatus.PROCESSING,
                    amount_minor=1035,
                    currency="EUR",
                    source="Recurring",
                ),
            ),
            Told(
                "detail",
                60,
                (
                    PaymentFact(
                        objects=(CHARGE,),
                        status=PaymentStatus.COMPLETED,
                        amount_minor=1035,
                        received_minor=1035,
                        surcharge_minor=35,
                        currency="EUR",
                        invoice_ref="~in",
                        invoice_number="2577",
                        source="Recurring",
                    ),
                ),
                is_answer=True,
            ),
            Told(
                "invoice",
                61,
                (
                    InvoiceFact(
                        objects=(ObjectName("invoice", "~in"),),
                        status=InvoiceStatus.PAID,
                        number="2577",
                        total_minor=1000,
                        paid_minor=1000,
                        currency="EUR",
                        customer_name="Ada",
                        billing_address={"state": "VA"},
                        lines=({"product": "Gold", "amount_minor": 1000, "quantity": 1},),
                    ),
                    PaymentFact(objects=(CHARGE,), invoice_ref="~in", invoice_number="2577", surcharge_minor=35),
                ),
                is_answer=True,
            ),
            Told("return", 62, (refund(REFUND, RefundStatus.COMPLETED, 100),), is_answer=True),
        ),
        {
            "payments": {
                "~ch": {
                    "status": "partially_refunded",
                    "amount_minor": 1035,
                    "surcharge_minor": 35,
                    "refunded_minor": 100,
                    "source": "Recurring",
                    "invoice_ref": "~in",
                    "invoice_number": "2577",
                }
            },
            "refunds": {"~re": {"status": "completed", "payment": "~ch"}},
            "invoices": {
                "~in": {
                    "status": "paid",
                    "paid_minor": 1000,
                    "customer_name": "Ada",
                    "billing_address": {"state": "VA"},
                    "data_sent_status": "pending",
                    "lines": [{"product": "Gold", "amount_minor": 1000, "quantity": 1}],
                }
            },
        },
    ),
    "the customer of a subscription changes its user": Story(
        (
            says("known", 1, CustomerFact(objects=(CUSTOMER,), app=OTHER_APP, user_id="u1", email="~a@example.com")),
            says("changed", 8, CustomerFact(objects=(CUSTOMER,), user_id="u2")),
            says("subscribed", 2, subscription(SubscriptionStatus.ACTIVE, customer_ref="~cus")),
            says("paid", 3, PAID._replace(customer_ref="~cus")),
            says("gone", 9, CustomerFact(objects=(CUSTOMER,), is_deleted=True)),
        ),
        {
            "gateway_customers": {"~cus": {"user_id": "u2", "is_deleted": True, "email": "~a@example.com"}},
            "subscriptions": {"~sub": {"app": OTHER_APP, "user_id": "u2"}},
            "payments": {"~ch": {"app": OTHER_APP, "app_from": "customer", "user_id": "u2"}},
            "app_transactions": {"~subscribed": {"user_id": "u2"}, "~paid": {"user_id": "u2", "app": OTHER_APP}},
        },
    ),
}


def tell(database: Database, keyring: Keyring, told: Told, prefix: str) -> None:
    """Record one event, or apply one answer, with names of its own."""
    moment = None if told.second is None else EPOCH + timedelta(seconds=told.second)
    facts = tuple(named(fact, prefix) for fact in told.facts)
    if told.is_answer:
        assert moment
        said_by = f"{prefix}{told.event}"
        database.flush(fetched_facts(ACCOUNT, facts, said_by=said_by, occurred_at=moment, job_id=1, livemode=False))
        return
    event = Event(
        f"{prefix}{told.event}", "test", moment, livemode=False, facts=facts, reference=facts[0].objects[0].id
    )
    recorded = record(database, Delivery(ACCOUNT, event, json.dumps(facts, default=str).encode(), ARRIVED), keyring)
    assert recorded.status in ("applied", "duplicate"), recorded.reason


def named(value: Any, prefix: str) -> Any:
    """Return a value in which every ~ at the beginning of a text is the prefix."""
    if isinstance(value, str) and value.startswith("~"):
        return prefix + value[1:]
    if isinstance(value, tuple) and hasattr(value, "_make"):
        return value._make(named(each, prefix) for each in value)  # a named tuple
    if isinstance(value, tuple):
        return tuple(named(each, prefix) for each in value)
    return value


OTHERS = ("refunds", "disputes", "subscriptions", "invoices", "payouts", "gateway_customers")
NAMES_OF_PAYMENT = """(select string_agg(o.object_id, ' ' order by o.object_id) from payment_objects o
    where o.payment_id = {table}.payment_id)"""
ROWS = {
    "payments": """select (select string_agg(o.object_id, ' ' order by o.object_id)
            from payment_objects o where o.payment_id = payments.id) as key, to_jsonb(payments) as row
        from payments
        where merged_into is null
          and id in (select payment_id from payment_objects where object_id like '{prefix}%')""",
    "app_transactions": f"""select (select event_id from webhook_events where id = webhook_event_id) as key,
            to_jsonb(app_transactions)
            || jsonb_build_object('payment', {NAMES_OF_PAYMENT.format(table="app_transactions")}) as row
        from app_transactions
        where webhook_event_id in (select id from webhook_events where event_id like '{{prefix}}%')""",
    **{
        table: f"""select gateway_id as key, to_jsonb({table}) {
            " || jsonb_build_object('payment', " + NAMES_OF_PAYMENT.format(table=table) + ")"
            if table in ("refunds", "disputes")
            else ""
        } as row from {table} where gateway_id like '{{prefix}}%'"""
        for table in OTHERS
    },
}
OUR_NUMBERS = ("id", "payment_id", "subscription_id", "webhook_event_id", "customer_id", "order_id")


def final_rows(database: Database, prefix: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what stands for one telling, in the story's own names and without our numbers, which differ by arrival."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for table, query in ROWS.items():
        rows = database.query(query.format(prefix=prefix))
        plain = json.loads(json.dumps([[row["key"], row["row"]] for row in rows]).replace(prefix, "~"))
        assert len({key for key, _row in plain}) == len(plain), f"two rows of {table} have one name"
        if plain:
            found[table] = {
                key: {name: value for name, value in row.items() if name not in OUR_NUMBERS} for key, row in plain
            }
    return found


def require(story: Story, found: dict[str, dict[str, dict[str, Any]]], order: Iterable[Told]) -> None:
    """Fail unless exactly the rows of the story stand, with the columns that it tells."""
    expected = story.ends | ({} if "app_transactions" in story.ends else {"app_transactions": _any_of(found)})
    shown = {
        table: {
            name: {column: row[column] for column in expected.get(table, {}).get(name, {})}
            for name, row in rows.items()
        }
        for table, rows in found.items()
    }
    assert shown == {table: rows for table, rows in expected.items() if rows}, [told.event for told in order]


def _any_of(found: dict[str, dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the notes of events as they are: of a story that says nothing of them."""
    return {name: {} for name in found.get("app_transactions", {})}

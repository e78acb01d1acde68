"""Stripe's subscriptions, invoices and customers, case by case."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gatehouse.facts import (
    CustomerFact,
    Event,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways.stripe import ASKABLE
from tests.support.stripe_samples import SAMPLES, event_of, facts, only, told

SUBSCRIPTION = "customer.subscription.updated"
LEGACY_SUBSCRIPTION = "customer.subscription.created__legacy_2020-08-27"
DAY = 86_400
BEGAN = 1_756_684_800  # of the composed subscription's period, 30 days
BEGAN_AT = datetime(2025, 9, 1, tzinfo=UTC)

pytestmark = pytest.mark.req("G1")


def subscription(event: Event) -> SubscriptionFact:
    return only(event, SubscriptionFact)


def invoice(event: Event) -> InvoiceFact:
    return only(event, InvoiceFact)


def item(amount: object, quantity: object = 1, **price: object) -> dict[str, Any]:
    """Return an item of a subscription as versions since 2025-03-31 write it."""
    recurring = {"interval": "month", "interval_count": 1, "usage_type": "licensed"}
    return {
        "id": "si_1",
        "quantity": quantity,
        "current_period_start": BEGAN,
        "current_period_end": BEGAN + 30 * DAY,
        "price": {"id": "price_1", "currency": "eur", "unit_amount": amount, "recurring": recurring, **price},
    }


def with_items(*items: object, **changes: object) -> SubscriptionFact:
    return subscription(told(SUBSCRIPTION, items={"data": list(items)}, **changes))


class TestSubscriptionStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("incomplete", SubscriptionStatus.PENDING),
            ("incomplete_expired", SubscriptionStatus.EXPIRED),
            ("trialing", SubscriptionStatus.TRIALING),
            ("active", SubscriptionStatus.ACTIVE),
            ("past_due", SubscriptionStatus.PAST_DUE),
            ("unpaid", SubscriptionStatus.PAST_DUE),
            ("paused", SubscriptionStatus.PAUSED),
            ("canceled", SubscriptionStatus.CANCELLED),
            ("wholly_new", None),
            (None, None),
            (["active"], None),
        ],
    )
    def test_is_what_the_object_says(self, said: object, status: SubscriptionStatus | None) -> None:
        assert subscription(told(SUBSCRIPTION, status=said)).status is status

    def test_is_what_the_name_says_where_the_object_says_none(self) -> None:
        deleted = told("customer.subscription.deleted", status="wholly_new")
        assert subscription(deleted).status is SubscriptionStatus.CANCELLED
        assert subscription(told("customer.subscription.paused", status=None)).status is SubscriptionStatus.PAUSED
        assert subscription(told("customer.subscription.created", status=...)).status is None

    @pytest.mark.parametrize("running", ["active", "trialing"])
    def test_one_that_runs_may_not_go_on(self, running: str) -> None:
        ends = {"cancel_at_period_end": True}
        paused = {"pause_collection": {"behavior": "void"}}
        assert subscription(told(SUBSCRIPTION, status=running, **ends)).status is SubscriptionStatus.NON_RENEWING
        assert subscription(told(SUBSCRIPTION, status=running, **paused)).status is SubscriptionStatus.PAUSED
        assert subscription(told(SUBSCRIPTION, status=running, **ends, **paused)).status is SubscriptionStatus.PAUSED

    @pytest.mark.parametrize("other", ["past_due", "canceled", "incomplete"])
    def test_one_that_does_not_run_is_what_it_is(self, other: str) -> None:
        both = {"cancel_at_period_end": True, "pause_collection": {"behavior": "void"}}
        known = subscription(told(SUBSCRIPTION, status=other)).status
        assert subscription(told(SUBSCRIPTION, status=other, **both)).status is known

    @pytest.mark.parametrize(
        ("cancel_at", "status"),
        [
            (BEGAN + 30 * DAY, SubscriptionStatus.NON_RENEWING),  # as the portal says it in flexible billing mode
            (BEGAN + 10 * DAY, SubscriptionStatus.NON_RENEWING),
            (BEGAN + 31 * DAY, SubscriptionStatus.ACTIVE),  # another period will be paid before
            (None, SubscriptionStatus.ACTIVE),
            ("soon", SubscriptionStatus.ACTIVE),
        ],
    )
    def test_an_end_within_the_period_is_an_end_with_it(self, cancel_at: object, status: SubscriptionStatus) -> None:
        assert subscription(told(SUBSCRIPTION, cancel_at=cancel_at)).status is status

    def test_with_several_periods_the_last_one_counts(self) -> None:
        longer = item(100) | {"current_period_end": BEGAN + 60 * DAY}
        said = with_items(item(100), longer, cancel_at=BEGAN + 60 * DAY)
        assert said.status is SubscriptionStatus.NON_RENEWING
        assert with_items(item(100), longer).next_payment_at == BEGAN_AT + timedelta(days=30)

    def test_without_a_period_an_end_that_is_set_says_no_more_than_when(self) -> None:
        said = with_items(cancel_at=BEGAN)
        assert (said.status, said.cancel_at) == (SubscriptionStatus.ACTIVE, BEGAN_AT)


class TestWhatASubscriptionCosts:
    @pytest.mark.parametrize(
        ("items", "amount"),
        [
            ([item(2900)], 2900),
            ([item(2900, 3)], 8700),
            ([item(2900), item(500, 3)], 4400),
            ([item(2900), item(2, None, recurring={"interval": "month", "usage_type": "metered"})], 2900),
            ([item(2, None, recurring={"interval": "month", "usage_type": "metered"})], None),
            ([item(None)], None),  # in tiers
            ([item(2900), item(None)], None),
            ([item("2900")], None),
            ([item(True)], None),
            ([item(2900, "2")], None),
            ([item(2900, -1)], None),
            ([item(2900), item(29000, recurring={"interval": "year"})], None),
            ([item(2900), item(2900, currency="usd")], None),
            ([item(1000, 25, transform_quantity={"divide_by": 10, "round": "up"})], 3000),
            ([item(1000, 25, transform_quantity={"divide_by": 10, "round": "down"})], 2000),
            ([item(1000, 25, transform_quantity={"divide_by": 0, "round": "up"})], None),
            ([item(1000, 25, transform_quantity={"divide_by": 10, "round": "sideways"})], None),
            ([], None),
            ([None, "si_1", {}], None),
        ],
    )
    def test_is_the_sum_over_its_prices(self, items: list[object], amount: int | None) -> None:
        assert with_items(*items).amount_minor == amount

    @pytest.mark.parametrize(("currency", "ours"), [("jpy", 2900), ("kwd", 2900), ("isk", 29)])
    def test_in_the_currencys_own_minor_units(self, currency: str, ours: int) -> None:
        said = with_items(item(2900, currency=currency), currency=currency)
        assert (said.amount_minor, said.currency) == (ours, currency.upper())

    @pytest.mark.parametrize(
        ("recurring", "interval"),
        [
            ({"interval": "month", "interval_count": 1}, "month"),
            ({"interval": "month", "interval_count": 3}, "3 month"),
            ({"interval": "week"}, "week"),
            ({"interval": "year", "interval_count": "2"}, "year"),
            ({"interval_count": 3}, None),
            (None, None),
        ],
    )
    def test_interval(self, recurring: object, interval: str | None) -> None:
        assert with_items(item(100, recurring=recurring)).interval == interval

    def test_plan_and_its_name(self) -> None:
        assert (with_items(item(1)).plan, with_items(item(1)).plan_name) == ("price_1", None)
        assert with_items(item(1, nickname="Pro", product={"name": "The product"})).plan_name == "Pro"
        assert with_items(item(1, product={"id": "prod_1", "name": "The product"})).plan_name == "The product"


class TestSubscriptionShapes:
    def test_before_2025_03_31_the_period_is_the_subscriptions_own(self) -> None:
        said = subscription(event_of(LEGACY_SUBSCRIPTION))
        assert said.period_start == datetime(2022, 3, 26, 18, 41, 50, tzinfo=UTC)
        assert said.period_end == said.next_payment_at == datetime(2022, 4, 26, 18, 41, 50, tzinfo=UTC)

    def test_before_2020_a_price_is_a_plan(self) -> None:
        plan = {"id": "gold", "amount": 1500, "currency": "usd", "interval": "month", "interval_count": 3}
        plan |= {"nickname": "Gold", "usage_type": "licensed"}
        items = {"data": [{"id": "si_1", "plan": plan, "quantity": 2}]}
        said = subscription(told(LEGACY_SUBSCRIPTION, items=items))
        assert (said.plan, said.plan_name, said.amount_minor, said.interval) == ("gold", "Gold", 3000, "3 month")
        assert subscription(told(LEGACY_SUBSCRIPTION, items=..., plan=plan, quantity=2)) == said

    @pytest.mark.parametrize("nonsense", [None, [], "items", {"data": 7}, {"data": [{"price": "price_1"}]}])
    def test_items_that_make_no_sense_say_nothing(self, nonsense: object) -> None:
        said = subscription(told(SUBSCRIPTION, items=nonsense))
        assert (said.plan, said.amount_minor, said.period_end, said.status) == (
            *(None, None, None),
            SubscriptionStatus.ACTIVE,
        )

    def test_when_it_ends(self) -> None:
        assert subscription(told(SUBSCRIPTION, cancel_at_period_end=True)).cancel_at == BEGAN_AT + timedelta(days=30)
        ended = subscription(event_of("customer.subscription.deleted"))
        assert ended.ended_at == ended.cancel_at == BEGAN_AT + timedelta(days=30)
        assert ended.next_payment_at is None

    def test_why_it_ends_without_what_the_customer_wrote(self) -> None:
        said = subscription(event_of("customer.subscription.deleted"))
        assert said.cancel_reason == "cancellation_requested (too_expensive)"
        assert "a long story" in SAMPLES["customer.subscription.deleted"].read_text()
        assert "a long story" not in str(said)

    @pytest.mark.req("R1")
    def test_the_app_is_the_subscriptions_or_else_its_prices(self) -> None:
        of_price = item(1, metadata={"app": "elevenone", "user_id": "u-2"})
        assert with_items(of_price, metadata={}).app == "elevenone"
        said = with_items(of_price, metadata={"app": "nexai"})
        assert (said.app, said.user_id, said.plan) == ("nexai", "u-2", "price_1")

    def test_without_an_id_it_is_refused_and_kept(self) -> None:
        assert told(SUBSCRIPTION, id="").refused_because == "the object has no id"


class TestInvoiceStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("draft", InvoiceStatus.DRAFT),
            ("open", InvoiceStatus.OPEN),
            ("paid", InvoiceStatus.PAID),
            ("uncollectible", InvoiceStatus.UNCOLLECTIBLE),
            ("void", InvoiceStatus.VOID),
            ("wholly_new", None),
            (None, None),
        ],
    )
    def test_is_what_the_object_says(self, said: object, status: InvoiceStatus | None) -> None:
        assert invoice(told("invoice.finalized", status=said)).status is status

    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("invoice.paid", InvoiceStatus.PAID),
            ("invoice.payment_succeeded", InvoiceStatus.PAID),
            ("invoice.payment_failed", InvoiceStatus.PAST_DUE),
            ("invoice.overdue", InvoiceStatus.PAST_DUE),
            ("invoice.voided", InvoiceStatus.VOID),
            ("invoice.marked_uncollectible", InvoiceStatus.UNCOLLECTIBLE),
            ("invoice.created", None),
        ],
    )
    def test_is_what_the_name_says_where_the_object_says_none(self, sample: str, status: InvoiceStatus | None) -> None:
        assert invoice(told(sample, status=...)).status is status

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({}, InvoiceStatus.OPEN),
            ({"amount_paid": 100}, InvoiceStatus.PARTIALLY_PAID),
            ({"attempt_count": 1, "next_payment_attempt": BEGAN + 9 * DAY}, InvoiceStatus.PAST_DUE),
            ({"attempt_count": 1, "next_payment_attempt": None}, InvoiceStatus.OPEN),  # a debit may be on its way
            ({"attempt_count": 0, "next_payment_attempt": BEGAN + 9 * DAY}, InvoiceStatus.OPEN),  # the first try
            ({"due_date": BEGAN}, InvoiceStatus.PAST_DUE),
            ({"due_date": BEGAN + 9 * DAY}, InvoiceStatus.OPEN),
            ({"due_date": BEGAN, "amount_paid": 100}, InvoiceStatus.PAST_DUE),
            ({"due_date": BEGAN, "status": "paid"}, InvoiceStatus.PAID),
        ],
    )
    def test_of_an_open_one_is_how_far_it_is(self, changes: dict[str, object], status: InvoiceStatus) -> None:
        assert invoice(told("invoice.finalized", **changes)).status is status

    def test_a_deleted_draft_is_void_and_nothing_is_left_to_pay(self) -> None:
        said = invoice(event_of("invoice.deleted"))
        assert (said.status, said.due_minor, said.total_minor) == (InvoiceStatus.VOID, 0, 4400)


class TestInvoiceAmounts:
    def test_in_the_currencys_own_minor_units(self) -> None:
        said = invoice(told("invoice.overdue", currency="isk"))
        assert (said.total_minor, said.due_minor, said.paid_minor, said.currency) == (44, 30, 14, "ISK")

    @pytest.mark.parametrize("nonsense", [None, "4400", 44.5, -4400, True])
    def test_what_cannot_be_counted_says_nothing(self, nonsense: object) -> None:
        said = invoice(told("invoice.paid", total=nonsense, amount_paid=nonsense, amount_remaining=nonsense))
        assert (said.total_minor, said.paid_minor, said.due_minor) == (None, None, None)
        assert said.status is InvoiceStatus.PAID

    def test_lines(self) -> None:
        lines = [
            {
                "description": "Unused time",
                "amount": -900,
                "currency": "eur",
                "quantity": 1,
                "price": {"id": "price_1"},
            },
            {"description": None, "amount": 100, "plan": {"id": "gold"}, "quantity": None},
            {"amount": "x", "pricing": {"price_details": {"price": "price_2"}}},
            "no line",
        ]
        assert invoice(told("invoice.paid", lines={"data": lines})).lines == (
            {"description": "Unused time", "amount_minor": -900, "quantity": 1, "plan": "price_1"},
            {"description": None, "amount_minor": 100, "quantity": None, "plan": "gold"},
            {"description": None, "amount_minor": None, "quantity": None, "plan": "price_2"},
        )

    @pytest.mark.parametrize("nonsense", [None, [], {}, {"data": []}, "lines"])
    def test_no_lines_say_nothing(self, nonsense: object) -> None:
        said = invoice(told("invoice.paid", lines=nonsense))
        assert said.lines is None
        assert said.period_end == BEGAN_AT  # the invoice's own

    def test_the_period_is_the_one_that_is_paid_for_and_not_that_of_a_proration(self) -> None:
        assert invoice(event_of("invoice.paid")).period_start == BEGAN_AT
        assert invoice(event_of("invoice.paid")).period_end == BEGAN_AT + timedelta(days=30)
        payload = json.loads(SAMPLES["invoice.paid"].read_text())
        lines = payload["data"]["object"]["lines"]["data"]
        lines[0]["parent"]["subscription_item_details"]["proration"] = True
        lines[0]["period"] = {"start": BEGAN - 9 * DAY, "end": BEGAN}
        assert invoice(told("invoice.paid", lines={"data": lines})).period_start == BEGAN_AT


class TestWhichPaymentPaysAnInvoice:
    def names(self, **changes: object) -> list[tuple[ObjectName, ...]]:
        return [fact.objects for fact in facts(told("invoice.payment_succeeded", **changes), PaymentFact)]

    def paying(self, *payments: object) -> list[tuple[ObjectName, ...]]:
        return self.names(payments={"data": [{"payment": each} for each in payments]})

    def test_before_2025_03_31_it_names_one(self) -> None:
        event = event_of("invoice.paid__legacy_2020-08-27")
        link = only(event, PaymentFact)
        assert [name.kind for name in link.objects] == ["payment_intent", "charge"]
        assert (link.invoice_ref, link.subscription_ref) == ("in_composed_legacy", "sub_composed_legacy")
        assert (link.status, link.amount_minor, link.received_minor, link.currency) == (None, None, None, None)
        assert event.needs == ()

    @pytest.mark.req("R1")
    def test_the_link_tells_what_is_written_on_the_subscription(self) -> None:
        link = only(event_of("invoice.payment_succeeded__with_payments"), PaymentFact)
        assert link.objects == (ObjectName("payment_intent", "pi_composed_invoice"),)
        assert (link.app, link.user_id, link.plan) == ("nexai", "user_42", "price_composed_pro")
        assert (link.invoice_ref, link.subscription_ref) == ("in_composed", "sub_composed")
        assert (link.customer_ref, link.email) == ("cus_composed", "ada@example.com")
        own = told(
            "invoice.payment_succeeded__with_payments", metadata={"app": "elevenone", "plan": "p", "order_id": "7"}
        )
        link = only(own, PaymentFact)
        assert (link.app, link.user_id, link.plan, link.reference) == ("elevenone", "user_42", "p", "7")

    def test_several_payments_are_several_facts_and_each_is_one(self) -> None:
        one, two = {"payment_intent": "pi_1"}, {"charge": {"id": "ch_2"}}
        assert self.paying(one, two, one) == [(ObjectName("charge", "ch_2"),), (ObjectName("payment_intent", "pi_1"),)]
        both = {"payment_intent": "pi_1", "charge": "ch_1"}
        assert self.paying(one, both) == [(ObjectName("payment_intent", "pi_1"), ObjectName("charge", "ch_1"))]

    def test_previews_name_it_in_the_invoice_payment_itself(self) -> None:
        found = self.names(payments={"data": [{"id": "inpay_1", "payment_intent": "pi_1"}]})
        assert found == [(ObjectName("payment_intent", "pi_1"),)]

    @pytest.mark.parametrize("nonsense", [None, [], {"data": ["pi_1", None, {}, {"payment": {"payment_intent": 7}}]}])
    def test_what_names_none_links_none(self, nonsense: object) -> None:
        assert self.names(payments=nonsense) == []

    def test_an_invoice_payment_links_the_two(self) -> None:
        link = only(event_of("invoice_payment.paid"), PaymentFact)
        assert link == PaymentFact(
            objects=(ObjectName("payment_intent", "pi_composed_invoice"),), invoice_ref="in_composed"
        )
        outside = told("invoice_payment.paid", payment={"type": "payment_record", "payment_record": "prec_1"})
        assert outside.facts == ()
        assert outside.ignored_because

    def test_where_the_event_is_silent_stripe_is_asked_once(self) -> None:
        (need,) = event_of("invoice.paid").needs
        assert (need.topic, need.key) == ("refetch", "stripe/default/invoice/in_composed/paid")
        assert need.arguments["kind"] in ASKABLE
        assert event_of("invoice.payment_succeeded").needs == (need,)
        (failed,) = event_of("invoice.payment_failed").needs
        assert failed.key == "stripe/default/invoice/in_composed/payment_failed"

    @pytest.mark.parametrize(
        ("sample", "changes"),
        [
            ("invoice.finalized", {}),
            ("invoice.paid", {"amount_paid": 0}),  # by credit, or it cost nothing
            ("invoice.paid", {"payments": {"data": []}}),  # outside of Stripe
            ("invoice.paid", {"payment_intent": None}),
            ("invoice.payment_succeeded__with_payments", {}),
        ],
    )
    def test_else_nobody_is_asked(self, sample: str, changes: dict[str, object]) -> None:
        assert told(sample, **changes).needs == ()


class TestCustomers:
    def test_its_own_object(self) -> None:
        said = only(
            told("customer.updated", email="a@example.com", phone="+1", metadata={"app": "nexai"}), CustomerFact
        )
        assert (said.email, said.name, said.phone, said.app) == ("a@example.com", "Example Customer", "+1", "nexai")
        assert said.is_deleted is None

    def test_one_that_is_gone(self) -> None:
        assert only(event_of("customer.deleted"), CustomerFact).is_deleted is True
        assert only(told("customer.updated", deleted=True), CustomerFact).is_deleted is True

    @pytest.mark.parametrize("nonsense", [None, 7, "", [], {"a": 1}])
    def test_what_is_no_text_says_nothing(self, nonsense: object) -> None:
        said = only(
            told("customer.updated", email=nonsense, name=nonsense, phone=nonsense, metadata=nonsense), CustomerFact
        )
        assert (said.email, said.name, said.phone) == (None, None, None)

    def test_an_invoice_tells_of_its_customer_while_that_is_fresh(self) -> None:
        for sample in ("invoice.created", "invoice.finalized", "invoice.payment_failed"):
            said = only(event_of(sample), CustomerFact)
            assert (said.objects, said.email) == ((ObjectName("customer", "cus_composed"),), "ada@example.com")
        # Three days later the customer may have another address, and the invoice still has this one.
        assert facts(event_of("invoice.paid"), CustomerFact) == []
        assert invoice(event_of("invoice.paid")).email == "ada@example.com"

    def test_without_an_id_or_a_word_there_is_no_customer(self) -> None:
        silent: dict[str, object] = dict.fromkeys(("customer_email", "customer_name", "customer_phone"))
        assert facts(told("invoice.created", **silent), CustomerFact) == []
        assert facts(told("invoice.created", customer=None), CustomerFact) == []

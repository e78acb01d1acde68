"""Paystack's subscriptions, invoices and payment requests, case by case."""

from datetime import UTC, datetime

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
from gatehouse.gateways.paystack.needs import ASKABLE
from tests.support.paystack_events import kinds, the, told

PLAN = {"plan_code": "PLN_1", "name": "Gold", "interval": "monthly", "currency": "NGN", "amount": 50000}
LATEST = {
    "subscription": 326005,
    "invoice_code": "INV_1",
    "customer": 92740135,
    "transaction": 1430031421,
    "amount": 50000,
    "period_start": "2021-11-10T13:00:00.000Z",
    "period_end": "2021-11-10T13:59:59.000Z",
    "status": "attention",
    "paid": 1,
    "retries": 1,
    "authorization": 242063633,
    "paid_at": "2021-11-10T13:00:09.000Z",
    "description": "Insufficient Funds",
    "created_at": "2021-11-10T13:00:05.000Z",
}

pytestmark = pytest.mark.req("G3", "G6")


def asked(event: Event) -> list[tuple[str, str, str]]:
    """Return what an event asks for."""
    assert all(need.arguments["kind"] in ASKABLE for need in event.needs)
    return [(need.topic, need.arguments["kind"], need.arguments["id"]) for need in event.needs]


class TestSubscriptions:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("active", SubscriptionStatus.ACTIVE),
            ("attention", SubscriptionStatus.PAST_DUE),
            ("non-renewing", SubscriptionStatus.NON_RENEWING),
            ("complete", SubscriptionStatus.EXPIRED),
            ("completed", SubscriptionStatus.EXPIRED),
            ("cancelled", SubscriptionStatus.CANCELLED),
        ],
    )
    @pytest.mark.parametrize("sample", ["subscription.create", "subscription.disable", "subscription.not_renew"])
    def test_state_is_what_the_object_says(self, sample: str, said: str, status: SubscriptionStatus) -> None:
        assert the(SubscriptionFact, told(sample, status=said)).status is status

    @pytest.mark.parametrize("unsaid", [..., None, "", 7, "wholly_new"])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("subscription.create", SubscriptionStatus.ACTIVE),
            ("subscription.disable", SubscriptionStatus.CANCELLED),
            ("subscription.not_renew", SubscriptionStatus.NON_RENEWING),
        ],
    )
    def test_state_of_one_that_says_none_that_we_know(
        self, sample: str, status: SubscriptionStatus, unsaid: object
    ) -> None:
        assert the(SubscriptionFact, told(sample, status=unsaid)).status is status

    def test_a_new_one_with_its_customer(self) -> None:
        customer = {"customer_code": "CUS_1", "email": "a@example.com", "metadata": {"app": "NexAI", "user_id": "u7"}}
        event = told("subscription.create", customer=customer, plan=PLAN)
        assert the(SubscriptionFact, event) == SubscriptionFact(
            objects=(ObjectName("subscription", "SUB_vsyqdmlzble3uii"),),
            status=SubscriptionStatus.ACTIVE,
            plan="PLN_1",
            plan_name="Gold",
            amount_minor=50000,
            currency="NGN",
            interval="month",
            customer_ref="CUS_1",
            email="a@example.com",
            started_at=datetime(2016, 3, 20, 0, 23, 24, tzinfo=UTC),
            next_payment_at=datetime(2016, 5, 19, 7, tzinfo=UTC),
            app="nexai",
            user_id="u7",
        )
        assert the(CustomerFact, event).user_id == "u7"
        assert event.needs == ()

    @pytest.mark.parametrize(
        ("said", "interval"),
        [
            ("hourly", "hour"),
            ("daily", "day"),
            ("weekly", "week"),
            ("monthly", "month"),
            ("quarterly", "quarter"),
            ("biannually", "half_year"),
            ("annually", "year"),
            ("wholly_new", None),
            (7, None),
        ],
    )
    def test_interval(self, said: object, interval: str | None) -> None:
        assert the(SubscriptionFact, told("subscription.create", plan=PLAN | {"interval": said})).interval == interval

    @pytest.mark.parametrize("absent", [{}, None, [], 7, ...])
    def test_without_a_plan_there_is_no_currency_and_no_amount(self, absent: object) -> None:
        said = the(SubscriptionFact, told("subscription.create", plan=absent))
        assert (said.plan, said.plan_name, said.currency, said.amount_minor, said.interval) == (None,) * 5

    def test_a_plan_that_is_only_a_code(self) -> None:
        assert the(SubscriptionFact, told("subscription.create", plan="PLN_1")).plan == "PLN_1"

    def test_one_that_has_ended_has_no_next_payment(self) -> None:
        ended = the(SubscriptionFact, told("subscription.disable__cancelled", next_payment_date="2022-10-08T00:00:00Z"))
        assert (ended.next_payment_at, ended.ended_at) == (None, datetime(2022, 10, 8, 0, 0, 5, tzinfo=UTC))
        runs_out = the(SubscriptionFact, told("subscription.not_renew", cancelledAt="2022-01-01T00:00:00Z"))
        assert runs_out.ended_at is None  # it has only been decided

    @pytest.mark.parametrize("sample", ["subscription.not_renew", "subscription.disable"])
    def test_one_without_a_time_is_asked_for(self, sample: str) -> None:
        event = told(sample, subscription_code="SUB_1")
        assert asked(event) == [("refetch", "subscription", "SUB_1")]
        assert event.needs[0].key == f"paystack/default/subscription/SUB_1/{event.event_id}"
        assert asked(told(sample, updated_at="2022-01-01T00:00:00Z")) == []
        assert asked(told("subscription.create", created_at=None, createdAt=None, subscription_code="SUB_1")) == [
            ("refetch", "subscription", "SUB_1")
        ]

    @pytest.mark.parametrize("code", [None, "", 0.5, {}, ...])
    def test_one_without_its_code_is_refused_and_kept(self, code: object) -> None:
        assert told("subscription.create", subscription_code=code).refused_because == "the object has no id"

    def test_its_latest_invoice_is_told_in_the_plans_currency(self) -> None:
        event = told("subscription.not_renew", plan=PLAN, most_recent_invoice=LATEST, subscription_code="SUB_1")
        assert kinds(event) == ["subscription", "invoice", "customer"]
        assert the(InvoiceFact, event) == InvoiceFact(
            objects=(ObjectName("invoice", "INV_1"),),
            status=InvoiceStatus.PAST_DUE,
            total_minor=50000,
            due_minor=50000,
            currency="NGN",
            customer_ref="CUS_8gbmdpvn12c67ix",
            email="customer@example.com",
            subscription_ref="SUB_1",
            attempts=1,
            issued_at=datetime(2021, 11, 10, 13, 0, 5, tzinfo=UTC),
            period_start=datetime(2021, 11, 10, 13, tzinfo=UTC),
            period_end=datetime(2021, 11, 10, 13, 59, 59, tzinfo=UTC),
            description="Insufficient Funds",
            # Paystack shows no lines of such an invoice: it is for the plan.
            lines=({"product": "Gold", "description": "Gold", "amount_minor": 50000, "quantity": 1, "plan": "PLN_1"},),
        )

    def test_its_latest_invoice_leads_to_its_payment_once_it_is_paid(self) -> None:
        event = told("subscription.not_renew", most_recent_invoice=LATEST | {"status": "success"})
        assert kinds(event) == ["subscription", "payment", "invoice", "customer"]
        assert the(PaymentFact, event).objects == (ObjectName("transaction", "1430031421"),)
        assert the(PaymentFact, event).invoice_ref == "INV_1"
        assert (the(InvoiceFact, event).status, the(InvoiceFact, event).paid_minor) == (InvoiceStatus.PAID, 50000)

    @pytest.mark.parametrize("absent", [None, {}, [], 7, {"invoice_code": None}])
    def test_no_latest_invoice(self, absent: object) -> None:
        assert kinds(told("subscription.not_renew", most_recent_invoice=absent)) == ["subscription", "customer"]


class TestInvoices:
    def test_a_paid_one_links_payment_subscription_and_customer(self) -> None:
        event = told("invoice.update")
        assert kinds(event) == ["payment", "invoice", "subscription", "customer"]
        assert the(PaymentFact, event) == PaymentFact(
            objects=(ObjectName("reference", "rdtmivs7zf"),),
            customer_ref="CUS_xnxdt6s1zg1f4nx",
            email="customer@example.com",
            subscription_ref="SUB_l07i1s6s39nmytr",
            invoice_ref="INV_kmhuaaur5c9ruh2",
        )
        invoice = the(InvoiceFact, event)
        assert (invoice.status, invoice.paid_minor, invoice.due_minor) == (InvoiceStatus.PAID, 50000, 0)
        subscription = the(SubscriptionFact, event)
        assert (subscription.status, subscription.amount_minor) == (SubscriptionStatus.ACTIVE, 50000)
        assert subscription.next_payment_at == datetime(2016, 5, 19, 7, tzinfo=UTC)
        assert asked(event) == [("refetch", "subscription", "SUB_l07i1s6s39nmytr")]  # for the name of its plan

    def test_the_payment_that_it_links_is_that_of_the_charge(self) -> None:
        charge = the(PaymentFact, told("charge.success__of_a_subscription"))
        assert set(charge.objects) & set(the(PaymentFact, told("invoice.update")).objects)

    @pytest.mark.parametrize("absent", [{}, None, [], "rdtmivs7zf", {"reference": ""}, {"reference": None}])
    def test_without_a_transaction_there_is_nothing_to_link(self, absent: object) -> None:
        assert kinds(told("invoice.update", transaction=absent)) == ["invoice", "subscription", "customer"]

    def test_a_failed_one_is_past_due_and_its_subscription_is_asked_for(self) -> None:
        event = told("invoice.payment_failed")
        invoice = the(InvoiceFact, event)
        assert (invoice.status, invoice.paid_at) == (InvoiceStatus.PAST_DUE, None)
        assert (invoice.total_minor, invoice.currency) == (None, None)  # the event does not say in which currency
        assert asked(event) == [("refetch", "subscription", "SUB_f7ct8g01mtcjf78")]

    def test_a_failed_one_without_a_subscription(self) -> None:
        event = told("invoice.payment_failed__without_subscription")
        assert kinds(event) == ["invoice", "customer"]
        assert asked(event) == []

    def test_is_never_older_than_open_and_never_newer_than_paid(self) -> None:
        """Newest wins, and of two at the same moment the later word: in any order the end is paid."""
        unpaid: dict[str, object] = {"status": "pending", "paid": False, "paid_at": None}
        opened = told("invoice.create", **unpaid).occurred_at
        failed = told("invoice.payment_failed", created_at="2018-12-20T15:00:02.000Z").occurred_at
        paid = told("invoice.update", paid_at="2018-12-20T15:00:06.000Z").occurred_at
        assert opened is not None
        assert failed is not None
        assert paid is not None
        assert opened == failed < paid
        order = tuple(InvoiceStatus)
        assert order.index(InvoiceStatus.OPEN) < order.index(InvoiceStatus.PAST_DUE) < order.index(InvoiceStatus.PAID)

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"status": "success"}, InvoiceStatus.PAID),
            ({"status": "pending"}, InvoiceStatus.OPEN),
            ({"status": "failed"}, InvoiceStatus.PAST_DUE),
            ({"status": "attention", "paid": 1}, InvoiceStatus.PAST_DUE),
            ({"status": None, "paid": True}, InvoiceStatus.PAID),
            ({"status": None, "paid": False}, InvoiceStatus.OPEN),
            ({"status": "wholly_new", "paid": True}, InvoiceStatus.OPEN),
        ],
    )
    def test_state(self, changes: dict[str, object], status: InvoiceStatus) -> None:
        assert the(InvoiceFact, told("invoice.update", **changes)).status is status

    @pytest.mark.parametrize("code", [None, "", [], ...])
    def test_one_without_its_code_is_refused_and_kept(self, code: object) -> None:
        assert told("invoice.update", invoice_code=code).refused_because == "the object has no id"

    @pytest.mark.parametrize("retries", [None, -1, True, "1", 10**30, [], ...])
    def test_attempts_that_are_no_number_say_nothing(self, retries: object) -> None:
        assert the(InvoiceFact, told("invoice.update", retries=retries)).attempts is None

    def test_app_and_user_come_from_the_customer(self) -> None:
        customer = {"customer_code": "CUS_1", "metadata": '{"app": "elevenone", "user_id": 9}'}
        event = told("invoice.update", customer=customer)
        assert {
            (fact.app, fact.user_id)
            for fact in event.facts
            if isinstance(fact, (PaymentFact, SubscriptionFact, CustomerFact))
        } == {("elevenone", "9")}


class TestPaymentRequests:
    def test_is_an_invoice_without_a_payment(self) -> None:
        event = told("paymentrequest.success__with_lines")
        assert kinds(event) == ["invoice"]
        invoice = the(InvoiceFact, event)
        assert invoice.objects == (ObjectName("payment_request", "PRQ_79unvlqvixs3tu1"),)
        assert (invoice.status, invoice.total_minor, invoice.paid_minor) == (InvoiceStatus.PAID, 5000, 5000)
        assert invoice.number == "4"
        assert invoice.lines == (
            {"product": "Pancake & Sausage", "description": "Pancake & Sausage", "amount_minor": 2000, "quantity": 1},
            {"product": "Chicken Salad", "description": "Chicken Salad", "amount_minor": 3000, "quantity": 1},
        )

    def test_its_customer_is_asked_for_where_it_is_a_number(self) -> None:
        assert asked(told("paymentrequest.pending")) == [("refetch", "payment_request", "PRQ_y0paeo93jh99mho")]
        whole = told("paymentrequest.pending", customer={"customer_code": "CUS_1", "email": "a@example.com"})
        assert asked(whole) == [("refetch", "payment_request", "PRQ_y0paeo93jh99mho")]  # for its lines
        assert (the(InvoiceFact, whole).customer_ref, the(InvoiceFact, whole).email) == ("CUS_1", "a@example.com")
        assert kinds(whole) == ["invoice", "customer"]

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("pending", InvoiceStatus.OPEN),
            ("success", InvoiceStatus.PAID),
            ("draft", InvoiceStatus.DRAFT),
            ("archived", InvoiceStatus.VOID),
            (None, InvoiceStatus.OPEN),
            ("wholly_new", InvoiceStatus.OPEN),
        ],
    )
    def test_state(self, said: object, status: InvoiceStatus) -> None:
        assert the(InvoiceFact, told("paymentrequest.pending", status=said)).status is status

    @pytest.mark.parametrize("lines", [None, [], {}, "x", [None], [{}], [{"name": 7, "amount": "x", "quantity": True}]])
    def test_lines_that_say_nothing(self, lines: object) -> None:
        assert the(InvoiceFact, told("paymentrequest.pending", line_items=lines)).lines is None

    def test_the_day_to_pay_it(self) -> None:
        due = the(InvoiceFact, told("paymentrequest.pending", due_date="2020-07-08T00:00:00.000Z")).due_at
        assert due == datetime(2020, 7, 8, tzinfo=UTC)
        assert the(InvoiceFact, told("paymentrequest.pending", due_date="2020-07-08")).due_at is None

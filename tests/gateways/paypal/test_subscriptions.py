"""What is odd about PayPal's subscriptions, case by case."""

from datetime import UTC, datetime

import pytest

from gatehouse.facts import CustomerFact, Event, ObjectName, SubscriptionFact, SubscriptionStatus
from gatehouse.gateways.paypal.translate import facts_of_answer
from tests.support.paypal_events import enveloped, event_of, only, told, usd

ACTIVATED = "billing.subscription.activated"
FAILED = "billing.subscription.payment.failed"
OLD = "billing.subscription.suspended"

pytestmark = pytest.mark.req("G2")


def subscription(event: Event) -> SubscriptionFact:
    return only(SubscriptionFact, event)


def regular(price: object, unit: object = "MONTH", count: object = 1) -> dict[str, object]:
    cycle = {
        "tenure_type": "REGULAR",
        "frequency": {"interval_unit": unit, "interval_count": count},
        "pricing_scheme": {"fixed_price": price},
    }
    return {"name": "Pro", "billing_cycles": [{"tenure_type": "TRIAL"}, cycle]}


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("APPROVAL_PENDING", SubscriptionStatus.PENDING),
            ("APPROVED", SubscriptionStatus.PENDING),
            ("ACTIVE", SubscriptionStatus.ACTIVE),
            ("SUSPENDED", SubscriptionStatus.PAUSED),
            ("CANCELLED", SubscriptionStatus.CANCELLED),
            ("EXPIRED", SubscriptionStatus.EXPIRED),
        ],
    )
    def test_is_what_it_says(self, said: str, status: SubscriptionStatus) -> None:
        assert subscription(told(ACTIVATED, status=said)).status is status

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("Pending", SubscriptionStatus.PENDING),
            ("Active", SubscriptionStatus.ACTIVE),
            ("Suspended", SubscriptionStatus.PAUSED),
            ("Cancelled", SubscriptionStatus.CANCELLED),
            ("Canceled", SubscriptionStatus.CANCELLED),
            ("Expired", SubscriptionStatus.EXPIRED),
        ],
    )
    def test_of_v1(self, said: str, status: SubscriptionStatus) -> None:
        assert subscription(told(OLD, state=said)).status is status

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "WHOLLY_NEW"])
    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("CREATED", SubscriptionStatus.PENDING),
            ("ACTIVATED", SubscriptionStatus.ACTIVE),
            ("RE-ACTIVATED", SubscriptionStatus.ACTIVE),
            ("UPDATED", None),
            ("EXPIRED", SubscriptionStatus.EXPIRED),
            ("CANCELLED", SubscriptionStatus.CANCELLED),
            ("SUSPENDED", SubscriptionStatus.PAUSED),
            ("PAYMENT.FAILED", SubscriptionStatus.PAST_DUE),
        ],
    )
    def test_that_is_not_said_is_what_the_name_says(
        self, name: str, status: SubscriptionStatus | None, unknown: object
    ) -> None:
        event = told(ACTIVATED, f"BILLING.SUBSCRIPTION.{name}", status=unknown)
        assert subscription(event).status is status

    def test_active_with_a_failed_payment_is_past_due(self) -> None:
        """PayPal's own sample of a failed payment says ACTIVE."""
        assert subscription(event_of(FAILED)).status is SubscriptionStatus.PAST_DUE
        assert subscription(told(FAILED, billing_info=None)).status is SubscriptionStatus.PAST_DUE

    @pytest.mark.parametrize("said", ["SUSPENDED", "CANCELLED", "EXPIRED", "APPROVAL_PENDING"])
    def test_any_other_word_goes_before_a_failed_payment(self, said: str) -> None:
        assert subscription(told(FAILED, status=said)).status is subscription(told(ACTIVATED, status=said)).status

    @pytest.mark.parametrize(
        ("count", "status"),
        [
            (0, SubscriptionStatus.ACTIVE),
            (1, SubscriptionStatus.PAST_DUE),
            ("2", SubscriptionStatus.PAST_DUE),
            (None, SubscriptionStatus.ACTIVE),
            (True, SubscriptionStatus.ACTIVE),
            ("many", SubscriptionStatus.ACTIVE),
            (10**30, SubscriptionStatus.ACTIVE),
        ],
    )
    def test_failures_since_the_last_payment(self, count: object, status: SubscriptionStatus) -> None:
        billing = {"failed_payments_count": count}
        updated = told("billing.subscription.updated", billing_info=billing)
        (answered, _) = facts_of_answer("subscription", {**ACTIVE, "billing_info": billing})
        assert isinstance(answered, SubscriptionFact)
        assert (subscription(updated).status, answered.status) == (status, status)
        old = told(OLD, state="Active", agreement_details={"failed_payment_count": count})
        assert subscription(old).status is status

    def test_that_was_just_activated_is_active_whatever_it_counts(self) -> None:
        billing = {"failed_payments_count": 2}
        assert subscription(told(ACTIVATED, billing_info=billing)).status is SubscriptionStatus.ACTIVE

    def test_an_answer_that_does_not_say_it(self) -> None:
        (answered,) = facts_of_answer("subscription", {"id": "I-1"})
        assert answered == SubscriptionFact((ObjectName("subscription", "I-1"),))


ACTIVE = {"id": "I-1", "status": "ACTIVE", "subscriber": {"payer_id": "P1"}}


class TestPrice:
    def test_is_that_of_the_plan_for_a_regular_period(self) -> None:
        found = subscription(event_of("billing.subscription.updated"))
        assert (found.plan, found.plan_name) == ("P-COMPOSED0001", "Pro, monthly")
        assert (found.amount_minor, found.currency, found.interval) == (8700, "USD", "3 month")

    @pytest.mark.parametrize(
        ("quantity", "amount_minor"),
        [("3", 3000), (3, 3000), (..., 1000), ("0", 0), ("1.5", None), (None, None), ("9" * 9, 999_999_999_000)],
    )
    def test_is_for_all_of_them(self, quantity: object, amount_minor: int | None) -> None:
        found = subscription(told(ACTIVATED, plan=regular(usd("10.00")), quantity=quantity))
        assert (found.amount_minor, found.currency) == (amount_minor, "USD")

    def test_that_is_more_than_can_be_counted(self) -> None:
        found = subscription(told(ACTIVATED, plan=regular(usd("9" * 16)), quantity="999999999"))
        assert found.amount_minor is None

    @pytest.mark.parametrize("price", [None, "10.00", usd("many"), {"value": "10.00"}])
    def test_that_makes_no_sense(self, price: object) -> None:
        assert subscription(told(ACTIVATED, plan=regular(price))).amount_minor is None

    @pytest.mark.parametrize(
        ("unit", "count", "interval"),
        [
            ("DAY", 1, "day"),
            ("WEEK", 2, "2 week"),
            ("MONTH", "6", "6 month"),
            ("YEAR", 1, "year"),
            ("MONTH", 0, None),
            ("MONTH", None, None),
            ("FORTNIGHT", 1, None),
            (None, 1, None),
        ],
    )
    def test_interval(self, unit: object, count: object, interval: str | None) -> None:
        found = subscription(told(ACTIVATED, plan=regular(usd("10.00"), unit, count)))
        assert found.interval == interval

    def test_of_v1_is_without_its_tax_and_shipping(self) -> None:
        found = subscription(event_of(OLD))
        assert (found.amount_minor, found.currency, found.interval) == (1000, "USD", "month")

    def test_without_a_plan_is_what_a_regular_period_was_paid_with(self) -> None:
        assert subscription(event_of(ACTIVATED)).amount_minor == 2900
        trial = {
            "cycle_executions": [
                {"tenure_type": "TRIAL", "cycles_completed": 1},
                {"tenure_type": "REGULAR", "cycles_completed": 0},
            ],
            "last_payment": {"amount": usd("1.00")},
        }
        assert subscription(told(ACTIVATED, billing_info=trial)).amount_minor is None

    def test_plan_of_the_merchants_own_words_where_paypal_names_none(self) -> None:
        assert subscription(told(ACTIVATED, plan_id=...)).plan == "pro"
        assert subscription(told(ACTIVATED, plan_id=..., plan={"id": "P-1"})).plan == "P-1"


class TestTimes:
    def test_ended(self) -> None:
        cancelled = subscription(event_of("billing.subscription.cancelled"))
        assert (cancelled.ended_at, cancelled.cancel_reason) == (
            datetime(2026, 12, 1, 8, tzinfo=UTC),
            "Too expensive",
        )
        event = told("billing.subscription.cancelled", status_update_time=...)
        assert subscription(event).ended_at == event.occurred_at

    def test_one_that_goes_on_has_not_ended(self) -> None:
        for sample in (ACTIVATED, FAILED, OLD):
            assert subscription(told(sample, status_change_note="why")).ended_at is None
            assert subscription(told(sample, status_change_note="why")).cancel_reason is None

    def test_next_payment(self) -> None:
        next_payment = datetime(2026, 11, 23, 10, tzinfo=UTC)
        assert subscription(event_of(ACTIVATED)).next_payment_at == next_payment
        old = {"next_billing_date": "2016-04-30T07:00:00Z"}
        assert subscription(told(OLD, agreement_details=old)).next_payment_at == datetime(2016, 4, 30, 7, tzinfo=UTC)

    @pytest.mark.parametrize("billing", [None, [], "x", {"next_billing_time": "2026-11-23"}])
    def test_no_next_payment(self, billing: object) -> None:
        assert subscription(told(ACTIVATED, billing_info=billing)).next_payment_at is None


class TestWhoPays:
    def test_is_named_with_an_id(self) -> None:
        event = event_of(ACTIVATED)
        customer = only(CustomerFact, event)
        assert (customer.objects[0].id, customer.name, customer.app, customer.user_id) == (
            "COMPOSEDPAYER",
            "Jane Buyer",
            "nexai",
            "user-17",
        )
        assert subscription(event).customer_ref == "COMPOSEDPAYER"

    def test_of_v1(self) -> None:
        customer = only(CustomerFact, event_of(OLD))
        assert (customer.objects[0].id, customer.email, customer.name) == (
            "XLHKRXRA4H7QY",
            "coolbuyer@example.com",
            "Cool Buyer",
        )

    def test_without_an_id_is_an_address_alone(self) -> None:
        event = event_of("billing.subscription.created")
        assert [type(fact) for fact in event.facts] == [SubscriptionFact]
        assert (subscription(event).email, subscription(event).customer_ref) == ("customer@example.com", None)

    @pytest.mark.parametrize("subscriber", [None, "x", [], {"name": "Jane"}, {"name": {"given_name": 7}}])
    def test_is_not_said(self, subscriber: object) -> None:
        event = told(ACTIVATED, subscriber=subscriber)
        assert (len(event.facts), subscription(event).email) == (1, None)


class TestWords:
    def test_of_the_merchant(self) -> None:
        found = subscription(event_of(ACTIVATED))
        assert (found.app, found.user_id, found.reference) == ("nexai", "user-17", None)
        plain = subscription(told(ACTIVATED, custom_id="order-9"))
        assert (plain.reference, plain.metadata, plain.app) == ("order-9", {"custom_id": "order-9"}, None)

    @pytest.mark.parametrize("no_id", [None, "", 7, {}, ...])
    def test_a_subscription_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        event = told(ACTIVATED, id=no_id)
        assert (event.facts, event.refused_because) == ((), "the resource has no id")

    def test_plans_are_ignored(self) -> None:
        for name in ("CREATED", "UPDATED", "ACTIVATED", "PRICING-CHANGE.ACTIVATED", "DEACTIVATED"):
            assert enveloped(ACTIVATED, event_type=f"BILLING.PLAN.{name}").ignored_because

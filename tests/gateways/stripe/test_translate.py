"""Every handled event becomes the reviewed fact; what is odd about Stripe, case by case."""

import pytest

from gatehouse.errors import FactRefused
from gatehouse.facts import (
    CustomerFact,
    Event,
    Need,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
)
from gatehouse.gateways.stripe import ASKABLE, HANDLED, read_event, translate
from gatehouse.gateways.stripe.amounts import iso_minor, signed_minor_or_none
from tests.support.gateway_samples import as_json, expected, ignored_samples
from tests.support.stripe_samples import SAMPLES, event_of, facts, only, told

EXPECTED = expected("stripe")

pytestmark = pytest.mark.req("G1")


def fact(event: Event) -> PaymentFact:
    return only(event, PaymentFact)


class TestSamples:
    @pytest.mark.parametrize("sample", sorted(SAMPLES))
    def test_becomes_what_was_reviewed(self, sample: str) -> None:
        assert as_json(event_of(sample)) == EXPECTED[sample]

    def test_each_handled_name_has_one(self) -> None:
        assert set(HANDLED) == {name.partition("__")[0] for name in SAMPLES}

    def test_each_is_named_after_its_event(self) -> None:
        assert {name: event_of(name).type for name in SAMPLES} == {name: name.partition("__")[0] for name in SAMPLES}

    def test_each_has_an_expectation_and_none_is_left_over(self) -> None:
        assert set(EXPECTED) == set(SAMPLES)

    def test_all_are_different_events(self) -> None:
        assert len({event_of(name).event_id for name in SAMPLES}) == len(SAMPLES)


class TestNames:
    """One money, whatever Stripe calls it."""

    def test_old_and_new_shape_name_the_same(self) -> None:
        new = told("payment_intent.succeeded__legacy_2020-08-27", charges=..., latest_charge="ch_1")
        old = told("payment_intent.succeeded__legacy_2020-08-27", charges={"data": [{"id": "ch_1"}]})
        assert fact(new).objects == fact(old).objects
        assert ObjectName("charge", "ch_1") in fact(old).objects

    def test_an_expanded_object_counts_like_its_id(self) -> None:
        expanded = told("payment_intent.succeeded", latest_charge={"id": "ch_1"}, customer={"id": "cus_1"})
        assert fact(expanded).objects[1:] == (ObjectName("charge", "ch_1"),)
        assert fact(expanded).customer_ref == "cus_1"

    def test_every_attempt_of_an_intent_is_named_once(self) -> None:
        charges = {"data": [{"id": "ch_2"}, {"id": "ch_1"}, "ch_2", None, {"id": 7}]}
        names = fact(told("payment_intent.succeeded", latest_charge="ch_2", charges=charges)).objects
        assert [name.id for name in names[1:]] == ["ch_2", "ch_1"]

    def test_a_charge_without_an_intent_stands_alone(self) -> None:
        event = told("charge.succeeded", payment_intent=None, id="ch_1")
        assert fact(event).objects == (ObjectName("charge", "ch_1"),)
        assert event.needs[0].arguments == {"gateway": "stripe", "account": "default", "kind": "charge", "id": "ch_1"}

    @pytest.mark.parametrize("no_id", [None, "", 7, {}, "x" * 256, ...])
    def test_an_object_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        event = told("charge.succeeded", id=no_id)
        assert (event.facts, event.needs, event.ignored_because) == ((), (), None)
        assert event.refused_because == "the object has no id"


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("requires_payment_method", PaymentStatus.PENDING),
            ("requires_confirmation", PaymentStatus.PENDING),
            ("requires_action", PaymentStatus.PENDING),
            ("requires_source", PaymentStatus.PENDING),
            ("requires_source_action", PaymentStatus.PENDING),
            ("processing", PaymentStatus.PROCESSING),
            ("requires_capture", PaymentStatus.PROCESSING),
            ("canceled", PaymentStatus.CANCELLED),
            ("succeeded", PaymentStatus.COMPLETED),
        ],
    )
    def test_of_an_intent_is_what_the_object_says(self, said: str, status: PaymentStatus) -> None:
        assert fact(told("payment_intent.succeeded", status=said)).status is status

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "wholly_new"])
    def test_of_an_intent_that_says_none_is_what_the_name_says(self, unknown: object) -> None:
        assert fact(told("payment_intent.succeeded", status=unknown)).status is PaymentStatus.COMPLETED
        assert fact(told("payment_intent.canceled", status=unknown)).status is PaymentStatus.CANCELLED
        assert fact(told("payment_intent.payment_failed", status=unknown)).status is PaymentStatus.FAILED

    def test_a_failed_try_of_an_open_intent_is_a_failure(self) -> None:
        failed = fact(told("payment_intent.payment_failed", status="requires_payment_method"))
        assert failed.status is PaymentStatus.FAILED
        assert failed.failure_code == "authentication_required"
        assert failed.failure_message is not None
        assert failed.failure_message.endswith("(authentication_not_handled)")

    def test_an_earlier_failure_is_not_said_of_a_success(self) -> None:
        error = {"code": "card_declined", "message": "no"}
        assert fact(told("payment_intent.succeeded", last_payment_error=error)).failure_code is None

    @pytest.mark.parametrize("captured", [False, None, "yes", 1, ...])
    def test_a_charge_is_money_only_when_it_says_captured(self, captured: object) -> None:
        event = told("charge.succeeded", captured=captured)
        assert fact(event).status is PaymentStatus.PROCESSING
        assert fact(event).received_minor is None
        assert event.needs == ()

    def test_a_released_authorisation_is_cancelled_and_refunds_nothing(self) -> None:
        released = fact(told("charge.refunded", captured=False, amount_captured=0))
        assert released.status is PaymentStatus.CANCELLED
        assert released.status_reason == "the authorisation was released"
        assert released.refunded_minor is None

    @pytest.mark.parametrize("unknown", [..., None, 7, {}, "wholly_new"])
    def test_of_a_charge_that_says_none(self, unknown: object) -> None:
        assert fact(told("charge.failed", status=unknown)).status is PaymentStatus.FAILED
        assert fact(told("charge.updated", status=unknown)).status is None


class TestAmounts:
    @pytest.mark.parametrize(
        ("currency", "stripes", "ours"),
        [
            ("usd", 4620, 4620),
            ("JPY", 500, 500),  # no decimals, here and there
            ("kwd", 1230, 1230),  # three, here and there
            ("huf", 10045, 10045),  # whole only in payouts
            ("isk", 50000, 500),  # written with two decimals that it does not have
            ("ugx", 50000, 500),
            ("mga", 500, 50000),  # written without the two that it has
        ],
    )
    def test_in_the_currencys_own_minor_units(self, currency: str, stripes: int, ours: int) -> None:
        assert iso_minor(stripes, currency) == ours
        said = fact(told("payment_intent.succeeded", amount=stripes, amount_received=stripes, currency=currency))
        assert (said.amount_minor, said.received_minor, said.currency) == (ours, ours, currency.upper())

    def test_less_than_nothing_has_its_sign(self) -> None:
        assert [signed_minor_or_none(each, "isk") for each in (-50000, 50000, 0, -1, None, "-5", True)] == [
            *(-500, 500, 0),
            *(None, None, None, None),
        ]

    def test_a_part_of_a_krona_is_refused(self) -> None:
        with pytest.raises(FactRefused, match="50050 is not a whole number of ISK"):
            iso_minor(50050, "isk")

    @pytest.mark.parametrize("amount", [..., None, -1, 46.2, "4620", True, [], 2**63, 10**400])
    def test_money_without_a_sensible_amount_is_refused_and_kept(self, amount: object) -> None:
        for sample in ("payment_intent.succeeded", "charge.succeeded"):
            event = told(sample, amount=amount)
            assert event.facts == ()
            assert event.refused_because == "the amount is missing or not a whole number of minor units"
            assert event.needs == ()

    @pytest.mark.parametrize("currency", [..., None, 7, "", "us", "usdc", "xxx", ["usd"]])
    def test_money_without_a_known_currency_is_refused_and_kept(self, currency: object) -> None:
        event = told("payment_intent.succeeded", currency=currency)
        assert event.refused_because == "the currency is missing or unknown"
        assert event.reference == "pi_3RTkpYQ8iJWBZFaM1LBHNo0J"

    @pytest.mark.parametrize("nonsense", [{"amount": "4620"}, {"currency": "xxx"}, {"amount": -5}])
    def test_no_money_came_in_and_nonsense_says_nothing(self, nonsense: dict[str, object]) -> None:
        said = fact(told("payment_intent.canceled", **nonsense))
        assert said.amount_minor is None
        assert said.status is PaymentStatus.CANCELLED

    def test_what_came_in_is_less_than_what_was_asked(self) -> None:
        said = fact(told("payment_intent.succeeded", amount=1000, amount_received=600))
        assert (said.amount_minor, said.received_minor) == (1000, 600)

    def test_a_charge_of_before_2020_does_not_say_what_was_captured(self) -> None:
        assert fact(told("charge.succeeded", amount_captured=...)).received_minor == 2000

    @pytest.mark.parametrize(
        ("captured", "stripes_refunded", "before_2025_03_31", "since"),
        [
            (20675, 0, 0, 0),
            (20675, 675, 675, 675),
            (20300, 0, 0, 0),
            (20300, 100, 100, 100),  # less than was released, so the release is not in it
            (20300, 375, 0, 375),
            (20300, 475, 100, 475),
            (20300, 20675, 20300, 20300),  # more than came in, so the release must be in it
            (21000, 100, 100, 100),  # captured more than was authorised
        ],
    )
    @pytest.mark.req("P6")
    def test_a_release_is_no_refund(
        self, captured: int, stripes_refunded: int, before_2025_03_31: int, since: int
    ) -> None:
        for version in ("2020-08-27", "2025-02-24.acacia", None, 7, "2025-03-31.basil", "2026-06-24.dahlia"):
            amounts = {"amount_captured": captured, "amount_refunded": stripes_refunded}
            event = told("charge.updated", event={"api_version": version}, **amounts)
            is_of_today = str(version).endswith(("basil", "dahlia"))
            assert fact(event).refunded_minor == (since if is_of_today else before_2025_03_31), version

    @pytest.mark.req("P6")
    def test_what_is_refunded_as_it_is_captured_is_a_release(self) -> None:
        said = fact(told("charge.captured", amount_captured=20300, amount_refunded=375))
        assert (said.received_minor, said.refunded_minor) == (20300, 0)


class TestMerchantsOwn:
    @pytest.mark.parametrize(
        ("metadata", "reference"),
        [
            ({"order_id": "6735"}, "6735"),
            ({"reference": "R-1", "order_number": "ALB-1"}, "ALB-1"),
            ({"Order": "1", "lago_invoice_id": "x"}, None),
            ({"order_id": ""}, None),
            ({"order_id": 6735}, None),
            ([], None),
            ("order_id", None),
        ],
    )
    def test_reference(self, metadata: object, reference: str | None) -> None:
        assert fact(told("payment_intent.succeeded", metadata=metadata)).reference == reference

    def test_metadata_is_kept_as_it_is(self) -> None:
        said = fact(told("payment_intent.succeeded", metadata={"app": "nexai", "plan": "pro", "n": 1}))
        assert said.metadata == {"app": "nexai", "plan": "pro"}

    def test_no_metadata_says_nothing(self) -> None:
        assert fact(told("payment_intent.succeeded", metadata={})).metadata is None

    def test_method_is_said_only_where_there_is_no_choice(self) -> None:
        assert fact(told("payment_intent.succeeded", payment_method_types=["card", "link"])).method is None
        assert fact(told("payment_intent.succeeded", payment_method_types=["card"])).method == "card"

    @pytest.mark.req("R1")
    def test_which_app_and_user_it_belongs_to(self) -> None:
        metadata = {"app": "NexAI", "user_id": "u-1", "plan": "pro"}
        for sample in ("payment_intent.succeeded", "charge.failed", "checkout.session.completed"):
            said = fact(told(sample, metadata=metadata))
            assert (said.app, said.user_id, said.plan) == ("nexai", "u-1", "pro")

    def test_whoever_pays_is_known_by_the_billing_details_or_the_receipt(self) -> None:
        both = {"billing_details": {"email": "payer@example.com"}, "receipt_email": "other@example.com"}
        assert fact(told("charge.succeeded", **both)).email == "payer@example.com"
        assert fact(told("charge.succeeded", receipt_email="other@example.com")).email == "other@example.com"
        assert fact(told("payment_intent.succeeded", receipt_email="other@example.com")).email == "other@example.com"

    @pytest.mark.parametrize("sample", ["payment_intent.succeeded", "charge.succeeded"])
    def test_the_invoice_that_it_pays_as_versions_before_2025_03_31_say_it(self, sample: str) -> None:
        assert fact(told(sample, invoice="in_1")).invoice_ref == "in_1"
        assert fact(told(sample, invoice={"id": "in_1"})).invoice_ref == "in_1"
        assert fact(told(sample, invoice=None)).invoice_ref is None


CHARGE = {
    "id": "ch_1",
    "object": "charge",
    "amount": 4620,
    "amount_captured": 4620,
    "amount_refunded": 620,
    "billing_details": {"email": "payer@example.com"},
    "captured": True,
    "currency": "eur",
    "payment_method_details": {"type": "sepa_debit"},
    "refunds": {"data": [{"id": "re_1", "amount": 620, "currency": "eur", "status": "succeeded"}]},
    "status": "succeeded",
}


class TestWholeCharges:
    """Before 2022-11-15 a PaymentIntent holds its charges whole; today its API does when it is asked to."""

    @pytest.mark.parametrize("shape", [{"charges": {"data": [CHARGE]}}, {"latest_charge": CHARGE}])
    def test_what_the_charge_alone_knows_is_said_too(self, shape: dict[str, object]) -> None:
        event = told("payment_intent.succeeded", payment_method_types=["card", "sepa_debit"], **shape)
        said = fact(event)
        assert (said.refunded_minor, said.method, said.email) == (620, "sepa_debit", "payer@example.com")
        assert said.received_minor == 4620
        refund = only(event, RefundFact)
        assert (refund.amount_minor, refund.status) == (620, RefundStatus.COMPLETED)
        assert refund.payment == said.objects

    def test_what_the_intent_says_goes_before_the_charge(self) -> None:
        charge = {**CHARGE, "metadata": {"order_id": "9"}, "receipt_email": "b@example.com"}
        said = fact(told("payment_intent.succeeded", latest_charge=charge, metadata={"order_id": "1"}))
        assert (said.reference, said.metadata) == ("1", {"order_id": "1"})

    def test_a_try_that_failed_adds_its_name_and_nothing_else(self) -> None:
        failed = {**CHARGE, "id": "ch_0", "status": "failed", "failure_code": "card_declined"}
        said = fact(told("payment_intent.succeeded", charges={"data": [CHARGE, failed]}))
        assert [name.id for name in said.objects[1:]] == ["ch_3RTkpYQ8iJWBZFaM1WnB7qvm", "ch_1", "ch_0"]
        assert (said.failure_code, said.received_minor) == (None, 4620)

    @pytest.mark.req("G17")
    def test_a_fee_that_is_said_need_not_be_fetched(self) -> None:
        booked = {"id": "txn_1", "created": 1748441985, "currency": "usd", "fee": 164}
        event = told("payment_intent.succeeded", latest_charge={**CHARGE, "balance_transaction": booked})
        assert (fact(event).fee_minor, fact(event).fee_currency) == (164, "USD")
        assert event.needs == ()


class TestCheckoutSessions:
    def test_links_its_payment_and_claims_nothing_of_the_money(self) -> None:
        said = fact(event_of("checkout.session.completed"))
        assert said.objects == (
            ObjectName("payment_intent", "pi_composed_checkout"),
            ObjectName("checkout_session", "cs_test_composed"),
        )
        assert (said.status, said.amount_minor, said.received_minor, said.currency) == (None, None, None, None)
        assert event_of("checkout.session.completed").needs == ()

    @pytest.mark.parametrize(
        ("changes", "reference"),
        [
            ({"client_reference_id": "A-1", "metadata": {"order_id": "B-1"}}, "A-1"),
            ({"client_reference_id": None, "metadata": {"order_id": "B-1"}}, "B-1"),
            ({"client_reference_id": 7, "metadata": None}, None),
        ],
    )
    def test_reference(self, changes: dict[str, object], reference: str | None) -> None:
        assert fact(told("checkout.session.completed", **changes)).reference == reference
        subscribed = told("checkout.session.completed__subscription", **changes)
        assert only(subscribed, SubscriptionFact).reference == reference

    def test_one_that_nobody_paid_is_a_payment_that_was_cancelled(self) -> None:
        said = fact(event_of("checkout.session.expired"))
        assert said.objects == (ObjectName("checkout_session", "cs_test_composed_expired"),)
        assert (said.status, said.amount_minor, said.currency) == (PaymentStatus.CANCELLED, 4620, "EUR")
        assert fact(told("checkout.session.expired", status=...)).status is PaymentStatus.CANCELLED
        assert len(fact(told("checkout.session.expired", payment_intent="pi_1")).objects) == 2

    @pytest.mark.parametrize("mode", ["subscription", "setup", None])
    def test_one_that_would_have_made_no_payment_says_nothing(self, mode: str | None) -> None:
        event = told("checkout.session.expired", mode=mode)
        assert (event.facts, event.refused_because) == ((), None)
        assert event.ignored_because == "it names no payment, subscription or customer: checkout.session.expired"

    def test_one_that_costs_nothing_is_no_payment(self) -> None:
        event = told("checkout.session.completed", payment_intent=None, payment_status="no_payment_required")
        assert facts(event, PaymentFact) == []

    @pytest.mark.req("R1")
    def test_of_a_subscription_there_is_no_payment_to_name(self) -> None:
        event = event_of("checkout.session.completed__subscription")
        assert facts(event, PaymentFact) == []
        said = only(event, SubscriptionFact)
        assert (said.app, said.user_id, said.email, said.status) == ("nexai", "user_42", "ada@example.com", None)
        assert said.customer_ref == "cus_composed"

    def test_who_paid_is_a_customer_only_with_an_id(self) -> None:
        assert facts(event_of("checkout.session.completed"), CustomerFact) == []
        customer = only(told("checkout.session.completed", customer="cus_1"), CustomerFact)
        assert (customer.email, customer.name) == ("guest@example.com", "Guest Example")
        assert customer.objects == (ObjectName("customer", "cus_1"),)
        assert fact(told("checkout.session.completed", customer_details=None, customer_email="a@example.com")).email

    def test_what_was_entered_days_ago_is_not_said_of_a_customer_today(self) -> None:
        assert facts(event_of("checkout.session.async_payment_succeeded"), CustomerFact) == []


class TestNeeds:
    @pytest.mark.req("G17")
    def test_all_events_of_one_payment_ask_for_its_fee_once(self) -> None:
        need = Need(
            "fetch_fee",
            "stripe/default/pi_1",
            {"gateway": "stripe", "account": "default", "kind": "payment_intent", "id": "pi_1"},
        )
        assert told("payment_intent.succeeded", id="pi_1").needs == (need,)
        assert told("charge.succeeded", payment_intent="pi_1").needs == (need,)
        assert told("charge.refunded", payment_intent={"id": "pi_1"}).needs[0] == need

    def test_refunds_that_a_charge_does_not_list_are_asked_for(self) -> None:
        need = event_of("charge.refunded").needs[1]
        assert (need.topic, need.key) == (
            "refetch",
            "stripe/default/charge/ch_1PgafuB7WZ01zgkWXYmPNZs8/evt_5367516c8257d52a19ea2ee1",
        )
        assert need.arguments["kind"] in ASKABLE
        listed = [
            {"id": "re_1", "amount": 60, "status": "succeeded"},
            {"id": "re_2", "amount": 40, "status": "pending"},
        ]
        assert [each.topic for each in told("charge.refunded", refunds={"data": listed}).needs] == ["fetch_fee"]
        failed = [listed[0], {**listed[1], "status": "failed"}]
        assert len(told("charge.refunded", refunds={"data": failed}).needs) == 2
        assert len(told("charge.refunded", refunds=...).needs) == 2
        assert len(told("charge.refunded", amount_refunded=0).needs) == 1

    @pytest.mark.parametrize("sample", ["charge.refunded__legacy_2020-08-27", "charge.updated", "charge.captured"])
    def test_nothing_is_asked_where_all_is_said(self, sample: str) -> None:
        assert [need.topic for need in event_of(sample).needs] == ["fetch_fee"]

    @pytest.mark.req("G17")
    def test_no_fee_of_what_did_not_come_in(self) -> None:
        for sample in ("payment_intent.canceled", "charge.failed", "charge.pending", "charge.succeeded__uncaptured"):
            assert event_of(sample).needs == ()


class TestOtherEvents:
    @pytest.mark.parametrize("event_type", ["payment_intent.wholly_new", "charge.dispute.wholly_new", "topup.created"])
    def test_are_ignored_by_name(self, event_type: str) -> None:
        event = told("charge.succeeded", event={"type": event_type})
        assert (event.facts, event.needs) == ((), ())
        assert event.ignored_because == f"event type not handled: {event_type}"
        assert event.reference == "ch_000000000000000000000001"

    @pytest.mark.parametrize("sample", sorted(ignored_samples("stripe")))
    def test_samples_that_mean_nothing_to_us_are_ignored(self, sample: str) -> None:
        event = translate(read_event(ignored_samples("stripe")[sample].read_bytes()), "default")
        assert event.ignored_because == f"event type not handled: {event.type}"
        assert (event.type, event.facts, event.needs, event.refused_because) == (sample, (), (), None)

    @pytest.mark.req("G15")
    @pytest.mark.parametrize(("said", "livemode"), [(True, True), (False, False), (None, False), ("true", False)])
    def test_only_true_is_live_money(self, said: object, livemode: bool) -> None:
        assert told("charge.succeeded", event={"livemode": said}).livemode is livemode

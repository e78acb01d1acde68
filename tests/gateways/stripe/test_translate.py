"""Every handled event becomes the reviewed fact; what is odd about Stripe, case by case."""

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gatehouse.errors import FactRefused
from gatehouse.facts import Event, Need, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.stripe import HANDLED, read_event, translate
from gatehouse.gateways.stripe.translate import iso_minor

SAMPLES = {path.stem: path for path in (Path(__file__).parents[3] / "events" / "stripe").glob("*.json")}
EXPECTED: dict[str, Any] = json.loads(Path(__file__).with_name("expected_facts.json").read_text())

pytestmark = pytest.mark.req("G1")


def plain(value: Any) -> Any:
    """Return an Event as JSON: nothing that says nothing, times as text."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items() if inner not in (None, ())}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value


def event_of(sample: str) -> Event:
    return translate(read_event(SAMPLES[sample].read_bytes()), "default")


def told(sample: str, **changes: object) -> Event:
    """Translate a sample whose object has been changed; a field set to ... is dropped."""
    payload = json.loads(SAMPLES[sample].read_text())
    stripe_object = payload["data"]["object"] | changes
    payload["data"]["object"] = {key: value for key, value in stripe_object.items() if value is not ...}
    return translate(payload, "default")


def fact(event: Event) -> PaymentFact:
    (only,) = event.facts
    return only


class TestSamples:
    @pytest.mark.parametrize("sample", sorted(SAMPLES))
    def test_becomes_what_was_reviewed(self, sample: str) -> None:
        assert plain(event_of(sample)) == EXPECTED[sample]

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
        ("captured", "stripes_refunded", "refunded"),
        [
            (20675, 0, 0),
            (20675, 675, 675),
            (20300, 375, 0),
            (20300, 475, 100),
            (20300, 20675, 20300),
            (21000, 100, 100),
        ],
    )
    def test_a_release_is_no_refund(self, captured: int, stripes_refunded: int, refunded: int) -> None:
        said = fact(told("charge.captured", amount_captured=captured, amount_refunded=stripes_refunded))
        assert said.refunded_minor == refunded


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
        assert told("charge.refunded", payment_intent={"id": "pi_1"}).needs == (need,)

    @pytest.mark.req("G17")
    def test_no_fee_of_what_did_not_come_in(self) -> None:
        for sample in ("payment_intent.canceled", "charge.failed", "charge.pending", "charge.succeeded__uncaptured"):
            assert event_of(sample).needs == ()


class TestOtherEvents:
    @pytest.mark.parametrize(
        ("event_type", "reason"),
        [
            ("customer.subscription.updated", "event type not handled: customer.subscription.updated"),
            ("payment_intent.wholly_new", "event type not handled: payment_intent.wholly_new"),
            ("charge.dispute.created", "not a payment event: charge.dispute.created"),
            ("charge.refund.updated", "not a payment event: charge.refund.updated"),
        ],
    )
    def test_are_ignored_by_name(self, event_type: str, reason: str) -> None:
        payload = json.loads(SAMPLES["charge.succeeded"].read_text()) | {"type": event_type}
        event = translate(payload, "default")
        assert (event.ignored_because, event.facts, event.needs) == (reason, (), ())
        assert event.reference == "ch_000000000000000000000001"

    @pytest.mark.req("G15")
    @pytest.mark.parametrize(("said", "livemode"), [(True, True), (False, False), (None, False), ("true", False)])
    def test_only_true_is_live_money(self, said: object, livemode: bool) -> None:
        payload = json.loads(SAMPLES["charge.succeeded"].read_text()) | {"livemode": said}
        event = translate(payload, "default")
        assert event.livemode is livemode

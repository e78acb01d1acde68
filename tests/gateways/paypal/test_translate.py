"""Every handled event becomes the reviewed facts; what all of PayPal's events have in common, case by case."""

import json
from datetime import UTC, datetime

import pytest

from gatehouse.facts import CustomerFact, Event, ObjectName, PaymentFact, PaymentStatus, RefundFact
from gatehouse.gateways.paypal import ASKABLE, HANDLED
from gatehouse.gateways.paypal.resource import merged
from tests.support.gateway_samples import as_json
from tests.support.paypal_events import EXPECTED, IGNORED, SAMPLES, enveloped, event_of, only, told

pytestmark = pytest.mark.req("G2")


class TestSamples:
    @pytest.mark.parametrize("sample", sorted(SAMPLES | IGNORED))
    def test_becomes_what_was_reviewed(self, sample: str) -> None:
        assert as_json(event_of(sample)) == EXPECTED[sample]

    def test_each_handled_name_has_one(self) -> None:
        assert {name.lower() for name in HANDLED} == {name.partition("__")[0] for name in SAMPLES}

    def test_each_is_named_after_its_event(self) -> None:
        for name in SAMPLES | IGNORED:
            assert event_of(name).type.lower() == name.partition("__")[0]

    def test_each_has_an_expectation_and_none_is_left_over(self) -> None:
        assert set(EXPECTED) == set(SAMPLES | IGNORED)

    def test_all_are_different_events(self) -> None:
        assert len({event_of(name).event_id for name in SAMPLES | IGNORED}) == len(SAMPLES | IGNORED)


class TestEventId:
    def test_types_of_the_simulator_that_share_an_id_are_different_events(self) -> None:
        shared = "WH-UY687577TY25889J9-2R6T55435R66168Y6"
        types = ("BILLING.SUBSCRIPTION.EXPIRED", "BILLING.SUBSCRIPTION.CANCELLED")
        assert [enveloped(id=shared, event_type=each).event_id for each in types] == [
            f"{shared}:BILLING.SUBSCRIPTION.EXPIRED",
            f"{shared}:BILLING.SUBSCRIPTION.CANCELLED",
        ]


class TestTime:
    def test_the_simulators_nineteenth_month_is_no_time(self) -> None:
        assert json.loads(SAMPLES["billing.subscription.created"].read_text())["create_time"].startswith("2018-19-12")
        assert event_of("billing.subscription.created").occurred_at is None

    @pytest.mark.parametrize(
        ("said", "occurred_at"),
        [
            ("2018-08-15T12:13:29-07:00", datetime(2018, 8, 15, 19, 13, 29, tzinfo=UTC)),
            ("2026-11-20T12:00:00Z", datetime(2026, 11, 20, 12, tzinfo=UTC)),
            ("2018-19-12T22:20:32.000Z", None),
            ("2026-11-20T12:00:00", None),
            (None, None),
            (1700000000, None),
        ],
    )
    def test_of_the_event(self, said: object, occurred_at: datetime | None) -> None:
        assert enveloped(create_time=said).occurred_at == occurred_at

    def test_money_came_in_when_the_capture_says_where_the_event_does_not(self) -> None:
        without = enveloped(create_time="2018-19-12T22:20:32.000Z")
        assert only(PaymentFact, without).completed_at == datetime(2022, 8, 23, 18, 29, 50, tzinfo=UTC)


@pytest.mark.req("G15")
class TestLivemode:
    def test_links_to_the_sandbox_tell_a_test(self) -> None:
        for host in ("api.sandbox.paypal.com", "api-m.sandbox.paypal.com"):
            links = [{"href": f"https://{host}/v1/notifications/webhooks-events/WH-1", "rel": "self"}]
            assert enveloped(links=links).livemode is False
            assert told("payment.capture.completed", links=links).livemode is False

    @pytest.mark.parametrize(
        "links",
        [
            [],
            None,
            "https://api.sandbox.paypal.com/",
            [{"href": "https://api.paypal.com/v1/notifications/webhooks-events/WH-1"}],
            [{"href": "https://evil.test/?https://api.sandbox.paypal.com/"}],
            [{"href": "https://api.sandbox.paypal.com.evil.test/"}],
        ],
    )
    def test_no_other_link_proves_anything(self, links: object) -> None:
        assert enveloped(links=links).livemode is None


class TestOtherEvents:
    @pytest.mark.parametrize(
        "event_type",
        [
            "PAYMENT.CAPTURE.WHOLLY-NEW",
            "payment.capture.completed",
            "BILLING.PLAN.UPDATED",
            "VAULT.PAYMENT-TOKEN.CREATED",
            "CHECKOUT.ORDER.SAVED",
            "x",
        ],
    )
    def test_are_ignored_by_name(self, event_type: str) -> None:
        event = enveloped(event_type=event_type)
        assert (event.ignored_because, event.facts) == (f"event type not handled: {event_type}", ())

    @pytest.mark.parametrize(
        ("sample", "reference"),
        [
            ("customer.dispute.created", "PP-000-001-341-393"),
            ("payment.payouts-item.failed", "AYNYWNCHBD8KS"),
            ("payment.payoutsbatch.success", "CQGA9SFAU8WSN"),
            ("invoicing.invoice.paid__v2", "INV2-COMP-OSED-0001"),
            ("checkout.payment-approval.reversed", "COMPOSED-ORDER-5"),
            ("billing.plan.created", "P-COMPOSED0001"),
        ],
    )
    def test_can_be_searched_by_what_they_speak_of(self, sample: str, reference: str) -> None:
        assert event_of(sample).reference == reference


class TestNeeds:
    """What an event leaves open is asked of the API, once for each event."""

    def asked(self, event: Event) -> list[tuple[str, str]]:
        assert all(need.topic == "refetch" for need in event.needs)
        assert all(need.arguments["kind"] in ASKABLE for need in event.needs)
        assert all(need.key.endswith(event.event_id) for need in event.needs)
        return [(need.arguments["kind"], need.arguments["id"]) for need in event.needs]

    @pytest.mark.req("G17")
    def test_a_fee_that_is_not_said(self) -> None:
        assert self.asked(event_of("payment.sale.completed")) == [("sale", "80021663DE681814L")]
        assert self.asked(event_of("payment.capture.completed__v1")) == [("capture", "42311647XV020574X")]
        for sample in ("payment.capture.completed", "payment.capture.pending", "payment.capture.denied"):
            assert self.asked(event_of(sample)) == []

    def test_how_a_subscription_stands_after_a_payment(self) -> None:
        paid = ("subscription", "I-W0Y05RHBK9VG")
        assert self.asked(event_of("payment.sale.completed__from_subscription")) == [paid]
        assert self.asked(told("payment.sale.completed__from_subscription", transaction_fee=...)) == [
            ("sale", "7D51924877811803R"),
            paid,
        ]
        assert self.asked(told("payment.sale.completed__from_subscription", state="pending")) == []

    @pytest.mark.parametrize(
        ("sample", "named"),
        [
            ("billing.subscription.suspended", ("subscription", "I-PE7JWXKGVN0R")),
            ("customer.dispute.updated", ("dispute", "PP-D-COMPOSED-1")),
            ("invoicing.invoice.paid__v2", ("invoice", "INV2-COMP-OSED-0001")),
        ],
    )
    def test_a_state_of_an_unknown_time(self, sample: str, named: tuple[str, str]) -> None:
        assert self.asked(event_of(sample)) == []
        assert self.asked(enveloped(sample, create_time="2018-19-12T22:20:32.000Z")) == [named]

    def test_a_payout_climbs_whatever_the_time_and_is_not_asked_for(self) -> None:
        for sample in ("payment.payouts-item.held", "payment.payoutsbatch.success", "payment.refund.pending"):
            assert self.asked(enveloped(sample, create_time=None)) == []


class TestMerged:
    """No two facts of one event share a name within one kind of fact."""

    def test_the_first_to_say_a_thing_is_believed(self) -> None:
        first = PaymentFact((ObjectName("a", "1"),), status=PaymentStatus.PENDING, amount_minor=1)
        second = PaymentFact((ObjectName("b", "2"),), amount_minor=2, currency="USD")
        third = PaymentFact((ObjectName("b", "2"), ObjectName("a", "1")), status=PaymentStatus.FAILED, fee_minor=3)
        assert merged((first, second, third)) == (
            PaymentFact(
                (ObjectName("a", "1"), ObjectName("b", "2")),
                status=PaymentStatus.FAILED,
                amount_minor=1,
                currency="USD",
                fee_minor=3,
            ),
        )

    def test_facts_of_different_kinds_stay_apart(self) -> None:
        name = (ObjectName("a", "1"),)
        apart = (PaymentFact(name), RefundFact(name), CustomerFact(name, email="x"))
        assert merged(apart) == apart
        assert merged((*apart, CustomerFact(name, name="X"))) == (*apart[:2], CustomerFact(name, "x", "X"))

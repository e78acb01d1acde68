"""Every handled event becomes the reviewed fact; what is odd about PayPal, case by case."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gatehouse.errors import FactRefused
from gatehouse.facts import Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.paypal import HANDLED, read_event, translate
from gatehouse.gateways.paypal.translate import CARRY_A_REFUND, iso_minor
from tests.support.gateway_samples import as_json, expected, ignored_samples, samples

SAMPLES = samples("paypal")
IGNORED = ignored_samples("paypal")
EXPECTED = expected("paypal")

pytestmark = pytest.mark.req("G2")


def event_of(sample: str) -> Event:
    return translate(read_event((SAMPLES | IGNORED)[sample].read_bytes()), "default")


def told(sample: str, **changes: object) -> Event:
    """Translate a sample whose resource has been changed; a field set to ... is dropped."""
    payload = json.loads((SAMPLES | IGNORED)[sample].read_text())
    resource = payload["resource"] | changes
    payload["resource"] = {key: value for key, value in resource.items() if value is not ...}
    return translate(payload, "default")


def enveloped(**changes: object) -> Event:
    """Translate an event whose envelope has been changed."""
    return translate(json.loads(SAMPLES["payment.capture.completed"].read_text()) | changes, "default")


def fact(event: Event) -> PaymentFact:
    (only,) = event.facts
    return only


def usd(value: object) -> dict[str, object]:
    return {"currency_code": "USD", "value": value}


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
        assert json.loads(IGNORED["billing.subscription.created"].read_text())["create_time"].startswith("2018-19-12")
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
        assert fact(without).completed_at == datetime(2022, 8, 23, 18, 29, 50, tzinfo=UTC)


class TestNames:
    """One money, whatever PayPal calls it."""

    def test_an_authorisation_and_its_capture_share_the_order(self) -> None:
        authorised = fact(event_of("payment.authorization.created__v2")).objects
        captured = fact(event_of("payment.capture.completed__of_an_authorization")).objects
        assert set(authorised) < set(captured)

    def test_the_order_in_a_link_alone(self) -> None:
        in_a_field = fact(event_of("payment.capture.completed")).objects
        assert fact(told("payment.capture.completed", supplementary_data=...)).objects == in_a_field

    def test_the_authorisation_in_a_link_alone(self) -> None:
        sample = "payment.capture.completed__of_an_authorization"
        assert fact(told(sample, supplementary_data=...)).objects == (
            ObjectName("capture", "COMPOSED-CAPTURE-1"),
            ObjectName("authorization", "COMPOSED-AUTH-1"),
        )

    @pytest.mark.parametrize("field", ["final_capture", "is_final_capture"])
    def test_one_of_several_captures_is_a_money_of_its_own(self, field: str) -> None:
        sample = "payment.capture.completed__of_an_authorization"
        for each in ("FIRST", "SECOND"):
            one = fact(told(sample, **{"id": each, "final_capture": ..., field: False}))
            assert one.objects == (ObjectName("capture", each),)
        for unclear in (True, None, 0, "false", ...):
            assert len(fact(told(sample, final_capture=unclear)).objects) == 3

    def test_a_sale_of_a_subscription_is_not_the_subscription(self) -> None:
        assert fact(event_of("payment.sale.completed__from_subscription")).objects == (
            ObjectName("sale", "7D51924877811803R"),
        )

    @pytest.mark.parametrize(
        "links",
        [
            None,
            "https://api.paypal.com/v2/checkout/orders/X",
            [None, 7, "x", [], {}, {"href": None}, {"href": 7}],
            [{"href": "https://api.paypal.com/v2/payments/captures/12A34567BC123456S/refund"}],
            [{"href": "https://api.paypal.com/v2/checkout/orders/"}, {"href": "https://api.paypal.com/v2/orders"}],
            [{"href": "https://api.paypal.com/v2/checkout/orders/x?y=z"}, {"href": "orders/X\n"}],
            [{"href": "https://api.paypal.com/v2/checkout/orders/" + "X" * 256}],
        ],
    )
    def test_links_that_name_nothing(self, links: object) -> None:
        alone = fact(told("payment.capture.completed", supplementary_data=None, links=links))
        assert alone.objects == (ObjectName("capture", "12A34567BC123456S"),)

    @pytest.mark.parametrize("no_id", [None, "", 7, {}, "x" * 256, ...])
    def test_a_resource_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        event = told("payment.capture.completed", id=no_id)
        assert (event.facts, event.needs, event.ignored_because) == ((), (), None)
        assert event.refused_because == "the resource has no id"

    @pytest.mark.parametrize("resource", [None, [], "x", {}])
    def test_an_event_without_its_resource_is_refused_and_kept(self, resource: object) -> None:
        assert enveloped(resource=resource).refused_because is not None
        pending = enveloped(resource=resource, event_type="PAYMENT.CAPTURE.PENDING")
        assert pending.refused_because == "the resource has no id"


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("COMPLETED", PaymentStatus.COMPLETED),
            ("PARTIALLY_REFUNDED", PaymentStatus.COMPLETED),
            ("REFUNDED", PaymentStatus.COMPLETED),
            ("PENDING", PaymentStatus.PROCESSING),
            ("DECLINED", PaymentStatus.FAILED),
            ("FAILED", PaymentStatus.FAILED),
        ],
    )
    def test_of_a_capture_is_what_it_says(self, said: str, status: PaymentStatus) -> None:
        assert fact(told("payment.capture.completed", status=said)).status is status
        assert fact(told("payment.sale.pending", state=said.lower())).status is status

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("PENDING", PaymentStatus.PENDING),
            ("CREATED", PaymentStatus.PROCESSING),
            ("PARTIALLY_CAPTURED", PaymentStatus.PROCESSING),
            ("CAPTURED", PaymentStatus.PROCESSING),
            ("DENIED", PaymentStatus.FAILED),
            ("EXPIRED", PaymentStatus.CANCELLED),
            ("VOIDED", PaymentStatus.CANCELLED),
        ],
    )
    def test_of_an_authorisation_is_never_money(self, said: str, status: PaymentStatus) -> None:
        authorised = fact(told("payment.authorization.created__v2", status=said))
        assert (authorised.status, authorised.received_minor, authorised.completed_at) == (status, None, None)

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "WHOLLY_NEW"])
    def test_that_is_not_said_is_what_the_name_says(self, unknown: object) -> None:
        for sample in SAMPLES:
            without = told(sample, status=unknown, state=unknown)
            assert fact(without).status is HANDLED[without.type]

    def test_why_it_was_cancelled(self) -> None:
        expired = fact(told("payment.authorization.voided", status="EXPIRED"))
        assert expired.status_reason == "the authorisation expired"
        assert fact(event_of("payment.authorization.voided")).status_reason == "the authorisation was voided"

    @pytest.mark.parametrize(
        ("said", "code"),
        [
            ({"status_details": {"reason": "PAYER_ACCOUNT_RESTRICTED"}}, "PAYER_ACCOUNT_RESTRICTED"),
            ({"reason_code": "DENIED_BY_RISK"}, "DENIED_BY_RISK"),
            ({"processor_response": {"response_code": "5120"}}, "5120"),
            ({"status_details": "x", "processor_response": []}, None),
        ],
    )
    def test_why_it_failed(self, said: dict[str, object], code: str | None) -> None:
        assert fact(told("payment.capture.declined", **said)).failure_code == code
        assert fact(told("payment.capture.completed", **said)).failure_code is None


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "currency", "minor"),
        [
            ("30.00", "USD", 3000),
            ("1.0", "USD", 100),
            ("25", "usd", 2500),
            (30, "USD", 3000),
            (Decimal("30.5"), "USD", 3050),
            ("4800", "JPY", 4800),
            ("4800.00", "JPY", 4800),
            ("4800", "HUF", 480_000),  # whole at PayPal, hundredths in ISO 4217
            ("4800.00", "TWD", 480_000),
        ],
    )
    def test_in_the_currencys_own_minor_units(self, amount: object, currency: str, minor: int) -> None:
        assert iso_minor(amount, currency) == minor

    @pytest.mark.parametrize("currency", ["HUF", "JPY", "TWD"])
    @pytest.mark.parametrize("amount", ["4800.50", Decimal("0.5")])
    def test_a_part_of_what_paypal_does_not_part(self, amount: object, currency: str) -> None:
        with pytest.raises(FactRefused):
            iso_minor(amount, currency)

    @pytest.mark.parametrize(
        "amount",
        [..., None, "", "thirty", "-30.00", "30,00", "1e3", "NaN", "30.001", True, [], {}, "9" * 60, 10**400, "٣٠"],
    )
    def test_money_without_a_sensible_amount_is_refused_and_kept(self, amount: object) -> None:
        money = {"currency_code": "USD"} | ({} if amount is ... else {"value": amount})
        event = told("payment.capture.completed", amount=money)
        assert event.facts == ()
        assert event.refused_because
        assert event.reference == "12A34567BC123456S"

    @pytest.mark.parametrize("currency", [None, 7, "", "US", "USDC", "XXX", ["USD"]])
    def test_money_without_a_known_currency_is_refused_and_kept(self, currency: object) -> None:
        event = told("payment.capture.completed", amount={"currency_code": currency, "value": "30.00"})
        assert event.refused_because == "the currency is missing or unknown"

    @pytest.mark.parametrize("amount", [None, [], "30.00", usd("many"), usd("-1"), {"value": "1"}])
    def test_no_money_came_in_and_nonsense_says_nothing(self, amount: object) -> None:
        for sample in ("payment.capture.pending", "payment.capture.declined", "payment.authorization.created__v2"):
            assert fact(told(sample, amount=amount)).amount_minor is None

    @pytest.mark.req("G17")
    @pytest.mark.parametrize(
        ("breakdown", "fee"),
        [
            ({"paypal_fee": usd("1.54")}, (154, "USD")),
            ({"paypal_fee": {"currency_code": "EUR", "value": "1.42"}}, (142, "EUR")),
            ({"paypal_fee": usd("0.00")}, (0, "USD")),
            ({"platform_fees": [{"amount": usd("2.00")}]}, (None, None)),
            ({"paypal_fee": usd("-1.54")}, (None, None)),
            ({"paypal_fee": "1.54"}, (None, None)),
            ({"paypal_fee": None}, (None, None)),
            (None, (None, None)),
            (..., (None, None)),
        ],
    )
    def test_the_fee_is_paypals_own_or_unknown(self, breakdown: object, fee: tuple[int | None, str | None]) -> None:
        said = fact(told("payment.capture.completed", seller_receivable_breakdown=breakdown))
        assert (said.fee_minor, said.fee_currency) == fee

    @pytest.mark.req("G17")
    def test_no_fee_of_what_did_not_come_in(self) -> None:
        breakdown = {"paypal_fee": usd("1.54")}
        assert fact(told("payment.capture.declined", seller_receivable_breakdown=breakdown)).fee_minor is None


class TestMerchantsOwn:
    @pytest.mark.parametrize(
        ("said", "reference"),
        [
            ({"invoice_id": "INV-1", "custom_id": "c"}, "INV-1"),
            ({"invoice_id": "", "custom_id": "c"}, "c"),
            ({"invoice_id": ..., "invoice_number": "N-1", "custom": "x"}, "N-1"),
            ({"invoice_id": ..., "custom": "x"}, "x"),
            ({"invoice_id": 7}, None),
            ({"invoice_id": None}, None),
        ],
    )
    def test_reference(self, said: dict[str, Any], reference: str | None) -> None:
        found = fact(told("payment.capture.completed", **said))
        assert found.reference == reference
        words = {name: word for name, word in said.items() if isinstance(word, str) and word}
        assert found.metadata == (words or None)


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
    @pytest.mark.parametrize("event_type", CARRY_A_REFUND)
    def test_refunds_are_ignored_as_such(self, event_type: str) -> None:
        event = enveloped(event_type=event_type)
        assert (event.ignored_because, event.facts) == (f"not a payment event but a refund: {event_type}", ())

    @pytest.mark.parametrize(
        "event_type",
        [
            "PAYMENT.CAPTURE.WHOLLY-NEW",
            "payment.capture.completed",
            "CHECKOUT.ORDER.APPROVED",
            "BILLING.SUBSCRIPTION.PAYMENT.FAILED",
            "x",
        ],
    )
    def test_are_ignored_by_name(self, event_type: str) -> None:
        event = enveloped(event_type=event_type)
        assert (event.ignored_because, event.facts) == (f"event type not handled: {event_type}", ())

    def test_can_be_searched_by_what_they_speak_of(self) -> None:
        assert event_of("customer.dispute.created").reference == "PP-000-001-341-393"
        assert event_of("payment.payouts-item.failed").reference == "AYNYWNCHBD8KS"

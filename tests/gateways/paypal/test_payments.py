"""What is odd about PayPal's payments, case by case: names, statuses, amounts, refunds, orders."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from gatehouse.errors import FactRefused
from gatehouse.facts import CustomerFact, Event, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.gateways.paypal.resource import iso_minor
from gatehouse.gateways.paypal.translate import facts_of_answer
from tests.support.paypal_events import enveloped, event_of, only, told, usd

CAPTURE_3 = (ObjectName("capture", "COMPOSED-CAPTURE-3"), ObjectName("transaction", "COMPOSED-CAPTURE-3"))
JSON_OF_THE_MERCHANT = '{"app": "NexAI", "user_id": 17, "plan": "pro", "cart": [1], "gift": true}'

pytestmark = pytest.mark.req("G2")


def payment(event: Event) -> PaymentFact:
    return only(PaymentFact, event)


def refund(event: Event) -> RefundFact:
    return only(RefundFact, event)


def link(path: str, rel: str = "self") -> dict[str, str]:
    return {"href": f"https://api.sandbox.paypal.com{path}", "rel": rel, "method": "GET"}


class TestNames:
    """One money, whatever PayPal calls it."""

    def test_an_authorisation_and_its_capture_share_the_order(self) -> None:
        authorised = payment(event_of("payment.authorization.created__v2")).objects
        captured = payment(event_of("payment.capture.completed__of_an_authorization")).objects
        assert set(authorised) < set(captured)

    def test_the_order_in_a_link_alone(self) -> None:
        in_a_field = payment(event_of("payment.capture.completed")).objects
        assert payment(told("payment.capture.completed", supplementary_data=...)).objects == in_a_field

    def test_the_authorisation_in_a_link_alone(self) -> None:
        sample = "payment.capture.completed__of_an_authorization"
        assert payment(told(sample, supplementary_data=...)).objects == (
            ObjectName("capture", "COMPOSED-CAPTURE-1"),
            ObjectName("transaction", "COMPOSED-CAPTURE-1"),
            ObjectName("authorization", "COMPOSED-AUTH-1"),
        )

    @pytest.mark.parametrize("field", ["final_capture", "is_final_capture"])
    def test_one_of_several_captures_is_a_money_of_its_own(self, field: str) -> None:
        sample = "payment.capture.completed__of_an_authorization"
        for each in ("FIRST", "SECOND"):
            one = payment(told(sample, **{"id": each, "final_capture": ..., field: False}))
            assert one.objects == (ObjectName("capture", each), ObjectName("transaction", each))
        for unclear in (True, None, 0, "false", ...):
            assert len(payment(told(sample, final_capture=unclear)).objects) == 4

    def test_a_sale_of_a_subscription_is_not_the_subscription(self) -> None:
        assert payment(event_of("payment.sale.completed__from_subscription")).objects == (
            ObjectName("sale", "7D51924877811803R"),
            ObjectName("transaction", "7D51924877811803R"),
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
        alone = payment(told("payment.capture.completed", supplementary_data=None, links=links))
        assert alone.objects == (
            ObjectName("capture", "12A34567BC123456S"),
            ObjectName("transaction", "12A34567BC123456S"),
        )

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
        assert payment(told("payment.capture.completed", status=said)).status is status
        assert payment(told("payment.sale.pending", state=said.lower())).status is status

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
        authorised = payment(told("payment.authorization.created__v2", status=said))
        assert (authorised.status, authorised.received_minor, authorised.completed_at) == (status, None, None)

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "WHOLLY_NEW"])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("payment.capture.completed", PaymentStatus.COMPLETED),
            ("payment.capture.pending", PaymentStatus.PROCESSING),
            ("payment.capture.declined", PaymentStatus.FAILED),
            ("payment.capture.denied", PaymentStatus.FAILED),
            ("payment.authorization.created", PaymentStatus.PROCESSING),
            ("payment.authorization.voided", PaymentStatus.CANCELLED),
            ("payment.sale.completed", PaymentStatus.COMPLETED),
            ("payment.sale.pending", PaymentStatus.PROCESSING),
            ("payment.sale.denied", PaymentStatus.FAILED),
            ("checkout.order.approved", PaymentStatus.PENDING),
            ("checkout.payment-approval.reversed", PaymentStatus.CANCELLED),
        ],
    )
    def test_that_is_not_said_is_what_the_name_says(self, sample: str, status: PaymentStatus, unknown: object) -> None:
        assert payment(told(sample, status=unknown, state=unknown)).status is status

    def test_of_an_answer_that_does_not_say_it_is_unknown(self) -> None:
        (answered,) = facts_of_answer("capture", {"id": "C1", "amount": usd("many")})
        assert isinstance(answered, PaymentFact)
        assert (answered.status, answered.amount_minor, answered.received_minor) == (None, None, None)

    def test_why_it_was_cancelled(self) -> None:
        expired = payment(told("payment.authorization.voided", status="EXPIRED"))
        assert expired.status_reason == "the authorisation expired"
        assert payment(event_of("payment.authorization.voided")).status_reason == "the authorisation was voided"

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
        assert payment(told("payment.capture.declined", **said)).failure_code == code
        assert payment(told("payment.capture.completed", **said)).failure_code is None


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
            assert payment(told(sample, amount=amount)).amount_minor is None

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
        said = payment(told("payment.capture.completed", seller_receivable_breakdown=breakdown))
        assert (said.fee_minor, said.fee_currency) == fee

    @pytest.mark.req("G17")
    def test_no_fee_of_what_did_not_come_in(self) -> None:
        breakdown = {"paypal_fee": usd("1.54")}
        assert payment(told("payment.capture.declined", seller_receivable_breakdown=breakdown)).fee_minor is None


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
        found = payment(told("payment.capture.completed", **said))
        assert found.reference == reference
        words = {name: word for name, word in said.items() if isinstance(word, str) and word}
        assert found.metadata == (words or None)

    def test_json_is_metadata_and_no_reference(self) -> None:
        for name in ("custom_id", "custom"):
            found = payment(told("payment.capture.completed", **{"invoice_id": ..., name: JSON_OF_THE_MERCHANT}))
            assert (found.reference, found.app, found.user_id, found.plan) == (None, "nexai", "17", "pro")
            assert found.metadata == {"app": "NexAI", "user_id": "17", "plan": "pro", "gift": "true"}

    def test_json_does_not_hide_the_reference(self) -> None:
        found = payment(told("payment.capture.completed", custom_id=JSON_OF_THE_MERCHANT))
        assert (found.reference, found.app) == ("5840243-146", "nexai")
        assert (found.metadata or {})["invoice_id"] == "5840243-146"

    @pytest.mark.parametrize("custom", ["{", "[]", "7", '{"app": {}}', '{"app": "two words"}', {"app": "nexai"}, None])
    def test_json_that_names_no_app(self, custom: object) -> None:
        found = payment(told("payment.capture.completed", invoice_id=..., custom_id=custom))
        assert found.app == ("nexai" if isinstance(custom, dict) else None)

    def test_a_subscription_is_paid_for_and_an_agreement_is_none(self) -> None:
        sample = "payment.sale.completed__from_subscription"
        assert payment(event_of(sample)).subscription_ref == "I-W0Y05RHBK9VG"
        others: tuple[object, ...] = ("B-8VL63212X5812442P", "", None, 7, {})
        for other in others:
            assert payment(told(sample, billing_agreement_id=other)).subscription_ref is None


class TestRefunds:
    def test_of_v2_with_the_total_of_its_capture(self) -> None:
        event = event_of("payment.capture.refunded")
        capture = (ObjectName("capture", "0JF852973C016714D"), ObjectName("transaction", "0JF852973C016714D"))
        assert (refund(event).payment, refund(event).amount_minor, refund(event).fee_minor) == (capture, 99, -2)
        assert payment(event) == PaymentFact(capture, refunded_minor=198, currency="USD")

    @pytest.mark.parametrize("amount", ["-0.15", "0.15", Decimal("-0.15"), Decimal("0.15")])
    def test_the_sign_says_nothing(self, amount: object) -> None:
        money = {"total": amount, "currency": "USD"}
        assert refund(told("payment.capture.refunded__v1", amount=money)).amount_minor == 15

    @pytest.mark.parametrize("amount", [None, "", "--1", "-", "1e3", "many", True, {}, "0.155"])
    def test_money_given_back_without_a_sensible_amount_is_refused_and_kept(self, amount: object) -> None:
        for sample in ("payment.capture.refunded", "payment.capture.reversed", "payment.sale.refunded"):
            event = told(sample, amount={"value": amount, "currency_code": "USD"})
            assert (event.facts, bool(event.refused_because)) == ((), True)
        pending = refund(told("payment.refund.pending", amount={"value": amount, "currency_code": "USD"}))
        assert (pending.amount_minor, pending.currency) == (None, "USD")

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("COMPLETED", RefundStatus.COMPLETED),
            ("completed", RefundStatus.COMPLETED),
            ("PENDING", RefundStatus.PENDING),
            ("CANCELLED", RefundStatus.CANCELLED),
            ("FAILED", RefundStatus.FAILED),
            ("WHOLLY_NEW", RefundStatus.COMPLETED),
            (None, RefundStatus.COMPLETED),
        ],
    )
    def test_status(self, said: object, status: RefundStatus) -> None:
        event = told("payment.capture.refunded", status=said)
        assert refund(event).status is status
        # A total that counts what has not come through would make the payment look refunded.
        assert len(event.facts) == (2 if status is RefundStatus.COMPLETED else 1)

    def test_status_by_its_name(self) -> None:
        assert refund(told("payment.refund.pending", status=...)).status is RefundStatus.PENDING
        assert refund(told("payment.refund.failed", status=...)).status is RefundStatus.FAILED

    def test_one_that_failed_says_why(self) -> None:
        assert refund(event_of("payment.refund.failed")).failure_code == "ECHECK"
        assert refund(event_of("payment.refund.pending")).failure_code is None

    def test_its_own_words(self) -> None:
        found = refund(event_of("payment.refund.pending"))
        assert (found.reason, found.reference) == ("Two months less", "2001")
        assert found.refunded_at == datetime(2026, 11, 22, 10, tzinfo=UTC)

    def test_made_when_the_event_says_where_it_does_not_say_itself(self) -> None:
        event = told("payment.capture.refunded", create_time="yesterday")
        assert refund(event).refunded_at == event.occurred_at

    @pytest.mark.parametrize(
        ("changes", "names"),
        [
            ({"sale_id": "S1", "links": ...}, ("sale", "S1")),
            ({"capture_id": "C1", "links": ...}, ("capture", "C1")),
            ({"supplementary_data": {"related_ids": {"capture_id": "C2"}}, "links": ...}, ("capture", "C2")),
            ({"links": [link("/v2/payments/captures/C3", "up")]}, ("capture", "C3")),
            ({"links": [link("/v1/payments/capture/C4", "capture")]}, ("capture", "C4")),
            ({"links": [link("/v1/payments/sale/S5", "sale")]}, ("sale", "S5")),
        ],
    )
    def test_the_payment_it_gives_back(self, changes: dict[str, object], names: tuple[str, str]) -> None:
        event = told("payment.capture.refunded", **changes)
        assert refund(event).payment == (ObjectName(*names), ObjectName("transaction", names[1]))
        assert event.needs == ()

    @pytest.mark.parametrize("links", [..., None, "x", [], [link("/v1/payments/payment/PAY-1", "parent_payment")]])
    def test_a_payment_that_is_not_named_is_asked_for(self, links: object) -> None:
        event = told("payment.capture.refunded", links=links)
        assert refund(event).payment == ()
        assert len(event.facts) == 1  # no payment whose total it could be
        assert [(need.topic, need.arguments["kind"], need.arguments["id"]) for need in event.needs] == [
            ("refetch", "refund", "1Y107995YT783435V")
        ]

    @pytest.mark.parametrize(
        "total", [None, "1.98", usd("many"), {"currency_code": "EUR", "value": "1.98"}, {"value": "1.98"}]
    )
    def test_a_total_that_is_none(self, total: object) -> None:
        breakdown = {"total_refunded_amount": total}
        assert len(told("payment.capture.refunded", seller_payable_breakdown=breakdown).facts) == 1

    def test_the_total_of_v1(self) -> None:
        event = told("payment.sale.refunded", total_refunded_amount={"value": "-0.03", "currency": "USD"})
        assert payment(event).refunded_minor == 3

    @pytest.mark.parametrize(
        ("changes", "fee_minor"),
        [
            ({"seller_payable_breakdown": {"paypal_fee": usd("0.00")}}, 0),
            ({"seller_payable_breakdown": {"paypal_fee": {"currency_code": "EUR", "value": "0.02"}}}, None),
            ({"seller_payable_breakdown": None}, None),
            (
                {"seller_payable_breakdown": ..., "refund_from_transaction_fee": {"value": "0.02", "currency": "USD"}},
                -2,
            ),
        ],
    )
    def test_the_fee_that_paypal_gave_back(self, changes: dict[str, object], fee_minor: int | None) -> None:
        assert refund(told("payment.capture.refunded", **changes)).fee_minor == fee_minor

    def test_a_reversal_is_money_taken_back(self) -> None:
        event = event_of("payment.capture.reversed")
        assert (refund(event).reason, refund(event).status, refund(event).amount_minor) == (
            "reversed",
            RefundStatus.COMPLETED,
            12000,
        )
        assert (refund(event).payment, payment(event).refunded_minor) == (CAPTURE_3, 12000)

    def test_a_reversed_sale_of_v1_is_known_by_its_link(self) -> None:
        """The id is that of the sale, or of the refund: two published samples disagree. The link is the refund's."""
        event = event_of("payment.sale.reversed")
        assert event.reference == "80021663DE681814L"
        assert refund(event).objects == (ObjectName("refund", "COMPOSED-REVERSAL-7"),)
        assert [(need.arguments["kind"], need.arguments["id"]) for need in event.needs] == [
            ("refund", "COMPOSED-REVERSAL-7")
        ]

    def test_a_refund_of_v2_may_have_two_names(self) -> None:
        names = refund(told("payment.capture.reversed", id="ANOTHER")).objects
        assert names == (ObjectName("refund", "ANOTHER"), ObjectName("refund", "COMPOSED-REVERSAL-3"))

    def test_what_is_no_refund_is_refused_and_kept(self) -> None:
        for path in ("/v1/payments/sale/1Y107995YT783435V", "/v2/payments/captures/1Y107995YT783435V"):
            event = told("payment.capture.refunded", links=[link(path)])
            assert (event.facts, event.refused_because) == ((), "the resource is no refund")


class TestOrders:
    def order(self, sample: str = "checkout.order.approved", **changes: object) -> Event:
        return told(sample, **changes)

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("CREATED", PaymentStatus.PENDING),
            ("SAVED", PaymentStatus.PENDING),
            ("PAYER_ACTION_REQUIRED", PaymentStatus.PENDING),
            ("APPROVED", PaymentStatus.PENDING),
            ("COMPLETED", PaymentStatus.PROCESSING),
            ("VOIDED", PaymentStatus.CANCELLED),
        ],
    )
    def test_is_never_money_itself(self, said: str, status: PaymentStatus) -> None:
        found = payment(self.order(status=said))
        assert (found.status, found.amount_minor, found.received_minor) == (status, 12000, None)
        assert found.status_reason == ("the order was voided" if said == "VOIDED" else None)

    def test_its_one_capture_is_its_money(self) -> None:
        found = payment(event_of("checkout.order.completed"))
        assert found.objects == (*CAPTURE_3, ObjectName("order", "COMPOSED-ORDER-3"))
        assert (found.status, found.received_minor, found.fee_minor) == (PaymentStatus.COMPLETED, 12000, 468)
        assert (found.customer_ref, found.email) == ("COMPOSEDPAYER", "jane.buyer@example.com")

    def test_several_captures_are_several_monies(self) -> None:
        first, second, order = (
            fact
            for fact in event_of("checkout.order.completed__of_two_captures").facts
            if isinstance(fact, PaymentFact)
        )
        assert [name.id for name in first.objects] == ["COMPOSED-CAPTURE-4A"] * 2
        assert (first.received_minor, second.received_minor, second.refunded_minor) == (2000, 1000, 400)
        assert order.objects == (
            ObjectName("authorization", "COMPOSED-AUTH-4"),
            ObjectName("order", "COMPOSED-ORDER-4"),
        )
        assert (order.status, order.received_minor) == (PaymentStatus.PROCESSING, None)

    def test_two_units_are_two_monies(self) -> None:
        capture = {"status": "COMPLETED", "amount": usd("5.00"), "final_capture": True}
        units = [
            {"amount": usd("5.00"), "invoice_id": each, "payments": {"captures": [{**capture, "id": f"C-{each}"}]}}
            for each in ("1", "2")
        ]
        event = self.order("checkout.order.completed", purchase_units=units)
        *captures, order = (fact for fact in event.facts if isinstance(fact, PaymentFact))
        assert [[name.id for name in each.objects] for each in captures] == [["C-1"] * 2, ["C-2"] * 2]
        assert (order.amount_minor, order.received_minor, order.reference) == (1000, None, None)

    def test_the_units_ask_for_one_sum_or_for_none(self) -> None:
        euros = {"currency_code": "EUR", "value": "5.00"}
        for second in (euros, None, usd("many"), "5.00"):
            units = [{"amount": usd("5.00")}, {"amount": second}]
            found = payment(self.order(purchase_units=units))
            assert (found.amount_minor, found.currency) == (None, None)

    def test_a_capture_without_a_sensible_amount_is_refused_and_kept(self) -> None:
        units = [{"payments": {"captures": [{"id": "C1", "status": "COMPLETED", "amount": usd("many")}]}}]
        event = self.order("checkout.order.completed", purchase_units=units)
        assert (event.facts, bool(event.refused_because)) == ((), True)

    def test_who_pays(self) -> None:
        customer = only(CustomerFact, event_of("checkout.order.approved"))
        assert customer.objects == (ObjectName("customer", "COMPOSEDPAYER"),)
        assert (customer.email, customer.name, customer.phone) == (
            "jane.buyer@example.com",
            "Jane Buyer",
            "4085551234",
        )
        assert (customer.app, customer.user_id) == ("nexai", "user-17")

    def test_who_pays_is_in_the_way_of_paying_where_there_is_no_payer(self) -> None:
        ways = {
            "venmo": {"account_id": "V1", "email_address": "v@example.com", "phone_number": {"national_number": "1"}}
        }
        event = self.order(payer=..., payment_source=ways)
        assert only(CustomerFact, event) == CustomerFact(
            (ObjectName("customer", "V1"),), email="v@example.com", phone="1", app="nexai", user_id="user-17"
        )
        assert (payment(event).method, payment(event).customer_ref) == ("venmo", "V1")

    @pytest.mark.parametrize("payer", [..., None, "x", [], {}, {"email_address": "x@example.com"}, {"payer_id": 7}])
    def test_nobody_known_pays(self, payer: object) -> None:
        event = self.order(payer=payer, payment_source=None)
        assert not any(isinstance(fact, CustomerFact) for fact in event.facts)
        assert payment(event).customer_ref is None
        assert payment(event).email == ("x@example.com" if payer == {"email_address": "x@example.com"} else None)

    def test_no_card_data_is_taken_from_a_card(self) -> None:
        card = {"name": "Jane Buyer", "last_digits": "4242", "brand": "VISA", "expiry": "2030-01"}
        event = self.order(payer=..., payment_source={"card": card})
        assert payment(event).method == "card"
        assert "4242" not in repr(event)

    def test_a_reversed_approval_cancels_the_order(self) -> None:
        found = payment(event_of("checkout.payment-approval.reversed"))
        assert (found.objects, found.status) == ((ObjectName("order", "COMPOSED-ORDER-5"),), PaymentStatus.CANCELLED)
        assert found.status_reason == "the payment's approval was reversed"

    @pytest.mark.parametrize(
        "units", [None, "x", [], [None, 7], [{}], [{"payments": 7}], [{"payments": {"captures": 7}}]]
    )
    def test_units_that_say_nothing(self, units: object) -> None:
        assert payment(self.order(purchase_units=units)).amount_minor is None

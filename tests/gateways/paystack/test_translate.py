"""Every handled event becomes the reviewed fact; what is odd about Paystack, case by case."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from gatehouse.errors import FactRefused, RequestRefused
from gatehouse.facts import CustomerFact, Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.paystack import HANDLED, read_event
from gatehouse.gateways.paystack.amounts import iso_minor
from tests.support.gateway_samples import as_json, expected
from tests.support.paystack_events import IGNORED, SAMPLES, event_of, kinds, the, told

EXPECTED = expected("paystack")

pytestmark = pytest.mark.req("G3", "G6")


def fact(event: Event) -> PaymentFact:
    """Return what an event says of its payment."""
    return the(PaymentFact, event)


class TestSamples:
    @pytest.mark.parametrize("sample", sorted(SAMPLES))
    def test_becomes_what_was_reviewed(self, sample: str) -> None:
        assert as_json(event_of(SAMPLES[sample].read_bytes())) == EXPECTED[sample]

    def test_each_handled_name_has_one(self) -> None:
        assert set(HANDLED) == {name.partition("__")[0] for name in SAMPLES}

    def test_each_is_named_after_its_event(self) -> None:
        assert {name: event_of(path.read_bytes()).type for name, path in (SAMPLES | IGNORED).items()} == {
            name: name.partition("__")[0] for name in SAMPLES | IGNORED
        }

    def test_each_has_an_expectation_and_none_is_left_over(self) -> None:
        assert set(EXPECTED) == set(SAMPLES)

    def test_all_are_different_events(self) -> None:
        paths = (SAMPLES | IGNORED).values()
        assert len({event_of(path.read_bytes()).event_id for path in paths}) == len(paths)


class TestReadEvent:
    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b'{"event": "charge.success"}',
            b'{"event": "charge.success", "data": null}',
            b'{"event": "charge.success", "data": "302961"}',
            b'{"data": {}}',
            b'{"event": "", "data": {}}',
            b'{"event": 1, "data": {}}',
            b'{"event": ["charge.success"], "data": {}}',
            b'{"event": "%s", "data": {}}' % (b"x" * 256),
        ],
    )
    def test_no_event(self, body: bytes) -> None:
        with pytest.raises(RequestRefused) as refused:
            read_event(body)
        assert (refused.value.code, refused.value.http_status) == ("NOT_AN_EVENT", 400)

    def test_data_may_be_a_list(self) -> None:
        event = event_of(IGNORED["subscription.expiring_cards"].read_bytes())
        assert event.ignored_because == "event type not handled: subscription.expiring_cards"


@pytest.mark.req("G8")
class TestIdentity:
    def test_of_a_charge_is_its_id_and_status(self) -> None:
        assert told("charge.success").event_id == "charge.success/302961/success"
        assert told("charge.success", log=None, id="302961").event_id == "charge.success/302961/success"
        assert told("charge.success", status="reversed").event_id == "charge.success/302961/reversed"

    def test_an_id_beyond_63_bits_stays_exact(self) -> None:
        event = told("charge.success", id=2**64 - 1)
        assert event.event_id == "charge.success/18446744073709551615/success"
        assert fact(event).objects[0] == ObjectName("transaction", "18446744073709551615")

    def test_of_a_dispute_is_its_id_and_status(self) -> None:
        assert told("charge.dispute.create").event_id == "charge.dispute.create/358950/awaiting-merchant-feedback"
        assert told("charge.dispute.create", updated_at="2020-11-25T18:00:02.000Z").event_id == (
            "charge.dispute.create/358950/awaiting-merchant-feedback"
        )

    @pytest.mark.parametrize("changes", [{"id": None}, {"status": ...}, {"status": 7}, {"id": {}}])
    def test_of_a_charge_without_them_is_its_body(self, changes: dict[str, object]) -> None:
        assert told("charge.success", **changes).event_id.startswith("sha256/")

    def test_of_any_other_is_its_body(self) -> None:
        body = SAMPLES["refund.pending"].read_bytes()
        assert event_of(body).event_id == f"sha256/{sha256(body).hexdigest()}"
        assert event_of(body + b"\n").event_id != event_of(body).event_id


class TestNames:
    def test_a_transaction_has_two(self) -> None:
        assert fact(told("charge.success", id=7, reference="r")).objects == (
            ObjectName("transaction", "7"),
            ObjectName("reference", "r"),
        )

    @pytest.mark.parametrize(
        ("changes", "left"),
        [({"id": None}, ("reference", "qTPrJoy9Bx")), ({"reference": ""}, ("transaction", "302961"))],
    )
    def test_one_is_enough(self, changes: dict[str, object], left: tuple[str, str]) -> None:
        assert fact(told("charge.success", **changes)).objects == (ObjectName(*left),)

    def test_without_any_it_is_refused_and_kept(self) -> None:
        event = told("charge.success", id=None, reference=None)
        assert (event.facts, event.refused_because) == ((), "the object has no id")

    def test_a_reservation_leads_to_the_transaction_that_captures_it(self) -> None:
        captured = set(fact(told("preauthorization.capture.success")).objects)
        charged = set(fact(told("charge.success", id=1504264401, reference="other")).objects)
        assert captured & charged == {ObjectName("transaction", "1504264401")}
        reserved = set(fact(told("preauthorization.reserve.success", id=3099)).objects)
        assert captured & reserved == {ObjectName("preauthorization", "3099")}

    def test_the_transaction_may_be_named_only_inside(self) -> None:
        assert fact(told("preauthorization.capture.success", transaction_id=None)).objects[1].id == "1504264401"


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("success", PaymentStatus.COMPLETED),
            ("failed", PaymentStatus.FAILED),
            ("reversed", PaymentStatus.REVERSED),
            ("abandoned", PaymentStatus.PROCESSING),
            ("ongoing", PaymentStatus.PROCESSING),
            ("wholly_new", PaymentStatus.PROCESSING),
        ],
    )
    def test_is_what_the_object_says_and_an_unknown_word_is_not_final(self, said: str, status: PaymentStatus) -> None:
        assert fact(told("charge.success", status=said)).status is status

    @pytest.mark.parametrize("unsaid", [..., None, "", 7, []])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("charge.success", PaymentStatus.COMPLETED),
            ("preauthorization.reserve.success", PaymentStatus.PROCESSING),
            ("preauthorization.capture.success", PaymentStatus.COMPLETED),
            ("preauthorization.capture.failed", PaymentStatus.FAILED),
            ("preauthorization.release.success", PaymentStatus.CANCELLED),
            ("preauthorization.release.failed", PaymentStatus.PROCESSING),
        ],
    )
    def test_of_one_that_says_none_is_what_the_name_says(
        self, sample: str, status: PaymentStatus, unsaid: object
    ) -> None:
        assert fact(told(sample, status=unsaid)).status is status

    def test_a_failure_says_why(self) -> None:
        failed = fact(told("charge.success", status="failed", gateway_response="Declined"))
        assert (failed.failure_message, failed.received_minor, failed.completed_at) == ("Declined", None, None)

    def test_a_reversal_says_why(self) -> None:
        assert fact(told("charge.success", status="reversed")).status_reason == "the transaction was reversed"

    def test_a_success_says_no_failure(self) -> None:
        assert fact(told("charge.success")).failure_message is None

    def test_a_failed_capture_says_why(self) -> None:
        failed = fact(told("preauthorization.capture.failed", message="Capture failed"))
        assert failed.failure_message == "Capture failed"


class TestAmounts:
    @pytest.mark.parametrize(
        ("currency", "paystacks", "ours"),
        [
            ("NGN", 10000, 10000),
            ("ghs", 10000, 10000),
            ("KES", "5000", 5000),
            ("XOF", 50000, 500),  # written with two decimals that it does not have
            ("RWF", 50000, 500),
        ],
    )
    def test_in_the_currencys_own_minor_units(self, currency: str, paystacks: object, ours: int) -> None:
        assert iso_minor(paystacks, currency) == ours
        said = fact(told("charge.success", amount=paystacks, currency=currency))
        assert (said.amount_minor, said.received_minor, said.currency) == (ours, ours, currency.upper())

    def test_a_part_of_a_franc_is_refused(self) -> None:
        with pytest.raises(FactRefused, match="50050 is not a whole number of XOF"):
            iso_minor(50050, "XOF")

    def test_a_currency_of_three_decimals_is_not_guessed(self) -> None:
        with pytest.raises(FactRefused, match="does not say how it counts KWD"):
            iso_minor(1000, "KWD")

    @pytest.mark.parametrize(
        "amount", [..., None, -1, 100.5, "100.50", "-1", "", "1_000", "\u0661", True, [], 2**63, "9" * 5000, 10**400]
    )
    def test_money_without_a_sensible_amount_is_refused_and_kept(self, amount: object) -> None:
        event = told("charge.success", amount=amount)
        assert (event.facts, event.needs) == ((), ())
        assert event.refused_because == "the amount is missing or not a whole number of minor units"
        assert event.reference == "qTPrJoy9Bx"

    @pytest.mark.parametrize("captured", [None, "", "10.00", {}])
    def test_nor_may_a_capture_be_in_doubt(self, captured: object) -> None:
        event = told("preauthorization.capture.success", captured_amount=captured)
        assert event.refused_because == "the amount is missing or not a whole number of minor units"

    @pytest.mark.parametrize("currency", [..., None, 7, "", "XXX", ["NGN"]])
    def test_money_without_a_known_currency_is_refused_and_kept(self, currency: object) -> None:
        assert told("charge.success", currency=currency).refused_because == "the currency is missing or unknown"

    @pytest.mark.parametrize("nonsense", [{"amount": "x"}, {"currency": "XXX"}, {"amount": -5}])
    def test_no_money_came_in_and_nonsense_says_nothing(self, nonsense: dict[str, object]) -> None:
        said = fact(told("preauthorization.reserve.success", **nonsense))
        assert (said.amount_minor, said.status) == (None, PaymentStatus.PROCESSING)

    def test_the_customer_may_pay_the_fee_on_top(self) -> None:
        said = fact(told("charge.success__customer_pays_the_fee"))
        assert (said.amount_minor, said.received_minor, said.fee_minor) == (30050, 40333, 10283)

    @pytest.mark.req("G17")
    @pytest.mark.parametrize(
        ("fees", "fee"),
        [(750, (750, "NGN")), ("750", (750, "NGN")), (0, (0, "NGN")), (None, (None,) * 2), (-1, (None,) * 2)],
    )
    def test_a_fee_that_is_not_said_is_not_known(self, fees: object, fee: tuple[int | None, str | None]) -> None:
        said = fact(told("charge.success", fees=fees))
        assert (said.fee_minor, said.fee_currency) == fee

    def test_the_fee_of_a_capture_is_the_transactions(self) -> None:
        assert fact(told("preauthorization.capture.success", fees=100)).fee_minor == 26
        assert fact(told("preauthorization.reserve.success", fees=100)).fee_minor is None


class TestTimes:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({}, "2016-09-30T21:10:19"),
            ({"paid_at": None, "paidAt": "2016-09-30T21:10:20.000Z"}, "2016-09-30T21:10:20"),
            ({"paid_at": "2016-09-30 21:10:19"}, "2016-09-30T21:09:56"),  # without a zone it says nothing
            ({"paid_at": None}, "2016-09-30T21:09:56"),
        ],
    )
    def test_of_a_charge(self, changes: dict[str, object], expected: str) -> None:
        event = told("charge.success", **changes)
        assert event.occurred_at == datetime.fromisoformat(expected).replace(tzinfo=UTC)
        assert fact(event).completed_at == event.occurred_at

    def test_none(self) -> None:
        event = told("charge.success", paid_at=None, created_at=None)
        assert (event.occurred_at, fact(event).completed_at) == (None, None)
        assert told("refund.processed").occurred_at is None

    @pytest.mark.parametrize("sample", ["subscription.not_renew", "subscription.disable"])
    def test_when_an_object_was_made_is_not_when_it_changed(self, sample: str) -> None:
        assert told(sample).occurred_at is None

    @pytest.mark.parametrize(
        ("sample", "expected"),
        [
            ("subscription.create", datetime(2016, 10, 1, 10, 59, 59, tzinfo=UTC)),
            ("paymentrequest.pending", datetime(2019, 6, 21, 15, 25, 42, tzinfo=UTC)),
            ("charge.dispute.create", datetime(2020, 11, 24, 18, 0, 2, tzinfo=UTC)),
            ("transfer.success", datetime(2025, 8, 4, 10, 32, 40, tzinfo=UTC)),
            ("invoice.payment_failed", datetime(2019, 3, 25, 14, 0, 3, tzinfo=UTC)),  # no earlier than its invoice
            ("invoice.update", datetime(2016, 4, 19, 6, 0, 9, tzinfo=UTC)),
        ],
    )
    def test_of_others(self, sample: str, expected: datetime) -> None:
        assert told(sample).occurred_at == expected


class TestMerchantsOwn:
    def test_metadata_as_json_in_a_text(self) -> None:
        assert fact(told("charge.success", metadata='{"app":"nexai","user_id":42}')).metadata == {
            "app": "nexai",
            "user_id": "42",
        }

    @pytest.mark.parametrize("nothing", [0, "", None, {}, [], "null", "{", ...])
    def test_metadata_that_says_nothing(self, nothing: object) -> None:
        assert fact(told("charge.success", metadata=nothing)).metadata is None

    @pytest.mark.parametrize("absent", [{}, None, "CUS_1", [], {"customer_code": 7}, ...])
    def test_a_customer_that_is_not_said(self, absent: object) -> None:
        assert fact(told("charge.success", customer=absent)).customer_ref is None

    @pytest.mark.req("R1")
    def test_app_and_user_are_the_payments_or_else_the_customers(self) -> None:
        customer = {
            "customer_code": "CUS_1",
            "metadata": {"app": "elevenone", "user_id": 77, "plan": "of the customer"},
        }
        said = fact(told("charge.success", customer=customer, metadata={"app": "NexAI", "plan": "pro"}))
        assert (said.app, said.user_id, said.plan) == ("nexai", "77", "pro")
        said = fact(told("charge.success", customer=customer))
        assert (said.app, said.user_id, said.plan) == ("elevenone", "77", None)

    @pytest.mark.parametrize(
        ("changes", "plan"),
        [
            ({"plan": {"plan_code": "PLN_1"}}, "PLN_1"),
            ({"plan": "PLN_1"}, "PLN_1"),
            ({"plan": None, "plan_object": {"plan_code": "PLN_1"}}, "PLN_1"),
            ({"plan": {"plan_code": "PLN_1"}, "metadata": {"plan": "pro"}}, "pro"),
            ({"plan": {}}, None),
            ({"plan": None}, None),
            ({"plan": 7}, None),
            ({"plan": []}, None),
            ({"plan": {"plan_code": 7}, "plan_object": "PLN_1"}, None),
        ],
    )
    def test_the_plan_that_a_payment_is_for(self, changes: dict[str, object], plan: str | None) -> None:
        assert fact(told("charge.success", **changes)).plan == plan

    @pytest.mark.req("G12")
    def test_neither_reusable_authorisations_nor_account_numbers_are_kept(self) -> None:
        for path in SAMPLES.values():
            kept = json.dumps(as_json(event_of(path.read_bytes())))
            assert not [secret for secret in SECRETS if secret in kept], path.stem


# What the samples have of it: authorisations, signatures of cards, tokens of subscriptions, account numbers.
SECRETS = (
    *("AUTH_", "SIG_"),
    *("3a1h7bcu8zxhm8k", "ctt824k16n34u69", "086x99rmqc4qhcw"),
    *("0123456789", "9876543210", "1234567890"),
)


class TestCustomers:
    def test_are_told_with_what_they_pay(self) -> None:
        event = told("charge.success")
        assert kinds(event) == ["payment", "customer"]
        assert the(CustomerFact, event) == CustomerFact(
            objects=(ObjectName("customer", "CUS_qo38as2hpsgk2r0"),),
            email="customer@example.com",
            name="BoJack Horseman",
        )
        assert fact(event).customer_ref == the(CustomerFact, event).objects[0].id
        assert fact(event).email == "customer@example.com"

    @pytest.mark.parametrize(
        ("said", "name"),
        [
            ({"first_name": "Ann"}, "Ann"),
            ({"last_name": "Abell"}, "Abell"),
            ({"first_name": " Ann ", "last_name": " "}, "Ann"),
            ({"first_name": "", "last_name": None}, None),
            ({"first_name": 7, "last_name": ["Abell"]}, None),
        ],
    )
    def test_name(self, said: dict[str, object], name: str | None) -> None:
        event = told("charge.success", customer={"customer_code": "CUS_1", "email": "a@example.com", **said})
        assert the(CustomerFact, event).name == name

    def test_phone_may_stand_in_its_international_form_only(self) -> None:
        customer = {"customer_code": "CUS_1", "phone": None, "international_format_phone": "+2348100000000"}
        assert the(CustomerFact, told("charge.success", customer=customer)).phone == "+2348100000000"

    @pytest.mark.parametrize(
        "nobody",
        [
            {},
            None,
            "CUS_1",
            {"email": "a@example.com"},
            {"customer_code": "CUS_1"},
            {"customer_code": "CUS_1", "metadata": 0},
        ],
    )
    def test_of_whom_nothing_is_said(self, nobody: object) -> None:
        assert kinds(told("charge.success", customer=nobody)) == ["payment"]

    @pytest.mark.parametrize("sample", ["dedicatedaccount.assign.success", "dedicatedaccount.assign.failed"])
    def test_may_come_before_their_first_payment(self, sample: str) -> None:
        event = told(sample)
        assert kinds(event) == ["customer"]
        assert event.reference == the(CustomerFact, event).objects[0].id
        nobody = told(sample, customer=None)
        assert (nobody.facts, nobody.refused_because) == ((), None)
        assert nobody.ignored_because == f"it names nothing that is kept: {sample}"


@pytest.mark.req("G17")
class TestFeeThatIsOpen:
    def test_is_asked_for_once_for_all_events_of_a_payment(self) -> None:
        (need,) = told("charge.success").needs
        assert (need.topic, need.key) == ("fetch_fee", "paystack/default/transaction/302961")
        assert need.arguments == {"gateway": "paystack", "account": "default", "kind": "transaction", "id": "302961"}
        assert told("charge.success", log=None).needs == (need,)

    def test_by_the_reference_where_there_is_no_id(self) -> None:
        (need,) = told("charge.success", id=None).needs
        assert (need.arguments["kind"], need.arguments["id"]) == ("reference", "qTPrJoy9Bx")

    @pytest.mark.parametrize("changes", [{"fees": 0}, {"fees": "750"}, {"status": "failed"}, {"amount": None}])
    def test_is_not_asked_for_without_need(self, changes: dict[str, object]) -> None:
        assert told("charge.success", **changes).needs == ()

    def test_of_a_capture_that_names_no_transaction_nobody_can_tell(self) -> None:
        captured = told("preauthorization.capture.success", transaction_id=None, transaction=None, reference=None)
        assert (fact(captured).status, captured.needs) == (PaymentStatus.COMPLETED, ())


@pytest.mark.req("G15")
class TestMode:
    @pytest.mark.parametrize(
        ("domain", "livemode"), [("live", True), ("test", False), (None, None), ("LIVE", None), ([], None)]
    )
    def test_is_the_domain(self, domain: object, livemode: bool | None) -> None:
        assert told("charge.success", domain=domain).livemode is livemode

    def test_may_stand_with_the_customer_only(self) -> None:
        assert told("bank.transfer.rejected").livemode is False
        assert told("bank.transfer.rejected__kes").livemode is True


class TestIgnored:
    @pytest.mark.parametrize("sample", sorted(IGNORED))
    def test_is_kept_with_the_reason(self, sample: str) -> None:
        event = event_of(IGNORED[sample].read_bytes())
        assert (event.facts, event.needs, event.refused_because) == ((), (), None)
        assert event.ignored_because is not None
        assert event.ignored_because.endswith(f": {event.type}")

    @pytest.mark.parametrize(
        ("event_type", "reason"),
        [
            ("refund.wholly_new", "event type not handled: refund.wholly_new"),
            ("charge.failed", "event type not handled: charge.failed"),  # in no document of Paystack's
            ("terminal.activated", "event type not handled: terminal.activated"),
            ("preauthorization.wholly_new", "event type not handled: preauthorization.wholly_new"),
        ],
    )
    def test_by_name(self, event_type: str, reason: str) -> None:
        payload = json.loads(SAMPLES["charge.success"].read_bytes()) | {"event": event_type}
        assert event_of(json.dumps(payload).encode()).ignored_because == reason

    @pytest.mark.parametrize(
        ("sample", "reference"),
        [
            ("refund.processed", "T2154954_412829_3be32076_6lcg3"),
            ("charge.dispute.create", "v3mjfgbnc19v97x"),
            ("invoice.payment_failed", "INV_3kfmqw48ca7b48k"),
            ("subscription.create", "SUB_vsyqdmlzble3uii"),
            ("transfer.failed", "1976435206"),
        ],
    )
    def test_can_be_searched_by(self, sample: str, reference: str) -> None:
        assert told(sample).reference == reference

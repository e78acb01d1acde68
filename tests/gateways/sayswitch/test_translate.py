"""Every handled event becomes the reviewed fact, and never more than a hint; what is odd about SaySwitch."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from gatehouse.facts import (
    LADDER,
    CustomerFact,
    Event,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.gateways.sayswitch import ASKABLE, HANDLED, read_event, translate
from tests.support.gateway_samples import as_json, expected, ignored_samples, samples

SAMPLES = samples("sayswitch")
PAYMENTS = [name for name in SAMPLES if name.startswith(("payment.", "transaction."))]
REFUNDS = [name for name in SAMPLES if name.startswith("refund.")]
PAYOUTS = [name for name in SAMPLES if name.startswith(("payout.", "transfer."))]
IGNORED = ignored_samples("sayswitch")
EXPECTED = expected("sayswitch")

pytestmark = pytest.mark.req("G4")


def event_of(body: bytes) -> Event:
    return translate(read_event(body), "default")


def enveloped(**payload: object) -> Event:
    return event_of(json.dumps(payload).encode())


def told(sample: str, **changes: object) -> Event:
    """Translate a sample whose data has been changed; a field set to ... is dropped."""
    payload = json.loads((SAMPLES | IGNORED)[sample].read_bytes())
    data = payload["data"] | changes
    payload["data"] = {key: value for key, value in data.items() if value is not ...}
    return enveloped(**payload)


def fact(event: Event) -> PaymentFact:
    (only,) = [each for each in event.facts if isinstance(each, PaymentFact)]
    return only


def refund(event: Event) -> RefundFact:
    (only,) = event.facts
    assert isinstance(only, RefundFact)
    return only


def payout(event: Event) -> PayoutFact:
    (only,) = event.facts
    assert isinstance(only, PayoutFact)
    return only


def customer(event: Event) -> CustomerFact:
    (only,) = [each for each in event.facts if isinstance(each, CustomerFact)]
    return only


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


SAID = pytest.mark.parametrize("said", ["success", "failed", "reversed", "completed", "wholly_new", None, ...])


class TestHint:
    @pytest.mark.parametrize("sample", PAYMENTS)
    @SAID
    def test_no_event_completes_or_fails_a_payment(self, sample: str, said: object) -> None:
        hint = fact(told(sample, status=said))
        assert hint.status is not None
        assert LADDER.index(hint.status) <= LADDER.index(PaymentStatus.PROCESSING)
        assert (hint.received_minor, hint.completed_at) == (None, None)

    @pytest.mark.parametrize("sample", REFUNDS)
    @SAID
    def test_no_event_ends_a_refund(self, sample: str, said: object) -> None:
        assert refund(told(sample, status=said)).status is RefundStatus.PENDING

    @pytest.mark.req("G16")
    @pytest.mark.parametrize("sample", PAYOUTS)
    @SAID
    def test_no_event_settles_or_fails_a_payout(self, sample: str, said: object) -> None:
        hint = payout(told(sample, status=said))
        assert (hint.kind, hint.status, hint.settled_at) == ("payout", PayoutStatus.PENDING, None)

    def test_a_failure_that_is_not_proved_says_why(self) -> None:
        assert fact(told("payment.failed")).failure_message == "Insufficient funds"
        assert fact(told("transaction.failed")).failure_message == "Declined"
        assert fact(told("transaction.successful", message="Approved")).failure_message is None
        assert refund(told("refund.failed")).failure_message == "The bank refused the refund"
        assert refund(told("refund.successful", message="Approved")).failure_message is None
        assert payout(told("payout.reversed")).failure_message == "Beneficiary bank not available"
        assert payout(told("payout.failed", gateway_response="No such account")).failure_message == "No such account"
        assert payout(told("payout.successful", message="Approved")).failure_message is None

    def test_the_api_is_asked_about_whatever_an_event_names(self) -> None:
        for name, path in SAMPLES.items():
            [need] = event_of(path.read_bytes()).needs
            assert need.topic == "refetch", name
            assert need.arguments["kind"] in ASKABLE

    @pytest.mark.parametrize(
        ("sample", "kind", "says"),
        [
            ("payment.success", "reference", "paid"),
            ("payment.failed", "reference", "failed"),
            ("transaction.pending", "reference", "pending"),
            ("refund.processed", "refund", "paid"),
            ("payout.reversed", "payout", "failed"),
        ],
    )
    def test_the_question_says_what_the_event_hints_at(self, sample: str, kind: str, says: str) -> None:
        [need] = event_of(SAMPLES[sample].read_bytes()).needs
        assert (need.arguments["kind"], need.arguments["event_says"]) == (kind, says)


class TestEnvelope:
    def test_by_type(self) -> None:
        event = enveloped(type="payment.success", data={"reference": "r"})
        assert (event.type, fact(event).objects) == ("payment.success", (ObjectName("reference", "r"),))

    def test_by_what_it_notifies_of(self) -> None:
        event = enveloped(notify="transaction", notifyType="successful", data={"reference": "r"})
        assert (event.type, fact(event).status) == ("transaction.successful", PaymentStatus.PROCESSING)

    def test_by_both(self) -> None:
        both = {"type": "payment.success", "notify": "payout", "notifyType": "failed"}
        assert payout(enveloped(**both, data={"reference": "r"})).objects == (ObjectName("payout", "r"),)

    @pytest.mark.parametrize(
        "unknown", [{"notify": "transaction"}, {"notify": "transaction", "notifyType": ["successful"]}]
    )
    def test_half_of_one(self, unknown: dict[str, object]) -> None:
        assert enveloped(**unknown, data={"reference": "r"}).ignored_because == "event type not handled: transaction"

    @pytest.mark.parametrize("payload", [{}, {"test": "data"}, {"type": None, "data": {}}, {"type": 7}, {"notify": {}}])
    def test_of_another_shape_is_kept(self, payload: dict[str, object]) -> None:
        event = enveloped(**payload)
        assert (event.type, event.ignored_because) == ("unnamed", "the event has no name: no type, and no notify")

    @pytest.mark.parametrize("data", [..., None, [], "r", {}, {"reference": None, "id": ""}])
    @pytest.mark.parametrize("event_type", ["payment.success", "refund.processed", "payout.failed"])
    def test_an_object_without_a_name_is_refused_and_kept(self, event_type: str, data: object) -> None:
        event = enveloped(type=event_type, **({} if data is ... else {"data": data}))
        assert (event.facts, event.refused_because) == ((), "the object has no id")


@pytest.mark.req("G8")
class TestIdentity:
    def test_is_name_reference_and_status(self) -> None:
        assert told("payment.success").event_id == "payment.success/SSW_17482573443162479/success"
        assert told("payment.success", message="again").event_id == "payment.success/SSW_17482573443162479/success"
        assert told("payment.success__minimal").event_id == "payment.success/SSW_17482573443162479/-"

    def test_of_a_refund_is_its_own_reference_and_not_the_payments(self) -> None:
        assert told("refund.successful").event_id == "refund.successful/BR1904MY6VHZOSSSP338/pending"

    def test_of_one_without_a_reference_is_its_id(self) -> None:
        assert told("payment.success", reference=None).event_id == "payment.success/1340001/success"

    @pytest.mark.parametrize("body", [b'{"type":"payment.success","data":{}}', b'{"data":{"reference":"r"}}', b"{}"])
    def test_of_one_without_a_name_is_its_body(self, body: bytes) -> None:
        assert event_of(body).event_id == f"sha256/{sha256(body).hexdigest()}"


class TestAmounts:
    @pytest.mark.parametrize(
        ("amounts", "minor"),
        [
            ({"amount": "10.12", "requested_amount": "10"}, 1000),
            ({"amount": "10.12", "requested_amount": None}, 1012),
            ({"amount": "10.12", "requested_amount": ...}, 1012),
            ({"amount": 10, "requested_amount": ...}, 1000),
            ({"amount": 10.5, "requested_amount": ...}, 1050),
            ({"amount": "10,12", "requested_amount": ...}, None),
            ({"amount": "-10", "requested_amount": ...}, None),
            ({"amount": "10.123", "requested_amount": ...}, None),
            ({"amount": {}, "requested_amount": ...}, None),
            ({"currency": "XXX"}, None),
            ({"currency": ...}, None),
        ],
    )
    def test_are_major_units(self, amounts: dict[str, object], minor: int | None) -> None:
        assert fact(told("payment.success", **amounts)).amount_minor == minor

    @pytest.mark.parametrize(("fees", "fee"), [("0.12", (12, "NGN")), ("0.19836", (None, None)), (None, (None, None))])
    def test_a_fee_finer_than_the_currency_is_not_known(self, fees: object, fee: tuple[object, object]) -> None:
        said = fact(told("payment.success", fees=fees))
        assert (said.fee_minor, said.fee_currency) == fee


class TestTimes:
    @pytest.mark.parametrize(
        ("changes", "expected_time"),
        [
            ({}, datetime(2022, 8, 8, 12, 59, 23, tzinfo=UTC)),  # paid_at has no zone
            ({"paid_at": "01/01/2025 15:03:44"}, datetime(2022, 8, 8, 12, 59, 23, tzinfo=UTC)),
            ({"paid_at": "2022-08-08T12:59:20.000000Z"}, datetime(2022, 8, 8, 12, 59, 20, tzinfo=UTC)),
            ({"updated_at": None}, datetime(2022, 8, 8, 12, 58, 9, tzinfo=UTC)),
            ({"updated_at": None, "created_at": "2025-04-04T02:20:48.0000000"}, None),
        ],
    )
    def test_only_those_with_a_zone(self, changes: dict[str, object], expected_time: datetime | None) -> None:
        assert told("transaction.successful", **changes).occurred_at == expected_time


@pytest.mark.req("G15")
@pytest.mark.parametrize(
    ("domain", "livemode"), [("live", True), ("test", False), (None, None), (..., None), ({}, None)]
)
def test_mode_is_the_domain(domain: object, livemode: bool | None) -> None:
    assert told("payment.success", domain=domain).livemode is livemode


class TestMetadata:
    @pytest.mark.parametrize(("said", "kept"), [("{}", None), ("MID: 1", None), ('{"app":"nexai"}', {"app": "nexai"})])
    def test_is_json_in_a_text(self, said: str, kept: object) -> None:
        assert fact(told("payment.success", metadata=said)).metadata == kept

    @pytest.mark.req("R1")
    def test_says_the_app_its_user_and_the_plan(self) -> None:
        said = fact(told("payment.success", metadata='{"app":" NexAI ","user_id":7,"plan":"gold"}', plan="PLN_1"))
        assert (said.app, said.user_id, said.plan) == ("nexai", "7", "gold")

    @pytest.mark.parametrize(("plan", "kept"), [("PLN_1", "PLN_1"), (7, "7"), (None, None), ({}, None)])
    def test_without_a_plan_leaves_the_gateways(self, plan: object, kept: str | None) -> None:
        assert fact(told("payment.success", plan=plan)).plan == kept


class TestCustomer:
    def test_is_who_the_code_names(self) -> None:
        said = customer(told("transaction.successful"))
        assert said.objects == (ObjectName("customer", "CUS_example00000"),)
        assert (said.email, said.name, said.phone) == ("customer@example.com", "Example Customer", "08000000000")
        payment = fact(told("transaction.successful"))
        assert (payment.customer_ref, payment.email) == ("CUS_example00000", "customer@example.com")

    def test_stands_in_the_data_or_beside_it(self) -> None:
        person = {"customer_code": "CUS_1", "email": "a@example.com"}
        beside = enveloped(type="payment.success", data={"reference": "r"}, customer=person)
        assert customer(beside).objects == (ObjectName("customer", "CUS_1"),)
        assert fact(beside).customer_ref == "CUS_1"

    @pytest.mark.parametrize(
        ("names", "name"),
        [
            (("Ada", "Obi"), "Ada Obi"),
            (("Ada", None), "Ada"),
            (("", " Obi "), "Obi"),
            ((7, []), None),
            (("", ""), None),
        ],
    )
    def test_has_the_names_that_are_texts(self, names: tuple[object, object], name: str | None) -> None:
        person = {"customer_code": "CUS_1", "email": "a@example.com", "first_name": names[0], "last_name": names[1]}
        assert customer(told("payment.success", customer=person)).name == name

    @pytest.mark.parametrize(
        "person",
        [None, [], {}, {"email": "a@example.com"}, {"customer_code": "CUS_1"}, {"customer_code": 7, "email": "a@b.c"}],
    )
    def test_of_whom_only_half_is_said_is_no_fact(self, person: object) -> None:
        assert [type(each) for each in told("payment.success", customer=person).facts] == [PaymentFact]

    @pytest.mark.req("R7")
    def test_is_the_apps_user_by_its_own_metadata_before_the_payments(self) -> None:
        person = {"customer_code": "CUS_1", "email": "a@example.com", "metadata": '{"user_id":"7","tier":"b"}'}
        said = customer(told("payment.success", customer=person))
        assert (said.app, said.user_id, said.metadata) == ("nexai", "7", {"user_id": "7", "tier": "b"})


@pytest.mark.req("P6")
class TestRefund:
    def test_names_itself_and_its_payment(self) -> None:
        said = refund(told("refund.successful"))
        assert said.objects == (ObjectName("refund", "BR1904MY6VHZOSSSP338"), ObjectName("refund_id", "41169"))
        assert said.payment == (ObjectName("reference", "Zotapay_6775575344"),)
        assert (said.amount_minor, said.currency) == (50000, "GHS")
        assert said.reason == "refund for transaction Zotapay_6775575344"

    def test_as_the_api_writes_it(self) -> None:
        said = refund(told("refund.processed"))
        assert said.objects == (ObjectName("refund", "RF_qquhr0w88zxo7n7"), ObjectName("refund_id", "12"))
        assert said.payment == (ObjectName("transaction", "2527"),)
        assert said.refunded_at == datetime(2025, 5, 26, 22, 25, 25, tzinfo=UTC)

    def test_that_calls_its_own_reference_the_reference_is_not_its_own_payment(self) -> None:
        said = refund(enveloped(type="refund.processed", data={"refund_id": 12, "reference": "RF_1"}))
        assert said.objects == (ObjectName("refund", "RF_1"), ObjectName("refund_id", "12"))
        assert said.payment == ()

    def test_that_only_names_its_payment_is_refused_and_kept(self) -> None:
        event = enveloped(type="refund.processed", data={"reference": "SSW_1"})
        assert (event.facts, event.refused_because, event.reference) == ((), "the object has no id", "SSW_1")

    def test_a_time_without_a_zone_says_nothing(self) -> None:
        assert refund(told("refund.successful")).refunded_at is None
        assert told("refund.successful").occurred_at is None


@pytest.mark.req("G16")
class TestPayout:
    def test_is_named_by_its_reference_and_its_number(self) -> None:
        said = payout(told("payout.successful"))
        assert [*said.objects] == [
            ObjectName("payout", "a02f886f-ea04-4eba-a286-79e7d8012306"),
            ObjectName("payout_id", "95596"),
        ]
        assert (said.amount_minor, said.fee_minor, said.currency) == (1000, 100, "GHS")

    @pytest.mark.req("G12")
    @pytest.mark.parametrize("sample", PAYOUTS)
    def test_no_account_of_anybody_is_kept(self, sample: str) -> None:
        said = repr(told(sample, account_number="233200000000", account_name="EXAMPLE BENEFICIARY"))
        assert "233200000000" not in said
        assert "EXAMPLE BENEFICIARY" not in said

    def test_of_a_batch_says_which(self) -> None:
        assert payout(told("payout.reversed")).batch_ref == "4d18123078162"


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        ("unnamed", "the event has no name: no type, and no notify"),
        ("settlement.successful", "event type not handled: settlement.successful"),
    ],
)
def test_all_others_are_kept_with_the_reason(sample: str, reason: str) -> None:
    event = event_of(IGNORED[sample].read_bytes())
    assert (event.facts, event.needs, event.refused_because, event.ignored_because) == ((), (), None, reason)


def test_each_sample_that_stays_ignored_was_tried() -> None:
    assert set(IGNORED) == {"unnamed", "settlement.successful"}

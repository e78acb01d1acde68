"""Every handled event becomes the reviewed fact, and never more than a hint; what is odd about SaySwitch."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from gatehouse.facts import LADDER, Event, ObjectName, PaymentFact, PaymentStatus
from gatehouse.gateways.sayswitch import HANDLED, read_event, translate
from tests.support.gateway_samples import as_json, expected, ignored_samples, samples

SAMPLES = samples("sayswitch")
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
    (only,) = event.facts
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


class TestHint:
    @pytest.mark.parametrize("sample", sorted(SAMPLES))
    @pytest.mark.parametrize("said", ["success", "failed", "reversed", "completed", "wholly_new", None, ...])
    def test_no_event_completes_or_fails_a_payment(self, sample: str, said: object) -> None:
        hint = fact(told(sample, status=said))
        assert hint.status is not None
        assert LADDER.index(hint.status) <= LADDER.index(PaymentStatus.PROCESSING)
        assert (hint.received_minor, hint.completed_at) == (None, None)

    def test_a_failure_that_is_not_proved_says_why(self) -> None:
        assert fact(told("payment.failed")).failure_message == "Insufficient funds"
        assert fact(told("transaction.failed")).failure_message == "Declined"
        assert fact(told("transaction.successful", message="Approved")).failure_message is None


class TestEnvelope:
    def test_by_type(self) -> None:
        event = enveloped(type="payment.success", data={"reference": "r"})
        assert (event.type, fact(event).objects) == ("payment.success", (ObjectName("reference", "r"),))

    def test_by_what_it_notifies_of(self) -> None:
        event = enveloped(notify="transaction", notifyType="successful", data={"reference": "r"})
        assert (event.type, fact(event).status) == ("transaction.successful", PaymentStatus.PROCESSING)

    def test_by_both(self) -> None:
        both = {"type": "payment.success", "notify": "payout", "notifyType": "failed"}
        assert enveloped(**both, data={"reference": "r"}).ignored_because == "not a payment event: payout.failed"

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
    def test_a_payment_without_a_name_is_refused_and_kept(self, data: object) -> None:
        event = enveloped(type="payment.success", **({} if data is ... else {"data": data}))
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


@pytest.mark.parametrize(("said", "kept"), [("{}", None), ("MID: 1", None), ('{"app":"nexai"}', {"app": "nexai"})])
def test_metadata_is_json_in_a_text(said: str, kept: object) -> None:
    assert fact(told("payment.success", metadata=said)).metadata == kept


@pytest.mark.parametrize("sample", sorted(IGNORED))
def test_all_others_are_kept_with_the_reason(sample: str) -> None:
    event = event_of(IGNORED[sample].read_bytes())
    assert (event.facts, event.needs, event.refused_because) == ((), (), None)
    assert event.ignored_because == f"not a payment event: {sample}"

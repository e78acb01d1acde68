"""Every handled event becomes the reviewed fact, and never more than a hint; what is odd about MX Merchant."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from gatehouse.errors import RequestRefused
from gatehouse.facts import (
    LADDER,
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Event,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
)
from gatehouse.gateways.mx_merchant import ASKABLE, HANDLED, read_event, translate
from gatehouse.gateways.mx_merchant.translate import date_in_utc
from tests.support.gateway_samples import as_json, expected, ignored_samples, samples

SAMPLES = samples("mx_merchant")
IGNORED = ignored_samples("mx_merchant")
PAYMENTS = ["PaymentSuccess", "PaymentSuccess__2026", "PaymentSuccess__custom_fields", "PaymentFail"]
REFUNDS = ["RefundCreated", "RefundCreated__2026", "PaymentSuccess__of_a_return", "PaymentFail__of_a_return"]
EXPECTED = expected("mx_merchant")

pytestmark = pytest.mark.req("G5", "G7")


def event_of(body: bytes) -> Event:
    return translate(read_event(body), "default")


def told(sample: str, **changes: object) -> Event:
    """Translate a sample that has been changed; a field set to ... is dropped."""
    payload = json.loads((SAMPLES | IGNORED)[sample].read_bytes()) | changes
    return event_of(json.dumps({key: value for key, value in payload.items() if value is not ...}).encode())


def fact(event: Event) -> PaymentFact:
    (only,) = [each for each in event.facts if isinstance(each, PaymentFact)]
    return only


def refund(event: Event) -> RefundFact:
    (only,) = [each for each in event.facts if isinstance(each, RefundFact)]
    return only


def dispute(event: Event) -> DisputeFact:
    (only,) = [each for each in event.facts if isinstance(each, DisputeFact)]
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


class TestReadEvent:
    @pytest.mark.parametrize("event_type", [..., None, "", 11, [], "x" * 256])
    def test_without_a_type_is_no_event(self, event_type: object) -> None:
        with pytest.raises(RequestRefused) as refused:
            told("PaymentSuccess", eventType=event_type)
        assert (refused.value.code, refused.value.http_status) == ("NOT_AN_EVENT", 400)


@pytest.mark.req("G8")
class TestIdentity:
    def test_is_type_merchant_and_id(self) -> None:
        assert told("PaymentSuccess").event_id == "PaymentSuccess/418355562/22343388"
        assert told("PaymentSuccess", id=22343388, merchantId=418355562).event_id == "PaymentSuccess/418355562/22343388"

    def test_of_a_dispute_that_comes_again_is_its_body(self) -> None:
        body = b'{"eventType":"Chargeback","merchantId":"418355562","id":"1"}'
        assert event_of(body).event_id == f"sha256/{sha256(body).hexdigest()}"

    @pytest.mark.parametrize("changes", [{"id": None}, {"id": ...}, {"merchantId": {}}])
    def test_of_one_without_them_is_its_body(self, changes: dict[str, object]) -> None:
        assert told("PaymentSuccess", **changes).event_id.startswith("sha256/")


class TestHint:
    @pytest.mark.parametrize("sample", PAYMENTS)
    @pytest.mark.parametrize("code", ["0", 0, "61", None, ...])
    def test_no_event_completes_or_fails_a_payment(self, sample: str, code: object) -> None:
        hint = fact(told(sample, responseCode=code))
        assert hint.status is not None
        assert LADDER.index(hint.status) <= LADDER.index(PaymentStatus.PROCESSING)
        assert (hint.received_minor, hint.completed_at) == (None, None)

    def test_a_failure_that_is_not_proved_says_why(self) -> None:
        failed = fact(told("PaymentFail"))
        assert (failed.failure_code, failed.failure_message) == ("61", "Exceeds withdrawal amount limit.")
        assert fact(told("PaymentFail", responseCode=61)).failure_code == "61"

    def test_a_success_says_no_failure(self) -> None:
        said = fact(told("PaymentSuccess"))
        assert (said.failure_code, said.failure_message) == (None, None)

    @pytest.mark.parametrize("sample", REFUNDS)
    @pytest.mark.parametrize("code", ["0", 0, "61", None, ...])
    def test_no_event_ends_a_refund(self, sample: str, code: object) -> None:
        assert refund(told(sample, responseCode=code)).status is RefundStatus.PENDING

    def test_the_api_is_asked_about_every_payment_and_refund(self) -> None:
        for name, path in SAMPLES.items():
            needs = event_of(path.read_bytes()).needs
            assert len(needs) == (0 if name.startswith(("Chargeback", "Deposit")) else 1), name
            assert all(need.arguments["kind"] in ASKABLE for need in needs)

    @pytest.mark.parametrize(
        ("sample", "kind", "says", "amount_minor"),
        [
            ("PaymentSuccess", "payment", "paid", 1111),
            ("PaymentFail", "payment", "failed", 1111),
            ("RefundCreated", "refund", "refunded", 1000),
            ("PaymentSuccess__of_a_return", "refund", "refunded", 1000),
            ("PaymentFail__of_a_return", "refund", "failed", 1000),
        ],
    )
    def test_the_question_says_what_the_event_hints_at(
        self, sample: str, kind: str, says: str, amount_minor: int
    ) -> None:
        [need] = event_of(SAMPLES[sample].read_bytes()).needs
        assert (need.topic, need.arguments["kind"], need.arguments["event_says"]) == ("refetch", kind, says)
        assert need.arguments["event_amount_minor"] == amount_minor

    @pytest.mark.req("G15")
    def test_the_account_alone_knows_whether_money_is_real(self) -> None:
        assert told("PaymentSuccess").livemode is None


class TestPayment:
    @pytest.mark.parametrize("said", ["22343388", 22343388])
    def test_id_is_a_number_or_a_text(self, said: object) -> None:
        assert fact(told("PaymentSuccess", id=said)).objects == (ObjectName("payment", "22343388"),)

    @pytest.mark.parametrize("said", [None, "", [], True, ...])
    def test_without_an_id_it_is_refused_and_kept(self, said: object) -> None:
        event = told("PaymentSuccess", id=said)
        assert (event.facts, event.refused_because) == ((), "the object has no id")

    @pytest.mark.parametrize(
        ("amount", "minor"),
        [
            ("11.11", 1111),
            (4539.6, 453960),
            (205, 20500),
            ("0", 0),
            ("-10.00", None),
            ("11.111", None),
            ("1,111.00", None),
            ("$11.11", None),
            (None, None),
            (True, None),
            (..., None),
        ],
    )
    def test_amounts_are_dollars(self, amount: object, minor: int | None) -> None:
        said = fact(told("PaymentSuccess", totalAmount=amount))
        assert (said.amount_minor, said.currency) == (minor, None if minor is None else "USD")

    @pytest.mark.parametrize(
        ("said", "ref"), [("10270193", "10270193"), (10270193, "10270193"), (None, None), ({}, None)]
    )
    def test_names_the_invoice_that_it_pays(self, said: object, ref: str | None) -> None:
        assert fact(told("PaymentSuccess", invoiceId=said)).invoice_ref == ref

    @pytest.mark.parametrize(("said", "method"), [("Card", "card"), ("ACH", "ach"), (None, None), (7, None)])
    def test_method(self, said: object, method: str | None) -> None:
        assert fact(told("PaymentSuccess", paymentType=said)).method == method

    @pytest.mark.parametrize(
        ("said", "kept"),
        [
            (None, {}),
            ([], {}),
            ({"room": 7, "why": None, "list": [1]}, {"room": "7"}),
            ('{"room": "7"}', {"room": "7"}),
            ({"source": "theirs"}, {"source": "theirs"}),  # beside MX Merchant's own word, which has its column
        ],
    )
    def test_the_merchants_own_fields_and_where_it_was_made(self, said: object, kept: dict[str, str]) -> None:
        found = fact(told("PaymentSuccess", customFields=said))
        assert (found.metadata or {}, found.source) == (kept, "QuickPay")

    @pytest.mark.parametrize("source", [None, ..., {}, []])
    def test_with_nothing_said_there_is_no_metadata(self, source: object) -> None:
        assert fact(told("PaymentSuccess", source=source)).metadata is None
        kept = fact(told("PaymentSuccess", source=source, customFields={"source": "theirs"})).metadata
        assert kept == {"source": "theirs"}

    @pytest.mark.req("R1")
    def test_the_merchants_own_fields_say_the_app_its_user_and_the_plan(self) -> None:
        said = fact(told("PaymentSuccess__custom_fields"))
        assert (said.app, said.user_id, said.plan) == ("nexai", "42", "gold")


class TestCustomer:
    def test_is_a_number_and_a_name(self) -> None:
        event = told("PaymentSuccess__custom_fields")
        assert event.facts[1] == CustomerFact(
            (ObjectName("customer", "EXAMPLE000001"),), name="Example Customer", app="nexai", user_id="42"
        )
        assert fact(event).customer_ref == "EXAMPLE000001"

    @pytest.mark.parametrize("changes", [{"customer": None}, {"customer": " "}, {"customer": {}}])
    def test_without_a_name_is_only_pointed_at(self, changes: dict[str, object]) -> None:
        event = told("PaymentSuccess__2026", **changes)
        assert (len(event.facts), fact(event).customer_ref) == (1, "EXAMPLE000001")

    @pytest.mark.parametrize("number", [None, ..., "", [], True])
    def test_without_a_number_is_nobody(self, number: object) -> None:
        assert len(told("PaymentSuccess__2026", customerNumber=number).facts) == 1


@pytest.mark.req("P6")
class TestRefund:
    @pytest.mark.parametrize("sample", REFUNDS)
    def test_names_itself_and_not_its_payment(self, sample: str) -> None:
        said = refund(told(sample, id="22343393", originalId="22343388"))
        assert (said.objects, said.payment) == ((ObjectName("refund", "22343393"),), ())

    def test_is_the_same_whichever_event_tells_of_it(self) -> None:
        assert refund(told("PaymentSuccess__of_a_return")) == refund(told("RefundCreated"))

    @pytest.mark.parametrize(
        ("amount", "minor"),
        [
            ("-10.00", 1000),
            ("10.00", 1000),
            (-39.6, 3960),
            (39, 3900),
            (-39, 3900),
            ("--10", None),
            ("-", None),
            (None, None),
            (False, None),
            ([], None),
        ],
    )
    def test_amounts_have_no_sign(self, amount: object, minor: int | None) -> None:
        said = refund(told("RefundCreated", totalAmount=amount))
        assert (said.amount_minor, said.currency) == (minor, None if minor is None else "USD")

    def test_that_did_not_go_through_says_why_and_is_not_failed_by_that(self) -> None:
        said = refund(told("PaymentFail__of_a_return"))
        assert (said.status, said.failure_code, said.failure_message) == (RefundStatus.PENDING, "05", "Do not honor")

    @pytest.mark.parametrize("said", [None, "", [], True, ...])
    def test_without_an_id_it_is_refused_and_kept(self, said: object) -> None:
        event = told("RefundCreated", id=said)
        assert (event.facts, event.refused_because) == ((), "the object has no id")


class TestDispute:
    @pytest.mark.parametrize(
        ("word", "status", "outcome"),
        [
            (..., DisputeStatus.NEEDS_RESPONSE, None),
            (None, DisputeStatus.NEEDS_RESPONSE, None),
            ("Open", DisputeStatus.NEEDS_RESPONSE, None),
            ("Wholly New", DisputeStatus.NEEDS_RESPONSE, None),
            (7, DisputeStatus.NEEDS_RESPONSE, None),
            ("Under Review", DisputeStatus.UNDER_REVIEW, None),
            ("WON ", DisputeStatus.WON, "WON"),
            ("Lost", DisputeStatus.LOST, "Lost"),
            ("Closed", DisputeStatus.CLOSED, "Closed"),
        ],
    )
    def test_stands_where_its_word_says_or_needs_a_look(
        self, word: object, status: DisputeStatus, outcome: str | None
    ) -> None:
        said = dispute(told("Chargeback", status=word))
        assert (said.status, said.outcome, said.is_withdrawn) == (status, outcome, None)

    @pytest.mark.parametrize(
        ("amounts", "minor"),
        [
            ({}, 453960),
            ({"totalAmount": "-4539.60"}, 453960),
            ({"totalAmount": ..., "amount": 12}, 1200),
            ({"totalAmount": ...}, None),
        ],
    )
    def test_amount(self, amounts: dict[str, object], minor: int | None) -> None:
        assert dispute(told("Chargeback", **amounts)).amount_minor == minor

    def test_each_turn_of_it_is_an_event_of_the_same_dispute(self) -> None:
        first, second = told("Chargeback"), told("Chargeback__won")
        assert first.event_id != second.event_id
        assert dispute(first).objects == dispute(second).objects == (ObjectName("dispute", "900112"),)


@pytest.mark.req("G16")
class TestDeposit:
    def test_is_a_payout_that_nobody_has_confirmed(self) -> None:
        (said,) = told("Deposit").facts
        assert said == PayoutFact(
            (ObjectName("payout", "700431"),),
            kind="payout",
            status=PayoutStatus.PENDING,
            amount_minor=450000,
            currency="USD",
        )

    @pytest.mark.parametrize("amount", [None, ..., "-12.00", "much", {}])
    def test_without_an_amount_that_comes_in_is_ignored(self, amount: object) -> None:
        assert told("Deposit", totalAmount=amount).ignored_because == "it names no id or no amount: Deposit"


class TestDates:
    @pytest.mark.parametrize(
        ("said", "expected_time"),
        [
            ("Aug 9 2018 6:21PM", datetime(2018, 8, 9, 18, 21, tzinfo=UTC)),
            ("Aug  9 2018  6:21PM", datetime(2018, 8, 9, 18, 21, tzinfo=UTC)),  # as SQL Server pads it
            ("Aug 19 2018 6:21AM", datetime(2018, 8, 19, 6, 21, tzinfo=UTC)),
            ("Jan 1 2026 12:00AM", datetime(2026, 1, 1, 0, 0, tzinfo=UTC)),
            ("Dec 31 2026 12:59PM", datetime(2026, 12, 31, 12, 59, tzinfo=UTC)),
            ("Feb 29 2024 1:05AM", datetime(2024, 2, 29, 1, 5, tzinfo=UTC)),
        ],
    )
    def test_as_mx_merchant_writes_them(self, said: str, expected_time: datetime) -> None:
        assert date_in_utc(said) == expected_time

    @pytest.mark.parametrize(
        "said",
        [
            *(
                "Feb 30 2018 6:21PM",
                "Aug 9 2018 13:21PM",
                "Aug 9 2018 0:21AM",
                "Aug 9 2018 6:61PM",
                "Aug 9 0000 6:21PM",
            ),
            *(
                "Abc 9 2018 6:21PM",
                "aug 9 2018 6:21PM",
                "Aug 9 2018 6:21",
                "Aug 9 2018 6:21PM\n",
                "",
                "Aug",
                None,
                7,
                [],
            ),
            "Aug \u0669 2018 6:21PM",
        ],
    )
    def test_anything_else_says_nothing(self, said: object) -> None:
        assert date_in_utc(said) is None
        assert told("PaymentSuccess", transactionDate=said).occurred_at is None


class TestIgnored:
    @pytest.mark.parametrize("event_type", ["ExpiredCard", "BatchClosed", "invoice.paid"])
    def test_by_name(self, event_type: str) -> None:
        event = told("RefundCreated", eventType=event_type)
        assert (event.facts, event.needs) == ((), ())
        assert event.ignored_because == f"event type not handled: {event_type}"
        assert event.reference == "22343393"

    @pytest.mark.parametrize("sample", sorted(IGNORED))
    def test_each_sample_is_kept_with_the_reason(self, sample: str) -> None:
        event = event_of(IGNORED[sample].read_bytes())
        assert (event.facts, event.needs, event.refused_because) == ((), (), None)
        assert str(event.ignored_because).endswith(f": {event.type}")

    @pytest.mark.parametrize("event_type", ["Chargeback", "Deposit"])
    @pytest.mark.parametrize("said", [None, "", [], True, ...])
    def test_without_an_id(self, event_type: str, said: object) -> None:
        event = told(event_type, id=said)
        assert (event.facts, event.ignored_because) == ((), f"it names no id or no amount: {event_type}")

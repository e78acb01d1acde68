"""What is odd about PayPal's disputes, case by case."""

from datetime import UTC, datetime

import pytest

from gatehouse.facts import DisputeFact, DisputeStatus, Event, ObjectName
from tests.support.paypal_events import event_of, only, told, usd

CREATED = "customer.dispute.created"
UPDATED = "customer.dispute.updated"
RESOLVED = "customer.dispute.resolved"

pytestmark = pytest.mark.req("G2")


def dispute(event: Event) -> DisputeFact:
    return only(DisputeFact, event)


class TestStatus:
    @pytest.mark.parametrize(
        ("said", "stage", "status"),
        [
            ("OPEN", None, DisputeStatus.NEEDS_RESPONSE),
            ("OPEN", "CHARGEBACK", DisputeStatus.NEEDS_RESPONSE),
            ("OPEN", "INQUIRY", DisputeStatus.WARNING),
            ("WAITING_FOR_BUYER_RESPONSE", "INQUIRY", DisputeStatus.WARNING),
            ("WAITING_FOR_SELLER_RESPONSE", "INQUIRY", DisputeStatus.NEEDS_RESPONSE),
            ("UNDER_REVIEW", "INQUIRY", DisputeStatus.UNDER_REVIEW),
            ("WAITING_FOR_SELLER_RESPONSE", "CHARGEBACK", DisputeStatus.NEEDS_RESPONSE),
            ("WAITING_FOR_BUYER_RESPONSE", "PRE_ARBITRATION", DisputeStatus.UNDER_REVIEW),
            ("UNDER_REVIEW", "ARBITRATION", DisputeStatus.UNDER_REVIEW),
            ("RESOLVED", "INQUIRY", DisputeStatus.CLOSED),
            ("OTHER", "CHARGEBACK", None),
            (None, None, None),
            (7, [], None),
        ],
    )
    def test_is_what_it_says(self, said: object, stage: object, status: DisputeStatus | None) -> None:
        assert dispute(told(UPDATED, status=said, dispute_life_cycle_stage=stage)).status is status

    @pytest.mark.parametrize("unknown", [..., None, 7, "OTHER"])
    def test_that_is_not_said_is_what_the_name_says(self, unknown: object) -> None:
        assert dispute(told(CREATED, status=unknown)).status is DisputeStatus.NEEDS_RESPONSE
        assert dispute(told(RESOLVED, status=unknown)).status is DisputeStatus.LOST
        assert dispute(told(RESOLVED, status=unknown, dispute_outcome=...)).status is DisputeStatus.CLOSED

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("RESOLVED_BUYER_FAVOUR", DisputeStatus.LOST),
            ("RESOLVED_SELLER_FAVOUR", DisputeStatus.WON),
            ("RESOLVED_WITH_PAYOUT", DisputeStatus.CLOSED),  # PayPal paid, and both keep what they have
            ("CANCELED_BY_BUYER", DisputeStatus.CLOSED),
            ("ACCEPTED", DisputeStatus.CLOSED),
            ("DENIED", DisputeStatus.CLOSED),
            ("NONE", DisputeStatus.CLOSED),
            ("WHOLLY_NEW", DisputeStatus.CLOSED),
            (None, DisputeStatus.CLOSED),
        ],
    )
    def test_how_it_ended(self, code: str | None, status: DisputeStatus) -> None:
        found = dispute(told(RESOLVED, dispute_outcome={"outcome_code": code}))
        assert (found.status, found.outcome) == (status, code)

    def test_an_outcome_before_the_end_decides_nothing(self) -> None:
        outcome = {"outcome_code": "RESOLVED_SELLER_FAVOUR"}
        assert dispute(told(UPDATED, dispute_outcome=outcome)).status is DisputeStatus.NEEDS_RESPONSE

    def test_closed_when_it_was_updated_last_else_when_the_event_says(self) -> None:
        assert dispute(event_of(RESOLVED)).closed_at == datetime(2016, 6, 7, 22, 56, 19, tzinfo=UTC)
        event = told(RESOLVED, update_time=...)
        assert dispute(event).closed_at == event.occurred_at
        assert dispute(event_of(UPDATED)).closed_at is None


class TestPayment:
    def test_is_a_capture_or_a_sale_by_their_common_name(self) -> None:
        assert dispute(event_of(CREATED)).payment == (ObjectName("transaction", "45V487086B989905H"),)

    @pytest.mark.parametrize(
        "transactions",
        [
            ...,
            None,
            [],
            [None],
            [{}],
            [{"seller_transaction_id": 7}],
            [{"buyer_transaction_id": "B1"}],
            [{"seller_transaction_id": "T1"}, {"seller_transaction_id": "T2"}],  # two payments are not one
        ],
    )
    def test_that_is_no_single_one(self, transactions: object) -> None:
        assert dispute(told(CREATED, disputed_transactions=transactions)).payment == ()

    def test_named_twice(self) -> None:
        twice = [{"seller_transaction_id": "T1"}] * 2
        assert dispute(told(CREATED, disputed_transactions=twice)).payment == (ObjectName("transaction", "T1"),)


class TestFields:
    def test_one_reason_of_two_spellings(self) -> None:
        for said in ("UNAUTHORISED", "UNAUTHORIZED"):
            assert dispute(told(CREATED, reason=said)).reason == "UNAUTHORIZED"
        assert dispute(told(CREATED, reason="CREDIT_NOT_PROCESSED")).reason == "CREDIT_NOT_PROCESSED"
        assert dispute(told(CREATED, reason=7)).reason is None

    def test_respond_by(self) -> None:
        assert dispute(event_of(UPDATED)).respond_by == datetime(2026, 12, 4, 18, tzinfo=UTC)
        assert dispute(event_of("customer.dispute.created__inquiry")).respond_by is None  # of no zone

    @pytest.mark.parametrize("amount", [..., None, "11.56", usd("many"), usd("-1")])
    def test_an_amount_that_makes_no_sense(self, amount: object) -> None:
        assert dispute(told(CREATED, dispute_amount=amount)).amount_minor is None

    @pytest.mark.parametrize("no_id", [None, "", 7, {}, ...])
    def test_a_dispute_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        event = told(CREATED, dispute_id=no_id)
        assert (event.facts, event.refused_because) == ((), "the resource has no id")

    def test_what_people_wrote_is_left_to_the_payload(self) -> None:
        messages = [{"posted_by": "BUYER", "content": "It never came."}]
        assert "never came" not in repr(told(CREATED, messages=messages))


class TestOldDisputes:
    def test_say_the_same_otherwise(self) -> None:
        found = dispute(event_of("risk.dispute.created"))
        assert found == DisputeFact(
            (ObjectName("dispute", "PP-COMPOSED-2"),),
            payment=(ObjectName("transaction", "COMPOSED-SALE-8"),),
            status=DisputeStatus.NEEDS_RESPONSE,
            amount_minor=1001,
            currency="USD",
            opened_at=datetime(2015, 4, 27, 10, 54, 9, tzinfo=UTC),
        )

    @pytest.mark.parametrize("created", [None, 0, -1, True, "1430132049000", 10**30, 253_402_300_800_000])
    def test_of_no_time(self, created: object) -> None:
        assert dispute(told("risk.dispute.created", dispute_creation_date=created)).opened_at is None

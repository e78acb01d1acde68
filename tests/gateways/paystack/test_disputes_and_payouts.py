"""Paystack's disputes and transfers, case by case."""

from datetime import UTC, datetime

import pytest

from gatehouse.facts import DisputeFact, DisputeStatus, ObjectName, PayoutFact, PayoutStatus
from tests.support.paystack_events import kinds, the, told

pytestmark = pytest.mark.req("G3", "G6")


class TestDisputes:
    def test_names_the_payment_as_its_charge_does(self) -> None:
        event = told("charge.dispute.create")
        assert kinds(event) == ["dispute", "customer"]
        assert the(DisputeFact, event) == DisputeFact(
            objects=(ObjectName("dispute", "358950"),),
            payment=(ObjectName("transaction", "896467688"), ObjectName("reference", "v3mjfgbnc19v97x")),
            status=DisputeStatus.NEEDS_RESPONSE,
            amount_minor=5800,
            currency="NGN",
            reason="chargeback",
            respond_by=datetime(2020, 11, 25, 18, tzinfo=UTC),
            opened_at=datetime(2020, 11, 24, 13, 46, 57, tzinfo=UTC),
        )

    @pytest.mark.parametrize(
        ("said", "resolution", "status"),
        [
            ("awaiting-merchant-feedback", None, DisputeStatus.NEEDS_RESPONSE),
            ("awaiting-bank-feedback", None, DisputeStatus.UNDER_REVIEW),
            ("awaiting-bank-feedback", "declined", DisputeStatus.UNDER_REVIEW),
            ("pending", None, DisputeStatus.UNDER_REVIEW),
            ("resolved", "merchant-accepted", DisputeStatus.LOST),
            ("resolved", "auto-accepted", DisputeStatus.LOST),
            ("resolved", "declined", DisputeStatus.WON),
            ("resolved", None, DisputeStatus.CLOSED),
            ("resolved", "wholly-new", DisputeStatus.CLOSED),
            ("resolved", 7, DisputeStatus.CLOSED),
            ("archived", None, DisputeStatus.CLOSED),
        ],
    )
    def test_state(self, said: str, resolution: object, status: DisputeStatus) -> None:
        dispute = the(DisputeFact, told("charge.dispute.create", status=said, resolution=resolution))
        assert dispute.status is status
        assert dispute.outcome == (resolution if isinstance(resolution, str) else None)

    @pytest.mark.parametrize("unsaid", [..., None, "", 7, "wholly_new"])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("charge.dispute.create", DisputeStatus.NEEDS_RESPONSE),
            ("charge.dispute.remind", DisputeStatus.NEEDS_RESPONSE),
            ("charge.dispute.resolve", DisputeStatus.LOST),
            ("charge.dispute.resolve__declined", DisputeStatus.WON),
        ],
    )
    def test_state_of_one_that_says_none_that_we_know(self, sample: str, status: DisputeStatus, unsaid: object) -> None:
        assert the(DisputeFact, told(sample, status=unsaid)).status is status

    def test_what_is_disputed_may_be_open(self) -> None:
        dispute = the(DisputeFact, told("charge.dispute.create", refund_amount=None, currency=None))
        assert (dispute.amount_minor, dispute.currency) == (None, "NGN")  # the transaction says it

    @pytest.mark.parametrize("transaction", [{}, None, "v3mjfgbnc19v97x", []])
    def test_the_payment_may_be_named_by_its_reference_only(self, transaction: object) -> None:
        named = told("charge.dispute.create", transaction=transaction, transaction_reference="T1")
        assert the(DisputeFact, named).payment == (ObjectName("reference", "T1"),)
        assert the(DisputeFact, told("charge.dispute.create", transaction=transaction)).payment == ()

    def test_one_without_a_time_is_asked_for(self) -> None:
        (need,) = told("charge.dispute.remind", updated_at=None).needs
        assert (need.topic, need.arguments["kind"], need.arguments["id"]) == ("refetch", "dispute", "358950")
        assert told("charge.dispute.remind").needs == ()

    def test_one_without_its_id_is_refused_and_kept(self) -> None:
        assert told("charge.dispute.create", id=None).refused_because == "the object has no id"


@pytest.mark.req("G16")
class TestTransfers:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("success", PayoutStatus.SETTLED),
            ("failed", PayoutStatus.FAILED),
            ("blocked", PayoutStatus.FAILED),
            ("rejected", PayoutStatus.FAILED),
            ("abandoned", PayoutStatus.CANCELLED),
            ("reversed", PayoutStatus.REVERSED),
            ("pending", PayoutStatus.PENDING),
            ("otp", PayoutStatus.PENDING),
            ("wholly_new", PayoutStatus.PENDING),
        ],
    )
    def test_step(self, said: str, status: PayoutStatus) -> None:
        assert the(PayoutFact, told("transfer.success", status=said)).status is status

    @pytest.mark.parametrize("unsaid", [..., None, "", 7])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("transfer.success", PayoutStatus.SETTLED),
            ("transfer.failed", PayoutStatus.FAILED),
            ("transfer.reversed", PayoutStatus.REVERSED),
        ],
    )
    def test_step_of_one_that_says_none(self, sample: str, status: PayoutStatus, unsaid: object) -> None:
        assert the(PayoutFact, told(sample, status=unsaid)).status is status

    def test_the_narration_is_no_failure(self) -> None:
        failed = the(PayoutFact, told("transfer.failed", reason="Enjoy"))
        assert failed.failure_message is None
        assert "Enjoy" not in repr(failed)
        why = told("transfer.failed", gateway_response="The account is closed")
        assert the(PayoutFact, why).failure_message == "The account is closed"

    def test_both_ways_to_spell_its_times(self) -> None:
        for word in ("updatedAt", "updated_at"):
            times = {"updatedAt": ..., "updated_at": ..., word: "2025-08-04T10:32:41.000Z"}
            settled = told("transfer.success", **times)
            assert settled.occurred_at == datetime(2025, 8, 4, 10, 32, 41, tzinfo=UTC)
            assert the(PayoutFact, settled).settled_at == settled.occurred_at

    def test_all_of_what_is_sent_back_is_sent_back(self) -> None:
        assert the(PayoutFact, told("transfer.reversed")).reversed_minor == 10000
        assert the(PayoutFact, told("transfer.success")).reversed_minor is None

    @pytest.mark.parametrize("nonsense", [{"amount": "1.5"}, {"amount": None}, {"currency": 7}])
    def test_money_that_moved_must_be_beyond_doubt(self, nonsense: dict[str, object]) -> None:
        for sample in ("transfer.success", "transfer.reversed"):
            assert told(sample, **nonsense).refused_because is not None
        assert the(PayoutFact, told("transfer.failed", **nonsense)).amount_minor is None

    def test_one_name_is_enough(self) -> None:
        assert the(PayoutFact, told("transfer.success", transfer_code=None)).objects == (
            ObjectName("transfer_reference", "acv_9ee55786-2323-4760-98e2-6380c9cb3f68"),
        )
        nameless = told("transfer.success", transfer_code=None, reference=None)
        assert nameless.refused_because == "the object has no id"

"""Stripe's payouts and transfers, case by case."""

from datetime import UTC, datetime

import pytest

from gatehouse.facts import Event, ObjectName, PayoutFact, PayoutStatus
from tests.support.stripe_samples import event_of, only, told

pytestmark = pytest.mark.req("G1", "G16")


def payout(event: Event) -> PayoutFact:
    return only(event, PayoutFact)


class TestPayouts:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("pending", PayoutStatus.PENDING),
            ("in_transit", PayoutStatus.PENDING),
            ("paid", PayoutStatus.SETTLED),
            ("failed", PayoutStatus.FAILED),
            ("canceled", PayoutStatus.CANCELLED),
            ("wholly_new", None),
            (None, None),
            (7, None),
        ],
    )
    def test_status_is_what_the_object_says(self, said: object, status: PayoutStatus | None) -> None:
        assert payout(told("payout.updated", status=said)).status is status

    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("payout.created", PayoutStatus.PENDING),
            ("payout.paid", PayoutStatus.SETTLED),
            ("payout.failed", PayoutStatus.FAILED),
            ("payout.canceled", PayoutStatus.CANCELLED),
            ("payout.reconciliation_completed", None),
        ],
    )
    def test_or_else_what_the_name_says(self, sample: str, status: PayoutStatus | None) -> None:
        assert payout(told(sample, status=...)).status is status

    def test_it_is_settled_when_its_event_says_so(self) -> None:
        assert payout(event_of("payout.paid")).settled_at == datetime(2025, 8, 21, tzinfo=UTC)
        assert payout(event_of("payout.reconciliation_completed")).settled_at is None
        assert payout(event_of("payout.created")).arrives_at == datetime(2025, 9, 3, tzinfo=UTC)

    def test_why_it_failed_and_where_it_was_to_go(self) -> None:
        said = payout(event_of("payout.failed"))
        assert (said.failure_code, said.failure_message) == ("account_closed", "The bank account has been closed.")
        assert said.destination == "ba_1Pgc79B7WZ01zgkWoU5vBiXt"
        whole = {"id": "ba_1", "account_number": "000123456789", "last4": "6789"}
        assert payout(told("payout.failed", destination=whole)).destination == "ba_1"

    @pytest.mark.parametrize(
        ("currency", "stripes", "ours"), [("usd", 100, 100), ("jpy", 500, 500), ("isk", 5000, 50), ("mga", 5, 500)]
    )
    def test_amount_in_the_currencys_own_minor_units(self, currency: str, stripes: int, ours: int) -> None:
        said = payout(told("payout.paid", amount=stripes, currency=currency))
        assert (said.amount_minor, said.currency) == (ours, currency.upper())

    @pytest.mark.parametrize("nonsense", [None, "1100", -1100, 11.5, True])
    def test_an_amount_that_makes_no_sense_says_nothing(self, nonsense: object) -> None:
        said = payout(told("payout.paid", amount=nonsense))
        assert (said.amount_minor, said.status) == (None, PayoutStatus.SETTLED)

    def test_fee_only_where_the_transaction_is_whole(self) -> None:
        assert payout(told("payout.paid", balance_transaction={"fee": 15, "currency": "usd"})).fee_minor == 15
        assert payout(event_of("payout.paid")).fee_minor is None

    def test_without_an_id_it_is_refused_and_kept(self) -> None:
        assert told("payout.paid", id=None).refused_because == "the object has no id"


class TestTransfers:
    def test_is_settled_when_it_is_made(self) -> None:
        said = payout(event_of("transfer.updated"))
        assert (said.objects, said.kind) == ((ObjectName("transfer", "tr_composed"),), "transfer")
        assert (said.status, said.settled_at) == (PayoutStatus.SETTLED, datetime(2025, 9, 1, tzinfo=UTC))
        assert (said.destination, said.reference) == ("acct_composed", "1001")

    @pytest.mark.parametrize(
        ("changes", "status", "reversed_minor"),
        [
            ({"amount_reversed": 5000, "reversed": True}, PayoutStatus.REVERSED, 5000),
            ({"amount_reversed": 5000, "reversed": None}, PayoutStatus.REVERSED, 5000),
            ({"amount_reversed": 4999, "reversed": False}, PayoutStatus.SETTLED, 4999),
            ({"amount_reversed": None, "reversed": False}, PayoutStatus.SETTLED, None),
            ({"amount_reversed": 0, "amount": 0}, PayoutStatus.SETTLED, 0),
            ({"amount_reversed": "x", "amount": None}, PayoutStatus.SETTLED, None),
        ],
    )
    def test_is_reversed_only_when_all_of_it_is(
        self, changes: dict[str, object], status: PayoutStatus, reversed_minor: int | None
    ) -> None:
        said = payout(told("transfer.reversed__in_part", **changes))
        assert (said.status, said.reversed_minor) == (status, reversed_minor)

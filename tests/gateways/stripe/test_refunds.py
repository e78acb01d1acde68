"""Stripe's refunds and disputes, case by case."""

from datetime import UTC, datetime

import pytest

from gatehouse.facts import DisputeFact, DisputeStatus, Event, ObjectName, PaymentFact, RefundFact, RefundStatus
from tests.support.stripe_samples import event_of, facts, only, told

pytestmark = pytest.mark.req("G1", "P6")


def refund(event: Event) -> RefundFact:
    return only(event, RefundFact)


def dispute(event: Event) -> DisputeFact:
    return only(event, DisputeFact)


class TestRefunds:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("pending", RefundStatus.PENDING),
            ("requires_action", RefundStatus.PENDING),
            ("succeeded", RefundStatus.COMPLETED),
            ("canceled", RefundStatus.CANCELLED),
            ("failed", RefundStatus.FAILED),
        ],
    )
    def test_status(self, said: str, status: RefundStatus) -> None:
        for sample in ("refund.created", "refund.updated", "refund.failed", "charge.refund.updated"):
            assert refund(told(sample, status=said)).status is status

    @pytest.mark.parametrize("unknown", [..., None, 7, [], "wholly_new"])
    def test_of_one_that_says_none_only_a_failure_is_known(self, unknown: object) -> None:
        assert refund(told("refund.failed", status=unknown)).status is RefundStatus.FAILED
        assert refund(told("refund.updated", status=unknown)).status is None

    def test_gives_back_the_payment_by_both_of_its_names(self) -> None:
        said = refund(event_of("refund.created"))
        assert said.payment == (
            ObjectName("payment_intent", "pi_1PgafyB7WZ01zgkWSjxsAJo3"),
            ObjectName("charge", "ch_1PgafuB7WZ01zgkWXYmPNZs8"),
        )
        assert refund(told("refund.created", payment_intent=None, charge={"id": "ch_1"})).payment == (
            ObjectName("charge", "ch_1"),
        )
        assert refund(told("refund.created", payment_intent=None, charge=None)).payment == ()

    @pytest.mark.parametrize(
        ("currency", "stripes", "ours"), [("usd", 100, 100), ("jpy", 500, 500), ("kwd", 1230, 1230), ("isk", 5000, 50)]
    )
    def test_amount_in_the_currencys_own_minor_units(self, currency: str, stripes: int, ours: int) -> None:
        said = refund(told("refund.created", amount=stripes, currency=currency))
        assert (said.amount_minor, said.currency) == (ours, currency.upper())

    @pytest.mark.parametrize("nonsense", [{"amount": "100"}, {"amount": None}, {"amount": -1}, {"currency": "xxx"}])
    def test_money_that_went_back_must_be_beyond_doubt(self, nonsense: dict[str, object]) -> None:
        event = told("refund.created", **nonsense)
        assert event.facts == ()
        assert event.refused_because
        assert refund(told("refund.updated", **nonsense)).amount_minor is None  # it is pending

    def test_why_it_was_made_and_why_it_failed(self) -> None:
        said = refund(told("refund.failed", reason="requested_by_customer"))
        assert (said.reason, said.failure_code) == ("requested_by_customer", "expired_or_canceled_card")

    @pytest.mark.parametrize(
        ("transaction", "fee"),
        [
            ({"currency": "usd", "fee": -59}, -59),
            ({"currency": "usd", "fee": 0}, 0),
            ({"currency": "eur", "fee": -59}, None),  # in another currency than the refund's it would mean nothing
            ({"currency": "usd", "fee": 1.5}, None),
            ({}, None),
            ("txn_1", None),
            (None, None),
        ],
    )
    def test_fee_only_where_the_transaction_is_whole(self, transaction: object, fee: int | None) -> None:
        assert refund(told("refund.created", balance_transaction=transaction)).fee_minor == fee

    def test_without_an_id_it_is_refused_and_kept(self) -> None:
        assert told("refund.created", id=None).refused_because == "the object has no id"

    def test_one_of_an_authorisation_that_ran_out_gave_nothing_back(self) -> None:
        assert refund(told("refund.created", reason="expired_uncaptured_charge")).status is RefundStatus.CANCELLED


class TestRefundsInACharge:
    """Before 2022-11-15 a charge lists its refunds."""

    SAMPLE = "charge.refunded__legacy_2020-08-27"

    def told_with(self, *listed: dict[str, object], **changes: object) -> dict[str, RefundFact]:
        event = told(self.SAMPLE, refunds={"data": list(listed)}, **changes)
        return {fact.objects[0].id: fact for fact in facts(event, RefundFact)}

    def test_each_is_a_fact_and_the_charge_tells_the_sum(self) -> None:
        event = event_of(self.SAMPLE)
        assert only(event, PaymentFact).refunded_minor == 1000
        done = [fact for fact in facts(event, RefundFact) if fact.status is RefundStatus.COMPLETED]
        assert sum(fact.amount_minor or 0 for fact in done) == 1000
        assert {fact.payment for fact in done} == {only(event, PaymentFact).objects}

    def test_the_oldest_of_the_released_amount_is_the_release(self) -> None:
        same = {"amount": 375, "status": "succeeded"}
        found = self.told_with(
            {"id": "re_later", "created": 1755734300, **same}, {"id": "re_first", "created": 1755734100, **same},
            amount_refunded=750,
        )  # fmt: skip
        assert found["re_first"].status is RefundStatus.CANCELLED
        assert found["re_later"].status is RefundStatus.COMPLETED

    def test_all_of_a_charge_that_was_never_captured_is_a_release(self) -> None:
        event = event_of("charge.expired__legacy_2020-08-27")
        assert refund(event).status is RefundStatus.CANCELLED
        assert only(event, PaymentFact).refunded_minor is None
        assert (
            refund(
                told("charge.expired__legacy_2020-08-27", refunds={"data": [{"id": "re_1", "amount": 20675}]})
            ).status
            is RefundStatus.CANCELLED
        )

    def test_a_charge_of_today_makes_no_refund_of_a_release(self) -> None:
        listed = {"id": "re_1", "amount": 375, "status": "succeeded"}
        (fact,) = self.told_with(listed, amount_refunded=100).values()
        assert fact.status is RefundStatus.COMPLETED

    def test_the_currency_is_the_charges_where_a_refund_says_none(self) -> None:
        assert self.told_with({"id": "re_1", "amount": 500, "status": "succeeded"})["re_1"].currency == "USD"

    @pytest.mark.parametrize("nonsense", [None, [], "re_1", {"data": None}, {"data": ["re_1", None, {}, {"id": 7}]}])
    def test_what_is_no_refund_says_nothing(self, nonsense: object) -> None:
        assert facts(told(self.SAMPLE, refunds=nonsense), RefundFact) == []

    def test_one_that_is_listed_twice_is_one_fact(self) -> None:
        listed = {"id": "re_1", "amount": 500, "status": "succeeded"}
        assert list(self.told_with(listed, listed)) == ["re_1"]

    def test_a_bare_list_is_read_as_it_was_written_before_2014(self) -> None:
        event = told(self.SAMPLE, refunds=[{"id": "re_1", "amount": 500, "status": "succeeded"}, {"amount": 1}])
        assert refund(event).objects == (ObjectName("refund", "re_1"),)


class TestDisputes:
    @pytest.mark.parametrize(
        ("said", "status", "outcome"),
        [
            ("warning_needs_response", DisputeStatus.WARNING, None),
            ("warning_under_review", DisputeStatus.UNDER_REVIEW, None),
            ("warning_closed", DisputeStatus.CLOSED, "warning_closed"),
            ("needs_response", DisputeStatus.NEEDS_RESPONSE, None),
            ("under_review", DisputeStatus.UNDER_REVIEW, None),
            ("charge_refunded", DisputeStatus.CLOSED, "charge_refunded"),
            ("prevented", DisputeStatus.CLOSED, "prevented"),
            ("won", DisputeStatus.WON, "won"),
            ("lost", DisputeStatus.LOST, "lost"),
            ("wholly_new", None, None),
            (None, None, None),
            (7, None, None),
        ],
    )
    def test_status_and_outcome(self, said: object, status: DisputeStatus | None, outcome: str | None) -> None:
        found = dispute(told("charge.dispute.updated", status=said))
        assert (found.status, found.outcome) == (status, outcome)

    @pytest.mark.parametrize(
        ("sample", "changes", "is_withdrawn"),
        [
            ("charge.dispute.funds_withdrawn", {"balance_transactions": []}, True),
            ("charge.dispute.funds_reinstated", {"balance_transactions": []}, False),
            ("charge.dispute.updated", {"balance_transactions": []}, None),  # not booked yet
            ("charge.dispute.updated", {"balance_transactions": None}, None),
            ("charge.dispute.updated", {"balance_transactions": [{"amount": -5}]}, True),
            ("charge.dispute.updated", {"balance_transactions": [{"amount": -5}, {"amount": 5}]}, False),
            ("charge.dispute.updated", {"balance_transactions": [{"amount": -5}, {"amount": "5"}]}, None),
            ("charge.dispute.created__legacy_2020-08-27", {}, False),  # an inquiry
            ("charge.dispute.closed__won", {}, None),  # the money comes back in the next event
            ("charge.dispute.closed__won", {"status": "lost"}, True),
        ],
    )
    def test_whether_stripe_holds_the_money(
        self, sample: str, changes: dict[str, object], is_withdrawn: bool | None
    ) -> None:
        assert dispute(told(sample, **changes)).is_withdrawn is is_withdrawn

    @pytest.mark.parametrize(
        ("transactions", "fee"),
        [
            ([{"currency": "usd", "fee": 1500}], 1500),
            ([{"currency": "usd", "fee": 1500}, {"currency": "usd", "fee": -1500}], 0),
            ([{"currency": "eur", "fee": 1500}], None),
            ([{"currency": "usd", "fee": 1500}, {"currency": "usd"}], None),
            ([], None),
            ("txn_1", None),
        ],
    )
    def test_fee_is_the_sum_of_what_was_booked(self, transactions: object, fee: int | None) -> None:
        assert dispute(told("charge.dispute.updated", balance_transactions=transactions)).fee_minor == fee

    def test_times(self) -> None:
        won = dispute(event_of("charge.dispute.closed__won"))
        assert won.opened_at == datetime(2025, 9, 1, tzinfo=UTC)
        assert won.closed_at == datetime(2025, 10, 31, tzinfo=UTC)
        assert won.respond_by == datetime(2025, 9, 8, 23, 59, 59, tzinfo=UTC)
        assert dispute(event_of("charge.dispute.funds_reinstated")).closed_at is None

    def test_an_amount_that_makes_no_sense_says_nothing(self) -> None:
        said = dispute(told("charge.dispute.created", amount="1000", currency=None))
        assert (said.amount_minor, said.currency, said.status) == (None, None, DisputeStatus.NEEDS_RESPONSE)

    def test_the_payment_keeps_its_own_facts(self) -> None:
        assert facts(event_of("charge.dispute.created"), PaymentFact) == []
        assert dispute(told("charge.dispute.created", payment_intent=None)).payment == (
            ObjectName("charge", "ch_1PgafuB7WZ01zgkWXYmPNZs8"),
        )

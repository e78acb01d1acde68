"""Paystack's refunds: what events and the API's list say of them, and that none is counted twice."""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.errors import FactRefused
from gatehouse.facts import Event, ObjectName, PaymentFact, RefundFact, RefundStatus
from gatehouse.gateways.paystack.needs import ASKABLE
from gatehouse.gateways.paystack.refunds import LADDER, Hint, listed_refunds, refund_fact
from tests.support.paystack_events import kinds, the, told

NOTHING = Hint()
PAYMENT = (ObjectName("transaction", "1641"), ObjectName("reference", "T1"))
SAMPLES = ("refund.pending", "refund.processing", "refund.processed", "refund.failed", "refund.needs-attention")

pytestmark = pytest.mark.req("G3", "G6", "P6")


def hints(event: Event) -> Mapping[str, Any]:
    """Return what the one question of an event tells beside what is asked about."""
    (need,) = event.needs
    assert need.topic == "refetch"
    return {key: value for key, value in need.arguments.items() if key not in ("gateway", "account", "kind", "id")}


class TestEvents:
    @pytest.mark.parametrize("sample", ["refund.pending", "refund.processing"])
    def test_one_that_names_no_refund_only_links_to_its_payment(self, sample: str) -> None:
        event = told(sample)
        assert event.facts == (PaymentFact(objects=(ObjectName("reference", "tvunjbbd_412829_4b18075d_c7had"),)),)
        assert event.occurred_at is None
        assert hints(event) == {"refund_amount_minor": 10000, "refund_status": "pending"}

    @pytest.mark.parametrize(
        ("sample", "status", "amount_minor"),
        [("refund.processed", RefundStatus.COMPLETED, 5000), ("refund.failed", RefundStatus.FAILED, 20000)],
    )
    def test_one_with_a_reference_is_a_refund_by_it(self, sample: str, status: RefundStatus, amount_minor: int) -> None:
        refund = the(RefundFact, told(sample, refund_reference="R1", transaction_reference="T1"))
        assert refund == RefundFact(
            objects=(ObjectName("refund_reference", "R1"),),
            payment=(ObjectName("reference", "T1"),),
            status=status,
            amount_minor=amount_minor,
            currency="NGN",
        )

    def test_its_need_asks_for_the_transaction_and_says_what_was_said(self) -> None:
        event = told("refund.processed", refund_reference="R1", transaction_reference="T1")
        (need,) = event.needs
        assert need.key == f"paystack/default/reference/T1/{event.event_id}"
        assert need.arguments == {
            "gateway": "paystack",
            "account": "default",
            "kind": "reference",
            "id": "T1",
            "refund_reference": "R1",
            "refund_amount_minor": 5000,
            "refund_status": "completed",
        }
        assert need.arguments["kind"] in ASKABLE

    def test_one_with_both_names_leaves_nothing_open(self) -> None:
        event = told("refund.needs-attention")
        assert the(RefundFact, event).objects == (
            ObjectName("refund", "123456"),
            ObjectName("refund_reference", "TRF_7jn17u9vkqm91efk"),
        )
        assert the(RefundFact, event).status is RefundStatus.PENDING
        assert event.needs == ()

    @pytest.mark.parametrize("sample", ["refund.pending", "refund.processing"])
    def test_one_that_is_named_earlier_than_documented_is_a_refund(self, sample: str) -> None:
        assert the(RefundFact, told(sample, refund_reference="R1")).objects == (ObjectName("refund_reference", "R1"),)
        assert the(RefundFact, told(sample, id=7)).objects == (ObjectName("refund", "7"),)

    def test_one_that_is_done_and_names_no_refund_asks_for_it(self) -> None:
        event = told("refund.processed", refund_reference=None)
        assert kinds(event) == ["payment"]
        assert hints(event) == {"refund_amount_minor": 5000, "refund_status": "completed"}

    @pytest.mark.parametrize(
        "transaction", [{"reference": "T1"}, {"reference": "T1", "id": 1641}, {"id": 1641}, 1641, "1641"]
    )
    def test_the_transaction_may_stand_in_another_place(self, transaction: object) -> None:
        event = told("refund.processed", transaction_reference=None, transaction=transaction)
        assert set(the(RefundFact, event).payment) & set(PAYMENT)
        assert event.needs[0].arguments["id"] in ("T1", "1641")

    @pytest.mark.parametrize("sample", ["refund.pending", "refund.processing"])
    def test_one_that_names_neither_refund_nor_payment_is_refused_and_kept(self, sample: str) -> None:
        event = told(sample, transaction_reference=None)
        assert (event.facts, event.needs, event.refused_because) == ((), (), "the object has no id")

    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("pending", RefundStatus.PENDING),
            ("processing", RefundStatus.PENDING),
            ("needs-attention", RefundStatus.PENDING),
            ("processed", RefundStatus.COMPLETED),
            ("failed", RefundStatus.FAILED),
            ("wholly_new", RefundStatus.PENDING),
        ],
    )
    def test_status_is_what_the_object_says(self, said: str, status: RefundStatus) -> None:
        assert the(RefundFact, told("refund.processed", status=said)).status is status

    @pytest.mark.parametrize("unsaid", [..., None, "", 7])
    @pytest.mark.parametrize(
        ("sample", "status"),
        [
            ("refund.processed", RefundStatus.COMPLETED),
            ("refund.failed", RefundStatus.FAILED),
            ("refund.needs-attention", RefundStatus.PENDING),
        ],
    )
    def test_status_of_one_that_says_none_is_what_the_name_says(
        self, sample: str, status: RefundStatus, unsaid: object
    ) -> None:
        assert the(RefundFact, told(sample, status=unsaid)).status is status

    @pytest.mark.parametrize("nonsense", [{"amount": "50.00"}, {"amount": -1}, {"amount": None}, {"currency": "XXX"}])
    def test_money_that_went_out_must_be_beyond_doubt(self, nonsense: dict[str, object]) -> None:
        event = told("refund.processed", **nonsense)
        assert event.facts == ()
        assert event.refused_because is not None
        assert the(RefundFact, told("refund.failed", **nonsense)).amount_minor is None

    def test_amount_in_the_currencys_own_minor_units(self) -> None:
        refund = the(RefundFact, told("refund.processed", amount="50000", currency="XOF"))
        assert (refund.amount_minor, refund.currency) == (500, "XOF")

    def test_the_note_for_the_customer_is_the_reason_and_that_of_the_merchant_is_not_kept(self) -> None:
        refund = the(RefundFact, told("refund.needs-attention", customer_note="late", merchant_note="by a@example.com"))
        assert refund.reason == "late"
        assert "example.com" not in repr(refund)


def item(number: int, amount: int = 5000, status: str = "processed", **more: object) -> dict[str, Any]:
    """Return a refund as the API lists it."""
    return {"id": number, "transaction": 1641, "amount": amount, "currency": "NGN", "status": status, **more}


def names(items: list[dict[str, Any]], hint: Hint = NOTHING) -> list[tuple[str, ...]]:
    """Return the names under which the refunds of a list are told."""
    return [tuple(name.id for name in fact.objects) for fact in listed_refunds(items, PAYMENT, hint).facts]


class TestApi:
    def test_a_refund_as_it_is_fetched(self) -> None:
        fact = refund_fact(
            {
                **item(1, 500000),
                "createdAt": "2017-09-24T21:10:59.000Z",
                "refunded_at": "2018-01-12T10:54:47.000Z",
                "refunded_by": "a@example.com",
                "customer_note": "xxx",
            }
        )
        assert fact == RefundFact(
            objects=(ObjectName("refund", "1"),),
            payment=(ObjectName("transaction", "1641"),),
            status=RefundStatus.COMPLETED,
            amount_minor=500000,
            currency="NGN",
            reason="xxx",
            refunded_at=datetime(2017, 9, 24, 21, 10, 59, tzinfo=UTC),
        )

    def test_the_sum_is_of_those_that_are_completed(self) -> None:
        items = [item(1), item(2), item(3, 700, "pending"), item(4, 800, "failed"), item(5, 900)]
        listed = listed_refunds(items, PAYMENT, NOTHING)
        assert (listed.refunded_minor, listed.is_any_under_way) == (10900, True)
        assert listed_refunds([item(4, 800, "failed")], PAYMENT, NOTHING) == (listed.facts[1:2], 0, False)
        assert listed_refunds([], PAYMENT, NOTHING) == ((), 0, False)

    def test_all_lead_to_the_payment(self) -> None:
        (fact,) = listed_refunds([item(1, status="pending")], PAYMENT, NOTHING).facts
        assert fact.payment == PAYMENT

    @pytest.mark.parametrize("damage", [{"id": None}, {"amount": None}, {"amount": 0.5}, {"currency": None}])
    def test_a_list_that_makes_no_sense_is_refused(self, damage: dict[str, object]) -> None:
        with pytest.raises(FactRefused):
            listed_refunds([item(1), item(2) | damage], PAYMENT, NOTHING)


DONE = RefundStatus.COMPLETED
OPEN = RefundStatus.PENDING


class TestWhichOfTheListTheEventSpokeOf:
    def test_the_one_that_shows_the_reference(self) -> None:
        items = [item(1, refund_reference="R1"), item(2, refund_reference="R2")]
        assert names(items, Hint("R2", 5000, DONE)) == [("1", "R1"), ("2", "R2")]
        assert names([item(1), item(2, refund_reference="R2")], Hint("R2", 5000, DONE)) == [("2", "R2")]

    def test_the_one_that_shows_it_as_its_banks(self) -> None:
        items = [item(1), item(2, bank_reference="R2")]
        assert names(items, Hint("R2", 5000, DONE)) == [("2", "R2")]
        assert names([item(1), item(2, 700, bank_reference="R2")], Hint("R2", 5000, DONE)) == [("2", "R2")]

    def test_the_only_one_of_its_amount(self) -> None:
        assert names([item(1), item(2, 700)], Hint("R2", 700, DONE)) == [("2", "R2")]

    def test_none_where_two_have_the_amount(self) -> None:
        assert names([item(1), item(2)], Hint("R2", 5000, DONE)) == []
        assert names([item(1), item(2, status="pending")], Hint("R2", 5000, DONE)) == []
        assert names([item(1, refund_reference="R1"), item(2)], Hint("R2", 5000, DONE)) == [("1", "R1"), ("2", "R2")]

    def test_none_where_no_amount_was_said(self) -> None:
        assert names([item(1)], Hint("R1", None, DONE)) == []

    @pytest.mark.parametrize(
        ("said", "listed", "is_it"),
        [
            (DONE, "processed", True),
            (DONE, "failed", True),  # it came back
            (DONE, "pending", False),
            (OPEN, "pending", True),
            (OPEN, "processed", True),
            (OPEN, "needs-attention", True),
            (RefundStatus.FAILED, "failed", True),
            (RefundStatus.FAILED, "processed", False),
        ],
    )
    def test_not_one_at_an_earlier_step_than_the_event(self, said: RefundStatus, listed: str, *, is_it: bool) -> None:
        assert names([item(1, status=listed)], Hint("R1", 5000, said)) == ([("1", "R1")] if is_it else [])

    @pytest.mark.parametrize("status", ["pending", "processing", "needs-attention", "failed"])
    def test_one_that_counts_as_nothing_is_told_by_its_number(self, status: str) -> None:
        assert names([item(1, status=status)]) == [("1",)]
        assert names([item(1, status=status), item(2, 700)], Hint("R2", 700, DONE)) == [("1",), ("2", "R2")]
        assert names([item(1, status=status), item(2, status=status)]) == []  # no reference could find its own

    def test_one_that_is_completed_is_left_to_its_own_event(self) -> None:
        assert names([item(1)]) == []
        assert names([item(1), item(2, 700)], Hint("R2", 700, DONE)) == [("2", "R2")]
        assert names([item(1)], Hint(None, 5000, OPEN)) == []

    def test_unless_the_event_called_it_completed_and_gave_it_no_reference(self) -> None:
        assert names([item(1), item(2, 700)], Hint(None, 5000, DONE)) == [("1",)]
        assert names([item(1), item(2)], Hint(None, 5000, DONE)) == []


class TestNoneIsCountedTwice:
    @given(data=st.data())
    def test_whenever_events_come_and_whenever_the_api_is_asked(self, data: st.DataObject) -> None:
        """The rows of a model of recording, which joins facts that share a name, never give back more than Paystack."""
        story = _Story(data.draw(st.lists(st.sampled_from([500, 700]), min_size=1, max_size=4), label="amounts"))
        while story.goes_on():
            story.step(data.draw(st.integers(min_value=0), label="step"))
            assert story.recorded_minor() <= story.given_back_minor()
        assert story.recorded_minor() == story.given_back_minor()


class _Story:
    """Refunds of one transaction as Paystack makes them, their events, and what is recorded of them."""

    def __init__(self, amounts: list[int]) -> None:
        self.to_make = amounts
        self.items: list[dict[str, Any]] = []
        self.on_their_way: list[dict[str, Any]] = []  # events that are not delivered yet
        self.asked: list[Mapping[str, Any]] = []  # questions that are not answered yet
        self.rows: list[tuple[set[ObjectName], int, RefundStatus]] = []
        self.numbers = count(1)

    def goes_on(self) -> bool:
        """Return whether anything is left to happen."""
        return bool(self.to_make or self._open() or self.on_their_way or self.asked)

    def step(self, choice: int) -> None:
        """Let one of the things happen that can."""
        ways = [self._make] * bool(self.to_make) + [self._complete] * bool(self._open())
        ways += [self._deliver] * bool(self.on_their_way) + [self._answer] * bool(self.asked)
        ways[choice % len(ways)](choice // len(ways))

    def given_back_minor(self) -> int:
        """Return what Paystack has given back."""
        return sum(each["amount"] for each in self.items if each["status"] == "processed")

    def recorded_minor(self) -> int:
        """Return what the rows say was given back."""
        return sum(amount for _, amount, status in self.rows if status is RefundStatus.COMPLETED)

    def _open(self) -> list[dict[str, Any]]:
        return [each for each in self.items if each["status"] == "pending"]

    def _make(self, _choice: int) -> None:
        made = item(next(self.numbers), self.to_make.pop(), "pending")
        self.items.append(made)
        self.on_their_way.append({"amount": made["amount"], "refund_reference": None, "sample": "refund.pending"})

    def _complete(self, choice: int) -> None:
        done = self._open()[choice % len(self._open())]
        done["status"] = "processed"
        reference = f"R{done['id']}"
        self.on_their_way.append(
            {"amount": done["amount"], "refund_reference": reference, "sample": "refund.processed"}
        )

    def _deliver(self, choice: int) -> None:
        said = self.on_their_way.pop(choice % len(self.on_their_way))
        event = told(said.pop("sample"), transaction_reference="T1", **said)
        self._record([fact for fact in event.facts if isinstance(fact, RefundFact)])
        self.asked.append(hints(event))

    def _answer(self, choice: int) -> None:
        asked = self.asked.pop(choice % len(self.asked))
        hint = Hint(asked.get("refund_reference"), asked["refund_amount_minor"], RefundStatus(asked["refund_status"]))
        self._record(list(listed_refunds(self.items, PAYMENT, hint).facts))

    def _record(self, facts: list[RefundFact]) -> None:
        for fact in facts:
            same = [row for row in self.rows if row[0] & set(fact.objects)]
            self.rows = [row for row in self.rows if row not in same]
            assert fact.amount_minor is not None
            assert fact.status is not None
            steps = [LADDER.index(fact.status), *(LADDER.index(row[2]) for row in same)]
            joined = set(fact.objects).union(*(row[0] for row in same))
            self.rows.append((joined, fact.amount_minor, LADDER[max(steps)]))

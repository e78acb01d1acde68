"""What is odd about PayPal's payouts, case by case."""

import json

import pytest

from gatehouse.facts import Event, ObjectName, PayoutFact, PayoutStatus
from gatehouse.gateways.paypal.translate import facts_of_answer
from tests.support.paypal_events import SAMPLES, event_of, only, told

ITEM = "payment.payouts-item.succeeded"
BATCH = "payment.payoutsbatch.success"

pytestmark = pytest.mark.req("G16")


def payout(event: Event) -> PayoutFact:
    return only(PayoutFact, event)


def old(value: object, currency: object = "USD") -> dict[str, object]:
    return {"value": value, "currency": currency}


class TestItems:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("PENDING", PayoutStatus.PENDING),
            ("UNCLAIMED", PayoutStatus.PENDING),
            ("ONHOLD", PayoutStatus.PENDING),
            ("SUCCESS", PayoutStatus.SETTLED),
            ("FAILED", PayoutStatus.FAILED),
            ("DENIED", PayoutStatus.FAILED),
            ("BLOCKED", PayoutStatus.FAILED),
            ("CANCELED", PayoutStatus.CANCELLED),
            ("RETURNED", PayoutStatus.REVERSED),
            ("REFUNDED", PayoutStatus.REVERSED),
            ("REVERSED", PayoutStatus.REVERSED),
        ],
    )
    def test_status_is_what_it_says(self, said: str, status: PayoutStatus) -> None:
        found = payout(told(ITEM, transaction_status=said))
        assert found.status is status
        assert found.reversed_minor == (100 if status is PayoutStatus.REVERSED else None)
        assert bool(found.settled_at) == (status is PayoutStatus.SETTLED)

    @pytest.mark.parametrize("unknown", [..., None, 7, "WHOLLY_NEW"])
    def test_status_that_is_not_said_is_what_the_name_says(self, unknown: object) -> None:
        for sample in (name for name in SAMPLES if name.startswith("payment.payouts-item.")):
            assert payout(told(sample, transaction_status=unknown)).status is payout(event_of(sample)).status

    def test_names(self) -> None:
        found = payout(event_of(ITEM))
        assert found.objects == (
            ObjectName("payout_item", "AYNYWNCHBD8KS"),
            ObjectName("transaction", "57J64166G9424913F"),
        )
        assert (found.kind, found.batch_ref, found.reference) == ("transfer", "Q8B9WFS7ZZJ4Q", "Item1")
        assert payout(told(ITEM, transaction_id=...)).objects == found.objects[:1]

    def test_the_recipient_is_an_account_and_no_address(self) -> None:
        assert payout(event_of("payment.payouts-item.returned")).destination == "COMPOSEDPAYER"
        for kind, receiver in (
            ("EMAIL", "x@example.com"),
            ("PHONE", "408-555-1234"),
            ("USER_HANDLE", "@x"),
            (None, "NOBODY"),
        ):
            item = {"recipient_type": kind, "receiver": receiver, "amount": old("1.0")}
            event = told(ITEM, payout_item=item)
            assert payout(event).destination is None
            assert receiver not in repr(event.facts)

    @pytest.mark.parametrize(
        ("errors", "code"),
        [
            ({"name": "RECEIVER_UNREGISTERED", "message": "No account."}, "RECEIVER_UNREGISTERED"),
            ([{"name": "RECEIVER_UNREGISTERED", "message": "No account."}], "RECEIVER_UNREGISTERED"),
            ({"name": 7}, None),
            ("x", None),
            (None, None),
            ([], None),
        ],
    )
    def test_why_it_failed(self, errors: object, code: str | None) -> None:
        assert payout(told("payment.payouts-item.failed", errors=errors)).failure_code == code
        for pending in (ITEM, "payment.payouts-item.unclaimed"):
            assert payout(told(pending, errors=errors)).failure_code is None

    @pytest.mark.parametrize("item", [None, [], "x", {}, {"amount": "1.0"}, {"amount": old("many")}])
    def test_an_item_that_says_nothing(self, item: object) -> None:
        found = payout(told(ITEM, payout_item=item))
        assert (found.amount_minor, found.reference, found.status) == (None, None, PayoutStatus.SETTLED)

    def test_a_fee_in_another_currency_is_no_fee(self) -> None:
        assert payout(event_of(ITEM)).fee_minor == 25
        assert payout(told(ITEM, payout_item_fee=old("0.25", "EUR"))).fee_minor is None

    @pytest.mark.parametrize("no_id", [None, "", 7, ...])
    def test_without_a_name_is_refused_and_kept(self, no_id: object) -> None:
        assert told(ITEM, payout_item_id=no_id).refused_because == "the resource has no id"
        header = {} if no_id is ... else {"payout_batch_id": no_id}
        assert told(BATCH, batch_header=header).refused_because == "the resource has no id"


class TestBatches:
    @pytest.mark.parametrize(
        ("said", "status"),
        [
            ("PENDING", PayoutStatus.PENDING),
            ("PROCESSING", PayoutStatus.PENDING),
            ("SUCCESS", PayoutStatus.SETTLED),
            ("DENIED", PayoutStatus.FAILED),
            ("CANCELED", PayoutStatus.CANCELLED),
            ("WHOLLY_NEW", PayoutStatus.SETTLED),
            (None, PayoutStatus.SETTLED),
        ],
    )
    def test_status(self, said: object, status: PayoutStatus) -> None:
        header = json.loads(SAMPLES[BATCH].read_text())["resource"]["batch_header"]
        assert payout(told(BATCH, batch_header={**header, "batch_status": said})).status is status

    def test_says_what_it_is(self) -> None:
        found = payout(event_of("payment.payoutsbatch.processing"))
        assert (found.objects, found.kind) == ((ObjectName("payout_batch", "COMPOSEDBATCH1"),), "batch")
        assert (found.amount_minor, found.fee_minor, found.reference) == (4800, 50, "2026-47")

    def test_an_answer_brings_its_items(self) -> None:
        payload = json.loads(SAMPLES[BATCH].read_text())["resource"]
        items = [
            json.loads(SAMPLES[f"payment.payouts-item.{word}"].read_text())["resource"] for word in ("held", "denied")
        ]
        batch, held, denied = facts_of_answer("payout_batch", {**payload, "items": items})
        assert [fact.objects[0] for fact in (batch, held, denied)] == [
            ObjectName("payout_batch", "CQGA9SFAU8WSN"),
            ObjectName("payout_item", "COMPOSEDITEM6"),
            ObjectName("payout_item", "COMPOSEDITEM5"),
        ]

    @pytest.mark.parametrize("items", [None, "x", [], [None, 7]])
    def test_items_that_are_none(self, items: object) -> None:
        payload = json.loads(SAMPLES[BATCH].read_text())["resource"]
        assert len(facts_of_answer("payout_batch", {**payload, "items": items})) == 1

"""A refund that we ask for: never above what is left, sent once, settled by the gateway's answer or event."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.enrichment.refunds import send_refund
from gatehouse.errors import Conflict, KeyReused, NotFound, RefundTooLarge, ValidationError
from gatehouse.gateways.stripe.client import StripeClient
from gatehouse.intake.record import record
from gatehouse.jobs.claim import work_on
from gatehouse.models.orders import create_order, find_order
from gatehouse.models.payments import Payment, find_payment, find_payment_by_object
from gatehouse.models.refunds import (
    RefundRequest,
    find_refund_request,
    list_refund_requests,
    refunds_of_payment,
    request_refund,
    send_refund_again,
)
from gatehouse.sealing import Keyring
from tests.store.refunding_stripe import RefundingStripe, refunding_stripe
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, at_once, paid, refunded, told
from tests.support.queues import Queues

pytestmark = pytest.mark.req("P6")


class WithoutKeys(StripeClient):
    """A gateway that honours no idempotency keys, with Stripe's words."""

    keeps_refund_keys = timedelta(0)


@pytest.fixture
def stripe() -> Iterator[RefundingStripe]:
    with refunding_stripe() as server:
        yield server


@pytest.fixture
def payment(intake: Database, api: Database, keyring: Keyring) -> Payment:
    """A payment of an order, which it completes."""
    create_order(api, DEFAULT, FESTIVAL._replace(reference="web"), JOHN, PASSES)
    record(intake, told("evt_paid", paid("pi_1", reference="web")), keyring)
    return find_payment_by_object(api, DEFAULT, "pi_1")


def send(
    request: RefundRequest, worker: Database, queues: Queues, stripe: RefundingStripe, kind: Any = StripeClient
) -> str:
    """Work on the job of a request, as the queue function does."""
    client = kind("sk_test_1", stripe.url, sleep=lambda _: None)
    worker.query("update jobs set due_at = now() where id = :id and status = 'waiting'", id=request.job_id)
    sends = {"send_refund": lambda job: send_refund(job, lambda *_: client, worker)}
    verdict = work_on(request.job_id, sends, worker, queues.bell())
    client.close()
    return verdict


def state(database: Database, request: UUID) -> tuple[str, str]:
    found = find_refund_request(database, DEFAULT, request)
    return found.state, found.refund_status


def test_a_refund_is_pending_until_the_gateway_has_answered(
    api: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    before = api.statistics.flushes
    request = request_refund(api, DEFAULT, payment.id, amount_minor=10_000, reason="asked for", actor="anna")
    assert api.statistics.flushes == before + 1
    assert (request.state, request.refund_status, request.actor) == ("pending", "pending", "anna")
    assert find_payment(api, DEFAULT, payment.id).status == "completed"
    assert send(request, worker, queues, stripe) == "done"
    assert state(api, request.id) == ("sent", "completed")
    assert find_refund_request(api, DEFAULT, request.id).gateway_id == "re_1"
    order = find_order(api, DEFAULT, payment.order_id or 0)
    assert (order.status, order.refunded_minor) == ("partially_refunded", 10_000)
    assert send(request, worker, queues, stripe) == "nothing to do"
    assert len(stripe.refunds) == 1


def test_part_by_us_and_the_rest_by_an_event_make_it_refunded(
    intake: Database,
    api: Database,
    worker: Database,
    queues: Queues,
    keyring: Keyring,
    stripe: RefundingStripe,
    payment: Payment,
) -> None:
    request = request_refund(api, DEFAULT, payment.id, amount_minor=TOTAL // 2)
    send(request, worker, queues, stripe)
    record(intake, told("evt_ours", refunded("re_1", "pi_1", TOTAL // 2), second=5), keyring)
    record(intake, told("evt_rest", refunded("re_2", "pi_1", TOTAL - TOTAL // 2), second=6), keyring)
    assert [refund.gateway_id for refund in refunds_of_payment(api, DEFAULT, payment.id)] == ["re_1", "re_2"]
    assert find_payment(api, DEFAULT, payment.id).status == "refunded"
    assert find_order(api, DEFAULT, payment.order_id or 0).status == "refunded"


def test_the_event_may_come_before_the_answer(
    intake: Database,
    api: Database,
    worker: Database,
    queues: Queues,
    keyring: Keyring,
    stripe: RefundingStripe,
    payment: Payment,
) -> None:
    request = request_refund(api, DEFAULT, payment.id, amount_minor=100)
    record(intake, told("evt", refunded("re_1", "pi_1", 100)), keyring)
    send(request, worker, queues, stripe)
    assert state(api, request.id) == ("sent", "completed")
    assert find_payment(api, DEFAULT, payment.id).refunded_minor == 100
    assert len(refunds_of_payment(api, DEFAULT, payment.id)) == 1


@pytest.mark.parametrize("amount", [TOTAL + 1, 2**62])
def test_never_above_the_payment(api: Database, payment: Payment, amount: int) -> None:
    with pytest.raises(RefundTooLarge) as refused:
        request_refund(api, DEFAULT, payment.id, amount_minor=amount)
    assert (refused.value.http_status, refused.value.left_minor) == (409, TOTAL)


def test_pending_ones_count_and_all_that_is_left_is_the_default(api: Database, payment: Payment) -> None:
    request_refund(api, DEFAULT, payment.id, amount_minor=TOTAL - 1)
    with pytest.raises(RefundTooLarge) as refused:
        request_refund(api, DEFAULT, payment.id, amount_minor=2)
    assert refused.value.left_minor == 1
    assert request_refund(api, DEFAULT, payment.id).amount_minor == 1
    with pytest.raises(RefundTooLarge, match="nothing is left"):
        request_refund(api, DEFAULT, payment.id)


@pytest.mark.pooler
def test_of_many_at_once_only_so_many_fit(many: list[Database], api: Database, payment: Payment) -> None:
    asked = at_once(
        [partial(request_refund, database, DEFAULT, payment.id, amount_minor=10_000) for database in many[:12]]
    )
    assert sum(isinstance(each, RefundRequest) for each in asked) == 3
    assert {type(each) for each in asked} == {RefundRequest, RefundTooLarge}
    assert sum(refund.amount_minor or 0 for refund in refunds_of_payment(api, DEFAULT, payment.id)) == 30_000


def test_the_same_key_asks_once(api: Database, payment: Payment) -> None:
    first = request_refund(api, DEFAULT, payment.id, amount_minor=5, idempotency_key="k")
    assert request_refund(api, DEFAULT, payment.id, amount_minor=5, idempotency_key="k") == first
    with pytest.raises(KeyReused):
        request_refund(api, DEFAULT, payment.id, amount_minor=6, idempotency_key="k")


def test_what_cannot_be_refunded_is_refused(
    intake: Database, api: Database, keyring: Keyring, payment: Payment
) -> None:
    with pytest.raises(NotFound):
        request_refund(api, DEFAULT, payment.id + 1000)
    with pytest.raises(ValidationError, match="amount_minor"):
        request_refund(api, DEFAULT, payment.id, amount_minor=0)
    failed = paid("pi_2")._replace(status=None)
    record(intake, told("evt_2", failed), keyring)
    with pytest.raises(Conflict, match="pending cannot be refunded"):
        request_refund(api, DEFAULT, find_payment_by_object(api, DEFAULT, "pi_2").id)
    account = GatewayAccount("sayswitch", "default", DEFAULT, "both", ())
    record(intake, told("evt_sayswitch", paid("sayswitch"), account=account), keyring)
    with pytest.raises(ValidationError, match="whole payments only"):
        request_refund(api, DEFAULT, find_payment_by_object(api, DEFAULT, "sayswitch").id, amount_minor=1)


def test_refused_by_the_gateway_is_failed_with_its_reason_and_counts_no_more(
    api: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    stripe.refusal = (400, "charge_disputed")
    request = request_refund(api, DEFAULT, payment.id)
    assert send(request, worker, queues, stripe) == "done"
    assert state(api, request.id) == ("failed", "failed")
    assert "charge_disputed" in (find_refund_request(api, DEFAULT, request.id).failure or "")
    assert find_order(api, DEFAULT, payment.order_id or 0).status == "completed"
    assert request_refund(api, DEFAULT, payment.id).amount_minor == TOTAL


def test_a_refused_request_of_ours_hides_no_refund_that_the_gateway_counts(
    intake: Database,
    api: Database,
    worker: Database,
    queues: Queues,
    keyring: Keyring,
    stripe: RefundingStripe,
    payment: Payment,
) -> None:
    stripe.refusal = (400, "charge_disputed")
    send(request_refund(api, DEFAULT, payment.id, amount_minor=100), worker, queues, stripe)
    record(intake, told("evt_total", paid("pi_1", refunded_minor=100), second=9), keyring)
    assert find_payment(api, DEFAULT, payment.id).refunded_minor == 100


def test_a_refused_key_is_no_refused_refund(
    api: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    stripe.refusal = (401, "api_key_expired")
    request = request_refund(api, DEFAULT, payment.id)
    assert send(request, worker, queues, stripe) == "buried"
    found = find_refund_request(api, DEFAULT, request.id)
    assert (found.state, found.refund_status, found.job_status) == ("pending", "pending", "dead")


def test_with_keys_an_interrupted_call_is_made_again(
    api: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    stripe.hang_ups = 4  # more than the client tries by itself
    request = request_refund(api, DEFAULT, payment.id)
    assert send(request, worker, queues, stripe) == "postponed"
    assert state(api, request.id) == ("sending", "pending")
    assert send(request, worker, queues, stripe) == "done"
    assert state(api, request.id) == ("sent", "completed")
    assert (stripe.calls, len(stripe.refunds)) == (5, 1)


@pytest.mark.parametrize("forgets", [False, True], ids=["by our mark", "by its amount"])
def test_without_keys_an_interrupted_call_is_looked_for_and_not_repeated(
    forgets: bool,
    intake: Database,
    api: Database,
    worker: Database,
    queues: Queues,
    keyring: Keyring,
    stripe: RefundingStripe,
    payment: Payment,
) -> None:
    stripe.hang_ups, stripe.forgets_metadata = 3, forgets
    request = request_refund(api, DEFAULT, payment.id, amount_minor=100)
    send(request, worker, queues, stripe, WithoutKeys)
    calls = stripe.calls
    assert send(request, worker, queues, stripe, WithoutKeys) == "done"
    assert state(api, request.id) == ("sent", "completed")
    assert (stripe.calls, len(stripe.refunds)) == (calls, 1)
    record(intake, told("evt", refunded("re_1", "pi_1", 100)), keyring)
    assert find_payment(api, DEFAULT, payment.id).refunded_minor == 100


def test_what_nobody_can_find_waits_for_a_person(
    api: Database, ops: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    stripe.hang_ups, stripe.hides_refunds = 3, True
    request = request_refund(api, DEFAULT, payment.id)
    verdicts = [send(request, worker, queues, stripe, WithoutKeys) for _ in range(5)]
    assert verdicts == ["postponed"] * 4 + ["done"]
    assert state(api, request.id) == ("unknown", "pending")
    assert [each.id for each in list_refund_requests(api, DEFAULT, state="unknown").rows] == [request.id]
    with pytest.raises(RefundTooLarge):  # it may have been made: its money is not given back twice
        request_refund(api, DEFAULT, payment.id)
    assert send(request, worker, queues, stripe, WithoutKeys) == "nothing to do"
    calls = stripe.calls
    assert send_refund_again(ops, DEFAULT, request.id).state == "pending"
    assert send(request, worker, queues, stripe, WithoutKeys) == "done"
    assert (stripe.calls, state(api, request.id)) == (calls + 1, ("sent", "completed"))
    with pytest.raises(Conflict, match="not unknown"):
        send_refund_again(ops, DEFAULT, request.id)


def test_another_refund_of_the_same_amount_is_not_taken_for_ours(
    api: Database, worker: Database, queues: Queues, stripe: RefundingStripe, payment: Payment
) -> None:
    first = request_refund(api, DEFAULT, payment.id, amount_minor=100)
    send(first, worker, queues, stripe, WithoutKeys)
    stripe.hang_ups = 3
    second = request_refund(api, DEFAULT, payment.id, amount_minor=100)
    send(second, worker, queues, stripe, WithoutKeys)
    assert send(second, worker, queues, stripe, WithoutKeys) == "done"
    found = {find_refund_request(api, DEFAULT, each.id).gateway_id for each in (first, second)}
    assert found == {"re_1", "re_2"}
    stripe.refund_made("dashboard", {"amount": "100", "payment_intent": "pi_1"})
    stripe.refund_made("dashboard again", {"amount": "100", "payment_intent": "pi_1"})
    third = request_refund(api, DEFAULT, payment.id, amount_minor=100)
    worker.query("update refund_requests set state = 'sending' where id = :id", id=third.id)
    assert send(third, worker, queues, stripe, WithoutKeys) == "done"
    assert state(api, third.id)[0] == "unknown"
    assert find_refund_request(api, DEFAULT, third.id).refund_status == "pending"

"""Refunds that we ask MX Merchant and SaySwitch for, over HTTP, against what stands in for their APIs."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.enrichment.refunds import LISTINGS_UNTIL_UNKNOWN, send_refund
from gatehouse.errors import Conflict, NotFound, QueryError, RefundTooLarge, ValidationError
from gatehouse.facts import ObjectName
from gatehouse.gateways.mx_merchant.client import MxMerchantClient
from gatehouse.gateways.sayswitch.client import SayswitchClient
from gatehouse.intake.record import record
from gatehouse.jobs.claim import work_on
from gatehouse.models.orders import create_order, find_order
from gatehouse.models.payments import Payment, find_payment, find_payment_by_object
from gatehouse.models.refunds import (
    FULL_REFUNDS_ONLY,
    RefundRequest,
    find_refund_request,
    list_refund_requests,
    refunds_of_payment,
    request_refund,
    send_refund_again,
    settle_refund,
)
from gatehouse.sealing import Keyring
from local.gateway_apis import Fault, Gateway, GatewayApi
from local.mx_merchant_api import MxMerchantApi
from local.sayswitch_api import SayswitchApi
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, at_once, paid, refunded, told
from tests.support.queues import Queues

pytestmark = pytest.mark.req("P6", "G4", "G5")

MERCHANT_ID = "418355562"
MX_PAYMENT = ObjectName("payment", "4000000053170001")
SAYSWITCH_PAYMENT = ObjectName("reference", "SSW_17482")


class Till(NamedTuple):
    """A gateway's API, our client of it, and a payment of an order that came in through it."""

    api: GatewayApi
    client: Any
    payment: Payment

    def made(self) -> list[dict[str, Any]]:
        """Return the refunds that the gateway has made."""
        kept = self.api.gateway
        if isinstance(kept, MxMerchantApi):
            back = [each for each in kept._payments.values() if each["type"] == "Return"]
            return [each for each in back if each["status"] == "Approved"]
        assert isinstance(kept, SayswitchApi)
        return list(kept._refunds.values())

    def calls(self, method: str) -> int:
        """Return how often the gateway was told to do something."""
        return [request.method for request in self.api.requests].count(method)


class MxWithoutMemory(MxMerchantClient):
    """The client when a replayId is too old to count on."""

    keeps_refund_keys = timedelta(0)


def stand_in(gateway: Gateway, thing: dict[str, Any]) -> Iterator[GatewayApi]:
    gateway.remember(thing)
    api = GatewayApi(gateway)
    api.start()
    yield api
    api.stop()


def paid_order(gateway: str, name: ObjectName, intake: Database, api: Database, keyring: Keyring) -> Payment:
    """Let an order be paid through a gateway; return its payment."""
    create_order(api, DEFAULT, FESTIVAL._replace(reference="web"), JOHN, PASSES)
    fact = paid("unused", reference="web")._replace(objects=(name,))
    record(intake, told("paid", fact, account=GatewayAccount(gateway, "default", DEFAULT, "both", ())), keyring)
    payment = find_payment_by_object(api, DEFAULT, name.id)
    assert find_order(api, DEFAULT, payment.order_id or 0).status == "completed"
    return payment


def mx_payment(**changes: Any) -> dict[str, Any]:
    return {
        "id": int(MX_PAYMENT.id),
        "merchantId": int(MERCHANT_ID),
        "type": "Sale",
        "status": "Settled",
        "settledAmount": "326.24",
        "amount": "326.24",
        "surchargeAmount": "0",
        "currency": "USD",
        "tenderType": "Card",
        "created": "2026-05-15T10:00:00.000Z",
        "paymentToken": "P_STORE",
        "invoice": None,
        **changes,
    }


@pytest.fixture
def mx(intake: Database, api: Database, keyring: Keyring) -> Iterator[Till]:
    """MX Merchant, with a payment that is settled."""
    payment = paid_order("mx_merchant", MX_PAYMENT, intake, api, keyring)
    for there in stand_in(MxMerchantApi(), mx_payment()):
        client = mx_client(there)
        yield Till(there, client, payment)
        client.close()


def mx_client(there: GatewayApi, kind: type[MxMerchantClient] = MxMerchantClient) -> MxMerchantClient:
    import httpx

    return kind(MERCHANT_ID, there.url, httpx.BasicAuth("key", "secret"), sleep=lambda _: None)


@pytest.fixture
def sayswitch(intake: Database, api: Database, keyring: Keyring) -> Iterator[Till]:
    """SaySwitch, with a payment; the fee that its payer paid is no part of it."""
    payment = paid_order("sayswitch", SAYSWITCH_PAYMENT, intake, api, keyring)
    data = {"id": 2527, "reference": SAYSWITCH_PAYMENT.id, "status": "success", "currency": "USD", "domain": "test"}
    data |= {"amount": "327.24", "requested_amount": "326.24", "fees": "1.00", "paid_at": "2026-05-15 12:04:40"}
    for there in stand_in(SayswitchApi(), {"success": True, "message": "Verification successful", "data": data}):
        client = SayswitchClient("sk_test_1", there.url, sleep=lambda _: None)
        yield Till(there, client, payment)
        client.close()


@pytest.fixture(params=["mx", "sayswitch"])
def till(request: pytest.FixtureRequest) -> Till:
    """Each of both gateways."""
    found: Till = request.getfixturevalue(request.param)
    return found


def send(request: RefundRequest, worker: Database, queues: Queues, client: Any) -> str:
    """Work on the job of a request, as the queue function does."""
    worker.query("update jobs set due_at = now() where id = :id and status = 'waiting'", id=request.job_id)
    sends = {"send_refund": lambda job: send_refund(job, lambda *_: client, worker)}
    return work_on(request.job_id, sends, worker, queues.bell())


def state(database: Database, request: UUID) -> tuple[str, str]:
    found = find_refund_request(database, DEFAULT, request)
    return found.state, found.refund_status


def test_parts_are_asked_of_mx_merchant_and_never_above_what_is_left(
    api: Database, worker: Database, queues: Queues, mx: Till
) -> None:
    first = request_refund(api, DEFAULT, mx.payment.id, amount_minor=10_000, reason="ill")
    assert send(first, worker, queues, mx.client) == "done"
    assert state(api, first.id) == ("sent", "completed")
    with pytest.raises(RefundTooLarge) as refused:
        request_refund(api, DEFAULT, mx.payment.id, amount_minor=TOTAL - 10_000 + 1)
    assert refused.value.left_minor == TOTAL - 10_000
    rest = request_refund(api, DEFAULT, mx.payment.id)
    assert send(rest, worker, queues, mx.client) == "done"
    assert find_payment(api, DEFAULT, mx.payment.id).status == "refunded"
    assert find_order(api, DEFAULT, mx.payment.order_id or 0).status == "refunded"
    assert [each["amount"] for each in mx.made()] == ["-100", "-226.24"]
    assert find_refund_request(api, DEFAULT, rest.id).gateway_id == str(mx.made()[1]["id"])


def test_sayswitch_refunds_a_payment_whole_and_only_so(
    intake: Database, api: Database, worker: Database, queues: Queues, keyring: Keyring, sayswitch: Till
) -> None:
    assert FULL_REFUNDS_ONLY == ("sayswitch",)
    with pytest.raises(ValidationError, match="whole payments only: 32624"):
        request_refund(api, DEFAULT, sayswitch.payment.id, amount_minor=TOTAL - 1)
    whole = request_refund(api, DEFAULT, sayswitch.payment.id)
    assert send(whole, worker, queues, sayswitch.client) == "done"
    assert state(api, whole.id) == ("sent", "pending")  # until SaySwitch says that it was made
    [made] = sayswitch.made()
    assert (made["amount"], find_refund_request(api, DEFAULT, whole.id).gateway_id) == (
        *("326.24", made["refund_reference"]),
    )
    made["status"] = "success"
    done = sayswitch.client.fetch("refund", made["refund_reference"])
    account = GatewayAccount("sayswitch", "default", DEFAULT, "both", ())
    record(intake, told("refunded", *done.facts, second=None, account=account), keyring)
    assert state(api, whole.id) == ("sent", "completed")
    assert find_payment(api, DEFAULT, sayswitch.payment.id).status == "refunded"
    assert len(refunds_of_payment(api, DEFAULT, sayswitch.payment.id)) == 1


@pytest.mark.pooler
@pytest.mark.parametrize("amount", [TOTAL // 2 + 1, None], ids=["more than half", "all"])
def test_of_many_at_once_one_fits(many: list[Database], api: Database, mx: Till, amount: int | None) -> None:
    asks = [partial(request_refund, database, DEFAULT, mx.payment.id, amount_minor=amount) for database in many[:8]]
    asked = at_once(asks)
    assert sum(isinstance(each, RefundRequest) for each in asked) == 1
    assert {type(each) for each in asked} == {RefundRequest, RefundTooLarge}
    assert len(refunds_of_payment(api, DEFAULT, mx.payment.id)) == 1


@pytest.mark.pooler
def test_of_many_at_once_one_whole_refund_is_sent_to_sayswitch(
    many: list[Database], worker: Database, queues: Queues, sayswitch: Till
) -> None:
    asked = at_once([partial(request_refund, database, DEFAULT, sayswitch.payment.id) for database in many[:8]])
    [one] = [each for each in asked if isinstance(each, RefundRequest)]
    assert send(one, worker, queues, sayswitch.client) == "done"
    assert len(sayswitch.made()) == 1


def test_all_of_what_is_not_settled_is_voided_and_neither_paid_nor_refunded(
    api: Database, worker: Database, queues: Queues, mx: Till
) -> None:
    mx.api.gateway.remember(mx_payment(status="Approved", settledAmount="0"))
    request = request_refund(api, DEFAULT, mx.payment.id, reason="ordered twice")
    assert send(request, worker, queues, mx.client) == "done"
    assert state(api, request.id) == ("sent", "cancelled")
    payment = find_payment(api, DEFAULT, mx.payment.id)
    assert (payment.status, payment.status_reason, payment.refunded_minor or 0) == ("cancelled", "voided", 0)
    order = find_order(api, DEFAULT, payment.order_id or 0)
    assert (order.payment_state, order.refunded_minor) == ("reversed", 0)
    [refund] = refunds_of_payment(api, DEFAULT, payment.id)
    assert (refund.gateway_id, refund.reason, refund.metadata) == (
        *(MX_PAYMENT.id, "ordered twice"),
        {"undone_by": "void"},
    )
    assert (mx.calls("DELETE"), mx.calls("POST")) == (1, 0)


@pytest.mark.parametrize("status", ["Settled", "Approved"], ids=["refunded", "voided"])
def test_an_interrupted_call_to_mx_merchant_is_made_again_and_refunds_once(
    status: str, api: Database, worker: Database, queues: Queues, mx: Till
) -> None:
    mx.api.gateway.remember(mx_payment(status=status, settledAmount="0"))
    mx.api.fail_with(Fault("truncated" if status == "Settled" else "500", method=WORD[status]))
    request = request_refund(api, DEFAULT, mx.payment.id)
    assert send(request, worker, queues, mx.client) == "postponed"
    assert state(api, request.id) == ("sending", "pending")
    mx.api.fail_with(None)
    assert send(request, worker, queues, mx.client) == "done"
    assert state(api, request.id) == ("sent", "completed" if status == "Settled" else "cancelled")
    assert len(mx.made()) == (1 if status == "Settled" else 0)


WORD = {"Settled": "POST", "Approved": "DELETE"}


@pytest.mark.parametrize("status", ["Settled", "Approved"], ids=["refunded", "voided"])
def test_when_mx_merchant_may_have_forgotten_the_key_its_refunds_are_listed(
    status: str, api: Database, worker: Database, queues: Queues, mx: Till
) -> None:
    mx.api.gateway.remember(mx_payment(status=status, settledAmount="0"))
    request = request_refund(api, DEFAULT, mx.payment.id)
    mx.client.refund(MX_PAYMENT, amount_minor=TOTAL, currency="USD", idempotency_key=str(request.id))
    worker.query("update refund_requests set state = 'sending' where id = :id", id=request.id)
    told_so_far = mx.calls("POST") + mx.calls("DELETE")
    forgotten = mx_client(mx.api, MxWithoutMemory)
    assert send(request, worker, queues, forgotten) == "done"
    forgotten.close()
    assert state(api, request.id) == ("sent", "completed" if status == "Settled" else "cancelled")
    assert mx.calls("POST") + mx.calls("DELETE") == told_so_far


def test_an_interrupted_call_to_sayswitch_is_looked_for_and_not_repeated(
    api: Database, worker: Database, queues: Queues, sayswitch: Till
) -> None:
    sayswitch.api.fail_with(Fault("truncated", method="POST"))
    request = request_refund(api, DEFAULT, sayswitch.payment.id)
    assert send(request, worker, queues, sayswitch.client) == "postponed"
    assert (state(api, request.id), len(sayswitch.made())) == (("sending", "pending"), 1)
    assert send(request, worker, queues, sayswitch.client) == "done"
    assert state(api, request.id) == ("sent", "pending")
    assert (sayswitch.calls("POST"), len(refunds_of_payment(api, DEFAULT, sayswitch.payment.id))) == (1, 1)


def test_what_sayswitch_does_not_show_waits_for_a_person(
    api: Database, ops: Database, worker: Database, queues: Queues, sayswitch: Till
) -> None:
    sayswitch.api.fail_with(Fault("500", method="POST"))
    request = request_refund(api, DEFAULT, sayswitch.payment.id)
    verdicts = [send(request, worker, queues, sayswitch.client) for _ in range(LISTINGS_UNTIL_UNKNOWN + 1)]
    assert verdicts == ["postponed"] * LISTINGS_UNTIL_UNKNOWN + ["done"]
    assert state(api, request.id) == ("unknown", "pending")
    assert [each.id for each in list_refund_requests(api, DEFAULT, state="unknown").rows] == [request.id]
    with pytest.raises(RefundTooLarge):
        request_refund(api, DEFAULT, sayswitch.payment.id)
    sayswitch.api.fail_with(None)
    assert send(request, worker, queues, sayswitch.client) == "nothing to do"
    assert (sayswitch.calls("POST"), sayswitch.made()) == (1, [])
    send_refund_again(ops, DEFAULT, request.id)
    assert send(request, worker, queues, sayswitch.client) == "done"
    assert (state(api, request.id), len(sayswitch.made())) == (("sent", "pending"), 1)


def unknown(api: Database, worker: Database, sayswitch: Till) -> RefundRequest:
    """Return a request of which nobody knows whether it was carried out."""
    request = request_refund(api, DEFAULT, sayswitch.payment.id)
    worker.query("update refund_requests set state = 'unknown' where id = :id", id=request.id)
    return request


def refund_told(intake: Database, keyring: Keyring, name: str, **words: Any) -> None:
    """Let an event tell of a refund."""
    account = GatewayAccount("sayswitch", "default", DEFAULT, "both", ())
    fact = refunded(name, "unused", TOTAL)._replace(**{"payment": (SAYSWITCH_PAYMENT,), **words})
    record(intake, told(f"evt_{name}", fact, second=5, account=account), keyring)


def test_a_person_settles_an_unknown_one_by_the_refund_that_was_made(
    intake: Database, api: Database, ops: Database, worker: Database, keyring: Keyring, sayswitch: Till
) -> None:
    request = unknown(api, worker, sayswitch)
    with pytest.raises(NotFound, match="no refund of this name was told of"):
        settle_refund(ops, DEFAULT, request.id, made_as="RF_1")
    refund_told(intake, keyring, "RF_2", amount_minor=TOTAL - 1)
    with pytest.raises(ValidationError, match="of another payment, or of another amount"):
        settle_refund(ops, DEFAULT, request.id, made_as="RF_2")
    refund_told(intake, keyring, "RF_1")
    settled = settle_refund(ops, DEFAULT, request.id, made_as="RF_1", actor="anna")
    assert (settled.state, settled.refund_status, settled.gateway_id) == ("sent", "completed", "RF_1")
    told_of = [refund.gateway_id for refund in refunds_of_payment(api, DEFAULT, sayswitch.payment.id)]
    assert sorted(told_of) == ["RF_1", "RF_2"], "ours and the gateway's are one"
    with pytest.raises(Conflict, match="is sent, not unknown"):
        settle_refund(ops, DEFAULT, request.id, made_as=None)


def test_a_person_settles_an_unknown_one_that_was_not_made(
    api: Database, ops: Database, worker: Database, sayswitch: Till
) -> None:
    request = unknown(api, worker, sayswitch)
    with pytest.raises(NotFound):
        settle_refund(ops, "other", request.id, made_as=None)
    with pytest.raises(QueryError, match="42501"):
        settle_refund(api, DEFAULT, request.id, made_as=None)
    settled = settle_refund(ops, DEFAULT, request.id, made_as=None)
    assert (settled.state, settled.refund_status) == ("failed", "failed")
    assert settled.failure == "it was not made, as a person has seen"
    assert request_refund(api, DEFAULT, sayswitch.payment.id).amount_minor == TOTAL


def test_a_refund_of_one_request_settles_no_other(
    api: Database, ops: Database, worker: Database, queues: Queues, mx: Till
) -> None:
    first = request_refund(api, DEFAULT, mx.payment.id, amount_minor=100)
    send(first, worker, queues, mx.client)
    name = find_refund_request(api, DEFAULT, first.id).gateway_id
    second = request_refund(api, DEFAULT, mx.payment.id, amount_minor=100)
    worker.query("update refund_requests set state = 'unknown' where id = :id", id=second.id)
    with pytest.raises(Conflict, match="made for another request"):
        settle_refund(ops, DEFAULT, second.id, made_as=name)


def test_a_refusal_is_failed_with_the_gateways_reason_and_counts_no_more(
    api: Database, worker: Database, queues: Queues, till: Till
) -> None:
    name = MX_PAYMENT if till.payment.gateway == "mx_merchant" else SAYSWITCH_PAYMENT
    part = TOTAL if name is SAYSWITCH_PAYMENT else TOTAL - 1
    by_hand = {"amount_minor": part, "currency": "USD", "idempotency_key": "6d1f7e0e-3c55-4f0e-9d07-111111111111"}
    till.client.refund(name, **by_hand)  # by somebody at the gateway's own page, of which nothing has told us yet
    request = request_refund(api, DEFAULT, till.payment.id, amount_minor=TOTAL)
    assert send(request, worker, queues, till.client) == "done"
    assert state(api, request.id) == ("failed", "failed")
    reason = find_refund_request(api, DEFAULT, request.id).failure
    assert (
        reason
        == {"mx_merchant": "Payment already refunded", "sayswitch": "Transaction has already been refunded"}[
            till.payment.gateway
        ]
    )
    assert len(till.made()) == 1
    assert find_payment(api, DEFAULT, till.payment.id).status == "completed"
    assert request_refund(api, DEFAULT, till.payment.id).amount_minor == TOTAL


def test_a_refused_key_is_no_refused_refund(api: Database, worker: Database, queues: Queues, till: Till) -> None:
    till.api.fail_with(Fault("401"))
    request = request_refund(api, DEFAULT, till.payment.id)
    assert send(request, worker, queues, till.client) == "buried"
    assert state(api, request.id) == ("pending", "pending")
    assert till.made() == []

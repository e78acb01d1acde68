"""The stand-in for Paystack's API, asked by the real client: what events told, what was put in, and each fault."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Fact,
    InvoiceFact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways import Fetched
from gatehouse.gateways.paystack import read_event, translate
from gatehouse.gateways.paystack.client import PaystackClient
from local.gateway_apis import GatewayApi
from local.paystack_api import PaystackApi, fee_minor
from tests.support.paystack_events import IGNORED, SAMPLES

pytestmark = pytest.mark.req("G17", "O2")


@pytest.fixture
def api() -> Iterator[GatewayApi]:
    """A running stand-in that knows nothing yet."""
    found = GatewayApi(PaystackApi())
    found.start()
    yield found
    found.stop()


@pytest.fixture
def client(api: GatewayApi) -> Iterator[PaystackClient]:
    """The client that the functions use; it does not wait between its attempts."""
    found = PaystackClient("sk_test_invented", api.url, sleep=lambda _seconds: None)
    yield found
    found.close()


def learn(api: GatewayApi, sample: str, **changes: object) -> None:
    """Let the stand-in read a sample along, changed."""
    payload = json.loads(SAMPLES[sample].read_bytes())
    payload["data"] |= changes
    api.gateway.learn(json.dumps(payload).encode())


def of[F: Fact](kind: type[F], found: Fetched) -> list[F]:
    """Return the facts of one kind."""
    return [each for each in found.facts if isinstance(each, kind)]


def test_every_question_that_a_sample_leaves_open_is_answered(api: GatewayApi, client: PaystackClient) -> None:
    for path in (SAMPLES | IGNORED).values():
        api.gateway.learn(path.read_bytes())
    needs = [need for path in SAMPLES.values() for need in translate(read_event(path.read_bytes()), "default").needs]
    assert {need.topic for need in needs} == {"fetch_fee", "refetch"}
    for need in needs:
        hints = {key: value for key, value in need.arguments.items() if key not in ("gateway", "account", "kind", "id")}
        kind, object_id = need.arguments["kind"], need.arguments["id"]
        if need.topic == "fetch_fee":
            assert client.payment_fee(kind, object_id)
        else:
            assert client.fetch(kind, object_id, **hints).facts


def test_a_transaction_has_a_fee_also_where_its_event_has_none(api: GatewayApi, client: PaystackClient) -> None:
    learn(api, "charge.success")
    assert client.payment_fee("transaction", "302961") == (150, "NGN")
    assert client.payment_fee("reference", "qTPrJoy9Bx") == (150, "NGN")
    learn(api, "charge.success__2024_ngn_metadata")
    assert client.payment_fee("transaction", "500000000") == (750, "NGN")


@pytest.mark.parametrize(("amount", "fee"), [(0, 0), (100, 2), (33, 0), (34, 1), (10000, 150)])
def test_the_fee_is_whole_and_rounded_half_up(amount: int, fee: int) -> None:
    assert fee_minor(amount) == fee


def test_a_refund_goes_its_way_under_one_number(api: GatewayApi, client: PaystackClient) -> None:
    learn(api, "charge.success__2024_ngn_metadata")
    steps = []
    for sample, reference in (("refund.pending", None), ("refund.processing", None), ("refund.processed", "R1")):
        said = {"transaction_reference": "ref-dummy-reference", "amount": "20000", "refund_reference": reference}
        learn(api, sample, **said)
        found = client.fetch("reference", "ref-dummy-reference", refund_reference=reference, refund_amount_minor=20000)
        (refund,) = of(RefundFact, found)
        steps.append((refund.status, [name.kind for name in refund.objects], of(PaymentFact, found)[0].refunded_minor))
        number = refund.objects[0].id
    assert steps == [
        (RefundStatus.PENDING, ["refund"], 0),
        (RefundStatus.PENDING, ["refund"], 0),
        (RefundStatus.COMPLETED, ["refund", "refund_reference"], 20000),
    ]
    assert of(RefundFact, client.fetch("refund", number))[0].payment[0] == ObjectName("transaction", "500000000")
    learn(api, "refund.pending", transaction_reference="ref-dummy-reference", amount="20000")  # late
    assert of(RefundFact, client.fetch("refund", number))[0].status is RefundStatus.COMPLETED


def test_two_refunds_of_one_amount_are_told_apart_by_their_references(api: GatewayApi, client: PaystackClient) -> None:
    for reference in ("R1", "R2", "R1"):
        learn(api, "refund.processed", transaction_reference="T1", amount="5000", refund_reference=reference)
    found = client.fetch("reference", "T1", refund_reference="R1", refund_amount_minor=5000, refund_status="completed")
    assert of(RefundFact, found) == []  # which is which, the list does not tell
    assert of(PaymentFact, found)[0].refunded_minor == 10000


def test_refunds_are_not_found_by_the_reference_of_their_transaction(api: GatewayApi) -> None:
    learn(api, "refund.processed", transaction_reference="T1")
    headers = {"Authorization": "Bearer sk_test_1"}
    number = httpx.get(f"{api.url}/transaction/verify/T1", headers=headers).json()["data"]["id"]

    def listed(query: str) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{api.url}/refund?{query}", headers=headers).json()
        return found

    assert listed("transaction=T1")["data"] == []
    assert [each["transaction"] for each in listed(f"transaction={number}")["data"]] == [number]
    assert listed(f"transaction={number}&perPage=1&page=2")["data"] == []
    assert listed(f"transaction={number}")["meta"]["total"] == 1


def test_a_payment_that_failed_leaves_its_subscription_in_need_of_attention(
    api: GatewayApi, client: PaystackClient
) -> None:
    learn(api, "invoice.payment_failed")
    found = client.fetch("subscription", "SUB_f7ct8g01mtcjf78")
    assert of(SubscriptionFact, found)[0].status is SubscriptionStatus.PAST_DUE
    assert of(InvoiceFact, found)[0].total_minor == 10000


def test_disputes_transfers_customers_and_payment_requests(api: GatewayApi, client: PaystackClient) -> None:
    for sample in (
        "charge.dispute.create",
        "charge.dispute.resolve__declined",
        "transfer.success",
        "paymentrequest.pending",
    ):
        learn(api, sample)
    assert of(DisputeFact, client.fetch("dispute", "358950"))[0].status is DisputeStatus.WON
    assert of(PaymentFact, client.fetch("reference", "v3mjfgbnc19v97x"))[0].status is PaymentStatus.COMPLETED
    assert of(PayoutFact, client.fetch("transfer", "TRF_v5tip3zx8nna9o78"))[0].amount_minor == 100000
    assert of(CustomerFact, client.fetch("customer", "CUS_6wbxh6689vt0n7s"))[0].name == "John Doe"
    asked = client.fetch("payment_request", "PRQ_y0paeo93jh99mho")
    assert of(InvoiceFact, asked)[0].customer_ref == of(CustomerFact, asked)[0].objects[0].id


@pytest.mark.parametrize(
    ("thing", "kind", "object_id"),
    [
        ({"id": 7, "reference": "T7", "status": "failed"}, "reference", "T7"),
        ({"id": 8, "transaction": 7, "amount": 5, "currency": "NGN", "status": "pending"}, "refund", "8"),
        ({"id": 9, "resolution": None, "transaction": {"id": 7}}, "dispute", "9"),
        ({"transfer_code": "TRF_1", "reference": "x"}, "transfer", "TRF_1"),
        ({"subscription_code": "SUB_1"}, "subscription", "SUB_1"),
        ({"request_code": "PRQ_1"}, "payment_request", "PRQ_1"),
        ({"customer_code": "CUS_1", "email": "a@example.com"}, "customer", "CUS_1"),
    ],
)
def test_an_object_can_be_put_in(
    api: GatewayApi, client: PaystackClient, thing: dict[str, Any], kind: str, object_id: str
) -> None:
    assert httpx.put(f"{api.url}/_control/objects", json=thing).status_code == 200
    assert client.fetch(kind, object_id).facts


def test_what_looks_like_nothing_cannot_be_put_in(api: GatewayApi) -> None:
    assert httpx.put(f"{api.url}/_control/objects", json={"id": 7}).status_code == 400


def test_an_event_that_says_too_little_is_passed_over(api: GatewayApi) -> None:
    learn(api, "refund.pending", transaction_reference=None)
    learn(api, "refund.processed", amount=None)
    learn(api, "refund.processed", status="wholly_new")
    learn(api, "charge.success", id=None, reference=None)
    learn(api, "charge.success", amount=None)
    learn(api, "invoice.update", subscription={})
    learn(api, "transfer.success", transfer_code=None)
    api.gateway.learn(IGNORED["subscription.expiring_cards"].read_bytes())


class TestFaults:
    def test_what_is_not_known(self, client: PaystackClient) -> None:
        for kind in ("reference", "transaction", "refund", "customer", "payment_request"):
            with pytest.raises(GatewayObjectMissing):
                client.fetch(kind, "unknown")

    def test_no_secret_key(self, api: GatewayApi) -> None:
        answer = httpx.get(f"{api.url}/customer/CUS_1", headers={"Authorization": "Bearer pk_test_1"})
        assert (answer.status_code, answer.json()["message"]) == (401, "Invalid key")
        assert httpx.get(f"{api.url}/nothing", headers={"Authorization": "Bearer sk_test_1"}).status_code == 404

    def test_401(self, api: GatewayApi, client: PaystackClient) -> None:
        learn(api, "charge.success")
        httpx.put(f"{api.url}/_control/faults", json={"kind": "401"})
        with pytest.raises(GatewayKeyRefused, match="answered 401"):
            client.payment_fee("transaction", "302961")

    @pytest.mark.parametrize("kind", ["429", "500", "truncated"])
    def test_one_that_passes_is_borne(self, api: GatewayApi, client: PaystackClient, kind: str) -> None:
        learn(api, "charge.success")
        httpx.put(f"{api.url}/_control/faults", json={"kind": kind, "times": 2, "retry_after_seconds": 1})
        assert client.payment_fee("transaction", "302961") == (150, "NGN")
        assert len(api.requests) == 3

    @pytest.mark.parametrize("kind", ["429", "500", "truncated"])
    def test_one_that_stays_is_told(self, api: GatewayApi, client: PaystackClient, kind: str) -> None:
        learn(api, "charge.success")
        httpx.put(f"{api.url}/_control/faults", json={"kind": kind, "retry_after_seconds": 7})
        with pytest.raises(GatewayError) as refused:
            client.payment_fee("transaction", "302961")
        assert refused.value.retry_helps is True
        assert refused.value.retry_after_seconds == (7.0 if kind == "429" else None)

    def test_slow(self, api: GatewayApi, client: PaystackClient) -> None:
        learn(api, "charge.success")
        httpx.put(f"{api.url}/_control/faults", json={"kind": "slow", "times": 1, "seconds": 0.2})
        assert client.payment_fee("transaction", "302961") == (150, "NGN")

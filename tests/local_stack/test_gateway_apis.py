"""The stand-ins of the gateways' APIs answer in the gateways' shapes, and fail on demand."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from local.gateway_apis import GatewayApi
from local.stripe_api import StripeApi, fee_minor

pytestmark = pytest.mark.req("G17", "O2")

INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4620,
    "amount_received": 4620,
    "created": 1748441984,
    "currency": "eur",
    "customer": "cus_1",
    "latest_charge": "ch_1",
    "livemode": False,
    "metadata": {"order": "7"},
    "payment_method_types": ["card"],
    "status": "succeeded",
}


def event(thing: dict[str, Any], created: int = 1748441984) -> bytes:
    """Return an event about an object, as a webhook gets it."""
    return json.dumps({"id": "evt_1", "created": created, "data": {"object": thing}}).encode()


@pytest.fixture
def stripe() -> Iterator[GatewayApi]:
    """A running stand-in that has sent us one payment intent."""
    api = GatewayApi(StripeApi())
    api.gateway.learn(event(INTENT))
    api.start()
    yield api
    api.stop()


def ask(api: GatewayApi, path: str, *expand: str, key: str = "sk_test_1") -> httpx.Response:
    """Ask the API as a client would."""
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.get(api.url + path, params=[("expand[]", each) for each in expand], headers=headers, timeout=5)


def test_a_payment_intent_shows_its_fee_when_it_is_expanded(stripe: GatewayApi) -> None:
    intent = ask(stripe, "/v1/payment_intents/pi_1", "latest_charge.balance_transaction").json()
    transaction = intent["latest_charge"]["balance_transaction"]
    assert (intent["id"], intent["amount"], intent["latest_charge"]["id"]) == ("pi_1", 4620, "ch_1")
    assert (transaction["object"], transaction["currency"]) == ("balance_transaction", "eur")
    assert (transaction["amount"], transaction["fee"], transaction["net"]) == (4620, 164, 4456)


def test_without_expansion_there_are_only_ids(stripe: GatewayApi) -> None:
    assert ask(stripe, "/v1/payment_intents/pi_1").json()["latest_charge"] == "ch_1"
    assert ask(stripe, "/v1/charges/ch_1").json()["balance_transaction"] == "txn_1"


def test_the_charge_of_a_payment_intent_is_known_too(stripe: GatewayApi) -> None:
    charge = ask(stripe, "/v1/charges/ch_1", "balance_transaction").json()
    assert (charge["object"], charge["payment_intent"], charge["status"]) == ("charge", "pi_1", "succeeded")
    assert charge["balance_transaction"]["fee"] == 164


def test_the_payment_intent_of_a_charge_is_known_too(stripe: GatewayApi) -> None:
    charge = {"id": "ch_9", "object": "charge", "amount": 100, "amount_captured": 100, "captured": True, "created": 1}
    stripe.gateway.learn(event({**charge, "currency": "usd", "payment_intent": "pi_9", "status": "succeeded"}))
    intent = ask(stripe, "/v1/payment_intents/pi_9", "latest_charge.balance_transaction").json()
    assert intent["latest_charge"]["balance_transaction"]["fee"] == 33


def test_what_was_not_captured_has_no_fee(stripe: GatewayApi) -> None:
    stripe.gateway.learn(event({**INTENT, "id": "pi_2", "latest_charge": "ch_2", "status": "requires_capture"}))
    assert ask(stripe, "/v1/charges/ch_2", "balance_transaction").json()["balance_transaction"] is None


def test_an_older_event_does_not_overwrite_a_newer_one(stripe: GatewayApi) -> None:
    stripe.gateway.learn(event({**INTENT, "status": "processing"}, created=1))
    assert ask(stripe, "/v1/payment_intents/pi_1").json()["status"] == "succeeded"


def test_what_stripe_does_not_know_is_missing(stripe: GatewayApi) -> None:
    answer = ask(stripe, "/v1/payment_intents/pi_unknown")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "resource_missing")
    assert ask(stripe, "/v1/unknown").status_code == 404


def test_a_request_without_a_secret_key_is_refused(stripe: GatewayApi) -> None:
    assert ask(stripe, "/v1/charges/ch_1", key="pk_test_1").status_code == 401


def test_faults_come_on_demand_and_go(stripe: GatewayApi) -> None:
    control = f"{stripe.url}/_control/faults"
    httpx.put(control, json={"kind": "429", "times": 1, "retry_after_seconds": 7})
    answer = ask(stripe, "/v1/charges/ch_1")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert ask(stripe, "/v1/charges/ch_1").status_code == 200
    for kind, status in (("401", 401), ("500", 500)):
        httpx.put(control, json={"kind": kind})
        assert [ask(stripe, "/v1/charges/ch_1").status_code for _ in range(2)] == [status, status]
    httpx.delete(control)
    assert ask(stripe, "/v1/charges/ch_1").status_code == 200


def test_an_answer_can_be_truncated_or_slow(stripe: GatewayApi) -> None:
    control = f"{stripe.url}/_control/faults"
    httpx.put(control, json={"kind": "truncated", "times": 1})
    with pytest.raises(json.JSONDecodeError):
        ask(stripe, "/v1/charges/ch_1").json()
    httpx.put(control, json={"kind": "slow", "times": 1, "seconds": 0.3})
    began = time.monotonic()
    assert ask(stripe, "/v1/charges/ch_1").status_code == 200
    assert time.monotonic() - began >= 0.3


def test_the_control_path_takes_objects_shows_requests_and_refuses_nonsense(stripe: GatewayApi) -> None:
    httpx.put(f"{stripe.url}/_control/objects", json={**INTENT, "id": "pi_3"})
    assert ask(stripe, "/v1/payment_intents/pi_3").status_code == 200
    seen = httpx.get(f"{stripe.url}/_control/requests").json()["requests"]
    assert seen == [{"method": "GET", "path": "/v1/payment_intents/pi_3"}]
    assert httpx.put(f"{stripe.url}/_control/faults", json={"kind": "earthquake"}).status_code == 400
    assert httpx.get(f"{stripe.url}/_control/nothing").status_code == 404


@pytest.mark.parametrize(
    ("amount", "fee"), [(0, 30), (100, 33), (1000, 59), (4620, 164), (4621, 164), (999_999, 29030)]
)
def test_the_fee_is_whole_and_rounded_half_up(amount: int, fee: int) -> None:
    assert fee_minor(amount) == fee

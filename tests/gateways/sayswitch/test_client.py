"""The client of SaySwitch's API: recorded answers, and its stand-in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, SettingError
from gatehouse.facts import ObjectName, PaymentFact, PaymentStatus, PayoutFact, PayoutStatus, RefundFact, RefundStatus
from gatehouse.gateways.sayswitch.answers import confirms, payment_facts, payout_facts, refund_facts
from gatehouse.gateways.sayswitch.client import SayswitchClient, client_of
from local.gateway_apis import GatewayApi
from local.sayswitch_api import SayswitchApi
from tests.support.gateway_samples import samples

RECORDED = Path(__file__).parent / "recorded"
REFERENCE = "SSW_17482573443162479"
KEY = "0d6a8f1e-6c0a-4a51-9d8e-4f6f0c0b7d11"

pytestmark = pytest.mark.req("G4")


def recorded(name: str) -> dict[str, Any]:
    """Return one recorded answer of the API."""
    said: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return said


@pytest.fixture
def api() -> Iterator[GatewayApi]:
    """A running stand-in that knows one payment."""
    found = GatewayApi(SayswitchApi())
    found.gateway.learn(samples("sayswitch")["payment.success"].read_bytes())
    found.start()
    yield found
    found.stop()


@pytest.fixture
def client(api: GatewayApi) -> Iterator[SayswitchClient]:
    """A client of that account; it never sleeps."""
    made = SayswitchClient("sk_test_1", api.url, sleep=lambda _seconds: None)
    yield made
    made.close()


class TestRecordedAnswers:
    def test_verify_in_major_units(self) -> None:
        payment, customer = payment_facts(recorded("verify_success_major_units"), "major")
        assert isinstance(payment, PaymentFact)
        assert payment.objects == (ObjectName("reference", REFERENCE),)
        assert (payment.status, payment.amount_minor, payment.fee_minor) == (PaymentStatus.COMPLETED, 1000, 12)
        assert (payment.received_minor, payment.currency, payment.method) == (1000, "NGN", "card")
        assert customer.objects == (ObjectName("customer", "CUS_7ewvq2vt6zlqyij"),)

    def test_the_same_amounts_in_minor_units(self) -> None:
        payment = payment_facts(recorded("verify_success_by_reference"), "minor")[0]
        assert isinstance(payment, PaymentFact)
        assert (payment.amount_minor, payment.fee_minor) == (1000, 12)
        assert payment_facts(recorded("verify_success_by_reference"), "major")[0].amount_minor == 100000  # type: ignore[union-attr]

    def test_a_refund_names_its_payment_by_number(self) -> None:
        [refund] = refund_facts(recorded("refund_status")["data"], "major", REFERENCE)
        assert isinstance(refund, RefundFact)
        assert refund.payment == (ObjectName("transaction", "2527"), ObjectName("reference", REFERENCE))
        assert (refund.status, refund.amount_minor) == (RefundStatus.PENDING, 1012)

    def test_a_reversed_payout(self) -> None:
        [payout] = payout_facts(recorded("payout_reversed")["data"], "major")
        assert isinstance(payout, PayoutFact)
        assert (payout.status, payout.reversed_minor, payout.fee_minor) == (PayoutStatus.REVERSED, 5000, 1000)

    @pytest.mark.parametrize(
        ("status", "says", "amount_minor", "agrees"),
        [
            ("success", "paid", 1000, True),
            ("success", "paid", 1001, False),
            ("success", "failed", 1000, False),
            ("failed", "failed", 1000, True),
            ("pending", "paid", 1000, False),
            ("success", "pending", 1000, True),
        ],
    )
    def test_a_hint_is_confirmed_by_the_same_end_and_amount(
        self, status: str, says: str, amount_minor: int, *, agrees: bool
    ) -> None:
        answer = recorded("verify_success_major_units")
        answer["data"]["status"] = status
        assert confirms(payment_facts(answer, "major")[0], says, amount_minor, "major") is agrees


class TestFetch:
    def test_a_payment_is_verified_and_the_answer_kept(self, client: SayswitchClient) -> None:
        fetched = client.fetch("reference", REFERENCE, event_says="paid", event_amount_minor=1000)
        assert (fetched.confirms, [each.object_id for each in fetched.answers]) == (True, [REFERENCE])

    def test_what_it_does_not_know_is_missing(self, client: SayswitchClient) -> None:
        with pytest.raises(GatewayObjectMissing):
            client.fetch("reference", "INVALID_REF_001")

    def test_missing_is_also_what_it_says_with_another_status(self) -> None:
        answer = httpx.Response(400, json=recorded("verify_not_found"))
        asked = SayswitchClient("sk_test_1", "https://api", transport=httpx.MockTransport(lambda _request: answer))
        with pytest.raises(GatewayObjectMissing):
            asked.fetch("reference", "INVALID_REF_001")

    def test_a_wrong_key_is_refused(self, api: GatewayApi) -> None:
        asked = SayswitchClient("no_key", api.url)
        with pytest.raises(GatewayKeyRefused):
            asked.fetch("reference", REFERENCE)
        asked.close()

    def test_an_answer_about_another_payment_is_not_believed(self) -> None:
        answer = httpx.Response(200, json=recorded("verify_success_major_units"))
        asked = SayswitchClient("sk_test_1", "https://api", transport=httpx.MockTransport(lambda _request: answer))
        with pytest.raises(GatewayError, match="another reference"):
            asked.fetch("reference", "SSW_1")


class TestRefunds:
    @pytest.mark.req("P6")
    def test_a_payment_is_refunded_whole_and_listed(self, client: SayswitchClient) -> None:
        name = ObjectName("reference", REFERENCE)
        [made] = client.refund(name, amount_minor=1000, currency="NGN", idempotency_key=KEY).facts
        assert isinstance(made, RefundFact)
        assert (made.amount_minor, made.status, name in made.payment) == (1000, RefundStatus.PENDING, True)
        [listed] = client.list_refunds(name).facts
        assert getattr(listed, "objects", None) == made.objects

    def test_a_part_is_refused_before_anything_is_sent(self, api: GatewayApi, client: SayswitchClient) -> None:
        with pytest.raises(GatewayError, match="whole") as refused:
            client.refund(ObjectName("reference", REFERENCE), amount_minor=999, currency="NGN", idempotency_key=KEY)
        assert not refused.value.retry_helps
        assert {request.method for request in api.requests} == {"GET"}


class TestClientOf:
    def test_the_key_that_signs_also_asks(self) -> None:
        made = client_of({"signing_secrets": ["sk_live_1", "sk_live_0"]}, "https://api", "live")
        assert made is client_of({"secret_key": "sk_live_1"}, "https://api", "live")

    @pytest.mark.parametrize(
        ("credentials", "mode", "named"),
        [
            ({}, "live", "secret_key"),
            ({"secret_key": "sk_test_1"}, "live", "is for live"),
            ({"secret_key": "sk_live_1", "amount_unit": "kobo"}, "live", "amount_unit"),
        ],
    )
    def test_names_what_is_wrong(self, credentials: dict[str, Any], mode: str, named: str) -> None:
        with pytest.raises(SettingError, match=named):
            client_of(credentials, "https://api", mode)

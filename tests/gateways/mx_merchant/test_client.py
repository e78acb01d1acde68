"""The client of MX Merchant's API against its stand-in, and against answers that the stand-in never gives."""

import base64
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from oauthlib.oauth1.rfc5849.signature import verify_hmac_sha1  # type: ignore[import-untyped]  # it ships no types

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, SettingError
from gatehouse.facts import (
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways import Ask
from gatehouse.gateways.mx_merchant.answers import confirms, contract_facts, invoice_facts, payment_facts
from gatehouse.gateways.mx_merchant.client import (
    LIVE_URL,
    PAGE_SIZE,
    SANDBOX_URL,
    AnotherMerchants,
    MxMerchantClient,
    client_of,
    replay_id,
)
from gatehouse.gateways.mx_merchant.oauth import OAuth, Token
from local.gateway_apis import ApiAnswer, ApiRequest, Fault, GatewayApi
from local.mx_merchant_api import MxMerchantApi
from tests.support.gateway_samples import samples

RECORDED = Path(__file__).parent / "recorded"
MERCHANT = "418355562"
KEY = "0d6a8f1e-6c0a-4a51-9d8e-4f6f0c0b7d11"
ANOTHER_KEY = "0d6a8f1e-6c0a-4a51-9d8e-4f6f0c0b7d12"
PAID, PAID_MINOR = ObjectName("payment", "4000000053173106"), 453_960
AUTHORIZATION = f"Basic {base64.b64encode(b'key:secret').decode()}"

pytestmark = pytest.mark.req("M1", "G5", "G7")


def recorded(name: str) -> dict[str, Any]:
    """Return one recorded answer of the API, its secrets and persons made up."""
    said: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return said


@pytest.fixture
def api() -> Iterator[GatewayApi]:
    """A running stand-in that knows one payment with its invoice."""
    found = GatewayApi(MxMerchantApi())
    found.gateway.learn(samples("mx_merchant")["PaymentSuccess__2026"].read_bytes())
    found.start()
    yield found
    found.stop()


@pytest.fixture
def client(api: GatewayApi) -> Iterator[MxMerchantClient]:
    """A client of that merchant; it never sleeps."""
    made = MxMerchantClient(MERCHANT, api.url, httpx.BasicAuth("key", "secret"), sleep=lambda _seconds: None)
    yield made
    made.close()


def answering(answer: Callable[[httpx.Request], httpx.Response], auth: httpx.Auth | None = None) -> MxMerchantClient:
    """Return a client whose requests end in a function."""
    return MxMerchantClient(
        MERCHANT,
        LIVE_URL,
        auth or httpx.BasicAuth("key", "secret"),
        transport=httpx.MockTransport(answer),
        sleep=lambda _seconds: None,
    )


class TestRecordedAnswers:
    def test_a_payment(self) -> None:
        payment, customer = payment_facts(recorded("payment_detail"))
        assert payment == PaymentFact(
            objects=(ObjectName("payment", "4000000053173106"),),
            status=PaymentStatus.COMPLETED,
            amount_minor=20596,
            received_minor=20596,
            currency="USD",
            method="card",
            reference="2577",
            customer_ref="EXAMPLE000001",
            invoice_ref="10270193",
            invoice_number="2577",
            source="Recurring",
            surcharge_minor=696,
            completed_at=datetime(2025, 8, 5, 10, 2, 38, 43000, tzinfo=UTC),
        )
        assert customer.objects == (ObjectName("customer", "EXAMPLE000001"),)

    def test_a_declined_payment(self) -> None:
        [payment] = payment_facts(recorded("payment_declined"))
        assert isinstance(payment, PaymentFact)
        assert (payment.status, payment.received_minor) == (PaymentStatus.FAILED, None)
        assert payment.failure_message == "Invalid card number"

    def test_a_refund_finds_its_payment(self) -> None:
        [refund] = payment_facts(recorded("payment_refund"))
        assert isinstance(refund, RefundFact)
        assert refund.payment == (ObjectName("payment", "10000001625073"),)
        assert (refund.status, refund.amount_minor) == (RefundStatus.COMPLETED, 321)

    def test_an_invoice_is_paid_without_the_surcharge(self) -> None:
        invoice, payment, customer = invoice_facts(recorded("invoice_detail"), "1000000001")
        assert isinstance(invoice, InvoiceFact)
        assert isinstance(payment, PaymentFact)
        assert (invoice.status, invoice.total_minor, invoice.paid_minor, invoice.due_minor) == (
            *(InvoiceStatus.PAID, 27000, 27000, 0),
        )
        assert payment.amount_minor is not None
        assert payment.surcharge_minor is not None
        assert payment.amount_minor - payment.surcharge_minor == invoice.paid_minor
        assert payment.invoice_ref == "9715943"
        assert invoice.lines == (
            {
                "product": "Example product",
                "description": "Example product",
                "amount_minor": 27000,
                "quantity": 1,
                "plan": "718786",
            },
        )
        assert invoice.billing_address == {
            "name": "Example Customer",
            "address1": "1 Example Street",
            "city": "Example",
            "state": "VA",
            "zip": "00000",
            "country": "US",
        }
        assert (invoice.email, invoice.customer_ref) == (None, "40000001")  # the e-mail in it is the merchant's
        assert customer.objects == (ObjectName("customer", "40000001"),)

    def test_a_payment_that_an_invoice_lists_twice_counts_once(self) -> None:
        invoice = recorded("invoice_detail")
        invoice["payments"] *= 2
        facts = invoice_facts(invoice, "1000000001")
        assert [type(fact) for fact in facts].count(PaymentFact) == 1

    def test_a_payment_of_another_merchant_in_an_invoice_is_left_out(self) -> None:
        assert [type(fact) for fact in invoice_facts(recorded("invoice_detail"), "7")][:1] == [InvoiceFact]
        assert not any(isinstance(fact, PaymentFact) for fact in invoice_facts(recorded("invoice_detail"), "7"))

    @pytest.mark.parametrize(
        ("changes", "status"),
        [
            ({"status": "Settled"}, PaymentStatus.COMPLETED),
            ({"status": "Voided"}, PaymentStatus.REVERSED),
            ({"status": "Approved", "authOnly": True}, PaymentStatus.PROCESSING),
            ({"status": "Approved", "type": "Authorization"}, PaymentStatus.PROCESSING),
            ({"status": "Something new"}, None),
        ],
    )
    def test_where_a_payment_stands(self, changes: dict[str, Any], status: PaymentStatus | None) -> None:
        fact = payment_facts(recorded("payment_detail") | changes)[0]
        assert getattr(fact, "status", None) is status

    @pytest.mark.parametrize(
        ("name", "changes", "says", "amount_minor", "agrees"),
        [
            ("payment_detail", {}, "paid", 20596, True),
            ("payment_detail", {}, "paid", 19900, True),  # without the surcharge
            ("payment_detail", {}, "paid", 20595, False),
            ("payment_detail", {}, "failed", 20596, False),
            ("payment_detail", {"status": "Voided"}, "paid", 20596, True),  # it was paid, and undone since
            ("payment_declined", {}, "failed", 41100, True),
            ("payment_declined", {}, "paid", 41100, False),
            ("payment_refund", {}, "refunded", 321, True),
            ("payment_refund", {}, "paid", 321, False),
            ("payment_detail", {}, "refunded", 20596, False),
        ],
    )
    def test_a_hint_is_confirmed_by_the_same_end_and_amount(
        self, name: str, changes: dict[str, Any], says: str, amount_minor: int, *, agrees: bool
    ) -> None:
        assert confirms(recorded(name) | changes, says, amount_minor) is agrees

    def test_a_contract(self) -> None:
        contract = {
            "id": 7,
            "subscriptionId": 8,
            "name": "TRT monthly",
            "interval": "Monthly",
            "every": 1,
            "amount": "199",
            "currencyCode": "USD",
            "status": "Active",
            "hasDeclinedPayment": True,
            "nextBillDate": "2026-12-01T00:00:00Z",
        }
        [fact] = contract_facts(contract)
        assert isinstance(fact, SubscriptionFact)
        assert (fact.status, fact.interval, fact.amount_minor) == (SubscriptionStatus.PAST_DUE, "month", 19900)
        assert fact.objects == (ObjectName("contract", "7"), ObjectName("subscription", "8"))


class TestFetch:
    def test_a_payment_leads_to_its_invoice_and_is_kept(self, client: MxMerchantClient) -> None:
        fetched = client.fetch("payment", "4000000053173106", event_says="paid", event_amount_minor=453960)
        assert fetched.needs == (Ask("invoice", "10270193"),)
        assert fetched.confirms is True
        assert [(each.kind, each.object_id) for each in fetched.answers] == [("payment", "4000000053173106")]

    def test_an_invoice_leads_to_its_customer_once(self, client: MxMerchantClient) -> None:
        [ask] = client.fetch("invoice", "10270193").needs
        assert (ask.kind, ask.because) == ("customer", "first")
        assert client.fetch("customer", ask.id).facts

    def test_what_it_does_not_know_is_missing_and_no_refusal_of_the_key(self, client: MxMerchantClient) -> None:
        """MX Merchant says Unauthorized to both."""
        with pytest.raises(GatewayObjectMissing):
            client.fetch("payment", "1")

    def test_a_wrong_key_is_refused(self, api: GatewayApi) -> None:
        refused = MxMerchantClient(MERCHANT, api.url, httpx.BasicAuth("refused", "secret"))
        with pytest.raises(GatewayKeyRefused):
            refused.check()
        refused.close()

    def test_a_payment_of_another_merchant_is_not_believed(self, api: GatewayApi, client: MxMerchantClient) -> None:
        api.fail_with(Fault("another_merchant"))
        with pytest.raises(AnotherMerchants, match="not of the account's merchantId"):
            client.fetch("payment", "4000000053173106")

    def test_nor_one_that_was_not_asked_for(self) -> None:
        asked = answering(
            lambda _request: httpx.Response(200, json={"merchantId": int(MERCHANT), "id": 2, "amount": "1"})
        )
        with pytest.raises(GatewayError, match="another payment"):
            asked.fetch("payment", "1")


class TestLists:
    def test_of_payments_is_read_bare_and_in_pages(self) -> None:
        everything = [
            {
                "id": number,
                "merchantId": int(MERCHANT),
                "amount": "1",
                "created": f"2026-11-{28 - number // 60:02}T00:00:00Z",
            }
            for number in range(PAGE_SIZE + 20)
        ]
        seen: list[httpx.URL] = []

        def answer(request: httpx.Request) -> httpx.Response:
            seen.append(request.url)
            offset = int(request.url.params["offset"])
            return httpx.Response(200, json=everything[offset : offset + PAGE_SIZE])

        pages = list(answering(answer).pages_of_payments())
        assert [len(page.things) for page in pages] == [PAGE_SIZE, 20]
        assert seen[0].params["merchantId"] == MERCHANT
        assert all(isinstance(facts[0], PaymentFact) for page in pages for facts in page.facts)

    def test_ends_where_the_newest_first_are_too_old(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            page = int(request.url.params["offset"]) // PAGE_SIZE
            assert page == 0, "the next page was asked for in vain"
            days = [f"2026-11-{20 - number // 10:02}T00:00:00Z" for number in range(PAGE_SIZE)]
            things = [
                {"id": n, "merchantId": int(MERCHANT), "amount": "1", "created": day} for n, day in enumerate(days)
            ]
            return httpx.Response(200, json={"recordCount": 5000, "records": things})

        [page] = answering(answer).pages_of_payments(since=datetime(2026, 11, 18, tzinfo=UTC))
        assert (len(page.things), page.total) == (30, 5000)

    def test_leaves_out_what_is_another_merchants(self) -> None:
        things = [{"id": 1, "merchantId": 7, "amount": "1"}, {"id": 2, "merchantId": int(MERCHANT), "amount": "1"}]
        [page] = answering(lambda _request: httpx.Response(200, json=things)).pages_of_payments()
        assert [each["id"] for each in page.things] == [2]

    def test_of_contracts(self, api: GatewayApi, client: MxMerchantClient) -> None:
        contract = {"id": 7, "subscriptionId": 8, "merchantId": int(MERCHANT), "amount": "199", "status": "Active"}
        api.gateway.remember(contract)
        [page] = client.pages_of_contracts()
        assert [each["id"] for each in page.things] == [7]


class TestNotifications:
    @pytest.mark.req("G13")
    def test_are_made_listed_and_taken_back_and_twice_is_no_error(self, client: MxMerchantClient) -> None:
        for _again in range(2):
            client.create_notification("PaymentSuccess", "https://hooks.example.com/in/token")
        [made] = client.list_notifications()
        assert (made.event_type, made.callback_url, made.merchant_id) == (
            *("PaymentSuccess", "https://hooks.example.com/in/token", MERCHANT),
        )
        assert made.sends_webhook
        for _again in range(2):
            client.delete_notification(made.id)
        assert client.list_notifications() == []


class TestRefunds:
    @pytest.mark.req("P6")
    def test_a_part_is_given_back_once_for_each_key(self, client: MxMerchantClient) -> None:
        name = ObjectName("payment", "4000000053173106")
        ids = set()
        for _again in range(2):
            fetched = client.refund(name, amount_minor=1000, currency="USD", idempotency_key=KEY)
            [refund] = [fact for fact in fetched.facts if isinstance(fact, RefundFact)]
            assert (refund.amount_minor, refund.payment, refund.status) == (1000, (name,), RefundStatus.COMPLETED)
            ids.add(refund.objects)
        assert len(ids) == 1
        listed = [fact for fact in client.list_refunds(name).facts if isinstance(fact, RefundFact)]
        assert [fact.amount_minor for fact in listed] == [1000]

    def test_the_number_of_a_key_is_of_fifteen_digits_and_stays(self) -> None:
        assert len(replay_id(KEY)) == 15
        assert replay_id(KEY) == replay_id(KEY)

    @pytest.mark.req("P6")
    def test_all_of_a_payment_that_is_not_settled_is_voided_however_often_it_is_asked(
        self, api: GatewayApi, client: MxMerchantClient
    ) -> None:
        for _again in range(2):
            refund, paid, *_customer = client.refund(
                PAID, amount_minor=PAID_MINOR, currency="USD", idempotency_key=KEY
            ).facts
            assert isinstance(refund, RefundFact)
            assert isinstance(paid, PaymentFact)
            assert (refund.status, refund.metadata, refund.amount_minor) == (
                *(RefundStatus.CANCELLED, {"undone_by": "void"}),
                PAID_MINOR,
            )
            assert (paid.status, paid.objects) == (PaymentStatus.REVERSED, (PAID,))
            assert refund in client.list_refunds(PAID).facts
        assert [request.method for request in api.requests].count("DELETE") == 1
        assert "POST" not in {request.method for request in api.requests}

    @pytest.mark.req("P6")
    def test_what_is_settled_is_never_voided(self, api: GatewayApi, client: MxMerchantClient) -> None:
        settle(api)
        fetched = client.refund(PAID, amount_minor=PAID_MINOR, currency="USD", idempotency_key=KEY)
        assert isinstance(fetched.facts[0], RefundFact)
        assert fetched.facts[0].status is RefundStatus.COMPLETED
        assert "DELETE" not in {request.method for request in api.requests}

    @pytest.mark.req("P6")
    def test_a_void_that_came_after_the_settlement_is_the_refund_that_it_made(
        self, api: GatewayApi, client: MxMerchantClient
    ) -> None:
        learnt, ids = api.gateway.answer, set()

        def settled_meanwhile(request: ApiRequest) -> ApiAnswer:
            if request.method == "DELETE":
                settle(api)
            return learnt(request)

        api.gateway.answer = settled_meanwhile  # type: ignore[method-assign]  # between our question and its order
        for _again in range(2):
            refund = client.refund(PAID, amount_minor=PAID_MINOR, currency="USD", idempotency_key=KEY).facts[0]
            assert isinstance(refund, RefundFact)
            assert (refund.status, refund.payment) == (RefundStatus.COMPLETED, (PAID,))
            ids.add(refund.objects)
        assert len(ids) == 1

    @pytest.mark.req("P6")
    @pytest.mark.parametrize("fault", ["500", "truncated"])
    def test_a_void_without_an_answer_is_not_sent_twice_at_once(
        self, api: GatewayApi, client: MxMerchantClient, fault: str
    ) -> None:
        api.fail_with(Fault(fault, method="DELETE", times=1))
        if fault == "500":
            with pytest.raises(GatewayError) as failed:
                client.refund(PAID, amount_minor=PAID_MINOR, currency="USD", idempotency_key=KEY)
            assert failed.value.retry_helps
        refund = client.refund(PAID, amount_minor=PAID_MINOR, currency="USD", idempotency_key=KEY).facts[0]
        assert getattr(refund, "metadata", None) == {"undone_by": "void"}

    @pytest.mark.req("P6")
    def test_more_than_is_left_is_declined_with_its_reason(self, api: GatewayApi, client: MxMerchantClient) -> None:
        settle(api)
        client.refund(PAID, amount_minor=PAID_MINOR - 1, currency="USD", idempotency_key=KEY)
        declined = client.refund(PAID, amount_minor=2, currency="USD", idempotency_key=ANOTHER_KEY).facts[0]
        assert isinstance(declined, RefundFact)
        assert (declined.status, declined.failure_message) == (RefundStatus.FAILED, "Payment already refunded")

    def test_a_refusal_says_its_sentence_beside_its_message(self, client: MxMerchantClient) -> None:
        with pytest.raises(GatewayObjectMissing) as refused:
            client.refund(ObjectName("payment", "1"), amount_minor=1, currency="USD", idempotency_key=KEY)
        assert refused.value.gateway_words == "Payment Not Found Or You Do Not Have Access."
        assert "Do Not Have" not in str(refused.value)


def settle(api: GatewayApi) -> None:
    """Close the batch of the payment that the stand-in knows."""
    known = api.gateway.answer(ApiRequest("GET", f"/payment/{PAID.id}", {}, {"authorization": AUTHORIZATION})).body
    assert isinstance(known, dict)
    api.gateway.remember({**known, "status": "Settled"})


WHOLE = {"merchant_id": 418355562, "consumer_key": "key", "consumer_secret": "secret"}


class TestClientOf:
    @pytest.mark.parametrize(
        ("more", "mode", "address"),
        [
            ({}, "live", LIVE_URL),
            ({}, "test", SANDBOX_URL),
            ({}, "both", SANDBOX_URL),
            ({"api": "sandbox"}, "live", SANDBOX_URL),
            ({"authentication": "oauth"}, "live", LIVE_URL),
        ],
    )
    def test_chooses_the_address(self, more: dict[str, Any], mode: str, address: str) -> None:
        made = client_of({**WHOLE, **more}, "", mode)
        assert address in repr(made)
        assert made is client_of({**WHOLE, **more}, "", mode)

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"merchant_id": None}, "merchant_id"),
            ({"consumer_key": None}, "consumer_key"),
            ({"consumer_secret": "with a blank"}, "consumer_secret"),
            ({"authentication": "digest"}, "authentication"),
            ({"api": "staging"}, "api"),
        ],
    )
    def test_names_what_is_wrong_and_shows_no_secret(self, wrong: dict[str, Any], named: str) -> None:
        with pytest.raises(SettingError, match=named) as refused:
            client_of({**WHOLE, **wrong}, "", "live")
        assert "blank" not in str(refused.value)


class TestOAuth:
    def test_gets_a_token_once_and_signs_with_it(self) -> None:
        seen: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            said = request.headers["authorization"]
            assert said.startswith("OAuth ")
            assert 'oauth_signature_method="HMAC-SHA1"' in said
            seen.append(request.url.path.removeprefix("/checkout/v3"))
            if "oauth" in request.url.path:
                return httpx.Response(200, text=f"oauth_token=t{len(seen)}&oauth_token_secret=s")
            assert 'oauth_token="t2"' in said
            return httpx.Response(200, json=[])

        asked = answering(answer, OAuth("key", "secret", LIVE_URL))
        asked.check()
        asked.check()
        assert seen == ["/oauth/1a/requesttoken", "/oauth/1a/accesstoken", "/payment", "/payment"]

    def test_fetches_another_when_the_kept_one_is_not_taken(self) -> None:
        tokens = iter(range(10))
        refuse = {"t1"}

        def answer(request: httpx.Request) -> httpx.Response:
            if "oauth" in request.url.path:
                return httpx.Response(200, text=f"oauth_token=t{next(tokens)}&oauth_token_secret=s")
            gone = first_done and any(f'oauth_token="{each}"' in request.headers["authorization"] for each in refuse)
            return httpx.Response(401, json={"errorCode": "Unauthorized"}) if gone else httpx.Response(200, json=[])

        first_done = False
        asked = answering(answer, OAuth("key", "secret", LIVE_URL))
        asked.check()
        first_done = True
        asked.check()
        assert next(tokens) == 4

    def test_a_token_of_the_accounts_own_needs_no_exchange(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            assert 'oauth_token="mine"' in request.headers["authorization"]
            return httpx.Response(200, json=[])

        answering(answer, OAuth("key", "secret", LIVE_URL, Token("mine", "secret"))).check()

    def test_whoever_knows_the_secrets_can_check_the_signature_of_the_whole_question(self) -> None:
        checked: list[bool] = []

        def answer(request: httpx.Request) -> httpx.Response:
            signed = dict(
                part.split("=", 1) for part in request.headers["authorization"].removeprefix("OAuth ").split(", ")
            )
            given = {name: unquote(value.strip('"')) for name, value in signed.items()}
            params = [*given.items(), *parse_qsl(request.url.query.decode())]
            asked_of_us = SimpleNamespace(
                http_method=request.method,
                uri=f"{LIVE_URL}/payment",
                params=[each for each in params if each[0] != "oauth_signature"],
                signature=given["oauth_signature"],
            )
            checked.extend(verify_hmac_sha1(asked_of_us, "s&cret", secret) for secret in ("of token", "another"))
            return httpx.Response(200, json=[])

        asked = answering(answer, OAuth("key", "s&cret", LIVE_URL, Token("mine", "of token")))
        list(asked.pages_of_payments(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)))
        assert checked == [True, False]

    def test_a_refused_consumer_is_a_refused_key(self) -> None:
        asked = answering(lambda _request: httpx.Response(401), OAuth("key", "secret", LIVE_URL))
        with pytest.raises(GatewayKeyRefused):
            asked.check()


def test_basic_authentication_is_what_is_sent() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        kind, said = request.headers["authorization"].split()
        assert (kind, base64.b64decode(said)) == ("Basic", b"key:secret")
        return httpx.Response(200, json=[])

    answering(answer).check()

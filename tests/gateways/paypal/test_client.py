"""What PayPal is asked, about a signature and about objects; what it answers, and its silence."""

import base64
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import (
    GatewayError,
    GatewayKeyRefused,
    GatewayObjectMissing,
    RequestRefused,
    SettingError,
    SignatureRefused,
)
from gatehouse.facts import (
    Fact,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways import Fetched, paypal
from gatehouse.gateways.paypal.client import (
    LIVE_URL,
    PLACES,
    SANDBOX_URL,
    TOKEN_PATH,
    VERIFY_PATH,
    PaypalClient,
    client_of,
    kept_client,
)
from gatehouse.gateways.paypal.verify import read_transmission
from tests.support.paypal_events import SAMPLES, event_of
from tests.support.paypal_signing import LIVE_URL as CERTIFICATE_URL
from tests.support.paypal_signing import SENT_AT, request_of, rsa_key, signed_headers

ID, SECRET, TOKEN = "AeInventedClient", "EInventedSecret", "A21AAInventedToken"
BODY = b'{"id": "WH-1",\n "amount": 1.0, "text": "\\u00fc\xc3\xbc"}'
HEADERS = signed_headers(BODY, key=rsa_key(), url=CERTIFICATE_URL, webhook_id="WEBHOOK-1")
TRANSMISSION = read_transmission(request_of(HEADERS, BODY), now=SENT_AT, stand_in_host="")

pytestmark = pytest.mark.req("G2")


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Api:
    """PayPal's API: gives tokens, and answers the question as it is told."""

    def __init__(self, answer: object = None, status: int = 200) -> None:
        self.answer = {"verification_status": "SUCCESS"} if answer is None else answer
        self.status = status
        self.token_answer: httpx.Response | None = None
        self.tokens = 0
        self.questions: list[httpx.Request] = []
        self.refused_tokens: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            credentials = base64.b64encode(f"{ID}:{SECRET}".encode()).decode()
            assert request.headers["authorization"] == f"Basic {credentials}"
            assert request.content == b"grant_type=client_credentials"
            if self.token_answer:
                return self.token_answer
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"{TOKEN}{self.tokens}", "expires_in": 32400})
        self.questions.append(request)
        if request.headers["authorization"].removeprefix("Bearer ") in self.refused_tokens:
            return httpx.Response(401, json={"error": "invalid_token"})
        content = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        return httpx.Response(self.status, content=content)


def client(answer: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float] | None = None) -> PaypalClient:
    return PaypalClient(
        ID,
        SECRET,
        "https://paypal.test",
        clock=clock or Clock(),
        sleep=lambda _: None,
        transport=httpx.MockTransport(answer),
    )


def asked(of: PaypalClient, body: bytes = BODY) -> bool:
    return of.has_signed(TRANSMISSION, "WEBHOOK-1", body)


def failure(of: PaypalClient) -> GatewayError:
    with pytest.raises(GatewayError) as raised:
        asked(of)
    shown = f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
    assert not any(secret in shown for secret in (SECRET, TOKEN))
    return raised.value


class TestQuestion:
    def test_holds_the_body_as_it_stands(self) -> None:
        api = Api()
        assert asked(client(api))
        (question,) = api.questions
        assert (question.method, question.url.path) == ("POST", VERIFY_PATH)
        assert question.headers["content-type"] == "application/json"
        assert question.headers["authorization"] == f"Bearer {TOKEN}1"
        assert question.content.endswith(b', "webhook_event": ' + BODY + b"}")
        said = json.loads(question.content)
        del said["webhook_event"]
        assert said == {
            "auth_algo": HEADERS["PAYPAL-AUTH-ALGO"],
            "cert_url": HEADERS["PAYPAL-CERT-URL"],
            "transmission_id": HEADERS["PAYPAL-TRANSMISSION-ID"],
            "transmission_sig": HEADERS["PAYPAL-TRANSMISSION-SIG"],
            "transmission_time": HEADERS["PAYPAL-TRANSMISSION-TIME"],
            "webhook_id": "WEBHOOK-1",
        }

    @pytest.mark.parametrize(
        "body",
        [
            b'{}, "webhook_id": "OF-ANOTHER"',
            b'{"id": "WH-1"}, "webhook_id": "OF-ANOTHER", "webhook_event": {}',
            b"",
            b"null",
            b'{"id": "WH-1"',
            b'{"id": "\xff"}',
        ],
    )
    def test_a_body_cannot_leave_its_place(self, body: bytes) -> None:
        api = Api()
        with pytest.raises(RequestRefused) as refused:
            asked(client(api), body)
        assert (refused.value.code, api.questions) == ("NOT_JSON", [])


class TestAnswer:
    def test_failure(self) -> None:
        assert not asked(client(Api({"verification_status": "FAILURE"})))

    @pytest.mark.parametrize("status", [400, 422])
    def test_headers_that_make_no_sense(self, status: int) -> None:
        assert not asked(client(Api({"name": "VALIDATION_ERROR"}, status)))

    @pytest.mark.parametrize(
        "answer", [{}, {"verification_status": "success"}, {"verification_status": None}, [], b"", b"<html>", b'{"veri']
    )
    def test_neither_yes_nor_no(self, answer: object) -> None:
        assert failure(client(Api(answer))).retry_helps is True

    def test_no_content(self) -> None:
        assert failure(client(Api(b"", 204))).retry_helps is True

    @pytest.mark.parametrize(("status", "helps"), [(302, False), (403, False), (404, False), (429, True), (500, True)])
    def test_refusal(self, status: int, helps: bool) -> None:
        said = {"name": "NOT_AUTHORIZED", "message": f"your secret {SECRET}", "debug_id": "b1d1f06c7246c"}
        refused = failure(client(Api(said, status)))
        assert refused.retry_helps is helps
        assert f"PayPal answered {status} (NOT_AUTHORIZED, debug id b1d1f06c7246c)" in str(refused)
        assert refused.answered_status == status

    @pytest.mark.parametrize("reason", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
    def test_silence(self, reason: type[httpx.TransportError]) -> None:
        def silent(request: httpx.Request) -> httpx.Response:
            raise reason("no answer", request=request)

        assert f"PayPal did not answer POST {TOKEN_PATH}: {reason.__name__}" in str(failure(client(silent)))

        def silent_later(request: httpx.Request) -> httpx.Response:
            return Api()(request) if request.url.path == TOKEN_PATH else silent(request)

        assert f"PayPal did not answer POST {VERIFY_PATH}: {reason.__name__}" in str(failure(client(silent_later)))


class Shown:
    """PayPal's API: shows the objects that it is given by their paths, and counts what it is asked."""

    def __init__(self, objects: dict[str, Any], date: str = "Fri, 20 Nov 2026 12:00:05 GMT") -> None:
        self.objects = objects
        self.headers = {"date": date}
        self.asked: list[str] = []
        self.tokens = 0
        self.refusals: list[httpx.Response | type[httpx.TransportError]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == TOKEN_PATH:
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"{TOKEN}{self.tokens}", "expires_in": 32400})
        assert request.method == "GET"
        self.asked.append(str(request.url.raw_path.decode()))
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, httpx.Response):
                return refusal
            raise refusal("no answer", request=request)
        found = self.objects.get(request.url.path)
        if found is None:
            said = {"name": "RESOURCE_NOT_FOUND", "message": "It is not there.", "debug_id": "d1"}
            return httpx.Response(404, json=said)
        content = found if isinstance(found, bytes) else json.dumps(found).encode()
        return httpx.Response(200, content=content, headers=self.headers)


def resource_of(sample: str) -> dict[str, Any]:
    resource: dict[str, Any] = json.loads(SAMPLES[sample].read_text())["resource"]
    return resource


def timeless(facts: Iterable[Fact]) -> list[Fact]:
    return [fact._replace(completed_at=None) if isinstance(fact, PaymentFact) else fact for fact in facts]


CAPTURE = resource_of("payment.capture.completed")
CAPTURE_PATH = "/v2/payments/captures/12A34567BC123456S"


class TestFetch:
    def fetched(self, kind: str, object_id: str, objects: dict[str, Any]) -> tuple[Fetched, list[str]]:
        api = Shown(objects)
        return client(api).fetch(kind, object_id), api.asked

    @pytest.mark.parametrize(
        ("kind", "object_id", "sample", "path"),
        [
            ("capture", "12A34567BC123456S", "payment.capture.completed", CAPTURE_PATH),
            ("refund", "1Y107995YT783435V", "payment.capture.refunded", "/v2/payments/refunds/1Y107995YT783435V"),
            ("sale", "7D51924877811803R", "payment.sale.completed__from_subscription", "/v1/payments/sale/"),
            ("authorization", "COMPOSED-AUTH-1", "payment.authorization.created__v2", "/v2/payments/authorizations/"),
            ("order", "COMPOSED-ORDER-3", "checkout.order.completed", "/v2/checkout/orders/"),
            ("subscription", "I-COMPOSED0001", "billing.subscription.updated", "/v1/billing/subscriptions/"),
            ("dispute", "PP-D-COMPOSED-1", "customer.dispute.updated", "/v1/customer/disputes/"),
            ("payout_batch", "COMPOSEDBATCH1", "payment.payoutsbatch.processing", "/v1/payments/payouts/"),
            ("payout_item", "COMPOSEDITEM6", "payment.payouts-item.held", "/v1/payments/payouts-item/"),
        ],
    )
    def test_says_what_the_event_said(self, kind: str, object_id: str, sample: str, path: str) -> None:
        where = path if path.endswith(object_id) else path + object_id
        found, asked = self.fetched(kind, object_id, {where: resource_of(sample)})
        assert found.answered_at == datetime(2026, 11, 20, 12, 0, 5, tzinfo=UTC)
        # An answer does not say when the money came in; the object may.
        assert timeless(found.facts) == timeless(event_of(sample).facts)
        assert [each.partition("?")[0] for each in asked] == [where]

    def test_each_kind_is_askable_and_the_other_way_round(self) -> None:
        assert set(PLACES) == paypal.ASKABLE

    def test_an_invoice_is_not_wrapped(self) -> None:
        invoice = resource_of("invoicing.invoice.updated")["invoice"]
        found, _ = self.fetched("invoice", "INV2-1", {"/v2/invoicing/invoices/INV2-1": invoice})
        assert found.facts == event_of("invoicing.invoice.updated").facts

    def test_money_came_in_when_the_object_says_and_not_when_it_was_asked_for(self) -> None:
        found, _ = self.fetched("capture", "12A34567BC123456S", {CAPTURE_PATH: CAPTURE})
        (capture,) = found.facts
        assert isinstance(capture, PaymentFact)
        assert (capture.status, capture.completed_at) == (
            PaymentStatus.COMPLETED,
            datetime(2022, 8, 23, 18, 29, 50, tzinfo=UTC),
        )

    @pytest.mark.parametrize(
        ("kind", "old", "places"),
        [
            ("refund", "/v1/payments/refund/", ["/v2/payments/refunds/R1", "/v1/payments/refund/R1"]),
            ("capture", "/v1/payments/capture/", ["/v2/payments/captures/R1", "/v1/payments/capture/R1"]),
            (
                "authorization",
                "/v1/payments/authorization/",
                ["/v2/payments/authorizations/R1", "/v1/payments/authorization/R1"],
            ),
        ],
    )
    def test_the_older_api_is_asked_for_what_the_newer_does_not_have(
        self, kind: str, old: str, places: list[str]
    ) -> None:
        shown = {"id": "R1", "state": "pending", "sale_id": "S1", "amount": {"total": "0.49", "currency": "USD"}}
        _, asked = self.fetched(kind, "R1", {f"{old}R1": shown})
        assert asked == places

    def test_a_reversal_of_v1_names_its_sale_when_it_is_asked_for(self) -> None:
        shown = {
            "id": "COMPOSED-REVERSAL-7",
            "state": "completed",
            "amount": {"total": "-0.48", "currency": "USD"},
            "sale_id": "80021663DE681814L",
        }
        found, _ = self.fetched("refund", "COMPOSED-REVERSAL-7", {"/v1/payments/refund/COMPOSED-REVERSAL-7": shown})
        (refund,) = found.facts
        assert isinstance(refund, RefundFact)
        assert refund.objects == event_of("payment.sale.reversed").facts[0].objects
        assert refund.payment == (
            ObjectName("sale", "80021663DE681814L"),
            ObjectName("transaction", "80021663DE681814L"),
        )
        assert (refund.amount_minor, refund.reason) == (48, None)  # so that the event's own word stands

    def test_a_subscription_is_asked_for_with_its_plan(self) -> None:
        shown = {**resource_of("billing.subscription.updated"), "billing_info": {"failed_payments_count": 1}}
        found, asked = self.fetched("subscription", "I-1", {"/v1/billing/subscriptions/I-1": shown})
        assert asked == ["/v1/billing/subscriptions/I-1?fields=plan"]
        subscription = found.facts[0]
        assert isinstance(subscription, SubscriptionFact)
        assert (subscription.plan_name, subscription.status) == ("Pro, monthly", SubscriptionStatus.PAST_DUE)

    def test_an_agreement_of_v1(self) -> None:
        shown = resource_of("billing.subscription.suspended")
        found, asked = self.fetched("subscription", "I-PE7JWXKGVN0R", {AGREEMENT_PATH: shown})
        assert found.facts == event_of("billing.subscription.suspended").facts
        assert asked == ["/v1/billing/subscriptions/I-PE7JWXKGVN0R?fields=plan", AGREEMENT_PATH]

    def test_an_id_stays_in_its_place(self) -> None:
        api = Shown({})
        with pytest.raises(GatewayObjectMissing):
            client(api).fetch("order", "../../v1/oauth2/token?x=1#y")
        assert api.asked == ["/v2/checkout/orders/..%2F..%2Fv1%2Foauth2%2Ftoken%3Fx%3D1%23y"]

    def test_what_paypal_does_not_know(self) -> None:
        api = Shown({})
        with pytest.raises(GatewayObjectMissing) as missing:
            client(api).fetch("capture", "C1")
        assert (missing.value.retry_helps, missing.value.answered_status) == (False, 404)
        assert "PayPal answered 404 (RESOURCE_NOT_FOUND, debug id d1) to GET /v1/payments/capture/C1" in str(
            missing.value
        )
        assert api.asked == ["/v2/payments/captures/C1", "/v1/payments/capture/C1"]

    def test_an_amount_is_never_a_float(self) -> None:
        """0.1 + 0.2 of floats is not 0.3; a number with a point is read digit by digit."""
        text = json.dumps(CAPTURE).replace('"30.00"', "8589934592.57").encode()
        found, _ = self.fetched("capture", "12A34567BC123456S", {CAPTURE_PATH: text})
        assert isinstance(found.facts[0], PaymentFact)
        assert found.facts[0].received_minor == 858_993_459_257

    def test_an_object_that_cannot_be_true_of_money(self) -> None:
        api = Shown({CAPTURE_PATH: {**CAPTURE, "amount": {"currency_code": "USD", "value": "many"}}})
        with pytest.raises(GatewayError, match="PayPal's capture 12A34567BC123456S: 'many' is no amount") as refused:
            client(api).fetch("capture", "12A34567BC123456S")
        assert refused.value.retry_helps is False

    @pytest.mark.parametrize(
        "hindrance",
        [
            httpx.Response(500, json={"name": "INTERNAL_SERVICE_ERROR"}),
            httpx.Response(429, headers={"retry-after": "1"}),
            httpx.Response(200, content=b'{"id": "12A3'),
            httpx.ConnectError,
            httpx.ReadTimeout,
        ],
    )
    def test_a_passing_fault_is_met_by_asking_again(
        self, hindrance: httpx.Response | type[httpx.TransportError]
    ) -> None:
        api = Shown({CAPTURE_PATH: CAPTURE})
        api.refusals = [hindrance]
        assert client(api).fetch("capture", "12A34567BC123456S").facts
        assert api.asked == [CAPTURE_PATH] * 2

    def test_a_long_wait_is_left_to_whoever_asks(self) -> None:
        api = Shown({CAPTURE_PATH: CAPTURE})
        api.refusals = [httpx.Response(429, headers={"retry-after": "60"})]
        with pytest.raises(GatewayError) as refused:
            client(api).fetch("capture", "12A34567BC123456S")
        assert (refused.value.retry_helps, refused.value.retry_after_seconds) == (True, 60.0)
        assert api.asked == [CAPTURE_PATH]

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_token_that_is_refused_is_replaced_once(self, status: int) -> None:
        api = Shown({CAPTURE_PATH: CAPTURE})
        api.refusals = [httpx.Response(status, json={"name": "NOT_AUTHORIZED"})]
        assert client(api).fetch("capture", "12A34567BC123456S").facts
        assert (api.tokens, len(api.asked)) == (2, 2)
        api = Shown({CAPTURE_PATH: CAPTURE})
        api.refusals = [httpx.Response(status, json={"name": "NOT_AUTHORIZED"})] * 2
        with pytest.raises(GatewayKeyRefused):
            client(api).fetch("capture", "12A34567BC123456S")
        assert (api.tokens, len(api.asked)) == (2, 2)


AGREEMENT_PATH = "/v1/payments/billing-agreements/I-PE7JWXKGVN0R"


class TestToken:
    def test_is_used_again_until_shortly_before_it_ends(self) -> None:
        api, clock = Api(), Clock()
        of = client(api, clock)
        for _ in range(3):
            assert asked(of)
        assert api.tokens == 1
        clock.now += 32400 - 59
        assert asked(of)
        assert api.tokens == 2

    def test_is_renewed_once_when_paypal_no_longer_knows_it(self) -> None:
        api = Api()
        of = client(api)
        assert asked(of)
        api.refused_tokens = {f"{TOKEN}1"}
        assert asked(of)
        assert (api.tokens, len(api.questions)) == (2, 3)
        api.refused_tokens = {f"{TOKEN}{number}" for number in range(10)}
        assert "PayPal answered 401 (invalid_token, debug id unknown)" in str(failure(of))
        assert (api.tokens, len(api.questions)) == (3, 5)

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(401, json={"error": "invalid_client", "error_description": f"not {SECRET}"}),
            httpx.Response(400, json={"error": "unsupported_grant_type"}),  # says nothing of a signature
            httpx.Response(422),
            httpx.Response(200, json={}),
            httpx.Response(200, json={"access_token": "with\nline"}),
            httpx.Response(200, json={"access_token": 7}),
            httpx.Response(200, content=b"<html>"),
            httpx.Response(503),
        ],
    )
    def test_none_is_given(self, answer: httpx.Response) -> None:
        api = Api()
        api.token_answer = answer
        failure(client(api))
        assert api.questions == []

    @pytest.mark.parametrize("expires_in", [None, "soon", -1, 1.5, []])
    def test_that_does_not_say_how_long_it_lasts_is_used_once(self, expires_in: object) -> None:
        api = Api()
        api.token_answer = httpx.Response(200, json={"access_token": TOKEN, "expires_in": expires_in})
        assert asked(client(api))


class TestSecrets:
    def test_do_not_show(self) -> None:
        of = client(Api())
        asked(of)
        assert repr(of) == "<PaypalClient https://paypal.test>"
        assert not any(secret in repr(vars(of)) for secret in (SECRET, TOKEN))
        of.close()

    @pytest.mark.parametrize("credential", ["", " ", "a b", "a:b", "a\n", "\u00e9"])
    def test_that_cannot_be_some(self, credential: str) -> None:
        for pair in ((credential, SECRET), (ID, credential)):
            with pytest.raises(SettingError) as raised:
                PaypalClient(*pair, "https://paypal.test")
            assert SECRET not in str(raised.value)

    def test_an_apps_client_is_made_once(self) -> None:
        one = kept_client(ID, SECRET, "https://paypal.test")
        assert kept_client(ID, SECRET, "https://paypal.test") is one
        assert kept_client(ID, "EAnother", "https://paypal.test") is not one


class TestClientOf:
    """The client of an account."""

    @pytest.mark.parametrize(
        ("base_url", "mode", "url"),
        [
            ("", "live", LIVE_URL),
            ("", "test", SANDBOX_URL),
            ("", "both", SANDBOX_URL),  # of a development account: nothing there may ask live PayPal
            ("http://127.0.0.1:7", "live", "http://127.0.0.1:7"),
        ],
    )
    def test_asks_the_paypal_of_its_mode(self, base_url: str, mode: str, url: str) -> None:
        credentials = {"client_id": ID, "client_secret": SECRET, "signing_secrets": ["W"]}
        assert repr(client_of(credentials, base_url, mode)) == f"<PaypalClient {url}>"
        assert client_of(credentials, base_url, mode) is client_of(dict(credentials), base_url, mode)

    @pytest.mark.parametrize(
        "credentials", [{}, {"client_id": ID}, {"client_secret": SECRET}, {"client_id": 7, "client_secret": SECRET}]
    )
    def test_needs_both_credentials(self, credentials: dict[str, Any]) -> None:
        with pytest.raises(SettingError, match="needs client_id and client_secret") as refused:
            client_of(credentials, "", "live")
        assert SECRET not in str(refused.value)


class TestWay:
    """How an account says which way its requests are verified."""

    def account(self, **more: Any) -> GatewayAccount:
        return GatewayAccount("paypal", "default", "default", "live", ("WEBHOOK-1",), more)

    def verify(self, **more: Any) -> None:
        paypal.verify(request_of(HEADERS, BODY), self.account(**more), now=SENT_AT)

    @pytest.mark.parametrize(
        ("more", "reason"),
        [
            ({"verification": "none"}, "must be certificate or postback"),
            ({"verification": None}, "must be certificate or postback"),
            ({"verification": "postback"}, "needs client_id and client_secret"),
            ({"verification": "postback", "client_id": ID}, "needs client_id and client_secret"),
        ],
    )
    def test_that_is_none(self, more: dict[str, Any], reason: str) -> None:
        with pytest.raises(SettingError, match=reason):
            self.verify(**more)

    @pytest.mark.parametrize("more", [{}, {"verification": "postback", "client_id": ID, "client_secret": SECRET}])
    def test_what_cannot_be_is_refused_either_way(self, more: dict[str, Any]) -> None:
        with pytest.raises(SignatureRefused):
            paypal.verify(request_of({}, BODY), self.account(**more), now=SENT_AT)

    def test_each_paypal_has_its_own_address(self) -> None:
        assert (LIVE_URL, SANDBOX_URL) == ("https://api-m.paypal.com", "https://api-m.sandbox.paypal.com")

"""Paystack's API as the jobs see it: questions, answers, refusals, silence."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing, SettingError
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
    PayoutStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
)
from gatehouse.gateways import Fetched
from gatehouse.gateways.paystack import ASKABLE
from gatehouse.gateways.paystack.client import MOST_PAGES, PAGE_SIZE, Fee, PaystackClient, client_of

KEY = "sk_test_invented"
URL = "https://paystack.test"
DATE = "Fri, 20 Nov 2026 12:00:00 GMT"
CHARGE: dict[str, Any] = {
    "id": 1641,
    "domain": "test",
    "status": "success",
    "reference": "T1",
    "amount": 40333,
    "requested_amount": 30050,
    "fees": 10283,
    "currency": "NGN",
    "paid_at": "2024-08-22T09:15:02.000Z",
    "channel": "card",
    "metadata": "",
    "customer": {"customer_code": "CUS_1", "email": "a@example.com"},
    "plan": None,
}
BOTH = (ObjectName("transaction", "1641"), ObjectName("reference", "T1"))

pytestmark = pytest.mark.req("G3", "G14", "G17")


def ok(data: object, **headers: str) -> httpx.Response:
    """Return an answer that holds what was asked for."""
    body = {"status": True, "message": "Retrieved", "data": data}
    return httpx.Response(200, json=body, headers={"date": DATE, **headers})


@contextmanager
def client(answer: Callable[[httpx.Request], httpx.Response]) -> Iterator[PaystackClient]:
    """Return a client whose internet answers so; nobody waits."""
    found = PaystackClient(KEY, URL, transport=httpx.MockTransport(answer), sleep=lambda _seconds: None)
    yield found
    found.close()


class Api:
    """Answers by path, a list of refunds page by page, and remembers the questions."""

    def __init__(self, objects: dict[str, object], refunds: tuple[dict[str, Any], ...] = ()) -> None:
        self.objects = objects
        self.refunds = refunds
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if request.url.path == "/refund":
            size, page = int(request.url.params["perPage"]), int(request.url.params["page"])
            return ok(list(self.refunds[(page - 1) * size : page * size]))
        return ok(self.objects[request.url.path])

    @property
    def paths(self) -> list[str]:
        """Return what was asked for."""
        return [each.url.raw_path.decode() for each in self.asked]


def fetched(api: Api, kind: str, object_id: str, **hints: Any) -> Fetched:
    """Ask about an object."""
    with client(api) as paystack:
        return paystack.fetch(kind, object_id, **hints)


def of[F: Fact](kind: type[F], found: Fetched) -> list[F]:
    """Return the facts of one kind."""
    return [each for each in found.facts if isinstance(each, kind)]


def refund(number: int, amount: int = 5000, status: str = "processed", **more: object) -> dict[str, Any]:
    """Return a refund as the API lists it."""
    return {"id": number, "transaction": 1641, "amount": amount, "currency": "NGN", "status": status, **more}


class TestFee:
    @pytest.mark.parametrize(
        ("kind", "object_id", "path"),
        [("transaction", "1641", "/transaction/1641"), ("reference", "T1", "/transaction/verify/T1")],
    )
    def test_of_a_transaction(self, kind: str, object_id: str, path: str) -> None:
        api = Api({path: CHARGE})
        with client(api) as paystack:
            assert paystack.payment_fee(kind, object_id) == Fee(10283, "NGN")
        (request,) = api.asked
        assert (request.method, request.headers["authorization"]) == ("GET", f"Bearer {KEY}")

    def test_in_the_currencys_own_minor_units(self) -> None:
        with client(Api({"/transaction/1641": CHARGE | {"fees": "15000", "currency": "xof"}})) as paystack:
            assert paystack.payment_fee("transaction", "1641") == Fee(150, "XOF")

    @pytest.mark.parametrize("charge", [CHARGE | {"fees": None}, {}])
    def test_that_is_not_known_yet(self, charge: dict[str, Any]) -> None:
        with client(Api({"/transaction/1641": charge})) as paystack:
            assert paystack.payment_fee("transaction", "1641") is None

    @pytest.mark.parametrize("fee", [-1, 1.5, "x", True, {}])
    def test_that_makes_no_sense(self, fee: object) -> None:
        with (
            client(Api({"/transaction/1641": CHARGE | {"fees": fee}})) as paystack,
            pytest.raises(GatewayError, match="Paystack's fee of 1641") as refused,
        ):
            paystack.payment_fee("transaction", "1641")
        assert refused.value.retry_helps is False


class TestTransaction:
    @pytest.mark.parametrize(
        ("kind", "object_id", "path"),
        [("transaction", "1641", "/transaction/1641"), ("reference", "T1", "/transaction/verify/T1")],
    )
    def test_is_told_as_its_event_tells_it_with_all_its_refunds(self, kind: str, object_id: str, path: str) -> None:
        api = Api({path: CHARGE}, (refund(1, refund_reference="R1"), refund(2, 700, "pending"), refund(3, 800)))
        found = fetched(api, kind, object_id)
        assert found.answered_at == datetime(2026, 11, 20, 12, tzinfo=UTC)
        (payment,) = of(PaymentFact, found)
        assert payment.objects == BOTH
        assert (payment.status, payment.amount_minor, payment.received_minor) == (PaymentStatus.COMPLETED, 30050, 40333)
        assert (payment.refunded_minor, payment.fee_minor, payment.email) == (5800, 10283, "a@example.com")
        assert payment.completed_at == datetime(2024, 8, 22, 9, 15, 2, tzinfo=UTC)
        assert of(CustomerFact, found)[0].objects == (ObjectName("customer", "CUS_1"),)
        assert [each.objects for each in of(RefundFact, found)] == [
            (ObjectName("refund", "1"), ObjectName("refund_reference", "R1")),
            (ObjectName("refund", "2"),),
        ]
        assert {each.payment for each in of(RefundFact, found)} == {BOTH}
        assert api.paths == [path, f"/refund?transaction=1641&perPage={PAGE_SIZE}&page=1"]

    def test_the_event_that_caused_the_question_names_its_refund(self) -> None:
        api = Api({"/transaction/verify/T1": CHARGE}, (refund(1), refund(2, 700)))
        found = fetched(
            api, "reference", "T1", refund_reference="R2", refund_amount_minor=700, refund_status="completed"
        )
        assert [each.objects for each in of(RefundFact, found)] == [
            (ObjectName("refund", "2"), ObjectName("refund_reference", "R2"))
        ]

    def test_refunds_of_another_transaction_are_not_its_own(self) -> None:
        others = (refund(1, 700, "pending", transaction=5000), refund(2, 800, "pending", transaction={"id": 1641}))
        found = fetched(Api({"/transaction/1641": CHARGE}, others), "transaction", "1641")
        assert [each.objects[0].id for each in of(RefundFact, found)] == ["2"]

    def test_the_list_is_turned_to_its_last_page_and_none_is_told_twice(self) -> None:
        many = tuple(refund(number, number, "pending") for number in range(1, PAGE_SIZE + 1))
        api = Api({"/transaction/1641": CHARGE}, (*many, many[-1], refund(999, 999)))
        (payment,) = of(PaymentFact, fetched(api, "transaction", "1641"))
        assert payment.refunded_minor == 999
        assert [each[-1] for each in api.paths[1:]] == ["1", "2"]
        assert len(of(RefundFact, fetched(api, "transaction", "1641"))) == PAGE_SIZE

    def test_a_list_without_end_is_refused(self) -> None:
        class Endless(Api):
            def __call__(self, request: httpx.Request) -> httpx.Response:
                self.asked.append(request)
                return ok([refund(7)] * PAGE_SIZE if request.url.path == "/refund" else CHARGE)

        api = Endless({})
        with pytest.raises(GatewayError, match="more than 20 pages") as refused:
            fetched(api, "transaction", "1641")
        assert (refused.value.retry_helps, len(api.asked)) == (False, MOST_PAGES + 1)

    @pytest.mark.parametrize(
        ("refunds", "status"),
        [
            ((refund(1, 40333),), PaymentStatus.COMPLETED),
            ((refund(1, 40333, "processing"),), PaymentStatus.COMPLETED),
            ((), PaymentStatus.REVERSED),
            ((refund(1, 40333, "failed"),), PaymentStatus.REVERSED),
        ],
    )
    def test_one_that_is_refunded_whole_is_reversed_to_paystack_but_its_money_came_in(
        self, refunds: tuple[dict[str, Any], ...], status: PaymentStatus
    ) -> None:
        api = Api({"/transaction/1641": CHARGE | {"status": "reversed"}}, refunds)
        (payment,) = of(PaymentFact, fetched(api, "transaction", "1641"))
        assert payment.status is status
        assert payment.received_minor == (40333 if status is PaymentStatus.COMPLETED else None)

    @pytest.mark.parametrize("word", ["abandoned", "ongoing", "wholly_new", None])
    def test_one_that_has_not_ended(self, word: str | None) -> None:
        api = Api({"/transaction/1641": CHARGE | {"status": word}})
        assert of(PaymentFact, fetched(api, "transaction", "1641"))[0].status is PaymentStatus.PROCESSING

    @pytest.mark.parametrize("damage", [{"amount": None}, {"currency": "XXX"}, {"id": None}])
    def test_one_that_makes_no_sense(self, damage: dict[str, object]) -> None:
        with pytest.raises(GatewayError, match="Paystack's transaction 1641: ") as refused:
            fetched(Api({"/transaction/1641": CHARGE | damage}), "transaction", "1641")
        assert refused.value.retry_helps is False

    @pytest.mark.parametrize("damage", [{"id": None}, {"amount": "x"}])
    def test_one_whose_refunds_make_no_sense(self, damage: dict[str, object]) -> None:
        with pytest.raises(GatewayError):
            fetched(Api({"/transaction/1641": CHARGE}, (refund(1) | damage,)), "transaction", "1641")


class TestOtherObjects:
    def test_refund(self) -> None:
        api = Api({"/refund/1": refund(1, 500000)})
        (found,) = of(RefundFact, fetched(api, "refund", "1"))
        assert (found.objects, found.payment) == ((ObjectName("refund", "1"),), BOTH[:1])
        assert (found.status, found.amount_minor) == (RefundStatus.COMPLETED, 500000)
        (named,) = of(RefundFact, fetched(api, "refund", "1", refund_reference="R1"))
        assert named.objects == (ObjectName("refund", "1"), ObjectName("refund_reference", "R1"))

    def test_dispute(self) -> None:
        said = {"id": 2867, "status": "archived", "transaction": {"id": 1641, "reference": "T1", "currency": "NGN"}}
        (found,) = of(DisputeFact, fetched(Api({"/dispute/2867": said}), "dispute", "2867"))
        assert (found.status, found.payment) == (DisputeStatus.CLOSED, BOTH)

    def test_transfer(self) -> None:
        said = {"transfer_code": "TRF_1", "amount": 100000, "currency": "NGN", "status": "success", "fee_charged": 1000}
        (found,) = of(PayoutFact, fetched(Api({"/transfer/TRF_1": said}), "transfer", "TRF_1"))
        assert (found.status, found.amount_minor, found.fee_minor) == (PayoutStatus.SETTLED, 100000, 1000)

    def test_subscription_with_its_latest_invoice(self) -> None:
        said = {
            "subscription_code": "SUB_1",
            "status": "attention",
            "amount": 50000,
            "plan": {"plan_code": "PLN_1", "currency": "NGN"},
            "customer": {"customer_code": "CUS_1", "email": "a@example.com"},
            "most_recent_invoice": {"invoice_code": "INV_1", "amount": 50000, "status": "failed"},
        }
        found = fetched(Api({"/subscription/SUB_1": said}), "subscription", "SUB_1")
        assert [type(each) for each in found.facts] == [SubscriptionFact, InvoiceFact, CustomerFact]
        assert of(InvoiceFact, found)[0].total_minor == 50000

    def test_customer(self) -> None:
        said = {
            "customer_code": "CUS_1",
            "email": "a@example.com",
            "authorizations": [{"authorization_code": "AUTH_1"}],
        }
        found = fetched(Api({"/customer/CUS_1": said}), "customer", "CUS_1")
        assert found.facts == (CustomerFact(objects=(ObjectName("customer", "CUS_1"),), email="a@example.com"),)

    def test_payment_request(self) -> None:
        said = {
            "request_code": "PRQ_1",
            "amount": 42000,
            "currency": "NGN",
            "status": "pending",
            "customer": {"customer_code": "CUS_1", "email": "a@example.com"},
        }
        found = fetched(Api({"/paymentrequest/PRQ_1": said}), "payment_request", "PRQ_1")
        assert of(InvoiceFact, found)[0].customer_ref == "CUS_1"

    def test_every_kind_that_is_askable_has_its_question(self) -> None:
        anything = {"id": 1, "reference": "1", "customer_code": "1", "transfer_code": "1", "subscription_code": "1"}
        for kind in ASKABLE:
            with client(lambda request: ok([] if request.url.path == "/refund" else anything)) as paystack:
                assert paystack.fetch(kind, "1").answered_at
        with client(Api({})) as paystack, pytest.raises(KeyError):
            paystack.fetch("invoice", "INV_1")

    def test_an_id_cannot_lead_elsewhere(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            assert request.url.raw_path == b"/customer/..%2Ftransaction%3Fx%3D"
            return ok({})

        with client(answer) as paystack:
            assert paystack.fetch("customer", "../transaction?x=").facts == ()


def failure(answer: Callable[[httpx.Request], httpx.Response], kind: str = "customer") -> GatewayError:
    """Return how a question fails; the key is in no part of it."""
    with client(answer) as paystack, pytest.raises(GatewayError) as raised:
        paystack.fetch(kind, "X1")
    assert KEY not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"
    return raised.value


def refusing(status: int, body: object, headers: dict[str, str] | None = None) -> Callable[..., httpx.Response]:
    """Return an internet that answers so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda _request: httpx.Response(status, content=content, headers=headers)


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "retry_helps"), [(400, False), (302, False), (422, False), (429, True), (500, True), (503, True)]
    )
    def test_a_retry_helps_or_not(self, status: int, *, retry_helps: bool) -> None:
        said = {"status": False, "message": "No", "type": "validation_error", "code": "invalid_params"}
        refused = failure(refusing(status, said))
        assert refused.retry_helps is retry_helps
        assert str(refused) == f"Paystack answered {status} (validation_error, invalid_params) to GET /customer/X1"

    def test_a_key_that_is_not_known(self) -> None:
        refused = failure(refusing(401, {"status": False, "message": f"Invalid key {KEY}"}))
        assert isinstance(refused, GatewayKeyRefused)
        assert "no code" in str(refused)

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (404, {"status": False, "message": "Customer not found"}),
            (400, {"status": False, "message": "Transaction reference not found."}),
            (400, {"status": False, "message": "No", "code": "transaction_not_found"}),
        ],
    )
    def test_an_object_that_is_not_known(self, status: int, said: dict[str, object]) -> None:
        assert isinstance(failure(refusing(status, said), "reference"), GatewayObjectMissing)

    @pytest.mark.parametrize("said", [{}, {"message": "Invalid"}, {"message": None, "code": 7}])
    def test_any_other_refusal_is_no_missing_object(self, said: dict[str, object]) -> None:
        assert not isinstance(failure(refusing(400, said)), GatewayObjectMissing)

    def test_is_asked_again_and_then_given_up(self) -> None:
        asked = 0

        def answer(_request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            return httpx.Response(500) if asked < 3 else ok({"customer_code": "CUS_1"})

        with client(answer) as paystack:
            paystack.fetch("customer", "X1")
        assert asked == 3
        assert failure(refusing(500, b"<html>")).retry_helps is True

    def test_is_told_when_to_come_again(self) -> None:
        refused = failure(refusing(429, {}, {"retry-after": "7"}))
        assert refused.retry_after_seconds == 7.0

    @pytest.mark.parametrize("body", [b"", b'{"status": true, "data', b"<html>", b"[]"])
    def test_an_answer_that_is_cut_or_of_a_proxy(self, body: bytes) -> None:
        assert failure(refusing(200, body)).retry_helps is True

    @pytest.mark.parametrize(
        "body", [{}, {"status": False, "data": {}}, {"status": True}, {"status": True, "data": []}, {"data": {}}]
    )
    def test_an_answer_that_holds_something_else(self, body: dict[str, object]) -> None:
        assert failure(refusing(200, body)).retry_helps is False

    @pytest.mark.parametrize("reason", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
    def test_silence(self, reason: type[httpx.TransportError]) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            raise reason("no answer", request=request)

        silent = failure(answer)
        assert silent.retry_helps is True
        assert str(silent) == f"Paystack did not answer GET /customer/X1: {reason.__name__}"


class TestAccount:
    def test_its_key_is_the_first_of_its_signing_secrets(self) -> None:
        found = client_of({"signing_secrets": ["sk_test_new", "sk_test_old"]}, URL, "test")
        assert found is client_of({"signing_secrets": ["sk_test_new"]}, URL, "both")
        assert found is not client_of({"signing_secrets": ["sk_test_old"]}, URL, "test")
        assert found is client_of({"secret_key": "sk_test_new", "signing_secrets": ["sk_test_old"]}, URL, "test")
        assert "sk_" not in repr(found)

    @pytest.mark.parametrize(
        "credentials", [{}, {"signing_secrets": []}, {"signing_secrets": "sk_x"}, {"secret_key": 7}]
    )
    def test_without_one_it_is_said(self, credentials: dict[str, object]) -> None:
        with pytest.raises(SettingError, match="has no secret_key"):
            client_of(credentials, URL, "test")

    @pytest.mark.parametrize("key", ["whsec_of_another", "pk_test_1", "sk_", "sk_té", "sk_test_1\n"])
    def test_a_secret_that_is_no_key_is_not_sent_out(self, key: str) -> None:
        with pytest.raises(SettingError, match="begin with sk_") as raised:
            client_of({"signing_secrets": [key]}, URL, "both")
        assert key not in str(raised.value) or key == "sk_"

    @pytest.mark.req("G15")
    @pytest.mark.parametrize(("key", "mode"), [("sk_test_1", "live"), ("sk_live_1", "test")])
    def test_a_key_of_the_other_mode_would_ask_about_other_money(self, key: str, mode: str) -> None:
        with pytest.raises(SettingError, match=f"the account is for {mode}"):
            client_of({"signing_secrets": [key]}, URL, mode)


def test_httpx_is_paid_for_by_those_who_ask_only() -> None:
    program = "import sys, gatehouse.gateways.paystack.client; print({'httpx', 'certifi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

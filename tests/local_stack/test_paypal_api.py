"""The real client against the running stand-in for PayPal's API: every question, and every fault."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from gatehouse.errors import GatewayError, GatewayKeyRefused, GatewayObjectMissing
from gatehouse.facts import ObjectName, PaymentFact, RefundFact
from gatehouse.gateways.paypal import read_event, translate
from gatehouse.gateways.paypal.client import PaypalClient
from gatehouse.gateways.paypal.verify import read_transmission
from local.gateway_accounts import gateway_accounts
from local.gateway_apis import Fault, GatewayApi
from local.kept_secrets import KeptPorts, KeptSecrets
from local.paypal_api import PaypalApi
from local.paypal_certificate import PaypalCertificate, paypal_certificate
from local.send import sign_paypal
from tests.support.paypal_events import SAMPLES
from tests.support.paypal_signing import request_of

ID, SECRET = "AInventedClient", "EInventedSecret"
CAPTURE = ("capture", "12A34567BC123456S")
UNIX_SECONDS = 1_795_000_000

pytestmark = pytest.mark.req("G2", "O2")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> PaypalCertificate:
    """The certificate of this machine's PayPal."""
    return paypal_certificate(tmp_path_factory.mktemp("paypal"))


@pytest.fixture
def paypal(certificate: PaypalCertificate) -> PaypalApi:
    """What the stand-in answers; it has sent us every sample."""
    gateway = PaypalApi(certificate.file.read_text(), ID, SECRET)
    for sample in SAMPLES.values():
        gateway.learn(sample.read_bytes())
    return gateway


@pytest.fixture
def api(paypal: PaypalApi) -> Iterator[GatewayApi]:
    """The running stand-in."""
    running = GatewayApi(paypal)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(api: GatewayApi) -> Iterator[PaypalClient]:
    """Our client of it, which does not really wait."""
    client = PaypalClient(ID, SECRET, api.url, sleep=lambda _: None)
    yield client
    client.close()


def paths(api: GatewayApi) -> list[str]:
    return [request.path for request in api.requests]


class TestQuestions:
    @pytest.mark.parametrize(
        ("kind", "object_id"),
        [
            CAPTURE,
            ("capture", "COMPOSED-CAPTURE-4A"),  # which no event but its order's told of
            ("capture", "42311647XV020574X"),  # of v1
            ("refund", "1Y107995YT783435V"),
            ("refund", "6YX43824R4443062K"),
            ("sale", "7D51924877811803R"),
            ("authorization", "COMPOSED-AUTH-1"),
            ("authorization", "29R443392M774720E"),
            ("order", "COMPOSED-ORDER-3"),
            ("subscription", "I-COMPOSED0001"),
            ("subscription", "I-PE7JWXKGVN0R"),
            ("dispute", "PP-D-COMPOSED-1"),
            ("dispute", "PP-000-001-341-393"),
            ("invoice", "INV2-COMP-OSED-0001"),
            ("invoice", "INV2-8FSD-3HT6-BRHR-UHYV"),
            ("payout_batch", "COMPOSEDBATCH1"),
            ("payout_item", "COMPOSEDITEM1"),
        ],
    )
    def test_every_kind_of_object_is_shown(self, client: PaypalClient, kind: str, object_id: str) -> None:
        fetched = client.fetch(kind, object_id)
        assert ObjectName(kind, object_id) in {name for fact in fetched.facts for name in fact.objects}
        assert fetched.answered_at.utcoffset() is not None

    def test_what_paypal_does_not_know_is_missing(self, client: PaypalClient) -> None:
        with pytest.raises(GatewayObjectMissing):
            client.fetch("capture", "UNKNOWN")

    def test_the_need_of_an_event_is_met(self, api: GatewayApi, client: PaypalClient) -> None:
        """A reversed sale names no payment; whoever asks for the refund learns it."""
        event = translate(read_event(SAMPLES["payment.sale.reversed"].read_bytes()), "default")
        (need,) = event.needs
        refund_id = str(need.arguments["id"])
        self_link = {"rel": "self", "href": f"https://api.sandbox.paypal.com/v1/payments/refund/{refund_id}"}
        shown = {"id": refund_id, "state": "completed", "sale_id": "80021663DE681814L", "links": [self_link]}
        money = {"amount": {"total": "0.48", "currency": "USD"}}
        assert httpx.put(f"{api.url}/_control/objects", json={**shown, **money}).status_code == 200
        (refund,) = client.fetch(str(need.arguments["kind"]), refund_id).facts
        assert isinstance(refund, RefundFact)
        assert refund.payment[0] == ObjectName("sale", "80021663DE681814L")

    def test_an_older_event_does_not_overwrite_a_newer_one(self, paypal: PaypalApi, client: PaypalClient) -> None:
        event = json.loads(SAMPLES["payment.capture.completed"].read_text())
        for moment, status in (("2030-01-01T00:00:00Z", "PENDING"), ("2029-01-01T00:00:00Z", "FAILED")):
            resource = event["resource"] | {"status": status}
            paypal.learn(json.dumps({**event, "create_time": moment, "resource": resource}).encode())
        (capture,) = client.fetch(*CAPTURE).facts
        assert isinstance(capture, PaymentFact)
        assert capture.status == "processing"

    def test_an_object_that_nobody_could_ask_for_is_refused(self, api: GatewayApi) -> None:
        assert httpx.put(f"{api.url}/_control/objects", json={"id": "X"}).status_code == 400

    def test_its_certificate_needs_no_token(self, api: GatewayApi, certificate: PaypalCertificate) -> None:
        answer = httpx.get(api.url + PaypalApi.CERTIFICATE_PATH)
        assert (answer.status_code, answer.text) == (200, certificate.file.read_text())
        assert httpx.get(f"{api.url}/v1/notifications/certs/CERT-of-another").status_code == 401


class TestSignature:
    def asked(self, client: PaypalClient, certificate: PaypalCertificate, body: bytes, sent: bytes) -> bool:
        gateway = {
            "webhook_id": "WH-1",
            "cert_url": f"http://stand-in.test{PaypalApi.CERTIFICATE_PATH}",
            "private_key_file": str(certificate.private_key_file),
        }
        headers = sign_paypal(body, gateway, "", UNIX_SECONDS)
        request = request_of(headers, sent)
        transmission = read_transmission(request, now=request.received_at, stand_in_host="stand-in.test")
        return client.has_signed(transmission, "WH-1", sent)

    def test_of_this_body_as_it_stands(self, client: PaypalClient, certificate: PaypalCertificate) -> None:
        body = SAMPLES["payment.capture.completed"].read_bytes()
        assert self.asked(client, certificate, body, body)
        assert not self.asked(client, certificate, body, json.dumps(json.loads(body)).encode())


class TestFaults:
    def test_a_refused_token_is_replaced(self, api: GatewayApi, client: PaypalClient) -> None:
        client.fetch(*CAPTURE)
        api.fail_with(Fault("401", times=1))
        assert client.fetch(*CAPTURE).facts
        shown = "/v2/payments/captures/12A34567BC123456S"
        assert paths(api) == [PaypalApi.TOKEN_PATH, shown, shown, PaypalApi.TOKEN_PATH, shown]

    def test_a_forgotten_token_is_replaced(self, paypal: PaypalApi, api: GatewayApi, client: PaypalClient) -> None:
        client.fetch(*CAPTURE)
        paypal.forget_tokens()
        assert client.fetch(*CAPTURE).facts
        assert paths(api).count(PaypalApi.TOKEN_PATH) == 2

    def test_a_wrong_secret_gets_none(self, api: GatewayApi) -> None:
        for client_id, client_secret in ((ID, "EAnother"), ("AAnother", SECRET)):
            with (
                closing(PaypalClient(client_id, client_secret, api.url)) as stranger,
                pytest.raises(GatewayKeyRefused, match="invalid_client"),
            ):
                stranger.fetch(*CAPTURE)
        assert set(paths(api)) == {PaypalApi.TOKEN_PATH}

    def test_nothing_is_shown_without_a_token(self, api: GatewayApi) -> None:
        answer = httpx.get(f"{api.url}/v2/payments/captures/12A34567BC123456S", headers={"authorization": "Bearer x"})
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
        form = {"data": {"grant_type": "password"}, "auth": (ID, SECRET)}
        answer = httpx.post(api.url + PaypalApi.TOKEN_PATH, **form)  # type: ignore[arg-type]  # one of each type
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")

    @pytest.mark.parametrize("kind", ["429", "500", "truncated"])
    def test_a_passing_fault_is_met_by_asking_again(self, api: GatewayApi, client: PaypalClient, kind: str) -> None:
        client.fetch(*CAPTURE)
        api.fail_with(Fault(kind, times=1))
        assert client.fetch(*CAPTURE).facts

    @pytest.mark.parametrize(("kind", "helps"), [("401", False), ("429", True), ("500", True), ("truncated", True)])
    def test_a_lasting_fault_is_told(self, api: GatewayApi, client: PaypalClient, kind: str, helps: bool) -> None:
        api.fail_with(Fault(kind))
        with pytest.raises(GatewayError) as failed:
            client.fetch(*CAPTURE)
        assert failed.value.retry_helps is helps
        api.fail_with(None)
        assert client.fetch(*CAPTURE).facts

    def test_an_answer_that_takes_long_is_waited_for(self, api: GatewayApi, client: PaypalClient) -> None:
        api.fail_with(Fault("slow", times=1, seconds=0.3))
        assert client.fetch(*CAPTURE).facts


def test_the_functions_of_this_machine_know_it(tmp_path: Path) -> None:
    """The account's app and the address of the stand-in are those that the client needs."""
    accounts = gateway_accounts(KeptSecrets(tmp_path), KeptPorts(tmp_path), tmp_path)
    try:
        (account,) = (each for each in accounts if each.name == "paypal")
        secret: dict[str, Any] = dict(account.secret)
        api = account.api
        assert api is not None
        api.start()
        ours = PaypalClient(secret["client_id"], secret["client_secret"], account.settings["PAYPAL_API_URL"])
        with closing(ours), pytest.raises(GatewayObjectMissing):
            ours.fetch("order", "UNKNOWN")
    finally:
        for each in accounts:
            if each.api:
                each.api.stop()

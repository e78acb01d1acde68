"""`make send` signs a file as its gateway does and shows the answer."""

import base64
import binascii
import hashlib
import hmac
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from local import send, stack_file
from local.paypal_certificate import PaypalCertificate, paypal_certificate
from tests.support.paypal_signing import rsa_key

pytestmark = pytest.mark.req("O2", "G1")

# Spaces and order are part of what is signed.
BODY = b'{ "id":"evt_1",\n  "amount": 4620.00 }\n'


@dataclass
class Receiver:
    """What a fake front got."""

    url: str
    folder: Path
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A front that keeps requests, with a stack.json that points at it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((dict(self.headers.items()), body))
            received.targets.append(self.path)
            status = 400 if self.path.endswith("/refuse") else 200
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"status": "applied"}')

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    received = Receiver(f"http://127.0.0.1:{server.server_address[1]}/webhooks/stripe", tmp_path / ".local")
    received.folder.mkdir()
    write_stack(received, received.url)
    yield received
    server.shutdown()
    server.server_close()
    thread.join()


def write_stack(receiver: Receiver, url: str) -> None:
    """Write a stack.json with Stripe at this URL."""
    stack_file.write(receiver.folder, {"gateways": {"stripe": {"url": url, "signing_secret": "whsec_ours"}}})


def event_file(tmp_path: Path, folder: str = "stripe") -> Path:
    """Write the payload where a gateway's samples are."""
    file = tmp_path / "events" / folder / "sub" / "payment_intent.succeeded.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    return file


def run(receiver: Receiver, *arguments: Any) -> int:
    """Run the command."""
    return send.main([*map(str, arguments), "--folder", str(receiver.folder)])


def test_the_exact_bytes_are_signed_as_stripe_does(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(receiver, event_file(tmp_path)) == 0
    ((headers, body),) = receiver.requests
    assert body == BODY
    moment, signature = (part.partition("=")[2] for part in headers["Stripe-Signature"].split(","))
    assert signature == hmac.new(b"whsec_ours", f"{moment}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert capsys.readouterr().out == 'stripe 200 {"status": "applied"}\n'


def test_another_secret_gives_another_signature(receiver: Receiver, tmp_path: Path) -> None:
    run(receiver, event_file(tmp_path), "--secret", "bad")
    headers, _ = receiver.requests[0]
    moment = headers["Stripe-Signature"].split(",")[0].removeprefix("t=")
    wrong = hmac.new(b"bad", f"{moment}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert headers["Stripe-Signature"].endswith(wrong)


def test_a_refusal_is_shown_and_ends_with_1(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stack(receiver, receiver.url + "/refuse")
    assert run(receiver, event_file(tmp_path)) == 1
    assert capsys.readouterr().out.startswith("stripe 400 ")


def test_the_gateway_can_be_named(receiver: Receiver, tmp_path: Path) -> None:
    file = event_file(tmp_path, folder="anywhere")
    assert run(receiver, file) == 2
    assert run(receiver, file, "--gateway", "stripe") == 0


def test_what_cannot_be_sent_is_one_clear_line(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = event_file(tmp_path)
    assert run(receiver, tmp_path / "nothing.json") == 2
    assert run(receiver, file, "--gateway", "lemonade") == 2
    write_stack(receiver, "http://127.0.0.1:1/webhooks/stripe")
    assert run(receiver, file) == 2
    stack_file.remove(receiver.folder)
    assert run(receiver, file) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line, words in zip(lines, ("No such file", "known: stripe", "does not answer", "make run"), strict=True):
        assert line.startswith("gatehouse: ")
        assert words in line


# --- how the other gateways sign ------------------------------------------------------------------------------------


def with_gateway(receiver: Receiver, name: str, path: str = "", **facts: str) -> None:
    """Write a stack.json that knows this gateway, at a path of the receiver."""
    origin = receiver.url.removesuffix("/webhooks/stripe")
    stack_file.write(receiver.folder, {"gateways": {name: {"url": f"{origin}{path or f'/webhooks/{name}'}", **facts}}})


@pytest.fixture
def certificate(tmp_path: Path) -> PaypalCertificate:
    """The certificate of this machine's PayPal."""
    return paypal_certificate(tmp_path / "paypal")


def with_paypal(receiver: Receiver, certificate: PaypalCertificate) -> None:
    url, key_file = "http://127.0.0.1:1/CERT-1", str(certificate.private_key_file)
    with_gateway(receiver, "paypal", webhook_id="WH1", cert_url=url, private_key_file=key_file)


@pytest.mark.req("G2")
@pytest.mark.parametrize(("secret", "webhook_id"), [("", "WH1"), ("bad", "bad")])
def test_paypal_signs_id_time_webhook_and_checksum(
    receiver: Receiver, tmp_path: Path, certificate: PaypalCertificate, secret: str, webhook_id: str
) -> None:
    with_paypal(receiver, certificate)
    assert run(receiver, event_file(tmp_path, "paypal"), "--secret", secret) == 0
    ((headers, body),) = receiver.requests
    told = [headers[f"PAYPAL-TRANSMISSION-{name}"] for name in ("ID", "TIME")]
    signed = "|".join([*told, webhook_id, str(binascii.crc32(BODY))])
    key = load_pem_x509_certificate(certificate.file.read_bytes()).public_key()
    assert body == BODY
    assert isinstance(key, type(rsa_key().public_key()))
    key.verify(base64.b64decode(headers["PAYPAL-TRANSMISSION-SIG"]), signed.encode(), PKCS1v15(), SHA256())
    assert (headers["PAYPAL-CERT-URL"], headers["PAYPAL-AUTH-ALGO"]) == ("http://127.0.0.1:1/CERT-1", "SHA256withRSA")


@pytest.mark.req("G2")
def test_the_certificate_is_kept_and_its_key_can_be_read_by_its_owner_only(
    tmp_path: Path, certificate: PaypalCertificate
) -> None:
    before = certificate.file.read_bytes()
    assert certificate.private_key_file.stat().st_mode & 0o777 == 0o600
    assert paypal_certificate(tmp_path / "paypal").file.read_bytes() == before
    certificate.private_key_file.unlink()
    assert paypal_certificate(tmp_path / "paypal").file.read_bytes() != before


@pytest.mark.req("G3", "G4", "G6")
@pytest.mark.parametrize(
    ("gateway", "header"), [("paystack", "x-paystack-signature"), ("sayswitch", "payloadSignature")]
)
@pytest.mark.parametrize(("secret", "key"), [("", b"sk_test_ours"), ("bad", b"bad")])
def test_paystack_and_sayswitch_sign_the_exact_bytes(
    receiver: Receiver, tmp_path: Path, gateway: str, header: str, secret: str, key: bytes
) -> None:
    with_gateway(receiver, gateway, secret_key="sk_test_ours")
    run(receiver, event_file(tmp_path, gateway), "--secret", secret)
    ((headers, body),) = receiver.requests
    assert (body, headers[header]) == (BODY, hmac.new(key, BODY, hashlib.sha512).hexdigest())


@pytest.mark.req("G5", "G7")
@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ((), "/webhooks/mx_merchant/default/our-token"),
        (("--secret", "bad"), "/webhooks/mx_merchant/default/bad"),
        (("--account", "acme", "--secret", "a/b"), "/webhooks/mx_merchant/acme/a%2Fb"),
    ],
)
def test_what_signs_for_mx_merchant_is_the_url(
    receiver: Receiver, tmp_path: Path, arguments: tuple[str, ...], path: str
) -> None:
    with_gateway(receiver, "mx_merchant", "/webhooks/mx_merchant/default/our-token", merchant_id="1")
    run(receiver, event_file(tmp_path, "mx_merchant"), *arguments)
    assert receiver.targets == [path]


# --- other accounts -------------------------------------------------------------------------------------------------


def test_another_account_has_its_own_url_and_a_secret_from_a_file(receiver: Receiver, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("whsec_of_acme\n")
    run(receiver, event_file(tmp_path), "--account", "acme", "--secret", f"@{file}")
    headers, _ = receiver.requests[0]
    moment, signature = (part.partition("=")[2] for part in headers["Stripe-Signature"].split(","))
    assert receiver.targets == ["/webhooks/stripe/acme"]
    assert signature == hmac.new(b"whsec_of_acme", f"{moment}.".encode() + BODY, hashlib.sha256).hexdigest()


def test_the_secret_of_another_account_must_be_given(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = event_file(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())  # no terminal that could be asked
    assert run(receiver, file, "--account", "acme") == 2
    assert "no secret of stripe/acme: give SECRET=@<file> or SECRET=<secret>" in capsys.readouterr().err
    assert run(receiver, file, "--account", "default") == 0
    assert receiver.targets == ["/webhooks/stripe/default"]


def test_what_does_not_answer_is_named_without_its_path(
    receiver: Receiver, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "http://127.0.0.1:1/webhooks/mx_merchant/default/our-token"
    stack_file.write(receiver.folder, {"gateways": {"mx_merchant": {"url": url}}})
    assert run(receiver, event_file(tmp_path, "mx_merchant")) == 2
    said = capsys.readouterr().err
    assert "http://127.0.0.1:1 does not answer" in said
    assert "our-token" not in said


def test_stack_json_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    file = stack_file.write(tmp_path, {"api_url": "http://127.0.0.1:8080"})
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == stack_file.read(tmp_path)
    stack_file.remove(tmp_path)
    with pytest.raises(stack_file.StackNotRunning):
        stack_file.read(tmp_path)

"""`make send` signs a file as its gateway does and shows the answer."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from local import send, stack_file

pytestmark = pytest.mark.req("O2", "G1")

# Spaces and order are part of what is signed.
BODY = b'{ "id":"evt_1",\n  "amount": 4620.00 }\n'


@dataclass
class Receiver:
    """What a fake front got."""

    url: str
    folder: Path
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    """A front that keeps requests, with a stack.json that points at it."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((dict(self.headers.items()), body))
            status = 400 if "bad" in self.path else 200
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
    write_stack(receiver, receiver.url + "/bad")
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


def test_stack_json_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    file = stack_file.write(tmp_path, {"api_url": "http://127.0.0.1:8080"})
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text()) == stack_file.read(tmp_path)
    stack_file.remove(tmp_path)
    with pytest.raises(stack_file.StackNotRunning):
        stack_file.read(tmp_path)

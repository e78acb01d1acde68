"""Stripe's API for refunds, over real HTTP: it keeps idempotency keys, refuses, and hangs up when a test says so."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CREATED = 4_000_000_000  # after anything that a test asks for


class RefundingStripe(ThreadingHTTPServer):
    """What Stripe knows, and how it answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refunds: dict[str, dict[str, Any]] = {}  # by idempotency key
        self.calls = 0
        self.hang_ups = 0  # so many calls are carried out, and not answered
        self.hides_refunds = False
        self.forgets_metadata = False
        self.refusal: tuple[int, str] | None = None
        self.url = f"http://127.0.0.1:{self.server_port}"

    def refund_made(self, key: str, form: dict[str, str]) -> dict[str, Any]:
        """Return the refund of this key, made once."""
        name = f"re_{len(self.refunds) + 1}"
        return self.refunds.setdefault(
            key,
            {
                "id": name,
                "object": "refund",
                "amount": int(form["amount"]),
                "currency": "usd",
                "payment_intent": form["payment_intent"],
                "status": "succeeded",
                "created": CREATED,
                "metadata": {}
                if self.forgets_metadata
                else {"gatehouse_refund": form.get("metadata[gatehouse_refund]")},
            },
        )

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that the client or we have dropped."""


def _metadata_of(form: dict[str, str]) -> dict[str, str]:
    return {name[9:-1]: value for name, value in form.items() if name.startswith("metadata[")}


class _Handler(BaseHTTPRequestHandler):
    server: RefundingStripe

    def do_POST(self) -> None:
        form = {name: values[0] for name, values in parse_qs(self._body()).items()}
        self.server.calls += 1
        if self.server.refusal:
            status, code = self.server.refusal
            self._answer(status, {"error": {"type": "invalid_request_error", "code": code}})
            return
        made = self.server.refund_made(self.headers["idempotency-key"], form)
        if self.server.hang_ups:
            self.server.hang_ups -= 1
            self.close_connection = True
            self.connection.close()
            return
        self._answer(200, made)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/v1/refunds":
            found = [] if self.server.hides_refunds else list(self.server.refunds.values())
            self._answer(200, {"object": "list", "data": found, "has_more": False})
            return
        charge = {"id": "ch_1", "object": "charge", "amount": 32624, "amount_captured": 32624, "currency": "usd"}
        charge |= {"status": "succeeded", "captured": True, "paid": True, "created": 1, "amount_refunded": 0}
        intent = {"id": path.rpartition("/")[2], "object": "payment_intent", "amount": 32624, "currency": "usd"}
        intent |= {"amount_received": 32624, "status": "succeeded", "created": 1, "latest_charge": charge}
        self._answer(200, intent)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""

    def _body(self) -> str:
        return self.rfile.read(int(self.headers["content-length"])).decode()

    def _answer(self, status: int, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def refunding_stripe() -> Iterator[RefundingStripe]:
    """Run one for the length of a block."""
    server = RefundingStripe()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

"""The stand-ins for the gateways' HTTP APIs, so that the functions can ask back without an account anywhere.

What each gateway answers is in a module of its own, such as `stripe_api.py`; here is what all of them share.

A stand-in knows what its gateway has told us: it reads along with the events that were accepted, and further objects
can be put in. For tests it fails on demand, over its control path:

    PUT    /_control/faults    {"kind": "429", "times": 2, "retry_after_seconds": 1}    kinds: see FAULTS
                               beside them "method": "POST", for requests with that one only
    DELETE /_control/faults
    PUT    /_control/objects   one object as the gateway's API would show it
    GET    /_control/requests  the requests so far
"""

import json
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

FAULTS = ("slow", "401", "429", "500", "truncated", "another_merchant")
CONTROL = "/_control/"
MISSING = (400, 401, 404)  # how the gateways say that something is not there


class FaultUnknown(ValueError):
    """There is no such fault."""


@dataclass
class Fault:
    """What goes wrong with the next requests, as often as `times` says (None: until it is taken away)."""

    kind: str
    times: int | None = None
    seconds: float = 5.0  # how slow
    retry_after_seconds: int = 1  # what a 429 asks for
    method: str | None = None  # of the requests that it meets; None: of all

    def __post_init__(self) -> None:
        if self.kind not in FAULTS:
            raise FaultUnknown(f"no fault {self.kind!r}; there are {', '.join(FAULTS)}")


@dataclass(frozen=True)
class ApiRequest:
    """One request to a gateway's API."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class ApiAnswer:
    """The answer to it."""

    status: int
    body: Mapping[str, Any] | str  # what is not text is sent as JSON
    headers: Mapping[str, str] = field(default_factory=dict)


class Gateway(Protocol):
    """One gateway's API without its HTTP server."""

    name: str

    def learn(self, event_body: bytes) -> None:
        """Take over the objects in an event that the gateway has sent."""

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one object from now on."""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as the gateway would."""

    def refusal(self, status: int) -> ApiAnswer:
        """Return the gateway's own words for 401, 429 and 500."""


class GatewayApi:
    """The HTTP server of one stand-in, on a port of its own."""

    def __init__(self, gateway: Gateway, port: int = 0, *, patience_seconds: float = 0.0) -> None:
        self.gateway = gateway
        # A webhook function answers only after it has rung for the question, so what is asked for may come in a moment.
        self._patience_seconds = patience_seconds
        self.requests: list[ApiRequest] = []
        self._fault: Fault | None = None
        self._turn = threading.Lock()
        self._stopped = threading.Event()
        self._server = _server_of(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, name=f"{gateway.name} API", daemon=True)

    @property
    def url(self) -> str:
        """Return the address that stands for the gateway's own."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()

    def fail_with(self, fault: Fault | None) -> None:
        """Let the next requests fail; None ends that."""
        with self._turn:
            self._fault = fault

    @property
    def is_well(self) -> bool:
        """Whether no fault is set, or the one that was has been met so often as it was to be."""
        with self._turn:
            return self._fault is None

    def answer(self, request: ApiRequest) -> tuple[ApiAnswer, bool]:
        """Return the answer, or that of the present fault, and whether it is to be cut short."""
        fault = self._next_fault(request)
        if fault is not None and fault.kind == "another_merchant":
            found = self.gateway.answer(request)
            change = getattr(self.gateway, "of_another_merchant", None)  # where its answers say whose they are
            return (change(found) if change else found), False
        if fault is None or fault.kind in ("slow", "truncated"):
            if fault is not None and fault.kind == "slow":
                self._stopped.wait(fault.seconds)
            return self._patient_answer(request), fault is not None and fault.kind == "truncated"
        refusal = self.gateway.refusal(int(fault.kind))
        if fault.kind == "429":
            refusal = ApiAnswer(refusal.status, refusal.body, {"Retry-After": str(fault.retry_after_seconds)})
        return refusal, False

    def _patient_answer(self, request: ApiRequest) -> ApiAnswer:
        """Return the answer; what is not there yet may be in a moment."""
        answer = self.gateway.answer(request)
        deadline = time.monotonic() + self._patience_seconds
        while request.method == "GET" and answer.status in MISSING and time.monotonic() < deadline:
            self._stopped.wait(0.05)
            answer = self.gateway.answer(request)
        return answer

    def _next_fault(self, request: ApiRequest) -> Fault | None:
        with self._turn:
            self.requests.append(request)
            fault = self._fault
            if fault is not None and fault.method not in (None, request.method):
                return None
            if fault is not None and fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self._fault = None
            return fault

    def control(self, method: str, what: str, body: bytes) -> ApiAnswer:
        """Carry out one order of the control path."""
        try:
            match method, what:
                case "PUT", "faults":
                    self.fail_with(Fault(**json.loads(body)))
                case "DELETE", "faults":
                    self.fail_with(None)
                case "PUT", "objects":
                    self.gateway.remember(json.loads(body))
                case "GET", "requests":
                    seen = [{"method": each.method, "path": each.path} for each in self.requests]
                    return ApiAnswer(200, {"requests": seen})
                case _:
                    return ApiAnswer(404, {"error": f"there is no {method} {CONTROL}{what}"})
        except (ValueError, TypeError, KeyError) as reason:
            return ApiAnswer(400, {"error": str(reason)})
        return ApiAnswer(200, {"ok": True})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a failed answer, unless the client just hung up, as one does that got no answer in time."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _server_of(api: GatewayApi, port: int) -> _Server:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            cut = False
            if parts.path.startswith(CONTROL):
                answer = api.control(self.command, parts.path.removeprefix(CONTROL), body)
            else:
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer, cut = api.answer(ApiRequest(self.command, parts.path, parse_qs(parts.query), headers, body))
            text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body, indent=2)
            content = text.encode()
            self._send(answer, content[: len(content) // 2] if cut else content)

        def _send(self, answer: ApiAnswer, content: bytes) -> None:
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _respond

        def log_message(self, *_: object) -> None:
            """Say nothing: the runner prints what matters."""

    return _Server(("127.0.0.1", port), Handler)

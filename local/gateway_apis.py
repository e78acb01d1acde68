"""Stand-ins for the gateways' HTTP APIs, so that the functions can ask back without an account anywhere.

A stand-in knows what its gateway has told us: it reads along with the events that were accepted, and further objects
can be put in. For tests it fails on demand, over its control path:

    PUT    /_control/faults    {"kind": "429", "times": 2, "retry_after_seconds": 1}    kinds: see FAULTS
    DELETE /_control/faults
    PUT    /_control/objects   one object as the gateway's API would show it
    GET    /_control/requests  the requests so far
"""

import json
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

FAULTS = ("slow", "401", "429", "500", "truncated")
CONTROL = "/_control/"


class FaultUnknown(ValueError):
    """There is no such fault."""


@dataclass
class Fault:
    """What goes wrong with the next requests, as often as `times` says (None: until it is taken away)."""

    kind: str
    times: int | None = None
    seconds: float = 5.0  # how slow
    retry_after_seconds: int = 1  # what a 429 asks for

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


class StripeApi:
    """Payment intents and charges, with a fee of 2.9 % + 30 (rounded half up) on what was captured."""

    name = "stripe"

    def __init__(self) -> None:
        self._things: dict[str, tuple[int, dict[str, Any]]] = {}  # by id: when it was so, and the object

    def learn(self, event_body: bytes) -> None:
        """Take over the payment intent or charge of an event; an older event does not overwrite a newer one."""
        event = json.loads(event_body)
        thing = event["data"]["object"]
        charges = thing.get("charges")  # in payment intents before version 2022-11-15
        for each in (thing, *(charges.get("data", ()) if isinstance(charges, dict) else ())):
            if isinstance(each, dict) and each.get("object") in ("payment_intent", "charge") and "id" in each:
                self._keep(each, event["created"])

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one payment intent or charge from now on."""
        self._keep(thing, thing.get("created", 0))

    def _keep(self, thing: dict[str, Any], moment: int) -> None:
        known = self._things.get(thing["id"])
        if known is None or known[0] <= moment:
            self._things[thing["id"]] = (moment, thing)

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET /v1/payment_intents/{id} and GET /v1/charges/{id}, with their expansions."""
        if not request.headers.get("authorization", "").startswith("Bearer sk_"):
            return self.refusal(401)
        expand = request.query.get("expand[]", [])
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["v1", "payment_intents", intent_id]:
                intent = self._payment_intent(intent_id)
                if intent is None:
                    return _missing(intent_id)
                return ApiAnswer(200, self._expanded_intent(intent, expand))
            case "GET", ["v1", "charges", charge_id]:
                charge = self._charge(charge_id)
                if charge is None:
                    return _missing(charge_id)
                return ApiAnswer(200, _expanded_charge(charge, "balance_transaction" in expand))
        return _refused(404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path}).")

    def refusal(self, status: int) -> ApiAnswer:
        """Return Stripe's words for 401, 429 and 500."""
        match status:
            case 401:
                return _refused(401, "invalid_request_error", "Invalid API Key provided.")
            case 429:
                return _refused(429, "invalid_request_error", "Too many requests.", code="rate_limit")
        return _refused(status, "api_error", "An unknown error occurred.")

    def _payment_intent(self, intent_id: str) -> dict[str, Any] | None:
        """Return a payment intent that is known, or that a known charge belongs to."""
        if intent_id in self._things:
            return self._things[intent_id][1]
        charges = (thing for _, thing in self._things.values() if thing.get("payment_intent") == intent_id)
        charge = next(charges, None)
        if charge is None:
            return None
        return {
            "id": intent_id,
            "object": "payment_intent",
            "amount": charge["amount"],
            "amount_received": charge.get("amount_captured", 0),
            "latest_charge": charge["id"],
            "payment_method_types": [charge.get("payment_method_details", {}).get("type", "card")],
            "status": "succeeded" if charge.get("captured") else "requires_capture",
            **{name: charge.get(name) for name in ("created", "currency", "customer", "livemode", "metadata")},
        }

    def _charge(self, charge_id: str) -> dict[str, Any] | None:
        """Return a charge that is known, or the latest one of a known payment intent."""
        if charge_id in self._things:
            return self._things[charge_id][1]
        intents = (thing for _, thing in self._things.values() if _latest_charge_of(thing) == charge_id)
        intent = next(intents, None)
        return None if intent is None else _charge_of_intent(charge_id, intent)

    def _expanded_intent(self, intent: dict[str, Any], expand: list[str]) -> dict[str, Any]:
        charge_id = _latest_charge_of(intent)
        charge = self._charge(charge_id) if charge_id else None
        whole = any(each == "latest_charge" or each.startswith("latest_charge.") for each in expand)
        if charge is None or not whole:
            return {**intent, "latest_charge": charge_id}
        return {**intent, "latest_charge": _expanded_charge(charge, "latest_charge.balance_transaction" in expand)}


class PaypalApi:
    """The certificate under which this machine's PayPal signs; nothing else is asked of it."""

    name = "paypal"
    CERTIFICATE_PATH = "/v1/notifications/certs/CERT-of-this-machine"

    def __init__(self, certificate_pem: str) -> None:
        self._certificate_pem = certificate_pem

    def learn(self, event_body: bytes) -> None:
        """Keep nothing: it is not asked for payments."""

    def remember(self, thing: dict[str, Any]) -> None:
        """Keep nothing, as above."""

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET of the certificate."""
        if (request.method, request.path) == ("GET", self.CERTIFICATE_PATH):
            return ApiAnswer(200, self._certificate_pem, {"Content-Type": "application/x-pem-file"})
        return ApiAnswer(404, {"name": "RESOURCE_NOT_FOUND", "message": "The specified resource does not exist."})

    def refusal(self, status: int) -> ApiAnswer:
        """Return PayPal's words for 401, 429 and 500."""
        names = {401: "AUTHENTICATION_FAILURE", 429: "RATE_LIMIT_REACHED"}
        return ApiAnswer(status, {"name": names.get(status, "INTERNAL_SERVER_ERROR"), "debug_id": "of this machine"})


def fee_minor(amount_minor: int) -> int:
    """Return 2.9 % of the amount, rounded half up, and 30."""
    return (amount_minor * 29 + 500) // 1000 + 30


def _latest_charge_of(thing: Mapping[str, Any]) -> str | None:
    if thing["object"] != "payment_intent":
        return None
    charges = thing.get("charges", {}).get("data", [])  # before version 2022-11-15
    return thing.get("latest_charge") or (charges[0]["id"] if charges else None)


def _charge_of_intent(charge_id: str, intent: Mapping[str, Any]) -> dict[str, Any]:
    captured = intent["status"] == "succeeded"
    failure = intent.get("last_payment_error") or {}
    return {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent.get("amount_received", 0),
        "amount_refunded": 0,
        "balance_transaction": f"txn_{charge_id.partition('_')[2]}" if captured else None,
        "captured": captured,
        "disputed": False,
        "failure_code": failure.get("code"),
        "failure_message": failure.get("message"),
        "paid": captured or intent["status"] == "requires_capture",
        "payment_intent": intent["id"],
        "payment_method_details": {"type": (intent.get("payment_method_types") or ["card"])[0]},
        "refunded": False,
        "status": "failed" if failure else "succeeded" if captured else "pending",
        **{name: intent.get(name) for name in ("created", "currency", "customer", "livemode", "metadata")},
    }


def _expanded_charge(charge: Mapping[str, Any], with_transaction: bool) -> dict[str, Any]:
    """Return the charge with its balance transaction as an object; what was not captured has none."""
    if not charge.get("captured") or charge.get("status") != "succeeded":
        return {**charge, "balance_transaction": None}
    transaction_id = charge.get("balance_transaction") or f"txn_{charge['id'].partition('_')[2]}"
    if not with_transaction:
        return {**charge, "balance_transaction": transaction_id}
    amount = charge.get("amount_captured") or charge["amount"]
    fee = fee_minor(amount)
    transaction = {
        "id": transaction_id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": charge.get("created"),
        "created": charge.get("created"),
        "currency": charge["currency"],
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [
            {
                "amount": fee,
                "application": None,
                "currency": charge["currency"],
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ],
        "net": amount - fee,
        "reporting_category": "charge",
        "source": charge["id"],
        "status": "available",
        "type": "charge",
    }
    return {**charge, "balance_transaction": transaction}


def _missing(thing_id: str) -> ApiAnswer:
    kind = "payment_intent" if thing_id.startswith("pi_") else "charge"
    return _refused(404, "invalid_request_error", f"No such {kind}: '{thing_id}'", code="resource_missing")


def _refused(status: int, kind: str, message: str, code: str | None = None) -> ApiAnswer:
    error = {"type": kind, "message": message} | ({"code": code} if code else {})
    return ApiAnswer(status, {"error": error})


class GatewayApi:
    """The HTTP server of one stand-in, on a port of its own."""

    def __init__(self, gateway: Gateway, port: int = 0) -> None:
        self.gateway = gateway
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

    def answer(self, request: ApiRequest) -> tuple[ApiAnswer, bool]:
        """Return the answer, or that of the present fault, and whether it is to be cut short."""
        fault = self._next_fault(request)
        if fault is None or fault.kind in ("slow", "truncated"):
            if fault is not None and fault.kind == "slow":
                self._stopped.wait(fault.seconds)
            return self.gateway.answer(request), fault is not None and fault.kind == "truncated"
        refusal = self.gateway.refusal(int(fault.kind))
        if fault.kind == "429":
            refusal = ApiAnswer(refusal.status, refusal.body, {"Retry-After": str(fault.retry_after_seconds)})
        return refusal, False

    def _next_fault(self, request: ApiRequest) -> Fault | None:
        with self._turn:
            self.requests.append(request)
            fault = self._fault
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
                answer, cut = api.answer(ApiRequest(self.command, parts.path, parse_qs(parts.query), headers))
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

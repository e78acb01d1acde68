"""What the stand-in for PayPal's API answers."""

import base64
import binascii
import json
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from local.gateway_apis import ApiAnswer, ApiRequest

CODES = {"captures": "T0006", "capture": "T0006", "sale": "T0002", "refunds": "T1107", "refund": "T1107"}
STATUS_CODES = {
    "COMPLETED": "S",
    "PARTIALLY_REFUNDED": "S",
    "REFUNDED": "V",
    "DENIED": "D",
    "DECLINED": "D",
    "FAILED": "D",
}
TOKEN_SECONDS = 32400
EVENT_IN_A_QUESTION = b'"webhook_event": '


class PaypalApi:
    """The certificate under which this machine's PayPal signs, and every resource that it has told of.

    A resource is kept under the path of its link to itself, where PayPal shows it too.
    """

    name = "paypal"
    CERTIFICATE_PATH = "/v1/notifications/certs/CERT-of-this-machine"
    TOKEN_PATH = "/v1/oauth2/token"  # noqa: S105 - a path, not a secret
    LIST_PATH = "/v1/reporting/transactions"
    VERIFY_PATH = "/v1/notifications/verify-webhook-signature"

    def __init__(self, certificate_pem: str, client_id: str, client_secret: str) -> None:
        self._certificate_pem = certificate_pem
        self._basic = "Basic " + base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._tokens: set[str] = set()
        self._resources: dict[str, tuple[str, dict[str, Any]]] = {}  # by path: when it was so, and the resource

    def learn(self, event_body: bytes) -> None:
        """Take over the resource of an event, and those within it; an older event does not overwrite a newer one."""
        event = json.loads(event_body)
        for resource in _resources_in(event.get("resource")):
            self._keep(resource, str(event.get("create_time", "")))

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one resource from now on."""
        if _path_of(thing) is None:
            raise ValueError("the resource has no link to itself, so that nobody could ask for it")
        self._keep(thing, "9999")  # whoever puts it in means it, whatever events say

    def forget_tokens(self) -> None:
        """Take no token any more that was given before."""
        self._tokens.clear()

    def _keep(self, resource: dict[str, Any], moment: str) -> None:
        path = _path_of(resource)
        if path and moment >= self._resources.get(path, ("", {}))[0]:
            self._resources[path] = (moment, resource)

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET of the certificate and of resources, and POST for tokens and for signatures."""
        match request.method, request.path:
            case "GET", self.CERTIFICATE_PATH:
                return ApiAnswer(200, self._certificate_pem, {"Content-Type": "application/x-pem-file"})
            case "POST", self.TOKEN_PATH:
                return self._new_token(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self._tokens:
            return ApiAnswer(401, {"error": "invalid_token", "error_description": "Token is not ours"})
        if (request.method, request.path) == ("POST", self.VERIFY_PATH):
            return ApiAnswer(200, {"verification_status": "SUCCESS" if self._has_signed(request.body) else "FAILURE"})
        if (request.method, request.path) == ("GET", self.LIST_PATH):
            return self._listed(request.query)
        known = self._resources.get(request.path) if request.method == "GET" else None
        if known is None:
            return ApiAnswer(404, {"name": "RESOURCE_NOT_FOUND", "message": "The specified resource does not exist."})
        return ApiAnswer(200, known[1])

    def refusal(self, status: int) -> ApiAnswer:
        """Return PayPal's words for 401, 429 and 500."""
        names = {401: "AUTHENTICATION_FAILURE", 429: "RATE_LIMIT_REACHED"}
        return ApiAnswer(status, {"name": names.get(status, "INTERNAL_SERVER_ERROR"), "debug_id": "of this machine"})

    def _listed(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        """List the payments and refunds of a span of time, as the search for transactions does."""
        since, until = (datetime.fromisoformat(query[name][0]) for name in ("start_date", "end_date"))
        size, page = int(query.get("page_size", ["100"])[0]), int(query.get("page", ["1"])[0])
        infos = [info for path, (_, said) in self._resources.items() if (info := _transaction_info(path, said))]
        made = [each for each in infos if since <= datetime.fromisoformat(each["transaction_initiation_date"]) <= until]
        shown = made[(page - 1) * size : page * size]
        said = {"transaction_details": [{"transaction_info": each} for each in shown], "page": page}
        return ApiAnswer(200, {**said, "total_items": len(made), "total_pages": -(-len(made) // size)})

    def _new_token(self, request: ApiRequest) -> ApiAnswer:
        if not secrets.compare_digest(request.headers.get("authorization", "").encode(), self._basic.encode()):
            return ApiAnswer(401, {"error": "invalid_client", "error_description": "Client Authentication failed"})
        if parse_qs(request.body.decode()) != {"grant_type": ["client_credentials"]}:
            return ApiAnswer(400, {"error": "unsupported_grant_type", "error_description": "Grant Type is NULL"})
        token = f"A21AA{secrets.token_hex(16)}"
        self._tokens.add(token)
        return ApiAnswer(200, {"access_token": token, "token_type": "Bearer", "expires_in": TOKEN_SECONDS})

    def _has_signed(self, question: bytes) -> bool:
        """Return whether the signature fits the text of the event, which is the end of the question."""
        said = json.loads(question)
        event = question[question.index(EVENT_IN_A_QUESTION) + len(EVENT_IN_A_QUESTION) : question.rindex(b"}")]
        parts = (said["transmission_id"], said["transmission_time"], said["webhook_id"], str(binascii.crc32(event)))
        key = x509.load_pem_x509_certificate(self._certificate_pem.encode()).public_key()
        if not isinstance(key, RSAPublicKey):
            raise TypeError("PayPal's certificates are of RSA keys")
        try:
            key.verify(base64.b64decode(said["transmission_sig"]), "|".join(parts).encode(), PKCS1v15(), SHA256())
        except InvalidSignature:
            return False
        return True


def _transaction_info(path: str, resource: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a payment or a refund as the search shows it: without its kind, in codes."""
    kind = path.strip("/").split("/")[-2]
    amount = resource.get("amount") or {}
    value = str(amount.get("value") or amount.get("total") or "0")
    state = str(resource.get("status") or resource.get("state") or "").upper()
    if kind not in CODES or "create_time" not in resource:
        return None
    return {
        "transaction_id": resource["id"],
        "transaction_event_code": CODES[kind],
        "transaction_initiation_date": datetime.fromisoformat(resource["create_time"]).strftime("%Y-%m-%dT%H:%M:%S%z"),
        "transaction_amount": {
            "currency_code": amount.get("currency_code") or amount.get("currency"),
            "value": f"-{value}" if CODES[kind].startswith("T11") else value,
        },
        "transaction_status": STATUS_CODES.get(state, "P"),
    }


def _resources_in(value: Any) -> Iterator[dict[str, Any]]:
    """Give every resource that an event holds: an order holds captures, and an event of v2 wraps its invoice."""
    if isinstance(value, dict):
        if _path_of(value):
            yield value
        for inner in value.values():
            yield from _resources_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _resources_in(inner)


def _path_of(resource: Mapping[str, Any]) -> str | None:
    """Return where PayPal shows a resource; invoices of v1 are shown by v2 too."""
    for link in resource.get("links") or ():
        if isinstance(link, dict) and link.get("rel") == "self" and isinstance(link.get("href"), str):
            return urlsplit(link["href"]).path.replace("/v1/invoicing/", "/v2/invoicing/")
    dispute_id = resource.get("dispute_id")  # the samples of disputes have no such link
    return f"/v1/customer/disputes/{dispute_id}" if isinstance(dispute_id, str) else None

"""Questions to PayPal's API: https://developer.paypal.com/api/rest."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gatehouse.errors import (
    FactRefused,
    GatewayError,
    GatewayKeyRefused,
    GatewayListsNothing,
    GatewayObjectMissing,
    SettingError,
)
from gatehouse.facts import ObjectName, PaymentStatus, RefundFact
from gatehouse.gateways import Fetched, Listed
from gatehouse.gateways.api_client import ANSWER_SECONDS, CONNECT_SECONDS, Answer, ApiClient
from gatehouse.gateways.fields import identifier, mapping, moment
from gatehouse.gateways.json_body import read_json_object
from gatehouse.gateways.paypal.translate import facts_of_answer
from gatehouse.gateways.paypal.verify import ALGORITHM, Transmission
from gatehouse.money import to_decimal

if TYPE_CHECKING:
    import httpx

LIVE_URL = "https://api-m.paypal.com"
SANDBOX_URL = "https://api-m.sandbox.paypal.com"
TOKEN_PATH = "/v1/oauth2/token"  # noqa: S105 - a path, not a secret
VERIFY_PATH = "/v1/notifications/verify-webhook-signature"

# Where an object is found; where there are two places, the second shows what was made through the older API.
PLACES = {
    "authorization": ("/v2/payments/authorizations/", "/v1/payments/authorization/"),
    "capture": ("/v2/payments/captures/", "/v1/payments/capture/"),
    "refund": ("/v2/payments/refunds/", "/v1/payments/refund/"),
    "sale": ("/v1/payments/sale/",),
    "order": ("/v2/checkout/orders/",),
    "subscription": ("/v1/billing/subscriptions/", "/v1/payments/billing-agreements/"),
    "invoice": ("/v2/invoicing/invoices/",),
    "dispute": ("/v1/customer/disputes/",),
    "payout_batch": ("/v1/payments/payouts/",),
    "payout_item": ("/v1/payments/payouts-item/",),
}
# https://developer.paypal.com/docs/api/transaction-search/v1. A listed payment is a capture or, of the older API, a
# sale; both are known as a transaction too.
LIST_PATH = "/v1/reporting/transactions"
LISTED = "transaction"
LISTED_PAGE_SIZE = 500
MOST_LISTED_PAGES = 200
PAYMENTS_RECEIVED = "T00"  # how the codes of payments begin; with an amount above 0 they came in
REFUND_MADE = "T1107"
LISTED_STATUSES = {"S": PaymentStatus.COMPLETED, "V": PaymentStatus.COMPLETED}  # V: came in, and went back since
FORBIDDEN = 403

REFUND_PLACES = {"capture": "/v2/payments/captures/{}/refund", "sale": "/v1/payments/sale/{}/refund"}
PARAMETERS = {"subscription": {"fields": "plan"}}  # its price and name are shown on request only

VERIFY_SECONDS = 5.0  # for what is asked while PayPal itself waits for us
REQUESTS_A_SECOND = 20.0  # PayPal tells no limit; far from what anybody was refused for
TOKEN_MARGIN_SECONDS = 60.0  # a token that ends on its way would be refused
MOST_TOKEN_SECONDS = 12 * 3600.0
MOST_CLIENTS = 64

_CREDENTIAL = re.compile(r"[\x21-\x39\x3b-\x7e]+")  # a colon would part the id from the secret at another place
_NO_SENSE = (400, 422)  # PayPal cannot make sense of what it is asked


class _Token(NamedTuple):
    value: str
    good_until: float

    def __repr__(self) -> str:
        return "<_Token>"


class PaypalClient:
    """One app's access to PayPal's API over kept connections."""

    refundable = ("capture", "sale")
    forbids_single_objects = True  # with 403: a key may be allowed to see some kinds of objects and not others
    keeps_refund_keys = timedelta(days=40)  # PayPal keeps the request ids of refunds for 45 days

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        base_url: str,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        import httpx  # here, and not where a webhook function that needs no client would pay for it

        if not _CREDENTIAL.fullmatch(client_id) or not _CREDENTIAL.fullmatch(client_secret):
            raise SettingError("PayPal's client_id or client_secret is empty or has characters that none has")
        self._credentials = httpx.BasicAuth(client_id, client_secret)
        self._clock = clock
        self._token: _Token | None = None
        self._lock = threading.Lock()
        self._base_url = base_url
        self._while_paypal_waits = httpx.Timeout(VERIFY_SECONDS, connect=CONNECT_SECONDS)
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        http = httpx.Client(base_url=base_url, timeout=timeout, transport=transport)
        self._api = ApiClient("PayPal", http, words=_words, per_second=REQUESTS_A_SECOND, sleep=sleep)

    def __repr__(self) -> str:
        return f"<PaypalClient {self._base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def fetch(self, kind: str, object_id: str) -> Fetched:
        """Return what PayPal says of an object of an ASKABLE kind; raise GatewayError where it says nothing."""
        if kind == LISTED:
            try:
                return self.fetch("capture", object_id)
            except GatewayObjectMissing:
                return self.fetch("sale", object_id)
        answer = self._shown(kind, object_id)
        try:
            return Fetched(facts_of_answer(kind, answer.said), answer.answered_at)
        except FactRefused as reason:
            raise GatewayError(f"PayPal's {kind} {object_id}: {reason}", retry_helps=False) from reason

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:
        """Refund a part of a capture or sale, or all of it; a second call with the same key refunds nothing more."""
        path = REFUND_PLACES[payment_name.kind].format(quote(payment_name.id, safe=""))
        word = {"capture": "value", "sale": "total"}[payment_name.kind]
        code = {"capture": "currency_code", "sale": "currency"}[payment_name.kind]
        amount = {word: f"{to_decimal(amount_minor, currency):f}", code: currency}
        headers = {"paypal-request-id": idempotency_key, "prefer": "return=representation"}
        answer = self._ask("POST", path, is_safe=True, headers=headers, json={"amount": amount})
        try:
            return Fetched(facts_of_answer("refund", answer.said), answer.answered_at)
        except FactRefused as reason:  # the refund was made, so this is no refusal of it
            raise GatewayError(f"PayPal's answer to a refund: {reason}", retry_helps=True) from reason

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return the refunds of a capture as its order lists them; PayPal has no other list, and none for a sale."""
        shown = self._shown(payment_name.kind, payment_name.id)
        order = mapping(mapping(shown.said.get("supplementary_data")).get("related_ids")).get("order_id")
        if not isinstance(order, str):
            return Fetched((), shown.answered_at)
        fetched = self.fetch("order", order)
        return fetched._replace(
            facts=tuple(fact for fact in fetched.facts if isinstance(fact, RefundFact) and payment_name in fact.payment)
        )

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give every payment and refund of a span of time; PayPal lists some of them hours later.

        The app needs the right to search transactions, which it has only where somebody has ticked it.
        """
        span = {"start_date": f"{since:%Y-%m-%dT%H:%M:%SZ}", "end_date": f"{until:%Y-%m-%dT%H:%M:%SZ}"}
        span |= {"fields": "transaction_info", "page_size": str(LISTED_PAGE_SIZE)}
        for page in range(1, MOST_LISTED_PAGES + 1):
            try:
                said = self._ask("GET", LIST_PATH, params={**span, "page": str(page)}).said
            except GatewayKeyRefused as refusal:
                if refusal.answered_status == FORBIDDEN:
                    message = "the app may not search transactions: tick Transaction Search in its settings at PayPal"
                    raise GatewayListsNothing(message, retry_helps=False, answered_status=FORBIDDEN) from refusal
                raise
            details = said.get("transaction_details")
            for each in details if isinstance(details, list) else ():
                if (found := _listed(mapping(mapping(each).get("transaction_info")), since, until)) is not None:
                    yield found
            if page >= _whole_number(said.get("total_pages")):
                return
        raise GatewayError(f"PayPal lists more than {MOST_LISTED_PAGES} pages of a day", retry_helps=False)

    def has_signed(self, transmission: Transmission, webhook_id: str, body: bytes) -> bool:
        """Return whether PayPal says that it signed this body for this webhook; refuse a body that is not JSON.

        PayPal compares the text of the event, so the raw body is set into the question as it stands. It must be one
        strict JSON object: otherwise a stranger's body could close its place and go on with another webhook's id.
        """
        read_json_object(body)
        said = {
            "auth_algo": ALGORITHM,
            "cert_url": transmission.certificate_url,
            "transmission_id": transmission.id,
            "transmission_sig": transmission.signature,
            "transmission_time": transmission.time,
            "webhook_id": webhook_id,
        }
        question = json.dumps(said).encode()[:-1] + b', "webhook_event": ' + body + b"}"
        request: dict[str, Any] = {"content": question, "timeout": self._while_paypal_waits}
        try:
            answer = self._ask("POST", VERIFY_PATH, headers={"content-type": "application/json"}, **request)
        except GatewayError as refusal:
            if refusal.answered_status in _NO_SENSE:  # of what the stranger's headers say
                return False
            raise
        status = answer.said.get("verification_status")
        if status not in ("SUCCESS", "FAILURE"):
            raise GatewayError(f"PayPal's answer to POST {VERIFY_PATH} says neither yes nor no", retry_helps=True)
        return bool(status == "SUCCESS")

    def _shown(self, kind: str, object_id: str) -> Answer:
        """Return an object from the first place that has it."""
        *others, last = (place + quote(object_id, safe="") for place in PLACES[kind])
        for path in others:
            try:
                return self._ask("GET", path, params=PARAMETERS.get(kind))
            except GatewayObjectMissing:  # not there; it may be of the older API
                continue
        return self._ask("GET", last)

    def _ask(self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **request: Any) -> Answer:
        """Ask with our token; once more with a new one when PayPal does not take the one that we keep.

        A token also keeps what the app was allowed to do when it was made, so that a 403 may be about the past.
        """
        token = self._kept_token()
        try:
            return self._api.ask(method, path, headers=_authorized(headers, token), **request)
        except GatewayKeyRefused:
            self._forget(token)
        return self._api.ask(method, path, headers=_authorized(headers, self._kept_token()), **request)

    def _kept_token(self) -> _Token:
        with self._lock:
            if self._token is None or self._clock() >= self._token.good_until:
                self._token = self._new_token()
            return self._token

    def _forget(self, token: _Token) -> None:
        with self._lock:
            if self._token is token:  # and not the new one that another thread has fetched meanwhile
                self._token = None

    def _new_token(self) -> _Token:
        began = self._clock()
        request: dict[str, Any] = {"data": {"grant_type": "client_credentials"}, "auth": self._credentials}
        try:
            said = self._api.ask("POST", TOKEN_PATH, **request, timeout=self._while_paypal_waits).said
        except GatewayError as refusal:
            refusal.answered_status = None  # it answers no question but the one for the token
            raise
        value, seconds = said.get("access_token"), said.get("expires_in")
        if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
            raise GatewayError(f"PayPal's answer to POST {TOKEN_PATH} has no token", retry_helps=True)
        lasts = min(seconds, MOST_TOKEN_SECONDS) if isinstance(seconds, int) else 0.0
        return _Token(value, began + lasts - TOKEN_MARGIN_SECONDS)


@lru_cache(maxsize=MOST_CLIENTS)
def kept_client(client_id: str, client_secret: str, base_url: str) -> PaypalClient:
    """Return the client of an app, made once, so that its token and connections are used again."""
    return PaypalClient(client_id, client_secret, base_url)


def client_of(credentials: Mapping[str, Any], base_url: str, mode: str) -> PaypalClient:
    """Return the client of an account; where no address is given, that of live PayPal for live accounts only."""
    client_id, client_secret = credentials.get("client_id"), credentials.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(client_secret, str):
        raise SettingError("an account at PayPal needs client_id and client_secret to ask its API")
    return kept_client(client_id, client_secret, base_url or (LIVE_URL if mode == "live" else SANDBOX_URL))


def _listed(info: Mapping[str, Any], since: datetime, until: datetime) -> Listed | None:
    """Return a payment or refund of the list; None for anything else that moves money of an account."""
    object_id, code = identifier(info.get("transaction_id")), str(info.get("transaction_event_code"))
    made_at = moment(info.get("transaction_initiation_date"))
    value = mapping(info.get("transaction_amount")).get("value")
    if object_id is None or not isinstance(value, str) or (made_at and not since <= made_at < until):
        return None
    came_in = not value.startswith("-")
    status = LISTED_STATUSES.get(str(info.get("transaction_status")))
    if code.startswith(PAYMENTS_RECEIVED) and came_in and status:
        return Listed(ObjectName(LISTED, object_id), status)
    return Listed(ObjectName("refund", object_id), status) if code == REFUND_MADE and status else None


def _whole_number(said: object) -> int:
    return said if isinstance(said, int) else 0


def _authorized(headers: Mapping[str, str] | None, token: _Token) -> dict[str, str]:
    return {**(headers or {}), "authorization": f"Bearer {token.value}"}


def _words(response: "httpx.Response", said: Mapping[str, Any]) -> str:
    """Return a refusal by its name and the id under which PayPal finds it, without its sentences."""
    name = str(said.get("name") or said.get("error") or "no name")[:100]
    debug_id = str(said.get("debug_id") or response.headers.get("paypal-debug-id") or "unknown")[:100]
    return f"{name}, debug id {debug_id}"

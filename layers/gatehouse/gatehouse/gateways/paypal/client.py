"""Questions to PayPal's API: https://developer.paypal.com/api/rest."""

import json
import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from gatehouse.errors import GatewayError, SettingError
from gatehouse.gateways.json_body import read_json_object
from gatehouse.gateways.paypal.verify import ALGORITHM, Transmission

if TYPE_CHECKING:
    import httpx

LIVE_URL = "https://api-m.paypal.com"
SANDBOX_URL = "https://api-m.sandbox.paypal.com"
TOKEN_PATH = "/v1/oauth2/token"  # noqa: S105 - a path, not a secret
VERIFY_PATH = "/v1/notifications/verify-webhook-signature"

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 5.0  # PayPal waits for us at the same time
TOKEN_MARGIN_SECONDS = 60.0  # a token that ends on its way would be refused
MOST_TOKEN_SECONDS = 12 * 3600.0
MOST_CLIENTS = 64

_CREDENTIAL = re.compile(r"[\x21-\x39\x3b-\x7e]+")  # a colon would part the id from the secret at another place
_RETRYABLE_STATUSES = (408, 409, 429)


class _Token(NamedTuple):
    value: str
    good_until: float

    def __repr__(self) -> str:
        return "<_Token>"


class PaypalClient:
    """One app's access to PayPal's API over kept connections."""

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        base_url: str,
        *,
        clock: Callable[[], float] = time.time,
        transport: "httpx.BaseTransport | None" = None,
    ) -> None:
        import httpx  # here, and not where a webhook function that needs no client would pay for it

        if not _CREDENTIAL.fullmatch(client_id) or not _CREDENTIAL.fullmatch(client_secret):
            raise SettingError("PayPal's client_id or client_secret is empty or has characters that none has")
        self._credentials = httpx.BasicAuth(client_id, client_secret)
        self._clock = clock
        self._token: _Token | None = None
        self._lock = threading.Lock()
        self._http = httpx.Client(
            base_url=base_url, timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS), transport=transport
        )

    def __repr__(self) -> str:
        return f"<PaypalClient {self._http.base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._http.close()

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
        response = self._post(VERIFY_PATH, question)
        if response.status_code in (400, 422):  # PayPal cannot make sense of what the stranger's headers say
            return False
        if response.status_code != 200:
            raise _refusal(VERIFY_PATH, response)
        status = (_json_object(response) or {}).get("verification_status")
        if status not in ("SUCCESS", "FAILURE"):
            raise GatewayError(f"PayPal's answer to POST {VERIFY_PATH} says neither yes nor no", retry_helps=True)
        return bool(status == "SUCCESS")

    def _post(self, path: str, content: bytes) -> "httpx.Response":
        """Send JSON; once more with a new token when PayPal no longer knows the one that we keep."""
        response = self._send(path, content, self._bearer())
        if response.status_code == 401:
            self._token = None
            response = self._send(path, content, self._bearer())
        return response

    def _send(self, path: str, content: bytes, bearer: str) -> "httpx.Response":
        import httpx

        headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
        try:
            return self._http.post(path, content=content, headers=headers)
        except httpx.HTTPError as reason:
            raise _no_answer(path, reason) from reason

    def _bearer(self) -> str:
        with self._lock:
            if self._token is None or self._clock() >= self._token.good_until:
                self._token = self._new_token()
            return self._token.value

    def _new_token(self) -> _Token:
        import httpx

        began = self._clock()
        try:
            response = self._http.post(TOKEN_PATH, data={"grant_type": "client_credentials"}, auth=self._credentials)
        except httpx.HTTPError as reason:
            raise _no_answer(TOKEN_PATH, reason) from reason
        if response.status_code != 200:
            raise _refusal(TOKEN_PATH, response)
        said = _json_object(response) or {}
        value, seconds = said.get("access_token"), said.get("expires_in")
        if not isinstance(value, str) or not _CREDENTIAL.fullmatch(value):
            raise GatewayError(f"PayPal's answer to POST {TOKEN_PATH} has no token", retry_helps=True)
        lasts = min(seconds, MOST_TOKEN_SECONDS) if isinstance(seconds, int) else 0.0
        return _Token(value, began + lasts - TOKEN_MARGIN_SECONDS)


@lru_cache(maxsize=MOST_CLIENTS)
def kept_client(client_id: str, client_secret: str, base_url: str) -> PaypalClient:
    """Return the client of an app, made once, so that its token and connections are used again."""
    return PaypalClient(client_id, client_secret, base_url)


def _json_object(response: "httpx.Response") -> dict[str, Any] | None:
    try:
        said = response.json()
    except ValueError:  # cut short, or the page of some proxy
        return None
    return said if isinstance(said, dict) else None


def _no_answer(path: str, reason: Exception) -> GatewayError:
    return GatewayError(f"PayPal did not answer POST {path}: {type(reason).__name__}", retry_helps=True)


def _refusal(path: str, response: "httpx.Response") -> GatewayError:
    """Return PayPal's refusal by its name and the id under which PayPal finds it, without its sentences."""
    said = _json_object(response) or {}
    status = response.status_code
    name = str(said.get("name") or said.get("error") or "no name")[:100]
    debug_id = str(said.get("debug_id") or response.headers.get("paypal-debug-id") or "unknown")[:100]
    return GatewayError(
        f"PayPal answered {status} ({name}) to POST {path}, debug id {debug_id}",
        retry_helps=status in _RETRYABLE_STATUSES or status >= 500,
    )

"""Questions to Stripe's API: https://docs.stripe.com/api."""

import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gatehouse.errors import FactRefused, GatewayError, SettingError
from gatehouse.gateways.stripe.translate import iso_minor

if TYPE_CHECKING:
    import httpx

API_VERSION = "2025-04-30.basil"  # the version that our captured samples speak; Stripe answers in it whatever comes
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
MOST_RETRY_AFTER_SECONDS = 3600.0

_KEY = re.compile(r"[\x21-\x7e]+")
_RETRYABLE_STATUSES = (408, 409, 429)  # 409: another request holds Stripe's lock on the object


class Fee(NamedTuple):
    """What Stripe kept of a payment, in the currency that Stripe settles in."""

    fee_minor: int
    currency: str


class _Question(NamedTuple):
    path: str
    expand: str


# A PaymentIntent and a Charge lead to the balance transaction in which the fee stands.
_FEE_QUESTIONS = {
    "payment_intent": _Question("/v1/payment_intents/", "latest_charge.balance_transaction"),
    "charge": _Question("/v1/charges/", "balance_transaction"),
}


class StripeClient:
    """One account's access to Stripe's API over kept connections."""

    def __init__(self, api_key: str, base_url: str, transport: "httpx.BaseTransport | None" = None) -> None:
        import httpx  # here, and not where the webhook functions would pay 69 ms for it

        if not _KEY.fullmatch(api_key):  # httpx would quote a key that cannot be a header in its error
            raise SettingError("Stripe's api_key is empty or has characters that no key has")
        self._http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}", "stripe-version": API_VERSION},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )

    def __repr__(self) -> str:
        return f"<StripeClient {self._http.base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._http.close()

    def payment_fee(self, kind: str, object_id: str) -> Fee | None:
        """Return the fee of a payment, by its payment_intent or charge; None while Stripe has not settled it yet."""
        question = _FEE_QUESTIONS[kind]
        said = self._get(question.path + quote(object_id, safe=""), {"expand[]": question.expand})
        charge = said.get("latest_charge") if kind == "payment_intent" else said
        balance = charge.get("balance_transaction") if isinstance(charge, dict) else None
        if not isinstance(balance, dict):
            return None
        try:
            return Fee(iso_minor(balance.get("fee"), balance.get("currency")), str(balance.get("currency")).upper())
        except FactRefused as reason:
            raise GatewayError(f"Stripe's fee of {object_id}: {reason}", retry_helps=False) from reason

    def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        import httpx

        try:
            response = self._http.get(path, params=parameters)
        except httpx.HTTPError as reason:
            message = f"Stripe did not answer GET {path}: {type(reason).__name__}"
            raise GatewayError(message, retry_helps=True) from reason
        said = _json_object(response)
        if response.status_code != 200:
            raise _refusal(path, response, said)
        if said is None:
            raise GatewayError(f"Stripe's answer to GET {path} is not a JSON object", retry_helps=True)
        return said


def _json_object(response: "httpx.Response") -> dict[str, Any] | None:
    try:
        said = response.json()
    except ValueError:  # cut short, or the page of some proxy
        return None
    return said if isinstance(said, dict) else None


def _refusal(path: str, response: "httpx.Response", said: dict[str, Any] | None) -> GatewayError:
    """Return Stripe's refusal in its codes; its sentences may quote parts of the key."""
    error = (said or {}).get("error")
    codes = [str(error[name]) for name in ("type", "code") if error.get(name)] if isinstance(error, dict) else []
    status = response.status_code
    advice = response.headers.get("stripe-should-retry")
    retry_helps = advice == "true" if advice in ("true", "false") else status in _RETRYABLE_STATUSES or status >= 500
    request_id = response.headers.get("request-id", "unknown")
    return GatewayError(
        f"Stripe answered {status} ({', '.join(codes) or 'no code'}) to GET {path}, request {request_id}",
        retry_helps=retry_helps,
        retry_after_seconds=_retry_after_seconds(response) if retry_helps else None,
    )


def _retry_after_seconds(response: "httpx.Response") -> float | None:
    said = response.headers.get("retry-after", "")
    return min(float(said), MOST_RETRY_AFTER_SECONDS) if said.isascii() and said.isdigit() else None

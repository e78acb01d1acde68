"""Questions to Stripe's API: https://docs.stripe.com/api."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gatehouse.errors import FactRefused, GatewayError, SettingError
from gatehouse.facts import ObjectName, RefundFact
from gatehouse.gateways import Fetched
from gatehouse.gateways.api_client import ANSWER_SECONDS, CONNECT_SECONDS, Answer, ApiClient
from gatehouse.gateways.fields import currency_code, identifier, mapping
from gatehouse.gateways.stripe.amounts import iso_minor, stripes_amount
from gatehouse.gateways.stripe.shapes import Said, entries
from gatehouse.gateways.stripe.translate import READERS

if TYPE_CHECKING:
    import httpx

API_VERSION = "2025-04-30.basil"  # the version that our captured samples speak; Stripe answers in it whatever comes
# Stripe allows 25 a second for one endpoint, and in a sandbox for all: https://docs.stripe.com/rate-limits
REQUESTS_PER_SECOND = 20.0
MOST_CLIENTS = 64
PAGE = 100
MOST_PAGES = 50

_KEY = re.compile(r"[\x21-\x7e]+")


class Fee(NamedTuple):
    """What Stripe kept of a payment, in the currency that Stripe settles in."""

    fee_minor: int
    currency: str


class _Question(NamedTuple):
    path: str
    expand: tuple[str, ...] = ()


# A PaymentIntent and a Charge lead to the balance transaction in which the fee stands.
_QUESTIONS = {
    "payment_intent": _Question("/v1/payment_intents/", ("latest_charge.balance_transaction",)),
    "charge": _Question("/v1/charges/", ("balance_transaction",)),
    "checkout_session": _Question("/v1/checkout/sessions/"),
    "refund": _Question("/v1/refunds/", ("balance_transaction",)),
    "dispute": _Question("/v1/disputes/"),
    "subscription": _Question("/v1/subscriptions/", ("items.data.price.product",)),
    "invoice": _Question("/v1/invoices/", ("payments",)),
    "payout": _Question("/v1/payouts/", ("balance_transaction",)),
    "transfer": _Question("/v1/transfers/"),
    "customer": _Question("/v1/customers/"),
}


class StripeClient:
    """One account's access to Stripe's API over kept connections."""

    refundable = ("payment_intent", "charge")
    forbids_single_objects = True  # with 403: a key may be allowed to see some kinds of objects and not others
    keeps_refund_keys = timedelta(hours=20)  # Stripe may forget a key after 24 hours

    def __init__(
        self,
        api_key: str,
        base_url: str,
        transport: "httpx.BaseTransport | None" = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # here, and not where the webhook functions would pay 69 ms for it

        if not _KEY.fullmatch(api_key):  # httpx would quote a key that cannot be a header in its error
            raise SettingError("Stripe's api_key is empty or has characters that no key has")
        http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {api_key}", "stripe-version": API_VERSION},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )
        self._api = ApiClient("Stripe", http, words=_words, per_second=REQUESTS_PER_SECOND, sleep=sleep)

    def __repr__(self) -> str:
        return f"<StripeClient {self._api!r}>"

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def payment_fee(self, kind: str, object_id: str) -> Fee | None:
        """Return the fee of a payment, by its payment_intent or charge; None while Stripe has not settled it yet."""
        said = self._ask(_QUESTIONS[kind], object_id).said
        charge = mapping(said.get("latest_charge")) if kind == "payment_intent" else said
        balance = charge.get("balance_transaction")
        if not isinstance(balance, dict):
            return None
        try:
            return Fee(iso_minor(balance.get("fee"), balance.get("currency")), currency_code(balance["currency"]) or "")
        except FactRefused as reason:
            raise GatewayError(f"Stripe's fee of {object_id}: {reason}", retry_helps=False) from reason

    def fetch(self, kind: str, object_id: str) -> Fetched:
        """Return what Stripe says of one object now; of a payment, with all of its refunds."""
        if kind not in _QUESTIONS:
            raise ValueError(f"Stripe cannot be asked about a {kind!r}: {', '.join(sorted(_QUESTIONS))}")
        answer = self._ask(_QUESTIONS[kind], object_id)
        if answer.said.get("id") != object_id:
            raise GatewayError(f"Stripe's answer about {kind} {object_id} is about another object", retry_helps=True)
        said = Said(self._whole(kind, answer.said), answer.answered_at, api_version=API_VERSION)
        try:
            return Fetched(READERS[kind](said), answer.answered_at)
        except FactRefused as reason:
            raise GatewayError(f"Stripe's answer about {kind} {object_id}: {reason}", retry_helps=False) from reason

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:
        """Refund a part of a payment, or all of it; a second call with the same key refunds nothing more."""
        try:
            amount = stripes_amount(amount_minor, currency)
        except ValueError as reason:
            raise GatewayError(str(reason), retry_helps=False) from None
        wanted = {
            payment_name.kind: payment_name.id,
            "amount": str(amount),
            "metadata[gatehouse_refund]": idempotency_key,
            "expand[]": "balance_transaction",
        }
        headers = {"idempotency-key": idempotency_key}
        answer = self._api.ask("POST", "/v1/refunds", is_safe=True, headers=headers, data=wanted)
        try:
            facts = READERS["refund"](Said(answer.said, answer.answered_at, api_version=API_VERSION))
        except FactRefused as reason:  # the refund was made, so this is no refusal of it
            raise GatewayError(f"Stripe's answer to a refund: {reason}", retry_helps=True) from reason
        return Fetched(facts, answer.answered_at)

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return all refunds of a payment."""
        fetched = self.fetch(payment_name.kind, payment_name.id)
        return fetched._replace(facts=tuple(fact for fact in fetched.facts if isinstance(fact, RefundFact)))

    def _ask(self, question: _Question, object_id: str) -> Answer:
        parameters = [("expand[]", each) for each in question.expand]
        return self._api.ask("GET", question.path + quote(object_id, safe=""), params=parameters)

    def _whole(self, kind: str, said: dict[str, Any]) -> dict[str, Any]:
        """Return an invoice with all its lines, and a payment with its refunds in the charge, as before 2022-11-15."""
        if kind == "invoice" and mapping(said.get("lines")).get("has_more") is True:
            return {**said, "lines": list(self._listed(f"/v1/invoices/{quote(said['id'], safe='')}/lines", {}))}
        if kind == "charge":
            return {**said, "refunds": list(self._refunds("charge", said["id"]))}
        if kind == "payment_intent" and isinstance(charge := said.get("latest_charge"), dict):
            refunds = list(self._refunds("payment_intent", said["id"]))
            return {**said, "latest_charge": {**charge, "refunds": refunds}}
        return said

    def _refunds(self, kind: str, object_id: str) -> Iterator[Mapping[str, Any]]:
        """Give all refunds of a payment."""
        return self._listed("/v1/refunds", {kind: object_id, "expand[]": "data.balance_transaction"})

    def _listed(self, path: str, parameters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Give all that a list holds, page by page."""
        after: dict[str, str] = {}
        for _page in range(MOST_PAGES):
            said = self._api.ask("GET", path, params={**parameters, "limit": str(PAGE), **after}).said
            found = list(entries(said))
            yield from found
            if said.get("has_more") is not True:
                return
            last = identifier(found[-1].get("id")) if found else None
            if last is None:
                raise GatewayError(f"Stripe's list {path} says that it goes on, and not where", retry_helps=True)
            after = {"starting_after": last}
        raise GatewayError(f"Stripe's list {path} has more than {MOST_PAGES * PAGE}", retry_helps=False)


def client_of(credentials: Mapping[str, Any], base_url: str, mode: str) -> StripeClient:
    """Return the client of an account, made once; raise SettingError where its credentials hold no key that can be."""
    api_key = credentials.get("api_key")
    if not isinstance(api_key, str) or not api_key:
        raise SettingError("Stripe's credentials have no api_key, so its API cannot be asked")
    of_key = "test" if "_test_" in api_key[:12] else "live" if "_live_" in api_key[:12] else mode
    if mode in ("test", "live") and of_key != mode:  # Stripe would say that it knows none of the account's objects
        raise SettingError(f"Stripe's api_key is a {of_key} key, and the account is a {mode} account")
    return kept_client(api_key, base_url)


@lru_cache(maxsize=MOST_CLIENTS)
def kept_client(api_key: str, base_url: str) -> StripeClient:
    """Return the client of a key, made once, so that its connections are used again."""
    return StripeClient(api_key, base_url)


def _words(response: "httpx.Response", said: Mapping[str, Any]) -> str:
    """Return a refusal in Stripe's codes and the id under which Stripe finds it; its sentences may quote the key."""
    error = mapping(said.get("error"))
    codes = ", ".join(str(error[name])[:100] for name in ("type", "code") if error.get(name)) or "no code"
    return f"{codes}, request {response.headers.get('request-id', 'unknown')}"

"""Questions to Paystack's API: https://paystack.com/docs/api."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from gatehouse.errors import FactRefused, GatewayError, SettingError
from gatehouse.facts import Fact, ObjectName, PaymentStatus, RefundStatus
from gatehouse.gateways import Fetched, Listed
from gatehouse.gateways.api_client import ANSWER_SECONDS, CONNECT_SECONDS, ApiClient
from gatehouse.gateways.fields import identifier_or_number, mapping, moment
from gatehouse.gateways.paystack.amounts import iso_minor, paystacks_amount
from gatehouse.gateways.paystack.billing import payment_request_facts, subscription_facts
from gatehouse.gateways.paystack.customers import facts_of_customer
from gatehouse.gateways.paystack.disputes import dispute_facts
from gatehouse.gateways.paystack.payments import payment_names, transaction_facts
from gatehouse.gateways.paystack.payouts import transfer_facts
from gatehouse.gateways.paystack.refunds import (
    OUR_NOTE,
    Hint,
    ListedRefunds,
    listed_refunds,
    made_refund_fact,
    refund_fact,
)

if TYPE_CHECKING:
    import httpx

PER_SECOND = 10.0  # Paystack tells nobody how often it may be asked
PAGE_SIZE = 100
MOST_PAGES = 20  # refunds of one transaction; more are a filter that was not heeded
MOST_PAGES_OF_TRANSACTIONS = 1000  # of one day
MOST_CLIENTS = 64
# Only these are payments: one that its buyer has left, or has not come back from, may never have an event.
LISTED_STATUSES = {
    "success": PaymentStatus.COMPLETED,
    "reversed": PaymentStatus.REVERSED,
    "failed": PaymentStatus.FAILED,
}

_KEY = re.compile(r"sk_[\x21-\x7e]+")
_KEY_OF_A_MODE = re.compile(r"sk_(test|live)_")
_CODE = re.compile(r"[A-Za-z0-9_]{1,60}")

_Object = Mapping[str, Any]


class Fee(NamedTuple):
    """What Paystack kept of a payment."""

    fee_minor: int
    currency: str


class _Said(NamedTuple):
    """The `data` of an answer, and when it was given."""

    data: Any
    answered_at: datetime


class _Question(NamedTuple):
    path: str
    facts: Callable[[_Object], tuple[Fact, ...]]


_TRANSACTION_PATHS = {"transaction": "/transaction/", "reference": "/transaction/verify/"}
_QUESTIONS = {
    "dispute": _Question("/dispute/", dispute_facts),
    "transfer": _Question("/transfer/", transfer_facts),
    "subscription": _Question("/subscription/", subscription_facts),
    "customer": _Question("/customer/", facts_of_customer),
    "payment_request": _Question("/paymentrequest/", payment_request_facts),
}


class PaystackClient:
    """One account's access to Paystack's API over kept connections."""

    refundable = ("transaction", "reference")
    keeps_refund_keys = timedelta(0)

    def __init__(
        self,
        secret_key: str,
        base_url: str,
        *,
        transport: "httpx.BaseTransport | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # here, and not where the webhook functions would pay 69 ms for it

        if not _KEY.fullmatch(secret_key):  # another gateway's secret must not go out to this one
            raise SettingError("Paystack's secret_key is empty, or not one: they begin with sk_")
        http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {secret_key}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )
        self._api = ApiClient(
            "Paystack", http, words=_words, is_missing=_is_missing, per_second=PER_SECOND, sleep=sleep
        )
        self._base_url = base_url

    def __repr__(self) -> str:
        return f"<PaystackClient {self._base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def payment_fee(self, kind: str, object_id: str) -> Fee | None:
        """Return the fee of a payment, by its transaction or reference; None while Paystack does not know it yet."""
        charge = self._object(_TRANSACTION_PATHS[kind], object_id).data
        if charge.get("fees") is None:
            return None
        try:
            return Fee(iso_minor(charge["fees"], charge.get("currency")), str(charge.get("currency")).upper())
        except FactRefused as reason:
            raise GatewayError(f"Paystack's fee of {object_id}: {reason}", retry_helps=False) from reason

    def fetch(
        self,
        kind: str,
        object_id: str,
        *,
        refund_reference: str | None = None,
        refund_amount_minor: int | None = None,
        refund_status: str | None = None,
    ) -> Fetched:
        """Ask about an object; a transaction is told with all its refunds.

        What the event for which it is asked says of a refund (the `refund_…` in its Need) tells which of the listed
        refunds that was, so that it gets both its names.
        """
        status = RefundStatus(refund_status) if refund_status else None
        hint = Hint(refund_reference, refund_amount_minor, status)
        try:
            if kind in _TRANSACTION_PATHS:
                return self._transaction(kind, object_id, hint)
            if kind == "refund":
                return self._refund(object_id, hint)
            question = _QUESTIONS[kind]
            said = self._object(question.path, object_id)
            return Fetched(question.facts(said.data), said.answered_at)
        except FactRefused as reason:
            raise GatewayError(f"Paystack's {kind} {object_id}: {reason}", retry_helps=False) from reason

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:
        """Refund a part of a transaction, or all of it. Paystack honours no key: ours is written into its note."""
        try:
            amount = paystacks_amount(amount_minor, currency)
        except ValueError as reason:
            raise GatewayError(str(reason), retry_helps=False) from None
        note = f"{OUR_NOTE} {idempotency_key}"
        wanted = {"transaction": payment_name.id, "amount": amount, "currency": currency, "merchant_note": note}
        answer = self._api.ask("POST", "/refund", json=wanted)
        try:
            return Fetched((made_refund_fact(mapping(answer.said.get("data"))),), answer.answered_at)
        except FactRefused as reason:  # the refund was made, so this is no refusal of it
            raise GatewayError(f"Paystack's answer to a refund: {reason}", retry_helps=True) from reason

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return all refunds of a transaction, each under its number."""
        said = self._object(_TRANSACTION_PATHS[payment_name.kind], payment_name.id)
        try:
            listed = self._listed(said.data)
            return Fetched(tuple(made_refund_fact(item) for item in listed), said.answered_at)
        except FactRefused as reason:
            raise GatewayError(f"Paystack's refunds of {payment_name.id}: {reason}", retry_helps=True) from reason

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give every transaction that was made in a span of time: https://paystack.com/docs/api/transaction/#list."""
        span = {"from": since.isoformat(), "to": until.isoformat(), "perPage": PAGE_SIZE}
        for page in range(1, MOST_PAGES_OF_TRANSACTIONS + 1):
            listed = self._data("/transaction", list, params={**span, "page": page}).data
            for each in map(mapping, listed):
                made_at = moment(each.get("createdAt") or each.get("created_at"))
                number = identifier_or_number(each.get("id"))
                # Whether `to` is taken in or left out is not said; a payment counts for the day in which it was made.
                status = LISTED_STATUSES.get(str(each.get("status")))
                if number and status and not (made_at and not since <= made_at < until):
                    yield Listed(ObjectName("transaction", number), status)
            if len(listed) < PAGE_SIZE:
                return
        raise GatewayError(f"Paystack lists more than {MOST_PAGES_OF_TRANSACTIONS} pages", retry_helps=False)

    def _transaction(self, kind: str, object_id: str, hint: Hint) -> Fetched:
        said = self._object(_TRANSACTION_PATHS[kind], object_id)
        refunds = self._refunds_of(said.data, hint)
        told = transaction_facts(
            said.data,
            named=PaymentStatus.PROCESSING,
            refunded_minor=refunds.refunded_minor,
            is_refunded=refunds.is_any_under_way,
        )
        return Fetched((*told, *refunds.facts), said.answered_at)

    def _refunds_of(self, charge: _Object, hint: Hint) -> ListedRefunds:
        payment = payment_names(charge.get("id"), charge.get("reference"))
        return listed_refunds(self._listed(charge), payment, hint)

    def _listed(self, charge: _Object) -> tuple[_Object, ...]:
        """List a transaction's refunds. By its reference, Paystack would answer that it has none."""
        transaction_id = identifier_or_number(charge.get("id"))
        if transaction_id is None:
            raise FactRefused("the transaction has no id")
        items: dict[str, _Object] = {}  # by number: one that slips to the next page meanwhile would be there twice
        for page in range(1, MOST_PAGES + 1):
            parameters = {"transaction": transaction_id, "perPage": PAGE_SIZE, "page": page}
            listed = self._data("/refund", list, params=parameters).data
            items |= {_number_of(item): item for item in listed if _is_of(item, transaction_id)}
            if len(listed) < PAGE_SIZE:
                return tuple(items.values())
        raise FactRefused(f"it has refunds on more than {MOST_PAGES} pages")

    def _refund(self, object_id: str, hint: Hint) -> Fetched:
        said = self._object("/refund/", object_id)
        refund = said.data if hint.reference is None else {**said.data, "refund_reference": hint.reference}
        return Fetched((refund_fact(refund),), said.answered_at)

    def _object(self, path: str, object_id: str) -> _Said:
        return self._data(path + quote(object_id, safe=""), dict)

    def _data(self, path: str, of_type: type, **request: Any) -> _Said:
        answer = self._api.ask("GET", path, **request)
        data = answer.said.get("data")
        if answer.said.get("status") is not True or not isinstance(data, of_type):
            raise GatewayError(f"Paystack's answer to GET {path} does not hold what was asked for", retry_helps=False)
        return _Said(data, answer.answered_at)


def client_of(credentials: Mapping[str, Any], base_url: str, mode: str) -> PaystackClient:
    """Return the client of an account, made once; raise SettingError where its key is missing or of the other mode."""
    signing_secrets = credentials.get("signing_secrets")
    first = signing_secrets[0] if isinstance(signing_secrets, (list, tuple)) and signing_secrets else None
    secret_key = credentials.get("secret_key") or first  # Paystack signs its webhooks with the key of its API
    if not isinstance(secret_key, str):
        raise SettingError("the account has no secret_key, so Paystack cannot be asked")
    of_a_mode = _KEY_OF_A_MODE.match(secret_key)
    if of_a_mode and mode in ("test", "live") and of_a_mode[1] != mode:
        raise SettingError(f"the account is for {mode}, and its secret_key is not")
    return _kept_client(secret_key, base_url)


@lru_cache(maxsize=MOST_CLIENTS)
def _kept_client(secret_key: str, base_url: str) -> PaystackClient:
    return PaystackClient(secret_key, base_url)


def _number_of(refund: _Object) -> str:
    number = identifier_or_number(refund.get("id"))
    if number is None:
        raise FactRefused("a refund in its list has no id")
    return number


def _is_of(item: Any, transaction_id: str) -> bool:
    """Return whether a refund of the list is one of this transaction, which some lists give whole."""
    transaction = mapping(item).get("transaction")
    number = mapping(transaction).get("id") if isinstance(transaction, dict) else transaction
    return identifier_or_number(number) == transaction_id


def _words(_response: "httpx.Response", said: _Object) -> str:
    """Return the codes of a refusal; its sentence may quote what was asked."""
    codes = [said[name] for name in ("type", "code") if isinstance(said.get(name), str) and _CODE.fullmatch(said[name])]
    return ", ".join(codes) or "no code"


def _is_missing(response: "httpx.Response", said: _Object) -> bool:
    """Return whether Paystack does not know the object: a reference that it has never seen is answered with 400."""
    return response.status_code == 400 and "not found" in f"{said.get('message')} {said.get('code')}".replace("_", " ")

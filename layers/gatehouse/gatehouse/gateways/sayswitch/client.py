"""Questions to SaySwitch's API: https://documentation.sayswitchgroup.com."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from gatehouse.errors import FactRefused, GatewayError, GatewayListsNothing, GatewayObjectMissing, SettingError
from gatehouse.facts import Fact, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.gateways import Fetched, Listed, RawAnswer
from gatehouse.gateways.api_client import ANSWER_SECONDS, CONNECT_SECONDS, Answer, ApiClient
from gatehouse.gateways.fields import first_moment, identifier_or_number
from gatehouse.gateways.sayswitch.answers import UNITS, confirms, payment_facts, payout_facts, refund_facts

if TYPE_CHECKING:
    import httpx

PER_SECOND = 5.0  # SaySwitch says 429 to who asks too often, and not how often that is
VERIFY_PATH = "/api/v1/transaction/verify/"
PATHS = {"reference": VERIFY_PATH, "refund": "/api/v1/refund/status/", "payout": "/api/v1/payout/"}
REFUNDS_PATH = "/api/v1/refund"
LIST_PATHS = ("/api/v1/transaction", "/api/v1/transactions")  # its documents print both
MOST_LISTED_PAGES = 500
LISTED_STATUSES = {
    "success": PaymentStatus.COMPLETED,
    "successful": PaymentStatus.COMPLETED,
    "failed": PaymentStatus.FAILED,
    "reversed": PaymentStatus.REVERSED,
}
PAGE_SIZE = 100
MOST_PAGES = 20
MOST_CLIENTS = 64

_KEY = re.compile(r"[\x21-\x7e]+")
_KEY_OF_A_MODE = re.compile(r"sk_(test|live)_")

_Object = Mapping[str, Any]


class SayswitchClient:
    """One account's access to SaySwitch's API over kept connections."""

    refundable = ("reference",)
    keeps_refund_keys = timedelta(0)  # it honours none: an interrupted refund is looked for in its list

    def __init__(
        self,
        secret_key: str,
        base_url: str,
        unit: str = "major",
        *,
        transport: "httpx.BaseTransport | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # here, and not where the webhook functions would pay 69 ms for it

        if not _KEY.fullmatch(secret_key):
            raise SettingError("SaySwitch's secret_key is empty or has characters that no key has")
        http = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {secret_key}"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )
        self._api = ApiClient(
            "SaySwitch",
            http,
            words=_words,
            is_missing=_is_missing,
            sentence=lambda said: said.get("message"),
            per_second=PER_SECOND,
            sleep=sleep,
        )
        self._base_url = base_url
        self._unit = unit

    def __repr__(self) -> str:
        return f"<SayswitchClient {self._base_url}>"

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def fetch(
        self,
        kind: str,
        object_id: str,
        *,
        event_says: str | None = None,
        event_amount_minor: int | None = None,
        payment_reference: str | None = None,
    ) -> Fetched:
        """Ask about a payment by its reference, a refund or a payout by theirs.

        What the event for which it is asked hints at (the `event_…` in its Need) is confirmed, or is not.
        """
        path = PATHS[kind] + quote(object_id, safe="")
        answer = self._api.ask("GET", path)
        data = _data_of(answer, path)
        try:
            facts = self._facts(kind, answer, data, payment_reference)
        except FactRefused as reason:
            raise GatewayError(f"SaySwitch's {kind} {object_id}: {reason}", retry_helps=False) from reason
        if ObjectName(kind, object_id) not in facts[0].objects:
            raise GatewayError(f"SaySwitch's answer to GET {path} is about another {kind}", retry_helps=False)
        agrees = None if event_says is None else confirms(facts[0], event_says, event_amount_minor, self._unit)
        return Fetched(facts, answer.answered_at, (), (RawAnswer(kind, object_id, answer.said),), agrees)

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:  # noqa: ARG002 - there are no keys
        """Refund a payment whole: SaySwitch knows no other refund."""
        paid = self._verified(payment_name)
        if (paid.amount_minor, paid.currency) != (amount_minor, currency):
            raise GatewayError("SaySwitch refunds a payment whole, and this is not its amount", retry_helps=False)
        if paid.status is not PaymentStatus.COMPLETED:
            raise GatewayError("SaySwitch does not call the payment paid, so nothing is refunded", retry_helps=False)
        answer = self._api.ask("POST", REFUNDS_PATH, json={"reference": payment_name.id})
        try:
            made = {"amount": None, **_data_of(answer, REFUNDS_PATH)}
            facts = refund_facts(made, self._unit, payment_name.id)
        except FactRefused as reason:  # the refund was made, so this is no refusal of it
            raise GatewayError(f"SaySwitch's answer to a refund: {reason}", retry_helps=True) from reason
        return Fetched(facts, answer.answered_at)

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return the refunds of a payment out of the list of all, where they name it by its number."""
        number = next((name.id for name in self._verified(payment_name).objects if name.kind == "transaction"), None)
        found: list[Fact] = []
        answered_at: datetime | None = None
        for things, at in self._pages_of_refunds():
            answered_at = answered_at or at
            for each in things:
                if _is_of(each, number, payment_name.id):
                    found += refund_facts(each, self._unit, payment_name.id)
        if answered_at is None:
            raise GatewayError("SaySwitch lists nothing", retry_helps=True)
        return Fetched(tuple(found), answered_at)

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give every payment and refund that was made in a span of time, out of the lists of all.

        How the list is paged or filtered is not documented: pages are asked for until one is older, or brings nothing
        new. A payment that is pending is not given: most of those were never paid.
        """
        yield from self._listed_payments(since, until)
        for things, _ in self._pages_of_refunds():
            for each in things:
                try:
                    fact = refund_facts(each, self._unit)[0]
                except FactRefused:  # it has no name that anybody could ask about
                    continue
                if isinstance(fact, RefundFact) and (fact.refunded_at is None or since <= fact.refunded_at < until):
                    has_ended = fact.status is RefundStatus.COMPLETED
                    yield Listed(fact.objects[0], PaymentStatus.COMPLETED if has_ended else None)

    def _listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        seen: set[str] = set()
        for page in range(1, MOST_LISTED_PAGES + 1):
            things = self._page_of_payments(page)
            news = [each for each in things if identifier_or_number(each.get("reference")) not in seen]
            for each in news:
                reference, status = identifier_or_number(each.get("reference")), LISTED_STATUSES.get(_status(each))
                made_at = _made_at(each)
                if reference is not None:
                    seen.add(reference)
                if reference and status and (made_at is None or since <= made_at < until):
                    yield Listed(ObjectName("reference", reference), status)
            times = [made_at for each in things if (made_at := _made_at(each))]
            is_sorted = len(times) == len(things) and times == sorted(times, reverse=True)
            if not news or (is_sorted and times[-1] < since):
                return
        raise GatewayError(f"SaySwitch lists more than {MOST_LISTED_PAGES} pages", retry_helps=False)

    def _pages_of_refunds(self) -> Iterator[tuple[list[_Object], datetime]]:
        for page in range(1, MOST_PAGES + 1):
            answer = self._api.ask("GET", REFUNDS_PATH, params={"page": page, "perPage": PAGE_SIZE})
            listed = answer.said.get("data")
            things: list[_Object] = (
                [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
            )
            yield things, answer.answered_at
            if len(things) < PAGE_SIZE:
                return

    def _page_of_payments(self, page: int) -> list[_Object]:
        for path in LIST_PATHS:
            try:
                said = self._api.ask("GET", path, params={"page": page, "perPage": PAGE_SIZE}).said
            except GatewayObjectMissing:
                continue
            listed = said.get("data")
            return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
        raise GatewayListsNothing("SaySwitch shows no list of transactions", retry_helps=False)

    def _verified(self, payment_name: ObjectName) -> PaymentFact:
        fact = self.fetch("reference", payment_name.id).facts[0]
        if not isinstance(fact, PaymentFact):
            raise GatewayError("SaySwitch's answer is about no payment", retry_helps=False)
        return fact

    def _facts(self, kind: str, answer: Answer, data: _Object, payment_reference: str | None) -> tuple[Fact, ...]:
        if kind == "reference":
            return payment_facts(answer.said, self._unit)
        if kind == "refund":
            return refund_facts(data, self._unit, payment_reference)
        return payout_facts(data, self._unit)


def client_of(credentials: Mapping[str, Any], base_url: str, mode: str) -> SayswitchClient:
    """Return the client of an account, made once; raise SettingError where its key is missing or of the other mode."""
    signing_secrets = credentials.get("signing_secrets")
    first = signing_secrets[0] if isinstance(signing_secrets, (list, tuple)) and signing_secrets else None
    secret_key = credentials.get("secret_key") or first  # SaySwitch signs its webhooks with the key of its API
    if not isinstance(secret_key, str):
        raise SettingError("the account has no secret_key, so SaySwitch cannot be asked")
    of_a_mode = _KEY_OF_A_MODE.match(secret_key)
    if of_a_mode and mode in ("test", "live") and of_a_mode[1] != mode:
        raise SettingError(f"the account is for {mode}, and its secret_key is not")
    unit = credentials.get("amount_unit") or "major"
    if unit not in UNITS:
        raise SettingError(f"the amount_unit of an account at SaySwitch is one of {', '.join(UNITS)}")
    return _kept_client(secret_key, base_url, str(unit))


@lru_cache(maxsize=MOST_CLIENTS)
def _kept_client(secret_key: str, base_url: str, unit: str) -> SayswitchClient:
    return SayswitchClient(secret_key, base_url, unit)


def _data_of(answer: Answer, path: str) -> _Object:
    data = answer.said.get("data")
    if answer.said.get("success") is not True or not isinstance(data, dict):
        raise GatewayError(f"SaySwitch's answer to {path} does not hold what was asked for", retry_helps=False)
    return data


def _status(payment: _Object) -> str:
    status = payment.get("status")
    return status.lower() if isinstance(status, str) else ""


def _made_at(payment: _Object) -> datetime | None:
    return first_moment(payment, "created_at", "createdAt", "paid_at")


def _is_of(refund: _Object, number: str | None, reference: str) -> bool:
    if number is not None and refund.get("transaction_id") is not None:
        return identifier_or_number(refund.get("transaction_id")) == number
    note = refund.get("merchant_note")  # "Refund for transaction <reference>"
    return isinstance(note, str) and note.rsplit(" ", 1)[-1] == reference


def _words(_response: "httpx.Response", _said: _Object) -> str:
    """Return a refusal without its sentences, which may quote what was asked; SaySwitch has no codes."""
    return "no code"


def _is_missing(_response: "httpx.Response", said: _Object) -> bool:
    """Return whether SaySwitch does not know the object; with which status it says so is not documented."""
    return said.get("success") is False and "not found" in str(said.get("message")).lower()

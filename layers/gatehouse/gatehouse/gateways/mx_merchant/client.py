"""Questions to MX Merchant's API: https://developer.mxmerchant.com."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote
from uuid import UUID

from gatehouse.errors import FactRefused, GatewayError, GatewayObjectMissing, SettingError
from gatehouse.facts import Fact, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.gateways import Ask, Fetched, Listed, RawAnswer
from gatehouse.gateways.api_client import ANSWER_SECONDS, CONNECT_SECONDS, Answer, ApiClient
from gatehouse.gateways.fields import first_moment, identifier_or_number, mapping
from gatehouse.gateways.mx_merchant.answers import (
    asks_of_payment,
    confirms,
    contract_facts,
    customer_facts,
    invoice_facts,
    is_of_merchant,
    is_settled,
    is_voided,
    payment_amount_minor,
    payment_facts,
    refunded_minor,
    void_facts,
)
from gatehouse.gateways.mx_merchant.translate import GIVES_BACK
from gatehouse.money import to_decimal

if TYPE_CHECKING:
    import httpx

LIVE_URL = "https://api.mxmerchant.com/checkout/v3"
SANDBOX_URL = "https://sandbox.api.mxmerchant.com/checkout/v3"
PER_SECOND = 5.0  # for one merchant; MX Merchant tells nobody how often it may be asked
PAGE_SIZE = 100
MOST_PAGES = 1_000
PAGES_OF_REFUNDS = 20  # in which a refund is looked for
MOST_CLIENTS = 600  # a client for each of 500 merchants is kept, with its connections and its rate
EVENT_TYPES = ("PaymentSuccess", "PaymentFail", "RefundCreated")
SOURCES = "QuickPay,Customer,Invoice,Recurring,Order,MXExpress,MXRetail,API,Terminal,Rekey"
AUTHENTICATIONS = ("basic", "oauth")
# Needed by MX Merchant for each subscription, also where it is to send neither an e-mail nor a short message.
NO_EMAIL, NO_PHONE = "noreply@example.com", "0000000000"

_CREDENTIAL = re.compile(r"[\x21-\x39\x3b-\x7e]+")  # a colon would part the key from the secret at another place
_CODE = re.compile(r"[A-Za-z0-9_]{1,60}")

_Object = Mapping[str, Any]


class ListedPage(NamedTuple):
    """A page of what the API lists: each thing as it was said, and what it says in our words."""

    things: tuple[_Object, ...]
    facts: tuple[tuple[Fact, ...], ...]  # of each thing; () for one that says no amount
    answered_at: datetime
    total: int | None  # of all pages, where the API says it


class Notification(NamedTuple):
    """A webhook that MX Merchant knows: which event it sends where."""

    id: str
    event_type: str
    callback_url: str
    merchant_id: str | None
    sends_webhook: bool


class AnotherMerchants(GatewayError):
    """The API answered with something of another merchant: nothing of it may be believed, or kept."""

    code = "GATEWAY_OBJECT_OF_ANOTHER"


class MxMerchantClient:
    """One merchant's access to MX Merchant's API over kept connections."""

    refundable = ("payment",)
    # How long a replayId is remembered is not documented; within this time it surely is.
    keeps_refund_keys = timedelta(hours=1)

    def __init__(
        self,
        merchant_id: str,
        base_url: str,
        auth: "httpx.Auth",
        *,
        transport: "httpx.BaseTransport | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        import httpx  # here, and not where the webhook functions would pay 69 ms for it

        self._merchant_id = merchant_id
        self._base_url = base_url
        http = httpx.Client(
            base_url=base_url,
            auth=auth,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )
        self._api = ApiClient(
            "MX Merchant",
            http,
            words=_words,
            is_missing=_is_missing,
            sentence=_details,
            per_second=PER_SECOND,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"<MxMerchantClient {self._base_url} of {self._merchant_id}>"

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def fetch(
        self, kind: str, object_id: str, *, event_says: str | None = None, event_amount_minor: int | None = None
    ) -> Fetched:
        """Ask about a payment (or a refund, which is one), an invoice or a customer.

        What the event for which it is asked hints at (the `event_…` in its Need) is confirmed, or is not.
        """
        try:
            if kind in ("payment", "refund"):
                return self._payment(object_id, event_says, event_amount_minor)
            if kind == "invoice":
                return self._invoice(object_id)
            return self._customer(object_id)
        except FactRefused as reason:
            raise GatewayError(f"MX Merchant's {kind} {object_id}: {reason}", retry_helps=False) from reason

    def pages_of_payments(
        self, since: datetime | None = None, until: datetime | None = None, *, first_page: int = 0
    ) -> Iterator[ListedPage]:
        """List the merchant's payments and refunds, a page at a time, those made from `since` until `until`.

        The API is told the days, and what it does not heed is left out here. A listed payment does not name its
        invoices: ask about each of them for that.
        """
        days = {name: f"{moment:%Y-%m-%d}" for name, moment in (("startDate", since), ("endDate", until)) if moment}
        for page in self._pages("/payment", payment_facts, days, first_page):
            kept = [
                (thing, facts)
                for thing, facts in zip(page.things, page.facts, strict=True)
                if is_of_merchant(thing, self._merchant_id)
                and _is_between(first_moment(thing, "created"), since, until)
            ]
            yield page._replace(things=tuple(each for each, _ in kept), facts=tuple(facts for _, facts in kept))
            if since and _is_newest_first(page.things) and _is_older(page.things[-1], since):
                return

    def listed_payments(self, since: datetime, until: datetime) -> Iterator[Listed]:
        """Give every payment and refund that was made in a span of time."""
        for page in self.pages_of_payments(since, until):
            for facts in page.facts:
                for fact in facts[:1]:
                    if isinstance(fact, PaymentFact):
                        yield Listed(fact.objects[0], fact.status)
                    elif isinstance(fact, RefundFact):
                        has_ended = fact.status is RefundStatus.COMPLETED
                        yield Listed(fact.objects[0], PaymentStatus.COMPLETED if has_ended else None)

    def pages_of_contracts(self, *, first_page: int = 0) -> Iterator[ListedPage]:
        """List the merchant's contracts, which bill again and again, a page at a time."""
        for page in self._pages("/contract", contract_facts, {}, first_page):
            own = [
                (thing, facts)
                for thing, facts in zip(page.things, page.facts, strict=True)
                if identifier_or_number(thing.get("merchantId")) in (None, self._merchant_id)
            ]
            yield page._replace(things=tuple(each for each, _ in own), facts=tuple(facts for _, facts in own))

    def list_notifications(self) -> list[Notification]:
        """Return the webhooks that are registered for the merchant."""
        found = []
        for page in self._pages("/subscription", lambda _thing: (), {}, 0):
            found += [_notification(thing) for thing in page.things]
        return [each for each in found if each.merchant_id in (None, self._merchant_id)]

    def create_notification(self, event_type: str, callback_url: str, *, threshold: int = 0) -> None:
        """Register a webhook for one type of event; one that is there already is no error."""
        wanted = {
            "eventType": event_type,
            "sendEmail": False,
            "emailAddress": NO_EMAIL,
            "sendSMS": False,
            "phoneNumber": NO_PHONE,
            "sendWebhook": True,
            "callbackUrl": callback_url,
            "sources": SOURCES,
            "merchantId": int(self._merchant_id) if self._merchant_id.isdigit() else self._merchant_id,
            "threshold": threshold,
        }
        try:
            self._api.ask("PUT", "/subscription", params={"echo": "true"}, json=wanted, is_safe=True, may_be_empty=True)
        except DuplicateNotification:
            return

    def delete_notification(self, notification_id: str) -> None:
        """Take a webhook back; one that is not there any more is no error."""
        try:
            self._api.ask("DELETE", f"/subscription/{quote(notification_id, safe='')}", is_safe=True, may_be_empty=True)
        except GatewayObjectMissing:
            return

    def check(self) -> None:
        """Ask for one payment of the merchant, to learn whether the credentials are taken; raise GatewayError."""
        next(self._pages("/payment", lambda _thing: (), {}, 0, page_size=1), None)

    def refund(self, payment_name: ObjectName, *, amount_minor: int, currency: str, idempotency_key: str) -> Fetched:
        """Refund a part of a payment, or all of it; a second call with the same key refunds nothing more.

        A payment that is given back whole before it is settled is voided instead, as MX Merchant wants it: no money has
        moved then, so the refund is cancelled and the payment reversed.
        """
        paid = self._paid_answer(payment_name).said
        is_whole = amount_minor == payment_amount_minor(paid)
        if is_voided(paid) or (is_whole and not is_settled(paid) and not refunded_minor(paid)):
            return self._void(payment_name, paid, amount_minor)
        if is_whole and refunded_minor(paid) == amount_minor:  # by a void of ours, say, that came after the settlement
            return self._one_made(payment_name, amount_minor)
        wanted = {
            "merchantId": paid["merchantId"],
            "tenderType": paid.get("tenderType"),
            "amount": f"-{to_decimal(amount_minor, currency):f}",
            "paymentToken": paid.get("paymentToken"),
            "originalId": paid.get("id"),
            "replayId": replay_id(idempotency_key),
        }
        if not isinstance(wanted["paymentToken"], str):
            raise GatewayError("MX Merchant shows no paymentToken of the payment", retry_helps=False)
        answer = self._api.ask("POST", "/payment", params={"echo": "true"}, json=wanted, is_safe=True)
        try:
            return Fetched(_made_refund(answer.said, payment_name), answer.answered_at)
        except FactRefused as reason:  # the refund was made, so this is no refusal of it
            raise GatewayError(f"MX Merchant's answer to a refund: {reason}", retry_helps=True) from reason

    def list_refunds(self, payment_name: ObjectName) -> Fetched:
        """Return the refunds of a payment: those of the newest listed payments that name it as their original.

        A payment that was voided has one that was cancelled: the void itself.
        """
        answer = self._paid_answer(payment_name)
        if is_voided(answer.said):
            return Fetched(void_facts(answer.said, payment_name), answer.answered_at)
        found: list[Fact] = []
        answered_at: datetime | None = None
        for number, page in enumerate(self.pages_of_payments()):
            answered_at = answered_at or page.answered_at
            for thing in page.things:
                if thing.get("type") == GIVES_BACK and identifier_or_number(thing.get("originalId")) == payment_name.id:
                    found += _made_refund(thing, payment_name)
            if number + 1 == PAGES_OF_REFUNDS:
                break
        if answered_at is None:
            raise GatewayError("MX Merchant lists nothing", retry_helps=True)
        return Fetched(tuple(found), answered_at)

    def _void(self, payment_name: ObjectName, paid: _Object, amount_minor: int) -> Fetched:
        """Void a payment that is not settled; MX Merchant refunds it where it has just been."""
        refusal: GatewayError | None = None
        if not is_voided(paid):
            path = f"/payment/{quote(payment_name.id, safe='')}"
            try:  # sent once: there is no key, and the payment itself tells whether an unanswered one was carried out
                self._api.ask("DELETE", path, params={"force": "true"}, is_safe=False, may_be_empty=True)
            except GatewayError as reason:
                if reason.retry_helps:
                    raise
                refusal = reason
        answer = self._paid_answer(payment_name)
        if is_voided(answer.said):
            return Fetched(void_facts(answer.said, payment_name), answer.answered_at)
        if refusal is not None and refunded_minor(answer.said) != amount_minor:
            raise refusal
        return self._one_made(payment_name, amount_minor)

    def _one_made(self, payment_name: ObjectName, amount_minor: int) -> Fetched:
        """Return the refund of this amount that MX Merchant has made of a payment, which it told with no answer."""
        listed = self.list_refunds(payment_name)
        made = [
            fact
            for fact in listed.facts
            if isinstance(fact, RefundFact)
            and fact.amount_minor == amount_minor
            and fact.status in (RefundStatus.COMPLETED, RefundStatus.PENDING)
        ]
        if len(made) != 1:
            raise GatewayError("MX Merchant does not show the refund yet", retry_helps=True)
        return Fetched((made[0],), listed.answered_at)

    def _paid_answer(self, payment_name: ObjectName) -> Answer:
        return self._own(payment_name.kind, payment_name.id, f"/payment/{quote(payment_name.id, safe='')}")

    def _payment(self, payment_id: str, event_says: str | None, event_amount_minor: int | None) -> Fetched:
        answer = self._own("payment", payment_id, f"/payment/{quote(payment_id, safe='')}")
        facts = payment_facts(answer.said)
        agrees = None if event_says is None else confirms(answer.said, event_says, event_amount_minor)
        kept = RawAnswer("refund" if isinstance(facts[0], RefundFact) else "payment", payment_id, answer.said)
        return Fetched(facts, answer.answered_at, asks_of_payment(answer.said), (kept,), agrees)

    def _invoice(self, invoice_id: str) -> Fetched:
        answer = self._own("invoice", invoice_id, f"/invoice/{quote(invoice_id, safe='')}")
        customer = identifier_or_number(mapping(answer.said.get("customer")).get("id"))
        asks = (Ask("customer", customer, because="first"),) if customer else ()
        facts = invoice_facts(answer.said, self._merchant_id)
        return Fetched(facts, answer.answered_at, asks, (RawAnswer("invoice", invoice_id, answer.said),))

    def _customer(self, customer_id: str) -> Fetched:
        answer = self._api.ask("GET", f"/customer/{quote(customer_id, safe='')}")
        if answer.said.get("merchantId") is not None:
            self._require_own("customer", customer_id, answer)
        kept = RawAnswer("customer", customer_id, answer.said)
        return Fetched(customer_facts(answer.said), answer.answered_at, answers=(kept,))

    def _own(self, kind: str, object_id: str, path: str) -> Answer:
        """Ask for one object, and believe it only where it is this merchant's, and the one that was asked for."""
        answer = self._api.ask("GET", path)
        self._require_own(kind, object_id, answer)
        if identifier_or_number(answer.said.get("id")) != object_id:
            raise GatewayError(f"MX Merchant's answer to GET {path} is about another {kind}", retry_helps=False)
        return answer

    def _require_own(self, kind: str, object_id: str, answer: Answer) -> None:
        if not is_of_merchant(answer.said, self._merchant_id):
            message = f"MX Merchant's {kind} {object_id} is not of the account's merchantId; nothing of it was taken"
            raise AnotherMerchants(message, retry_helps=False)

    def _pages(
        self,
        path: str,
        facts_of: Callable[[_Object], tuple[Fact, ...]],
        parameters: Mapping[str, str],
        first_page: int,
        *,
        page_size: int = PAGE_SIZE,
    ) -> Iterator[ListedPage]:
        """List in pages; the answer is {recordCount, records} or, as some of the API's lists, a bare list."""
        for page in range(first_page, MOST_PAGES):
            asked = {"merchantId": self._merchant_id, "limit": page_size, "offset": page * page_size, **parameters}
            answer = self._api.ask("GET", path, params=asked, list_name="records")
            records, total = answer.said.get("records"), answer.said.get("recordCount")
            if not isinstance(records, list):
                raise GatewayError(f"MX Merchant's answer to GET {path} holds no records", retry_helps=False)
            things = tuple(each for each in records if isinstance(each, dict))
            if things:
                yield ListedPage(
                    things,
                    tuple(_facts_or_none(facts_of, each) for each in things),
                    answer.answered_at,
                    total if isinstance(total, int) else None,
                )
            elif page == first_page:
                yield ListedPage((), (), answer.answered_at, 0)
            if len(records) < page_size:
                return
        raise GatewayError(f"MX Merchant lists more than {MOST_PAGES} pages of {path}", retry_helps=False)


class DuplicateNotification(GatewayError):
    """MX Merchant sends these events to this address already."""

    code = "DUPLICATE_NOTIFICATION"


def client_of(credentials: Mapping[str, Any], base_url: str, mode: str) -> MxMerchantClient:
    """Return the client of an account, made once; where no address is given, the live API for live accounts only.

    An account may say its own `api` (live or sandbox) and its `authentication` (basic or oauth).
    """
    merchant_id = identifier_or_number(credentials.get("merchant_id"))
    if merchant_id is None:
        raise SettingError("an account at MX Merchant must say its merchant_id")
    key, secret = credentials.get("consumer_key"), credentials.get("consumer_secret")
    if not isinstance(key, str) or not isinstance(secret, str):
        raise SettingError("an account at MX Merchant needs consumer_key and consumer_secret to ask its API")
    if not _CREDENTIAL.fullmatch(key) or not _CREDENTIAL.fullmatch(secret):
        raise SettingError("MX Merchant's consumer_key or consumer_secret is empty or has characters that none has")
    by = credentials.get("authentication") or "basic"
    if by not in AUTHENTICATIONS:
        raise SettingError(f"the authentication of an account at MX Merchant is one of {', '.join(AUTHENTICATIONS)}")
    chosen = credentials.get("api") or ("live" if mode == "live" else "sandbox")
    if chosen not in ("live", "sandbox"):
        raise SettingError("the api of an account at MX Merchant is live or sandbox")
    address = base_url or (LIVE_URL if chosen == "live" else SANDBOX_URL)
    token = tuple(str(credentials.get(name) or "") for name in ("access_token", "access_token_secret"))
    return _kept_client(merchant_id, address, by, key, secret, *token)


@lru_cache(maxsize=MOST_CLIENTS)
def _kept_client(
    merchant_id: str, base_url: str, by: str, key: str, secret: str, token: str, token_secret: str
) -> MxMerchantClient:
    import httpx

    if by == "basic":
        return MxMerchantClient(merchant_id, base_url, httpx.BasicAuth(key, secret))
    from gatehouse.gateways.mx_merchant.oauth import OAuth, Token

    given = Token(token, token_secret) if token else None
    return MxMerchantClient(merchant_id, base_url, OAuth(key, secret, base_url, given))


def replay_id(idempotency_key: str) -> str:
    """Return the number by which MX Merchant knows a call again: of 15 digits, the same for the same key."""
    return str(UUID(idempotency_key).int % (9 * 10**14) + 10**14)


def _made_refund(payment: _Object, refunded: ObjectName) -> tuple[Fact, ...]:
    """Return the facts of a refund that was just made or listed; its payment is known where it does not say it."""
    first, *others = payment_facts({**payment, "type": GIVES_BACK})
    if isinstance(first, RefundFact) and not first.payment:
        first = first._replace(payment=(refunded,))
    return (first, *others)


def _notification(thing: _Object) -> Notification:
    return Notification(
        id=identifier_or_number(thing.get("id")) or "",
        event_type=str(thing.get("eventType") or ""),
        callback_url=str(thing.get("callbackUrl") or ""),
        merchant_id=identifier_or_number(thing.get("merchantId")),
        sends_webhook=thing.get("sendWebhook") is True,
    )


def _facts_or_none(facts_of: Callable[[_Object], tuple[Fact, ...]], thing: _Object) -> tuple[Fact, ...]:
    try:
        return facts_of(thing)
    except FactRefused:  # no id or no amount: it is listed all the same, and counted
        return ()


def _is_between(moment: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    return moment is None or ((since is None or moment >= since) and (until is None or moment < until))


def _is_newest_first(things: tuple[_Object, ...]) -> bool:
    times = [at for each in things if (at := first_moment(each, "created"))]
    return len(times) == len(things) > 1 and times == sorted(times, reverse=True) and times[0] != times[-1]


def _is_older(thing: _Object, since: datetime) -> bool:
    made = first_moment(thing, "created")
    return made is not None and made < since


def _words(_response: "httpx.Response", said: _Object) -> str:
    """Return the code of a refusal; its sentences may quote what was asked."""
    if "Duplicate notification" in _details(said):
        raise DuplicateNotification("the notification is registered already", retry_helps=False)
    code = said.get("errorCode")
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "no code"


def _is_missing(_response: "httpx.Response", said: _Object) -> bool:
    """Return whether a refusal is about the object and not about us: MX Merchant calls both Unauthorized."""
    return "Not Found Or You Do Not Have Access" in _details(said)


def _details(said: _Object) -> str:
    details = said.get("details")
    return " ".join(each for each in details if isinstance(each, str)) if isinstance(details, list) else ""

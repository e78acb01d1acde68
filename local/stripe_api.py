"""What the stand-in for Stripe's API answers."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from local.gateway_apis import ApiAnswer, ApiRequest

# Where the API has the objects of each kind.
PATHS = {
    "charge": "charges",
    "checkout.session": "checkout/sessions",
    "customer": "customers",
    "dispute": "disputes",
    "invoice": "invoices",
    "payment_intent": "payment_intents",
    "payout": "payouts",
    "refund": "refunds",
    "subscription": "subscriptions",
    "transfer": "transfers",
}
KINDS = {path: kind for kind, path in PATHS.items()}
LINES_SHOWN = 10  # with an invoice; the others are listed


class StripeApi:
    """What Stripe has told us in events, with a fee of 2.9 % + 30 (rounded half up) on what was captured.

    Of payment intents and charges it knows the one by the other, as Stripe does.
    """

    name = "stripe"

    def __init__(self) -> None:
        self._things: dict[str, tuple[int, dict[str, Any]]] = {}  # by id: when it was so, and the object
        self._refunded_under: dict[str, str] = {}  # idempotency key: the refund that was made for it

    def learn(self, event_body: bytes) -> None:
        """Take over the objects of an event; an older event does not overwrite a newer one."""
        event = json.loads(event_body)
        for each in _objects_in(event["data"]["object"]):
            gone = event.get("type") == "customer.deleted"
            self._keep({"id": each["id"], "object": "customer", "deleted": True} if gone else each, event["created"])

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one object from now on."""
        self._keep(thing, thing.get("created", 0))

    def _keep(self, thing: dict[str, Any], moment: int) -> None:
        known = self._things.get(thing["id"])
        if known is None or known[0] <= moment:
            self._things[thing["id"]] = (moment, thing)

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET /v1/{objects}/{id} with its expansions, lists page by page, and POST /v1/refunds."""
        if not request.headers.get("authorization", "").startswith("Bearer sk_"):
            return self.refusal(401)
        version, _, path = request.path.strip("/").partition("/")
        if (request.method, version, path) == ("POST", "v1", "refunds"):
            return self._refund(request)
        if (request.method, version) == ("GET", "v1"):
            if path == "refunds":
                return self._list_of_refunds(request.query)
            if path == "charges":
                return self._list_of_charges(request.query)
            if path.startswith("invoices/") and path.endswith("/lines"):
                invoice_id = unquote(path.split("/")[1])
                return _page(self._lines(invoice_id), request.query, f"/v1/invoices/{invoice_id}/lines")
            collection, _, object_id = path.rpartition("/")
            if kind := KINDS.get(collection):
                found = self._found(kind, unquote(object_id), request.query.get("expand[]", []))
                return _missing(kind, object_id) if found is None else ApiAnswer(200, found)
        return _refused(404, "invalid_request_error", f"Unrecognized request URL ({request.method}: {request.path}).")

    def _found(self, kind: str, object_id: str, expand: list[str]) -> dict[str, Any] | None:
        """Return an object of a kind as Stripe shows it, or None."""
        if kind == "payment_intent":
            intent = self._payment_intent(object_id)
            return None if intent is None else self._expanded_intent(intent, expand)
        if kind == "charge":
            charge = self._charge(object_id)
            return None if charge is None else _expanded_charge(charge, "balance_transaction" in expand)
        thing = self._things.get(object_id, (0, {}))[1]
        if thing.get("object") != kind:
            return None
        if kind == "invoice":
            lines = self._lines(object_id)
            thing = {**thing, "lines": {**_list(lines[:LINES_SHOWN]), "has_more": len(lines) > LINES_SHOWN}}
            if "payments" in expand:
                thing["payments"] = _list(self._all("invoice_payment", "invoice", object_id))
            return thing
        return _with_transaction(thing) if "balance_transaction" in expand else thing

    def _lines(self, invoice_id: str) -> list[dict[str, Any]]:
        """Return all lines of an invoice, as it was last told or remembered."""
        lines = self._things.get(invoice_id, (0, {}))[1].get("lines")
        return list(lines.get("data") or ()) if isinstance(lines, dict) else []

    def _all(self, kind: str, by: str, value: str) -> list[dict[str, Any]]:
        """Return the objects of a kind that belong to another one, the newest first."""
        found = [thing for _, thing in self._things.values() if thing["object"] == kind and thing.get(by) == value]
        return sorted(found, key=lambda thing: (thing.get("created", 0), thing["id"]), reverse=True)

    def _refund(self, request: ApiRequest) -> ApiAnswer:
        """Give back a part of a payment, once for each idempotency key; never more than is left."""
        wanted = {name: said[0] for name, said in parse_qs(request.body.decode()).items()}
        key = request.headers.get("idempotency-key", "")
        if key in self._refunded_under:
            return ApiAnswer(200, self._things[self._refunded_under[key]][1], {"idempotent-replayed": "true"})
        intent = self._payment_intent(wanted.get("payment_intent", ""))
        charge = self._charge(wanted.get("charge") or str(intent and _latest_charge_of(intent)))
        if charge is None:
            return _missing("charge", wanted.get("charge") or wanted.get("payment_intent", ""))
        given_back = sum(
            each["amount"]
            for each in self._all("refund", "charge", charge["id"])
            if each["status"] in ("pending", "succeeded")
        )
        amount = int(wanted["amount"])
        if amount > charge["amount_captured"] - given_back:
            message = "Refund amount is greater than unrefunded amount on charge."
            return _refused(400, "invalid_request_error", message, code="charge_already_refunded")
        refund = {
            "id": f"re_{hashlib.sha256(key.encode()).hexdigest()[:24]}",
            "object": "refund",
            "amount": amount,
            "balance_transaction": None,
            "charge": charge["id"],
            "created": int(time.time()),
            "currency": charge["currency"],
            "metadata": {"gatehouse_refund": wanted.get("metadata[gatehouse_refund]", "")},
            "payment_intent": charge.get("payment_intent"),
            "reason": None,
            "status": "succeeded",
        }
        self._keep(refund, refund["created"])
        self._refunded_under[key] = refund["id"]
        return ApiAnswer(200, refund)

    def _list_of_refunds(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        by = "payment_intent" if "payment_intent" in query else "charge"
        refunds = self._all("refund", by, query.get(by, [""])[0])
        if "data.balance_transaction" in query.get("expand[]", []):
            refunds = [_with_transaction(each) for each in refunds]
        return _page(refunds, query, "/v1/refunds")

    def _list_of_charges(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        """Answer a page of the charges of a span of time, the newest first; those that payment intents name, too."""
        known = {thing["id"]: thing for _, thing in list(self._things.values()) if thing["object"] == "charge"}
        for _, thing in list(self._things.values()):
            charge_id = _latest_charge_of(thing)
            if charge_id and charge_id not in known and (charge := self._charge(charge_id)):
                known[charge_id] = charge
        since, until = (int(query.get(f"created[{word}]", [end])[0]) for word, end in (("gte", "0"), ("lt", "9" * 12)))
        charges = [each for each in known.values() if since <= (each.get("created") or 0) < until]
        charges.sort(key=lambda each: (each["created"], each["id"]), reverse=True)
        return _page(charges, query, "/v1/charges")

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
        charge = next(iter(self._all("charge", "payment_intent", intent_id)), None)
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
        if intent is None:
            return None
        refunds = self._all("refund", "charge", charge_id)
        refunded = sum(each["amount"] for each in refunds if each.get("status") in ("pending", "succeeded"))
        charge = _charge_of_intent(charge_id, intent)
        return {**charge, "amount_refunded": refunded, "refunded": 0 < charge["amount_captured"] <= refunded}

    def _expanded_intent(self, intent: dict[str, Any], expand: list[str]) -> dict[str, Any]:
        charge_id = _latest_charge_of(intent)
        charge = self._charge(charge_id) if charge_id else None
        whole = any(each == "latest_charge" or each.startswith("latest_charge.") for each in expand)
        if charge is None or not whole:
            return {**intent, "latest_charge": charge_id}
        return {**intent, "latest_charge": _expanded_charge(charge, "latest_charge.balance_transaction" in expand)}


def _objects_in(thing: object) -> Iterator[dict[str, Any]]:
    """Give an object, and those that it lists whole: charges before 2022-11-15 with their refunds, payments."""
    if isinstance(thing, dict) and "id" in thing and thing.get("object") in (*PATHS, "invoice_payment"):
        yield thing
        for name in ("charges", "refunds", "payments"):
            inner = thing.get(name)
            for each in inner.get("data", ()) if isinstance(inner, dict) else ():
                yield from _objects_in(each)


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


def _with_transaction(thing: Mapping[str, Any]) -> dict[str, Any]:
    """Return a refund or payout with its balance transaction as an object; Stripe takes nothing for either here."""
    transaction_id = thing.get("balance_transaction")
    if not isinstance(transaction_id, str):
        return dict(thing)
    transaction = {
        "id": transaction_id,
        "object": "balance_transaction",
        "amount": -thing["amount"],
        "created": thing.get("created"),
        "currency": thing["currency"],
        "exchange_rate": None,
        "fee": 0,
        "fee_details": [],
        "net": -thing["amount"],
        "source": thing["id"],
        "type": thing["object"],
    }
    return {**thing, "balance_transaction": transaction}


def _page(things: list[dict[str, Any]], query: Mapping[str, list[str]], url: str) -> ApiAnswer:
    """Return a page of a list, after the object that the question names."""
    after, limit = query.get("starting_after", [""])[0], int(query.get("limit", ["10"])[0])
    start = next((number for number, each in enumerate(things, start=1) if each["id"] == after), 0)
    page = things[start : start + limit]
    return ApiAnswer(200, {**_list(page), "has_more": start + limit < len(things), "url": url})


def _list(things: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": things, "has_more": False}


def _missing(kind: str, thing_id: str) -> ApiAnswer:
    return _refused(404, "invalid_request_error", f"No such {kind}: '{thing_id}'", code="resource_missing")


def _refused(status: int, kind: str, message: str, code: str | None = None) -> ApiAnswer:
    error = {"type": kind, "message": message} | ({"code": code} if code else {})
    return ApiAnswer(status, {"error": error})

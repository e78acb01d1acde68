"""What the stand-in for Stripe's API answers."""

import json
from collections.abc import Mapping
from typing import Any

from local.gateway_apis import ApiAnswer, ApiRequest


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

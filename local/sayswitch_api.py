"""What the stand-in for SaySwitch's API answers, in the shapes of its recorded answers."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from local.gateway_apis import ApiAnswer, ApiRequest

OUTCOMES = {
    "success": "success",
    "successful": "success",
    "processed": "success",
    "failed": "failed",
    "reversed": "reversed",
    "pending": "pending",
}
OF_THE_ANSWER = ("customer", "card", "authorization", "log", "plan")  # beside `data`, and not in it


class SayswitchApi:
    """What SaySwitch's events have told, as its API shows it: an event's own outcome is what the API says too."""

    name = "sayswitch"

    def __init__(self) -> None:
        self._payments: dict[str, dict[str, Any]] = {}  # whole answers of verify, by reference
        self._refunds: dict[str, dict[str, Any]] = {}
        self._payouts: dict[str, dict[str, Any]] = {}

    def learn(self, event_body: bytes) -> None:
        """Take over what an event tells."""
        event = json.loads(event_body)
        data = event.get("data")
        if not isinstance(data, dict):
            return
        name = f"{event['notify']}.{event.get('notifyType')}" if event.get("notify") else str(event.get("type"))
        family, _, outcome = name.partition(".")
        status = OUTCOMES.get(outcome)
        if status is None:
            return
        if family == "refund":
            self._learn_refund(data, status)
        elif family in ("payout", "transfer"):
            self._payouts[str(data.get("reference"))] = {**data, "status": status}
        elif family in ("payment", "transaction") and data.get("reference"):
            self._learn_payment(data, {**event, **data}, status)

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one object from now on: a whole answer of verify, or a refund."""
        if isinstance(thing.get("data"), dict) and thing["data"].get("reference"):
            self._payments[str(thing["data"]["reference"])] = thing
        elif thing.get("refund_reference"):
            self._refunds[str(thing["refund_reference"])] = thing
        else:
            raise ValueError("none of SaySwitch's objects looks like this")

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer verify, a refund's status, the list of refunds, a new refund, and a payout."""
        if not request.headers.get("authorization", "").startswith("Bearer sk_"):
            return self.refusal(401)
        match request.method, request.path.strip("/").split("/")[2:]:
            case "GET", ["transaction", "verify", reference] if reference in self._payments:
                return ApiAnswer(200, self._payments[reference])
            case "GET", ["refund", "status", reference] if reference in self._refunds:
                return _found("Refund retrieved", self._refunds[reference])
            case "GET", ["payout", reference] if reference in self._payouts:
                return _found("Payout retrieved", self._payouts[reference])
            case "GET", ["transaction"]:
                return self._list_of_payments(request.query)
            case "GET", ["refund"]:
                return self._list_of_refunds(request.query)
            case "POST", ["refund"]:
                return self._refund(json.loads(request.body))
        reference = request.path.rsplit("/", 1)[-1]
        said = {"success": False, "message": "Transaction not found"}
        return ApiAnswer(404, {**said, "error": f"No transaction found with reference: {reference}"})

    def refusal(self, status: int) -> ApiAnswer:
        """Return SaySwitch's words for 401, 429 and 500."""
        words = {401: "Unauthenticated", 429: "Too Many Attempts"}.get(status, "Server Error")
        return ApiAnswer(status, {"success": False, "message": words, "error": words})

    def _learn_payment(self, data: Mapping[str, Any], said: Mapping[str, Any], status: str) -> None:
        reference = str(data["reference"])
        paid = {word: value for word, value in data.items() if word not in OF_THE_ANSWER}
        paid = {"amount": "0", "currency": "NGN", "domain": "test", **paid, "status": status}
        beside = {word: said[word] for word in OF_THE_ANSWER if isinstance(said.get(word), dict)}
        self._payments[reference] = {
            "success": True,
            "message": "Verification successful",
            "data": {"id": number_of(reference), **paid},
            **beside,
        }

    def _learn_refund(self, data: Mapping[str, Any], status: str) -> None:
        reference = data.get("refundReference") or data.get("refund_reference") or data.get("reference")
        if not reference:
            return
        paid = data.get("reference")
        self._refunds[str(reference)] = {
            "id": data.get("id") or number_of(reference),
            "transaction_id": data.get("transaction_id") or self._number_of_payment(paid),
            "refund_reference": str(reference),
            "amount": data.get("amount"),
            "currency": data.get("currency") or "NGN",
            "domain": data.get("domain") or "test",
            "merchant_note": data.get("merchantNote") or f"Refund for transaction {paid}",
            "status": status,
            "created_at": data.get("createdAt") or data.get("created_at") or _now(),
        }

    def _number_of_payment(self, reference: object) -> int | None:
        known = self._payments.get(str(reference))
        return known["data"].get("id") if known else None

    def _list_of_payments(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        size, page = int(query.get("perPage", ["50"])[0]), int(query.get("page", ["1"])[0])
        paid = [each["data"] for each in self._payments.values()]
        paid.sort(key=lambda each: str(each.get("created_at")), reverse=True)
        shown = paid[(page - 1) * size : page * size]
        said = {"success": True, "message": "Transactions retrieved", "data": shown, "meta": {"total": len(paid)}}
        return ApiAnswer(200, said)

    def _list_of_refunds(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        size, page = int(query.get("perPage", ["50"])[0]), int(query.get("page", ["1"])[0])
        refunds = list(self._refunds.values())
        shown = refunds[(page - 1) * size : page * size]
        said = {"success": True, "message": "Refunds retrieved", "data": shown, "meta": {"total": len(refunds)}}
        return ApiAnswer(200, said)

    def _refund(self, wanted: Mapping[str, Any]) -> ApiAnswer:
        paid = self._payments.get(str(wanted.get("reference")))
        if paid is None:
            return ApiAnswer(404, {"success": False, "message": "Transaction not found", "error": "not found"})
        data = paid["data"]
        if any(each["transaction_id"] == data["id"] for each in self._refunds.values()):
            words = "Transaction has already been refunded"
            return ApiAnswer(400, {"success": False, "message": words, "error": words})
        reference = f"RF_{crc32(str(wanted['reference']).encode()):08x}{len(self._refunds)}"
        made = {
            "id": number_of(reference),
            "transaction_id": data["id"],
            "refund_reference": reference,
            "amount": data.get("requested_amount") or data["amount"],
            "currency": data["currency"],
            "domain": data["domain"],
            "merchant_note": f"Refund for transaction {wanted['reference']}",
            "status": "pending",
            "created_at": _now(),
        }
        self._refunds[reference] = made
        return _found("Refund queued", made)


def number_of(name: object) -> int:
    """Return the number that this stand-in gives a thing known by a name: the same in every run."""
    return 1_000_000 + crc32(str(name).encode()) % 1_000_000_000


def _found(message: str, thing: Mapping[str, Any]) -> ApiAnswer:
    return ApiAnswer(200, {"success": True, "message": message, "data": thing})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

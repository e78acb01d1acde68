"""What the stand-in for Paystack's API answers."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zlib import crc32

from local.gateway_apis import ApiAnswer, ApiRequest

DEFAULT_PAGE_SIZE = 50
REFUND_STEPS = ("pending", "processing", "needs-attention", "processed", "failed")

# The path at which the API shows a kind of object, and the field that is its id there.
PATHS = {
    "refund": "id",
    "dispute": "id",
    "transfer": "transfer_code",
    "subscription": "subscription_code",
    "customer": "customer_code",
    "paymentrequest": "request_code",
}
# What tells an object of each kind, when one is put in; the first that fits.
MARKS = {
    "request_code": "paymentrequest",
    "subscription_code": "subscription",
    "transfer_code": "transfer",
    "resolution": "dispute",
    "transaction": "refund",
    "reference": "transaction",
    "customer_code": "customer",
}


class PaystackApi:
    """What Paystack's events have told, in the shapes of its API; a fee of 1.5 % where an event does not say it."""

    name = "paystack"

    def __init__(self) -> None:
        self._things: dict[tuple[str, str], dict[str, Any]] = {}  # by kind and id
        self._number_of_reference: dict[str, str] = {}
        self._refund_of_reference: dict[str, str] = {}

    def learn(self, event_body: bytes) -> None:
        """Take over what an event tells; a refund that it names by its reference gets a number, as at Paystack."""
        event = json.loads(event_body)
        data = event["data"]
        if not isinstance(data, dict):
            return
        family = event["event"].partition(".")[0]
        if isinstance(data.get("customer"), dict):
            self._learn("customer", data["customer"])
        match family:
            case "charge" if event["event"].startswith("charge.dispute."):
                self._learn_transaction(data.get("transaction") or {})
                self._learn("dispute", data)
            case "charge":
                self._learn_transaction(data)
            case "preauthorization" if event["event"] == "preauthorization.capture.success":
                self._learn_transaction(_captured(data))
            case "refund":
                self._learn_refund(data)
            case "subscription" | "transfer":
                self._learn(family, data)
            case "invoice":
                self._learn_invoice(data, has_failed=event["event"] == "invoice.payment_failed")
            case "paymentrequest":
                self._learn(family, {**data, "customer": _customer_of_number(data.get("customer"))})

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one object from now on, as its fields tell of what kind it is."""
        kind = next((kind for mark, kind in MARKS.items() if mark in thing), None)
        if kind is None:
            raise ValueError("none of Paystack's objects looks like this")
        if kind == "transaction":
            self._learn_transaction(thing)
        else:
            self._things[kind, str(thing[PATHS[kind]])] = thing

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer GET of one object, of a transaction by its reference, and of a transaction's refunds."""
        if not request.headers.get("authorization", "").startswith("Bearer sk_"):
            return self.refusal(401)
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["transaction", "verify", reference]:
                number = self._number_of_reference.get(reference, "")
                if ("transaction", number) not in self._things:
                    return _refused(400, "Transaction reference not found.", "transaction_not_found")
                return _found("Verification successful", self._things["transaction", number])
            case "GET", ["refund"]:
                return self._list_of_refunds(request.query)
            case "GET", ["transaction"]:
                return self._list_of_transactions(request.query)
            case "GET", [("transaction" | "refund" | "dispute" | "transfer" | "subscription") as kind, thing_id]:
                return self._one(kind, thing_id)
            case "GET", [("customer" | "paymentrequest") as kind, thing_id]:
                return self._one(kind, thing_id)
        return _refused(404, "Cannot find the requested resource", "not_found")

    def refusal(self, status: int) -> ApiAnswer:
        """Return Paystack's words for 401, 429 and 500."""
        match status:
            case 401:
                return _refused(401, "Invalid key", "invalid_Key", kind="validation_error")
            case 429:
                return _refused(429, "Please wait a few minutes and try again.", "rate_limited")
        return _refused(status, "An error occurred", "unknown", kind="api_error")

    def _one(self, kind: str, thing_id: str) -> ApiAnswer:
        if (kind, thing_id) not in self._things:
            return _refused(404, f"{kind.capitalize()} not found", "not_found")
        return _found(f"{kind.capitalize()} retrieved", self._things[kind, thing_id])

    def _list_of_refunds(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        """Answer a page of refunds. By the reference of a transaction none are found, only by its number."""
        wanted = query.get("transaction", [""])[0]
        refunds = [
            thing
            for (kind, _), thing in list(self._things.items())
            if kind == "refund" and wanted in ("", str(thing["transaction"]))
        ]
        return _page("Refunds retrieved", refunds, query)

    def _list_of_transactions(self, query: Mapping[str, list[str]]) -> ApiAnswer:
        """Answer a page of the transactions of a span of time, the newest first."""
        since, until = (
            datetime.fromisoformat(query.get(word, [default])[0])
            for word, default in (("from", "1970-01-01T00:00:00Z"), ("to", "9999-01-01T00:00:00Z"))
        )
        found = [
            (made_at, thing)
            for (kind, _), thing in list(self._things.items())
            if kind == "transaction" and since <= (made_at := _made_at(thing)) <= until
        ]
        found.sort(key=lambda each: each[0], reverse=True)
        return _page("Transactions retrieved", [thing for _, thing in found], query)

    def _learn(self, kind: str, thing: dict[str, Any]) -> None:
        thing_id = thing.get(PATHS[kind])
        if thing_id:
            known = self._things.get((kind, str(thing_id)), {})
            self._things[kind, str(thing_id)] = {**known, **thing}

    def _learn_transaction(self, charge: dict[str, Any]) -> None:
        reference = charge.get("reference")
        number = charge.get("id") or (number_of(reference) if reference else None)
        if not number:
            return
        fees = charge.get("fees")
        if fees is None and charge.get("status") == "success":
            fees = fee_minor(int(charge["amount"])) if str(charge.get("amount")).isdigit() else None
        known = self._things.get(("transaction", str(number)), {})
        self._things["transaction", str(number)] = {**known, **charge, "id": number, "fees": fees}
        if reference:
            self._number_of_reference[str(reference)] = str(number)

    def _learn_refund(self, refund: dict[str, Any]) -> None:
        """Bring a refund to the step that an event tells, or make one."""
        if not str(refund.get("amount")).isdigit() or not refund.get("transaction_reference"):
            return
        transaction, reference = self._transaction_of(refund), refund.get("refund_reference")
        known = self._refund_that_is_meant(refund, transaction) or self._new_refund(refund, transaction)
        self._things["refund", str(known["id"])] = known
        if reference:
            self._refund_of_reference[str(reference)] = str(known["id"])
        known["status"] = max(known["status"], refund.get("status"), key=_step)

    def _refund_that_is_meant(self, refund: dict[str, Any], transaction: dict[str, Any]) -> dict[str, Any] | None:
        """Return the refund of this reference; else one of this sum, and not another reference's where it has one."""
        reference = str(refund.get("refund_reference") or "")
        if reference in self._refund_of_reference:
            return self._things["refund", self._refund_of_reference[reference]]
        taken = set(self._refund_of_reference.values()) if reference else set()
        return next(
            (
                thing
                for (kind, number), thing in list(self._things.items())
                if kind == "refund"
                and number not in taken
                and (thing["transaction"], thing["amount"]) == (transaction["id"], int(refund["amount"]))
            ),
            None,
        )

    def _transaction_of(self, refund: Mapping[str, Any]) -> dict[str, Any]:
        """Return the transaction that a refund gives back; one that is not known is made up."""
        reference = str(refund["transaction_reference"])
        if reference not in self._number_of_reference:
            told = {name: refund.get(name) for name in ("currency", "domain", "customer")}
            self._learn_transaction(
                {
                    "reference": reference,
                    "status": "success",
                    "amount": int(refund["amount"]),
                    "paid_at": _now(),
                    "created_at": _now(),
                    "channel": "card",
                    "metadata": "",
                    **told,
                }
            )
        return self._things["transaction", self._number_of_reference[reference]]

    def _new_refund(self, refund: Mapping[str, Any], transaction: Mapping[str, Any]) -> dict[str, Any]:
        """Return a refund in the shape of the API's list, which shows no reference of the events."""
        others = sum(1 for kind, _ in list(self._things) if kind == "refund")
        return {
            "id": int(refund.get("id") or number_of(f"{transaction['reference']}/{others}")),
            "integration": refund.get("integration"),
            "domain": refund.get("domain"),
            "transaction": transaction["id"],
            "dispute": None,
            "amount": int(refund["amount"]),
            "deducted_amount": int(refund["amount"]),
            "currency": refund.get("currency"),
            "channel": "migs",
            "fully_deducted": 1,
            "refunded_by": "customer@example.com",
            "refunded_at": None,
            "expected_at": _now(),
            "settlement": None,
            "customer_note": refund.get("customer_note"),
            "merchant_note": refund.get("merchant_note"),
            "created_at": _now(),
            "updated_at": _now(),
            "status": "pending",
            "bank_reference": None,
            "transaction_reference": transaction["reference"],
        }

    def _learn_invoice(self, invoice: Mapping[str, Any], *, has_failed: bool) -> None:
        """Take over the subscription of an invoice; one whose payment failed needs attention, which no event says."""
        subscription = invoice.get("subscription")
        if not isinstance(subscription, dict) or "subscription_code" not in subscription:
            return
        transaction = invoice.get("transaction") or {}
        self._learn_transaction(transaction)
        latest = {
            "invoice_code": invoice.get("invoice_code"),
            "transaction": number_of(transaction["reference"]) if transaction.get("reference") else None,
            "status": "attention" if has_failed else invoice.get("status"),
            "paid": int(bool(invoice.get("paid"))),
            "retries": 1,
            **{name: invoice.get(name) for name in ("domain", "amount", "period_start", "period_end", "paid_at")},
            **{name: invoice.get(name) for name in ("description", "created_at")},
        }
        attention = {"status": "attention"} if has_failed else {}
        more = {"customer": invoice.get("customer"), "most_recent_invoice": latest}
        self._learn("subscription", {"plan": {"currency": "NGN"}, **subscription, **more, **attention})


def fee_minor(amount_minor: int) -> int:
    """Return 1.5 % of the amount, rounded half up."""
    return (amount_minor * 15 + 500) // 1000


def number_of(name: object) -> int:
    """Return the number that this stand-in gives a thing known by a name: the same in every run."""
    return 1_000_000_000 + crc32(str(name).encode())


def _step(status: object) -> int:
    return REFUND_STEPS.index(status) if status in REFUND_STEPS else 0


def _captured(reserved: Mapping[str, Any]) -> dict[str, Any]:
    transaction = reserved.get("transaction") or {}
    return {
        "id": reserved.get("transaction_id") or transaction.get("id"),
        "status": "success",
        "amount": int(reserved["captured_amount"]),
        "requested_amount": reserved["amount"],
        "paid_at": reserved.get("captured_at"),
        "channel": "card",
        **{name: reserved.get(name) for name in ("reference", "currency", "domain", "customer", "metadata")},
        "fees": transaction.get("fees"),
    }


def _customer_of_number(number: object) -> dict[str, Any]:
    """Return the customer whom an event calls by a number, whole as in the API's answers."""
    return {
        "id": number,
        "first_name": None,
        "last_name": None,
        "email": "customer@example.com",
        "customer_code": f"CUS_{number}",
        "phone": None,
        "metadata": None,
        "risk_action": "default",
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _found(message: str, thing: Mapping[str, Any]) -> ApiAnswer:
    return ApiAnswer(200, {"status": True, "message": message, "data": thing})


def _refused(status: int, message: str, code: str, *, kind: str = "validation_error") -> ApiAnswer:
    said = {"status": False, "message": message, "meta": {"nextStep": "See the documents."}, "type": kind, "code": code}
    return ApiAnswer(status, said)


def _made_at(transaction: Mapping[str, Any]) -> datetime:
    said = next((transaction[name] for name in ("createdAt", "created_at", "paid_at") if transaction.get(name)), None)
    return datetime.fromisoformat(said) if isinstance(said, str) else datetime.fromtimestamp(0, UTC)


def _page(message: str, things: list[dict[str, Any]], query: Mapping[str, list[str]]) -> ApiAnswer:
    """Return a page of a list."""
    size = int(query.get("perPage", [str(DEFAULT_PAGE_SIZE)])[0])
    page = int(query.get("page", ["1"])[0])
    shown = things[(page - 1) * size : page * size]
    pages = -(-len(things) // size)
    meta = {"total": len(things), "skipped": (page - 1) * size, "perPage": size, "page": page, "pageCount": pages}
    return ApiAnswer(200, {"status": True, "message": message, "data": shown, "meta": meta})

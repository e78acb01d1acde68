"""What the stand-in for MX Merchant's API answers, in the shapes of its recorded answers."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zlib import crc32

from gatehouse.gateways.mx_merchant.translate import date_in_utc
from local.gateway_apis import ApiAnswer, ApiRequest

REFUSED_KEY = "refused"  # how a consumer key begins that the stand-in takes for a wrong one
PRODUCTS = ("Testosterone Cypionate 200mg", "Semaglutide 0.5mg", "BPC-157", "Sildenafil 50mg")
STATUSES = {"PaymentSuccess": "Approved", "PaymentFail": "Declined", "RefundCreated": "Approved"}
EVENT_TYPES = ("PaymentSuccess", "PaymentFail", "RefundCreated")
TOKEN_PATHS = ("oauth/1a/requesttoken", "oauth/1a/accesstoken")


class MxMerchantApi:
    """What MX Merchant's events have told, as its API shows it; payments of an invoice have one, with a product."""

    name = "mx_merchant"

    def __init__(self) -> None:
        self._payments: dict[str, dict[str, Any]] = {}
        self._invoices: dict[str, dict[str, Any]] = {}
        self._customers: dict[str, dict[str, Any]] = {}
        self._contracts: dict[str, dict[str, Any]] = {}
        self._notifications: dict[str, dict[str, Any]] = {}
        self._refunds_by_replay: dict[str, str] = {}

    def learn(self, event_body: bytes) -> None:
        """Take over the payment that an event tells, with its invoice and customer."""
        event = json.loads(event_body, parse_float=Decimal)
        if event.get("eventType") not in STATUSES or not event.get("id"):
            return
        payment = _payment_of(event)
        if payment["type"] == "Return":
            payment["originalId"] = self._original_of(payment, event)
        elif event["eventType"] == "PaymentSuccess":
            self._bill(payment, event)
        self._payments[str(event["id"])] = payment

    def remember(self, thing: dict[str, Any]) -> None:
        """Know one object from now on, as its fields tell of what kind it is."""
        place = next((place for mark, place in self._marks() if mark in thing), None)
        if place is None or "id" not in thing:
            raise ValueError("none of MX Merchant's objects looks like this")
        place[str(thing["id"])] = thing

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer one object, a list of a merchant's, a refund, and what is done with notifications."""
        path = request.path.strip("/")
        if not _is_known(request.headers.get("authorization", "")):
            return self.refusal(401)
        match request.method, path.split("/"):
            case "POST", ["oauth", "1a", *_rest] if path in TOKEN_PATHS:
                token = f"oauth_token=local-{path[-5:]}&oauth_token_secret=local-secret"
                return ApiAnswer(200, token, {"Content-Type": "application/x-www-form-urlencoded"})
            case "GET", ["payment"]:
                return _page(list(self._payments.values()), request.query, bare=True)
            case "GET", ["invoice" | "contract" as kind]:
                return _page(list(self._place(kind).values()), request.query)
            case "GET", ["payment" | "invoice" | "customer" | "contract" as kind, thing_id]:
                found = self._place(kind).get(thing_id)
                return ApiAnswer(200, found) if found else _unknown(f"{kind.capitalize()} Not Found")
            case "POST", ["payment"]:
                return self._refund(json.loads(request.body, parse_float=Decimal))
            case "DELETE", ["payment", payment_id] if payment_id in self._payments:
                return self._undo(self._payments[payment_id])
            case _, ["subscription", *rest]:
                return self._notify(request, rest)
        return _unknown("Not Found")

    def refusal(self, status: int) -> ApiAnswer:
        """Return MX Merchant's words for 401, 429 and 500."""
        words = {401: ("Unauthorized", "Unauthorized"), 429: ("TooManyRequests", "Too many requests")}
        code, message = words.get(status, ("InternalError", "An error occurred"))
        return ApiAnswer(status, {"errorCode": code, "message": message, "details": [message], "responseCode": "local"})

    @staticmethod
    def of_another_merchant(answer: ApiAnswer) -> ApiAnswer:
        """Return an answer as if it were about something of another merchant."""
        if not isinstance(answer.body, Mapping) or "merchantId" not in answer.body:
            return answer
        return ApiAnswer(answer.status, {**answer.body, "merchantId": 999_999_999}, answer.headers)

    def _marks(self) -> tuple[tuple[str, dict[str, dict[str, Any]]], ...]:
        return (
            ("invoiceNumber", self._invoices),
            ("subscriptionId", self._contracts),
            ("amount", self._payments),
            ("name", self._customers),
        )

    def _place(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            "payment": self._payments,
            "invoice": self._invoices,
            "customer": self._customers,
            "contract": self._contracts,
        }[kind]

    def _bill(self, payment: dict[str, Any], event: Mapping[str, Any]) -> None:
        """Make the invoice that a payment pays, and the customer of both."""
        number = str(event.get("invoiceId") or number_of(f"invoice {event['merchantId']} {event.get('invoiceNumber')}"))
        payment["invoiceIds"] = [int(number)]
        code = payment.get("customerCode")
        customer = number_of(f"customer {event['merchantId']} {code or payment['id']}")
        name = payment.get("customerName") or "Example Customer"
        self._customers[str(customer)] = {
            "id": customer,
            "merchantId": payment["merchantId"],
            "name": name,
            **({"number": code} if code else {}),
            "email": f"{code or customer}@example.com".lower(),
        }
        known = self._invoices.get(number)
        before = [each for each in (known["payments"] if known else ()) if each["id"] != payment["id"]]
        paid = [*before, _payment_in_invoice(payment)]
        owed = _plain(Decimal(payment["amount"]) - Decimal(payment["surchargeAmount"]))
        fields = event.get("customFields")
        named = fields.get("product") if isinstance(fields, dict) else None
        product = named or PRODUCTS[crc32(number.encode()) % len(PRODUCTS)]
        total = known["totalAmount"] if known else owed
        self._invoices[number] = {
            "id": int(number),
            "merchantId": payment["merchantId"],
            "type": "Sale",
            "invoiceNumber": int(re.sub(r"\D", "", str(event.get("invoiceNumber") or "")) or 1),
            "memo": "",
            "quantity": "1",
            "returnStatus": "None",
            "totalAmount": total,
            "subTotalAmount": total,
            "balance": "0",
            "paidAmount": total,
            "created": payment["created"],
            "invoiceDate": payment["created"],
            "sourceType": payment["source"],
            "purchases": [
                {
                    "id": number_of(f"purchase {number}"),
                    "productId": number_of(f"product {product}"),
                    "productName": product,
                    "description": product,
                    "quantity": 1,
                    "price": total,
                    "totalAmount": total,
                }
            ],
            "customer": {"id": customer, "name": name},
            "billingAddress": {
                "name": name,
                "address1": "1 Example Street",
                "city": "Example",
                "state": "VA",
                "zip": "00000",
                "country": "US",
            },
            "status": "Paid",
            "payments": paid,
        }

    def _original_of(self, refund: Mapping[str, Any], event: Mapping[str, Any]) -> int:
        """Return the payment that a refund gives back: one of the same invoice, or one made up for it."""
        of_merchant = [each for each in self._payments.values() if each["merchantId"] == refund["merchantId"]]
        sales = [each for each in of_merchant if each["type"] == "Sale" and each["status"] == "Approved"]
        same = [each for each in sales if each["invoice"] == refund["invoice"]]
        if same:
            return int(same[0]["id"])
        number = number_of(f"payment {event['merchantId']} {event.get('invoiceNumber')}")
        amount = refund["amount"].removeprefix("-")
        made = {**refund, "id": number, "type": "Sale", "amount": amount, "originalAmount": amount}
        self._payments[str(number)] = made
        self._bill(made, event)
        return number

    def _refund(self, wanted: Mapping[str, Any]) -> ApiAnswer:
        """Give back a part of a payment, once for each replayId."""
        replayed = self._refunds_by_replay.get(str(wanted.get("replayId")))
        if replayed:
            return ApiAnswer(201, {**self._payments[replayed], "isDuplicate": True})
        token = wanted.get("paymentToken")
        original = next((each for each in self._payments.values() if each["paymentToken"] == token), None)
        if original is None or not str(wanted.get("amount")).startswith("-"):
            return _unknown("Original Payment Not Found Or You Do Not Have Access.")
        made = self._give_back(original, Decimal(str(wanted["amount"])), number_of(f"refund {wanted.get('replayId')}"))
        made["replayId"] = wanted.get("replayId")
        self._refunds_by_replay[str(wanted.get("replayId"))] = str(made["id"])
        return ApiAnswer(201, made)

    def _undo(self, original: dict[str, Any]) -> ApiAnswer:
        """Void a payment whole, or give it back where it was settled."""
        if original["status"] == "Approved":
            original["status"] = "Voided"
            return ApiAnswer(204, "")
        made = self._give_back(original, -Decimal(original["amount"]), number_of(f"refund of {original['id']}"))
        said = {"errorCode": "ValidationError", "message": "", "details": [made["authMessage"]]}
        return ApiAnswer(204, "") if made["status"] == "Approved" else ApiAnswer(400, said)

    def _give_back(self, original: dict[str, Any], amount: Decimal, number: int) -> dict[str, Any]:
        """Return the refund of a payment, declined where more would go back than came in."""
        back = Decimal(str(original.get("refundedAmount") or "0")) - amount
        is_too_much = original["status"] == "Voided" or back > Decimal(original["amount"])
        if not is_too_much:
            original["refundedAmount"] = _plain(back)
        made = {
            **original,
            "id": number,
            "originalId": original["id"],
            "type": "Return",
            "amount": _plain(amount),
            "refundedAmount": "0",
            "created": _now(),
            "status": "Declined" if is_too_much else "Approved",
            "authMessage": "Payment already refunded" if is_too_much else "Approved or completed successfully. ",
        }
        self._payments[str(number)] = made
        return made

    def _notify(self, request: ApiRequest, rest: list[str]) -> ApiAnswer:
        match request.method, rest:
            case "GET", []:
                return _page(list(self._notifications.values()), request.query)
            case "GET", ["eventtype"]:
                return ApiAnswer(200, {"records": [{"name": each} for each in EVENT_TYPES]})
            case "PUT", []:
                wanted = json.loads(request.body)
                same = ("eventType", "merchantId", "callbackUrl")
                if any(all(each[word] == wanted[word] for word in same) for each in self._notifications.values()):
                    said = {"errorCode": "ValidationError", "message": "", "details": ["Duplicate notification"]}
                    return ApiAnswer(400, said)
                number = str(number_of(json.dumps([wanted[word] for word in same])))
                sources = wanted.pop("sources")
                made = {"id": int(number), "created": _now(), "modified": _now(), **wanted, "Sources": sources}
                self._notifications[number] = made
                return ApiAnswer(201, made)
            case "DELETE", [number] if number in self._notifications:
                del self._notifications[number]
                return ApiAnswer(204, "")
        return _unknown("Not Found")


def number_of(name: object) -> int:
    """Return the number that this stand-in gives a thing known by a name: the same in every run."""
    return 10_000_000_000 + crc32(str(name).encode())


def _payment_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payment of an event, in the shape of the API's answer."""
    made = date_in_utc(event.get("transactionDate")) or datetime.now(UTC)
    fields = event.get("customFields")
    surcharge = str(fields.get("surcharge") or "0") if isinstance(fields, dict) else "0"
    amount = _plain(Decimal(str(event.get("totalAmount") or "0")))
    has_failed = event["eventType"] == "PaymentFail"
    code = str(event.get("responseCode") or "0")
    return {
        "created": f"{made:%Y-%m-%dT%H:%M:%S}.{made.microsecond // 1000:03d}Z",
        "paymentToken": f"P_LOCAL_{crc32(str(event['id']).encode()):08x}",
        "id": int(str(event["id"])),
        "creatorName": "local",
        "isDuplicate": False,
        "merchantId": int(str(event["merchantId"])),
        "tenderType": event.get("paymentType") or "Card",
        "currency": "USD",
        "amount": amount,
        "originalAmount": amount,
        "cardAccount": {"cardType": event.get("card"), "last4": event.get("pan4"), "token": "P_LOCAL_CARD"},
        "authOnly": False,
        "authCode": event.get("authorizationCode"),
        "status": STATUSES[event["eventType"]],
        "authMessage": (event.get("responseMessage") or "").strip(),
        "reference": event.get("referenceNumber"),
        "surchargeAmount": surcharge,
        "invoice": event.get("invoiceNumber"),
        "clientReference": event.get("invoiceNumber"),
        "customerCode": event.get("customerNumber"),
        "customerName": event.get("customer"),
        "type": event.get("transactionTypeName") or "Sale",
        "source": event.get("source"),
        "replayId": event.get("replayId"),
        **({"responseCode": int(code) if code.isdigit() else code} if has_failed else {"responseCode": 0}),
    }


def _payment_in_invoice(payment: Mapping[str, Any]) -> dict[str, Any]:
    """Return a payment as an invoice lists it: without its customer, its source and its invoices."""
    left_out = ("invoiceIds", "customerCode", "customerName", "source", "replayId")
    return {word: value for word, value in payment.items() if word not in left_out}


def _page(things: list[dict[str, Any]], query: Mapping[str, list[str]], *, bare: bool = False) -> ApiAnswer:
    """Return a page of a merchant's things, newest first: payments as a bare list, others with their number."""
    merchant = query.get("merchantId", [""])[0]
    own = [each for each in things if merchant in ("", str(each.get("merchantId")))]
    own.sort(key=lambda each: str(each.get("created")), reverse=True)
    limit, offset = int(query.get("limit", ["10"])[0]), int(query.get("offset", ["0"])[0])
    left_out = ("invoiceIds", "batchId")
    shown = [
        {word: value for word, value in each.items() if word not in left_out} for each in own[offset : offset + limit]
    ]
    return ApiAnswer(200, json.dumps(shown) if bare else {"recordCount": len(own), "records": shown})


def _is_known(authorization: str) -> bool:
    """Return whether a request shows a consumer key that the stand-in does not take for a wrong one."""
    kind, _, said = authorization.partition(" ")
    if kind == "OAuth":
        return f'oauth_consumer_key="{REFUSED_KEY}' not in said and "oauth_signature=" in said
    try:
        key = base64.b64decode(said).decode() if kind == "Basic" else ""
    except (binascii.Error, UnicodeDecodeError):
        return False
    return ":" in key and not key.startswith((":", REFUSED_KEY))


def _unknown(detail: str) -> ApiAnswer:
    """Return what MX Merchant says of what is not there: the words are those of a refused key, but for the detail."""
    if "Do Not Have Access" not in detail:
        detail = f"{detail} Or You Do Not Have Access."
    said = {"errorCode": "Unauthorized", "message": "Unauthorized", "details": [detail], "responseCode": "local"}
    return ApiAnswer(401, said)


def _plain(amount: Decimal) -> str:
    """Return an amount as MX Merchant writes it: no zeros at its end."""
    whole = amount == amount.to_integral_value()
    return str(amount.to_integral_value()) if whole else f"{amount.normalize():f}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Says in facts what one row of a file of payments says; docs/importing.md has the columns.

A row is what some other system knew of a payment at one moment. It becomes a fact with that time, so an event of the
same payment, recorded before or after, leads to the same row.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from gatehouse.errors import SettingError
from gatehouse.facts import CustomerFact, ObjectName, PaymentFact, PaymentStatus, RefundFact, RefundStatus
from gatehouse.gateways.fields import currency_code, plain_metadata, said_for_an_app
from gatehouse.gateways.mx_merchant.translate import date_in_utc
from gatehouse.money import to_minor

MOST_CHARACTERS = 255  # of an id
MOST_TEXT = 2000
HASH_CHARACTERS = 24

# The column, and what else it may be called.
COLUMNS: dict[str, tuple[str, ...]] = {
    "payment_id": ("mx_payment_id", "provider_payment_id", "gateway_payment_id"),
    "payment_kind": (),
    "amount": ("total_amount",),
    "amount_minor": ("amount_cents",),
    "currency": (),
    "occurred_at": ("transaction_date", "created_at", "created", "date"),
    "status": (),
    "type": ("transaction_type",),
    "original_id": (),
    "reference": ("mx_invoice_number", "invoice_number"),
    "invoice_id": ("mx_invoice_id",),
    "customer_id": ("customer_code",),
    "customer_name": (),
    "email": ("customer_email",),
    "method": ("payment_method", "tender_type"),
    "source": (),
    "fee": (),
    "fee_minor": ("fee_cents",),
    "refunded_minor": ("refunded_cents", "refunded_amount_cents"),
    "failure_code": (),
    "failure_message": ("failure_reason",),
    "order_id": (),
    "order_number": (),
    "app": (),
    "user_id": (),
    "plan": (),
    "metadata": (),
    "gateway": ("provider",),
    "merchant_id": (),
}
NAMED = {alias: name for name, aliases in COLUMNS.items() for alias in (name, *aliases)}
REQUIRED = (("payment_id",), ("amount", "amount_minor"), ("occurred_at",), ("status",))

# How a gateway's own ids of payments are called in its events.
KINDS = {
    "stripe": ("payment_intent", "charge", "checkout_session"),
    "paypal": ("capture", "order", "authorization", "transaction"),
    "paystack": ("transaction", "reference"),
    "sayswitch": ("transaction", "reference"),
    "mx_merchant": ("payment",),
}
DEFAULT_CURRENCY = {"mx_merchant": "USD"}

STATUSES = {
    word: status
    for status, words in {
        PaymentStatus.PENDING: "pending requires_payment_method requires_confirmation requires_action created ongoing",
        PaymentStatus.PROCESSING: "processing authorized requires_capture submitted",
        PaymentStatus.FAILED: "failed declined denied abandoned error",
        PaymentStatus.CANCELLED: "cancelled canceled expired",
        PaymentStatus.COMPLETED: (
            "completed approved settled succeeded success successful paid captured refunded partially_refunded"
        ),
        PaymentStatus.REVERSED: "reversed voided returned",
    }.items()
    for word in words.split()
}
REFUND_STATUSES = {
    PaymentStatus.PENDING: RefundStatus.PENDING,
    PaymentStatus.PROCESSING: RefundStatus.PENDING,
    PaymentStatus.FAILED: RefundStatus.FAILED,
    PaymentStatus.CANCELLED: RefundStatus.CANCELLED,
    PaymentStatus.COMPLETED: RefundStatus.COMPLETED,
    PaymentStatus.REVERSED: RefundStatus.CANCELLED,
}


class BadRow(Exception):
    """A row cannot be imported: which field is wrong, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class Reading(NamedTuple):
    """What the rows of a file are read by."""

    gateway: str
    zone: str = ""  # of times that name none; empty: such a time is refused
    merchant_id: str = ""  # the gateway's own id of the merchant, which no row may contradict


class Said(NamedTuple):
    """What one row says."""

    said_by: str  # the same for the same words, so that they are not said twice
    occurred_at: datetime
    fact: PaymentFact | RefundFact
    customer: CustomerFact | None = None


def known_columns(columns: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """Return a heading's columns by the names that we use, and those that mean nothing to us."""
    found: dict[str, str] = {}
    for column in columns:
        name = NAMED.get(column.strip().lower())
        if name is None:
            continue
        if name in found:
            raise SettingError(f"the columns {found[name]} and {column} both mean {name}: keep one")
        found[name] = column
    for choice in REQUIRED:
        if not any(name in found for name in choice):
            words = sorted({alias for name in choice for alias in (name, *COLUMNS[name])})
            raise SettingError(f"no column is {' or '.join(words)}: without it no payment can be made of a row")
    return found, [column for column in columns if column not in found.values()]


def read_payment(values: Mapping[str, Any], reading: Reading) -> Said:
    """Return what a row says, by our names of its columns; raise BadRow that names its first wrong field."""
    row = {name: text for name, value in values.items() if (text := _text(name, value))}
    payment_id = _identifier(row, "payment_id", needed=True)
    occurred_at = _moment(_needed(row, "occurred_at"), reading.zone)
    status = _status(_needed(row, "status"))
    _agrees(row, "gateway", reading.gateway)
    _agrees(row, "merchant_id", reading.merchant_id)
    currency = _currency(row, reading.gateway)
    amount_minor = _amount(row, "amount", currency, needed=True) or 0
    fingerprint = "\x1f".join(f"{name}={row[name]}" for name in sorted(row))
    said_by = f"import {sha256(fingerprint.encode()).hexdigest()[:HASH_CHARACTERS]}"
    if amount_minor < 0 or row.get("type", "").lower() in ("return", "refund"):
        return Said(said_by, occurred_at, _refund(row, payment_id, abs(amount_minor), currency, status, occurred_at))
    fee_minor = _amount(row, "fee", currency)
    metadata = _metadata(row)
    is_completed = status is PaymentStatus.COMPLETED
    customer_ref = _identifier(row, "customer_id")
    fact = PaymentFact(
        objects=(ObjectName(_kind(row, payment_id, reading.gateway), payment_id),),
        status=status,
        amount_minor=amount_minor,
        received_minor=amount_minor if is_completed else None,
        refunded_minor=_refunded(row, amount_minor),
        currency=currency,
        fee_minor=fee_minor,
        fee_currency=None if fee_minor is None else currency,
        method=row.get("method", "").lower() or None,
        reference=_identifier(row, "reference"),
        customer_ref=customer_ref,
        email=row.get("email"),
        invoice_ref=_identifier(row, "invoice_id"),
        invoice_number=_identifier(row, "reference") if reading.gateway == "mx_merchant" else None,
        source=row.get("source"),
        failure_code=row.get("failure_code"),
        failure_message=row.get("failure_message"),
        completed_at=occurred_at if is_completed else None,
        metadata=metadata or None,
        **said_for_an_app({name: row[name] for name in ("app", "user_id", "plan") if name in row}, metadata),
    )
    name = row.get("customer_name")
    customer = CustomerFact((ObjectName("customer", customer_ref),), name=name) if customer_ref and name else None
    return Said(said_by, occurred_at, fact, customer)


def _refund(
    row: Mapping[str, str], refund_id: str, amount_minor: int, currency: str, status: PaymentStatus, at: datetime
) -> RefundFact:
    original = _identifier(row, "original_id")
    return RefundFact(
        objects=(ObjectName("refund", refund_id),),
        payment=(ObjectName("payment", original),) if original else (),
        status=REFUND_STATUSES[status],
        amount_minor=amount_minor,
        currency=currency,
        reference=_identifier(row, "reference"),
        refunded_at=at,
    )


def _text(name: str, value: Any) -> str:
    """Return what a cell holds as text; JSON's numbers and truths too."""
    if isinstance(value, str):
        found = value.strip()
    elif value is None:
        return ""
    elif isinstance(value, bool):
        found = str(value).lower()
    elif isinstance(value, (int, Decimal)):
        found = f"{value:f}" if isinstance(value, Decimal) else str(value)
    elif name == "metadata":
        found = json.dumps(value, default=str)
    else:
        raise BadRow(name, "is no text and no number")
    if len(found) > MOST_TEXT and name != "metadata":
        raise BadRow(name, f"is longer than {MOST_TEXT} characters")
    return found


def _needed(row: Mapping[str, str], name: str) -> str:
    if name not in row:
        raise BadRow(name, "is missing")
    return row[name]


def _identifier(row: Mapping[str, str], name: str, *, needed: bool = False) -> Any:
    said = _needed(row, name) if needed else row.get(name)
    if said is not None and len(said) > MOST_CHARACTERS:
        raise BadRow(name, f"is longer than {MOST_CHARACTERS} characters")
    return said


def _agrees(row: Mapping[str, str], name: str, ours: str) -> None:
    said = row.get(name)
    if said and ours and said.lower().replace("-", "_") != ours.lower():
        raise BadRow(name, f"is {said[:40]!r}, and the file is imported for {ours}")


def _currency(row: Mapping[str, str], gateway: str) -> str:
    said = row.get("currency") or DEFAULT_CURRENCY.get(gateway, "")
    if not said:
        raise BadRow("currency", "is missing")
    if (code := currency_code(said)) is None:
        raise BadRow("currency", f"{said[:8]!r} is no currency that we know")
    return code


def _amount(row: Mapping[str, str], name: str, currency: str, *, needed: bool = False) -> int | None:
    """Return an amount of a row in minor units, from whichever of its two columns holds it."""
    minor = row.get(f"{name}_minor")
    try:
        if minor is not None:
            return _whole(f"{name}_minor", minor)
        said = _needed(row, name) if needed else row.get(name)
        return None if said is None else to_minor(said, currency)
    except ValueError as reason:
        raise BadRow(name, str(reason)) from None


def _whole(name: str, said: str) -> int:
    digits = said.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise BadRow(name, f"{said[:20]!r} is no whole number of minor units")
    return int(said)


def _refunded(row: Mapping[str, str], amount_minor: int) -> int | None:
    said = row.get("refunded_minor")
    status = row["status"].lower()
    if said is None:
        if status == "partially_refunded":
            raise BadRow("refunded_minor", "is missing: how much of it was refunded?")
        return amount_minor if status == "refunded" else None
    refunded = _whole("refunded_minor", said)
    if not 0 <= refunded <= amount_minor:
        raise BadRow("refunded_minor", f"must be from 0 to the amount, {amount_minor}")
    return refunded


def _status(said: str) -> PaymentStatus:
    found = STATUSES.get(said.lower().replace(" ", "_").replace("-", "_"))
    if found is None:
        raise BadRow("status", f"{said[:40]!r} is no status that we know")
    return found


def _moment(said: str, zone: str) -> datetime:
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        if (found_in_mx := date_in_utc(said)) is None:
            raise BadRow("occurred_at", f"{said[:40]!r} is no time such as 2026-05-15T10:00:00Z") from None
        return found_in_mx
    if found.tzinfo is None:
        if not zone:
            raise BadRow("occurred_at", "names no time zone; --zone says which is meant")
        found = found.replace(tzinfo=_zone(zone))
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise BadRow("occurred_at", "is outside the calendar") from None


@lru_cache(maxsize=4)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _kind(row: Mapping[str, str], payment_id: str, gateway: str) -> str:
    kinds = KINDS[gateway]
    said = row.get("payment_kind")
    if said is not None:
        if said not in kinds:
            raise BadRow("payment_kind", f"is {said[:40]!r}, must be one of {', '.join(kinds)}")
        return said
    if gateway == "stripe":
        known: dict[str, str] = {"pi_": "payment_intent", "ch_": "charge", "py_": "charge", "cs_": "checkout_session"}
        if (kind := known.get(payment_id[:3])) is None:
            raise BadRow("payment_id", "begins with none of pi_, ch_, py_, cs_")
        return kind
    if gateway in ("paystack", "sayswitch"):  # their ids are numbers; what else is given is the reference
        return "transaction" if payment_id.isdigit() else "reference"
    return kinds[0]


def _metadata(row: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if "metadata" in row:
        said = plain_metadata(row["metadata"])
        if said is None and row["metadata"] not in ("{}", "null"):
            raise BadRow("metadata", "is no JSON object")
        found |= said or {}
    return found | {name: row[name] for name in ("order_id", "order_number") if name in row}

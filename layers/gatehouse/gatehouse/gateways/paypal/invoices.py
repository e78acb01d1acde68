"""PayPal's invoices in our words: those of v2, and of v1 with its own dates.

What pays them comes as a sale or capture of its own; from here it is only linked to.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from gatehouse.facts import Fact, InvoiceFact, InvoiceStatus, ObjectName, PaymentFact
from gatehouse.gateways.fields import first_moment, identifier, mapping, moment, text
from gatehouse.gateways.paypal.resource import (
    Amount,
    Said,
    amount_of,
    merged,
    required_id,
    status_word,
    sum_of,
    things,
)
from gatehouse.money import MOST_MINOR

STATUS_BY_NAME = {
    "INVOICING.INVOICE.CREATED": InvoiceStatus.DRAFT,
    "INVOICING.INVOICE.SCHEDULED": InvoiceStatus.DRAFT,
    "INVOICING.INVOICE.CANCELLED": InvoiceStatus.VOID,
    # PAID is also sent for a part, REFUNDED too: without the invoice's own word they tell nothing.
}
STATUSES = {
    "draft": InvoiceStatus.DRAFT,
    "scheduled": InvoiceStatus.DRAFT,  # not sent yet
    "sent": InvoiceStatus.OPEN,
    "unpaid": InvoiceStatus.OPEN,
    "payment_pending": InvoiceStatus.OPEN,
    "partially_paid": InvoiceStatus.PARTIALLY_PAID,
    "paid": InvoiceStatus.PAID,
    "marked_as_paid": InvoiceStatus.PAID,
    "cancelled": InvoiceStatus.VOID,
    "partially_refunded": InvoiceStatus.PARTIALLY_REFUNDED,
    "refunded": InvoiceStatus.REFUNDED,
    "marked_as_refunded": InvoiceStatus.REFUNDED,
}

# The zones of v1's times, `2015-09-28 14:37:13 PDT`. An abbreviation that is not here may mean several zones.
ZONES = {"PDT": "-07:00", "PST": "-08:00", "UTC": "+00:00", "GMT": "+00:00"}
_TIME_OF_V1 = re.compile(rf"(\d{{4}}-\d\d-\d\d)(?: (\d\d:\d\d:\d\d))? ({'|'.join(ZONES)})", re.ASCII)

MOST_COUNTED = 10**9  # units of one line: more is a mistake


def invoice_facts(said: Said) -> tuple[Fact, ...]:
    """Say how an invoice stands, and link the payments that it names to it. In v2 an event wraps it once more."""
    invoice = mapping(said.resource.get("invoice")) or said.resource
    fact = _invoice_of_v2(invoice) if isinstance(invoice.get("detail"), dict) else _invoice_of_v1(invoice)
    status = STATUSES.get(status_word(invoice), STATUS_BY_NAME.get(said.type))
    paid = said.type == "INVOICING.INVOICE.PAID" and status is InvoiceStatus.PAID
    paid_at = fact.paid_at or (said.at if paid else None)
    return merged((fact._replace(status=status, paid_at=paid_at), *_links_to_payments(invoice, fact.objects[0].id)))


def _invoice_of_v1(invoice: Mapping[str, Any]) -> InvoiceFact:
    recipient = mapping(next(iter(things(invoice.get("billing_info"))), None))
    total = amount_of(invoice.get("total_amount"))
    metadata = mapping(invoice.get("metadata"))
    payments = [moment_of_v1(each.get("date")) for each in things(invoice.get("payments"))]
    return InvoiceFact(
        objects=(ObjectName("invoice", required_id(invoice.get("id"))),),
        number=text(invoice.get("number")),
        total_minor=total.minor,
        paid_minor=_paid_in_v1(invoice, total.currency),
        currency=total.currency,
        email=text(recipient.get("email")),
        issued_at=moment_of_v1(metadata.get("first_sent_date")) or moment_of_v1(invoice.get("invoice_date")),
        due_at=moment_of_v1(mapping(invoice.get("payment_term")).get("due_date")),
        paid_at=max((at for at in payments if at), default=None),
        description=text(invoice.get("note")),
        lines=_lines(invoice, "unit_price"),
        metadata=_reference(invoice),
    )


def _paid_in_v1(invoice: Mapping[str, Any], currency: str | None) -> int | None:
    """Return what was paid through PayPal and otherwise together, where all of it is in the invoice's currency."""
    parts = mapping(invoice.get("paid_amount"))
    paid = sum_of([amount_of(part) for part in parts.values() if isinstance(part, dict)])
    return paid.minor if paid.currency == currency else None


def _invoice_of_v2(invoice: Mapping[str, Any]) -> InvoiceFact:
    detail = mapping(invoice.get("detail"))
    recipient = mapping(next(iter(things(invoice.get("primary_recipients"))), None))
    total = amount_of(invoice.get("amount"))
    paid = amount_of(mapping(invoice.get("payments")).get("paid_amount"))
    due = amount_of(invoice.get("due_amount"))
    return InvoiceFact(
        objects=(ObjectName("invoice", required_id(invoice.get("id"))),),
        number=text(detail.get("invoice_number")),
        total_minor=total.minor,
        due_minor=due.minor if due.currency == total.currency else None,
        paid_minor=paid.minor if paid.currency == total.currency else None,
        currency=total.currency,
        email=text(mapping(recipient.get("billing_info")).get("email_address")),
        issued_at=first_moment(mapping(detail.get("metadata")), "first_sent_time"),
        due_at=moment(mapping(detail.get("payment_term")).get("due_date")),  # mostly a day of no zone: nothing
        description=text(detail.get("note")),
        lines=_lines(invoice, "unit_amount"),
        metadata=_reference(detail),
    )


def _links_to_payments(invoice: Mapping[str, Any], invoice_id: str) -> list[PaymentFact]:
    """Return a link for each payment through PayPal; cash, cheques and the like are no payments of this gateway."""
    payments = invoice.get("payments")
    paid = things(payments if isinstance(payments, list) else mapping(payments).get("transactions"))
    found = []
    for each in paid:
        payment_id = identifier(each.get("transaction_id")) or identifier(each.get("payment_id"))
        if payment_id and each.get("type") == "PAYPAL":
            kind = "authorization" if each.get("transaction_type") == "AUTHORIZATION" else "transaction"
            found.append(PaymentFact((ObjectName(kind, payment_id),), invoice_ref=invoice_id))
    return found


def _lines(invoice: Mapping[str, Any], price: str) -> list[dict[str, Any]] | None:
    lines = []
    for item in things(invoice.get("items")):
        quantity = item.get("quantity")
        amount = _times_any(amount_of(item.get(price)), quantity)
        name = text(item.get("name"))
        said = {
            "product": name,
            "description": text(item.get("description")) or name,
            "amount_minor": amount,
            "quantity": _as_written(quantity),
        }
        lines.append({word: value for word, value in said.items() if value is not None})
    return lines or None


def _times_any(each: Amount, quantity: object) -> int | None:
    """Return the amount of a line; its quantity may be a part of a whole ("1.5"), and need not come out even."""
    count = _decimal(quantity)
    if each.minor is None or count is None or not 0 <= count < MOST_COUNTED:
        return None
    minor = each.minor * count
    return int(minor) if minor == minor.to_integral_value() and minor <= MOST_MINOR else None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
        return Decimal(value)
    known = isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value, re.ASCII)
    return Decimal(value) if known and isinstance(value, str) else None


def _as_written(quantity: object) -> int | str | None:
    count = _decimal(quantity)
    if count is None or not 0 <= count < MOST_COUNTED:
        return None
    return int(count) if count == count.to_integral_value() else f"{count:f}"


def _reference(holder: Mapping[str, Any]) -> dict[str, Any] | None:
    reference = text(holder.get("reference"))
    return {"reference": reference} if reference else None


def moment_of_v1(value: object) -> datetime | None:
    """Return a time as v1's invoices write it, in UTC; of a day alone its beginning, in the zone that it names."""
    said = _TIME_OF_V1.fullmatch(value) if isinstance(value, str) else None
    return moment(f"{said[1]}T{said[2] or '00:00:00'}{ZONES[said[3]]}") if said else moment(value)

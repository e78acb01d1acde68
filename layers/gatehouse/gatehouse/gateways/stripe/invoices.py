"""Stripe's invoices, and which payments pay them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from gatehouse.facts import CustomerFact, Fact, InvoiceFact, InvoiceStatus, ObjectName, PaymentFact
from gatehouse.gateways.fields import currency_code, mapping, said_for_an_app, text
from gatehouse.gateways.stripe.amounts import minor_or_none, signed_minor_or_none
from gatehouse.gateways.stripe.customers import customer_told
from gatehouse.gateways.stripe.shapes import (
    Said,
    entries,
    id_of,
    merchants_metadata,
    merchants_reference,
    moment,
    named,
    payment_names,
    required_id,
)
from gatehouse.money import MOST_MINOR

# Every event about an invoice, and the status that its name alone tells; the object's own goes before it. All names of
# Stripe's are here but `invoice.upcoming`, whose invoice has no id: it is a forecast.
INVOICE_STEPS = {
    "invoice.created": None,
    "invoice.deleted": InvoiceStatus.VOID,  # only a draft can be
    "invoice.finalization_failed": None,
    "invoice.finalized": None,
    "invoice.marked_uncollectible": InvoiceStatus.UNCOLLECTIBLE,
    "invoice.overdue": InvoiceStatus.PAST_DUE,
    "invoice.overpaid": None,
    "invoice.paid": InvoiceStatus.PAID,
    "invoice.payment_action_required": None,
    "invoice.payment_attempt_required": None,
    "invoice.payment_failed": InvoiceStatus.PAST_DUE,
    "invoice.payment_succeeded": InvoiceStatus.PAID,
    "invoice.sent": None,
    "invoice.updated": None,
    "invoice.voided": InvoiceStatus.VOID,
    "invoice.will_be_due": None,
}
INVOICE_PAYMENT_EVENTS = ("invoice_payment.paid",)

_STATUSES = {
    "draft": InvoiceStatus.DRAFT,
    "open": InvoiceStatus.OPEN,
    "paid": InvoiceStatus.PAID,
    "uncollectible": InvoiceStatus.UNCOLLECTIBLE,
    "void": InvoiceStatus.VOID,
}

MOST_ATTEMPTS = 2**31 - 1  # what a column of whole numbers holds

# An invoice says of its customer what was so when it was finalised; it may be paid months later.
BELIEVED_FOR = timedelta(hours=1)


def invoice_facts(said: Said) -> tuple[Fact, ...]:
    """Return what an invoice says: of itself, of the payments that pay it, of its customer."""
    invoice = said.object
    required_id(invoice)
    customer = _customer_of(said)
    return (_invoice_fact(said), *_payments_of(invoice), *((customer,) if customer else ()))


def invoice_payment_facts(said: Said) -> tuple[Fact, ...]:
    """Return the link between an invoice and a payment; the payment's own events tell its amount."""
    required_id(said.object)
    names = payment_names(_payment_in(said.object))
    return (PaymentFact(objects=names, invoice_ref=id_of(said.object.get("invoice"))),) if names else ()


def leaves_its_payment_open(invoice: Mapping[str, Any]) -> bool:
    """Return whether an invoice is silent on its payments. Since 2025-03-31 only the API says them, when asked."""
    return not any(word in invoice for word in ("payments", "payment_intent", "charge"))


def leaves_its_lines_open(invoice: Mapping[str, Any]) -> bool:
    """Return whether an event about an invoice lacks its lines, or has the first ten of more."""
    lines = invoice.get("lines")
    return not isinstance(lines, list) and (not list(entries(lines)) or mapping(lines).get("has_more") is True)


def _invoice_fact(said: Said) -> InvoiceFact:
    invoice, currency = said.object, said.object.get("currency")
    done = mapping(invoice.get("status_transitions"))
    attempts = invoice.get("attempt_count")
    lines = list(entries(invoice.get("lines")))
    period_start, period_end = _period(invoice, lines)
    status = _status(said)
    return InvoiceFact(
        objects=named("invoice", invoice),
        status=status,
        number=text(invoice.get("number")),
        total_minor=minor_or_none(invoice.get("total"), currency),
        due_minor=0 if status is InvoiceStatus.VOID else minor_or_none(invoice.get("amount_remaining"), currency),
        paid_minor=minor_or_none(invoice.get("amount_paid"), currency),
        currency=currency_code(currency),
        customer_ref=id_of(invoice.get("customer")),
        email=text(invoice.get("customer_email")),
        subscription_ref=_subscription_of(invoice),
        attempts=attempts if _is_count(attempts, most=MOST_ATTEMPTS) else None,
        next_attempt_at=moment(invoice.get("next_payment_attempt")),
        issued_at=moment(done.get("finalized_at")),
        due_at=moment(invoice.get("due_date")),
        paid_at=moment(done.get("paid_at")),
        period_start=period_start,
        period_end=period_end,
        description=text(invoice.get("description")),
        lines=tuple(_line(line, currency) for line in lines) or None,
        metadata=merchants_metadata(invoice),
    )


def _status(said: Said) -> InvoiceStatus | None:
    """Return the status; of one that is open, how far it is. A deleted draft still calls itself a draft."""
    invoice = said.object
    status = _STATUSES.get(text(invoice.get("status")) or "", INVOICE_STEPS.get(said.type))
    if said.type == "invoice.deleted" or invoice.get("deleted") is True:
        return InvoiceStatus.VOID
    if status is not InvoiceStatus.OPEN:
        return status
    due_at = moment(invoice.get("due_date"))
    # Another try is planned after one that failed; the name of the event tells only the first time.
    tried_in_vain = moment(invoice.get("next_payment_attempt")) and _is_count(invoice.get("attempt_count"), least=1)
    if INVOICE_STEPS.get(said.type) is InvoiceStatus.PAST_DUE or tried_in_vain or (due_at and due_at <= said.at):
        return InvoiceStatus.PAST_DUE
    return InvoiceStatus.PARTIALLY_PAID if _is_count(invoice.get("amount_paid"), least=1) else status


def _payments_of(invoice: Mapping[str, Any]) -> tuple[PaymentFact, ...]:
    """Return the links to the payments of an invoice, each once, with what the merchant wrote on the subscription."""
    groups = [payment_names(invoice)]  # before 2025-03-31
    groups += [payment_names(_payment_in(each)) for each in entries(invoice.get("payments"))]
    metadata = merchants_metadata(invoice)
    details = _subscription_details(invoice)
    plans = (_plan_of(line) for line in entries(invoice.get("lines")) if _is_of_subscription(line))
    words: dict[str, Any] = {"plan": next((plan for plan in plans if plan), None)}
    words |= said_for_an_app(metadata, mapping(details.get("metadata")))
    return tuple(
        PaymentFact(
            objects=names,
            reference=merchants_reference(metadata),
            customer_ref=id_of(invoice.get("customer")),
            email=text(invoice.get("customer_email")),
            subscription_ref=_subscription_of(invoice),
            invoice_ref=id_of(invoice),
            **words,
        )
        for names in _apart(groups)
    )


def _payment_in(invoice_payment: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what holds the names of a payment; previews of the API have them in the invoice payment itself."""
    return mapping(invoice_payment.get("payment")) or invoice_payment


def _apart(groups: list[tuple[ObjectName, ...]]) -> list[tuple[ObjectName, ...]]:
    """Return the names of each payment once: groups that share a name speak of the same one."""
    apart: list[tuple[ObjectName, ...]] = []
    for names in filter(None, groups):
        same = [each for each in apart if set(each) & set(names)]
        apart = [each for each in apart if each not in same]
        apart.append(tuple(dict.fromkeys(name for each in (*same, names) for name in each)))
    return apart


def _customer_of(said: Said) -> CustomerFact | None:
    invoice = said.object
    finalised_at = moment(mapping(invoice.get("status_transitions")).get("finalized_at"))
    if finalised_at and said.at - finalised_at > BELIEVED_FOR:
        return None
    told = (invoice.get(f"customer_{word}") for word in ("email", "name", "phone"))
    return customer_told(invoice.get("customer"), *told)


def _subscription_of(invoice: Mapping[str, Any]) -> str | None:
    return id_of(invoice.get("subscription")) or id_of(_subscription_details(invoice).get("subscription"))


def _subscription_details(invoice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what an invoice says of its subscription: in its parent, or in itself before 2025-03-31."""
    parent = mapping(invoice.get("parent"))
    return mapping(parent.get("subscription_details")) or mapping(invoice.get("subscription_details"))


def _period(invoice: Mapping[str, Any], lines: list[Mapping[str, Any]]) -> tuple[datetime | None, datetime | None]:
    """Return the period that is paid for: that of the subscription's lines.

    The invoice's own period is the one before, in which its items were added up.
    """
    periods = [mapping(line.get("period")) for line in lines if _is_of_subscription(line) and not _is_proration(line)]
    periods = periods or [{"start": invoice.get("period_start"), "end": invoice.get("period_end")}]
    starts, ends = ([at for each in periods if (at := moment(each.get(side)))] for side in ("start", "end"))
    return min(starts, default=None), max(ends, default=None)


def _line(line: Mapping[str, Any], currency: object) -> dict[str, Any]:
    quantity = line.get("quantity")
    product = text(mapping(mapping(line.get("price")).get("product")).get("name"))  # there only where it was asked for
    return {
        **({"product": product} if product else {}),
        "description": text(line.get("description")),
        "amount_minor": signed_minor_or_none(line.get("amount"), line.get("currency", currency)),
        "quantity": quantity if _is_count(quantity) else None,
        "plan": _plan_of(line),
    }


def _plan_of(line: Mapping[str, Any]) -> str | None:
    """Return the id of a line's price, wherever the version of the API has it."""
    price = mapping(mapping(line.get("pricing")).get("price_details")).get("price")
    return id_of(price) or id_of(line.get("price")) or id_of(line.get("plan"))


def _is_of_subscription(line: Mapping[str, Any]) -> bool:
    return line.get("type") == "subscription" or mapping(line.get("parent")).get("type") == "subscription_item_details"


def _is_proration(line: Mapping[str, Any]) -> bool:
    details = mapping(mapping(line.get("parent")).get("subscription_item_details"))
    return line.get("proration") is True or details.get("proration") is True


def _is_count(value: object, *, least: int = 0, most: int = MOST_MINOR) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

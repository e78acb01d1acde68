"""What MX Merchant's API answers about payments, invoices, customers and contracts, in our words.

A webhook only hints; what stands here is believed. The list of an invoice's payments shows the same fields as a payment
of its own, so both are read alike. Amounts are decimal numbers of major units, negative where money goes back.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from gatehouse.errors import FactRefused
from gatehouse.facts import (
    CustomerFact,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.gateways import Ask
from gatehouse.gateways.fields import (
    currency_code,
    first_moment,
    identifier_or_number,
    mapping,
    minor_of_major,
    minor_of_major_or_none,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.mx_merchant.translate import CURRENCY, GIVES_BACK, WORDS_OF_HINTS, without_sign

AUTHORIZATION = "Authorization"
MOST_INVOICES = 5  # of one payment
ADDRESS_WORDS = ("name", "address1", "address2", "city", "state", "zip", "country")

# Words of the API for where a payment stands. "Approved" is money taken, also before the batch is settled, where
# it was no mere authorisation; a void undoes a payment that was taken, and a returned one was taken back by a bank.
_PAYMENT_STEPS = {
    "approved": PaymentStatus.COMPLETED,
    "settled": PaymentStatus.COMPLETED,
    "captured": PaymentStatus.COMPLETED,
    "completed": PaymentStatus.COMPLETED,
    "partiallyrefunded": PaymentStatus.COMPLETED,
    "refunded": PaymentStatus.COMPLETED,
    "declined": PaymentStatus.FAILED,
    "failed": PaymentStatus.FAILED,
    "error": PaymentStatus.FAILED,
    "voided": PaymentStatus.REVERSED,
    "reversed": PaymentStatus.REVERSED,
    "returned": PaymentStatus.REVERSED,
    "pending": PaymentStatus.PROCESSING,
    "processing": PaymentStatus.PROCESSING,
}
_REFUND_STEPS = {
    PaymentStatus.COMPLETED: RefundStatus.COMPLETED,
    PaymentStatus.FAILED: RefundStatus.FAILED,
    PaymentStatus.REVERSED: RefundStatus.CANCELLED,
    PaymentStatus.PROCESSING: RefundStatus.PENDING,
}
_INVOICE_STATUSES = {
    "draft": InvoiceStatus.DRAFT,
    "unpaid": InvoiceStatus.OPEN,
    "open": InvoiceStatus.OPEN,
    "sent": InvoiceStatus.OPEN,
    "partiallypaid": InvoiceStatus.PARTIALLY_PAID,
    "partial": InvoiceStatus.PARTIALLY_PAID,
    "pastdue": InvoiceStatus.PAST_DUE,
    "overdue": InvoiceStatus.PAST_DUE,
    "void": InvoiceStatus.VOID,
    "voided": InvoiceStatus.VOID,
    "cancelled": InvoiceStatus.VOID,
    "canceled": InvoiceStatus.VOID,
    "paid": InvoiceStatus.PAID,
    "refunded": InvoiceStatus.REFUNDED,
}
_RETURNED = {"full": InvoiceStatus.REFUNDED, "partial": InvoiceStatus.PARTIALLY_REFUNDED}
_CONTRACT_STATUSES = {
    "active": SubscriptionStatus.ACTIVE,
    "pending": SubscriptionStatus.PENDING,
    "paused": SubscriptionStatus.PAUSED,
    "inactive": SubscriptionStatus.PAUSED,
    "suspended": SubscriptionStatus.PAUSED,
    "completed": SubscriptionStatus.EXPIRED,
    "expired": SubscriptionStatus.EXPIRED,
    "cancelled": SubscriptionStatus.CANCELLED,
    "canceled": SubscriptionStatus.CANCELLED,
    "deleted": SubscriptionStatus.CANCELLED,
}
_INTERVALS = {"daily": "day", "weekly": "week", "monthly": "month", "quarterly": "quarter", "yearly": "year"}

_Answer = Mapping[str, Any]


def is_of_merchant(answer: _Answer, merchant_id: str) -> bool:
    """Return whether an answer is about this merchant: credentials of a group of merchants open those of each."""
    return identifier_or_number(answer.get("merchantId")) == merchant_id


def payment_facts(payment: _Answer) -> tuple[Fact, ...]:
    """Return the facts of a payment of the API, which is a refund where its type is Return."""
    fact = _refund(payment) if payment.get("type") == GIVES_BACK else _payment(payment)
    return (fact, *_customer_of_payment(payment))


def asks_of_payment(payment: _Answer) -> tuple[Ask, ...]:
    """Return what a payment leads to: its invoices, and of a refund the payment that it gives back."""
    ids = payment.get("invoiceIds")
    listed = ids if isinstance(ids, list) else ()
    invoices = [found for each in listed[:MOST_INVOICES] if (found := identifier_or_number(each))]
    parent = identifier_or_number(payment.get("originalId")) if payment.get("type") == GIVES_BACK else None
    return (*(Ask("invoice", each) for each in invoices), *((Ask("payment", parent),) if parent else ()))


def confirms(payment: _Answer, event_says: str, event_amount_minor: int | None) -> bool:
    """Return whether the API says of a payment what an event has hinted: how it went, and its amount."""
    fact = payment_facts(payment)[0]
    if not isinstance(fact, (PaymentFact, RefundFact)):
        return False
    if event_amount_minor is not None and fact.amount_minor is not None:
        surcharge_minor = getattr(fact, "surcharge_minor", None) or 0
        if event_amount_minor not in (fact.amount_minor, fact.amount_minor - surcharge_minor):
            return False
    match event_says:
        case "paid":
            return isinstance(fact, PaymentFact) and fact.status in (
                *(PaymentStatus.PROCESSING, PaymentStatus.COMPLETED, PaymentStatus.REVERSED),
            )
        case "failed":
            return fact.status in (PaymentStatus.FAILED, RefundStatus.FAILED)
        case "refunded":
            return isinstance(fact, RefundFact) and fact.status in (RefundStatus.COMPLETED, RefundStatus.CANCELLED)
    raise FactRefused(f"an event hints at one of {', '.join(WORDS_OF_HINTS.values())}")


def invoice_facts(invoice: _Answer, merchant_id: str) -> tuple[Fact, ...]:
    """Return the facts of an invoice of the API: itself, its customer, and the payments that it lists."""
    own = [each for each in _things(invoice.get("payments")) if is_of_merchant(each, merchant_id)]
    paid = list({identifier_or_number(each.get("id")): each for each in own}.values())  # each once, whatever is listed
    fact = _invoice(invoice, paid)
    facts: list[Fact] = [fact]
    for each in paid:
        of_it = payment_facts(each)[0]
        if isinstance(of_it, PaymentFact):
            of_it = of_it._replace(invoice_ref=fact.objects[0].id, invoice_number=of_it.invoice_number or fact.number)
        facts.append(of_it)
    if fact.customer_ref and fact.customer_name:
        facts.append(CustomerFact((ObjectName("customer", fact.customer_ref),), name=fact.customer_name))
    return tuple(facts)


def customer_facts(customer: _Answer) -> tuple[Fact, ...]:
    """Return the facts of a customer of the API; it is known by its id, and by the code that its payments say."""
    names = object_names(("customer", customer.get("id")))
    parts = (_trimmed(customer.get(word)) for word in ("firstName", "lastName"))
    name = _trimmed(customer.get("name")) or text(" ".join(each for each in parts if each))
    email = _trimmed(customer.get("email")) or _trimmed(customer.get("email1"))
    phone = _trimmed(customer.get("phone")) or _trimmed(customer.get("phone1"))
    known = [CustomerFact(names, email=email, name=name, phone=phone)]
    code = identifier_or_number(customer.get("number")) or identifier_or_number(customer.get("customerCode"))
    if code and code != names[0].id:
        known.append(CustomerFact((ObjectName("customer", code),), email=email, name=name, phone=phone))
    return tuple(known)


def contract_facts(contract: _Answer) -> tuple[Fact, ...]:
    """Return the fact of a contract, which bills again and again."""
    currency = currency_code(contract.get("currencyCode")) or CURRENCY
    status = _CONTRACT_STATUSES.get(_word(contract.get("status")))
    if status is SubscriptionStatus.ACTIVE and contract.get("hasDeclinedPayment") is True:
        status = SubscriptionStatus.PAST_DUE
    return (
        SubscriptionFact(
            objects=object_names(("contract", contract.get("id")), ("subscription", contract.get("subscriptionId"))),
            status=status,
            plan_name=_trimmed(contract.get("name")),
            amount_minor=minor_of_major_or_none(contract.get("amount"), currency),
            currency=currency,
            interval=_interval(contract),
            customer_ref=identifier_or_number(contract.get("customerId")),
            started_at=first_moment(contract, "startDate"),
            next_payment_at=first_moment(contract, "nextBillDate"),
            metadata=plain_metadata({"customerName": contract.get("customerName")}),
        ),
    )


def payment_amount_minor(payment: _Answer) -> int:
    """Return the amount of a payment of the API without its sign; raise FactRefused where it says none."""
    return minor_of_major(without_sign(payment.get("amount")), _currency(payment))


def refunded_minor(payment: _Answer) -> int | None:
    """Return what went back of a payment, where the API says it."""
    return minor_of_major_or_none(without_sign(payment.get("refundedAmount")), _currency(payment))


def is_voided(payment: _Answer) -> bool:
    """Return whether a payment was undone before it was settled."""
    return _word(payment.get("status")) == "voided"


def is_settled(payment: _Answer) -> bool:
    """Return whether the money of a payment has moved: its batch is closed, and what is given back is a new payment."""
    settled = minor_of_major_or_none(payment.get("settledAmount"), _currency(payment))
    return _word(payment.get("status")) == "settled" or bool(settled) or bool(payment.get("settledDate"))


def void_facts(payment: _Answer, named: ObjectName) -> tuple[Fact, ...]:
    """Return the facts of a payment that was voided: no refund was made of it, and it is reversed."""
    refund = RefundFact(
        objects=(ObjectName("void", named.id),),
        payment=(named,),
        status=RefundStatus.CANCELLED,
        amount_minor=payment_amount_minor(payment),
        currency=_currency(payment),
        metadata={"undone_by": "void"},
    )
    return (refund, *payment_facts(payment))


def _payment(payment: _Answer) -> PaymentFact:
    amount_minor = payment_amount_minor(payment)
    status = _step(payment)
    has_failed = status is PaymentStatus.FAILED
    invoice_ids = payment.get("invoiceIds")
    return PaymentFact(
        objects=object_names(("payment", payment.get("id"))),
        status=status,
        amount_minor=amount_minor,
        received_minor=amount_minor if status is PaymentStatus.COMPLETED else None,
        refunded_minor=refunded_minor(payment),
        currency=_currency(payment),
        method=_lower(payment.get("tenderType")),
        reference=identifier_or_number(payment.get("clientReference")) or identifier_or_number(payment.get("invoice")),
        customer_ref=identifier_or_number(payment.get("customerCode")),
        invoice_ref=identifier_or_number(invoice_ids[0]) if isinstance(invoice_ids, list) and invoice_ids else None,
        invoice_number=identifier_or_number(payment.get("invoice")),
        source=_trimmed(payment.get("source")),
        surcharge_minor=minor_of_major_or_none(payment.get("surchargeAmount"), _currency(payment)),
        failure_code=identifier_or_number(payment.get("responseCode")) if has_failed else None,
        failure_message=_trimmed(payment.get("authMessage")) if has_failed else None,
        status_reason=_word(payment.get("status")) if status is PaymentStatus.REVERSED else None,
        completed_at=first_moment(payment, "created") if status is PaymentStatus.COMPLETED else None,
    )


def _refund(payment: _Answer) -> RefundFact:
    parent = identifier_or_number(payment.get("originalId"))
    status = _step(payment)
    has_failed = status is PaymentStatus.FAILED
    return RefundFact(
        objects=object_names(("refund", payment.get("id"))),
        payment=(ObjectName("payment", parent),) if parent else (),
        status=_REFUND_STEPS[status] if status else None,
        amount_minor=payment_amount_minor(payment),
        currency=_currency(payment),
        failure_code=identifier_or_number(payment.get("responseCode")) if has_failed else None,
        failure_message=_trimmed(payment.get("authMessage")) if has_failed else None,
        reference=identifier_or_number(payment.get("invoice")),
        refunded_at=first_moment(payment, "created"),
        metadata=plain_metadata({word: payment.get(word) for word in ("source", "replayId")}),
    )


def _step(payment: _Answer) -> PaymentStatus | None:
    """Return the step of a payment; None for a word that we do not know: then what is known of it stands."""
    status = _PAYMENT_STEPS.get(_word(payment.get("status")))
    only_held = payment.get("authOnly") is True or payment.get("type") == AUTHORIZATION
    return PaymentStatus.PROCESSING if only_held and status is PaymentStatus.COMPLETED else status


def _invoice(invoice: _Answer, paid: list[_Answer]) -> InvoiceFact:
    currency = next((_currency(each) for each in paid), CURRENCY)
    customer = mapping(invoice.get("customer"))
    paid_minor = minor_of_major_or_none(invoice.get("paidAmount"), currency)
    due_minor = minor_of_major_or_none(invoice.get("balance"), currency)
    status = _invoice_status(invoice, paid_minor, due_minor)
    is_paid = status in (InvoiceStatus.PAID, InvoiceStatus.PARTIALLY_REFUNDED, InvoiceStatus.REFUNDED)
    times = [at for each in paid if (at := first_moment(each, "created")) and not each.get("originalId")]
    return InvoiceFact(
        objects=object_names(("invoice", invoice.get("id"))),
        status=status,
        number=identifier_or_number(invoice.get("invoiceNumber")),
        total_minor=minor_of_major_or_none(invoice.get("totalAmount"), currency),
        due_minor=due_minor,
        paid_minor=paid_minor,
        currency=currency,
        customer_ref=identifier_or_number(customer.get("id")),
        customer_name=_trimmed(customer.get("name")),
        billing_address=_address(invoice.get("billingAddress")),
        issued_at=first_moment(invoice, "invoiceDate", "created"),
        due_at=first_moment(invoice, "dueDate"),
        paid_at=_latest(times) if is_paid else None,
        description=_trimmed(invoice.get("memo")),
        lines=tuple(_line(each, currency) for each in _things(invoice.get("purchases"))) or None,
        metadata=plain_metadata({word: invoice.get(word) for word in ("sourceType", "receiptNumber", "type")}),
    )


def _invoice_status(invoice: _Answer, paid_minor: int | None, due_minor: int | None) -> InvoiceStatus | None:
    status = _INVOICE_STATUSES.get(_word(invoice.get("status")))
    if status is InvoiceStatus.PAID:
        return _RETURNED.get(_word(invoice.get("returnStatus")), status)
    if status in (InvoiceStatus.OPEN, InvoiceStatus.PAST_DUE) and paid_minor and due_minor:
        return InvoiceStatus.PARTIALLY_PAID
    return status


def _line(purchase: _Answer, currency: str) -> dict[str, Any]:
    quantity = purchase.get("quantity")
    said = {
        "product": _trimmed(purchase.get("productName")),
        "description": _trimmed(purchase.get("description")),
        "amount_minor": minor_of_major_or_none(without_sign(purchase.get("totalAmount")), currency),
        "quantity": str(quantity) if isinstance(quantity, Decimal) else quantity if isinstance(quantity, int) else None,
        "plan": identifier_or_number(purchase.get("productId")),
    }
    return {word: value for word, value in said.items() if value is not None}


def _address(said: object) -> dict[str, str] | None:
    address = mapping(said)
    found = {word: value for word in ADDRESS_WORDS if (value := _trimmed(address.get(word)))}
    return found or None


def _customer_of_payment(payment: _Answer) -> tuple[CustomerFact, ...]:
    code, name = identifier_or_number(payment.get("customerCode")), _trimmed(payment.get("customerName"))
    return (CustomerFact((ObjectName("customer", code),), name=name),) if code and name else ()


def _interval(contract: _Answer) -> str | None:
    """Return how often a contract bills: Monthly, every 3 is "3 month"."""
    said = _word(contract.get("interval"))
    unit = _INTERVALS.get(said, said if said in _INTERVALS.values() else None)
    every = contract.get("every")
    return f"{every} {unit}" if unit and isinstance(every, int) and 1 < every < 1000 else unit


def _currency(payment: _Answer) -> str:
    return currency_code(payment.get("currency")) or CURRENCY


def _things(said: object) -> list[_Answer]:
    return [each for each in said if isinstance(each, dict)] if isinstance(said, list) else []


def _latest(times: list[datetime]) -> datetime | None:
    return max(times, default=None)


def _word(said: object) -> str:
    return "".join(filter(str.isalnum, said.lower())) if isinstance(said, str) else ""


def _lower(said: object) -> str | None:
    found = text(said)
    return found.lower() if found else None


def _trimmed(sentence: object) -> str | None:
    return text(sentence.strip()) if isinstance(sentence, str) else None

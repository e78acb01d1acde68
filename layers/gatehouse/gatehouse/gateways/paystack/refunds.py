"""Paystack's refunds, which have two names: events know a `refund_reference`, the API a number.

`refund.pending` and `refund.processing` have neither: they tell that there is a refund, and the API is asked for it.
The API's list (https://paystack.com/docs/api/refund/#list) shows the number alone, so it must be told which of its
refunds an event spoke of. Where that is in doubt, a refund is rather left out than counted twice: the list's sum, which
the payment gets as `refunded_minor`, counts it all the same.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatehouse.facts import Fact, ObjectName, PaymentFact, RefundFact, RefundStatus
from gatehouse.gateways.fields import currency_code, first_moment, identifier_or_number, mapping, object_names, text
from gatehouse.gateways.paystack.amounts import iso_minor, minor_or_none
from gatehouse.gateways.paystack.payments import payment_names
from gatehouse.gateways.paystack.times import TIMES_OF_BIRTH

STATUSES = {
    "pending": RefundStatus.PENDING,
    "processing": RefundStatus.PENDING,
    "needs-attention": RefundStatus.PENDING,  # Paystack waits for the customer's bank account
    "processed": RefundStatus.COMPLETED,
    "failed": RefundStatus.FAILED,
}
LADDER = tuple(RefundStatus)
OUR_NOTE = "gatehouse_refund"  # how the note of a refund begins that we made


class Hint(NamedTuple):
    """What the event for which the API is asked says of one of the transaction's refunds."""

    reference: str | None = None
    amount_minor: int | None = None
    status: RefundStatus | None = None


class ListedRefunds(NamedTuple):
    """What the API's list of one transaction's refunds tells."""

    facts: tuple[RefundFact, ...]  # those that cannot be counted twice
    refunded_minor: int  # by all that are completed
    is_any_under_way: bool  # or completed


def refund_facts(refund: Mapping[str, Any], *, named: RefundStatus) -> tuple[Fact, ...]:
    """Return the fact of a refund that an event names; of one without a name, only that its payment is spoken of."""
    if names_of_refund(refund):
        return (refund_fact(refund, named=named),)
    return (PaymentFact(objects=object_names(("reference", _transaction_reference(refund)))),)


def refund_fact(
    refund: Mapping[str, Any], *, named: RefundStatus = RefundStatus.PENDING, payment: tuple[ObjectName, ...] = ()
) -> RefundFact:
    """Return the fact of a refund of an event or of the API; raise FactRefused for one that makes no sense."""
    status = _status(refund, named)
    currency = refund.get("currency")
    count = iso_minor if status is RefundStatus.COMPLETED else minor_or_none
    return RefundFact(
        objects=object_names(*_names_said(refund)),
        payment=payment or payment_of_refund(refund),
        status=status,
        amount_minor=count(refund.get("amount"), currency),
        currency=currency_code(currency),
        reason=text(refund.get("customer_note")),  # the merchant's note ends in the e-mail of who refunded
        refunded_at=first_moment(refund, *TIMES_OF_BIRTH, "refunded_at"),
    )


def made_refund_fact(refund: Mapping[str, Any]) -> RefundFact:
    """Return the fact of a refund that the API made or lists, under its number; the key that we wrote into its note.

    Under its number alone it never counts as completed: its event says that under its reference, and would count it
    again until the API is asked which of its refunds that was.
    """
    fact = refund_fact(refund)
    if fact.status is RefundStatus.COMPLETED and identifier_or_number(refund.get("refund_reference")) is None:
        fact = fact._replace(status=RefundStatus.PENDING)
    before, ours, key = str(refund.get("merchant_note")).partition(f"{OUR_NOTE} ")
    return fact._replace(metadata={OUR_NOTE: key.strip()}) if ours and not before else fact


def names_of_refund(refund: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    """Return every name that an event or the API gives a refund, or none."""
    return tuple(ObjectName(kind, name) for kind, value in _names_said(refund) if (name := identifier_or_number(value)))


def payment_of_refund(refund: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    """Return the names of the transaction that a refund gives back."""
    transaction = refund.get("transaction")  # a number in the API's answers, an object where a refund was just made
    transaction_id = mapping(transaction).get("id") if isinstance(transaction, dict) else transaction
    return payment_names(transaction_id, _transaction_reference(refund))


def hint_of(refund: Mapping[str, Any], *, named: RefundStatus) -> Hint:
    """Return what an event says of a refund, for the API's list to be compared with."""
    return Hint(
        identifier_or_number(refund.get("refund_reference")),
        minor_or_none(refund.get("amount"), refund.get("currency")),
        _status(refund, named),
    )


def listed_refunds(items: Sequence[Mapping[str, Any]], payment: tuple[ObjectName, ...], hint: Hint) -> ListedRefunds:
    """Return what the API's list of a transaction's refunds tells, without counting one twice.

    Events have recorded, or will record, a refund under its reference. So a refund of the list
    - that shows a reference has both names;
    - has the hint's reference, if its bank's reference is that one; or else if it is the only one of its amount and not
      at an earlier step than the event, for the list is the later of the two;
    - that has no reference is told under its number alone while it counts as nothing (it is pending or has failed) and
      is the only one of its amount, so that a reference that comes for it will find it; but not when it may be the one
      that the event spoke of;
    - that is completed is told under its number alone only when the event called it completed and had no reference.
    All others are left to the sum.
    """
    facts = [refund_fact(item, payment=payment) for item in items]
    shown = [identifier_or_number(item.get("refund_reference")) for item in items]
    nameless = Counter(fact.amount_minor for fact, reference in zip(facts, shown, strict=True) if reference is None)
    hinted = _place_of_hinted(items, facts, hint)
    told = []
    for place, (fact, reference) in enumerate(zip(facts, shown, strict=True)):
        is_alone = fact.amount_minor is not None and nameless[fact.amount_minor] == 1
        if reference is not None:
            told.append(fact)
        elif place == hinted:
            told.append(fact._replace(objects=(*fact.objects, ObjectName("refund_reference", str(hint.reference)))))
        elif is_alone and _may_stand_alone(fact, hint, is_found=hinted is not None):
            told.append(fact)
    return ListedRefunds(
        tuple(told),
        refunded_minor=sum(fact.amount_minor or 0 for fact in facts if fact.status is RefundStatus.COMPLETED),
        is_any_under_way=any(fact.status is not RefundStatus.FAILED for fact in facts),
    )


def _place_of_hinted(items: Sequence[Mapping[str, Any]], facts: Sequence[RefundFact], hint: Hint) -> int | None:
    """Return the place in the list of the refund that the event gave a reference; None where that is in doubt."""
    if hint.reference is None:
        return None
    for name in ("refund_reference", "bank_reference"):
        for place, item in enumerate(items):
            if identifier_or_number(item.get(name)) == hint.reference:
                return place
    same = [
        place
        for place, (item, fact) in enumerate(zip(items, facts, strict=True))
        if not item.get("refund_reference") and fact.amount_minor is not None and fact.amount_minor == hint.amount_minor
    ]
    return same[0] if len(same) == 1 and _step(facts[same[0]].status) >= _step(hint.status) else None


def _may_stand_alone(fact: RefundFact, hint: Hint, *, is_found: bool) -> bool:
    """Return whether a refund without a reference, the only one of its amount, can be told by its number."""
    is_of_hint = fact.amount_minor == hint.amount_minor and not is_found
    if fact.status is RefundStatus.COMPLETED:
        return is_of_hint and hint.reference is None and hint.status is RefundStatus.COMPLETED
    return not (is_of_hint and hint.reference)


def _step(status: RefundStatus | None) -> int:
    return LADDER.index(status) if status else 0


def _status(refund: Mapping[str, Any], named: RefundStatus) -> RefundStatus:
    """Return the step of a refund; a word that we do not know is not final."""
    word = text(refund.get("status"))
    return STATUSES.get(word, RefundStatus.PENDING) if word else named


def _names_said(refund: Mapping[str, Any]) -> tuple[tuple[str, object], ...]:
    return ("refund", refund.get("id")), ("refund_reference", refund.get("refund_reference"))


def _transaction_reference(refund: Mapping[str, Any]) -> object:
    return refund.get("transaction_reference") or mapping(refund.get("transaction")).get("reference")

"""What is the same in all of Stripe's objects: ids, times, lists, names of payments, what the merchant wrote."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gatehouse.errors import FactRefused
from gatehouse.facts import ObjectName
from gatehouse.gateways.fields import identifier, mapping, said_for_an_app, text
from gatehouse.gateways.stripe.amounts import signed_minor_or_none

MOST_TIME = 253_402_300_799  # the last second of the year 9999

# Keys of `metadata` that shops use for the number of their own order; anything else may mean anything.
REFERENCE_KEYS = ("order_id", "order_number", "order_reference", "reference")


class Said(NamedTuple):
    """What Stripe says of one object: in an event, or in the answer to a question, which has no event's name."""

    object: Mapping[str, Any]
    at: datetime
    type: str = ""
    api_version: str = ""


def required_id(stripe_object: Mapping[str, Any]) -> str:
    """Return the id of the object that an event is about; raise FactRefused where it has none."""
    if (found := identifier(stripe_object.get("id"))) is None:
        raise FactRefused("the object has no id")
    return found


def id_of(reference: object) -> str | None:
    """Return the id of an object that is given by its id, or whole ("expanded")."""
    return identifier(reference.get("id")) if isinstance(reference, dict) else identifier(reference)


def named(kind: str, reference: object) -> tuple[ObjectName, ...]:
    """Return the name of an object that is given by its id or whole; nothing where it is not given."""
    found = id_of(reference)
    return (ObjectName(kind, found),) if found else ()


def payment_names(holder: Mapping[str, Any]) -> tuple[ObjectName, ...]:
    """Return the names of the payment that an object belongs to."""
    return named("payment_intent", holder.get("payment_intent")) + named("charge", holder.get("charge"))


def entries(value: object) -> Iterator[Mapping[str, Any]]:
    """Give the objects of a list of Stripe's, {"data": […]}, or of a bare one, as it was written before 2014."""
    data = value.get("data") if isinstance(value, dict) else value
    yield from (each for each in (data if isinstance(data, list) else ()) if isinstance(each, dict))


def is_time(value: object) -> bool:
    """Return whether a value is a time as Stripe writes it: whole seconds since 1970."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_TIME


def moment(value: object) -> datetime | None:
    """Return a time of Stripe's in UTC."""
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int) and is_time(value) else None


def merchants_metadata(stripe_object: Mapping[str, Any]) -> dict[str, str] | None:
    """Return what the merchant wrote on an object; Stripe lets it write texts only."""
    return {
        key: said for key, said in mapping(stripe_object.get("metadata")).items() if isinstance(said, str)
    } or None  # an object without metadata says nothing against that of another fact


def merchants_reference(metadata: Mapping[str, str] | None) -> str | None:
    """Return the merchant's own reference, where the metadata has one under a usual name."""
    return next((found for key in REFERENCE_KEYS if (found := text((metadata or {}).get(key)))), None)


def app_and_user(*metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return which of the merchant's apps an object belongs to, and which of its users."""
    said = said_for_an_app(*metadata)
    return {"app": said.get("app"), "user_id": said.get("user_id")}


def fee_in(transactions: Iterable[Mapping[str, Any]], currency: object) -> int | None:
    """Return the fees of balance transactions together, where all are in this currency; what is given back is negative.

    An event gives most balance transactions by their id alone, which says nothing of a fee.
    """
    fees = [
        signed_minor_or_none(each.get("fee"), currency) if each.get("currency") == currency else None
        for each in transactions
    ]
    known = [fee for fee in fees if fee is not None]
    return sum(known) if known and len(known) == len(fees) else None

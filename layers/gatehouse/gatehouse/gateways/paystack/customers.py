"""Who pays. A customer stands inside most of Paystack's objects, whole or in part."""

from collections.abc import Mapping
from typing import Any

from gatehouse.facts import CustomerFact, ObjectName
from gatehouse.gateways.fields import identifier, mapping, plain_metadata, said_for_an_app, text


def customer_facts(holder: Mapping[str, Any]) -> tuple[CustomerFact, ...]:
    """Return the fact of the customer in an object, if it names one and says anything of it."""
    return facts_of_customer(mapping(holder.get("customer")))


def facts_of_customer(customer: Mapping[str, Any]) -> tuple[CustomerFact, ...]:
    """Return the fact of a customer, if it has an id and says anything besides."""
    code = identifier(customer.get("customer_code"))
    said = {
        "email": text(customer.get("email")),
        "name": _name(customer),
        "phone": text(customer.get("phone")) or text(customer.get("international_format_phone")),
        "metadata": plain_metadata(customer.get("metadata")),
        **app_of_customer(customer),
    }
    if code is None or not any(said.values()):
        return ()
    return (CustomerFact(objects=(ObjectName("customer", code),), **said),)


def customer_ref(holder: Mapping[str, Any]) -> str | None:
    """Return the id of the customer in an object; a payment request may give another one, a number."""
    return identifier(mapping(holder.get("customer")).get("customer_code"))


def payer(holder: Mapping[str, Any]) -> dict[str, Any]:
    """Return the customer in an object, as other facts name it."""
    customer = mapping(holder.get("customer"))
    return {"customer_ref": customer_ref(holder), "email": text(customer.get("email"))}


def app_of_customer(customer: Mapping[str, Any]) -> dict[str, Any]:
    """Return app and user as the customer's metadata say; a plan there is not that of one payment."""
    said = said_for_an_app(plain_metadata(customer.get("metadata")))
    return {word: value for word, value in said.items() if word != "plan"}


def _name(customer: Mapping[str, Any]) -> str | None:
    parts = (text(customer.get(part)) for part in ("first_name", "last_name"))
    return text(" ".join(part.strip() for part in parts if part).strip())

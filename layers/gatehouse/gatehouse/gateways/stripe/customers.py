"""Stripe's customers."""

from gatehouse.facts import CustomerFact, Fact
from gatehouse.gateways.fields import text
from gatehouse.gateways.stripe.shapes import Said, app_and_user, merchants_metadata, named, required_id

CUSTOMER_EVENTS = ("customer.created", "customer.deleted", "customer.updated")


def customer_facts(said: Said) -> tuple[Fact, ...]:
    """Return what a customer's own object says."""
    customer = said.object
    required_id(customer)
    is_gone = said.type == "customer.deleted" or customer.get("deleted") is True
    metadata = merchants_metadata(customer)
    return (
        CustomerFact(
            objects=named("customer", customer),
            email=text(customer.get("email")),
            name=text(customer.get("name")),
            phone=text(customer.get("phone")),
            **app_and_user(metadata),
            is_deleted=True if is_gone else None,  # what came before says nothing against it
            metadata=metadata,
        ),
    )


def customer_told(customer: object, email: object, name: object, phone: object) -> CustomerFact | None:
    """Return what another object says of its customer; None where the customer has no id, or nothing is said."""
    names = named("customer", customer)
    fact = CustomerFact(objects=names, email=text(email), name=text(name), phone=text(phone))
    return fact if names and (fact.email or fact.name or fact.phone) else None

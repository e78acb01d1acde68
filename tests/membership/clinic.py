"""What the tests of memberships tell again and again: payments, invoices and people of a clinic."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.facts import (
    CustomerFact,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.intake.record import Delivery, record
from gatehouse.sealing import Keyring
from tests.support.gatehouse_database import GatehouseDatabase

CLINIC = GatewayAccount("mx_merchant", "default", "default", "both")
ACME = GatewayAccount("mx_merchant", "acme", "acme", "both")
BEGIN = datetime(2026, 1, 5, 15, tzinfo=UTC)
ARRIVED = datetime(2026, 11, 1, tzinfo=UTC)
STATUS = {"failed": PaymentStatus.FAILED, "reversed": PaymentStatus.REVERSED, "processing": PaymentStatus.PROCESSING}
# What the database knows of a membership by payments alone; numbers and times of our own are left out.
BY_PAYMENTS = (
    "customer_ref, livemode, category, name, email, product_name, status, started_at::text, last_payment_at::text,"
    " next_expected_at::text, renews_every, amount_minor::int, currency, payment_count"
)


def day(number: int) -> datetime:
    """Return a moment so many days after the first."""
    return BEGIN + timedelta(days=number)


def paid(name: str, patient: str | None, on: int, status: str = "completed", **words: Any) -> tuple[Fact, datetime]:
    """Return a recurring payment of 205.96 with a surcharge of 6.96, and when it was made."""
    came_in = status == "completed"
    fact = PaymentFact(
        (ObjectName("payment", name),),
        **{
            "status": STATUS.get(status, PaymentStatus.COMPLETED),
            "amount_minor": 20596,
            "received_minor": 20596 if came_in or status == "reversed" else None,
            "surcharge_minor": 696,
            "currency": "USD",
            "customer_ref": patient,
            "source": "Recurring",
            "completed_at": day(on) if came_in else None,
            **words,
        },
    )
    return fact, day(on)


def invoiced(name: str, *products: str, on: int = 0, **words: Any) -> tuple[Fact, datetime]:
    """Return an invoice for some products, and when it was made."""
    lines = [{"product": product, "amount_minor": 19900} for product in products]
    words = {"lines": lines, **words}
    return InvoiceFact((ObjectName("invoice", name),), status=InvoiceStatus.PAID, **words), day(on)


def person(code: str, name: str, **words: Any) -> tuple[Fact, datetime]:
    """Return what is said of a patient."""
    return CustomerFact((ObjectName("customer", code),), name=name, **words), day(0)


def subscribed(name: str, status: SubscriptionStatus, on: int = 0, **words: Any) -> tuple[Fact, datetime]:
    """Return what is said of a contract, and when."""
    return SubscriptionFact((ObjectName("subscription", name),), status=status, **words), day(on)


def tell(
    intake: Database, keyring: Keyring, *told: tuple[Fact, datetime], account: GatewayAccount = CLINIC, mark: str = ""
) -> None:
    """Record each fact as an event of its own, in this order."""
    for place, (fact, at) in enumerate(told):
        name = f"{mark}{type(fact).__name__}/{fact.objects[0].id}/{at.isoformat()}/{place if not mark else ''}"
        record(intake, Delivery(account, Event(name, "test", at, True, (fact,)), b"{}", ARRIVED), keyring)


def rows(database: GatehouseDatabase, where: str = "true") -> list[dict[str, Any]]:
    """Return memberships by patient and category, as far as payments say them."""
    names = [part.split("::")[0].strip() for part in BY_PAYMENTS.split(",")]
    found = database.sql(
        f"select {BY_PAYMENTS} from memberships where {where} order by customer_ref, category, livemode"
    )
    return [dict(zip(names, row, strict=True)) for row in found]


def short(database: GatehouseDatabase) -> list[tuple[str, str, str]]:
    """Return patient, category and status of each membership."""
    return [(row["customer_ref"], row["category"], row["status"]) for row in rows(database)]


def categories(database: GatehouseDatabase) -> dict[str, tuple[str | None, str | None]]:
    """Return product and category of each payment, by the gateway's name of it."""
    found = database.sql(
        "select o.object_id, p.product_name, p.product_category from payment_objects o"
        " join payments p on p.id = o.payment_id order by o.object_id"
    )
    return {name: (product, category) for name, product, category in found}


def known(database: GatehouseDatabase, products: dict[str, str], merchant: str = "default") -> None:
    """Put reviewed products into a merchant's list."""
    values: Sequence[str] = [
        f"('{merchant}', '{name}', '{category}', 'x', now())" for name, category in products.items()
    ]
    database.sql(
        "insert into product_categories (merchant, product_name, category, reviewed_by, reviewed_at) values "
        + ", ".join(values)
    )

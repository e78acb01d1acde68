"""Something of everything for the merchant `default`, so that pages have something to show."""

from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase


def paint(database: GatehouseDatabase) -> None:
    """Write rows that all pages show; payment 1 has a refund and a dispute, 2 has failed."""
    put(database, "payments", 1, reference="order-1", email="ada@example.com", refunded_minor=100)
    put(database, "payments", 2, status="failed", failure_code="card_declined", failure_message="Insufficient funds")
    put(database, "refunds", 1, payment_id=1, currency="EUR")
    put(database, "disputes", 1, payment_id=1)
    put(database, "subscriptions", 1)
    put(database, "invoices", 1)
    put(database, "payouts", 1)

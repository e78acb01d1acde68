"""What the tests of the backup do again and again."""

from typing import Any

from gatehouse.backup.compare import compare_all
from gatehouse.backup.writer import Drained, drain
from gatehouse.database.connection import Database
from gatehouse.facts import DisputeFact, DisputeStatus, Fact, ObjectName
from gatehouse.intake.record import record
from gatehouse.models.orders import create_order
from gatehouse.sealing import Keyring
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, paid, refunded, told
from tests.support.gatehouse_database import GatehouseDatabase

SEED_QUERY = """
    SELECT gateway_provider, COUNT(*) as total_transactions, SUM(amount) as total_amount,
        AVG(processing_time_seconds) as avg_processing_time
    FROM payment_services_summary
    WHERE created_at >= NOW() - INTERVAL '30 days'
    GROUP BY gateway_provider
"""


def tell(intake: Database, keyring: Keyring, event: str, *facts: Fact, second: int = 0) -> None:
    """Record one event with these facts."""
    assert record(intake, told(event, *facts, second=second), keyring).status == "applied"


def tell_a_long_story(intake: Database, api: Database, keyring: Keyring) -> None:
    """Record what payments go through: one of an order, refunded in part and disputed; one joined; one that failed."""
    create_order(api, DEFAULT, FESTIVAL._replace(reference="order-1"), JOHN, PASSES, idempotency_key="o1")
    tell(intake, keyring, "e1", paid("pi_1", metadata={"order_id": "order-1"}, email="john.doe@example.com"), second=1)
    tell(intake, keyring, "e2", refunded("re_1", "pi_1", TOTAL // 2), second=2)
    tell(intake, keyring, "e3", disputed("dp_1", "pi_1"), second=3)
    tell(intake, keyring, "e4", paid("pi_2", 1234), second=4)
    tell(intake, keyring, "e5", paid("pi_3", 77), second=5)
    charge = ObjectName("charge", "ch_2")
    tell(intake, keyring, "e6", paid("pi_3", 77, also=(charge,)), second=6)


def disputed(name: str, payment: str) -> DisputeFact:
    """Return the fact of a dispute about a payment."""
    return DisputeFact(
        (ObjectName("dispute", name),),
        payment=(ObjectName("payment_intent", payment),),
        status=DisputeStatus.NEEDS_RESPONSE,
        amount_minor=TOTAL,
        currency="USD",
    )


def drained(primary: Database, backup: Database, keyring: Keyring) -> Drained:
    """Bring over all that is due."""
    return drain(primary, backup, keyring, seconds=20)


def nothing_differs(primary: Database, backup: Database) -> bool:
    """Tell whether both databases hold the same, by content."""
    return compare_all(primary, backup, seconds_to_settle=0) == []


def row(database: GatehouseDatabase, payment: int = 1) -> dict[str, Any]:
    """Return a payment of the backup as a dict."""
    (found,) = database.sql(f"select to_jsonb(p) from payment_services p where id = {payment}")
    assert isinstance(found[0], dict)
    return found[0]

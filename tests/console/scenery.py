"""Something of everything for the merchant `default`, so that pages have something to show."""

from gatehouse.models.customers import NewCustomer
from gatehouse.models.orders import NewItem, NewOrder, Order, create_order
from tests.console.clinic_scenery import paint_clinic_and_apps
from tests.http_api.records import insert, put
from tests.support.gatehouse_database import GatehouseDatabase

EVENT = 1
CUSTOMER = 1


def paint(database: GatehouseDatabase) -> Order:
    """Write rows that all pages show; payment 1 has a refund, a dispute, an event and a job, 2 has failed."""
    put(database, "payments", 1, reference="order-1", email="ada@example.com", refunded_minor=100)
    put(database, "payments", 2, status="failed", failure_code="card_declined", failure_message="Insufficient funds")
    put(database, "refunds", 1, payment_id=1, currency="EUR")
    refused = {"state": "failed", "failure": "The gateway said: the card was closed meanwhile", "reason": "was ill"}
    asked = {"merchant": "default", "payment_id": 1, "gateway": "stripe", "account": "default", "job_id": 1}
    insert(database, "refund_requests", {**asked, **refused, "amount_minor": 500, "currency": "EUR", "actor": "key 1"})
    put(database, "disputes", 1, payment_id=1)
    put(database, "subscriptions", 1)
    put(database, "invoices", 1)
    put(database, "payouts", 1)
    database.sql(
        "insert into webhook_events (id, gateway, account, event_id, merchant, type, livemode, received_at, status,"
        " reference) overriding system value values (1, 'stripe', 'default', 'evt_1', 'default', 'charge.succeeded',"
        " true, '2026-11-20T10:01:00Z', 'applied', 'order-1')"
    )
    common = {"merchant": "default", "webhook_event_id": EVENT}
    words = {
        "amount_minor": 4620,
        "received_minor": 4620,
        "currency": "EUR",
        "email": "ada@example.com",
        "status": "completed",
    }
    fact = {"kind": "payment", "subject_id": 1, "gateway": "stripe", "account": "default", "said_by": "evt_1"}
    insert(database, "facts", {**common, **fact, "received_at": "2026-11-20T10:01:00Z", "rank": 5, "words": words})
    insert(database, "jobs", {**common, "topic": "forward", "business_key": "1", "status": "done"})
    api = database.connect("api")
    try:
        made = create_order(
            api,
            "default",
            NewOrder("EUR", event_id="fest", event_name="The festival"),
            NewCustomer("ada@example.com", "Ada", "Lovelace"),
            [NewItem("full_festival", 4620, attendee_name="Ada Lovelace", attendee_email="ada@example.com")],
            actor="a shop",
        )
    finally:
        api.close()
    database.sql(f"update payments set customer_id = {CUSTOMER}, order_id = {made.order.id} where id = 1")
    database.sql(
        "update payments set method = 'card' where id = 1 and set_config('gatehouse.event', '1', true) is not null"
    )
    paint_clinic_and_apps(database)
    return made.order

"""Patients, products, apps and deliveries of the merchant `default`, so that their pages have something to show."""

from tests.http_api.records import insert
from tests.support.gatehouse_database import GatehouseDatabase

COMMON = {"merchant": "default", "gateway": "mx_merchant", "account": "default", "livemode": True}


def paint_clinic_and_apps(database: GatehouseDatabase) -> None:
    """Write rows for the pages of memberships, products, forwarding and subscriptions; each has the id 1 first."""
    for number, (name, category) in enumerate((("Ada Byron", "TRT"), ("Bob Stone", "Weight Loss"), ("Cleo", "TRT"))):
        amount = {"amount_minor": 19900, "currency": "USD", "payment_count": 3}
        times = {"started_at": "2026-08-01T10:00:00Z", "last_payment_at": "2026-11-01T10:00:00Z"}
        who = {"customer_ref": f"C{number}", "name": name, "email": f"patient{number}@example.com"}
        what = {"category": category, "product_name": "Testosterone 200mg/ml", "status_by_rule": "active"}
        insert(database, "memberships", {**COMMON, **who, **what, **amount, **times})
    for name, suggested in (("Semaglutide 5mg", "Weight Loss"), ("Consultation", None)):
        because = "the name has semaglutide" if suggested else None
        insert(
            database,
            "product_categories",
            {
                "merchant": "default",
                "product_name": name,
                "suggested_category": suggested,
                "suggested_because": because,
            },
        )
    database.sql(
        "insert into apps (merchant, name, plans, is_default, target_url) values"
        " ('default', 'shop', '{}', false, 'https://hooks.example.com/payments/paid')"
        " on conflict (merchant, name) do update set target_url = excluded.target_url;"
        "update jobs set arguments = '{\"app\": \"shop\"}', status = 'dead', last_error = 'HTTP_500: it answered 500'"
        " where topic = 'forward';"
        "insert into webhook_forward_logs (app, target_url, ok, status_code, attempt_count, error_class, error_message,"
        " reference, merchant, gateway, duration_ms, webhook_event_id, job_id)"
        " select 'shop', 'https://hooks.example.com/payments/paid', false, 500, 3, 'HTTP_500',"
        " 'hooks.example.com answered 500', 'order-1', 'default', 'stripe', 40, 1, id from jobs"
        " where topic = 'forward';"
        "insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)"
        " values (1, 'default', '2026-11-20T10:01:00Z', 'none', '\\x00');"
        "insert into redrives (merchant, actor, filters, planned) values ('default', 'jane', '{\"app\": \"shop\"}', 4);"
        "update subscriptions set app = 'shop', user_id = 'user-1' where id = 1"
    )

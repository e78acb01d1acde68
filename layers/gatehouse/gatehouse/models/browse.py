"""What the gateways told us, looked at by one merchant: lists in pages and single rows, each in one flush."""

from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import load_statements
from gatehouse.errors import NotFound

sql = load_statements(Path(__file__).with_name("browse.sql"))

Row = dict[str, Any]

MOST_OF_A_STORY = 200


class PaymentStory(NamedTuple):
    """A payment with what hangs on it, what was said of it, and how its row changed."""

    payment: Row
    refunds: list[Row]
    disputes: list[Row]
    events: list[Row]
    changes: list[Row]


def list_rows(
    database: Database,
    merchant: str,
    table: str,
    *,
    most: int,
    after: tuple[datetime | None, int | None] = (None, None),
    **filters: Any,
) -> list[Row]:
    """Return a page of payments, refunds, disputes, subscriptions, invoices or payouts, newest first."""
    after_at, after_id = after
    # Most payments are completed, and are met soon among the newest; the others have an index of their own.
    rarer = table == "payments" and filters["status"] and "completed" not in filters["status"]
    statement = sql.list_payments_of_status if rarer else sql[f"list_{table}"]
    wanted = statement(**filters, after_at=after_at, after_id=after_id, most=most)
    return database.flush([wanted], idempotent=True, merchant=merchant)[0].rows


def find_row(database: Database, merchant: str, kind: str, row_id: int) -> Row:
    """Return one refund, dispute, subscription, invoice or payout; raise NotFound when this merchant has none such."""
    rows = database.flush([sql[f"find_{kind}"](id=row_id)], idempotent=True, merchant=merchant)[0].rows
    if not rows:
        raise NotFound(f"there is no such {kind}")
    return rows[0]


def find_payment(database: Database, merchant: str, payment_id: int) -> PaymentStory:
    """Return a payment with its story; raise NotFound when this merchant has none such."""
    payment = find_row(database, merchant, "payment", payment_id)
    every: dict[str, Any] = {"gateway": None, "status": None, "livemode": None, "since": None, "until": None}
    every |= {"after_at": None, "after_id": None, "payment_id": payment["id"], "most": MOST_OF_A_STORY}
    refunds, disputes, events, changes = database.flush(
        [
            sql.list_refunds(**every, reference=None),
            sql.list_disputes(**every),
            sql.events_of_payment(id=payment["id"], most=MOST_OF_A_STORY),
            sql.changes_of_payment(id=payment["id"], most=MOST_OF_A_STORY),
        ],
        idempotent=True,
        merchant=merchant,
    )
    return PaymentStory(payment, refunds.rows, disputes.rows, events.rows, changes.rows)


def list_app_users(database: Database, merchant: str, app: str, *, most: int, after_user: str | None) -> list[Row]:
    """Return the users of an app and what each has now; raise NotFound when this merchant has no such app."""
    return _of_app(database, merchant, app, sql.list_app_users(app=app, after_user=after_user, most=most))


def list_app_transactions(
    database: Database,
    merchant: str,
    app: str,
    *,
    most: int,
    after: tuple[datetime | None, int | None] = (None, None),
    **filters: Any,
) -> list[Row]:
    """Return what was paid or subscribed in an app, newest first; raise NotFound when there is no such app."""
    after_at, after_id = after
    wanted = sql.list_app_transactions(app=app, **filters, after_at=after_at, after_id=after_id, most=most)
    return _of_app(database, merchant, app, wanted)


def _of_app(database: Database, merchant: str, app: str, wanted: Any) -> list[Row]:
    found, listed = database.flush([sql.find_app(app=app), wanted], idempotent=True, merchant=merchant)
    if not found.rows:
        raise NotFound("there is no such app")
    return listed.rows

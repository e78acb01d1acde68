"""The rows that the events of one gateway came to, as JSON to compare with what was reviewed: no ids of ours in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]

Query = Callable[[str], list[list[Any]]]

# Ids are by arrival, and so is a time that no gateway has given. What a product is to its merchant no gateway says: the
# tests of memberships look at that.
NOT_COMPARED = {
    *("id", "account", "payment_id", "subscription_id", "webhook_event_id", "created_at", "merged_into"),
    *("customer_id", "order_id", "product_name", "product_category", "is_recurring"),
}
TIMES_OF_FACTS = ("first_fact_at", "last_fact_at", "completed_at")

SUBJECTS = {
    "refunds": "refund",
    "disputes": "dispute",
    "subscriptions": "subscription",
    "invoices": "invoice",
    "payouts": "payout",
    "gateway_customers": "customer",
}


def rows_of(query: Query, gateway: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of one gateway, by table, in an order that is theirs."""
    found = {"payments": _payments(query, gateway)}
    for table, kind in SUBJECTS.items():
        found[table] = _subjects(query, table, kind, gateway)
    found["app_transactions"] = _read(
        query,
        "select to_jsonb(t) || jsonb_build_object('event', e.event_id) from app_transactions t"
        f" join webhook_events e on e.id = t.webhook_event_id where t.gateway = '{gateway}'",
    )
    found["jobs"] = _read(
        query,
        "select jsonb_build_object('topic', topic, 'key', business_key, 'arguments', arguments) from jobs"
        f" where business_key like '{gateway}/%'",
    )
    return {table: rows for table, rows in found.items() if rows}


def reviewed(gateway: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that a person has looked at."""
    file = PROJECT / "tests" / "gateways" / gateway / "expected_rows.json"
    content: dict[str, list[dict[str, Any]]] = json.loads(file.read_text())
    return content


def _payments(query: Query, gateway: str) -> list[dict[str, Any]]:
    return _read(
        query,
        "select to_jsonb(p) || jsonb_build_object('names', (select jsonb_agg(o.kind || ' ' || o.object_id order by"
        " o.kind, o.object_id) from payment_objects o where o.payment_id = p.id), 'timed', exists (select from facts f"
        " where f.kind = 'payment' and f.subject_id = p.id and f.occurred_at is not null))"
        f" from payments p where p.gateway = '{gateway}' and p.merged_into is null",
    )


def _subjects(query: Query, table: str, kind: str, gateway: str) -> list[dict[str, Any]]:
    payment = ""
    if table in ("refunds", "disputes"):
        payment = (
            " || jsonb_build_object('of_payment', (select min(o.kind || ' ' || o.object_id)"
            " from payment_objects o where o.payment_id = t.payment_id))"
        )
    return _read(
        query,
        f"select to_jsonb(t) || jsonb_build_object('timed', exists (select from facts f where f.kind = '{kind}'"
        f" and f.subject_id = t.id and f.occurred_at is not null)){payment} from {table} t"
        f" where t.gateway = '{gateway}'",
    )


def _read(query: Query, statement: str) -> list[dict[str, Any]]:
    rows = []
    for (row,) in query(statement):
        said = json.loads(row) if isinstance(row, str) else dict(row)
        if not said.pop("timed", True):
            said = {
                name: value for name, value in said.items() if name not in TIMES_OF_FACTS and name != "completed_at"
            }
        rows.append({name: value for name, value in said.items() if name not in NOT_COMPARED and value is not None})
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))

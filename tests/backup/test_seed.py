"""The backup as its seed document describes it: the function, the view, the analytics query."""

import json
from decimal import Decimal
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.sql import unnamed
from gatehouse.errors import DatabaseError
from gatehouse.sealing import Keyring
from tests.backup.backed_up import SEED_QUERY, drained, row
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase

# The seed's query, asked of the primary database: what the report there must say.
SAME_OF_THE_PRIMARY = """
    select gateway, count(*),
        sum(amount_minor::numeric / case currency when 'JPY' then 1 when 'KWD' then 1000 else 100 end),
        avg(extract(epoch from completed_at - first_fact_at))
    from payments where merged_into is null and livemode and first_fact_at >= now() - interval '30 days'
    group by gateway order by gateway
"""


def call(backup: Database, *arguments: Any) -> int:
    """Call the function as the seed does."""
    names = ("reference", "client_reference", "gateway", "service", "amount", "status", "payload")
    casts = ("text", "text", "text", "text", "numeric", "text", "jsonb")
    placed = ", ".join(f":{name}::{cast}" for name, cast in zip(names, casts, strict=True))
    statement = unnamed(f"select sync_payment_to_backup({placed}) as id")
    return int(backup.query_one(statement, **dict(zip(names, arguments, strict=True)))["id"])


@pytest.mark.req("B1")
def test_the_seeds_call_makes_a_row_once_and_moves_it_forward_only(
    backup: Database, backup_database: GatehouseDatabase
) -> None:
    card = {"authorization": {"authorization_code": "AUTH_8dfhjjdt", "last4": "4081"}, "reference": "ref-1"}
    first = call(backup, "ref-1", "client-9", "paystack", "payment", Decimal("1250.50"), "pending", json.dumps(card))
    again = call(backup, "ref-1", "client-9", "paystack", "payment", Decimal("1250.50"), "success", json.dumps(card))
    late = call(backup, "ref-1", "client-9", "paystack", "payment", Decimal("1250.50"), "pending", json.dumps(card))
    assert first == again == late < 0
    found = row(backup_database, first)
    assert (found["status"], found["amount_minor"], found["client_reference"]) == ("completed", 125050, "client-9")
    assert found["completed_at"] is not None
    assert "AUTH_8dfhjjdt" not in json.dumps(found)


@pytest.mark.req("B1", "B2")
def test_the_seeds_call_never_overwrites_what_the_primary_database_said(
    backup: Database, backup_database: GatehouseDatabase
) -> None:
    said = {"id": 7, "version": 3, "currency": "NGN", "merchant": "default"}
    assert call(backup, "ref-1", None, "paystack", "payment", Decimal(10), "completed", json.dumps(said)) == 7
    assert call(backup, "ref-1", None, "paystack", "payment", Decimal(99), "failed", None) == 7
    older = said | {"version": 2}
    assert call(backup, "ref-1", None, "paystack", "payment", Decimal(98), "failed", json.dumps(older)) == 7
    assert (row(backup_database, 7)["status"], row(backup_database, 7)["amount_minor"]) == ("completed", 1000)
    newer = said | {"version": 4}
    call(backup, "ref-1", None, "paystack", "payment", Decimal(10), "refunded", json.dumps(newer))
    assert row(backup_database, 7)["status"] == "refunded"


@pytest.mark.req("B1")
def test_an_amount_with_more_digits_than_its_currency_is_refused(backup: Database) -> None:
    with pytest.raises(DatabaseError, match="22023"):
        call(backup, "ref-1", None, "paystack", "payment", Decimal("0.005"), "success", None)
    with pytest.raises(DatabaseError, match="22004"):
        call(backup, None, None, "paystack", "payment", Decimal(1), "success", None)


@pytest.mark.req("B1", "B6")
def test_the_seeds_analytics_query_equals_the_primarys_report(
    primary: Database,
    backup: Database,
    backup_reader: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
) -> None:
    moments = {"first_fact_at": "now() - interval '3 days'", "last_fact_at": "now()"}
    rows = [
        ("stripe", 4620, "EUR", 90, True),
        ("stripe", 1, "USD", None, True),
        ("paystack", 500, "JPY", 3, True),
        ("paypal", 1234, "KWD", 7, True),
        ("paypal", 999, "USD", 7, False),  # test mode is no live money
    ]
    for number, (gateway, amount, currency, seconds, is_live) in enumerate(rows, start=1):
        put(
            gatehouse_database,
            "payments",
            number,
            gateway=gateway,
            amount_minor=amount,
            received_minor=amount,
            currency=currency,
            livemode=is_live,
        )
        done = "null" if seconds is None else f"{moments['first_fact_at']} + interval '{seconds} seconds'"
        gatehouse_database.sql(
            f"update payments set first_fact_at = {moments['first_fact_at']}, completed_at = {done} where id = {number}"
        )
    drained(primary, backup, keyring)
    said = backup_reader.flush([_bound(SEED_QUERY)], merchant="default")[0].rows
    assert [tuple(each.values()) for each in sorted(said, key=lambda each: str(each["gateway_provider"]))] == [
        tuple(each) for each in gatehouse_database.sql(SAME_OF_THE_PRIMARY)
    ]
    assert len(said) == 3


@pytest.mark.req("B1", "M7")
def test_the_reader_sees_one_merchants_payments_and_writes_nothing(
    primary: Database,
    backup: Database,
    backup_reader: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
) -> None:
    gatehouse_database.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    put(gatehouse_database, "payments", 1)
    put(gatehouse_database, "payments", 2, merchant="acme")
    put(gatehouse_database, "refunds", 3, payment_id=2, merchant="acme")
    drained(primary, backup, keyring)
    for merchant, payments, refunds in (("default", [1], []), ("acme", [2], [3]), ("nobody", [], [])):
        found = backup_reader.flush(
            [_bound("select id from payments order by id"), _bound("select id from refunds")], merchant=merchant
        )
        assert [[each["id"] for each in result.rows] for result in found] == [payments, refunds]
    for forbidden in ("delete from payment_services", "select * from reader_keys", "select * from service_logs"):
        with pytest.raises(DatabaseError, match="permission denied"):
            backup_reader.query(forbidden)


@pytest.mark.req("B1", "B6")
def test_a_report_over_a_period_reads_one_index_and_no_row(backup_database: GatehouseDatabase) -> None:
    backup_database.sql(
        "insert into payment_services (id, version, merchant, gateway_provider, account, livemode, service, status, "
        "amount_minor, first_fact_at, last_fact_at, completed_at) select n, 1, 'default', 'stripe', 'default', true, "
        "'payment', 'completed', n, now() - n * interval '1 minute', now(), now() from generate_series(1, 20000) n;"
    )
    backup_database.sql("vacuum analyze payment_services")
    plan = backup_database.sql(
        "explain select gateway_provider, count(*), sum(amount), avg(processing_time_seconds) "
        "from payment_services_summary where created_at >= now() - interval '1 day' group by 1"
    )
    assert "Index Only Scan using payment_services_period" in "\n".join(line for (line,) in plan)


def _bound(text: str) -> Any:
    return unnamed(text)()

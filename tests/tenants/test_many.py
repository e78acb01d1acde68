"""The thousandth tenant is as cheap as the first: what each question reads is counted, not how long it takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from gatehouse.database.connection import Database, Transaction
from gatehouse.tenants import records
from gatehouse.tenants.records import NewTenant, Who
from tests.support.gatehouse_database import GatehouseDatabase
from tests.tenants.conftest import ANNA

BERTA = Who("default", "user:berta")
READ = "select coalesce(sum(seq_tup_read + coalesce(idx_tup_fetch, 0)), 0)::integer as n from pg_stat_xact_user_tables"
A_THOUSAND = """
    insert into platform_tenants (id, merchant, name, plan_type, engine, status, max_databases, max_storage_mb,
        max_requests_per_minute, max_requests_per_hour, max_requests_per_day, created_by, created_at)
    select 't' || lpad(n::text, 15, '0'), 'default', 'tenant ' || n, 'free', 'plain', 'active', 1, 100, 100, 1000, 9,
        'user:berta', now() - n * interval '1 minute'
    from generate_series(1, 1000) n;
    insert into tenant_permissions (tenant_id, merchant, subject, role, granted_by)
    select id, 'default', 'user:berta', 'owner', 'user:berta' from platform_tenants where created_by = 'user:berta';
    insert into tenant_usage_slots (tenant_id, merchant, date, slot, api_requests)
    select id, merchant, current_date - 1, 0, 1 from platform_tenants;
    analyze platform_tenants; analyze tenant_permissions; analyze tenant_usage_slots; analyze jobs
"""


class InOneTransaction:
    """Does what is asked of a Database inside one open transaction, whose reads are counted in the end."""

    def __init__(self, transaction: Transaction) -> None:
        self.flush = transaction.flush
        self.query_one = transaction.query_one
        self._open = transaction

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Go on in the one that is open."""
        yield self._open


def rows_read(database: Database, ask: Callable[[Any], object]) -> int:
    """Return how many rows of tables a question reads."""
    with database.transaction() as transaction:
        before = transaction.query_one(READ)["n"]  # of what this session has not reported yet
        ask(InOneTransaction(transaction))
        return int(transaction.query_one(READ)["n"] - before)


@pytest.fixture
def api(gatehouse_database: GatehouseDatabase) -> Iterator[Database]:
    opened = gatehouse_database.connect("api")
    yield opened
    opened.close()


@pytest.mark.req("T1", "T3")
def test_no_question_reads_more_among_a_thousand_tenants(api: Database, gatehouse_database: GatehouseDatabase) -> None:
    first, _ = records.create(api, ANNA, NewTenant("first", "free", "plain"))
    tenant = str(first["id"])
    gatehouse_database.sql(f"update platform_tenants set status = 'active' where id = '{tenant}'")
    questions: dict[str, Callable[[Any], object]] = {
        "create": lambda to: records.create(to, ANNA, NewTenant("another", "free", "plain")),
        "create once": lambda to: records.create(to, ANNA, NewTenant("a", "free", "plain"), idempotency_key="k"),
        "list": lambda to: records.list_tenants(to, ANNA),
        "show": lambda to: records.enter(to, ANNA, tenant),
        "query": lambda to: records.enter(to, ANNA, tenant, is_query=True),
        "usage": lambda to: records.add_usage(to, ANNA, tenant, rows=1, size=1, milliseconds=1.0),
        "permissions": lambda to: records.permissions(to, ANNA, tenant),
        "change": lambda to: records.change(to, ANNA, tenant, name="renamed"),
    }
    few = {name: rows_read(api, ask) for name, ask in questions.items()}
    gatehouse_database.sql(A_THOUSAND)
    many = {name: rows_read(api, ask) for name, ask in questions.items()}
    # A few more, as what was asked before has left rows of its own; not a thousand.
    assert {name: many[name] for name in many if many[name] > few[name] + 12} == {}, few


@pytest.mark.req("T1")
def test_a_page_reads_a_page(api: Database, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql(A_THOUSAND)
    operator = Who("default", "key:ops", is_operator=True)
    assert len(records.list_tenants(api, operator, most=50)) == 50
    assert rows_read(api, lambda to: records.list_tenants(to, operator, most=50)) < 200
    assert rows_read(api, lambda to: records.list_tenants(to, BERTA, most=1000)) >= 1000  # the reads are counted
    page = records.list_tenants(api, BERTA, most=1000)
    assert len(page) == 1000
    far_in = page[899]
    after = (far_in["created_at"], far_in["id"])
    assert [row["id"] for row in records.list_tenants(api, BERTA, after=after, most=3)] == [
        row["id"] for row in page[900:903]
    ]

"""Every question about one merchant's patients and products is answered by an index, whatever others have."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound
from gatehouse.models import browse, memberships, products
from gatehouse.models.memberships import Wanted
from tests.membership.fill import fill
from tests.store.test_search import plan
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M5")

AT = datetime(2025, 6, 1, tzinfo=UTC)
WHO: dict[str, Any] = {"merchant": "default", "reader": "a test"}
ANY: dict[str, Any] = {
    **Wanted()._asdict(),
    **WHO,
    "one_status": None,
    "kind": "memberships",
    "asked": {},
    "most": 51,
    "shown": 50,
}
FIRST_NAME: dict[str, Any] = {**ANY, "after_key": None, "after_id": None}
FIRST_MOMENT: dict[str, Any] = {**ANY, "after_at": None, "after_id": None}
NEXT_NAME = FIRST_NAME | {"after_key": "m", "after_id": 7}
NEXT_MOMENT = FIRST_MOMENT | {"after_at": AT.isoformat(), "after_id": 7}
ONE: dict[str, Any] = {"merchant": "default", "id": 7}
NO_PRODUCT: dict[str, Any] = {"category": None, "to_review": None, "begins": None, "after_key": None, "after_id": None}
PRODUCT: dict[str, Any] = {**WHO, **NO_PRODUCT, "most": 51, "asked": {}}
ANY_PAYMENT: dict[str, Any] = dict.fromkeys(browse.sql.list_payments.parameters) | {"most": 51}
m, p = memberships.sql, products.sql

# what is asked -> the index that must answer
PLANS: list[tuple[Bound, str]] = [
    (m.list_by_name(**FIRST_NAME), "memberships_name"),
    (m.list_by_name(**NEXT_NAME), "memberships_name"),
    (m.list_by_name(**FIRST_NAME | {"tab": "TRT"}), "memberships_category_name"),
    (m.list_by_name(**NEXT_NAME | {"tab": "TRT"}), "memberships_category_name"),
    (m.list_by_name(**FIRST_NAME | {"one_status": "canceled"}), "memberships_status_name"),
    (m.list_by_name(**FIRST_NAME | {"renewal_missed": True}), "memberships_"),
    (m.list_by_name(**FIRST_NAME | {"text": "ada"}), "memberships_pkey"),
    (m.list_by_start(**FIRST_MOMENT), "memberships_started"),
    (m.list_by_start(**NEXT_MOMENT), "memberships_started"),
    (m.list_by_payment(**NEXT_MOMENT), "memberships_paid"),
    (m.list_by_expected(**NEXT_MOMENT), "memberships_expected"),
    (m.count_tabs(merchant="default", livemode=None), "membership_counts_merchant"),
    (m.find_membership(**ONE, reader="x", kind="membership"), "memberships_pkey"),
    (m.memberships_of_patient(**ONE), "memberships_patient"),
    (m.payments_of_patient(**ONE, most=200), "payments_customer"),
    (m.invoices_of_patient(**ONE, most=200), "invoices_ref"),
    (m.history_of_patient(**ONE, most=200), "payment_audit_log_pkey"),
    (m.list_reads(merchant="default", membership=None, after_id=None, most=50), "health_data_reads_newest"),
    (browse.sql.list_payments(**ANY_PAYMENT), "payments_newest"),
    (browse.sql.list_payments(**ANY_PAYMENT | {"customer_ref": "CODE0000077"}), "payments_customer"),
    (p.list_products(**PRODUCT), "product_categories_key"),
    (p.list_products(**PRODUCT | {"category": "TRT"}), "product_categories_category"),
    (p.list_products(**PRODUCT | {"to_review": True}), "product_categories_"),
    (p.product_named(merchant="default", name="x"), "product_categories_key"),
    (p.list_categories(merchant="default"), "product_categories_"),
    (p.list_reclassifications(merchant="default", most=20), "reclassifications_newest"),
]


def test_every_question_uses_its_index(api: Database, gatehouse_database: GatehouseDatabase) -> None:
    fill(gatehouse_database, merchants=2, patients=2000, payments_each=2)
    wrong = {}
    for bound, index in PLANS:
        found = plan(api, bound)
        if index not in found or "Seq Scan" in found:
            wrong[f"{bound.statement.name} by {index}"] = found
    assert not wrong, "\n\n".join(f"{name}\n{each}" for name, each in wrong.items())


def test_what_works_for_all_merchants_uses_its_index_too(
    ops: Database, worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    fill(gatehouse_database, merchants=2, patients=1000, payments_each=2)
    inside = {
        "memberships_search": "select id from memberships where search @@ search_query('default', 'code0000077')"
        " and merchant = 'default'",
        "memberships_due": "select id from memberships where renewal_missed_at is null"
        " and status in ('active', 'past_due') and next_expected_at < now() order by next_expected_at limit 9",
        "payments_product": "select id from payments where merchant = 'default' and product_name is not null"
        " and product_key(product_name) = 'x' and id > 7 order by id limit 500",
    }
    for index, text in inside.items():
        with ops.transaction() as transaction:
            transaction.query("set local enable_seqscan = off")
            found = "\n".join(row["QUERY PLAN"] for row in transaction.query(f"explain {text}"))
            transaction.undo()
        assert index in found, found
    assert worker.query("select count(*)::int as n from memberships")[0]["n"] == 2000

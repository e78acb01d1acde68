"""The reports on memberships: who came and went, what they pay a month, and who may see it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import SubscriptionStatus
from gatehouse.reports.ask import arguments, ask
from gatehouse.sealing import Keyring
from tests.http_api.api_client import Api, made_key
from tests.http_api.conftest import api_database, shared_api
from tests.membership.clinic import invoiced, known, paid, subscribed, tell
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["api_database", "shared_api"]


def figures(database: Database, **asked: Any) -> dict[str, dict[str, Any]]:
    """Return the report on memberships of the last 30 days, by category."""
    answer = ask(database, "default", "memberships", arguments(**asked), now=datetime.now(UTC))
    return {row["category"]: row for row in answer.rows}


@pytest.fixture
def clinic(gatehouse_database: GatehouseDatabase, intake: Database, keyring: Keyring) -> None:
    """Three members forty days ago; one leaves, one pays more, and one comes since."""
    known(gatehouse_database, {"Testosterone": "TRT", "Semaglutide": "Weight Loss"})
    monthly: dict[str, Any] = {"interval": "month"}
    tell(
        intake,
        keyring,
        invoiced("i1", "Testosterone"),
        invoiced("i3", "Semaglutide"),
        *(subscribed(f"s{n}", SubscriptionStatus.ACTIVE, customer_ref=f"p{n}", **monthly) for n in (1, 2, 3)),
        paid("a1", "p1", 0, subscription_ref="s1", invoice_ref="i1"),
        paid("a2", "p2", 0, subscription_ref="s2", invoice_ref="i1"),
        paid("a3", "p3", 0, subscription_ref="s3", invoice_ref="i3"),
        mark="then",
    )
    gatehouse_database.sql(
        "set session_replication_role = replica;"
        "update payment_audit_log set at = at - interval '40 days' where table_name = 'memberships'"
    )
    tell(
        intake,
        keyring,
        subscribed("s2", SubscriptionStatus.CANCELLED, 30, customer_ref="p2"),
        paid(
            "b1",
            "p1",
            30,
            subscription_ref="s1",
            invoice_ref="i1",
            amount_minor=30_000,
            received_minor=30_000,
            surcharge_minor=0,
        ),
        subscribed("s4", SubscriptionStatus.ACTIVE, 30, customer_ref="p4", **monthly),
        paid("b4", "p4", 30, subscription_ref="s4", invoice_ref="i1"),
        mark="now",
    )


@pytest.mark.req("M4")
@pytest.mark.req("P9")
@pytest.mark.usefixtures("clinic")
def test_movements_lead_from_before_to_after(api: Database) -> None:
    found = figures(api)
    trt, weight_loss = found["TRT"], found["Weight Loss"]
    assert (trt["members_before"], trt["became_member"], trt["lost"], trt["members_after"]) == (2, 1, 1, 2)
    assert (trt["canceled"], trt["churn_pct"]) == (1, 50.0)
    assert (weight_loss["members_before"], weight_loss["members_after"], weight_loss["churn_pct"]) == (1, 1, 0.0)
    assert trt["mrr_before_minor"] == 2 * 19_900
    assert (trt["mrr_new_minor"], trt["mrr_expansion_minor"], trt["mrr_lost_minor"]) == (19_900, 10_100, -19_900)
    for row in found.values():
        moved = ("new", "reactivated", "expansion", "contraction", "lost")
        assert row["mrr_before_minor"] + sum(row[f"mrr_{name}_minor"] for name in moved) == row["mrr_after_minor"]
    long_ago = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=90)
    before = figures(api, since=long_ago, until=long_ago + timedelta(days=1))
    assert all(row["members_before"] == row["members_after"] == 0 for row in before.values())


@pytest.mark.usefixtures("clinic")
def test_cohorts_are_counted_by_their_first_payment(api: Database) -> None:
    rows = ask(api, "default", "cohorts", arguments(time_zone="America/Denver"), now=datetime.now(UTC)).rows
    told = [(row["category"], row["started_in"], row["members"], row["active_now"], row["stay_pct"]) for row in rows]
    assert told == [
        ("TRT", "2026-01", 2, 1, 50.0),
        ("TRT", "2026-02", 1, 1, 100.0),
        ("Weight Loss", "2026-01", 1, 1, 100.0),
    ]


@pytest.mark.req("M9")
@pytest.mark.req("P3")
@pytest.mark.usefixtures("clinic")
def test_health_data_needs_a_key_that_may_see_it(ops: Database, shared_api: Api, api_database: Database) -> None:
    shared_api.database = api_database
    blind = made_key(ops, may_read_health_data=False)
    asked: list[tuple[str, dict[str, Any]]] = [("memberships", {}), ("cohorts", {}), ("breakdown", {"per": "category"})]
    for path, query in asked:
        assert shared_api.ask(f"/api/analytics/{path}", made_key(ops), **query).status == 200
        refused = shared_api.ask(f"/api/analytics/{path}", blind, **query)
        assert (refused.status, refused.body["code"]) == (403, "HEALTH_DATA_NOT_ALLOWED")
    assert shared_api.ask("/api/analytics/revenue", blind).status == 200
    since: dict[str, Any] = {"from": "2026-01-01"}
    by_category = shared_api.ask("/api/analytics/breakdown", made_key(ops), per="category", **since)
    assert {row["category"] for row in by_category.body["rows"]} == {"TRT", "Weight Loss"}

"""The demo data of `make run`: it goes through recording, is the same each time, and is written once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.models.browse import list_app_users
from gatehouse.models.products import list_products
from gatehouse.reports.verify import verify
from gatehouse.sealing import Keyring
from local import demo_data
from local.gateway_accounts import GatewayAccount as LocalAccount
from tests.intake.conftest import intake, keyring, ops
from tests.support.gatehouse_database import GatehouseDatabase

__all__ = ["intake", "keyring", "ops"]

pytestmark = pytest.mark.req("O2", "O4")


SECRETS = {"signing_secrets": ["a secret of the demo data, for tests"], "api_key": "sk_test_demo"}


@pytest.fixture
def stack(
    gatehouse_database: GatehouseDatabase, intake: Database, ops: Database, keyring: Keyring
) -> Iterator[demo_data.Stack]:
    """This test's database, and accounts whose gateways have no stand-in."""
    api = gatehouse_database.connect("api")
    accounts = {name: LocalAccount(name, SECRETS, {}, Path()) for name in ("stripe", "mx_merchant", "paystack")}
    yield demo_data.Stack(intake, api, ops, keyring, accounts)
    api.close()


def test_it_has_failed_payments_memberships_an_unknown_product_and_totals_that_agree(
    stack: demo_data.Stack, gatehouse_database: GatehouseDatabase
) -> None:
    recorded = demo_data.fill(stack, {}, tickets=40, patients=8)
    assert recorded > 40
    sql = gatehouse_database.sql
    assert sql("select count(*) from webhook_events where status <> 'applied'") == [[0]]
    ((failed, named),) = sql("select count(*), count(failure_message) from payments where status = 'failed'")
    assert failed == named > 0
    assert sql("select count(*) from payments where merchant = 'festival' and livemode") == [[40]]
    assert sql("select count(*) from payments p where not exists (select from facts f where f.subject_id = p.id)") == [
        [0]
    ]
    assert sql("select count(*) > 3 from memberships where merchant = 'clinic'") == [[True]]
    paid = "select count(*) from orders o join payments p on p.order_id = o.id where p.status = 'completed'"
    assert sql(f"{paid} and o.status in ('completed', 'refunded', 'partially_refunded')") == (
        sql("select count(*) from payments where merchant = 'festival' and currency = 'EUR' and status = 'completed'")
    )
    assert sql("select count(*) from orders where merchant = 'festival' and reference like 'unpaid-%'") == [[6]]
    assert sql("select count(*) > 0, bool_and(payment_id is not null) from refunds") == [[True, True]]
    assert sql("select count(*) from disputes where status = 'needs_response' and payment_id is not null") == [[1]]
    for status in ("canceled", "past_due", "active"):
        assert sql(f"select count(*) > 0 from memberships where status = '{status}'") == [[True]], status
    for merchant in ("festival", "clinic"):
        failed = f"select count(*) > 0 from payments where merchant = '{merchant}' and failure_message <> ''"
        assert sql(failed) == [[True]], merchant
    for app in ("nexai", "elevenone"):
        users = list_app_users(stack.api, "default", app, after_user=None, most=20)
        assert {row["status"] for row in users} == {"active", "past_due", "cancelled"}
        assert all(row["plan"] for row in users)
    products = list_products(stack.api, "clinic", reader="a test").rows
    assert "Uncategorized" in {each.category for each in products} or len(products) == len(demo_data.PRODUCTS)
    found = verify(stack.ops)
    assert (found.entries_drifted, found.totals_drifted) == (0, 0)
    assert found.rows_checked > 40
    assert demo_data.fill(stack, {}, tickets=40, patients=8) == 0, "what is there is not written again"


class Killed(Exception):
    """The process ends."""


class MortalDatabase:
    """A database whose process is killed after some flushes."""

    def __init__(self, database: Database, flushes: int) -> None:
        self.database, self.left = database, flushes

    def flush(self, *arguments: Any, **options: Any) -> Any:
        """Do as the database does, until the end comes."""
        if not self.left:
            raise Killed
        self.left -= 1
        return self.database.flush(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


def test_a_fill_that_was_killed_halfway_is_taken_up_and_comes_to_the_same(
    stack: demo_data.Stack, gatehouse_database: GatehouseDatabase
) -> None:
    known = "select gateway, account, event_id from webhook_events order by 1, 2, 3"
    for flushes in (5, 30, 20):
        dying = stack._replace(intake=MortalDatabase(stack.intake, flushes))  # type: ignore[arg-type]  # it is one
        with pytest.raises(Killed):
            demo_data.fill(dying, {}, tickets=40, patients=8)
    before = gatehouse_database.sql(known)
    assert 50 <= len(before) <= 55
    rest = demo_data.fill(stack, {}, tickets=40, patients=8)
    after = gatehouse_database.sql(known)
    assert len(after) == len(before) + rest, "none is written twice"
    assert gatehouse_database.sql("select count(*) from orders group by reference having count(*) > 1") == []
    end = gatehouse_database.sql("select created_at from merchants where id = 'clinic'")[0][0]
    assert {each.event.event_id for each in demo_data.clinic(end, 8)} <= {row[2] for row in after}
    assert demo_data.fill(stack, {}, tickets=40, patients=8) == 0


def test_it_is_the_same_each_time() -> None:
    until = datetime(2026, 11, 28, 15, tzinfo=UTC)
    first, second = (list(demo_data.clinic(until, 30)) for _ in range(2))
    assert first == second
    charges = list(demo_data.festival(until, 200))
    assert charges == list(demo_data.festival(until, 200))
    assert list(demo_data.given_back(charges)) == list(demo_data.given_back(charges))
    assert max(each.at for each in charges) < until
    products = {line["product"] for each in first for line in getattr(each.event.facts[0], "lines", None) or ()}
    assert products & set(demo_data.UNKNOWN_PRODUCTS)

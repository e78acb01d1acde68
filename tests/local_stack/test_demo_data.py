"""The demo data of `make run`: it goes through recording, is the same each time, and is written once."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gatehouse.database.connection import Database
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
    accounts = {name: LocalAccount(name, SECRETS, {}, Path()) for name in ("stripe", "mx_merchant")}
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
    assert sql("select count(*) from orders where merchant = 'festival'") == [[40]]
    products = list_products(stack.api, "clinic", reader="a test").rows
    assert "Uncategorized" in {each.category for each in products} or len(products) == len(demo_data.PRODUCTS)
    found = verify(stack.ops)
    assert (found.entries_drifted, found.totals_drifted) == (0, 0)
    assert found.rows_checked > 40
    assert demo_data.fill(stack, {}, tickets=40, patients=8) == 0, "what is there is not written again"


def test_it_is_the_same_each_time() -> None:
    today = datetime(2026, 11, 28, tzinfo=UTC)
    first, second = (list(demo_data.clinic(today, 30)) for _ in range(2))
    assert first == second
    products = {line["product"] for each in first for line in getattr(each.event.facts[0], "lines", None) or ()}
    assert products & set(demo_data.UNKNOWN_PRODUCTS)

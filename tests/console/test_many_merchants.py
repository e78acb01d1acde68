"""Pages of operators with more merchants than a page holds: they end, and find the others."""

import pytest

from tests.console.console_client import Browser
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "M5")
MOST_BYTES, DASH = 100_000, "\N{EN DASH}"
MANY = """
insert into merchants (id, name) select 'house-' || lpad(n::text, 3, '0'), repeat('The long house of ', 10) || n
from generate_series(1, 500) as n;
insert into apps (merchant, name) select id, 'tickets' from merchants where id like 'house-%';
insert into api_keys (id, merchant, role, name, hash, rate_per_minute)
select lpad(row_number() over ()::text, 8, '0'), id, 'developer', 'Server of ' || id, sha256(id::bytea), 600
from merchants where id like 'house-%';
insert into subscriptions (
    id, merchant, gateway, account, livemode, gateway_id, status, app, user_id, first_fact_at, last_fact_at
)
select 5000 + n, 'house-007', 'paystack', 'default', true, 'SUB_' || n, 'active', 'tickets', 'user-' || n, now(), now()
from generate_series(1, 150) as n;
"""


@pytest.fixture
def many(gatehouse_database: GatehouseDatabase) -> None:
    """Five hundred merchants with long names, an app and a key each."""
    gatehouse_database.sql(MANY)


@pytest.mark.usefixtures("many")
def test_the_overview_lists_merchants_page_by_page_and_finds_one(operator: Browser) -> None:
    found: list[str] = []
    shown = operator.get("/console/ops")
    while True:
        assert len(shown.text.encode()) < MOST_BYTES
        page = [link for link in shown.links() if link.startswith("/console/m/")]
        assert 0 < len(page) <= 50
        found += page
        further = [link for link in shown.links() if "after=" in link]
        if not further:
            break
        shown = operator.get(further[0].partition("#")[0])
    assert len(found) == len(set(found)) == 502  # and default and acme
    one = operator.get("/console/ops", text="House of 77")
    assert [link for link in one.links() if link.startswith("/console/m/")] == ["/console/m/house-077"]
    assert "No merchant is named so" in operator.get("/console/ops", text="nobody").words


@pytest.mark.usefixtures("many")
def test_settings_stay_small_and_find_merchants_accounts_and_keys(operator: Browser) -> None:
    shown = operator.get("/console/ops/settings")
    assert len(shown.text.encode()) < MOST_BYTES
    assert "The first 30 of each list are shown" in shown.words
    assert "house-300" not in shown.words
    one = operator.get("/console/ops/settings", text="house-300").words
    assert one.count("Server of house-300") == 1
    assert "Server of house-301" not in one
    made = operator.post("/console/ops/settings/keys", {"name": "till", "merchant": "house-300", "role": "viewer"})
    assert (made.status, "is shown this once" in made.words) == (200, True)


@pytest.mark.usefixtures("many")
def test_apps_of_all_merchants_come_in_pages_with_users_up_to_a_bound(operator: Browser) -> None:
    shown = operator.get("/console/ops/subscriptions")
    assert f"tickets house-007 {DASH} 100 or more 0" in shown.words
    assert f"tickets house-008 {DASH} 0 0" in shown.words
    assert "house-051" not in shown.words
    assert "house-051" in operator.get(next(link for link in shown.links() if "cursor=" in link)).words
    found = operator.get("/console/ops/subscriptions", text="house-4").words
    assert ("house-400" in found, "house-300" in found) == (True, False)
    assert "No app is named so" in operator.get("/console/ops/subscriptions", text="nobody").words

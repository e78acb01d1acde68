"""The users of apps, each with plan and status."""

import pytest

from console.views import DASH
from gatehouse.database.connection import Database
from gatehouse.models.apps import add_app
from tests.console.console_client import Browser
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "G18")
PATH = "/console/m/default/subscriptions"


@pytest.fixture
def users(ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    """Three users of one app, one of another, and a subscription that names none."""
    for name in ("nexai", "quiz"):
        add_app(ops, name, merchant="default")
    told = (("nexai", "active"), ("nexai", "past_due"), ("nexai", "active"), ("quiz", "active"))
    for number, (app, status) in enumerate(told):
        who = {"app": app, "user_id": f"user-{number}", "gateway": "paystack", "gateway_id": f"SUB_{number}"}
        put(gatehouse_database, "subscriptions", 10 + number, status=status, **who)
    put(gatehouse_database, "subscriptions", 1, plan="silver", status="cancelled")


@pytest.mark.usefixtures("users")
def test_users_are_shown_by_app_with_plan_and_status_in_pages_and_as_a_file(viewer: Browser) -> None:
    first = viewer.get(PATH, app="nexai", limit="2")
    for words in ("user-0", "gold", "past due", "9.00 USD", "a subscription at paystack"):
        assert words in first.words, words
    (following,) = [link for link in first.links() if "cursor=" in link]
    assert "user-2" in viewer.get(following).words
    assert "user-3" in viewer.get(PATH, app="quiz").words
    assert "user-3" not in viewer.get(PATH, app="nexai", format="csv").text
    assert viewer.get(PATH, app="nexai", format="csv").text.count("SUB_") == 3
    assert viewer.get(PATH, app="nothing").status == 404
    assert "silver" in viewer.get(f"{PATH}/all").words
    assert "No subscription is like this" in viewer.get(f"{PATH}/all", status="paused").words


@pytest.mark.usefixtures("users")
def test_the_short_address_leads_to_what_one_may_see(viewer: Browser, stranger: Browser, operator: Browser) -> None:
    assert viewer.get("/dashboard/subscriptions").location == "/console/subscriptions"
    assert viewer.get("/console/subscriptions").location == PATH
    assert stranger.get("/console/subscriptions").location == "/console/m/acme/subscriptions"
    assert "No subscriptions yet" in stranger.get("/console/m/acme/subscriptions/all").words
    assert operator.get("/console/subscriptions").location == "/console/ops/subscriptions"
    assert f"nexai default {DASH} 3" in operator.get("/console/ops/subscriptions").words

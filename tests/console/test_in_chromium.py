"""Every page in a real browser: no errors, nothing refused, no scrolling sideways, nothing serious for axe."""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from playwright.sync_api import Browser

from console.app import build
from console.desk import ConsoleDesk
from gatehouse.database.connection import Database
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.jobs.depths import Depth
from gatehouse.sealing import Keyring
from local.http_front import HttpFront
from local.lambda_runtime import Invocation
from local.template import Route
from tests.console import chromium
from tests.console.chromium import WIDE, Onlooker
from tests.console.scenery import paint
from tests.http_api.api_client import made_key
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = [
    pytest.mark.req("O4"),
    pytest.mark.skipif(chromium.executable() is None, reason=chromium.MISSING),
]

FIRST_ORDER = 1_000_000_001
# Of a merchant that has something to show; a page that takes an id has it in scenery.py.
PAGES_TO_LOOK_AT = (
    "/console/ops",
    "/console/m/default",
    "/console/preferences",
    "/console/m/default/payments",
    "/console/m/default/payments?status=failed",
    "/console/m/default/payments?text=nothing-is-named-so",
    "/console/m/default/payments/1",
    "/console/m/default/payments/2",
    "/console/m/default/payments/1/refund?amount=10",
    "/console/m/default/payments/disputes",
    "/console/m/default/payments/refunds",
    "/console/m/default/orders",
    f"/console/m/default/orders/{FIRST_ORDER}",
    "/console/m/default/orders?status=cancelled",
    "/console/m/default/customers",
    "/console/m/default/customers/1",
    "/console/m/default/customers/1/erase",
    "/console/m/default/events",
    "/console/m/default/events/1",
    "/console/ops/events",
    "/console/ops/events/1",
    "/console/ops/rejected",
    "/console/ops/health",
    "/console/ops/settings",
    "/console/m/default/memberships",
    "/console/m/default/memberships?edit=1",
    "/console/m/default/memberships?tab=Cancellations",
    "/console/m/default/memberships/1",
    "/console/m/default/invoices/1",
    "/console/m/default/products",
    "/console/m/default/forwards",
    "/console/m/default/forwards/1",
    "/console/m/default/forwards/redrive?app=shop",
    "/console/m/default/forwards/redrives/1",
    "/console/m/default/subscriptions?app=shop",
    "/console/m/default/subscriptions/all",
    "/console/ops/subscriptions",
    "/console/m/default/tenants",
    "/console/ops/sync",
    "/console/ops/sync/compare",
)
# The colours of all pages are those of these.
IN_THE_DARK = (
    *("/console/m/default", "/console/m/default/payments/1", "/console/m/default/payments/1/refund?amount=10"),
    *("/console/ops/health", "/console/ops/settings"),
)


class SilentBell:
    """Stands for the bell; what rings is tested elsewhere."""

    def ring(self, jobs: Sequence[tuple[int, str]]) -> int:
        """Ring for nobody."""
        return len(jobs)


class Served:
    """The console behind the local front door; one request at a time, as in Lambda."""

    def __init__(self, desk: ConsoleDesk) -> None:
        # The handler belongs to the thread that made it: its event loop is there.
        self._thread = ThreadPoolExecutor(1)
        self._handler = self._thread.submit(lambda_handler, build(desk)).result()
        routes = [Route(method="ANY", path=path, function_id="console") for path in ("/console", "/console/{proxy+}")]
        self._front = HttpFront(routes, {"console": self}, 0)
        self._front.start()
        self.url = f"http://127.0.0.1:{self._front.port}"

    def stop(self) -> None:
        """Serve no more."""
        self._front.stop()
        self._thread.shutdown()

    def invoke(self, payload: bytes) -> Invocation:
        """Answer one request."""
        answer = self._thread.submit(self._handler, json.loads(payload), None).result()
        return Invocation(json.dumps(answer).encode(), False, "", "", "", 0, None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One chromium for all pages."""
    with chromium.launched() as opened:
        yield opened


@pytest.fixture
def served(ops: Database, api_database: Database, keyring: Keyring) -> Iterator[Served]:
    """The console over this test's database."""
    desk = ConsoleDesk(
        lambda: api_database,
        lambda: ops,
        lambda: keyring,
        lambda: SilentBell(),  # type: ignore[arg-type, return-value]  # rings
        depths=lambda: [Depth("forwarding", 1, 0, 0, 2)],
        is_secure=False,
    )
    serving = Served(desk)
    yield serving
    serving.stop()


def signed_in(browser: Browser, served: Served, key: str, **options: Any) -> Onlooker:
    """Return somebody who has typed his key."""
    onlooker = Onlooker(browser.new_context(viewport=WIDE, **options), served.url)
    page = onlooker.open("/console/sign-in")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(re.compile("/console/(m|ops)"))
    return onlooker


def test_every_page_is_sound_in_a_real_browser(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    key = made_key(ops, None, "ops")
    onlooker = signed_in(browser, served, key, color_scheme="light")
    wrong: list[str] = []
    for path in PAGES_TO_LOOK_AT:
        page = onlooker.open(path)
        assert page.get_by_role("heading", level=1).count() == 1, path
        wrong += [*onlooker.widths(), *onlooker.findings()]
        if path in IN_THE_DARK:
            page.emulate_media(color_scheme="dark")
            wrong += onlooker.findings(rules=("color-contrast",))
            page.emulate_media(color_scheme="light")
    wrong += onlooker.troubles
    onlooker.page.context.close()
    assert wrong == []


def test_pages_work_without_script(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    onlooker = signed_in(browser, served, made_key(ops, "default", "admin"), java_script_enabled=False)
    page = onlooker.page
    assert page.get_by_role("button", name="Copy").count() == 0, "a button that would do nothing is not there"
    page.get_by_role("link", name="UTC").click()
    page.get_by_label("Time zone").select_option("America/Denver")
    page.get_by_role("button", name="Keep").click()
    assert page.get_by_role("status").inner_text() == "Times are shown in America/Denver."
    page.get_by_role("button", name="Sign out").click()
    assert page.title() == "Sign in · Gatehouse"
    page.context.close()


def test_a_page_can_be_used_by_keyboard(browser: Browser, served: Served, ops: Database) -> None:
    onlooker = signed_in(browser, served, made_key(ops, "default", "viewer"))
    page = onlooker.open("/console/m/default")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.context.close()


@pytest.mark.req("P6")
def test_somebody_finds_a_failed_payment_and_gives_half_of_another_back(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    put(gatehouse_database, "payments", 3, reference="of-bob", email="bob@example.com")
    onlooker = signed_in(browser, served, made_key(ops, "default", "developer"))
    page = onlooker.page
    page.get_by_role("link", name="Payments", exact=True).click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="2", exact=True).click()
    assert "Insufficient funds" in page.get_by_role("main").inner_text()
    page.go_back()
    assert page.get_by_label("Status").input_value() == "failed", "the filters stand in the address"
    page.get_by_label("Status").select_option("")
    page.get_by_label("Search").fill("bob@example.com")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="3", exact=True).click()
    page.get_by_label("Amount to give back, EUR").fill("23.10")
    page.get_by_role("button", name="Refund").click()
    assert "23.10 EUR" in page.get_by_role("main").inner_text()
    page.get_by_role("button", name="Give it back").click()
    assert page.get_by_role("status").inner_text() == "A refund of 23.10 EUR was asked for."
    assert "pending" in page.get_by_role("main").inner_text()
    assert onlooker.troubles == []
    page.context.close()


@pytest.mark.req("G18")
def test_an_event_shows_by_itself_when_it_arrives(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    onlooker = signed_in(browser, served, made_key(ops, "default", "viewer"))
    page = onlooker.open("/console/m/default/events")
    assert "Nothing has arrived yet" in page.get_by_role("main").inner_text()
    paint(gatehouse_database)
    page.get_by_role("link", name="evt_1").click()
    assert page.title() == "Event evt_1 · The default merchant · Gatehouse"
    assert onlooker.troubles == []
    page.context.close()

"""Every page in a real browser: no errors, nothing refused, no scrolling sideways, nothing serious for axe."""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.routing import APIRoute
from playwright.sync_api import Browser, Page, expect

from console.app import PAGES, build
from console.desk import ConsoleDesk
from gatehouse.database.connection import Database
from gatehouse.forwarding.redriver import take_a_turn
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.jobs.claim import work_on
from gatehouse.jobs.depths import Depth
from gatehouse.sealing import Keyring
from gatehouse.tenants.records import Who
from local.http_front import HttpFront
from local.lambda_runtime import Invocation
from local.template import Route
from tests.console import chromium
from tests.console.chromium import WIDE, Onlooker
from tests.console.scenery import paint
from tests.http_api.api_client import made_key
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase
from tests.tenants.conftest import House, cluster, house_of, plain, worker

__all__ = ["cluster", "house_of", "plain", "worker"]

pytestmark = [
    pytest.mark.req("O4"),
    pytest.mark.skipif(chromium.executable() is None, reason=chromium.MISSING),
]

FOCUSED = """() => {
    const at = document.activeElement;
    const name = at.textContent.trim() || at.getAttribute("name") || at.tagName;
    return [name, getComputedStyle(at).outlineStyle, at.getBoundingClientRect().height];
}"""
FIRST_ORDER = 1_000_000_001
# Of a merchant that has something to show; a page that takes an id has it in scenery.py, but for that of a tenant.
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
    "/console/ops/settings/changes",
    "/console/ops/settings/accounts/new?gateway=mx_merchant",
    "/console/ops/settings/accounts/new?gateway=paypal",
    "/console/m/default/memberships",
    "/console/m/default/memberships?edit=1",
    "/console/m/default/memberships?tab=Cancellations",
    "/console/m/default/memberships/1",
    "/console/m/default/invoices/1",
    "/console/m/default/products",
    "/console/m/default/products?show=all",
    "/console/m/default/forwards",
    "/console/m/default/forwards/1",
    "/console/m/default/forwards/redrive?app=shop",
    "/console/m/default/forwards/redrives/1",
    "/console/m/default/subscriptions?app=shop",
    "/console/m/default/subscriptions/all",
    "/console/ops/subscriptions",
    "/console/m/default/tenants",
    "/console/m/default/tenants/{tenant}",
    "/console/m/default/tenants/{tenant}/sql",
    "/console/m/default/tenants/{tenant}/delete",
    "/console/ops/sync",
    "/console/ops/sync/compare",
)
# Of a merchant that has nothing yet: each page says so, and what to do.
EMPTY_PAGES = tuple(
    f"/console/m/acme{page}"
    for page in (
        *("", "/payments", "/payments/disputes", "/payments/refunds", "/orders", "/customers", "/events"),
        *("/memberships", "/products", "/subscriptions/all", "/forwards/redrive", "/tenants"),
    )
)
# What a viewer of one merchant sees, who changes nothing: the pages that would offer something to others.
PAGES_OF_A_VIEWER = (
    "/console/m/default",
    "/console/m/default/payments/1",
    f"/console/m/default/orders/{FIRST_ORDER}",
    "/console/m/default/customers/1",
    "/console/m/default/memberships",
    "/console/m/default/memberships/1",
    "/console/m/default/products",
    "/console/m/default/forwards",
    "/console/m/default/forwards/1",
    "/console/m/default/tenants",
)
REACHED_BY_TAB = (
    ("/console/m/default/payments/1", "Refund …"),
    ("/console/m/default/payments/1/refund?amount=1", "Give it back"),
    ("/console/m/default/memberships?edit=1", "Save"),
    ("/console/m/default/forwards/redrive", "Send them again"),
    ("/console/m/default/tenants", "Make the tenant"),
)
PAGES_OF_ERRORS = ("/console/nothing", "/console/m/nobody", "/console/m/default/payments?cursor=none-of-ours")


class SilentBell:
    """Stands for the bell; what rings is tested elsewhere."""

    def ring(self, jobs: Sequence[tuple[int, str]], **patience: float) -> int:
        """Ring for nobody."""
        del patience
        return len(jobs)


def carry_out_redrive(place: GatehouseDatabase) -> None:
    """Let event_forwarder's worker take its turn with the newest redrive."""
    [[job]] = place.sql("select max(id) from jobs where topic = 'redrive'")
    worker, bell = place.connect("worker"), SilentBell()
    workers = {"redrive": lambda taken: take_a_turn(taken, worker, bell)}  # type: ignore[arg-type]  # a bell that is silent
    try:
        assert work_on(job, workers, worker, bell) == "done"  # type: ignore[arg-type]  # likewise
    finally:
        worker.close()


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
def served(ops: Database, api_database: Database, keyring: Keyring, plain: House) -> Iterator[Served]:
    """The console over this test's database, with tenants on the cluster beside it."""
    desk = ConsoleDesk(
        lambda: api_database,
        lambda: ops,
        lambda: keyring,
        lambda: SilentBell(),  # type: ignore[arg-type, return-value]  # rings
        depths=lambda: [Depth("forwarding", 1, 0, 0, 2)],
        tenant_links=lambda: plain.links,
        tenant_engine_for=lambda _plan, asked: asked or plain.engine.name,
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


def looked_at(onlooker: Onlooker, path: str = "") -> list[str]:
    """Return what is wrong with the page that is open: on the phone and wide, by day and by night, its title."""
    page = onlooker.page
    wrong = [] if page.get_by_role("heading", level=1).count() == 1 else [f"{page.url} has no one headline"]
    title = page.title()
    named = page.get_by_role("heading", level=1).inner_text()
    merchant = "The default merchant" if path.startswith("/console/m/default") else ""
    if not (title.startswith(f"{named} · ") and title.endswith(" · Gatehouse") and merchant in title):
        wrong.append(f"{page.url} is called {title}")
    wrong += [*onlooker.widths(), *onlooker.findings()]
    page.emulate_media(color_scheme="dark")
    wrong += onlooker.findings(rules=("color-contrast",))
    page.emulate_media(color_scheme="light")
    return wrong


def test_no_page_is_left_out() -> None:
    shown = [path.partition("?")[0] for path in PAGES_TO_LOOK_AT]
    routes = [route for each in PAGES for route in each.router.routes if isinstance(route, APIRoute)]
    asked = {route.path: route.path_regex for route in routes if "GET" in (route.methods or ())}
    looked_at = {next(path for path, pattern in asked.items() if pattern.match(each)) for each in shown}
    # They lead to another page, or are there for who has not signed in.
    not_looked_at = asked.keys() - looked_at
    assert not_looked_at == {"/console", "/console/sign-in", "/console/subscriptions", "/dashboard/subscriptions"}


def test_every_page_is_sound_in_a_real_browser(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase, plain: House
) -> None:
    paint(gatehouse_database)
    tenant = plain.tenant("The laboratory")
    onlooker = signed_in(browser, served, made_key(ops, None, "ops"), color_scheme="light")
    wrong: list[str] = []
    for path in (*PAGES_TO_LOOK_AT, *EMPTY_PAGES):
        onlooker.open(path.format(tenant=tenant))
        wrong += looked_at(onlooker, path)
    assert wrong + onlooker.troubles == []
    for path in PAGES_OF_ERRORS:
        page = onlooker.open(path)
        expect(page.get_by_role("main")).to_contain_text("What to try.")
        wrong += looked_at(onlooker)
    said = [each for each in onlooker.troubles if "the server responded with a status of 4" not in each]
    onlooker.page.context.close()
    assert wrong + said == []


def test_what_comes_of_a_form_is_sound_too(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase, plain: House
) -> None:
    paint(gatehouse_database)
    tenant = plain.tenant("The laboratory", who=Who("default", "user:somebody"))
    onlooker = signed_in(browser, served, made_key(ops, None, "ops"), color_scheme="light")
    page, wrong = onlooker.page, []

    page = onlooker.open(f"/console/m/default/tenants/{tenant}/sql")
    page.get_by_label("Statement").fill("select repeat('long ', 60) as words, n from generate_series(1, 30) n")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile("^30 rows, "))).to_be_visible()
    wrong += looked_at(onlooker)

    onlooker.open("/console/m/default/memberships?edit=1")
    gatehouse_database.sql("update memberships set referral_source = 'a friend', version = version + 1 where id = 1")
    page.get_by_label("Referred by").last.fill("a poster")
    page.get_by_role("button", name="Save").click()
    both = page.get_by_role("region", name="Both versions")
    expect(both).to_contain_text("a friend")
    expect(both).to_contain_text("a poster")
    wrong += looked_at(onlooker)
    page.get_by_role("button", name="Save mine over it").click()
    expect(page.get_by_role("status")).to_have_text("The membership was changed.")
    assert "a poster" in page.locator("#m1").inner_text()

    onlooker.open("/console/ops/settings")
    page.get_by_text("Make a key").click()
    page.get_by_label("Who or what uses it").fill("the till")
    page.locator("select[name=role]").select_option("ops")
    page.get_by_role("button", name="Make the key").click()
    expect(page.get_by_role("status")).to_contain_text("is shown this once")
    wrong += looked_at(onlooker)

    onlooker.open("/console/m/default/forwards/redrive?app=shop")
    page.get_by_role("button", name="Send them again").click()
    carry_out_redrive(gatehouse_database)
    expect(page.get_by_role("progressbar", name="Sent: 1 of 1")).to_be_visible()
    wrong += looked_at(onlooker)
    gatehouse_database.sql("update jobs set status = 'done', finished_at = now() where topic = 'forward'")
    expect(page.get_by_role("main")).to_contain_text("All is done: 1 arrived.")  # by itself
    wrong += looked_at(onlooker)

    onlooker.open("/console/m/default/tenants")
    page.get_by_label("Name").fill("Slow one")
    page.get_by_role("button", name="Make the tenant").click()
    expect(page.get_by_role("progressbar").first).to_be_visible()
    wrong += looked_at(onlooker)

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_have_text("You have signed out.")
    wrong += looked_at(onlooker)
    # A conflict is an answer of 412, which a browser notes as an error of the page.
    said = [each for each in onlooker.troubles if "status of 412" not in each]
    onlooker.page.context.close()
    assert wrong + said == []


def test_a_viewer_sees_pages_that_are_sound_and_offer_no_change(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    key = made_key(ops, "default", "viewer", may_read_health_data=True)
    onlooker = signed_in(browser, served, key, color_scheme="light")
    wrong: list[str] = []
    for path in PAGES_OF_A_VIEWER:
        page = onlooker.open(path)
        wrong += onlooker.findings()
        if page.locator("main form[method=post]").count() or page.get_by_text("all merchants").count():
            wrong.append(f"{path} offers a viewer what he may not do")
    onlooker.page.context.close()
    assert wrong + onlooker.troubles == []


def test_pages_work_without_script(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase, plain: House
) -> None:
    paint(gatehouse_database)
    put(gatehouse_database, "payments", 3, reference="of-bob", email="bob@example.com")
    onlooker = signed_in(browser, served, made_key(ops, None, "ops"), java_script_enabled=False)
    page = onlooker.page
    main = page.get_by_role("main")
    pages = page.get_by_role("navigation", name="Pages")

    def told(words: str) -> None:
        expect(page.get_by_role("status")).to_contain_text(words)

    page.get_by_role("link", name="The default merchant").click()
    assert page.get_by_role("button", name="Copy").count() == 0, "a button that would do nothing is not there"
    _find_and_refund(page)
    pages.get_by_role("link", name="Memberships").click()
    page.get_by_label("Search").fill("Byron")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Edit Ada Byron, TRT").click()
    gatehouse_database.sql("update memberships set referral_source = 'a friend', version = version + 1 where id = 1")
    page.get_by_label("Fulfilled by").last.fill("ship")
    page.get_by_role("button", name="Save").click()
    expect(main).to_contain_text("a friend")
    page.get_by_role("button", name="Save mine over it").click()
    told("The membership was changed.")
    assert page.get_by_label("Search").input_value() == "Byron", "the list is as it was"
    expect(page.locator("#m1")).to_contain_text("ship")

    pages.get_by_role("link", name="Products").click()
    page.get_by_label("Category of Semaglutide 5mg").fill("Weight Loss")
    main.get_by_role("button", name="Set", exact=True).nth(1).click()
    told("Semaglutide 5mg is under Weight Loss now.")

    pages.get_by_role("link", name="Forwarding").click()
    page.get_by_role("region", name="Failures by cause").get_by_role("link", name="Send again …").click()
    page.get_by_role("button", name="Send them again").click()
    expect(main).to_contain_text("It goes on by itself")
    carry_out_redrive(gatehouse_database)
    expect(main).to_contain_text("Sent: 1 of 1", timeout=10_000)
    gatehouse_database.sql("update jobs set status = 'done', finished_at = now() where topic = 'forward'")
    expect(main).to_contain_text("All is done: 1 arrived.", timeout=10_000)  # the page loads itself again

    pages.get_by_role("link", name="Tenants").click()
    page.get_by_label("Name").fill("The laboratory")
    page.get_by_role("button", name="Make the tenant").click()
    told("The laboratory is being made.")
    assert plain.work() == ["done"]
    page.get_by_role("link", name="Look again").click()
    page.get_by_role("link", name="Run SQL").click()
    page.get_by_label("Statement").fill("select 6 * 7 as answer")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("region", name="Result")).to_contain_text("42")

    page.get_by_role("link", name="UTC").click()
    page.get_by_label("Time zone").select_option("America/Denver")
    page.get_by_role("button", name="Keep").click()
    told("Times are shown in America/Denver.")
    page.get_by_role("button", name="Sign out").click()
    assert page.title() == "Sign in · Gatehouse"
    assert [each for each in onlooker.troubles if "status of 412" not in each] == []
    page.context.close()


def _find_and_refund(page: Page) -> None:
    """Look through a list by its filters and pages, open a payment of it, and give a part of that back."""
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Payments").click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name="Clear").click()
    assert page.locator("tbody tr").count() == 3
    page.get_by_label("Search").fill("bob@example.com")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="3", exact=True).click()
    page.get_by_label("Amount to give back, EUR").fill("23.10")
    page.get_by_role("button", name="Refund").click()
    expect(page.get_by_role("main")).to_contain_text("23.10 EUR")
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_role("status")).to_have_text("A refund of 23.10 EUR was asked for.")


def test_a_page_can_be_used_by_keyboard(browser: Browser, served: Served, ops: Database) -> None:
    onlooker = signed_in(browser, served, made_key(ops, "default", "viewer"))
    page = onlooker.open("/console/m/default")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.context.close()


def test_what_a_page_is_for_is_reached_by_the_tab_key_and_seen_there(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    onlooker = signed_in(browser, served, made_key(ops, None, "ops"))
    for path, action in REACHED_BY_TAB:
        page = onlooker.open(path)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # past the navigation
        reached: list[str] = []
        while action not in reached:
            assert len(reached) < 60, f"{action} is not reached: {reached}"
            page.keyboard.press("Tab")
            name, outline, height = page.evaluate(FOCUSED)
            assert outline != "none", f"nobody sees that {name} has the focus"
            assert height > 0, f"{name} has the focus and is not there"
            reached.append(name)
    onlooker.page.context.close()


def test_the_keyboard_leads_to_the_filter_and_an_id_is_copied(
    browser: Browser, served: Served, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    permissions = ["clipboard-read", "clipboard-write"]
    onlooker = signed_in(browser, served, made_key(ops, "default", "viewer"), permissions=permissions)
    page = onlooker.open("/console/m/default/payments")
    page.keyboard.press("/")
    page.keyboard.type("order-1")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="1", exact=True).click()
    page.get_by_role("button", name="Copy").first.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "order-1"
    assert onlooker.troubles == []
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

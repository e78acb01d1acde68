"""A newcomer at the console of the whole stack: by the printed link, in a real browser, clicking what the pages offer.

The demo data is that of `make run`, but less of it. No step types an address.
"""

import logging
import re
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from local import demo_data
from tests.console import chromium
from tests.console.chromium import WIDE, Onlooker
from tests.support.stack import RunningStack, wait_until

needs_chromium = pytest.mark.skipif(chromium.executable() is None, reason=chromium.MISSING)
TICKETS, PATIENTS = 60, 14
PATIENCE_SECONDS = 60  # functions start now, on a machine that may be busy
TENANT = "The newcomer's own"
UNKNOWN = demo_data.UNKNOWN_PRODUCTS[0]

pytestmark = pytest.mark.req("O4", "O2")


@pytest.fixture(scope="module")
def demo_stack(running_stack: RunningStack) -> Iterator[RunningStack]:
    """The running stack with demo data; what the newcomer makes is removed again."""
    opened = demo_data.open_stack(running_stack.supervisor)
    try:
        demo_data.fill(opened, running_stack.facts, tickets=TICKETS, patients=PATIENTS)
    finally:
        for database in (opened.intake, opened.api, opened.ops):
            database.close()
    yield running_stack
    remove_tenant(running_stack)


@pytest.fixture(scope="module")
def newcomer(demo_stack: RunningStack) -> Iterator[Onlooker]:
    """Somebody who has nothing but the printed link, and has followed it."""
    with chromium.launched() as browser:
        onlooker = Onlooker(browser.new_context(viewport=WIDE), demo_stack.facts["api_url"])
        onlooker.page.set_default_timeout(PATIENCE_SECONDS * 1000)
        expect.set_options(timeout=PATIENCE_SECONDS * 1000)
        onlooker.sign_in(demo_stack.facts["console_url"])
        expect(onlooker.page).to_have_title("All merchants · Gatehouse")
        yield onlooker
        expect.set_options(timeout=5_000)  # as it was for all others


def remove_tenant(stack: RunningStack) -> None:
    """Remove the newcomer's tenant with its database, which other tests count."""
    url = stack.facts["tenants"]["url"]
    with httpx.Client(headers={"authorization": f"Bearer {stack.facts['api_key']}"}, timeout=60) as http:
        for tenant in http.get(url).json()["data"]:
            if tenant["name"] == TENANT:
                http.delete(f"{url}/{tenant['id']}", headers={"confirm-name": TENANT}, params={"at_once": "true"})


def at(newcomer: Onlooker, merchant: str, *links: str) -> Page:
    """Begin at the overview of all merchants, and go on to a page of one of them by its links."""
    page = newcomer.page
    page.get_by_role("link", name="Gatehouse", exact=True).click()
    until_it_is_told(newcomer, page.get_by_role("link", name=merchant, exact=True)).click()
    for link in links:
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=link, exact=True).click()
    return page


def until_it_is_told(newcomer: Onlooker, wanted: Locator) -> Locator:
    """Load a page again, as anybody would, that lacks what it should show: a busy machine may say 503 for a while."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            wanted.wait_for(timeout=10_000)
        except PlaywrightTimeoutError:
            said = newcomer.page.locator("body").inner_text()
            logging.getLogger(__name__).warning("%s said: %s", newcomer.page.url, said[:1000])
            assert time.monotonic() < deadline, said
            newcomer.page.reload()
        else:
            newcomer.troubles[:] = [each for each in newcomer.troubles if "status of 503" not in each]
            return wanted


def rows(page: Page) -> Locator:
    """Return the rows of the only table of the page."""
    return page.locator("tbody tr")


def test_the_printed_link_signs_in_through_the_front_door(running_stack: RunningStack) -> None:
    facts = running_stack.facts
    with httpx.Client(base_url=facts["api_url"], timeout=30, trust_env=False) as browser:
        assert browser.get("/console").headers["location"] == "/console/sign-in"
        asked = browser.get(facts["console_url"])
        ticket = re.search(r'name="ticket" value="([^"]+)"', asked.text)
        assert ticket is not None
        signed_in = browser.post("/console/sign-in", data={"ticket": ticket[1]})
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/console")
        assert "HttpOnly" in signed_in.headers["set-cookie"]
        assert browser.get("/console").headers["location"] == "/console/ops"
        for path, words in (
            ("/console/ops", "All merchants"),
            ("/console/ops/health", "enrichment"),
            ("/console/ops/settings", "make run, the console"),
            ("/console/m/default/payments", "Payments"),
        ):
            shown = browser.get(path)
            assert shown.status_code == 200, path
            assert words in shown.text, path
        assert "SQS does not say" not in browser.get("/console/ops/health").text
        style = re.search(r'href="(/console/static/style\.css[^"]*)"', shown.text)
        assert style is not None
        assert browser.get(style[1]).headers["content-type"] == "text/css; charset=utf-8"


@needs_chromium
@pytest.mark.req("P3")
def test_finds_a_failed_payment_and_why(newcomer: Onlooker) -> None:
    page = at(newcomer, "The summer festival")
    page.get_by_role("link", name="Payments that failed, and why").click()
    expect(page).to_have_title("Payments · The summer festival · Gatehouse")
    assert page.get_by_label("Status").input_value() == "failed"
    rows(page).first.get_by_role("link").first.click()
    said = page.get_by_role("main").inner_text()
    assert any(code in said and words in said for code, words in demo_data.DECLINES), said
    page.go_back()
    assert page.get_by_label("Status").input_value() == "failed"
    assert newcomer.troubles == []


@needs_chromium
@pytest.mark.req("P6")
def test_gives_half_of_a_payment_back(newcomer: Onlooker) -> None:
    page = at(newcomer, "The summer festival", "Payments")
    page.get_by_label("Status").select_option("completed")
    page.get_by_role("button", name="Filter").click()
    row = rows(page).first
    number = row.get_by_role("link").first.inner_text()
    row.get_by_role("link").first.click()
    field = page.get_by_label("Amount to give back")
    half = f"{float(field.input_value()) / 2:.2f}"
    field.fill(half)
    page.get_by_label("Reason").fill("was ill on Sunday")
    page.get_by_role("button", name="Refund …").click()
    expect(page.get_by_role("main")).to_contain_text(f"{half} ")
    expect(page.get_by_role("main")).to_contain_text("Reason: was ill on Sunday.")
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_role("status")).to_contain_text(f"A refund of {half} ")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "partially refunded" not in (said := page.get_by_role("main").inner_text()):
        assert time.monotonic() < deadline, said
        page.wait_for_timeout(300)
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Payments").click()
        page.get_by_role("link", name=number, exact=True).click()
    (asked,) = [row for row in rows(page).all_inner_texts() if "sent" in row and half in row]
    assert "completed" in asked, "the gateway has carried it out"
    assert newcomer.troubles == []


@needs_chromium
@pytest.mark.req("M2", "M4")
def test_categorises_an_unknown_product_and_sees_its_memberships_under_their_tab(newcomer: Onlooker) -> None:
    page = at(newcomer, "The health clinic", "Products")
    expect(page.get_by_role("link", name=re.compile("To review"))).to_have_attribute("aria-current", "page")
    page.get_by_label(f"Category of {UNKNOWN}").fill("Weight Loss")
    rows(page).filter(has_text=UNKNOWN).get_by_role("button", name="Set").click()
    expect(page.get_by_role("status")).to_contain_text(f"{UNKNOWN} is under Weight Loss now.")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Memberships").click()
    tab = page.get_by_role("link", name=re.compile("^Weight Loss"))
    tab.click()
    expect(page).to_have_title("Memberships: Weight Loss · The health clinic · Gatehouse")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not rows(page).filter(has_text=UNKNOWN).count():
        assert time.monotonic() < deadline, page.get_by_role("main").inner_text()
        page.wait_for_timeout(300)
        tab.click()
    assert newcomer.troubles == []


@needs_chromium
@pytest.mark.req("R3")
def test_sends_a_dead_delivery_again(newcomer: Onlooker, demo_stack: RunningStack) -> None:
    receiver = urlsplit(demo_stack.facts["receiver_url"])

    def arrived() -> list[int]:
        found = httpx.get(f"http://{receiver.netloc}/_received", timeout=30).json()["received"]
        return [each["status"] for each in found if demo_data.REFUSED_REFERENCE in each["body"]]

    wait_until(arrived, PATIENCE_SECONDS)
    assert arrived() == [404]
    merchant = "The default merchant"
    page = at(newcomer, merchant, "Forwarding")
    failure = page.get_by_role("region", name="Failures by cause").locator("tr", has_text="HTTP_404")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not failure.count():
        assert time.monotonic() < deadline, page.get_by_role("main").inner_text()
        page.wait_for_timeout(300)
        page.get_by_role("navigation", name="Pages").get_by_role("link", name="Forwarding").click()
    failure.get_by_role("link", name="Send again …").click()
    expect(page.get_by_role("main")).to_contain_text("1 delivery will be sent again")
    assert arrived() == [404], "a plan sends nothing"
    page.get_by_role("button", name="Send them again").click()
    expect(page).to_have_title(re.compile(r"^Redrive \d+ · "))
    expect(page.get_by_role("progressbar", name="Sent: 1 of 1")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("All is done: 1 arrived.")
    assert arrived() == [404, 200]
    assert newcomer.troubles == []


@needs_chromium
@pytest.mark.req("T1", "T3")
def test_makes_a_tenant_and_asks_it(newcomer: Onlooker) -> None:
    page = at(newcomer, "The default merchant", "Tenants")
    page.get_by_label("Name").fill(TENANT)
    page.get_by_role("button", name="Make the tenant").click()
    expect(page.get_by_role("status")).to_have_text(f"{TENANT} is being made.")
    page.get_by_role("main").get_by_role("link", name="Run SQL").click()  # comes by itself when it is ready
    expect(page).to_have_title(re.compile(rf"^SQL on {TENANT} · "))
    for statement in ("create table dances (name text)", "insert into dances values ('balboa'), ('lindy hop')"):
        page.get_by_label("Statement").fill(statement)
        page.get_by_role("button", name="Run").click()
        expect(page.get_by_label("Statement")).to_have_value(statement)
    page.get_by_label("Statement").fill("select name, length(name) as letters from dances order by name")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_text(re.compile(r"^2 rows, "))).to_be_visible()
    assert rows(page).all_inner_texts() == ["balboa\t6", "lindy hop\t9"]
    assert newcomer.troubles == []

"""What holds for every page: who sees it, its headers, its size, and that errors can be read."""

import re

import pytest

from console.app import PAGES
from tests.console.console_client import Browser, Console

pytestmark = pytest.mark.req("O4")

MOST_BYTES = 100_000
PUBLIC = {"/console/sign-in", "/console/sign-out", "/dashboard/subscriptions"}


def routes(method: str = "GET") -> list[str]:
    """Return the paths of all pages, with 1 in the place of each id."""
    found = [route for page in PAGES for route in page.router.routes if method in getattr(route, "methods", ())]
    return sorted({route.path for route in found})  # type: ignore[attr-defined]  # a route with methods has a path


def filled(path: str, merchant: str) -> str:
    """Return a path with a merchant and made-up ids in it."""
    named = path.replace("{merchant}", merchant).replace("{refund_request}", "00000000-0000-0000-0000-000000000001")
    return re.sub(r"\{[^}]+\}", "1", named)


@pytest.mark.req("M7")
def test_a_merchant_gets_nothing_of_another_whatever_the_address(stranger: Browser, console: Console) -> None:
    nobody = console.browser()
    for method in ("GET", "POST"):
        for route in routes(method):
            if route in PUBLIC:
                continue
            path = filled(route, "default")
            asked = nobody.get(path) if method == "GET" else nobody.post(path, {"csrf": "x"})
            assert asked.location.startswith("/console/sign-in"), path
            if "{merchant}" in route or "/console/ops" in route:
                refused = stranger.get(path) if method == "GET" else stranger.post(path)
                assert refused.status == 404, (method, path, refused.status)


@pytest.mark.req("M7")
def test_a_merchant_that_there_is_not_looks_like_one_that_is_not_yours(stranger: Browser, operator: Browser) -> None:
    ours, none = stranger.get("/console/m/default"), stranger.get("/console/m/nobody")
    assert (ours.status, ours.words) == (none.status, none.words.replace("nobody", "default"))
    assert operator.get("/console/m/nobody").status == 404
    assert operator.get("/console/m/%00").status == 404
    assert operator.get("/console/m/acme").status == 200


def test_viewers_change_nothing(viewer: Browser) -> None:
    own = {*PUBLIC, "/console/preferences"}
    for route in routes("POST"):
        if route not in own:
            refused = viewer.post(filled(route, "default"))
            assert refused.status in (403, 404), route


def test_every_page_keeps_its_headers_and_its_size(operator: Browser, admin: Browser) -> None:
    for route in routes():
        for browser in (operator, admin):
            shown = browser.get(filled(route, "default"))
            assert shown.status < 500, (route, shown.words)
            if shown.status in (302, 303):
                continue
            policy = shown.headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert shown.headers["x-content-type-options"] == "nosniff"
            assert shown.headers["cache-control"] == "no-store"
            assert len(shown.text.encode()) < MOST_BYTES, route
            if shown.headers["content-type"].startswith("text/html") and "<html" in shown.text:
                assert re.search(r"<title>.+ · Gatehouse</title>", shown.text), route
                assert not re.search(r"\son[a-z]+=|\sstyle=|<style|javascript:", shown.text), route
                assert not re.search(r"<script(?! src=\"/console/static/)", shown.text), route


def test_static_files_are_kept_by_browsers_for_as_long_as_they_are_the_same(viewer: Browser, console: Console) -> None:
    page = viewer.get("/console/m/default").text
    (style,) = re.findall(r'href="(/console/static/style\.css\?v=[^"]+)"', page)
    kept = console.browser().get(style)
    assert (kept.status, kept.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert kept.headers["content-type"] == "text/css; charset=utf-8"
    assert console.browser().get("/console/static/style.css").headers["cache-control"] == "no-cache"
    for path in ("nothing.css", "..%2Fapp.py", "%2e%2e/app.py"):
        assert console.browser().get(f"/console/static/{path}").status == 404


def test_an_error_says_what_happened_and_what_to_try(admin: Browser, console: Console) -> None:
    missing = admin.get("/console/nothing")
    assert missing.status == 404
    for words in ("There is no such page.", "What to try.", "NO_SUCH_PAGE, request JKJaXmPLvHcESHA="):
        assert words in missing.words
    assert console.browser().get("/console/nothing").status == 404
    assert admin.get("/console/sign-out").status == 405


def test_a_fault_of_our_own_is_a_page_too_and_tells_nothing(admin: Browser, console: Console) -> None:
    whole, console.api_database = console.api_database, object()  # type: ignore[assignment]  # anything that fails
    try:
        shown = admin.get("/console/m/default")
    finally:
        console.api_database = whole
    assert shown.status == 500
    assert "A fault of our own" in shown.words
    assert "object" not in shown.words

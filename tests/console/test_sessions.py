"""Who gets in, how a session ends, and what a form must show."""

import base64
import time

import pytest

from console import sessions
from gatehouse.database.connection import Database
from gatehouse.models import api_keys
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser, Console
from tests.http_api.api_client import made_key

pytestmark = pytest.mark.req("O4")

KEY = "gh_Abcdefg1_" + "x" * 43


def test_a_sealed_session_opens_until_it_is_over_and_never_when_it_was_touched(keyring: Keyring) -> None:
    session = sessions.begin("Abcdefg1", b"\x01" * 32, 1_000_000)
    cookie = sessions.seal_session(keyring, session)
    assert sessions.open_session(keyring, cookie, 1_000_000 + sessions.SESSION_SECONDS - 1) == session
    assert sessions.open_session(keyring, cookie, 1_000_000 + sessions.SESSION_SECONDS) is None
    for wrong in ("", "x", cookie[:-2], cookie.replace(".", ""), f"zz{cookie}", cookie + "A" * 3000, "k.\u00e9"):
        assert sessions.open_session(keyring, wrong, 1_000_000) is None, wrong
    changed = bytearray(base64.urlsafe_b64decode(cookie.partition(".")[2] + "=="))
    changed[20] ^= 1
    touched = f"{cookie.partition('.')[0]}.{base64.urlsafe_b64encode(bytes(changed)).decode().rstrip('=')}"
    assert sessions.open_session(keyring, touched, 1_000_000) is None


def test_a_link_is_no_session_and_a_session_no_link(keyring: Keyring) -> None:
    ticket = sessions.seal_link(keyring, KEY, 1_000_000)
    assert sessions.open_link(keyring, ticket, 1_000_001) == ("Abcdefg1", api_keys.key_hash(KEY))
    assert sessions.open_link(keyring, ticket, 1_000_000 + sessions.LINK_SECONDS) is None
    assert sessions.open_session(keyring, ticket, 1_000_001) is None
    cookie = sessions.seal_session(keyring, sessions.begin("Abcdefg1", b"\x01", 1_000_000))
    assert sessions.open_link(keyring, cookie, 1_000_001) is None


def test_the_cookie_opens_the_console_and_not_the_api(keyring: Keyring) -> None:
    cookie = sessions.seal_session(keyring, sessions.begin("Abcdefg1", api_keys.key_hash(KEY), time.time()))
    assert KEY not in cookie
    assert KEY[12:] not in keyring.open(*_parts(cookie), ("console", "session")).decode()


def _parts(cookie: str) -> tuple[str, bytes]:
    key_id, _, sealed = cookie.partition(".")
    return key_id, base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))


def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_his_page(console: Console, ops: Database) -> None:
    browser = console.browser()
    sent = browser.get("/console/m/default", x="1")
    assert (sent.status, sent.location) == (303, "/console/sign-in?next=%2Fconsole%2Fm%2Fdefault%3Fx%3D1")
    assert "Sign in · Gatehouse" in browser.get(sent.location).text
    done = browser.post("/console/sign-in", {"key": made_key(ops), "next": "/console/m/default?x=1"}, csrf=False)
    assert (done.status, done.location) == (303, "/console/m/default?x=1")
    (cookie,) = [each for each in browser.set_cookies if "session" in each]
    for part in ("__Host-gatehouse_session=", "HttpOnly", "Secure", "SameSite=strict", "Path=/", "Max-Age=28800"):
        assert part in cookie
    assert browser.get("/console").location == "/console/m/default"
    assert browser.get("/console/m/default").status == 200


@pytest.mark.parametrize("path", ["https://evil.example", "//evil.example", "/console//evil", "/console/\\x", "/other"])
def test_signing_in_leads_to_pages_of_ours_only(console: Console, ops: Database, path: str) -> None:
    done = console.browser().post("/console/sign-in", {"key": made_key(ops), "next": path}, csrf=False)
    assert done.location == "/console"


def test_a_key_that_does_not_work_begins_no_session(console: Console, ops: Database) -> None:
    revoked = made_key(ops)
    api_keys.revoke_key(ops, revoked[3:11])
    for key, words in (
        ("x", "A key looks like"),
        (api_keys.new_key(), "not known"),
        (revoked, "revoked"),
        ("", "A key"),
    ):
        browser = console.browser()
        refused = browser.post("/console/sign-in", {"key": key}, csrf=False)
        assert refused.status == 401
        assert words in refused.words
        assert not any("session" in name for name in browser.cookies)
        assert len(key) < 2 or key not in refused.text


def test_a_link_signs_in_with_one_click_and_not_for_ever(console: Console, ops: Database, keyring: Keyring) -> None:
    key, browser = made_key(ops), console.browser()
    ticket = sessions.seal_link(keyring, key, time.time())
    asked = browser.get("/console/sign-in", ticket=ticket)
    assert key[3:11] in asked.words
    assert not browser.cookies, "looking at a link signs nobody in"
    assert browser.post("/console/sign-in", {"ticket": ticket}, csrf=False).status == 303
    assert browser.get("/console/m/default").status == 200
    old = sessions.seal_link(keyring, key, time.time() - sessions.LINK_SECONDS)
    assert "too old" in console.browser().get("/console/sign-in", ticket=old).words
    assert console.browser().post("/console/sign-in", {"ticket": old}, csrf=False).status == 401


def test_revoking_a_key_ends_its_sessions_at_once(console: Console, ops: Database) -> None:
    key = made_key(ops)
    browser = console.sign_in(key)
    assert browser.get("/console/m/default").status == 200
    api_keys.revoke_key(ops, key[3:11])
    ended = browser.get("/console/m/default")
    assert ended.location.endswith("&why=revoked")
    assert "Your key was revoked" in browser.get(ended.location).words


def test_signing_out_takes_the_session_from_the_browser(viewer: Browser) -> None:
    assert viewer.post("/console/sign-out").location == "/console/sign-in?why=bye"
    assert viewer.get("/console").location == "/console/sign-in"


def test_a_form_needs_the_token_of_its_session_and_comes_from_our_own_pages(admin: Browser, viewer: Browser) -> None:
    ours = {"zone": "Europe/Madrid", "csrf": admin.csrf()}
    assert admin.post("/console/preferences", ours).status == 303
    for fields, headers in (
        ({**ours, "csrf": ""}, {}),
        ({**ours, "csrf": viewer.csrf()}, {}),
        (ours, {"origin": "https://evil.example"}),
        (ours, {"sec-fetch-site": "cross-site"}),
        (ours, {"sec-fetch-site": "same-site"}),
    ):
        refused = admin.post("/console/preferences", fields, csrf=False, headers=headers)
        assert (refused.status, "FORM_NOT_OURS" in refused.words) == (403, True), (fields, headers)
    wrong_kind = admin.post("/console/preferences", ours, headers={"content-type": "application/json"})
    assert wrong_kind.status == 415


def test_the_page_of_a_chosen_zone_says_so(admin: Browser) -> None:
    done = admin.post("/console/preferences", {"zone": "America/Denver", "theme": "dark"})
    shown = admin.get(done.location)
    assert "Times are shown in America/Denver." in shown.words
    assert 'data-theme="dark"' in shown.text
    assert "Times are shown in America/Denver." not in admin.get(done.location).words, "said once"
    assert admin.post("/console/preferences", {"zone": "Mars/Olympus"}).status == 422

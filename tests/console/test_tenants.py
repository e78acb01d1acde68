"""Tenants in the console: asked for, made by the job, asked in SQL, shared, held to their plan, closed."""

from collections.abc import Callable, Iterator

import pytest

from console.app import build
from console.desk import ConsoleDesk
from gatehouse.database.connection import Database
from gatehouse.http_api.lambda_handler import lambda_handler
from tests.console.console_client import Browser, Console
from tests.http_api.api_client import made_key
from tests.tenants.conftest import House, cluster, house_of, plain, worker

__all__ = ["cluster", "house_of", "plain", "worker"]

pytestmark = pytest.mark.req("O4", "T1", "T3", "T4")
TENANTS = "/console/m/default/tenants"


@pytest.fixture
def tenants_console(console: Console, plain: House) -> Iterator[Console]:
    """The console over the plain cluster of this test."""
    before = console.handler
    desk = ConsoleDesk(
        lambda: plain.api,
        lambda: plain.shop.database,
        plain.shop.keyring,
        lambda: console,  # type: ignore[arg-type, return-value]  # rings
        tenant_links=lambda: plain.links,
        tenant_engine_for=lambda _plan, asked: asked or plain.engine.name,
    )
    console.handler = lambda_handler(build(desk))
    yield console
    console.handler = before


@pytest.fixture
def people(tenants_console: Console, ops: Database) -> Callable[[str, str], Browser]:
    """Return a function that signs somebody in."""
    return lambda merchant, role: tenants_console.sign_in(made_key(ops, merchant, role))


def test_a_tenant_is_made_asked_shared_and_deleted(
    people: Callable[[str, str], Browser], console: Console, plain: House
) -> None:
    owner, other, stranger = people("default", "admin"), people("default", "developer"), people("acme", "admin")
    assert "No tenants yet" in owner.get(TENANTS).words

    made = owner.post(TENANTS, {"name": "The shop", "plan": "free", "engine": "", "region": ""})
    path = made.location
    assert made.status == 303
    assert [topic for _, topic in console.rung] == ["provision_tenant"]
    assert "being made" in owner.get(path).words
    part = owner.get(path, live="1").text
    assert "<progress" in part
    assert "data-over" not in part
    assert owner.post(f"{path}/sql", {"query": "select 1"}).status == 409
    assert plain.work() == ["done"]
    assert "Run SQL" in owner.get(path, live="1").words, "a page that has waited leads on by itself"
    assert "data-over" in owner.get(path, live="1").text
    assert "The shop" in owner.get(TENANTS, status="active").words
    assert "No tenant is suspended" in owner.get(TENANTS, status="suspended").words

    sql = f"{path}/sql"
    assert "information_schema.tables" in owner.get(sql).text
    assert "gives no rows" in owner.post(sql, {"query": "create table notes (id int, words text)"}).words
    owner.post(sql, {"query": "insert into notes values (1, '<b>bold</b>'), (2, null)"})
    asked = owner.post(sql, {"query": "select *\r\nfrom notes order by id"})
    assert "2 rows" in asked.words
    assert "&lt;b&gt;bold&lt;/b&gt;" in asked.text, "what a database holds is text, and never marks"
    assert "null" in asked.words
    failed = owner.post(sql, {"query": "select 1,\nfrom nowhere, x"})
    assert failed.status == 400
    assert "syntax error" in failed.words
    assert "in line 2" in failed.words
    assert "from nowhere" in failed.text, "the statement is still there to be mended"
    many = owner.post(sql, {"query": "select repeat('x', 2000) as wide from generate_series(1, 500)"})
    assert "there are more than these" in many.words
    assert len(many.text) < 100_000

    for browser in (other, stranger):
        assert browser.get(path).status == 404
        assert browser.post(sql, {"query": "select 1"}).status == 404
        assert browser.post(f"{path}/delete", {"name": "The shop"}).status == 404
    who = _subject(other)
    owner.post(f"{path}/permissions", {"subject": who, "role": "viewer"})
    assert "2 rows" in other.post(sql, {"query": "select * from notes"}).words
    assert other.post(sql, {"query": "delete from notes"}).status >= 400
    assert other.post(f"{path}/plan", {"plan": "enterprise"}).status == 403
    owner.post(f"{path}/permissions/revoke", {"subject": who})
    assert other.get(path).status == 404
    assert owner.post(f"{path}/permissions", {"subject": "no colon", "role": "viewer"}).status == 422

    assert "of 10,000" in owner.get(path).words
    owner.post(f"{path}/plan", {"plan": "pro"})
    shown = owner.get(path).words
    assert "of 150,000" in shown
    assert "Usage by day" in shown
    owner.post(f"{path}/suspend", {"reason": "unpaid"})
    assert "unpaid" in owner.post(sql, {"query": "select 1"}).words
    owner.post(f"{path}/resume")
    assert "1 row" in owner.post(sql, {"query": "select 1"}).words
    assert "removed for ever" in owner.get(f"{path}/delete").words
    assert owner.post(f"{path}/delete", {"name": "Another"}).status == 422
    assert owner.post(f"{path}/delete", {"name": "The shop"}).status == 303
    assert "deleted" in owner.get(path).words


def test_a_viewer_of_the_merchant_makes_none(people: Callable[[str, str], Browser]) -> None:
    viewer = people("default", "viewer")
    assert "Make a tenant" not in viewer.get(TENANTS).words
    assert viewer.post(TENANTS, {"name": "Mine"}).status == 403


def test_a_viewers_key_reads_where_it_has_a_role_and_writes_nowhere(
    people: Callable[[str, str], Browser], plain: House
) -> None:
    owner, viewer = people("default", "admin"), people("default", "viewer")
    path = owner.post(TENANTS, {"name": "The shop"}).location
    assert plain.work() == ["done"]
    sql = f"{path}/sql"
    owner.post(sql, {"query": "create table notes as select 7 as n"})
    assert viewer.post(sql, {"query": "select 1"}).status == 404
    owner.post(f"{path}/permissions", {"subject": f"key:{_key_of(viewer)}", "role": "owner"})
    assert "Run SQL" in viewer.get(path).words
    assert "rights of a viewer, as your key changes nothing" in viewer.get(sql).words
    assert "1 row" in viewer.post(sql, {"query": "select * from notes"}).words
    for statement in ("delete from notes", "create table more (n int)", "drop table notes"):
        assert viewer.post(sql, {"query": statement}).status in (400, 403), statement
    assert viewer.post(sql, {"query": "select 1", "csrf": "x"}).status == 403
    assert viewer.post(f"{path}/plan", {"plan": "pro"}).status == 403
    assert "rights of your role, owner" in owner.get(sql).words


def test_a_plan_or_name_that_there_is_not_is_refused(people: Callable[[str, str], Browser]) -> None:
    owner = people("default", "admin")
    for wrong in ({"plan": "gold"}, {"name": ""}, {"engine": "oracle"}, {"billing_email": "nobody"}):
        refused = owner.post(TENANTS, {"name": "Shop", **wrong})
        assert refused.status == 422, wrong
        assert next(iter(wrong)).replace("_", " ") in refused.words.lower()


def _key_of(browser: Browser) -> str:
    """Return the id of somebody's key, as the head of each page has it."""
    return browser.get("/console/preferences").text.partition("key <code>")[2][:8]


def _subject(browser: Browser) -> str:
    """Return what the permissions call somebody, by a tenant of his own."""
    made = browser.post(TENANTS, {"name": "Own"})
    path = made.location
    shown = browser.get(path).text
    start = shown.index("key:")
    return shown[start : start + len("key:") + 8]

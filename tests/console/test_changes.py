"""Whoever changes merchants, accounts, keys or apps stands in the database, and nobody can change that."""

import json
import re
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import DatabaseError, QueryError
from gatehouse.forwarding import app_rows
from gatehouse.models import accounts, api_keys
from gatehouse.models.admin_changes import AdminChange, drop_old_changes, list_changes
from gatehouse.models.apps import add_app
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser
from tests.console.scenery import paint
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "P8")

SETTINGS = "/console/ops/settings"
SECRETS = ("whsec_old", "whsec_new", "sk_live_x")


def newest(ops: Database) -> AdminChange:
    (change,) = list_changes(ops, most=1)
    return change


def key_of(browser: Browser) -> str:
    found = re.search(r"key <code>(\w{8})</code>", browser.get("/console/preferences").text)
    assert found is not None
    return f"key {found[1]}"


def add_shop(ops: Database, keyring: Keyring) -> None:
    accounts.add_account(
        ops,
        keyring,
        gateway="stripe",
        account="shop",
        merchant="acme",
        mode="live",
        credentials={"signing_secrets": ["whsec_old"], "api_key": "sk_live_x"},
    )


def test_each_change_in_settings_says_who(operator: Browser, ops: Database, keyring: Keyring) -> None:
    who = key_of(operator)
    add_shop(ops, keyring)
    shop = f"{SETTINGS}/accounts/stripe/shop"
    for path, fields, what, subject, details in (
        ("/merchants", {"id": "spa", "name": "The spa"}, "merchant added", "spa", {"name": [None, "The spa"]}),
        ("/merchants/spa/switch", {"on": "no"}, "merchant switched off", "spa", {"is_active": [True, False]}),
        ("/merchants/spa/switch", {"on": "yes"}, "merchant switched on", "spa", {"is_active": [False, True]}),
        ("/accounts/stripe/shop/rotate", {"secret": "whsec_new"}, "secret rotated to", "stripe/shop", {}),
        (
            "/accounts/stripe/shop/retire",
            {},
            "old secrets retired: ",
            "stripe/shop",
            {"credentials": ["set", "changed"]},
        ),
        ("/accounts/stripe/shop/switch", {"on": "no"}, "account switched off", "stripe/shop", {}),
        ("/keys", {"name": "desk", "merchant": "acme", "role": "viewer"}, "key added", "", {"role": [None, "viewer"]}),
    ):
        assert operator.post(f"{SETTINGS}{path}", fields).status < 400, path
        change = newest(ops)
        assert (change.actor, change.what[: len(what)]) == (who, what)
        assert subject in change.subject
        assert details.items() <= change.details.items()
    made = newest(ops).subject
    operator.post(f"{SETTINGS}/keys/{made}/revoke")
    assert (newest(ops).actor, newest(ops).what, newest(ops).merchant) == (who, "key revoked", "acme")
    everything = json.dumps([change.details for change in list_changes(ops)])
    assert not any(secret in everything for secret in SECRETS)
    assert "hash" not in everything
    shown = operator.get(SETTINGS).words
    assert "key revoked" in shown
    assert who in shown
    del shop


def test_changes_are_shown_in_pages_and_by_merchant(operator: Browser, stranger: Browser) -> None:
    for number in range(4):
        operator.post(f"{SETTINGS}/merchants", {"id": f"m{number}", "name": "One of many"})
    first = operator.get(f"{SETTINGS}/changes", limit="2")
    assert ("m3" in first.words, "m2" in first.words, "merchant added m1" in first.words) == (True, True, False)
    (following,) = [link for link in first.links() if "before=" in link]
    assert "m1" in operator.get(following).words
    assert "merchant added m1" in operator.get(f"{SETTINGS}/changes", merchant="m1").words
    assert "merchant added m2" not in operator.get(f"{SETTINGS}/changes", merchant="m1").words
    assert stranger.get(f"{SETTINGS}/changes").status == 404


def test_what_is_done_again_says_who(admin: Browser, ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    paint(gatehouse_database)
    ((forward,),) = gatehouse_database.sql("select id from webhook_forward_logs where not ok limit 1")
    done = admin.post(f"/console/m/default/forwards/{forward}/again")
    assert done.status == 303, done.words
    change = newest(ops)
    assert change[2:6] == (key_of(admin), "default", "delivery made again", str(forward))


def test_apps_are_noted_and_their_circuits_are_not(ops: Database, worker: Database, keyring: Keyring) -> None:
    add_app(ops, "boutique", merchant="acme", actor="jane")
    assert newest(ops)[2:6] == ("jane", "acme", "app added", "boutique")
    url = "https://hooks.example.com/paid?key=secret"
    secret = app_rows.set_up(ops, keyring, "acme", "boutique", {"target_url": url}, actor="jane")
    change = newest(ops)
    assert change.details["target_url"] == [None, "https://hooks.example.com/paid"]
    assert change.details["sealed"] == [None, "set"]
    assert secret
    assert secret not in json.dumps(change.details)
    app_rows.rotate_secret(ops, keyring, "acme", "boutique", actor="jane")
    assert (newest(ops).what, newest(ops).details) == ("app's secret rotated", {"sealed": ["set", "changed"]})
    app_rows.pause(ops, "acme", "boutique", "maintenance", actor="joe")
    assert newest(ops)[2:6] == ("joe", "acme", "app paused", "boutique")
    before = newest(ops).id
    worker.query(
        "update apps set circuit_failures = 3, bucket_tokens = 1, bucket_filled_at = now() where name = 'boutique'"
    )
    assert newest(ops).id == before
    app_rows.resume(ops, "acme", "boutique", actor="joe")
    assert newest(ops).what == "app told again"


def test_without_an_actor_the_role_has_done_it(ops: Database) -> None:
    accounts.add_merchant(ops, "spa", "The spa")
    assert newest(ops).actor == "gatehouse_ops"
    api_keys.add_key(
        ops, api_keys.new_key(), merchant=None, role="ops", name="jane", user_id="jane@example.com", actor="joe"
    )
    assert "jane@" not in json.dumps(newest(ops).details)


@pytest.mark.parametrize(
    "statement", ["update admin_changes set actor = 'nobody'", "delete from admin_changes", "truncate admin_changes"]
)
def test_nobody_edits_what_is_noted(
    ops: Database, worker: Database, api_database: Database, gatehouse_database: GatehouseDatabase, statement: str
) -> None:
    accounts.add_merchant(ops, "spa", "The spa")
    for database in (ops, worker, api_database):
        with pytest.raises(QueryError):
            database.query(statement)
    owner = gatehouse_database.connect("owner")
    try:
        with pytest.raises(DatabaseError, match="append-only"):
            owner.query(statement)
    finally:
        owner.close()


@pytest.mark.req("M7")
def test_a_merchant_sees_its_own_and_writes_none(ops: Database, api_database: Database) -> None:
    for merchant in ("spa", "gym"):
        accounts.add_merchant(ops, merchant, merchant)
    seen = api_database.flush([_all()], merchant="spa")[0].rows
    assert {row["merchant"] for row in seen} == {"spa"}
    with pytest.raises(QueryError):
        api_database.query("insert into admin_changes (actor, what, subject) values ('me', 'x', 'y')")
    with pytest.raises(QueryError):
        api_database.query("select write_admin_change('gym', 'x', 'y', '{}')")


def _all() -> Any:
    from gatehouse.database.sql import Statement

    return Statement("all_changes", "All.", "select merchant from admin_changes", ())()


def test_old_ones_go_after_a_year_at_least(ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    accounts.add_merchant(ops, "spa", "The spa")
    gatehouse_database.sql(
        "set session_replication_role = replica; update admin_changes set at = now() - interval '800 days'"
    )
    accounts.add_merchant(ops, "gym", "The gym")
    with pytest.raises(DatabaseError, match="not allowed here"):
        drop_old_changes(ops, days=10)
    assert drop_old_changes(ops, days=700) >= 1
    assert {change.subject for change in list_changes(ops)} == {"gym"}

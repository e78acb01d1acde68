"""What operators look after: health, merchants, accounts, keys."""

import re

import pytest

from gatehouse.accounts import fingerprint
from gatehouse.database.connection import Database
from gatehouse.errors import AwsError
from gatehouse.jobs.depths import Depth
from gatehouse.models import accounts, api_keys, standing
from gatehouse.models.admin_changes import list_changes
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser, Console
from tests.console.scenery import paint
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "O5")
SETTINGS = "/console/ops/settings"


def test_health_shows_what_needs_a_look(
    console: Console, operator: Browser, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    gatehouse_database.sql("update jobs set status = 'dead'")
    console.queue_depths = [Depth("forwarding", 3, 1, 0, 2)]
    shown = operator.get("/console/ops/health").words
    for words in ("1 job of forward given up", "2 dead letters of the queue forwarding", "Largest tables", "stripe"):
        assert words in shown, words
    part = operator.get("/console/ops/health", live="1")
    assert "given up" in part.text
    assert "<html" not in part.text


def test_health_says_where_it_has_not_counted_all_of_the_last_hour(
    operator: Browser, gatehouse_database: GatehouseDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(gatehouse_database)
    gatehouse_database.sql("update webhook_events set received_at = now()")
    ((events,),) = gatehouse_database.sql("select count(*)::int from webhook_events")
    assert "at least" not in operator.get("/console/ops/health").words
    monkeypatch.setattr(standing, "NEWEST_EVENTS", events)
    assert f"at least {events}" in operator.get("/console/ops/health").words
    gatehouse_database.sql(
        "update webhook_events set received_at = now() - interval '2 hours'"
        " where id = (select min(id) from webhook_events)"
    )
    assert "at least" not in operator.get("/console/ops/health").words


def test_health_is_there_while_the_queues_are_away(console: Console, operator: Browser) -> None:
    console.queue_depths = AwsError("TIMEOUT", "no answer", retry_helps=True)
    shown = operator.get("/console/ops/health")
    assert (shown.status, "SQS does not say" in shown.words) == (200, True)


def test_a_merchant_is_added_and_switched_off_and_on(operator: Browser, stranger: Browser) -> None:
    assert operator.post(f"{SETTINGS}/merchants", {"id": "clinic", "name": "The clinic"}).status == 303
    assert "The clinic" in operator.get(SETTINGS).words
    again = operator.post(f"{SETTINGS}/merchants", {"id": "clinic", "name": "Again"})
    assert (again.status, "there is a merchant clinic already" in again.words.lower()) == (409, True)
    assert operator.post(f"{SETTINGS}/merchants", {"id": "No spaces", "name": "x"}).status == 422
    operator.post(f"{SETTINGS}/merchants/acme/switch", {"on": "no"})
    assert stranger.get("/console/m/acme").location.endswith("why=merchant_off")
    operator.post(f"{SETTINGS}/merchants/acme/switch", {"on": "yes"})
    assert stranger.get("/console/m/acme").status == 200


@pytest.mark.req("G11")
def test_a_secret_is_rotated_and_never_shown(operator: Browser, ops: Database, keyring: Keyring) -> None:
    accounts.add_account(
        ops,
        keyring,
        gateway="stripe",
        account="shop",
        merchant="acme",
        mode="live",
        credentials={"signing_secrets": ["whsec_old"], "api_key": "sk_live_x"},
    )
    path = f"{SETTINGS}/accounts/stripe/shop"
    assert operator.post(f"{path}/rotate", {"secret": ""}).status == 422
    assert operator.post(f"{path}/rotate", {"secret": "whsec_new"}).status == 303
    shown = operator.get(SETTINGS).text
    assert fingerprint("whsec_new") in shown
    for secret in ("whsec_new", "whsec_old", "sk_live_x"):
        assert secret not in shown
    kept = accounts.find_account(ops, keyring, "stripe", "shop").credentials
    assert kept["signing_secrets"] == ["whsec_new", "whsec_old"]
    assert operator.post(f"{path}/rotate", {"secret": "whsec_new"}).status == 409
    operator.post(f"{path}/retire")
    assert accounts.find_account(ops, keyring, "stripe", "shop").credentials["signing_secrets"] == ["whsec_new"]
    operator.post(f"{path}/switch", {"on": "no"})
    assert accounts.find_account(ops, keyring, "stripe", "shop").row["is_active"] is False


@pytest.mark.req("G7", "G12")
def test_an_account_is_added_and_its_secrets_are_never_shown_again(
    operator: Browser, stranger: Browser, ops: Database, keyring: Keyring
) -> None:
    asked = operator.get(f"{SETTINGS}/accounts/new", gateway="mx_merchant")
    assert "acme" in asked.text
    for words in ("merchantId at MX Merchant", "consumer secret of the API"):
        assert words in asked.words
    fields = {"gateway": "mx_merchant", "account": "clinic7", "merchant": "acme", "mode": "live"}
    secret = {"credential.merchant_id": "700", "credential.consumer_secret": "cs_very_secret"}
    made = operator.post(f"{SETTINGS}/accounts", fields | secret)
    kept = accounts.find_account(ops, keyring, "mx_merchant", "clinic7")
    (token,) = kept.credentials["signing_secrets"]
    assert made.status == 200
    assert f"https://console.example.com/webhooks/mx_merchant/clinic7/{token}" in made.words
    assert (kept.row["merchant"], kept.credentials["merchant_id"], kept.credentials["consumer_secret"]) == (
        *("acme", "700", "cs_very_secret"),
    )
    later = operator.get(SETTINGS).text
    assert "/webhooks/mx_merchant/clinic7/&lt;token&gt;" in later
    for hidden in (token, "cs_very_secret"):
        assert hidden not in later
    assert "cs_very_secret" not in made.text
    assert list_changes(ops, most=1)[0][3:6] == ("acme", "account added", "mx_merchant/clinic7")
    assert operator.post(f"{SETTINGS}/accounts", fields | secret).status == 409
    stripe = {**fields, "gateway": "stripe", "credential.signing_secret": "whsec_x"}
    for wrong in ({"gateway": "bank"}, {"account": "default"}, {"account": "a/b"}, {"mode": "none"}):
        assert operator.post(f"{SETTINGS}/accounts", stripe | wrong).status == 422, wrong
    missing = operator.post(f"{SETTINGS}/accounts", {**fields, "account": "other"})
    assert (missing.status, "merchant_id is missing" in missing.words) == (422, True)
    assert operator.post(f"{SETTINGS}/accounts", stripe | {"merchant": "nobody"}).status == 404
    shown = operator.post(f"{SETTINGS}/accounts", stripe | {"account": "shop"})
    assert "https://console.example.com/webhooks/stripe/shop" in shown.words
    assert "whsec_x" not in shown.text
    assert stranger.post(f"{SETTINGS}/accounts", stripe).status == 404
    assert operator.get(f"{SETTINGS}/accounts/new", gateway="bank").status == 404


def test_a_key_is_shown_once_and_opens_what_it_should_until_it_is_revoked(
    console: Console, operator: Browser, ops: Database
) -> None:
    made = operator.post(f"{SETTINGS}/keys", {"name": "desk", "merchant": "acme", "role": "viewer", "days": "30"})
    (key,) = set(re.findall(api_keys.KEY.pattern.replace("(", "(?:"), made.text))
    assert key not in operator.get(SETTINGS).text
    browser = console.sign_in(key)
    assert browser.get("/console/m/acme").status == 200
    assert operator.post(f"{SETTINGS}/keys/{key[3:11]}/revoke").status == 303
    assert browser.get("/console/m/acme").location.endswith("why=revoked")
    (row,) = [row for row in api_keys.list_keys(ops) if row["name"] == "desk"]
    assert row["may_read_health_data"] is False
    assert row["created_by"].startswith("key ")
    for wrong in ({"role": "admin"}, {"role": "king"}, {"merchant": "nobody"}, {"name": ""}):
        fields = {"name": "x", "merchant": "", "role": "ops", **wrong}
        assert operator.post(f"{SETTINGS}/keys", fields).status == 422, wrong


def test_a_key_of_ops_that_is_held_to_a_merchant_sees_no_others(console: Console, ops: Database) -> None:
    key = api_keys.new_key()
    api_keys.add_key(ops, key, merchant="default", role="ops", name="held")
    browser = console.sign_in(key)
    for path in ("/console/ops", SETTINGS, "/console/ops/events", "/console/m/acme"):
        assert browser.get(path).status == 404

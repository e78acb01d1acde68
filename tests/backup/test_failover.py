"""Reads survive either database: with the primary away the API answers from the backup, and says so."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gatehouse.backup.tend import keep_configuration
from gatehouse.database.connection import Database
from gatehouse.models.api_keys import revoke_key
from gatehouse.models.orders import create_order
from gatehouse.sealing import Keyring
from health import handler as health
from tests.backup.backed_up import drained, tell_a_long_story
from tests.http_api.api_client import Api, made_key
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES
from tests.support.database import database_at
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.proxies import ProtocolProxy


@pytest.fixture(scope="module")
def both() -> Api:
    """The API over two databases."""
    return Api()


class Stand:
    """The API between two databases, each of which can be taken away."""

    def __init__(self, api: Api, primary: ProtocolProxy, backup: ProtocolProxy, key: str) -> None:
        self.api, self.primary, self.backup, self.key = api, primary, backup, key

    def ask(self, path: str, **query: Any) -> Any:
        answer = self.api.ask(path, self.key, **query)
        assert answer.status == 200, answer.text
        return answer.body


@pytest.fixture
def stand(
    both: Api,
    primary: Database,
    backup: Database,
    intake: Database,
    api: Database,
    ops: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
    backup_database: GatehouseDatabase,
) -> Iterator[Stand]:
    """A payment with all that hangs on it in both databases, and the API between them."""
    tell_a_long_story(intake, api, keyring)
    key = made_key(ops, role="ops")
    drained(primary, backup, keyring)
    keep_configuration(primary, backup)
    with ProtocolProxy(gatehouse_database.port) as to_primary, ProtocolProxy(backup_database.port) as to_backup:
        both.database = database_at(gatehouse_database.through(to_primary.port).url("api"))
        both.backup = database_at(backup_database.through(to_backup.port).url("backup_reader"))
        yield Stand(both, to_primary, to_backup, key)
        both.database.close()
        both.backup.close()
        both.backup = None


KINDS = ("refunds", "disputes")
SAME = {"served_by", "as_of"}
NOT_KEPT = {
    *("customer_id", "source", "surcharge", "invoice_number"),
    *("product_name", "product_category", "is_recurring"),
}
NOT_KEPT_OF_ORDERS = {"version", "updated_at", "items", "metadata", "email"}


@pytest.mark.req("B3", "B6")
def test_lists_one_and_history_are_the_same_from_either_database(stand: Stand) -> None:
    ((refund,), (dispute,)) = ([each["id"] for each in stand.ask(f"/api/{kind}")["items"]] for kind in KINDS)
    (order,) = (each["id"] for each in stand.ask("/api/orders")["items"])
    questions: list[tuple[str, dict[str, Any]]] = [
        ("/api/payments", {}),
        ("/api/payments", {"status": "partially_refunded", "gateway": "stripe"}),
        ("/api/payments", {"email": "John.Doe@example.com"}),
        ("/api/payments", {"limit": 1}),
        ("/api/payments/1", {}),
        ("/api/refunds", {"payment_id": 1}),
        ("/api/disputes", {}),
        (f"/api/refunds/{refund}", {}),
        (f"/api/disputes/{dispute}", {}),
        (f"/api/orders/{order}", {}),
        ("/api/audit/payments/1", {}),
    ]
    first = [stand.ask(path, **query) for path, query in questions]
    stand.primary.refuse()
    second = [stand.ask(path, **query) for path, query in questions]
    for (path, query), ours, theirs in zip(questions, first, second, strict=True):
        if isinstance(ours, list):
            assert theirs == ours
            continue
        assert (ours["served_by"], theirs["served_by"]) == ("primary", "backup"), path
        assert ours["as_of"] is None
        assert theirs["as_of"] is not None
        if path.startswith("/api/orders/"):
            ours, theirs = ({name: each[name] for name in each.keys() - NOT_KEPT_OF_ORDERS} for each in (ours, theirs))
        assert without(theirs) == without(ours), (path, query)
    history = stand.api.ask("/api/audit/payments/1", stand.key)
    assert history.headers["gatehouse-served-by"] == "backup"
    stand.primary.accept()
    assert stand.ask("/api/payments")["served_by"] == "primary"


@pytest.mark.req("B3", "M7")
def test_one_refund_dispute_or_order_is_asked_of_the_backup_and_held_to_its_merchant(
    stand: Stand, ops: Database, api: Database, primary: Database, backup: Database
) -> None:
    ops.query("insert into merchants (id, name) values ('acme', 'Acme')")
    of_another = made_key(ops, merchant="acme")
    known = stand.ask("/api/orders")["items"][0]["id"]
    unpaid = create_order(api, DEFAULT, FESTIVAL._replace(reference="order-2"), JOHN, PASSES, idempotency_key="o2")
    keep_configuration(primary, backup)
    refund, dispute = (stand.ask(f"/api/{kind}")["items"][0]["id"] for kind in KINDS)
    stand.primary.refuse()
    order = stand.ask(f"/api/orders/{known}")
    assert (order["served_by"], order["status"], order["items"], order["version"]) == (
        *("backup", "partially_refunded"),
        *(None, None),  # not kept there
    )
    for path in (f"/api/refunds/{refund}", f"/api/disputes/{dispute}"):
        assert stand.api.ask(path, of_another).status == 404
        assert stand.api.ask(path + "9", stand.key).status == 404
    # An order without a payment is not kept there, so nobody can say now whether there is one.
    assert stand.api.ask(f"/api/orders/{unpaid.order.id}", stand.key).status == 503
    assert stand.api.ask(f"/api/orders/{known}", of_another).status == 503


@pytest.mark.req("B3")
def test_one_refund_is_found_by_an_index(backup_database: GatehouseDatabase) -> None:
    plan = backup_database.sql(
        "set enable_seqscan = off; explain select id from payment_services"
        """ where refunds @> '[{"id": 5}]' and merchant = 'default'"""
    )
    assert any("payment_services_refunds" in line for (line,) in plan), plan


@pytest.mark.req("B2", "P2")
def test_an_order_that_somebody_moves_rings_for_the_backup(
    stand: Stand, ops: Database, primary: Database, backup: Database, keyring: Keyring
) -> None:
    key = made_key(ops, role="developer")
    path = f"/api/orders/{stand.ask('/api/orders')['items'][0]['id']}"
    shown = stand.api.ask(path, key)
    before = stand.api.rung_for_backup
    moved = stand.api.ask(
        path,
        key,
        method="PATCH",
        headers={"content-type": "application/json", "if-match": shown.headers["etag"]},
        body=b'{"status": "refunded"}',
    )
    assert moved.status == 200, moved.text
    assert stand.api.rung_for_backup == before + 1
    assert drained(primary, backup, keyring).written == 1
    stand.primary.refuse()
    assert stand.ask(path)["status"] == "refunded"


def without(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without what says who gave it, and without what the backup does not keep."""
    kept = {name: value for name, value in answer.items() if name not in SAME | NOT_KEPT}
    return kept | ({"items": [without(each) for each in kept["items"]]} if "items" in kept else {})


@pytest.mark.req("B3")
def test_a_page_begun_in_one_database_goes_on_in_the_other(stand: Stand) -> None:
    page = stand.ask("/api/payments", limit=2)
    stand.primary.refuse()
    rest = stand.ask("/api/payments", limit=2, cursor=page["next_cursor"])
    ids = [each["id"] for each in page["items"] + rest["items"]]
    assert sorted(ids) == [1, 2, 3]


@pytest.mark.req("B3", "M7")
def test_keys_hold_in_the_backup_as_in_the_primary(
    stand: Stand, ops: Database, primary: Database, backup: Database
) -> None:
    ops.query("insert into merchants (id, name) values ('acme', 'Acme')")
    of_another = made_key(ops, merchant="acme")
    revoked = made_key(ops)
    revoke_key(ops, revoked.split("_")[1])
    keep_configuration(primary, backup)
    stand.primary.refuse()
    assert stand.api.ask("/api/payments", of_another).body["items"] == []
    assert stand.api.ask("/api/payments/1", of_another).status == 404
    assert stand.api.ask("/api/payments", revoked).body["code"] == "KEY_REVOKED"
    assert stand.api.ask("/api/payments", "gh_AAAAAAAA_" + "x" * 43).status == 401


@pytest.mark.req("B3")
def test_what_only_the_primary_knows_is_503_and_so_is_everything_when_both_are_away(stand: Stand) -> None:
    stand.primary.refuse()
    assert stand.api.ask("/api/subscriptions", stand.key).status == 503
    assert stand.api.ask("/api/orders", stand.key).status == 503
    stand.backup.refuse()
    answer = stand.api.ask("/api/payments", stand.key)
    assert (answer.status, answer.body["code"]) == (503, "CONNECTION_ERROR")


@pytest.mark.req("B2", "B4")
def test_sync_status_says_how_both_stand_while_either_is_away(
    stand: Stand, gatehouse_database: GatehouseDatabase
) -> None:
    well = stand.ask("/api/sync/status")
    assert (well["is_well"], well["backlog"], well["lag_seconds"], well["refused"]) == (True, 0, 0, 0)
    gatehouse_database.sql("update payments set method = 'card' where id = 2")
    assert stand.ask("/api/sync/status")["backlog"] == 1  # an ops key sees the backlog of all merchants
    stand.backup.refuse()
    assert stand.ask("/api/sync/status")["backup"] == "CONNECTION_ERROR"
    stand.backup.accept()
    stand.primary.refuse()
    away = stand.ask("/api/sync/status")
    assert (away["primary"], away["backup"], away["is_well"]) == ("CONNECTION_ERROR", "ok", False)
    assert away["as_of"] is not None


@pytest.mark.req("B3", "P12")
def test_health_says_which_database_is_away_and_who_answers(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "database", lambda: stand.api.database)
    monkeypatch.setattr(health, "backup_or_none", lambda: stand.api.backup)
    assert said(health.database_health()) == (200, "ok", "ok", None)
    stand.backup.refuse()
    assert said(health.database_health()) == (200, "ok", "unavailable", None)
    stand.backup.accept()
    stand.primary.refuse()
    assert said(health.database_health()) == (503, "unavailable", "ok", "backup")


def said(answer: dict[str, Any]) -> tuple[int, str, str, str | None]:
    body = json.loads(answer["body"])
    return answer["statusCode"], body["status"], body["backup"]["status"], body.get("reads_served_by")


@pytest.mark.req("B3")
def test_a_primary_that_is_back_is_asked_at_once_when_the_backup_goes(stand: Stand) -> None:
    """Each process leaves a database alone for some seconds after it failed; not when it is all that there is."""
    database = stand.api.database
    assert database is not None
    database._away_seconds = 60
    stand.primary.refuse()
    assert stand.ask("/api/payments")["served_by"] == "backup"
    stand.primary.accept()
    assert database.is_away()
    assert stand.ask("/api/payments")["served_by"] == "backup"
    stand.backup.refuse()
    assert stand.ask("/api/payments")["served_by"] == "primary"

"""Deliveries to apps over HTTP."""

import pytest

from gatehouse.database.connection import Database
from tests.http_api.api_client import Api, made_key
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.fixture
def logged(gatehouse_database: GatehouseDatabase, ops: Database) -> None:  # noqa: ARG001 - it makes the second merchant
    """Two deliveries of one merchant, one of another, and what waits."""
    gatehouse_database.sql(
        "insert into webhook_events (gateway, account, event_id, merchant, type, livemode, received_at, status)"
        " values ('paystack', 'default', 'evt_1', 'default', 'charge.success', false, now() - interval '2 s',"
        " 'applied');"
        "insert into jobs (topic, business_key, merchant, arguments, webhook_event_id, status)"
        " select 'forward', id || '/elevenone', 'default', '{\"app\": \"elevenone\"}', id, 'dead' from webhook_events;"
        "insert into jobs (topic, business_key, merchant, arguments)"
        " values ('forward', '9/elevenone', 'default', '{\"app\": \"elevenone\"}');"
        "insert into webhook_forward_logs (app, target_url, ok, status_code, attempt_count, error_class, error_message,"
        " reference, merchant, gateway, duration_ms, webhook_event_id, job_id)"
        " select 'elevenone', 'https://app.example.com/hooks', ok, case when ok then 200 else 500 end, 3,"
        " case when not ok then 'HTTP_500' end, case when not ok then 'app.example.com answered 500' end, 'T1', m,"
        " 'paystack', 40, e.id, j.id from webhook_events e join jobs j on j.webhook_event_id = e.id,"
        " (values (true, 'default'), (false, 'default'), (false, 'acme')) as told (ok, m)"
    )


@pytest.mark.req("R6", "M7")
@pytest.mark.usefixtures("logged")
def test_deliveries_are_searched_in_pages_and_only_ones_own(api: Api, key: str) -> None:
    every = api.ask("/api/forwards", key).body["items"]
    assert [(each["ok"], each["status_code"]) for each in every] == [(False, 500), (True, 200)]
    failed = api.ask("/api/forwards", key, ok="false", error="http_500", app="elevenone", reference="T1").body["items"]
    assert [each["id"] for each in failed] == [every[0]["id"]]
    first = api.ask("/api/forwards", key, limit=1).body
    second = api.ask("/api/forwards", key, limit=1, cursor=first["next_cursor"]).body
    assert [first["items"][0]["id"], second["items"][0]["id"]] == [each["id"] for each in every]
    assert second["next_cursor"] is None


@pytest.mark.req("R3", "R6")
@pytest.mark.usefixtures("logged")
def test_one_delivery_is_shown_and_made_again_by_who_may_write(api: Api, key: str, ops: Database) -> None:
    failed = api.ask("/api/forwards", key, ok="false").body["items"][0]
    shown = api.ask(f"/api/forwards/{failed['id']}", key).body
    assert (shown["event_id"], shown["job_status"]) == ("evt_1", "dead")
    assert api.ask(f"/api/forwards/{failed['id']}/retry", key, method="POST").status == 403
    developer = made_key(ops, role="developer")
    api.rung.clear()
    again = api.ask(f"/api/forwards/{failed['id']}/retry", developer, method="POST")
    assert (again.status, again.body["job_id"]) == (202, shown["job_id"])
    assert api.rung == [(shown["job_id"], "forward")]
    assert api.ask(f"/api/forwards/{failed['id']}", key).body["job_status"] == "waiting"
    strangers = ops.query_one("select id from webhook_forward_logs where merchant = 'acme'")["id"]
    assert api.ask(f"/api/forwards/{strangers}", key).status == 404
    assert api.ask(f"/api/forwards/{strangers}/retry", developer, method="POST").status == 404


@pytest.mark.req("R6")
@pytest.mark.usefixtures("logged")
def test_the_figures_of_an_app(api: Api, key: str) -> None:
    (stats,) = api.ask("/api/forwards/stats", key).body["apps"]
    assert (stats["deliveries"], stats["delivered"], stats["success_rate_pct"], stats["attempts"]) == (2, 1, 50.0, 6)
    assert 2 <= stats["p50_seconds"] < 10
    assert (stats["waiting"], stats["dead"]) == (1, 1)
    assert stats["oldest_waiting_since"]


@pytest.mark.req("R6")
def test_the_apps_are_listed_without_what_is_secret(api: Api, key: str, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql(
        "update apps set target_url = 'https://app.example.com/hooks?token=t0ken', sealed = 'x', key_id = 'k1'"
        " where name = 'elevenone'"
    )
    said = api.ask("/api/apps", key)
    assert [(each["name"], each["url"]) for each in said.body["apps"]] == [
        ("elevenone", "https://app.example.com/hooks"),
        ("nexai", None),
    ]
    assert "t0ken" not in said.text
    assert "sealed" not in said.text

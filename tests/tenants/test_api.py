"""The API of tenants, as its callers use it: keys and tokens, roles, limits, the steps of a test script."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from gatehouse.database.connection import Database
from gatehouse.models.customers import NewCustomer, save_customer
from gatehouse.models.privacy import erase_customer
from tests.http_api.api_client import Answer, made_key
from tests.tenants.conftest import ISSUER, House, TenantsApi, over

USER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def developer(ops: Database) -> str:
    """A key of the user anna, who makes tenants."""
    return key_of(ops, "anna")


def key_of(ops: Database, user: str, role: str = "developer", merchant: str = "default") -> str:
    return made_key(ops, role=role, merchant=merchant, rate_per_minute=6000, user_id=user)


def made(api: TenantsApi, house: House, key: str, **more: Any) -> str:
    """Make a tenant over the API and return its id."""
    answer = api.ask("POST", "", key, {"name": "Acme", **more})
    assert answer.status == 202, answer.text
    assert answer.body["data"]["status"] == "creating"
    assert house.work() == ["done"]
    return str(answer.body["data"]["id"])


def code_of(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["code"]


@pytest.mark.req("T1", "T3", "T4", "T5", "T6", "D5")
def test_the_steps_of_the_test_script(
    shared_tenants_api: TenantsApi, either: House, developer: str, ops: Database
) -> None:
    tenants_api = over(shared_tenants_api, either)
    tenant = made(tenants_api, either, developer, planType="pro", billingEmail="bill@example.com")
    assert tenants_api.rung[0][1] == "provision_tenant"
    shown = tenants_api.ask("GET", f"/{tenant}", developer).body["data"]
    assert (shown["status"], shown["plan_type"], shown["role"]) == ("active", "pro", "owner")
    assert not {"sealed", "connection_string", "engine_state"} & shown.keys()

    answer = tenants_api.query(tenant, developer, "SELECT version()").body
    assert answer["success"] is True
    assert answer["rowCount"] == 1
    assert answer["data"][0]["version"].startswith("PostgreSQL")
    assert answer["executionTime"] > 0

    other = made(tenants_api, either, key_of(ops, "berta"))
    assert code_of(tenants_api.query(other, developer, "select 1 as n")) == (404, "NOT_FOUND")
    assert code_of(tenants_api.ask("GET", f"/{other}", developer)) == (404, "NOT_FOUND")
    assert [each["id"] for each in tenants_api.ask("GET", "", developer).body["data"]] == [tenant]

    viewer = key_of(ops, "vera", role="viewer")
    granted = tenants_api.ask("POST", f"/{tenant}/permissions", developer, {"subject": "user:vera", "role": "viewer"})
    assert granted.body["data"]["role"] == "viewer"
    assert tenants_api.query(tenant, viewer, "select 1 as n").body["data"] == [{"n": 1}]
    assert code_of(tenants_api.query(tenant, viewer, "create table t (n int)")) == (403, "ROLE_TOO_LOW")

    branch = tenants_api.ask("POST", f"/{tenant}/branches", developer, {"name": "try-it"})
    assert branch.status == 202
    tenants_api.query(tenant, developer, "create table before_it (n int)")
    assert either.work("make_branch") == ["done"]
    assert tenants_api.query(tenant, developer, "drop table before_it", branch="try-it").status == 200
    assert tenants_api.query(tenant, developer, "select * from before_it").status == 200
    assert tenants_api.ask("DELETE", f"/{tenant}/branches/try-it", developer).status == 202
    assert either.work("remove_branch") == ["done"]
    assert tenants_api.ask("GET", f"/{tenant}/branches", developer).body["data"] == []

    usage = tenants_api.ask("GET", f"/{tenant}/usage", developer).body
    assert usage["data"][0]["query_executions"] == 6
    assert usage["data"][0]["rows_returned"] >= 2
    assert usage["limits"]["max_requests_per_day"] == 150_000

    wrong = tenants_api.ask("DELETE", f"/{tenant}", developer, headers={"confirm-name": "Another"})
    assert wrong.status == 422
    gone = tenants_api.ask("DELETE", f"/{tenant}", developer, headers={"confirm-name": "Acme"}, at_once="true")
    assert gone.body["data"]["status"] == "deleted"
    assert code_of(tenants_api.query(tenant, developer, "select 1 as n")) == (410, "TENANT_DELETED")
    assert either.work("remove_tenant") == ["done"]
    assert either.things(tenant) == ()


@pytest.mark.req("T4")
def test_limits_are_answered_with_429(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    tenant = made(tenants_api, plain, developer)
    for window, most in (("minute", 2), ("hour", 3), ("day", 4)):
        plain.platform.sql(
            "update platform_tenants set max_requests_per_minute = 1000, max_requests_per_hour = 1000,"
            f" max_requests_per_day = 1000; update platform_tenants set max_requests_per_{window} = {most}"
        )
        while (answer := tenants_api.query(tenant, developer, "select 1 as n")).status == 200:
            pass
        assert code_of(answer) == (429, "TOO_MANY_REQUESTS")
        assert f"requests of this {window} are used up" in answer.body["detail"]
        assert 0 < int(answer.headers["retry-after"]) <= {"minute": 60, "hour": 3600, "day": 86400}[window]
    assert tenants_api.ask("GET", f"/{tenant}", developer).status == 200  # what manages it goes on
    (counted,) = plain.platform.sql("select query_executions from tenant_usage")
    assert counted == [4]


@pytest.mark.req("T4")
def test_requests_are_counted_without_a_row_that_all_wait_for(
    tenants_api: TenantsApi, plain: House, developer: str
) -> None:
    tenant = made(tenants_api, plain, developer)
    for _ in range(20):
        tenants_api.ask("GET", f"/{tenant}", developer)
    slots = plain.platform.sql(
        f"select count(*), sum(api_requests) from tenant_usage_slots where tenant_id = '{tenant}'"
    )
    assert slots[0][0] > 1
    assert slots[0][1] == 20


@pytest.mark.req("T4")
def test_permissions(tenants_api: TenantsApi, plain: House, developer: str, ops: Database) -> None:
    tenant = made(tenants_api, plain, developer)
    admin = key_of(ops, "adam")
    place = f"/{tenant}/permissions"
    assert tenants_api.ask("POST", place, developer, {"subject": "user:adam", "role": "admin"}).status == 200
    assert tenants_api.ask("POST", place, admin, {"subject": "user:dora"}).body["data"]["role"] == "developer"
    assert tenants_api.ask("POST", place, admin, {"subject": "user:dora", "role": "viewer"}).status == 200
    assert code_of(tenants_api.ask("POST", place, admin, {"subject": "user:dora", "role": "owner"})) == (
        403,
        "ROLE_TOO_LOW",
    )
    assert code_of(tenants_api.ask("DELETE", f"{place}/user:anna", admin)) == (403, "ROLE_TOO_LOW")
    assert code_of(tenants_api.ask("PATCH", f"/{tenant}", admin, {"planType": "team"})) == (403, "ROLE_TOO_LOW")
    assert code_of(tenants_api.ask("POST", f"/{tenant}/suspend", admin)) == (403, "ROLE_TOO_LOW")
    for change in (
        tenants_api.ask("DELETE", f"{place}/user:anna", developer),
        tenants_api.ask("POST", place, developer, {"subject": "user:anna", "role": "admin"}),
    ):
        assert code_of(change) == (409, "STATE_CONFLICT")
        assert "last owner" in change.body["detail"]
    assert tenants_api.ask("DELETE", f"{place}/user:dora", developer).status == 200
    listed = tenants_api.ask("GET", place, admin).body["data"]
    assert {each["subject"]: each["role"] for each in listed} == {"user:anna": "owner", "user:adam": "admin"}
    told = plain.platform.sql(
        "select action, actor from tenant_audit_log where table_name = 'tenant_permissions' order by id"
    )
    assert ["delete", "user:anna"] in told
    assert ["insert", "user:adam"] in told


@pytest.mark.req("T5")
def test_suspended_and_resumed(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    tenant = made(tenants_api, plain, developer)
    assert tenants_api.ask("POST", f"/{tenant}/suspend", developer, {"reason": "unpaid"}).status == 200
    answer = tenants_api.query(tenant, developer, "select 1 as n")
    assert code_of(answer) == (423, "TENANT_SUSPENDED")
    assert "unpaid" in answer.body["detail"]
    assert code_of(tenants_api.ask("POST", f"/{tenant}/suspend", developer)) == (409, "STATE_CONFLICT")
    assert tenants_api.ask("POST", f"/{tenant}/resume", developer).body["data"]["status"] == "active"
    assert tenants_api.query(tenant, developer, "select 1 as n").status == 200


@pytest.mark.req("T1")
def test_the_same_key_makes_one_tenant(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    headers = {"idempotency-key": "k1"}
    answers = [tenants_api.ask("POST", "", developer, {"name": "Acme"}, headers=headers) for _ in range(2)]
    assert answers[0].body["data"]["id"] == answers[1].body["data"]["id"]
    assert len(plain.platform.sql("select id from platform_tenants")) == 1
    other = tenants_api.ask("POST", "", developer, {"name": "Other"}, headers=headers)
    assert code_of(other) == (422, "IDEMPOTENCY_KEY_REUSED")
    creating = tenants_api.query(answers[0].body["data"]["id"], developer, "select 1 as n")
    assert code_of(creating) == (409, "TENANT_CREATING")
    assert creating.headers["retry-after"]


@pytest.mark.req("T1")
def test_plans_limit_databases_and_give_limits(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    tenant = made(tenants_api, plain, developer)
    assert code_of(tenants_api.ask("POST", f"/{tenant}/branches", developer, {"name": "b"})) == (409, "PLAN_LIMIT")
    changed = tenants_api.ask("PATCH", f"/{tenant}", developer, {"planType": "team", "name": "Acme 2"}).body["data"]
    assert (changed["name"], changed["limits"]["max_databases"]) == ("Acme 2", 10)
    for wrong in ({"planType": "gold"}, {"name": ""}, {"engine": "oracle"}, {"nmae": "x"}, {"billingEmail": "nobody"}):
        assert tenants_api.ask("POST", "", developer, {"name": "x", **wrong}).status == 422


@pytest.mark.req("P14")
def test_whoever_is_erased_is_no_billing_address(
    tenants_api: TenantsApi, plain: House, developer: str, ops: Database
) -> None:
    tenant = tenants_api.ask("POST", "", developer, {"name": "Acme", "billingEmail": "Anna@example.com"}).body["data"][
        "id"
    ]
    save_customer(plain.api, "default", NewCustomer("anna@example.com"))
    erase_customer(ops, "default", "anna@example.com")
    assert plain.row(tenant)["billing_email"] is None


@pytest.mark.req("T3")
def test_errors_of_statements_are_problems(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    tenant = made(tenants_api, plain, developer)
    answer = tenants_api.query(tenant, developer, "select nothing")
    assert code_of(answer) == (400, "QUERY_FAILED")
    assert (answer.body["sqlstate"], answer.body["position"]) == ("42703", 8)
    several = tenants_api.ask(
        "POST",
        f"/{tenant}/query",
        developer,
        {"queries": [{"query": "select 1 as a"}, {"query": "select $1::int as b", "params": [2]}]},
    )
    assert [each["data"] for each in several.body["results"]] == [[{"a": 1}], [{"b": 2}]]
    for wrong in (
        {},
        {"query": "select 1", "queries": [{"query": "select 1"}]},
        {"query": "x" * 100_001},
        {"query": "select 1", "maxRows": 0},
    ):
        assert tenants_api.ask("POST", f"/{tenant}/query", developer, wrong).status == 422
    assert tenants_api.query(tenant, developer, "select n from generate_series(1, 20) as n", maxRows=3).body[
        "truncated"
    ]
    assert tenants_api.query("t" + "x" * 15, developer, "select 1").status == 404
    assert tenants_api.query("'; drop", developer, "select 1").status == 404


@pytest.mark.req("T3")
def test_the_endpoint_closes(tenants_api: TenantsApi, plain: House, developer: str, ops: Database) -> None:
    tenant = made(tenants_api, plain, developer)
    ops.query("update tenant_endpoints set is_open = false, reason = 'copy_program' where engine = 'plain'")
    assert code_of(tenants_api.query(tenant, developer, "select 1 as n")) == (503, "SQL_ENDPOINT_CLOSED")


@pytest.mark.req("T3", "T2")
def test_an_owner_asks_as_one_of_his_users(tenants_api: TenantsApi, plain: House, developer: str) -> None:
    tenant = made(tenants_api, plain, developer)
    for user in (USER, USER.replace("1", "2")):
        tenants_api.query(tenant, developer, "insert into profiles (id, email) values ($1, $2)", params=[user, user])
    seen = tenants_api.query(tenant, developer, "select email from profiles", claims={"sub": USER})
    assert seen.body["data"] == [{"email": USER}]
    assert len(tenants_api.query(tenant, developer, "select email from profiles").body["data"]) == 2


def token(key: ec.EllipticCurvePrivateKey, key_id: str = "k1", **changes: Any) -> str:
    told = {"iss": ISSUER, "aud": "authenticated", "sub": USER, "exp": int(time.time()) + 60, **changes}
    return jwt.encode({name: value for name, value in told.items() if value is not None}, key, "ES256", {"kid": key_id})


@pytest.mark.req("T3")
def test_a_token_of_a_known_issuer_is_a_caller(tenants_api: TenantsApi, plain: House) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    tenants_api.keys = {"keys": [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "k1"}]}
    tenant = made(tenants_api, plain, token(key))
    assert plain.row(tenant)["created_by"] == f"supabase:{USER}"
    assert tenants_api.query(tenant, token(key), "select auth.uid() as uid").body["data"] == [{"uid": USER}]
    assert tenants_api.query(tenant, token(key, sub="somebody-else"), "select 1 as n").status == 404
    plain_text = jwt.encode(
        {"iss": ISSUER, "aud": "authenticated", "sub": USER, "exp": int(time.time()) + 60}, "", "none"
    )
    confused = jwt.encode(
        {"iss": ISSUER, "aud": "authenticated", "sub": USER, "exp": int(time.time()) + 60},
        b"x" * 32,
        "HS256",
        {"kid": "k1"},
    )
    for wrong, code in (
        (token(key, exp=int(time.time()) - 60), "TOKEN_EXPIRED"),
        (token(key, aud="others"), "TOKEN_REFUSED"),
        (token(key, iss="https://evil.example.com"), "TOKEN_REFUSED"),
        (token(key, exp=None), "TOKEN_REFUSED"),
        (token(key, sub=None), "TOKEN_REFUSED"),
        (token(other), "TOKEN_REFUSED"),
        (token(other, "k2"), "TOKEN_REFUSED"),
        (plain_text, "TOKEN_REFUSED"),
        (confused, "TOKEN_REFUSED"),
        ("a.b.c", "TOKEN_REFUSED"),
    ):
        assert code_of(tenants_api.ask("GET", "", wrong)) == (401, code)
    assert code_of(tenants_api.ask("GET", "")) == (401, "KEY_MISSING")


@pytest.mark.req("T3")
def test_pages_of_allowed_origins_only(tenants_api: TenantsApi) -> None:
    asked = {"access-control-request-method": "POST"}
    allowed = tenants_api.ask("OPTIONS", "", headers={**asked, "origin": "https://shop.example.com"})
    assert allowed.headers["access-control-allow-origin"] == "https://shop.example.com"
    assert tenants_api.ask("OPTIONS", "", headers={**asked, "origin": "https://evil.example.com"}).status == 403


@pytest.mark.req("T3")
def test_only_an_operator_sees_what_is_not_shared(
    tenants_api: TenantsApi, plain: House, developer: str, ops: Database
) -> None:
    tenant = made(tenants_api, plain, developer)
    admin, operator = key_of(ops, "olaf", role="admin"), key_of(ops, "olga", role="ops")
    assert tenants_api.ask("GET", f"/{tenant}", admin).status == 404
    assert tenants_api.ask("GET", f"/{tenant}", operator).body["data"]["role"] == "owner"
    assert len(tenants_api.ask("GET", "", operator).body["data"]) == 1
    plain.platform.sql("insert into merchants (id, name) values ('acme', 'Acme')")
    assert tenants_api.ask("GET", f"/{tenant}", key_of(ops, "anna", role="ops", merchant="acme")).status == 404
    assert tenants_api.ask("GET", "", key_of(ops, "anna", merchant="acme")).body["data"] == []
    assert tenants_api.ask("POST", "", key_of(ops, "vera", role="viewer"), {"name": "x"}).status == 403

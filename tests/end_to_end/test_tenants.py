"""Tenants on the running stack: front door, functions, queue and Postgres as `make run` has them."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.postgres import run_sql
from tests.support.stack import RunningStack, wait_until

READY_SECONDS = 90


class Tenants:
    """The API of tenants on a running stack."""

    def __init__(self, stack: RunningStack) -> None:
        headers = {"authorization": f"Bearer {stack.facts['api_key']}"}
        self.url = stack.facts["tenants"]["url"]
        self.http = httpx.Client(headers=headers, timeout=40)

    def data(self, method: str, path: str = "", **request: Any) -> Any:
        """Send a request that must succeed, and return its data."""
        answer = self.http.request(method, self.url + path, **request)
        assert answer.status_code < 300, answer.text
        return answer.json()["data"]

    def made(self, name: str, **more: Any) -> str:
        """Make a tenant and wait until it is active."""
        tenant = self.data("POST", json={"name": name, **more})["id"]
        wait_until(lambda: self.data("GET", f"/{tenant}")["status"] == "active", READY_SECONDS)
        return str(tenant)

    def query(self, tenant: str, text: str, **more: Any) -> httpx.Response:
        """Run a statement."""
        return self.http.post(f"{self.url}/{tenant}/query", json={"query": text, **more})


@pytest.fixture
def tenants(running_stack: RunningStack) -> Iterator[Tenants]:
    asked = Tenants(running_stack)
    yield asked
    asked.http.close()


@pytest.mark.req("T1", "T2", "T3", "T5", "D5", "O2")
@pytest.mark.parametrize("plan", ["pro", "enterprise"])  # plain Postgres, and Neon's stand-in
def test_the_steps_of_the_test_script_on_the_running_stack(
    tenants: Tenants, running_stack: RunningStack, plan: str
) -> None:
    tenant, other = tenants.made("Test Tenant", planType=plan), tenants.made("Another", planType=plan)
    shown = tenants.data("GET", f"/{tenant}")
    assert shown["engine"] == {"pro": "plain", "enterprise": "neon"}[plan]
    answer = tenants.query(tenant, "SELECT version()").json()
    assert answer["success"] is True
    assert answer["data"][0]["version"].startswith("PostgreSQL")
    tenants.query(tenant, "create table mine (n integer)")
    assert tenants.query(other, "select * from mine").json()["sqlstate"] == "42P01"
    branch = tenants.data("POST", f"/{tenant}/branches", json={"name": "dev"})
    assert branch["status"] == "creating"
    wait_until(lambda: tenants.data("GET", f"/{tenant}/branches")[0]["status"] == "active", READY_SECONDS)
    assert tenants.query(tenant, "drop table mine", branch="dev").status_code == 200
    assert tenants.query(tenant, "select * from mine").status_code == 200
    for each, name in ((tenant, "Test Tenant"), (other, "Another")):
        tenants.data("DELETE", f"/{each}", headers={"confirm-name": name}, params={"at_once": "true"})
    left = (
        "select datname from pg_database where datname like 'gh\\_%'"
        " union select rolname from pg_roles where rolname like 'gh\\_%'"
    )
    wait_until(lambda: run_sql(running_stack.facts["tenants"]["cluster_url"], left) == [], READY_SECONDS)


@pytest.mark.req("T1")
def test_a_tenant_is_ready_within_seconds(tenants: Tenants) -> None:
    began = time.monotonic()
    tenant = tenants.made("Quick")
    assert time.monotonic() - began < READY_SECONDS  # what it takes on a quiet machine is measured by the bench
    tenants.data("DELETE", f"/{tenant}", headers={"confirm-name": "Quick"}, params={"at_once": "true"})

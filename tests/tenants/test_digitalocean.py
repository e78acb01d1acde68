"""Tenants on a managed cluster of DigitalOcean: its API for database and user, SQL for the rest."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gatehouse.database.direct_session import connect_direct
from gatehouse.database.sql import unnamed
from gatehouse.tenants import records
from gatehouse.tenants.engines.api import EngineApi
from gatehouse.tenants.engines.digitalocean import DigitalOceanEngine, address_of_cluster
from gatehouse.tenants.names import quoted
from local.gateway_apis import ApiAnswer, ApiRequest, GatewayApi
from tests.tenants.conftest import ANNA, SAFETY, House, HouseOf

CLUSTER, TOKEN = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "dop_v1_only_for_tests"
BASE = f"/v2/databases/{CLUSTER}"


class DigitalOceanApi:
    """The few calls that tenants need, as the API's own document has them, over a Postgres of this machine."""

    name = "digitalocean"

    def __init__(self, doadmin: str) -> None:
        self.doadmin = doadmin

    def learn(self, event_body: bytes) -> None:
        """It sends no events."""

    def remember(self, thing: dict[str, Any]) -> None:
        """It is told nothing."""

    def refusal(self, status: int) -> ApiAnswer:
        """Return its words for a status."""
        return ApiAnswer(status, {"id": "not_found" if status == 404 else "error", "message": "", "request_id": "r"})

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Answer as DigitalOcean would."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}" or not request.path.startswith(BASE):
            return self.refusal(401)
        body = json.loads(request.body) if request.body else {}
        kind, _, name = request.path.removeprefix(BASE).strip("/").partition("/")
        if kind in ("", "ca"):
            connection = {"uri": self.doadmin}
            online = {"database": {"id": CLUSTER, "engine": "pg", "status": "online", "connection": connection}}
            return ApiAnswer(200, online if not kind else {"ca": {"certificate": base64.b64encode(b"PEM").decode()}})
        word, table = {"dbs": ("db", "pg_database where datname"), "users": ("user", "pg_roles where rolname")}[kind]
        with connect_direct(self.doadmin, application="t", options={}, connect_milliseconds=5000, tls="off") as session:
            wanted = name or body["name"]
            known = session.query(unnamed(f"select 1 as n from {table} = :name::text")(name=wanted))
            match request.method, bool(known):
                case "GET", True:
                    return ApiAnswer(200, {word: {"name": wanted}})
                case "POST", False:
                    session.run(f"create {'database' if kind == 'dbs' else 'role'} {quoted(wanted)}")
                    return ApiAnswer(201, {word: {"name": wanted}})
                case "POST", True:
                    return self.refusal(409)
                case "DELETE", True:
                    session.run(f"drop {'database' if kind == 'dbs' else 'role'} {quoted(wanted)}")
                    return ApiAnswer(204, "")
        return self.refusal(404)


@pytest.fixture
def digitalocean(house_of: HouseOf, cluster: str) -> Iterator[House]:
    stand_in = GatewayApi(DigitalOceanApi(cluster))
    stand_in.start()
    with httpx.Client(base_url=stand_in.url, headers={"authorization": f"Bearer {TOKEN}"}) as http:
        api = EngineApi("DigitalOcean", http, sleep=lambda _: None)
        address, authority = address_of_cluster(api, CLUSTER)
        assert (address, authority) == (cluster, "PEM")
        yield house_of(DigitalOceanEngine(api, CLUSTER, address, SAFETY))
    stand_in.stop()


@pytest.mark.req("T1", "T2", "T3", "T5")
def test_the_same_story_at_digitalocean(digitalocean: House) -> None:
    tenant, other = digitalocean.tenant(plan="pro"), digitalocean.tenant("Other")
    digitalocean.run(tenant, "create table notes (n integer)")
    digitalocean.run(tenant, "insert into notes values (1)", role="developer")
    assert digitalocean.rows(tenant, "select n from notes", role="viewer") == ['{"n":1}']
    with pytest.raises(Exception, match="does not exist"):
        digitalocean.run(other, "select * from notes")
    entered = records.enter(digitalocean.api, ANNA, tenant)
    records.add_branch(digitalocean.api, ANNA, entered, "try-it")
    assert digitalocean.work("make_branch") == ["done"]
    assert records.branches(digitalocean.api, ANNA, tenant) == []
    said = digitalocean.platform.sql("select status_reason from tenant_branches")
    assert said == [["there are no branches on this engine"]]
    digitalocean.links.close()
    for each in (tenant, other):
        records.delete(digitalocean.api, ANNA, each, grace_days=0)
    assert digitalocean.work("remove_tenant") == ["done", "done"]
    assert digitalocean.engine.inventory().things == {}

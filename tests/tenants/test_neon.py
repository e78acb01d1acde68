"""Tenants at Neon, over a stand-in that checks every request and answer against Neon's own document."""

from collections.abc import Iterator

import pytest

from gatehouse.tenants import records, worker
from gatehouse.tenants.engines.neon import NeonEngine
from gatehouse.tenants.run import Query
from local.gateway_apis import GatewayApi
from local.neon_api import NeonApi
from local.postgres import PostgresServer
from tests.tenants.conftest import ANNA, NEON_KEY, House, HouseOf, neon_engine
from tests.tenants.test_provisioning import Killed

USER = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def stand_in(postgres_server: PostgresServer) -> Iterator[GatewayApi]:
    api = GatewayApi(NeonApi(postgres_server.url(), NEON_KEY))
    api.start()
    yield api
    api.stop()
    assert api.gateway.broken == []  # type: ignore[attr-defined]  # of NeonApi: all was as the document says


@pytest.fixture
def engine(stand_in: GatewayApi) -> Iterator[NeonEngine]:
    with neon_engine(stand_in) as made:
        yield made


@pytest.fixture
def neon(house_of: HouseOf, engine: NeonEngine) -> House:
    return house_of(engine)


def asked(stand_in: GatewayApi, method: str, path: str = "/projects") -> int:
    return sum(each.method == method and each.path == f"/api/v2{path}" for each in stand_in.requests)


@pytest.mark.req("T1", "T2", "T3", "T5", "T6")
def test_the_same_story_as_on_the_plain_cluster(neon: House) -> None:
    tenant, other = neon.tenant(plan="pro"), neon.tenant("Other")
    assert len(neon.things(tenant)) == 1
    assert "PostgreSQL" in neon.rows(tenant, "select version() as v")[0]
    neon.run(tenant, "create table notes (n integer)")
    neon.run(tenant, "insert into notes values (1)", role="developer")
    assert neon.rows(tenant, "select n from notes", role="viewer") == ['{"n":1}']
    with pytest.raises(Exception, match=r"read-only|permission denied"):
        neon.run(tenant, "with w as (delete from notes returning 1) select * from w", role="viewer")
    with pytest.raises(Exception, match="does not exist"):
        neon.run(other, "select * from notes")
    neon.run(tenant, Query("insert into profiles (id, email) values ($1, 'a@example.com')", [USER]))
    assert neon.rows(tenant, "select email from profiles", role="viewer", claims={"sub": USER}) != []
    assert neon.rows(tenant, "select email from profiles", role="viewer", claims={"sub": "x"}) == []
    assert worker.measure(neon.shop, ("neon",)) == 2
    assert neon.row(tenant)["storage_bytes"] == 30_000_000

    entered = records.enter(neon.api, ANNA, tenant)
    branch, _ = records.add_branch(neon.api, ANNA, entered, "try-it")
    assert neon.work("make_branch") == ["done"]
    place = records.place_of(neon.shop.database, ANNA, neon.shop.keyring(), neon.row(tenant), "try-it")
    assert place.id == branch["id"]
    records.leave_branch(neon.api, ANNA, tenant, "try-it")
    assert neon.work("remove_branch") == ["done"]

    for each in (tenant, other):
        records.delete(neon.api, ANNA, each, grace_days=0)
    assert neon.work("remove_tenant") == ["done", "done"]
    assert neon.engine.inventory().things == {}


@pytest.mark.req("T1", "T6")
@pytest.mark.parametrize("status", [423, 429, 503])
def test_what_was_not_begun_is_sent_again(neon: House, stand_in: GatewayApi, status: int) -> None:
    stand_in.gateway.remember({"fail": {"status": status, "method": "POST", "times": 2}})
    tenant = neon.tenant()
    assert asked(stand_in, "POST") == 3
    assert len(neon.things(tenant)) == 1


@pytest.mark.req("T1", "T6")
def test_a_lost_answer_makes_no_second_project(neon: House, stand_in: GatewayApi) -> None:
    stand_in.gateway.remember({"fail": {"status": 0, "method": "POST", "path": "/projects"}})
    tenant = neon.asked()
    assert neon.work() == ["postponed"]
    neon.let_leases_end()
    assert neon.work() == ["done"]
    assert asked(stand_in, "POST") == 1
    assert len(neon.things(tenant)) == 1
    assert neon.row(tenant)["status"] == "active"


@pytest.mark.req("T1", "T6")
def test_a_lost_answer_and_then_a_removal_leave_no_project(neon: House, stand_in: GatewayApi) -> None:
    stand_in.gateway.remember({"fail": {"status": 0, "method": "POST", "path": "/projects"}})
    tenant = neon.asked()
    assert neon.work() == ["postponed"]
    records.delete(neon.api, ANNA, tenant, grace_days=0)
    assert neon.work("remove_tenant") == ["done"]
    assert neon.engine.inventory().things == {}


@pytest.mark.req("T1", "T6")
def test_killed_around_every_request_it_goes_on_and_leaves_no_orphan(neon: House, engine: NeonEngine) -> None:
    """Cut off before each request is sent, and after each was answered, a little later every time."""
    steps = cuts = 0

    def step(_: object) -> None:
        nonlocal steps
        steps += 1
        if steps > cuts:
            raise Killed

    engine._api._http.event_hooks = {"request": [step], "response": [step]}
    tenant = neon.asked()
    while True:
        steps = 0
        try:
            assert neon.work() == ["done"]
        except Killed:
            neon.let_leases_end()
            neon.platform.sql("update jobs set attempts = 0")  # else it would be given up meanwhile
            cuts += 1
        else:
            break
    assert cuts > 6  # it was really killed, again and again
    assert neon.row(tenant)["status"] == "active"
    engine._api._http.event_hooks = {}
    assert neon.engine.inventory().things.keys() == {tenant}
    assert len(neon.things(tenant)) == 1
    assert neon.rows(tenant, "select 1 as one") == ['{"one":1}']


@pytest.mark.req("T1", "T6")
def test_refused_for_good_it_is_undone(neon: House, stand_in: GatewayApi) -> None:
    stand_in.gateway.remember({"fail": {"status": 422, "method": "GET", "path": "/projects/[^/]+/connection_uri"}})
    tenant = neon.asked()
    assert neon.work() == ["done"]
    assert neon.row(tenant)["status"] == "deleted"
    assert "422" in neon.row(tenant)["status_reason"]
    assert neon.engine.inventory().things == {}


@pytest.mark.req("T1", "T6")
def test_operations_are_waited_for(neon: House, stand_in: GatewayApi, engine: NeonEngine) -> None:
    stand_in.gateway.remember({"operations": {"polls": 4}})
    tenant = neon.tenant()
    assert neon.row(tenant)["status"] == "active"
    ticks = iter(range(0, 1000, 6))
    engine._clock = lambda: float(next(ticks))
    stand_in.gateway.remember({"operations": {"polls": 1000}})
    neon.asked("slow")
    assert neon.work() == ["postponed"]
    stand_in.gateway.remember({"operations": {"polls": 1, "end": "failed"}})
    neon.let_leases_end()
    assert neon.work() == ["postponed"]
    assert "start_compute failed" in neon.platform.sql("select last_error from jobs order by id desc limit 1")[0][0]

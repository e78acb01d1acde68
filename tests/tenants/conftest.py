"""A prepared cluster, a platform database, and tenants that were made on it by the job as it runs in the function."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from gatehouse.database.connection import Database
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.jobs.bell import Burial
from gatehouse.jobs.claim import work_on
from gatehouse.sealing import Keyring
from gatehouse.tenants import records
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Engine, Wanted
from gatehouse.tenants.engines.api import EngineApi
from gatehouse.tenants.engines.neon import NeonEngine
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.engines.prepare import prepare_cluster
from gatehouse.tenants.links import Links, Safety
from gatehouse.tenants.names import names_of, new_id
from gatehouse.tenants.records import NewTenant, Row, Who
from gatehouse.tenants.run import Place, Query, Ran, run
from gatehouse.tenants.schema import bring_up_to_date
from gatehouse.tenants.tokens import Issuer, Tokens
from gatehouse.tenants.worker import Workshop, workers
from local.gateway_apis import GatewayApi
from local.neon_api import NeonApi
from local.postgres import PostgresServer
from tenants_api.api import build
from tenants_api.desk import TenantsDesk
from tests.http_api.api_client import Answer, Api
from tests.intake.conftest import keyring, ops, worker
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import run_sql

__all__ = ["keyring", "ops", "worker"]

ISSUER = "https://auth.example.com"
ISSUERS = (Issuer("supabase", ISSUER, "authenticated", "ES256", f"{ISSUER}/keys", "default"),)

MAKER, MAKER_PASSWORD = "gatehouse_tenants", "only for tests"
NEON_KEY = "napi_only_for_tests"
SAFETY = Safety("off")
ANNA = Who("default", "user:anna")


class SilentBell:
    """Stands for the bell, whose own ways are tested elsewhere."""

    def tell_burials(self, burials: list[Burial], **_: Any) -> list[Burial]:
        """Say that all were told."""
        return burials

    def ring_for_backup(self, *, again: bool = False) -> bool:
        """Ring for nobody."""
        return again


@dataclass
class House:
    """Everything around tenants of one engine, for one test."""

    server: PostgresServer
    platform: GatehouseDatabase
    api: Database
    shop: Workshop
    engine: Engine
    links: Links
    made: list[str] = field(default_factory=list)

    def work(self, topic: str = "provision_tenant") -> list[str]:
        """Do the jobs of a topic that are due, as the function does when it is rung for; say what became of each."""
        jobs = self.platform.sql(
            "select id from jobs where (status = 'waiting' and due_at <= now()"
            f" or status = 'leased' and lease_until <= now()) and topic = '{topic}' order by id"
        )
        bell: Any = SilentBell()
        return [work_on(job, workers(self.shop), self.shop.database, bell) for (job,) in jobs]

    def let_leases_end(self) -> None:
        """Let time pass: every lease is over, and every postponed job is due."""
        self.platform.sql("update jobs set lease_until = now() - interval '1 s' where status = 'leased'")
        self.platform.sql("update jobs set due_at = now() where status = 'waiting'")

    def asked(self, name: str = "Acme", who: Who = ANNA, plan: str = "free", **more: Any) -> str:
        """Ask for a tenant and return its id."""
        row, _ = records.create(self.api, who, NewTenant(name, plan, self.engine.name, **more))
        self.made.append(row["id"])
        return str(row["id"])

    def tenant(self, name: str = "Acme", who: Who = ANNA, plan: str = "free") -> str:
        """Make a tenant and return its id."""
        made = self.asked(name, who, plan)
        assert self.work() == ["done"]
        assert self.row(made)["status"] == "active", self.row(made)["status_reason"]
        return made

    def row(self, tenant: str) -> Row:
        """Return a tenant's row."""
        return self.shop.database.query_one(records.sql.find_tenant, tenant=tenant)

    def run(self, tenant: str, *texts: str | Query, role: str = "owner", **options: Any) -> Ran:
        """Run statements as the query endpoint does, without its HTTP."""
        queries = [each if isinstance(each, Query) else Query(each) for each in texts]
        place = records.place_of(self.shop.database, ANNA, self.shop.keyring(), self.row(tenant))
        return run(self.links, place, role, queries, claims=options.pop("claims", {"sub": "user:anna"}), **options)

    def rows(self, tenant: str, *texts: str | Query, role: str = "owner", **options: Any) -> list[str]:
        """Return the rows of the last statement, each as JSON."""
        return self.run(tenant, *texts, role=role, **options).results[-1].rows

    def things(self, tenant: str) -> tuple[str, ...]:
        """Return what the engine has of a tenant."""
        return tuple(self.engine.inventory().things.get(tenant, ()))


class TenantsApi:
    """The API of tenants, asked through its Lambda handler; its jobs are done by whoever holds the house."""

    def __init__(self) -> None:
        self.house: House | None = None
        self.rung: list[tuple[int, str]] = []
        self.keys: dict[str, Any] = {"keys": []}
        self.grace_days = 7
        desk = TenantsDesk(
            database=lambda: self._now().api,
            bell=lambda: self,  # type: ignore[arg-type, return-value]  # rings
            keyring=lambda: self._now().shop.keyring(),
            links=lambda: self._now().links,
            tokens=lambda: Tokens(ISSUERS, lambda _: self.keys),
            engine_for=lambda _plan, asked: asked or self._now().engine.name,
            grace_days=7,
            statement_milliseconds=5000,
        )
        self._api = Api.__new__(Api)
        self._api._handler = lambda_handler(build(desk, ("https://shop.example.com",)))

    def _now(self) -> House:
        assert self.house is not None
        return self.house

    def ring(self, jobs: list[tuple[int, str]]) -> int:
        """Stand for the bell: keep what it was asked to ring for."""
        self.rung += jobs
        return len(jobs)

    def ask(self, method: str, path: str, key: str = "", body: Any = None, **options: Any) -> Answer:
        """Send one request."""
        headers = {"content-type": "application/json", **options.pop("headers", {})}
        content = b"" if body is None else json.dumps(body).encode()
        return self._api.ask(f"/api/v1/tenants{path}", key, method=method, headers=headers, body=content, **options)

    def query(self, tenant: str, key: str, text: str, **more: Any) -> Answer:
        """Run one statement."""
        return self.ask("POST", f"/{tenant}/query", key, {"query": text, **more})


@pytest.fixture(scope="session")
def shared_tenants_api() -> TenantsApi:
    """The API of tenants: making it anew takes half a second."""
    return TenantsApi()


@pytest.fixture
def tenants_api(shared_tenants_api: TenantsApi, plain: House) -> TenantsApi:
    """The same over the plain cluster of this test."""
    return over(shared_tenants_api, plain)


def over(api: TenantsApi, house: House) -> TenantsApi:
    """Return the API of tenants over a house, as if nobody had asked it before."""
    api.house = house
    api.rung.clear()
    return api


@pytest.fixture(scope="session")
def cluster(postgres_server: PostgresServer) -> str:
    """The address of the role that makes tenants, on a cluster that was prepared for them."""
    prepare_cluster(postgres_server.url(), MAKER, MAKER_PASSWORD, SAFETY)
    return postgres_server.url("postgres", MAKER, "only%20for%20tests")


type HouseOf = Callable[[Engine], House]


@pytest.fixture
def house_of(
    postgres_server: PostgresServer, gatehouse_database: GatehouseDatabase, worker: Database, keyring: Keyring
) -> Iterator[HouseOf]:
    """Return a function that makes the house of an engine; what it made is removed at the end."""
    houses: list[House] = []
    api = gatehouse_database.connect("api")

    def make(engine: Engine) -> House:
        shop = Workshop(worker, lambda: keyring, lambda _: engine, SAFETY)
        houses.append(House(postgres_server, gatehouse_database, api, shop, engine, Links(SAFETY, 10)))
        return houses[-1]

    yield make
    api.close()
    for house in houses:
        house.links.close()
        for (name,) in run_sql(postgres_server.url(), "select datname from pg_database where datname like 'gh\\_%'"):
            run_sql(postgres_server.url(), f'drop database "{name}" with (force)')
        for (name,) in run_sql(
            postgres_server.url(),
            "select rolname from pg_roles where rolname like 'gh\\_%' order by rolname like '%keeper'",
        ):
            run_sql(postgres_server.url(), f'drop role "{name}"')


class Site:
    """Tenants of one engine without the platform around them: made once for all tests that only ask them."""

    def __init__(self, server: PostgresServer, engine: Engine) -> None:
        self.server = server
        self.engine = engine
        self.links = Links(SAFETY, 10)
        self.places: dict[str, Place] = {}

    def tenant(self) -> str:
        """Make a tenant as the job does, and return its id."""
        tenant = new_id("t")
        names = names_of(tenant)
        wanted = Wanted(tenant, names, None, {}, Credentials.new(names), lambda _: None)
        credentials = self.engine.make(wanted)
        bring_up_to_date(credentials, SAFETY)
        self.places[tenant] = Place(tenant, credentials)
        return tenant

    def run(self, tenant: str, *texts: str | Query, role: str = "owner", **options: Any) -> Ran:
        """Run statements as the query endpoint does, without its HTTP."""
        queries = [each if isinstance(each, Query) else Query(each) for each in texts]
        claims = options.pop("claims", {"sub": "user:anna"})
        return run(self.links, self.places[tenant], role, queries, claims=claims, **options)

    def rows(self, tenant: str, *texts: str | Query, role: str = "owner", **options: Any) -> list[str]:
        """Return the rows of the last statement, each as JSON."""
        return self.run(tenant, *texts, role=role, **options).results[-1].rows

    def clean(self, tenant: str) -> None:
        """Remove what a test has made in a tenant's database."""
        self.links.close()
        run_sql(
            self.server.url(names_of(tenant).database),
            """do $$ declare each record; begin
            for each in select oid::regclass as name from pg_class where relnamespace = 'public'::regnamespace
                and relkind = 'r' and relname not in ('profiles', 'projects', 'gatehouse_migrations') loop
                execute format('drop table %s cascade', each.name); end loop;
            for each in select oid::regprocedure as name from pg_proc where pronamespace = 'public'::regnamespace loop
                execute format('drop function %s', each.name); end loop;
            truncate profiles, projects; end $$""",
        )

    def remove(self) -> None:
        """Remove all of it."""
        self.links.close()
        for tenant in self.places:
            self.engine.remove_orphan(tenant)


@pytest.fixture(scope="session")
def neon_account(postgres_server: PostgresServer) -> Iterator[GatewayApi]:
    """An account at Neon, by a stand-in; every request and answer of all tests was as Neon's document says."""
    api = GatewayApi(NeonApi(postgres_server.url(), NEON_KEY))
    api.start()
    yield api
    api.stop()
    assert api.gateway.broken == []  # type: ignore[attr-defined]  # of NeonApi


@contextmanager
def neon_engine(account: GatewayApi) -> Iterator[NeonEngine]:
    """Give the engine of an account at Neon."""
    with httpx.Client(base_url=f"{account.url}/api/v2", headers={"authorization": f"Bearer {NEON_KEY}"}) as http:
        yield NeonEngine(EngineApi("Neon", http, sleep=lambda _: None), SAFETY)


@pytest.fixture(scope="module", params=["plain", "neon"])
def site(request: pytest.FixtureRequest, postgres_server: PostgresServer) -> Iterator[Site]:
    """Tenants that the tests of one file share: once on each engine that a caller could meet."""
    with ExitStack() as opened:
        if request.param == "neon":
            engine: Engine = opened.enter_context(neon_engine(request.getfixturevalue("neon_account")))
        else:
            engine = PlainEngine(request.getfixturevalue("cluster"), SAFETY)
        made = Site(postgres_server, engine)
        yield made
        made.remove()


@pytest.fixture
def plain(house_of: HouseOf, cluster: str) -> House:
    """The house of the plain cluster."""
    return house_of(PlainEngine(cluster, SAFETY))


@pytest.fixture(params=["plain", "neon"])
def either(request: pytest.FixtureRequest, house_of: HouseOf, cluster: str) -> Iterator[House]:
    """The house of each engine that a caller could meet, one after the other."""
    if request.param == "plain":
        yield house_of(PlainEngine(cluster, SAFETY))
        return
    with neon_engine(request.getfixturevalue("neon_account")) as engine:
        yield house_of(engine)

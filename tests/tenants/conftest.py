"""A prepared cluster, a platform database, and tenants that were made on it by the job as it runs in the function."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.jobs.bell import Burial
from gatehouse.jobs.claim import work_on
from gatehouse.sealing import Keyring
from gatehouse.tenants import records
from gatehouse.tenants.engines import Engine
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.engines.prepare import prepare_cluster
from gatehouse.tenants.links import Links, Safety
from gatehouse.tenants.records import NewTenant, Row, Who
from gatehouse.tenants.run import Query, Ran, run
from gatehouse.tenants.worker import Workshop, workers
from local.postgres import PostgresServer
from tests.intake.conftest import keyring, ops, worker
from tests.support.gatehouse_database import GatehouseDatabase
from tests.support.postgres import run_sql

__all__ = ["keyring", "ops", "worker"]

MAKER, MAKER_PASSWORD = "gatehouse_tenants", "only for tests"
SAFETY = Safety("off")
ANNA = Who("default", "user:anna")


class SilentBell:
    """Stands for the bell, whose own ways are tested elsewhere."""

    def tell_burials(self, burials: list[Burial], **_: Any) -> list[Burial]:
        """Say that all were told."""
        return burials


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
        for (name,) in run_sql(postgres_server.url(), "select rolname from pg_roles where rolname like 'gh\\_%'"):
            run_sql(postgres_server.url(), f'drop role "{name}"')


@pytest.fixture
def plain(house_of: HouseOf, cluster: str) -> House:
    """The house of the plain cluster."""
    return house_of(PlainEngine(cluster, SAFETY))

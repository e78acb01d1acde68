"""A tenant is made as a whole or not at all, wherever the work is cut off; and removed as a whole."""

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import EngineError
from gatehouse.models.accounts import keys_in_use
from gatehouse.sealing import Keyring
from gatehouse.tenants import records, worker
from gatehouse.tenants.credentials import Credentials
from gatehouse.tenants.engines import Engine
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.names import literal, names_of, quoted
from gatehouse.tenants.passwords import verifier
from gatehouse.tenants.worker import Workshop
from tests.intake.conftest import KEYS
from tests.support.postgres import run_sql
from tests.tenants.conftest import ANNA, SAFETY, House, HouseOf


class Killed(BaseException):
    """The process is gone: nothing that is written after it runs."""


def _this(engine: Engine, _name: str) -> Engine:
    return engine


class CutOff(PlainEngine):
    """The engine of a process that is killed after so many commands to the cluster, or refused there."""

    def __init__(self, address: str, after: int, error: Callable[[], BaseException] = Killed) -> None:
        super().__init__(address, SAFETY)
        self.left = after
        self.error = error

    def _session(self) -> Any:
        context = super()._session()
        engine = self

        class Counted:
            def __enter__(self) -> Any:
                session = context.__enter__()

                def counted(do: Any) -> Any:
                    def done(*arguments: Any) -> Any:
                        engine.left -= 1
                        if engine.left < 0:
                            raise engine.error()
                        return do(*arguments)

                    return done

                for name in ("run", "query"):
                    setattr(session, name, counted(getattr(session, name)))
                return session

            def __exit__(self, *what: Any) -> Any:
                return context.__exit__(*what)

        return Counted()


@pytest.mark.req("T1", "T2")
def test_a_tenant_gets_a_database_of_its_own(plain: House) -> None:
    tenant = plain.tenant()
    names = names_of(tenant)
    assert sorted(plain.things(tenant)) == sorted(
        [f"database {names.database}", *(f"role {each}" for each in names.roles)]
    )
    row = plain.row(tenant)
    assert (row["max_databases"], row["max_storage_mb"], row["max_requests_per_day"]) == (1, 100, 10_000)
    assert (row["max_requests_per_minute"], row["max_requests_per_hour"]) == (100, 1000)
    (version,) = plain.rows(tenant, "SELECT version()")
    assert "PostgreSQL" in version


@pytest.mark.req("T1")
def test_killed_after_every_command_it_goes_on_and_leaves_no_orphan(house_of: HouseOf, cluster: str) -> None:
    house = house_of(PlainEngine(cluster, SAFETY))
    tenant = house.asked()
    cuts = 0
    while True:
        cut = CutOff(cluster, after=cuts)
        house.shop = house.shop._replace(engine=partial(_this, cut))
        try:
            house.work()
        except Killed:
            house.let_leases_end()
            house.platform.sql("update jobs set attempts = 0")  # else it would be given up meanwhile
            cuts += 1
            continue
        break
    assert cuts > 15  # it was really killed, again and again, a little later each time
    assert house.row(tenant)["status"] == "active"
    assert len(house.things(tenant)) == 5
    assert house.rows(tenant, "select 1 as one") == ['{"one":1}']


@pytest.mark.req("T1", "T5")
def test_killed_anywhere_and_then_deleted_nothing_is_left(house_of: HouseOf, cluster: str) -> None:
    house = house_of(PlainEngine(cluster, SAFETY))
    whole = house.shop
    for cuts in range(0, 30, 4):
        tenant = house.asked(f"cut {cuts}")
        cut = CutOff(cluster, after=cuts)
        house.shop = whole._replace(engine=partial(_this, cut))
        try:
            house.work()
        except Killed:
            house.let_leases_end()
        house.shop = whole
        records.delete(house.api, ANNA, tenant, grace_days=0)
        assert house.work("remove_tenant") == ["done"]
        assert house.work() in (["done"], [])  # the job that would have gone on finds nothing to make
        assert house.things(tenant) == ()
        assert house.row(tenant)["removed_at"] is not None
    assert house.engine.inventory().things == {}


@pytest.mark.req("T1")
def test_refused_at_any_step_it_undoes_itself(house_of: HouseOf, cluster: str) -> None:
    house = house_of(PlainEngine(cluster, SAFETY))
    whole = house.shop
    for cuts in (0, 5, 11, 17):
        tenant = house.asked(f"refused {cuts}")
        house.shop = whole._replace(engine=partial(_this, Refusing(cluster, cuts)))
        assert house.work() == ["done"]
        row = house.row(tenant)
        assert (row["status"], row["sealed"]) == ("deleted", None)
        assert "could not be made: no more room" in row["status_reason"]
        assert house.things(tenant) == ()


class Refusing(CutOff):
    """An engine that refuses one command for good, and then obeys."""

    def __init__(self, address: str, after: int) -> None:
        super().__init__(address, after, self._refuse)

    def _refuse(self) -> BaseException:
        self.left = 1000
        return EngineError("no more room", retry_helps=False)


@pytest.mark.req("T1")
def test_what_passes_is_tried_again_and_undone_in_the_end(house_of: HouseOf, cluster: str) -> None:
    house = house_of(PlainEngine(cluster, SAFETY))
    tenant = house.asked()
    whole = house.shop

    def away(_: str) -> Engine:
        return CutOff(cluster, 3, lambda: EngineError("the cluster restarts", retry_helps=True))

    house.shop = whole._replace(engine=away)
    assert house.work() == ["postponed"]
    house.shop = whole
    house.let_leases_end()
    assert house.work() == ["done"]
    assert house.row(tenant)["status"] == "active"


@pytest.mark.req("T1")
def test_a_removal_waits_for_a_job_that_is_under_way(plain: House) -> None:
    tenant = plain.asked()
    plain.platform.sql(
        "update jobs set status = 'leased', lease_token = gen_random_uuid(), lease_until = now() + interval '1 minute'"
    )
    records.delete(plain.api, ANNA, tenant, grace_days=0)
    assert plain.work("remove_tenant") == ["held"]
    plain.let_leases_end()
    assert plain.work("remove_tenant") == ["done"]


@pytest.mark.req("T5")
def test_a_deleted_tenant_has_days_of_grace(plain: House) -> None:
    tenant = plain.tenant()
    records.delete(plain.api, ANNA, tenant, grace_days=7)
    assert plain.work("remove_tenant") == []
    assert records.resume(plain.api, ANNA, tenant)["status"] == "active"
    plain.platform.sql("update jobs set due_at = now()")
    assert plain.work("remove_tenant") == ["done"]  # and does nothing, as the tenant is wanted again
    assert plain.rows(tenant, "select 1 as one") == ['{"one":1}']


@pytest.mark.req("T1")
def test_the_maker_is_no_superuser_and_passwords_reach_no_log(plain: House) -> None:
    assert run_sql(plain.server.url(), "select rolsuper from pg_roles where rolname = 'gatehouse_tenants'") == [[False]]
    made = verifier("secret", bytes(16))
    assert made.startswith("SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$")
    assert "secret" not in made
    credentials = Credentials.new(names_of("t" + "a" * 15))
    assert not any(each in repr(credentials) for each in credentials.passwords.values())


def test_names_and_texts_are_quoted() -> None:
    assert quoted('a"b') == '"a""b"'
    assert literal("it's \\ here") == " E'it''s \\\\ here'"
    for wrong in ("", "a\0b", "x" * 64):
        with pytest.raises(ValueError):
            quoted(wrong)
    for wrong in ("", "t1", "x" * 16, "t" + "A" * 15, 't"; drop database x; --'):
        with pytest.raises(ValueError):
            names_of(wrong)


@pytest.mark.req("T4")
def test_storage_is_measured_by_job(plain: House) -> None:
    tenant = plain.tenant()
    assert worker.measure(Workshop(*plain.shop), ("plain",)) == 1
    assert plain.row(tenant)["storage_bytes"] > 1_000_000
    (day,) = plain.platform.sql(f"select storage_used_mb from tenant_usage where tenant_id = '{tenant}'")
    assert day[0] > 1


@pytest.mark.req("T1")
def test_secrets_are_sealed_anew_with_a_new_key(plain: House, ops: Database) -> None:
    tenant = plain.tenant()
    newer = Keyring({"current": "k2", "keys": {**KEYS["keys"], "k2": base64.b64encode(bytes(32)).decode()}})
    assert [records.reseal(ops, newer), records.reseal(ops, newer)] == [1, 0]
    assert {row["key_id"]: row["tenants"] for row in keys_in_use(ops)} == {"k2": 1}
    plain.shop = plain.shop._replace(keyring=lambda: newer)
    assert plain.rows(tenant, "select 1 as n") == ['{"n":1}']


@pytest.mark.req("T6")
def test_all_processes_share_the_turns_at_an_engine(plain: House) -> None:
    turn = records.sql.take_turn(engine="neon", seconds_each="10")
    waits = [plain.shop.database.flush([turn])[0].rows[0]["wait_seconds"] for _ in range(3)]
    assert [round(each) for each in waits] == [0, 10, 20]

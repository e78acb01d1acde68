"""Every known way out is tried and held; and a way that is open is noticed."""

import pytest

from gatehouse.errors import MigrationFailed
from gatehouse.tenants import attack, doctor, records, rollout
from gatehouse.tenants.attack import ATTACKS, HELD, PASSED, Attack, attack_all, prepare
from gatehouse.tenants.engines.plain import PlainEngine
from gatehouse.tenants.export import exported
from gatehouse.tenants.names import names_of
from gatehouse.tenants.records import credentials_of
from tests.support.postgres import run_sql
from tests.tenants.conftest import ANNA, SAFETY, House


@pytest.mark.req("T3", "T6")
def test_every_attack_is_held(either: House) -> None:
    is_plain = either.engine.name == "plain"  # at Neon nobody else is on the server
    tenant, other = either.tenant(), either.tenant("Other")
    place = records.place_of(either.shop.database, ANNA, either.shop.keyring(), either.row(tenant))
    prepare(either.links, place)
    outcomes = attack_all(either.links, place, other, is_plain=is_plain)
    assert [(each.attack.name, each.told) for each in outcomes if each.verdict == PASSED] == []
    assert len(outcomes) == sum(is_plain or not each.only_plain for each in ATTACKS) > 70
    assert len({each.name for each in ATTACKS}) == len(ATTACKS)


@pytest.mark.req("T3")
def test_an_open_way_is_noticed(plain: House) -> None:
    tenant, other = plain.tenant(), plain.tenant("Other")
    place = records.place_of(plain.shop.database, ANNA, plain.shop.keyring(), plain.row(tenant))
    prepare(plain.links, place)
    run_sql(
        plain.server.url(names_of(tenant).database),
        "grant select on pg_database to public; grant execute on function pg_read_file(text) to public;"
        " grant execute on function pg_notify(text, text) to public",
    )
    passed = {
        each.attack.name for each in attack_all(plain.links, place, other, is_plain=True) if each.verdict == PASSED
    }
    assert passed == {"pg_database", "pg_read_file", "pg_notify"}
    plain.platform.sql("select 1")
    left = Attack("leaves a row", ("delete from attacked", "select nothing"))
    (outcome,) = attack_all(plain.links, place, other, is_plain=True, attacks=[left])
    assert outcome.verdict == PASSED
    assert attack.HELD == HELD


@pytest.mark.req("T1")
def test_the_doctor_finds_and_mends(plain: House, cluster: str) -> None:
    whole, gone, closed = plain.tenant("whole"), plain.tenant("gone"), plain.tenant("closed")
    engine = PlainEngine(cluster, SAFETY)
    orphan = plain.tenant("orphan")
    stuck = plain.asked("stuck")
    plain.platform.sql(
        f"delete from tenant_permissions where false; update platform_tenants set status = 'deleted',"
        f" removed_at = now(), sealed = null, key_id = null where id = '{orphan}';"
        f"update jobs set status = 'dead', finished_at = now(), last_error = 'gave up' where business_key = '{stuck}'"
    )
    engine.remove_orphan(gone)
    run_sql(plain.server.url(), f"alter role \"{names_of(closed).viewer}\" password 'changed'")
    found = {(each.kind, each.id): each for each in doctor.examine(plain.shop, ["plain"], plain.links)}
    assert found.keys() == {("orphan", orphan), ("missing", gone), ("stuck", stuck), ("closed", closed)}
    for each in found.values():
        doctor.mend(plain.shop, each)
    plain.links.close()
    assert doctor.examine(plain.shop, ["plain"], plain.links) == []
    assert plain.things(orphan) == ()
    assert plain.work() == ["done"]
    for tenant in (whole, gone, closed, stuck):
        assert plain.rows(tenant, "select 1 as n", role="viewer") == ['{"n":1}']


@pytest.mark.req("T2")
def test_all_tenants_are_migrated_the_canary_first(plain: House) -> None:
    tenants = [plain.tenant(f"t{number}") for number in range(3)]
    assert [each.outcome for each in rollout.migrate_all(plain.shop)] == [rollout.UP_TO_DATE] * 3
    canary = max(tenants)

    def fails(*_: object) -> int:
        raise MigrationFailed("no")

    plain.platform.sql("update platform_tenants set schema_version = 1")
    assert [(each.tenant, each.outcome) for each in rollout.migrate_all(plain.shop, canary=canary, bring=fails)] == [
        (canary, rollout.FAILED)
    ]
    assert next(rollout.migrate_all(plain.shop, canary=canary)).tenant == canary  # and then it is broken off
    assert [each.outcome for each in rollout.migrate_all(plain.shop)] == [
        rollout.UP_TO_DATE,
        rollout.DONE,
        rollout.DONE,
    ]
    assert {row[0] for row in plain.platform.sql("select schema_version from platform_tenants")} == {3}


@pytest.mark.req("T5")
def test_an_export_has_every_row(either: House) -> None:
    tenant = either.tenant()
    either.run(tenant, "create table many (n integer)")
    either.run(tenant, "insert into many select * from generate_series(1, 1200)")
    lines = list(exported(credentials_of(either.shop.keyring(), either.row(tenant)), SAFETY))
    assert len(lines) == 1200
    assert lines[0] == '{"table":"public.many","row":{"n": 1}}'

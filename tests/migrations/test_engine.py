"""The engine against a real Postgres: what is applied, what is refused, and what a failure leaves (nothing)."""

import threading
import time
from pathlib import Path

import pytest

from gatehouse.errors import ConnectionError, DatabaseError, MigrationFailed, MigrationRefused, RunnerBusy
from gatehouse.migrations.engine import Engine
from gatehouse.migrations.sessions import Target, open_reader
from local.postgres import PostgresServer
from tests.conftest import DatabaseFactory
from tests.migrations.conftest import EngineMaker, MigrationFolder, runner_lock_held, session_that
from tests.support import pgbouncer as pooler
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import database_name, run_sql
from tests.support.tls import TlsProxy, new_authority

pytestmark = pytest.mark.req("P13")


def tables(address: str) -> list[str]:
    return [
        row[0]
        for row in run_sql(address, "select tablename::text from pg_tables where schemaname = 'public' order by 1")
    ]


def ledger(address: str) -> list[list[object]]:
    return run_sql(address, "select version, state, statements_done from gatehouse_migrations order by version")


# --- the plain way --------------------------------------------------------------------------------------------------


def test_up_down_up(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write("0001_one", "create table one (id int); create index one_id on one (id);", "drop table one;")
    folder.write("0002_two", "create table two (id int);", "drop table two;")
    folder.write("0003_three", "create table three (id int);", "drop table three;")
    heard: list[str] = []
    runner = engine(tell=heard.append)
    assert runner.up(to=2) == ("0001_one", "0002_two")
    assert tables(address) == ["gatehouse_migrations", "one", "two"]
    assert runner.status().pending == 1
    assert runner.up() == ("0003_three",)
    assert runner.up() == ()
    assert runner.down() == ("0003_three",)
    assert runner.down(to=0) == ("0002_two", "0001_one")
    assert tables(address) == ["gatehouse_migrations"]
    assert runner.down() == ()
    assert len(runner.up()) == 3
    assert [line.split(" in ")[0] for line in heard[:2]] == ["0001_one applied", "0002_two applied"]


def test_the_status_tells_when_and_by_whom(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "create table one (id int);")
    folder.write("0002_two", "create table two (id int);")
    engine().up(to=1)
    first, second = engine().status().steps
    assert (first.state, first.applied_by, second.state, second.applied_at) == ("applied", "postgres", "pending", None)
    assert first.applied_at is not None
    assert abs(time.time() - first.applied_at.timestamp()) < 60


def test_a_number_that_no_file_has_is_refused(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "create table one (id int);")
    for call in (lambda: engine().up(to=2), lambda: engine().down(to=2), lambda: engine().dry_run(7)):
        with pytest.raises(MigrationRefused, match="there is no migration"):
            call()


def test_without_a_way_back_down_undoes_nothing_at_all(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    (folder.path / "0001_one.sql").write_text(
        "-- migrate: up\ncreate table one (id int);\n-- migrate: no way back because its rows matter\n"
    )
    folder.write("0002_two", "create table two (id int);", "drop table two;")
    engine().up()
    with pytest.raises(MigrationRefused, match=r"0001_one.sql: no way back because its rows matter"):
        engine().down(to=0)
    assert tables(address) == ["gatehouse_migrations", "one", "two"]
    assert engine().down() == ("0002_two",)


def test_what_one_migration_sets_the_next_does_not_see(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create schema elsewhere; set search_path to elsewhere; set role pg_monitor;")
    folder.write("0002_two", "create table two (id int);")
    engine().up()
    assert tables(address) == ["gatehouse_migrations", "two"]


def test_every_kind_of_text_arrives_as_it_is_written(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write(
        "0001_one",
        "create table one (word text default ';:not_a_parameter $1 %s');\n"
        "create function f() returns text language sql as $$ select ':x;'::text; $$;\n"
        "insert into one default values; select 1, 2; select f();\n"
        "create function g() returns int begin atomic select 1; select 2; end;",
    )
    engine().up()
    assert run_sql(address, "select word, f(), g() from one") == [[";:not_a_parameter $1 %s", ":x;", 2]]


# --- what status, dry run and verify may do: look -------------------------------------------------------------------


def test_looking_changes_nothing_and_waits_for_nobody(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int);")
    with runner_lock_held(address):
        assert engine().status().pending == 1
        assert [each.up_text for each in engine().dry_run()] == ["create table one (id int);"]
        assert engine().verify() == ("0001_one.sql is pending",)
        assert engine().describe_schema()
    assert tables(address) == []


def test_the_session_that_looks_could_not_write(address: str) -> None:
    with open_reader(Target("primary", address, tls="off")) as session, pytest.raises(DatabaseError, match="read-only"):
        session.run("create table one (id int)")


# --- files that changed ---------------------------------------------------------------------------------------------


def test_a_changed_file_is_refused_by_name(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    file = folder.write("0001_one", "create table one (id int);", "drop table one;")
    folder.write("0002_two", "create table two (id int);")
    engine().up(to=1)
    file.write_text(file.read_text() + "-- a word more\n")
    for call in (engine().up, engine().down, engine().dry_run):
        with pytest.raises(MigrationRefused, match=r"0001_one.sql: changed after it was applied"):
            call()
    status = engine().status()
    assert [step.state for step in status.steps] == ["changed", "pending"]
    assert "0001_one.sql: changed" in status.problems[0]
    assert "0001_one.sql: changed" in engine().verify()[0]
    assert tables(address) == ["gatehouse_migrations", "one"]


def test_a_file_that_was_renamed_or_went_away_is_refused(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "select 1;")
    second = folder.write("0002_two", "select 2;")
    engine().up()
    renamed = second.rename(folder.path / "0002_deux.sql")
    with pytest.raises(MigrationRefused, match=r"0002_deux.sql: was applied as 0002_two.sql"):
        engine().up()
    renamed.unlink()
    with pytest.raises(MigrationRefused, match=r"0002_two.sql: was applied here, but the file is gone"):
        engine().up()


def test_a_number_that_was_passed_over_is_refused(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write("0001_one", "select 1;")
    folder.write("0002_two", "select 2;")
    engine().up()
    run_sql(address, "delete from gatehouse_migrations where version = 1")
    with pytest.raises(MigrationRefused, match=r"0001_one.sql: was never applied, but 0002 was"):
        engine().up()


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_failure_leaves_nothing_and_names_file_statement_line_and_sqlstate(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int);")
    folder.write("0002_two", "create table two (id int);\n\ninsert into two\n  values (1);\nselect *\nfrom nowhere;")
    with pytest.raises(MigrationFailed) as failed:
        engine().up()
    assert str(failed.value) == (
        '0002_two.sql line 8, statement 3 of 3: relation "nowhere" does not exist (42P01);'
        " nothing of this migration was kept"
    )
    assert (failed.value.sqlstate, failed.value.retry_helps) == ("42P01", False)
    assert tables(address) == ["gatehouse_migrations", "one"]
    assert ledger(address) == [[1, "applied", 1]]


def test_a_failure_at_the_commit_leaves_nothing(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write(
        "0001_one",
        "create table one (id int primary key);"
        "create table two (id int references one deferrable initially deferred);"
        "insert into two values (7);",
    )
    with pytest.raises(MigrationFailed, match=r"0001_one.sql, at its end: .*foreign key.*\(23503\)"):
        engine().up()
    assert tables(address) == ["gatehouse_migrations"]


def test_a_failed_way_back_leaves_all(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write("0001_one", "create table one (id int);", "drop table one;\ndrop table nowhere;")
    engine().up()
    with pytest.raises(MigrationFailed, match=r"0001_one.sql line 6, statement 2 of 2: .*\(42P01\)"):
        engine().down()
    assert tables(address) == ["gatehouse_migrations", "one"]
    assert ledger(address) == [[1, "applied", 1]]


def test_a_statement_that_needs_no_transaction_says_so(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "vacuum;")
    with pytest.raises(MigrationFailed, match=r"\(25001\).*It needs `-- migrate: no-transaction`"):
        engine().up()


def test_copy_from_a_client_is_refused_and_does_not_hang(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "create table one (id int);\ncopy one from stdin;")
    with pytest.raises(MigrationFailed, match=r"line 4, statement 2 of 2: .*there is no file to copy from here"):
        engine().up()


def test_a_migration_does_not_queue_behind_traffic_for_ever(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int);")
    folder.write("0002_two", "create table two (id int); alter table one add column name text;")
    engine().up(to=1)
    with session_that(address, "begin; lock table one in access share mode; select pg_sleep(3)"):
        began = time.monotonic()
        with pytest.raises(MigrationFailed) as failed:
            engine(lock_timeout_seconds=0.3).up()
        assert time.monotonic() - began < 2
    assert failed.value.retry_helps
    assert "(55P03); nothing of this migration was kept. Other work held the table for more than 0.3 s" in str(
        failed.value
    )
    assert tables(address) == ["gatehouse_migrations", "one"]
    assert engine().up() == ("0002_two",)


# --- several runners ------------------------------------------------------------------------------------------------


def test_two_runners_at_once_one_waits_and_one_works(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "create table one (id int); select pg_sleep(0.7);")
    folder.write("0002_two", "create table two (id int);")
    heard: list[str] = []
    done: list[tuple[str, ...]] = []
    runners = [threading.Thread(target=lambda: done.append(engine(tell=heard.append).up())) for _ in range(2)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()
    assert sorted(done) == [(), ("0001_one", "0002_two")]
    waiting = [line for line in heard if "is at work; waiting up to 60 s for it" in line]
    assert len(waiting) == 1
    assert "another runner (role postgres from 127.0.0.1 since " in waiting[0]


def test_a_runner_waits_only_so_long(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write("0001_one", "create table one (id int);")
    with (
        runner_lock_held(address),
        pytest.raises(RunnerBusy, match=r"primary: another runner .* still works after 0.3 s"),
    ):
        engine(lock_wait_seconds=0.3).up()
    assert tables(address) == []


# --- outside a transaction ------------------------------------------------------------------------------------------


def test_an_index_is_built_concurrently_while_another_runner_waits(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int); insert into one select generate_series(1, 1000);")
    folder.write_without_transaction(
        "0002_index", "create index concurrently one_id on one (id);", "drop index concurrently one_id;"
    )
    engine().up(to=1)
    done: list[tuple[str, ...]] = []
    # The build waits for this transaction, long enough for the second runner to come and wait, too.
    with session_that(address, "begin; select txid_current(); select pg_sleep(1)"):
        runners = [threading.Thread(target=lambda: done.append(engine().up())) for _ in range(2)]
        for runner in runners:
            runner.start()
    for runner in runners:
        runner.join(timeout=20)
    assert sorted(done) == [(), ("0002_index",)]
    assert engine().verify() == ()
    assert engine().down() == ("0002_index",)
    assert run_sql(address, "select to_regclass('one_id')") == [[None]]


def test_an_invalid_index_is_found_and_built_again(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write("0001_one", "create table one (id int); insert into one values (1), (1);")
    folder.write_without_transaction(
        "0002_index",
        "create table two (id int);\ncreate unique index concurrently if not exists one_id on one (id);\nvacuum one;",
    )
    with pytest.raises(MigrationFailed) as failed:
        engine().up()
    assert str(failed.value).startswith("0002_index.sql line 5, statement 2 of 3: could not create unique index")
    assert "(23505); its first 1 statements are done; `up` goes on with statement 2" in str(failed.value)
    assert ledger(address)[1] == [2, "applying", 1]
    assert engine().status().steps[1].state == "half applied"
    problems = engine().verify()
    assert "0002_index.sql is half applied" in problems
    assert any(line.startswith("index public.one_id of one is invalid") for line in problems)

    run_sql(address, "delete from one where ctid = '(0,1)'")
    heard: list[str] = []
    assert engine(tell=heard.append).up() == ("0002_index",)
    assert "0002_index: index one_id was left half-built by a failed attempt; building it again" in heard
    assert run_sql(address, "select indisvalid, indisunique from pg_index where indexrelid = 'one_id'::regclass") == [
        [True, True]
    ]
    assert engine().verify() == ()


def test_an_index_that_was_finished_but_not_noted_counts_as_built(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int); create table other (id int);")
    folder.write_without_transaction("0002_index", 'create index concurrently "One_id" on public.one (id);\nselect 1;')
    engine().up()
    # As it is when a runner is killed after the index was built and before that was written down.
    run_sql(
        address,
        "update gatehouse_migrations set state = 'applying', statements_done = 0, building = '\"One_id\"',"
        " checksum = encode(sha256(''), 'hex') where version = 2",
    )
    before = run_sql(address, "select '\"One_id\"'::regclass::oid")
    assert engine().up() == ("0002_index",)
    assert run_sql(address, "select '\"One_id\"'::regclass::oid") == before


def test_an_index_that_somebody_else_made_is_not_touched(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    folder.write("0001_one", "create table one (id int); create index one_id on one (id);")
    folder.write_without_transaction("0002_index", "create index concurrently one_id on one (id);")
    for _ in range(2):
        with pytest.raises(MigrationFailed, match=r"\(42P07\)"):
            engine().up()
    assert run_sql(address, "select indisvalid from pg_index where indexrelid = 'one_id'::regclass") == [[True]]


def test_a_half_applied_file_may_be_repaired_from_where_it_failed(
    engine: EngineMaker, folder: MigrationFolder, address: str
) -> None:
    file = folder.write_without_transaction("0001_one", "create table one (id int);\ncreate tabel two (id int);")
    with pytest.raises(MigrationFailed, match="statement 2 of 2"):
        engine().up()
    file.write_text(file.read_text().replace("table one (id int)", "table one (id bigint)").replace("tabel", "table"))
    with pytest.raises(MigrationRefused, match=r"one of its first 1 statements changed after it was done"):
        engine().up()
    file.write_text(file.read_text().replace("bigint", "int"))
    assert engine().up() == ("0001_one",)
    assert tables(address) == ["gatehouse_migrations", "one", "two"]
    file.write_text(file.read_text() + "-- more\n")
    with pytest.raises(MigrationRefused, match="changed after it was applied"):
        engine().up()


def test_a_half_applied_file_can_be_undone(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write_without_transaction(
        "0001_one",
        "create table one (id int); create table one (id int);",
        "drop table one;\nselect 1 / (select count(*) from pg_tables where tablename = 'mended');",
    )
    with pytest.raises(MigrationFailed, match="statement 2 of 2"):
        engine().up()
    with pytest.raises(MigrationFailed, match=r"statement 2 of 2.*`down` goes on with statement 2"):
        engine().down()
    assert ledger(address) == [[1, "undoing", 1]]
    with pytest.raises(MigrationRefused, match=r"0001_one.sql is half undone: finish that with `down`"):
        engine().up()
    run_sql(address, "create table mended ()")
    assert engine().down() == ("0001_one",)
    assert ledger(address) == []


# --- whose objects they are -----------------------------------------------------------------------------------------


def test_a_superuser_works_as_the_owner_of_the_database(
    engine: EngineMaker, folder: MigrationFolder, postgres_server: PostgresServer, fresh_database: DatabaseFactory
) -> None:
    run_sql(postgres_server.url(), "create role somebody")
    try:
        address = fresh_database(owner="somebody")
        folder.write("0001_one", "create table one (id int);", "drop table one;")
        folder.write_without_transaction("0002_two", "create table two (id int);", "drop table two;")
        runner = engine(address=address)
        runner.up()
        assert run_sql(address, "select distinct tableowner::text from pg_tables where schemaname = 'public'") == [
            ["somebody"]
        ]
        assert run_sql(address, "select distinct applied_by from gatehouse_migrations") == [["postgres"]]
        runner.down(to=0)
        run_sql(address, f"alter database {database_name(address)} set gatehouse.stage = 'development'")
        runner.reset()
    finally:
        run_sql(postgres_server.url(), f"drop database {database_name(address)} with (force)")
        run_sql(postgres_server.url(), "drop role somebody")


# --- reset ----------------------------------------------------------------------------------------------------------


def test_only_a_development_database_is_emptied(engine: EngineMaker, folder: MigrationFolder, address: str) -> None:
    folder.write(
        "0001_one",
        "create schema apart; create table apart.two (id int);"
        "create table one (id int generated always as identity, at timestamptz not null) partition by range (at);"
        "create table one_default partition of one default;"
        "create sequence counter; create type mood as enum ('a', 'b'); create domain name_text as text;"
        "create view seen as select id from one; create materialized view kept as select id from one;"
        "create function f() returns int language sql as 'select 1'; create procedure p() language sql as 'select 1';"
        "create type pair as (a int, b int); create aggregate total(int) (sfunc = int4pl, stype = int);",
    )
    engine().up()
    with pytest.raises(MigrationRefused, match="is not marked as a development database, so it is not emptied"):
        engine().reset()
    assert "one" in tables(address)
    for stage in ("'production'", "'development'"):
        run_sql(address, f"alter database {database_name(address)} set gatehouse.stage = {stage}")
        if stage == "'production'":
            with pytest.raises(MigrationRefused, match="not marked"):
                engine().reset()
    assert engine().reset() > 5
    left = run_sql(
        address,
        "select count(*) from (select oid from pg_class where relnamespace = 'public'::regnamespace union all"
        " select oid from pg_proc where pronamespace = 'public'::regnamespace union all"
        " select oid from pg_type where typnamespace = 'public'::regnamespace union all"
        " select oid from pg_namespace where nspname = 'apart') as things",
    )
    assert left == [[0]]
    assert engine().up() == ("0001_one",)


# --- a pooled address -----------------------------------------------------------------------------------------------


@pytest.mark.pooler
@pytest.mark.parametrize("setting", ["", "ignore_startup_parameters = options\n"])
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooled_address_is_refused(
    postgres_server: PostgresServer,
    engine: EngineMaker,
    folder: MigrationFolder,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    mode: str,
) -> None:
    if not pooler.installed():
        pytest.skip(pooler.MISSING)
    configuration = pooler.CONFIGURATION.replace("pool_mode = transaction", f"pool_mode = {mode}") + setting
    monkeypatch.setattr(pooler, "CONFIGURATION", configuration)
    folder.write("0001_one", "create table one (id int);")
    bouncer = PgBouncer(postgres_server)
    bouncer.start()
    try:
        pooled: Engine = engine(address=bouncer.pooled(address))
        for call in (pooled.up, pooled.status, pooled.dry_run, pooled.verify, pooled.down, pooled.reset):
            with pytest.raises(MigrationRefused, match="this address goes through a connection pooler"):
                call()
    finally:
        bouncer.stop()
    assert tables(address) == []


def test_the_pooled_host_of_neon_is_known_by_its_name(engine: EngineMaker, folder: MigrationFolder) -> None:
    folder.write("0001_one", "create table one (id int);")
    pooled = "postgresql://me:hush@ep-cool-1-pooler.eu-central-1.aws.neon.invalid/db"
    with pytest.raises(MigrationRefused) as refused:
        engine(address=pooled).status()
    assert "goes through a connection pooler" in str(refused.value)
    assert "hush" not in str(refused.value)


# --- TLS ------------------------------------------------------------------------------------------------------------


def test_the_server_must_prove_who_it_is(
    folder: MigrationFolder, postgres_server: PostgresServer, address: str, tmp_path: Path
) -> None:
    folder.write("0001_one", "create table one (id int);")
    ours, strange = new_authority(tmp_path / "ours"), new_authority(tmp_path / "strange")
    with TlsProxy(postgres_server.port, ours.server_context("localhost")) as front:
        through = address.replace(f"127.0.0.1:{postgres_server.port}", f"localhost:{front.port}")

        def trusting(root_file: Path) -> Engine:
            return Engine(Target("primary", through, tls="verify", tls_root_file=str(root_file)), folder.path)

        with pytest.raises(ConnectionError, match="unable to get local issuer certificate"):
            trusting(strange.root_file).up()
        assert trusting(ours.root_file).up() == ("0001_one",)

"""`gatehouse migrate`, run as people run it: as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli import migrate as migrate_commands
from gatehouse.errors import SettingError
from gatehouse.settings import settings
from local import stack_file
from tests.conftest import DatabaseFactory
from tests.migrations.conftest import MigrationFolder
from tests.support import command_line
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import database_name, run_sql

pytestmark = pytest.mark.req("P13", "O5")

PROJECT = Path(__file__).parents[2]
ONE = ("0001_one", "create table one (id int);", "drop table one;")
TWO = ("0002_two", "create table two (id int);", "drop table two;")


class CommandLine:
    """Runs `gatehouse migrate` on one database and one folder of files."""

    def __init__(self, address: str, folder: MigrationFolder) -> None:
        self.address = address
        self.files = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "POSTGRES_URL_NON_POOLING": address,
            "DATABASE_TLS": "off",
            "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "layers" / "gatehouse")]),
        }

    def start(self, command: str, *arguments: str, folder: bool = True) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *self._words(command, arguments, folder)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.files.path,
        )

    def run(self, command: str, *arguments: str, code: int = 0, folder: bool = True) -> str:
        """Run a command, check its exit code, and return what it said; what it complained of stands last."""
        words = self._words(command, arguments, folder)
        done = command_line.gatehouse(*words, environment=self.environment, folder=self.files.path)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def _words(self, command: str, arguments: tuple[str, ...], folder: bool) -> list[str]:
        where = ("--folder", str(self.files.path)) if folder else ()
        return ["migrate", command, *where, *arguments]


@pytest.fixture
def folder(tmp_path: Path) -> MigrationFolder:
    return MigrationFolder(tmp_path)


@pytest.fixture
def migrate(fresh_database: DatabaseFactory, folder: MigrationFolder) -> CommandLine:
    return CommandLine(fresh_database(), folder)


def test_from_nothing_to_up_to_date_and_back(migrate: CommandLine) -> None:
    migrate.files.write(*ONE)
    migrate.files.write(*TWO)
    name = database_name(migrate.address)

    status = migrate.run("status", code=3)
    assert status.startswith(f"primary: {name} on 127.0.0.1:")
    assert " as postgres (from the settings)\n" in status
    assert "2 pending: `gatehouse migrate up` applies them" in status

    dry = migrate.run("up", "--dry-run")
    assert "-- 0001_one.sql, in one transaction:\ncreate table one (id int);\n" in dry
    assert "dry run: 2 would be applied, nothing was changed" in dry
    assert run_sql(migrate.address, "select count(*) from pg_tables where schemaname = 'public'") == [[0]]

    up = migrate.run("up", "--to", "1")
    assert "0001_one applied in " in up
    assert up.endswith("1 applied\n")
    assert migrate.run("up").endswith("1 applied\n")
    assert migrate.run("up").endswith("nothing to apply\n")
    status = migrate.run("status")
    assert "up to date: 2 applied" in status
    assert "0002  two        applied" in status
    assert migrate.run("verify").endswith("the database is what the migrations say\n")

    assert "drop table two;" in migrate.run("down", "--dry-run")
    assert "0002_two undone in " in migrate.run("down")
    assert migrate.run("down", "--to", "0").endswith("1 undone\n")
    assert migrate.run("down").endswith("nothing to undo\n")


def test_no_password_is_ever_shown(migrate: CommandLine) -> None:
    migrate.files.write(*ONE)
    password = migrate.address.split(":")[2].split("@")[0]
    wrong = migrate.address.replace("127.0.0.1", "127.0.0.2")
    said = migrate.run("status", code=3) + migrate.run("up")
    migrate.environment["POSTGRES_URL_NON_POOLING"] = wrong.replace("/test_", "/nowhere_")
    said += migrate.run("status", code=1)
    assert password not in said


@pytest.mark.parametrize("address", ["nonsense", "postgresql://me:hush/hush@127.0.0.1:5432/db", "mysql://me:hush@h/db"])
def test_an_address_that_is_none_is_told_without_quoting_it(migrate: CommandLine, address: str) -> None:
    migrate.files.write(*ONE)
    migrate.environment["POSTGRES_URL_NON_POOLING"] = address
    said = migrate.run("status", code=1)
    assert said.startswith("error: the database address ")
    assert "hush" not in said


def test_what_is_wrong_is_one_red_line_and_exit_code_one(migrate: CommandLine) -> None:
    file = migrate.files.write(*ONE)
    migrate.run("up")
    file.write_text(file.read_text() + "-- changed\n")
    for command in ("up", "down", "status", "verify"):
        assert "error: 0001_one.sql: changed after it was applied" in migrate.run(command, code=1)
    migrate.files.write("0003_three", "select 1;")
    assert "error: 0003_three.sql: the number before it is missing (expected 0002)" in migrate.run("up", code=1)


def test_a_failed_migration_names_file_line_and_statement(migrate: CommandLine) -> None:
    migrate.files.write("0001_one", "create table one (id int);\nselect nothing;", "drop table one;")
    said = migrate.run("up", code=1)
    assert 'error: 0001_one.sql line 4, statement 2 of 2: column "nothing" does not exist (42703)' in said
    assert run_sql(migrate.address, "select to_regclass('one')") == [[None]]


def test_reset_needs_a_development_database_and_a_yes(migrate: CommandLine) -> None:
    migrate.files.write(*ONE)
    migrate.run("up")
    assert "is not marked as a development database" in migrate.run("reset", "--yes", code=1)
    run_sql(migrate.address, f"alter database {database_name(migrate.address)} set gatehouse.stage = 'development'")
    assert "this drops every table and all data: give --yes" in migrate.run("reset", code=1)
    assert run_sql(migrate.address, "select to_regclass('one') is null") == [[False]]
    assert "2 objects dropped" in migrate.run("reset", "--yes")
    assert run_sql(migrate.address, "select to_regclass('one') is null") == [[True]]
    assert migrate.run("up").endswith("1 applied\n")


def test_the_address_may_come_from_a_file(migrate: CommandLine, tmp_path: Path) -> None:
    migrate.files.write(*ONE)
    url_file = tmp_path / "address.txt"
    url_file.write_text(migrate.address + "\n")
    del migrate.environment["POSTGRES_URL_NON_POOLING"]
    assert f"({url_file})" in migrate.run("up", "--url-file", str(url_file))
    assert "No such file" in migrate.run("up", "--url-file", str(tmp_path / "nowhere"), code=1)
    assert "--url-file and --folder are for one database" in migrate.run("status", "--database", "all", code=1)


@pytest.mark.pooler
def test_a_pooled_address_is_refused(migrate: CommandLine, pgbouncer: PgBouncer) -> None:
    migrate.files.write(*ONE)
    migrate.environment["POSTGRES_URL_NON_POOLING"] = pgbouncer.pooled(migrate.address)
    assert "this address goes through a connection pooler" in migrate.run("up", code=1)
    del migrate.environment["POSTGRES_URL_NON_POOLING"]
    migrate.environment["POSTGRES_URL"] = pgbouncer.pooled(migrate.address)
    assert "POSTGRES_URL_NON_POOLING" in migrate.run("up", code=1)


def test_the_backup_database_has_an_address_of_its_own(migrate: CommandLine, fresh_database: DatabaseFactory) -> None:
    migrate.files.write(*ONE)
    backup = fresh_database()
    migrate.environment["BACKUP_POSTGRES_URL_NON_POOLING"] = backup
    assert migrate.run("up", "--database", "backup").startswith(f"backup: {database_name(backup)} on ")
    assert run_sql(backup, "select to_regclass('one') is null") == [[False]]


def test_without_any_address_it_is_the_running_stack(
    migrate: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate.files.write(*ONE)
    monkeypatch.setattr(migrate_commands, "LOCAL_FOLDER", tmp_path)
    for name in ("POSTGRES_URL", "POSTGRES_URL_NON_POOLING", "DATABASE_SECRET_ARN"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()
    arguments = ["up", "--folder", str(tmp_path)]
    none = CliRunner().invoke(migrate_commands.app, arguments)
    assert isinstance(none.exception, SettingError)
    assert "no address of the primary database: give --url-file, or set POSTGRES_URL_NON_POOLING" in str(none.exception)
    stack_file.write(tmp_path, {"database_url": migrate.address})
    some = CliRunner().invoke(migrate_commands.app, arguments)
    assert "(the running local stack)" in some.stdout
    assert run_sql(migrate.address, "select to_regclass('one') is null") == [[False]]
    backup = CliRunner().invoke(migrate_commands.app, [*arguments, "--database", "backup"])
    assert "the running stack has no backup database" in str(backup.exception)


def test_the_migrations_of_the_project_for_all_databases(migrate: CommandLine, fresh_database: DatabaseFactory) -> None:
    migrate.environment["BACKUP_POSTGRES_URL_NON_POOLING"] = fresh_database()
    said = migrate.run("up", "--database", "all", folder=False)
    assert "0001_roles applied in " in said
    assert "backup: " in said
    assert migrate.run("verify", "--database", "all", folder=False)
    assert "CREATE TABLE merchants (" in migrate.run("schema", folder=False)


def test_a_killed_runner_blocks_nobody(migrate: CommandLine) -> None:
    migrate.files.write(
        *ONE,
    )
    migrate.files.write("0002_two", "alter table one add column name text; select pg_sleep(60);")
    process = migrate.start("up")
    wait_until_it_sleeps(migrate.address)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    migrate.files.write("0002_two", "alter table one add column name text;")
    began = time.monotonic()
    said = migrate.run("up")
    assert time.monotonic() - began < 30  # it waits for nobody's 60 s
    assert said.endswith("1 applied\n")
    assert run_sql(migrate.address, "select version from gatehouse_migrations order by 1") == [[1], [2]]


def test_a_runner_killed_while_it_builds_an_index_leaves_nothing_to_mend_by_hand(migrate: CommandLine) -> None:
    migrate.files.write("0001_one", "create table one (id int); insert into one select generate_series(1, 10);")
    migrate.run("up")
    migrate.files.write(
        "0002_function",
        "create function slow(int) returns int immutable language plpgsql as"
        " $$ begin perform pg_sleep(0.2); return $1; end $$;",
    )
    migrate.files.write_without_transaction(
        "0003_index", "create index concurrently if not exists one_slow on one (slow(id));"
    )
    process = migrate.start("up")
    wait_until_it_sleeps(migrate.address)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = migrate.run("up")
    assert "index one_slow was left half-built by a failed attempt; building it again" in said
    assert run_sql(migrate.address, "select indisvalid from pg_index where indexrelid = 'one_slow'::regclass") == [
        [True]
    ]
    assert migrate.run("verify").endswith("the database is what the migrations say\n")


def test_without_a_second_run_the_server_soon_lets_go_of_what_a_killed_runner_held(migrate: CommandLine) -> None:
    migrate.files.write("0001_one", "create table one (id int); select pg_sleep(60);")
    process = migrate.start("up")
    wait_until_it_sleeps(migrate.address)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    for _ in range(50):
        if not sleeping(migrate.address):
            return
        time.sleep(0.1)
    pytest.fail("the server goes on with the statement of a runner that is gone")


def test_ctrl_c_ends_a_migration_without_a_trace(migrate: CommandLine) -> None:
    migrate.files.write("0001_one", "create table one (id int); select pg_sleep(60);")
    # A command inherits that Ctrl-C is ignored, as it is where a shell started the tests in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = migrate.start("up")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until_it_sleeps(migrate.address)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in complained
    migrate.files.write(*ONE)
    assert migrate.run("up").endswith("1 applied\n")


def sleeping(address: str) -> bool:
    """Tell whether a worker is inside pg_sleep now."""
    return bool(
        run_sql(
            address,
            "select pid from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"
            " and application_name = 'gatehouse migrate work'",
        )
    )


def wait_until_it_sleeps(address: str) -> None:
    for _ in range(200):
        if sleeping(address):
            return
        time.sleep(0.05)
    pytest.fail("the migration never came to its pg_sleep")

"""Applies migrations to one database, undoes them, and says how it stands.

The command line and the `migrator` function both call this. What it promises:

- A migration and its line in the ledger are one transaction: a failed one leaves nothing behind.
- A file marked `no-transaction` is remembered statement by statement: the next run goes on where it stopped.
- One runner at a time; a killed one blocks nobody.
- `status`, `dry_run` and `verify` change nothing, take no lock, and cannot: their session is read-only.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatehouse.database.direct_session import DirectSession
from gatehouse.database.sql import load_statements
from gatehouse.errors import ConnectionError, DatabaseError, MigrationFailed, MigrationRefused
from gatehouse.migrations import plan, schema
from gatehouse.migrations.files import Migration, concurrent_index, read_migrations
from gatehouse.migrations.sessions import Target, Tell, become_owner, open_reader, open_worker, runner_lock
from gatehouse.migrations.sessions import sql as runner_sql
from gatehouse.migrations.statements import SqlStatement

DEVELOPMENT = "development"
LOCK_NOT_AVAILABLE = "55P03"
DEADLOCK = "40P01"
NEEDS_NO_TRANSACTION = "25001"

sql = load_statements(Path(__file__).with_name("ledger.sql"))


@dataclass(frozen=True, slots=True)
class Status:
    """How a database stands: each migration, and what forbids to go on."""

    steps: tuple[plan.Step, ...]
    problems: tuple[str, ...]

    @property
    def pending(self) -> int:
        """Return how many migrations are still to be applied, in whole or in part."""
        return sum(step.state in (plan.PENDING, plan.HALF_APPLIED, plan.HALF_UNDONE) for step in self.steps)


@dataclass(frozen=True, slots=True)
class Engine:
    """The migrations of one folder and the database that they are for."""

    target: Target
    folder: Path
    tell: Tell = lambda _: None
    lock_wait_seconds: float = 60
    lock_timeout_seconds: float = 5  # for each statement, to get its table while traffic goes on

    def status(self) -> Status:
        """Say how the database stands, without changing it."""
        migrations = read_migrations(self.folder)
        with open_reader(self.target) as session:
            ledger = _ledger(session)
        return Status(plan.steps(migrations, ledger), plan.problems(migrations, ledger))

    def dry_run(self, to: int | None = None, *, down: bool = False) -> tuple[Migration, ...]:
        """Return what `up` (or `down`) would work on, without changing anything or waiting for another runner."""
        with open_reader(self.target) as session:
            migrations, ledger = self._compared(session)
        return (plan.to_undo if down else plan.to_apply)(migrations, ledger, to)

    def up(self, to: int | None = None) -> tuple[str, ...]:
        """Apply what is pending, up to a number or all; return the names of what was applied."""
        read_migrations(self.folder)  # refuse bad files before anything waits or connects
        with runner_lock(self.target, self.lock_wait_seconds, self.tell), open_worker(self.target) as session:
            become_owner(session)
            if not _has_ledger(session):
                session.query(sql.create_ledger())
            migrations, ledger = self._compared(session)
            pending = plan.to_apply(migrations, ledger, to)
            rows = {row.version: row for row in ledger}
            for migration in pending:
                self._apply(session, migration, rows.get(migration.version))
        return tuple(migration.name for migration in pending)

    def down(self, to: int | None = None) -> tuple[str, ...]:
        """Undo the newest migration, or all above a number; return the names of what was undone."""
        read_migrations(self.folder)
        with runner_lock(self.target, self.lock_wait_seconds, self.tell), open_worker(self.target) as session:
            become_owner(session)
            migrations, ledger = self._compared(session)
            chosen = plan.to_undo(migrations, ledger, to)
            rows = {row.version: row for row in ledger}
            for migration in chosen:
                self._undo(session, migration, rows[migration.version])
        return tuple(migration.name for migration in chosen)

    def reset(self) -> int:
        """Drop everything in a development database; return how many objects were dropped by name."""
        with runner_lock(self.target, self.lock_wait_seconds, self.tell), open_worker(self.target) as session:
            become_owner(session)
            stage = session.query(runner_sql.who_and_where())[0]["stage"]
            if stage != DEVELOPMENT:
                raise MigrationRefused(
                    f"{self.target.description} is not marked as a development database, so it is not emptied"
                    " (to mark it: alter database … set gatehouse.stage = 'development')"
                )
            self._begin(session)
            drops = [row["statement"] for row in session.query(runner_sql.droppable_objects())]
            for drop in drops:
                session.run(drop)
            session.run("commit")
        return len(drops)

    def verify(self) -> tuple[str, ...]:
        """Return a line for each thing in which the database is not what the files say; none is good."""
        migrations = read_migrations(self.folder)
        with open_reader(self.target) as session:
            ledger = _ledger(session)
            found = list(plan.problems(migrations, ledger))
            found += [
                f"{step.name}.sql is {step.state}"
                for step in plan.steps(migrations, ledger)
                if step.state not in (plan.APPLIED, plan.CHANGED, plan.FILE_GONE)
            ]
            found += [
                f"index {row['index_name']} of {row['table_name']} is invalid: a failed CREATE INDEX CONCURRENTLY left"
                " it; run its migration again, or drop it"
                for row in session.query(sql.invalid_indexes())
            ]
            if not found:
                found += _schema_differences(session, self.folder)
        return tuple(found)

    def describe_schema(self) -> str:
        """Return the description of the schema that the database has now."""
        with open_reader(self.target) as session:
            return schema.describe(session)

    def _compared(self, session: DirectSession) -> tuple[tuple[Migration, ...], tuple[plan.LedgerRow, ...]]:
        """Return files and ledger, or refuse when they do not fit together."""
        migrations, ledger = read_migrations(self.folder), _ledger(session)
        if found := plan.problems(migrations, ledger):
            raise MigrationRefused("\n".join(found))
        return migrations, ledger

    def _apply(self, session: DirectSession, migration: Migration, row: plan.LedgerRow | None) -> None:
        began = time.monotonic()
        if migration.in_transaction:
            self._in_transaction(
                session,
                migration,
                migration.up,
                lambda: session.query(
                    sql.write_row(
                        version=migration.version,
                        name=migration.name,
                        checksum=migration.checksum,
                        state="applied",
                        statements_done=len(migration.up),
                        milliseconds=_milliseconds_since(began),
                    )
                ),
            )
        else:
            self._apply_one_by_one(session, migration, row)
        self.tell(f"{migration.name} applied in {_milliseconds_since(began)} ms")

    def _undo(self, session: DirectSession, migration: Migration, row: plan.LedgerRow) -> None:
        began = time.monotonic()
        if migration.in_transaction:
            self._in_transaction(
                session, migration, migration.down, lambda: session.query(sql.remove_row(version=migration.version))
            )
        else:
            self._undo_one_by_one(session, migration, row)
        self.tell(f"{migration.name} undone in {_milliseconds_since(began)} ms")

    def _in_transaction(
        self,
        session: DirectSession,
        migration: Migration,
        statements: Sequence[SqlStatement],
        write_ledger: Callable[[], object],
    ) -> None:
        become_owner(session)
        self._begin(session)
        kept = "nothing of this migration was kept"
        for number, statement in enumerate(statements, start=1):
            try:
                session.run(statement.text)
            except DatabaseError as error:
                _undo_transaction(session, error)
                raise self._failed(migration, statements, number, error, kept) from error
        try:
            session.run("reset role")  # a migration may have changed it; the ledger belongs to the owner
            session.run("set local search_path to public")
            write_ledger()
            session.run("commit")
        except DatabaseError as error:
            _undo_transaction(session, error)
            raise self._failed(migration, statements, None, error, kept) from error

    def _begin(self, session: DirectSession) -> None:
        """Begin a transaction that would rather fail than queue behind traffic, with all later traffic behind it."""
        session.run("begin")
        session.run(f"set local lock_timeout = {round(self.lock_timeout_seconds * 1000)}")

    def _apply_one_by_one(self, session: DirectSession, migration: Migration, row: plan.LedgerRow | None) -> None:
        become_owner(session)
        done = row.statements_done if row else 0
        building = row.building if row else None
        if row is None:
            self._write_progress(session, migration, 0, 0)
        for number, statement in enumerate(migration.up[done:], start=done + 1):
            began = time.monotonic()
            try:
                if not self._index_is_built(session, migration, statement, building):
                    session.run(statement.text)
            except DatabaseError as error:
                kept = f"its first {number - 1} statements are done; `up` goes on with statement {number}"
                raise self._failed(migration, migration.up, number, error, kept) from error
            building = None
            self._write_progress(session, migration, number, _milliseconds_since(began))

    def _write_progress(self, session: DirectSession, migration: Migration, done: int, milliseconds: int) -> None:
        complete = done == len(migration.up)
        session.query(
            sql.write_row(
                version=migration.version,
                name=migration.name,
                checksum=migration.checksum if complete else migration.checksum_of_first(done),
                state="applied" if complete else "applying",
                statements_done=done,
                milliseconds=milliseconds,
            )
        )

    def _undo_one_by_one(self, session: DirectSession, migration: Migration, row: plan.LedgerRow) -> None:
        become_owner(session)
        done = row.statements_done if row.state == "undoing" else 0
        for number, statement in enumerate(migration.down[done:], start=done + 1):
            began = time.monotonic()
            try:
                session.run(statement.text)
            except DatabaseError as error:
                kept = f"its first {number - 1} statements are done; `down` goes on with statement {number}"
                raise self._failed(migration, migration.down, number, error, kept) from error
            session.query(
                sql.write_row(
                    version=migration.version,
                    name=migration.name,
                    checksum=migration.checksum,
                    state="undoing",
                    statements_done=number,
                    milliseconds=_milliseconds_since(began),
                )
            )
        session.query(sql.remove_row(version=migration.version))

    def _index_is_built(
        self, session: DirectSession, migration: Migration, statement: SqlStatement, building: str | None
    ) -> bool:
        """Before CREATE INDEX CONCURRENTLY: drop what a failed attempt left, and know what a killed one finished.

        Without this IF NOT EXISTS would take an invalid index for the real one, and without IF NOT EXISTS the
        statement could never run again.
        """
        index = concurrent_index(statement)
        if index is None or index[0] is None:
            return False
        name, table = index
        found = session.query(sql.index_state(table_name=table, index_name=name))
        if found and found[0]["is_valid"]:
            return building == name
        if found:
            self.tell(f"{migration.name}: index {name} was left half-built by a failed attempt; building it again")
            session.run(f"drop index concurrently {found[0]['full_name']}")
        session.query(sql.write_building(index_name=name, version=migration.version))
        return False

    def _failed(
        self,
        migration: Migration,
        statements: Sequence[SqlStatement],
        number: int | None,
        error: DatabaseError,
        kept: str,
    ) -> MigrationFailed:
        """Return the error that names file, line and statement, what was kept, and whether trying again helps."""
        if number is None:
            place = f"{migration.file}, at its end"
        else:
            statement = statements[number - 1]
            line = statement.line_at(error.position or 1)
            place = f"{migration.file} line {line}, statement {number} of {len(statements)}"
        words = f"{place}: {error}"
        if isinstance(error, ConnectionError) and number is None:
            kept = "the connection broke at the commit: `status` tells whether it was kept"
        words += f"; {kept}"
        retry_helps = error.retry_helps or error.sqlstate in (LOCK_NOT_AVAILABLE, DEADLOCK)
        if error.sqlstate == LOCK_NOT_AVAILABLE:
            words += (
                f". Other work held the table for more than {self.lock_timeout_seconds:g} s: simply run it again, or"
                " allow more with --lock-timeout"
            )
        elif error.sqlstate == NEEDS_NO_TRANSACTION and migration.in_transaction:
            words += ". It needs `-- migrate: no-transaction` as the first line of the file"
        elif retry_helps:
            words += ". It can simply be run again"
        return MigrationFailed(words, sqlstate=error.sqlstate, retry_helps=retry_helps)


def _undo_transaction(session: DirectSession, error: DatabaseError) -> None:
    if not isinstance(error, ConnectionError):  # with the connection the transaction is gone already
        session.run("rollback")


def _has_ledger(session: DirectSession) -> bool:
    return bool(session.query(sql.has_ledger())[0]["there"])


def _ledger(session: DirectSession) -> tuple[plan.LedgerRow, ...]:
    if not _has_ledger(session):
        return ()
    return tuple(plan.LedgerRow(**row) for row in session.query(sql.read_ledger()))


def _schema_differences(session: DirectSession, folder: Path) -> list[str]:
    description = schema.schema_file(folder)
    if not description.is_file():
        return []
    lines = schema.differences(description.read_text(encoding="utf-8"), schema.describe(session))
    if not lines:
        return []
    return [f"the schema is not what {description.name} says (- is missing, + is only in the database):", *lines]


def _milliseconds_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)

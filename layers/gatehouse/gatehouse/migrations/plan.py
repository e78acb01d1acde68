"""Compares the files with the ledger: what is applied, what is pending, and what does not fit. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from gatehouse.errors import MigrationRefused
from gatehouse.migrations.files import Migration

APPLIED, PENDING, HALF_APPLIED, HALF_UNDONE, CHANGED, FILE_GONE = (
    "applied",
    "pending",
    "half applied",
    "half undone",
    "changed",
    "file gone",
)


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """What the database remembers of one migration."""

    version: int
    name: str
    checksum: str
    state: str  # applied, applying, undoing
    statements_done: int
    building: str | None
    applied_at: datetime
    applied_by: str
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Step:
    """One migration as `status` shows it."""

    version: int
    name: str
    state: str
    applied_at: datetime | None = None
    applied_by: str | None = None
    milliseconds: int | None = None


def steps(migrations: Sequence[Migration], ledger: Sequence[LedgerRow]) -> tuple[Step, ...]:
    """Return one step for each number that the files or the ledger know, in order."""
    files = {migration.version: migration for migration in migrations}
    rows = {row.version: row for row in ledger}
    return tuple(_step(files.get(version), rows.get(version)) for version in sorted(files.keys() | rows.keys()))


def problems(migrations: Sequence[Migration], ledger: Sequence[LedgerRow]) -> tuple[str, ...]:
    """Return a line for each thing that forbids to go on: a file changed, renamed or gone, a hole in the ledger."""
    files = {migration.version: migration for migration in migrations}
    found = [_row_problem(files.get(row.version), row) for row in ledger]
    known = {row.version for row in ledger}
    newest = max(known, default=0)
    for migration in migrations:
        if migration.version not in known and migration.version < newest:
            found.append(f"{migration.file}: was never applied, but {newest:04} was: give it the next free number")
    return tuple(line for line in found if line)


def to_apply(migrations: Sequence[Migration], ledger: Sequence[LedgerRow], to: int | None) -> tuple[Migration, ...]:
    """Return what `up` has to do, in order; `to` is the last one wanted."""
    if to is not None and not 1 <= to <= len(migrations):
        raise MigrationRefused(f"there is no migration {to}: the files go from 1 to {len(migrations)}")
    done = {row.version for row in ledger if row.state == "applied"}
    undoing = next((row for row in ledger if row.state == "undoing"), None)
    if undoing:
        raise MigrationRefused(f"{undoing.name}.sql is half undone: finish that with `down`, then `up` again")
    return tuple(
        migration for migration in migrations if migration.version not in done and migration.version <= (to or 9999)
    )


def to_undo(migrations: Sequence[Migration], ledger: Sequence[LedgerRow], to: int | None) -> tuple[Migration, ...]:
    """Return what `down` has to undo, newest first; `to` is the one that stays (0: none), the default one step."""
    if to is not None and not 0 <= to <= len(migrations):
        raise MigrationRefused(f"there is no migration {to}: the files go from 1 to {len(migrations)}, 0 undoes all")
    there = {row.version for row in ledger}
    newest_first = [migration for migration in reversed(migrations) if migration.version in there]
    chosen = newest_first[:1] if to is None else [each for each in newest_first if each.version > to]
    for migration in chosen:
        if migration.no_way_back:
            raise MigrationRefused(f"{migration.file}: no way back because {migration.no_way_back}")
    return tuple(chosen)


def _step(migration: Migration | None, row: LedgerRow | None) -> Step:
    if row is None:
        assert migration is not None, "a number comes from a file or from a row"  # noqa: S101 - see `steps`
        return Step(migration.version, migration.name, PENDING)
    state = {"applied": APPLIED, "applying": HALF_APPLIED, "undoing": HALF_UNDONE}[row.state]
    if migration is None:
        state = FILE_GONE
    elif _row_problem(migration, row):
        state = CHANGED
    return Step(row.version, row.name, state, row.applied_at, row.applied_by, row.milliseconds)


def _row_problem(migration: Migration | None, row: LedgerRow) -> str:
    """Return what is wrong between a row and its file, or nothing.

    A file that stopped half-way may be repaired from the statement on that failed: only what is done must stay.
    """
    if migration is None:
        return f"{row.name}.sql: was applied here, but the file is gone: take the files of the newest release"
    if migration.name != row.name:
        return f"{migration.file}: was applied as {row.name}.sql: give it its old name back"
    if row.state == "applying" and row.checksum != migration.checksum_of_first(row.statements_done):
        return f"{migration.file}: one of its first {row.statements_done} statements changed after it was done"
    if row.state != "applying" and row.checksum != migration.checksum:
        return (
            f"{migration.file}: changed after it was applied: put the old text back,"
            " and write what you want now as a new migration"
        )
    return ""

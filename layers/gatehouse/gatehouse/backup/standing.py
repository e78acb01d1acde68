"""How the backup stands: lag, backlog, errors, divergence; and which database a reader should ask."""

from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from gatehouse.backup.writer import MANY_REFUSALS, backup_sql, primary_sql
from gatehouse.database.connection import Database
from gatehouse.errors import ConnectionError, DatabaseError, TimeoutError
from gatehouse.observability import metrics

type ServedBy = Literal["primary", "backup"]
PRIMARY: Final = "primary"
BACKUP: Final = "backup"
MOST_REFUSED_SHOWN = 20


class Standing(NamedTuple):
    """How the backup stands, as far as either database can say; None is what nobody could."""

    primary: str  # ok, or the code of the error
    backup: str  # ok, off, or the code of the error
    is_on: bool | None = None
    backlog: int | None = None
    lag_seconds: int | None = None
    refused: int | None = None
    as_of: datetime | None = None
    last_write_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None
    compared_at: datetime | None = None
    divergent: int | None = None
    filled_after: int | None = None
    fill_ended_at: datetime | None = None

    @property
    def is_well(self) -> bool:
        """Tell whether both databases answer, and nothing is refused, divergent or still to be filled."""
        return (
            (self.primary, self.backup) == ("ok", "ok")
            and bool(self.is_on)
            and not self.refused
            and not self.divergent
            and self.fill_ended_at is not None
        )


class Reading(NamedTuple):
    """Where a question is answered from, and until when that knows everything; None: until now."""

    database: Database
    served_by: ServedBy
    as_of: datetime | None


def standing(primary: Database, backup: Database | None) -> Standing:
    """Return how the backup stands; never raises because a database is away."""
    found: dict[str, Any] = {"primary": "ok", "backup": "ok" if backup else "off"}
    try:
        state, backlog = primary.flush([primary_sql.state(), primary_sql.backlog(many=MANY_REFUSALS)])
        row = state.rows[0]
        found |= {name: row[name] for name in row if name != "wrote_at"} | {"last_write_at": row["wrote_at"]}
        found |= {name: backlog.rows[0][name] for name in ("backlog", "lag_seconds", "refused")}
    except DatabaseError as error:
        found["primary"] = error.code
    if backup:
        try:
            found["as_of"] = backup.query_one(backup_sql.as_of)["as_of"]
        except DatabaseError as error:
            found["backup"] = error.code
    return Standing(**found)


def measure(found: Standing) -> None:
    """Emit how the backup stands as metrics; alarms look at them, and take silence for trouble."""
    for name, value in (
        ("BackupLag", 0 if found.backlog == 0 else found.lag_seconds),
        ("BackupBacklog", found.backlog),
        ("BackupDivergent", found.divergent),
        ("BackupRefusedNow", found.refused),
    ):
        if value is not None:
            metrics.measure(name, value)


def reading_database(primary: Database, backup: Database | None, *, max_lag_seconds: int) -> Reading:
    """Return where a heavy question is best asked: of the backup while its lag is within the bound or it alone answers.

    The caller still may find the database that it was given away; `read_from_either` tries both.
    """
    if backup is None or backup.is_away():
        return Reading(primary, PRIMARY, None)
    try:
        is_behind = primary.query_one(primary_sql.is_behind, seconds=max_lag_seconds)["is_behind"]
    except (ConnectionError, TimeoutError):
        return Reading(backup, BACKUP, as_of(backup))
    if is_behind:
        return Reading(primary, PRIMARY, None)
    try:
        return Reading(backup, BACKUP, as_of(backup))
    except DatabaseError:
        return Reading(primary, PRIMARY, None)


def as_of(backup: Database) -> datetime | None:
    """Return until when the backup knows everything; None where it has never been told."""
    found: datetime | None = backup.query_one(backup_sql.as_of)["as_of"]
    return found

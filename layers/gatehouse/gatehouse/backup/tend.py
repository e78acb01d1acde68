"""What backup_writer does when it is rung for, every minute, and at night."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gatehouse.backup.compare import compare_all, repair
from gatehouse.backup.standing import measure, standing
from gatehouse.backup.writer import BackupAway, asking_the_backup, backup_sql, drain, primary_sql
from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.errors import ConnectionError, TimeoutError
from gatehouse.jobs.bell import COMPARE_BODY, Bell
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring

COMPARE = "compare"


def tend(
    event: Mapping[str, Any], primary: Database, backup: Database, keyring: Keyring, bell: Bell, *, seconds: float
) -> dict[str, Any]:
    """Do what the event asks: drain when it is a batch of bells, look after everything each minute, compare at night.

    The backup being away is no failure of the invocation: what is to be written is safe in the primary database, and
    the next minute asks again. The primary being away is one: it makes Lambda slow down.
    """
    try:
        if event.get("do") == COMPARE:
            return _compare(primary, backup, keyring)
        if "Records" not in event:
            return _look_after(primary, backup, keyring, bell, seconds)
        drained = _drain(primary, backup, keyring, bell, seconds)
        if any(record.get("body") == COMPARE_BODY for record in event["Records"]):
            return drained | _compare(primary, backup, keyring)
        return drained
    except BackupAway as away:
        return _is_away(primary, away)


def _drain(primary: Database, backup: Database, keyring: Keyring, bell: Bell, seconds: float) -> dict[str, Any]:
    done = drain(primary, backup, keyring, seconds=seconds)
    if not done.is_empty:
        bell.ring_for_backup(again=True)  # a long backlog goes on in a fresh invocation
    log.info("backup written", **done._asdict())
    return {"batchItemFailures": [], **done._asdict()}


def _look_after(primary: Database, backup: Database, keyring: Keyring, bell: Bell, seconds: float) -> dict[str, Any]:
    if primary.query(primary_sql.turn, on=True):
        log.info("backup switched on")
    try:
        done = _drain(primary, backup, keyring, bell, seconds)
        keep_configuration(primary, backup)
    finally:
        measure(standing(primary, backup))
    return done


def _compare(primary: Database, backup: Database, keyring: Keyring) -> dict[str, Any]:
    try:
        differences = compare_all(primary, backup)
        repaired = repair(primary, backup, keyring, differences)
    except (ConnectionError, TimeoutError) as error:
        if not backup.is_away():
            raise
        raise BackupAway(f"{error.code}: {error}") from error
    return {"divergent": len(differences), "repaired": repaired}


def keep_configuration(primary: Database, backup: Database) -> None:
    """Keep in the backup which accounts there are and which keys open the API, without any secret."""
    accounts, keys = primary.flush([primary_sql.accounts(), primary_sql.api_keys()])
    with asking_the_backup():
        backup.flush(
            [
                backup_sql.keep_accounts(accounts=Json([_plain(row) for row in accounts.rows])),
                backup_sql.keep_keys(keys=Json([_plain(row) for row in keys.rows])),
            ]
        )


def _is_away(primary: Database, away: BackupAway) -> dict[str, Any]:
    metrics.count("BackupErrors")
    log.warning("the backup is away; it is written later", reason=str(away))
    primary.query(primary_sql.failed, error=str(away)[:300])
    return {"batchItemFailures": [], "away": True}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}

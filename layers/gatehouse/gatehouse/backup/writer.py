"""Brings payments over into the backup database: claims some, reads them as they are, writes them, and lets go.

Why nothing is lost and nothing older wins, whatever happens in between:

- A payment that changes is noted in the transaction that changes it. The note goes only when the state that its claim
  stands for is in the backup; a change takes the claim away, so the note of that change stays.
- A version is drawn before the state is read. The highest version that is ever written has therefore seen all that was
  committed before any lower one was drawn; the backup keeps the highest.
"""

import base64
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse import errors
from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import GatehouseError, QueryError, TransactionConflict
from gatehouse.money import EXPONENTS
from gatehouse.observability import log, metrics
from gatehouse.sealing import Keyring

primary_sql = load_statements(Path(__file__).with_name("primary.sql"))
backup_sql = load_statements(Path(__file__).with_name("backup.sql"))

SERVICE = "backup_writer"
MOST_AT_ONCE = 200
MOST_ATTEMPTS_OF_A_CONFLICT = 3
MANY_REFUSALS = 5  # from here on a person has to look
MOST_REASON_CHARACTERS = 300


class BackupAway(GatehouseError):
    """The backup database cannot be written now; what changes meanwhile is brought over later."""

    code = "BACKUP_AWAY"
    http_status = 503
    retry_helps = True


class Drained(NamedTuple):
    """What one drain did."""

    written: int  # payments that the backup did not have like this
    unchanged: int  # that it had in this or a newer version
    refused: int  # that it refused
    is_empty: bool  # nothing more was due


def drain(
    primary: Database, backup: Database, keyring: Keyring, *, seconds: float, most_at_once: int = MOST_AT_ONCE
) -> Drained:
    """Bring over what is due for at most some seconds; raise BackupAway when the backup does not take it."""
    deadline = time.monotonic() + seconds
    written = unchanged = refused = 0
    is_empty = False
    while not is_empty and time.monotonic() < deadline:
        half = most_at_once // 2
        claimed = primary.query(primary_sql.claim, newest=most_at_once - half, oldest=half)
        if not claimed:
            is_empty = True
            break
        done = _bring_over(primary, backup, keyring, [row["payment_id"] for row in claimed], claimed[0]["version"])
        written, unchanged, refused = written + done.written, unchanged + done.unchanged, refused + done.refused
        is_empty = len(claimed) < half
    tell_progress(primary, backup)
    return Drained(written, unchanged, refused, is_empty)


def copy(primary: Database, backup: Database, keyring: Keyring, ids: Sequence[int], *, service: str) -> int:
    """Write payments as they are now, whether they changed or not; return how many the backup had otherwise."""
    version = primary.query_one(primary_sql.draw_version)["version"]
    payments = read_states(primary, keyring, ids, version)
    return len(_write(backup, payments, service, "copy"))


def read_states(primary: Database, keyring: Keyring, ids: Sequence[int], version: int) -> list[dict[str, Any]]:
    """Return payments as the backup takes them; the version must have been drawn before."""
    rows = primary.query(primary_sql.states, ids=list(ids))
    return [_payment(row["state"], row["facts"], version, keyring) for row in rows]


def tell_progress(primary: Database, backup: Database) -> None:
    """Tell the backup until when it is complete."""
    row = primary.query_one(primary_sql.backlog, many=MANY_REFUSALS)
    with asking_the_backup():
        backup.query(backup_sql.progress, as_of=row["as_of"])


@contextmanager
def asking_the_backup() -> Iterator[None]:
    """Turn what says that the backup cannot be used now into BackupAway; the primary's errors keep their own names."""
    try:
        yield
    except (errors.ConnectionError, errors.TimeoutError, TransactionConflict) as away:
        raise BackupAway(f"{away.code}: {away}") from away


def _bring_over(primary: Database, backup: Database, keyring: Keyring, ids: list[int], version: int) -> Drained:
    payments = read_states(primary, keyring, ids, version)
    refused: dict[int, str] = {}
    try:
        with asking_the_backup():
            try:
                written = _write(backup, payments, SERVICE, "write")
            except QueryError:
                written, refused = _write_each(backup, payments)  # alone, each shows whether it is the one
    except BackupAway as away:
        primary.flush([primary_sql.release(ids=ids, version=version), primary_sql.failed(error=_reason(away))])
        raise
    done = [each for each in ids if each not in refused]
    _finish(primary, done, version)
    for payment, reason in refused.items():
        primary.query(primary_sql.refuse, payment=payment, version=version, error=reason)
    if refused:
        metrics.count("BackupRefused", len(refused))
        first = next(iter(refused.values()))
        primary.query(primary_sql.failed, error=f"{len(refused)} payments refused: {first}"[:MOST_REASON_CHARACTERS])
        log.warning("payments that the backup refuses", payments=sorted(refused)[:20], reason=first)
    metrics.count("BackupWritten", len(written))
    return Drained(len(written), len(done) - len(written), len(refused), is_empty=False)


def _write(backup: Database, payments: list[dict[str, Any]], service: str, action: str) -> set[int]:
    """Write payments in one flush with a line of the log; return the ids of those that were news."""
    ids = [each["id"] for each in payments]
    if not ids:
        return set()
    attempts_left = MOST_ATTEMPTS_OF_A_CONFLICT
    while True:
        attempts_left -= 1
        try:
            written, _logged = backup.flush(
                [
                    backup_sql.write(payments=Json(payments)),
                    backup_sql.log(
                        service=service,
                        action=action,
                        ok=True,
                        ids=ids,
                        message=None,
                    ),
                ],
                idempotent=True,
            )
        except TransactionConflict:
            if not attempts_left:
                raise
        else:
            return {row["id"] for row in written.rows}


def _write_each(backup: Database, payments: list[dict[str, Any]]) -> tuple[set[int], dict[int, str]]:
    written: set[int] = set()
    refused: dict[int, str] = {}
    for payment in payments:
        try:
            written |= _write(backup, [payment], SERVICE, "write")
        except QueryError as refusal:
            refused[payment["id"]] = reason = _reason(refusal)
            backup.query(
                backup_sql.log,
                service=SERVICE,
                action="write",
                ok=False,
                ids=[payment["id"]],
                message=reason,
            )
    return written, refused


def _finish(primary: Database, ids: list[int], version: int) -> None:
    for attempts_left in reversed(range(MOST_ATTEMPTS_OF_A_CONFLICT)):
        try:
            primary.flush([primary_sql.finish(ids=ids, version=version), primary_sql.wrote()], idempotent=True)
            return
        except TransactionConflict:
            if not attempts_left:
                raise


def _reason(error: GatehouseError) -> str:
    return f"{error.code}: {error}"[:MOST_REASON_CHARACTERS]


def _payment(state: dict[str, Any], facts: list[Any] | None, version: int, keyring: Keyring) -> dict[str, Any]:
    key_id, sealed = keyring.seal(json.dumps(facts or []).encode(), facts_of(state["id"]))
    return state | {
        "version": version,
        "currency_exponent": EXPONENTS.get(state["currency"] or "", 2),
        "key_id": key_id,
        "sealed_base64": base64.b64encode(sealed).decode(),
    }


def facts_of(payment_id: int) -> tuple[str, ...]:
    """Return what the sealed facts of a payment are bound to, so that they cannot be another payment's."""
    return ("backup", "facts", str(payment_id))

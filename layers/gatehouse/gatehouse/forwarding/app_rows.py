"""The rows of apps as forwarding needs them: where each is told, with what it is signed, and how it has answered."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json, load_statements
from gatehouse.errors import NotFound, TransactionConflict
from gatehouse.forwarding.app_headers import checked_headers
from gatehouse.forwarding.circuit import Circuit
from gatehouse.forwarding.rate import Bucket
from gatehouse.forwarding.sign import new_secret
from gatehouse.forwarding.targets import check_url
from gatehouse.models.admin_changes import written_by
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("app_rows.sql"))

Row = Mapping[str, Any]
ENVIRONMENT_APP = ("default", "elevenone")  # the one that ELEVENONE_WEBHOOK_URL is about


class Sealed(NamedTuple):
    """What rests sealed of an app."""

    secrets: tuple[str, ...] = ()  # the new one first
    headers: Mapping[str, str] = {}

    def __repr__(self) -> str:
        return f"<Sealed {len(self.secrets)} secrets, {len(self.headers)} headers>"


def opened(keyring: Keyring, merchant: str, row: Row, app: str) -> Sealed:
    """Return the secrets and headers of an app's row; raise SealBroken or UnknownKey."""
    if row["sealed"] is None:
        return Sealed()
    said = json.loads(keyring.open(row["key_id"], row["sealed"], ("app", merchant, app)))
    return Sealed(tuple(said["secrets"]), said["headers"])


def sealed(keyring: Keyring, merchant: str, app: str, content: Sealed) -> tuple[str, bytes]:
    """Return the id of the key and the sealed bytes."""
    plain = json.dumps({"secrets": list(content.secrets), "headers": dict(content.headers)}).encode()
    return keyring.seal(plain, ("app", merchant, app))


def with_secret(database: Database, keyring: Keyring, merchant: str, app: str) -> Sealed:
    """Give an app its first secret, unless somebody has meanwhile; return what it has."""
    row = find_app(database, merchant, app)
    content = opened(keyring, merchant, row, app)
    if content.secrets:
        return content
    given = content._replace(secrets=(new_secret(),))
    replace_sealed(database, keyring, row, given)
    return given


def find_app(database: Database, merchant: str, app: str) -> Row:
    """Return one app's row; raise NotFound."""
    rows = database.query(sql.find_app, merchant=merchant, app=app)
    if not rows:
        raise NotFound(f"{merchant} has no app {app}; `gatehouse apps add {app}` adds it")
    return rows[0]


def replace_sealed(
    database: Database, keyring: Keyring, row: Row, content: Sealed, *, actor: str = "", deed: str = ""
) -> None:
    """Write secrets and headers in the place of those of a row that was read; raise TransactionConflict."""
    merchant, app = row["merchant"], row["name"]
    key_id, new = sealed(keyring, merchant, app, content)
    put = sql.put_sealed(merchant=merchant, app=app, sealed=new, key_id=key_id, sealed_read=row["sealed"])
    if not written_by(database, actor, put, deed=deed):
        raise TransactionConflict(f"{app} was changed by somebody else just now; try again")


def set_up(
    database: Database,
    keyring: Keyring,
    merchant: str,
    app: str,
    changes: Mapping[str, Any],
    *,
    headers: Mapping[str, str] | None = None,
    allowed_local: Sequence[str] = (),
    actor: str = "",
) -> str | None:
    """Change how an app is told; return its secret when it has just got its first one.

    Raise TargetRefused or HeaderRefused for what could never be delivered to.
    """
    row = find_app(database, merchant, app)
    wanted = {**row, **changes}
    if wanted["target_url"] is not None:
        check_url(wanted["target_url"], frozenset(allowed_local))
    content = opened(keyring, merchant, row, app)
    if headers is not None:
        content = content._replace(headers=checked_headers(headers))
    made = None
    if not content.secrets and wanted["target_url"] is not None:
        made = new_secret()
        content = content._replace(secrets=(made,))
    key_id, new = sealed(keyring, merchant, app, content) if content != Sealed() else (None, None)
    columns = (
        *("target_url", "takes_health_data", "router_source", "attempts", "attempt_milliseconds", "waits_milliseconds"),
        "burst",
    )
    put = sql.set_up(
        merchant=merchant,
        app=app,
        takes=Json(wanted["takes"]),
        sealed=new,
        key_id=key_id,
        sealed_read=row["sealed"],
        rate_per_second=None if wanted["rate_per_second"] is None else str(wanted["rate_per_second"]),
        **{column: wanted[column] for column in columns},
    )
    if not written_by(database, actor, put):
        raise TransactionConflict(f"{app} was changed by somebody else just now; try again")
    return made


def rotate_secret(
    database: Database, keyring: Keyring, merchant: str, app: str, *, drop_old: bool = False, actor: str = ""
) -> str:
    """Put a new secret before the one in use, or drop all but the newest; return the newest."""
    row = find_app(database, merchant, app)
    content = opened(keyring, merchant, row, app)
    kept = content.secrets[:1]
    secrets = kept if drop_old and kept else (new_secret(), *kept)
    deed = "app's old secret dropped" if drop_old else "app's secret rotated"
    replace_sealed(database, keyring, row, content._replace(secrets=secrets), actor=actor, deed=deed)
    return secrets[0]


def pause(database: Database, merchant: str, app: str, because: str, *, actor: str = "") -> None:
    """Let what is for an app wait."""
    if not written_by(database, actor, sql.pause(merchant=merchant, app=app, because=because), deed="app paused"):
        raise NotFound(f"{merchant} has no app {app}")


def resume(database: Database, merchant: str, app: str, *, actor: str = "") -> int:
    """Tell an app again, at once what has waited; return how many events that is."""
    if not written_by(database, actor, sql.resume(merchant=merchant, app=app), deed="app told again"):
        raise NotFound(f"{merchant} has no app {app}")
    woken = 0
    while batch := len(database.query(sql.wake_forwards, merchant=merchant, app=app)):
        woken += batch
    return woken


def keep_environment_url(database: Database, url: str) -> bool:
    """Note what ELEVENONE_WEBHOOK_URL says now; tell whether that is new."""
    merchant, app = ENVIRONMENT_APP
    return bool(database.query(sql.keep_environment_url, merchant=merchant, app=app, url=url))


def circuit_of(row: Row) -> Circuit:
    """Return how an app has been answering."""
    return Circuit(row["circuit_state"], row["circuit_failures"], row["circuit_opened_at"], row["circuit_probe_at"])


def bucket_of(row: Row) -> Bucket | None:
    """Return what is left of an app's rate; None for a full bucket."""
    return None if row["bucket_tokens"] is None else Bucket(row["bucket_tokens"], row["bucket_filled_at"])

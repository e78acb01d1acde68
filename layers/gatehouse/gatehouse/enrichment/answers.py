"""What the gateways' APIs answered is kept for audit as the webhooks' payloads are: sealed, secrets masked first."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, load_statements
from gatehouse.gateways import RawAnswer
from gatehouse.models.scope import flush_for
from gatehouse.scrub import scrub
from gatehouse.sealing import Keyring

sql = load_statements(Path(__file__).with_name("answers.sql"))


def kept_answer(
    keyring: Keyring,
    raw: RawAnswer,
    *,
    gateway: str,
    account: str,
    merchant: str,
    answered_at: datetime,
    job_id: int,
) -> Bound:
    """Return the statement that keeps an answer; it belongs after the facts that were read from it, in their flush."""
    said = json.dumps(scrub(dict(raw.said)), default=_as_number, ensure_ascii=False)
    key_id, sealed = keyring.seal(said.encode(), _belongs_to(gateway, account, raw.kind, raw.object_id))
    return sql.keep_answer(
        gateway=gateway,
        account=account,
        kind=raw.kind,
        object_id=raw.object_id,
        merchant=merchant,
        answered_at=answered_at,
        job_id=job_id,
        key_id=key_id,
        sealed=sealed,
    )


def find_answer(
    database: Database, keyring: Keyring, merchant: str, gateway: str, account: str, kind: str, object_id: str
) -> dict[str, Any] | None:
    """Return the newest answer that is kept about an object; None where none is."""
    wanted = sql.find_answer(gateway=gateway, account=account, kind=kind, object_id=object_id)
    (rows,) = flush_for(database, merchant, wanted)
    if not rows:
        return None
    opened = keyring.open(rows[0]["key_id"], rows[0]["sealed"], _belongs_to(gateway, account, kind, object_id))
    said: dict[str, Any] = json.loads(opened)
    return said


def _belongs_to(gateway: str, account: str, kind: str, object_id: str) -> tuple[str, ...]:
    return ("answer", gateway, account, kind, object_id)


def _as_number(value: object) -> float | int | str:
    """Return a number as it was written; an amount that is no whole number stays exact as a text."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < 2**53 else str(value)
    raise TypeError(type(value).__name__)

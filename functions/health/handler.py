"""Says whether Gatehouse answers (`/health`) and whether its database does (`/health/database`)."""

from typing import Any

from gatehouse.backup.connection import backup_or_none
from gatehouse.backup.standing import as_of
from gatehouse.database.connection import database
from gatehouse.database.health import check
from gatehouse.errors import DatabaseError
from gatehouse.http_request import answer, read_request
from gatehouse.settings import settings


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer a question about health; `/health` alone never touches the database."""
    if read_request(event).route_key.endswith("/health/database"):
        return database_health()
    return answer(200, {"status": "ok", "stage": settings().stage})


def database_health() -> dict[str, Any]:
    """Answer 200 with the database's own facts, or 503 when it is away or takes no writes, and who answers then."""
    backup = backup_health()
    try:
        facts = check(database())
    except DatabaseError as error:
        served = {"reads_served_by": "backup"} if backup.get("status") == "ok" else {}
        return answer(503, {"status": "unavailable", "error": error.code, **served, **said_of(backup)})
    status, word = (200, "ok") if facts["ok"] else (503, "read-only")
    return answer(status, {"status": word, **facts, **said_of(backup)})


def backup_health() -> dict[str, Any]:
    """Say whether the backup database answers, and until when it knows everything; nothing where there is none."""
    backup = backup_or_none()
    if backup is None:
        return {}
    try:
        until = as_of(backup)
    except DatabaseError as error:
        return {"status": "unavailable", "error": error.code}
    return {"status": "ok", "as_of": until and until.isoformat()}


def said_of(backup: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the answer that tells of the backup."""
    return {"backup": backup} if backup else {}

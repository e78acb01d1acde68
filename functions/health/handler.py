"""Says whether Gatehouse answers (`/health`) and whether its database does (`/health/database`)."""

from typing import Any

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
    """Answer 200 with the database's own facts, or 503 when it is away or takes no writes."""
    try:
        facts = check(database())
    except DatabaseError as error:
        return answer(503, {"status": "unavailable", "error": error.code})
    return answer(200, {"status": "ok", **facts}) if facts["ok"] else answer(503, {"status": "read-only", **facts})

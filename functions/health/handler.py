"""Says whether Gatehouse answers (`/health`) and whether its database does (`/health/database`)."""

from typing import Any

from gatehouse.database.connection import database
from gatehouse.database.health import check
from gatehouse.errors import DatabaseError
from gatehouse.http_request import answer, read_request
from gatehouse.settings import settings


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer a question about health: 200 when all is well, 503 when the database is away."""
    if read_request(event).path.endswith("/database"):
        return database_health()
    return answer(200, {"status": "ok", "stage": settings().stage})


def database_health() -> dict[str, Any]:
    """Answer what the database says of itself, or which error kept it from answering."""
    try:
        return answer(200, {"status": "ok", **check(database())})
    except DatabaseError as error:
        return answer(503, {"status": "unavailable", "error": error.code})

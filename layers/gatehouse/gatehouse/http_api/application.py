"""Puts an API together: routes, errors, documents, and what stands around every request.

Routes are `async def` and call the database all the same, which blocks the event loop. In Lambda an environment has one
request at a time, so nobody waits for it; FastAPI's threads would cost each request two changes of thread.
"""

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from gatehouse.errors import GatehouseError
from gatehouse.http_api import documents, problems
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.front import Front
from gatehouse.http_api.problems import Problem

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request cannot be read."},
    401: {"description": "No key, or one that does not work."},
    403: {"description": "The key may not do this."},
    422: {"description": "A field is not as it must be; `errors` names it."},
    429: {"description": "The key has used up its requests; `Retry-After` says for how long."},
    500: {"description": "A fault of our own."},
    503: {"description": "The database is away; try again."},
}
for _each in ERRORS.values():
    _each["model"] = Problem

MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such thing.", "model": Problem}}
SAME: dict[int | str, dict[str, Any]] = {304: {"description": "It is as you have it (`If-None-Match`)."}}
# The answers of a change, besides the thing that was changed.
CHANGE: dict[int | str, dict[str, Any]] = {
    **MISSING,
    409: {"description": "This cannot be done as things are; `code` says why.", "model": Problem},
    412: {"description": "It has changed since you read it (`If-Match`).", "model": Problem},
    428: {"description": "`If-Match` is missing.", "model": Problem},
}
ONE = {**MISSING, **SAME}  # the answers of a route that gives one thing, besides the thing


def application(
    title: str,
    description: str,
    routers: Iterable[APIRouter],
    desk: Desk,
    origins: Iterable[str],
    *,
    documents_at: str = "/api",
) -> Front:
    """Return an API, ready to be served."""
    app = FastAPI(
        title=title,
        description=description,
        version="1",
        openapi_url=f"{documents_at}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.desk = desk
    for router in routers:
        app.include_router(router, prefix="/api", responses=ERRORS)
    app.add_exception_handler(GatehouseError, problems.of_our_error)
    app.add_exception_handler(RequestValidationError, problems.of_wrong_input)
    app.add_exception_handler(HTTPException, problems.of_http)
    app.add_exception_handler(Exception, problems.of_a_fault)
    documents.add(app, documents_at)
    return Front(app, origins)

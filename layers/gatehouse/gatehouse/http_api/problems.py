"""Every error as a problem document (RFC 9457): a code to compare, a sentence to read, the fields that are wrong."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gatehouse.database.errors import OUR_WORDS
from gatehouse.errors import (
    DatabaseError,
    GatehouseError,
    IllegalStep,
    InputRefused,
    RefundTooLarge,
    TenantStatementFailed,
    TooManyRequests,
    ValidationError,
)
from gatehouse.observability import log

MEDIA_TYPE = "application/problem+json"
CONFLICT_WAIT_SECONDS = 1
AWAY_WAIT_SECONDS = 5

CODE_OF_STATUS = {404: "NO_SUCH_PATH", 405: "METHOD_NOT_ALLOWED"}


class FieldProblem(BaseModel):
    """One part of the request that is not as it must be."""

    field: str = Field(description="Its name, such as `status` or `items[0].quantity`.")
    place: str = Field(description="Where it stood: query, path, header or body.")
    message: str


class Problem(BaseModel):
    """What went wrong; `code` is stable, `detail` is for people."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
    allowed: list[str] | None = Field(None, description="Of a step that cannot be taken: those that can.")
    sqlstate: str | None = Field(None, description="Of a statement on a tenant's database: what Postgres calls it.")
    position: int | None = Field(None, description="Of the same: the character at which it went wrong, from 1.")
    left_minor: int | None = Field(None, description="Of a refund that is too large: what is left to give back.")


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """Return an error in the form that all errors of the API have."""
    words = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request.state.request_id,
        errors=list(fields) or None,
        **more,
    )
    return JSONResponse(words.model_dump(exclude_none=True), status, headers, MEDIA_TYPE)


def noted_and_told(error: GatehouseError) -> tuple[str, bool]:
    """Note an error in the log; return what whoever called may read of it, and whether its own words stay inside.

    What a server says of itself is for the log: it names hosts, statements and constraints. What our own functions and
    models say is for whoever called.
    """
    log.add(refused=error.code)
    if error.http_status >= 500:
        log.error("request failed", error=error)
    is_inside = error.http_status >= 500 or (
        isinstance(error, DatabaseError) and error.sqlstate not in (None, *OUR_WORDS)
    )
    return ((type(error).__doc__ or "").partition("\n")[0] if is_inside else str(error)), is_inside


async def of_our_error(request: Request, error: Exception) -> JSONResponse:
    """Answer an error that Gatehouse raised on purpose."""
    if not isinstance(error, GatehouseError):
        raise error
    status = error.http_status
    detail, is_inside = noted_and_told(error)
    fields: list[FieldProblem] = []
    if isinstance(error, InputRefused):
        fields = [FieldProblem(field=error.field, place=error.place, message=detail)]
    elif isinstance(error, ValidationError) and error.field and not is_inside:
        fields = [FieldProblem(field=error.field, place="body", message=detail)]
    more: dict[str, Any] = {}
    if isinstance(error, IllegalStep):
        more["allowed"] = list(error.allowed)
    elif isinstance(error, TenantStatementFailed):
        detail, more = str(error), {"sqlstate": error.sqlstate, "position": error.position or None}
    elif isinstance(error, RefundTooLarge):
        more["left_minor"] = error.left_minor
    headers = _headers_of(error)
    return problem(request, status, error.code, detail, fields=fields, headers=headers, **more)


async def of_wrong_input(request: Request, error: Exception) -> JSONResponse:
    """Answer input that does not fit; says which field and why, and never repeats what was sent."""
    if not isinstance(error, RequestValidationError):
        raise error
    wrong = error.errors()
    if any(each["type"] == "json_invalid" for each in wrong):
        return problem(request, 400, "BODY_NOT_JSON", "The body is not JSON.")
    fields = [_field_of(each) for each in wrong]
    log.add(refused=InputRefused.code, fields=[each.field for each in fields])
    named = ", ".join(dict.fromkeys(each.field for each in fields))
    return problem(request, 422, InputRefused.code, f"Not as it must be: {named}.", fields=fields)


async def of_http(request: Request, error: Exception) -> JSONResponse:
    """Answer a path or method that there is not."""
    if not isinstance(error, HTTPException):
        raise error
    code = CODE_OF_STATUS.get(error.status_code, "REQUEST_REFUSED")
    detail = {404: "There is nothing under this path.", 405: "This path does not take this method."}
    words = detail.get(error.status_code, HTTPStatus(error.status_code).phrase)
    return problem(request, error.status_code, code, words, headers=error.headers)


async def of_a_fault(request: Request, _: Exception) -> JSONResponse:
    """Answer a fault of our own; what it was goes to the log alone."""
    return problem(request, 500, GatehouseError.code, (GatehouseError.__doc__ or "").strip())


def _headers_of(error: GatehouseError) -> dict[str, str]:
    if isinstance(error, TooManyRequests):
        return {"retry-after": str(max(1, math.ceil(error.wait_seconds)))}
    if error.http_status == 401:
        return {"www-authenticate": "Bearer"}
    if error.retry_helps:
        return {"retry-after": str(AWAY_WAIT_SECONDS if error.http_status >= 500 else CONFLICT_WAIT_SECONDS)}
    return {}


def _field_of(wrong: Mapping[str, Any]) -> FieldProblem:
    place, *names = wrong["loc"]
    name = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in names).removeprefix(".")
    return FieldProblem(field=name or "body", place=str(place), message=str(wrong["msg"]))

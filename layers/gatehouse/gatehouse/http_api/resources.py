"""One thing at a time: its ETag, which names what it looks like now, and what a caller may ask by it."""

import hashlib

from fastapi import Request, Response
from pydantic import BaseModel

from gatehouse.errors import RequestRefused

ETAG_CHARACTERS = 32


def resource(request: Request, thing: BaseModel, status: int = 200) -> Response:
    """Answer with one thing and its ETag, or with 304 when the caller has it as it is."""
    body = thing.model_dump_json().encode()
    tag = etag(thing)
    if request.method == "GET" and tag in _tags(request, "if-none-match", weak=True):
        return Response(status_code=304, headers={"etag": tag})
    return Response(body, status, {"etag": tag}, "application/json")


def etag(thing: BaseModel) -> str:
    """Return the ETag of a thing as it is now."""
    return f'"{hashlib.sha256(thing.model_dump_json().encode()).hexdigest()[:ETAG_CHARACTERS]}"'


def require_match(request: Request, thing: BaseModel) -> None:
    """Refuse a change of a thing that the caller has not seen as it is now; call it with the row locked."""
    if "if-match" not in request.headers:
        raise RequestRefused(
            "Send If-Match with the ETag of what you saw, so that nobody's change is overwritten unseen.",
            code="PRECONDITION_REQUIRED",
            status=428,
        )
    if etag(thing) not in _tags(request, "if-match", weak=False):
        raise RequestRefused("It has changed since; read it again.", code="PRECONDITION_FAILED", status=412)


def _tags(request: Request, header: str, *, weak: bool) -> set[str]:
    """Return the ETags in a header; compression on the way makes ours weak, which matters for changes only."""
    tags = {each.strip() for each in ",".join(request.headers.getlist(header)).split(",")}
    return {each.removeprefix("W/") for each in tags} if weak else tags

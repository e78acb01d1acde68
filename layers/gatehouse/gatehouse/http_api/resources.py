"""One thing at a time: its ETag, and what a caller may ask by it."""

import hashlib
import re

from fastapi import Request, Response
from pydantic import BaseModel

from gatehouse.errors import ChangedMeanwhile, RequestRefused

ETAG_CHARACTERS = 32
_OF_A_VERSION = re.compile(r'"v([0-9]{1,18})"', re.ASCII)


def resource(request: Request, thing: BaseModel, version: int | None = None) -> Response:
    """Answer with one thing and its ETag, or with 304 when the caller has it as it is.

    The ETag of a row that callers can change is its version, which they then name in If-Match; of all others it
    tells what the answer looks like.
    """
    body = thing.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:ETAG_CHARACTERS]}"' if version is None else f'"v{version}"'
    if request.method == "GET" and tag in _tags(request, "if-none-match"):
        return Response(status_code=304, headers={"etag": tag})
    return Response(body, headers={"etag": tag}, media_type="application/json")


def expected_version(request: Request) -> int:
    """Return the version that the caller has seen, from If-Match; it is for the change itself to compare it."""
    tags = [tag for tag in _tags(request, "if-match", strong=True) if tag]
    if not tags:
        raise RequestRefused(
            "Send If-Match with the ETag of what you saw, so that nobody's change is overwritten unseen.",
            code="PRECONDITION_REQUIRED",
            status=428,
        )
    seen = _OF_A_VERSION.fullmatch(tags[0])
    if seen is None or len(tags) > 1:
        raise ChangedMeanwhile("If-Match is no ETag of this; read it again")
    return int(seen[1])


def _tags(request: Request, header: str, *, strong: bool = False) -> list[str]:
    """Return the ETags in a header; compression on the way makes ours weak, which matters for changes only."""
    tags = [each.strip() for each in ",".join(request.headers.getlist(header)).split(",")]
    return tags if strong else [each.removeprefix("W/") for each in tags]

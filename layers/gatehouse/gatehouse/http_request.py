"""One request of an API Gateway HTTP API (payload 2.0), with the exact bytes that the sender signed.

The body is decoded to bytes once and never parsed and written again here: a signature covers bytes, and JSON that
went through a parser is other bytes.
"""

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gatehouse.errors import RequestRefused

PLAIN_CONTENT_TYPE = "application/json"
MOST_BODY_BYTES = 1024 * 1024  # gateways send a few kB; the largest payload that we have seen has 40

_CONTENT_TYPE = re.compile(r"[!-~](?:[ -~]{0,198}[!-~])?")


class HttpRequest(NamedTuple):
    """A request, its header names in lower case and its body as it was sent."""

    method: str
    route_key: str  # "POST /webhooks/stripe/{account}": safe for logs where the path may hold a token
    path: str
    headers: dict[str, str]
    body: bytes
    source_ip: str
    request_id: str
    received_at: datetime
    path_parameters: dict[str, str]
    query: dict[str, str]

    @property
    def content_type(self) -> str:
        """Return what the sender calls its body; application/json where it says nothing that could be said again."""
        said = self.headers.get("content-type", "").strip()
        return said if _CONTENT_TYPE.fullmatch(said) else PLAIN_CONTENT_TYPE

    def __repr__(self) -> str:
        return f"<HttpRequest {self.route_key} {self.request_id} {len(self.body)} bytes>"


def read_request(event: Mapping[str, Any], *, now: datetime | None = None) -> HttpRequest:
    """Read an API Gateway event; refuse a body that is broken or larger than MOST_BODY_BYTES."""
    context = _mapping(event.get("requestContext"))
    http = _mapping(context.get("http"))
    return HttpRequest(
        method=_text(http.get("method")).upper(),
        route_key=_text(event.get("routeKey")) or _text(context.get("routeKey")),
        path=_text(event.get("rawPath")) or _text(http.get("path")),
        headers={name.lower(): value for name, value in _texts(event.get("headers")).items()},
        body=_exact_body(event.get("body"), is_base64=event.get("isBase64Encoded") is True),
        source_ip=_text(http.get("sourceIp")),
        request_id=_text(context.get("requestId")),
        received_at=_arrival(context.get("timeEpoch")) or now or datetime.now(UTC),
        path_parameters=_sound(_texts(event.get("pathParameters"))),
        query=_sound(_texts(event.get("queryStringParameters"))),
    )


def answer(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an HTTP answer with a JSON body in the form that API Gateway expects."""
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "body": json.dumps(body, default=str),
        "isBase64Encoded": False,
    }


def _exact_body(body: object, *, is_base64: bool) -> bytes:
    if body is None:
        return b""
    if not isinstance(body, str):
        raise RequestRefused("the body is not text", code="BODY_NOT_TEXT")
    if len(body) > (MOST_BODY_BYTES * 4 // 3 + 4 if is_base64 else MOST_BODY_BYTES):
        raise _too_large()
    try:
        exact = base64.b64decode(body, validate=True) if is_base64 else body.encode()
    except UnicodeEncodeError as reason:  # a lone surrogate: API Gateway never sends one, a hand-made event may
        raise RequestRefused("the body is not text", code="BODY_NOT_TEXT") from reason
    except ValueError as reason:  # binascii.Error is one, and so is a character beyond ASCII
        raise RequestRefused("the body is said to be base64 and is not", code="BODY_NOT_BASE64") from reason
    if len(exact) > MOST_BODY_BYTES:
        raise _too_large()
    return exact


def _sound(texts: dict[str, str]) -> dict[str, str]:
    """Return parts of a URL that can be written down again; names in it are sealed, kept and logged."""
    try:
        "".join(texts.values()).encode()
    except UnicodeEncodeError as reason:  # a lone surrogate, as in a body
        raise RequestRefused("the URL is not text", code="URL_NOT_TEXT") from reason
    return texts


def _too_large() -> RequestRefused:
    return RequestRefused(f"the body is larger than {MOST_BODY_BYTES} bytes", code="BODY_TOO_LARGE", status=413)


def _arrival(milliseconds: object) -> datetime | None:
    if isinstance(milliseconds, int) and 0 < milliseconds < 253_402_300_800_000:  # up to the year 9999
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> dict[str, str]:
    return {str(name): text for name, text in _mapping(value).items() if isinstance(text, str)}

"""Turns HTTP into what API Gateway's HTTP API gives a function (payload format 2.0), and its answer back into HTTP.

Fields that have no value are left out, not null, as API Gateway does.
"""

import base64
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from local.http_connection import HttpMessage
from local.sam_expansion import ACCOUNT

API_ID = "local"
# API Gateway answers 500 to a function that failed. We answer 503, which gateways of payments surely send again.
FUNCTION_FAILED_STATUS = 503

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TEXT_TYPES = {"application/json", "application/javascript", "application/xml"}
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection"} | {
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
}


class BadTarget(Exception):
    """The path or the query cannot be read."""


@dataclass(frozen=True, slots=True)
class Target:
    """The path and query of a request."""

    path: str  # decoded: API Gateway's `rawPath` is, whatever its name says
    raw_query: str
    query: dict[str, str]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What goes back to the client."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def read_target(target: str) -> Target:
    """Read the target of a request line; raise BadTarget for a wrong escape or what is not UTF-8 under it."""
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if not separator or scheme.lower() not in ("http", "https"):
            raise BadTarget(target)
        target = "/" + rest.partition("/")[2]
    path, _, raw_query = target.partition("#")[0].partition("?")
    query: dict[str, str] = {}
    for pair in raw_query.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            name, value = _decoded(name.replace("+", " ")), _decoded(value.replace("+", " "))
            query[name] = f"{query[name]},{value}" if name in query else value
    return Target(_decoded(path), raw_query, query)


def api_gateway_event(
    message: HttpMessage,
    target: Target,
    *,
    route_key: str,
    path_parameters: dict[str, str],
    source_ip: str,
    port: int,
    request_id: str,
    now: float | None = None,
) -> dict[str, Any]:
    """Return the event for one request."""
    now = time.time() if now is None else now
    headers, cookies = _joined_headers(message)
    headers["content-length"] = str(len(message.body))
    forwarded = headers.get("x-forwarded-for")
    headers["x-forwarded-for"] = f"{forwarded}, {source_ip}" if forwarded else source_ip
    headers["x-forwarded-port"] = str(port)
    headers["x-forwarded-proto"] = "http"
    domain = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": target.path,
        "rawQueryString": target.raw_query,
        "headers": headers,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": API_ID,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": message.method,
                "path": target.path,
                "protocol": "HTTP/1.1",
                "sourceIp": source_ip,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": request_id,
            "routeKey": route_key,
            "stage": "$default",
            "time": _common_log_time(now),
            "timeEpoch": int(now * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if target.query:
        event["queryStringParameters"] = target.query
    if path_parameters:
        event["pathParameters"] = path_parameters
    if message.body:
        event["body"], event["isBase64Encoded"] = _body(message.body, headers.get("content-type", ""))
    return event


def answer_of_function(payload: bytes) -> HttpAnswer:
    """Return the HTTP answer that a function's result means; one that means none is a failure of the function."""
    try:
        result = json.loads(payload)
        if not (isinstance(result, dict) and "statusCode" in result):
            text = result if isinstance(result, str) else payload.decode()
            return HttpAnswer(200, [("content-type", "application/json")], text.encode())
        status = int(result["statusCode"])
        headers = [(str(name).lower(), _header_text(value)) for name, value in (result.get("headers") or {}).items()]
        headers += [("set-cookie", _header_text(cookie)) for cookie in result.get("cookies") or []]
        body = result.get("body") or ""
        content = base64.b64decode(body, validate=True) if result.get("isBase64Encoded") is True else body.encode()
    except (ValueError, TypeError, AttributeError):
        return failed_answer()
    if not 200 <= status <= 599:
        return failed_answer()
    headers = [(name, value) for name, value in headers if name not in _HOP_BY_HOP and name != "content-length"]
    if content and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", "text/plain; charset=utf-8"))
    return HttpAnswer(status, headers, content)


def failed_answer() -> HttpAnswer:
    """Return the answer for a function that raised, crashed, ran out of time or returned nonsense."""
    return message_answer(FUNCTION_FAILED_STATUS, "Service Unavailable")


def message_answer(status: int, words: str) -> HttpAnswer:
    """Return an answer of API Gateway itself."""
    return HttpAnswer(status, [("content-type", "application/json")], json.dumps({"message": words}).encode())


def _decoded(text: str) -> str:
    if "%" not in text:
        return text
    for place, part in enumerate(text.split("%")):
        if place and (len(part) < 2 or not all(digit in "0123456789abcdefABCDEF" for digit in part[:2])):
            raise BadTarget(text)
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise BadTarget(text) from error


def _joined_headers(message: HttpMessage) -> tuple[dict[str, str], list[str]]:
    """Return the headers, repeated ones joined by commas, and the cookies, which API Gateway takes out of them."""
    headers: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in message.headers:
        if name == "cookie":
            cookies += [cookie for cookie in (part.strip() for part in value.split(";")) if cookie]
        elif name not in _HOP_BY_HOP:
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers, cookies


def _body(body: bytes, content_type: str) -> tuple[str, bool]:
    """Return the body as text, or else in base64, and which of the two it is.

    AWS does not document which content types are text. Seen at the real HTTP API: text/*, JSON, XML and JavaScript;
    all others, forms and no content type among them, come in base64. Types like application/problem+json were not
    seen; we take them for text. What is not UTF-8 goes in base64 whatever its type, so that no byte is lost.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in _TEXT_TYPES or kind.startswith("text/") or kind.endswith("+json"):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass  # not text after all
    return base64.b64encode(body).decode(), True


def _header_text(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("a header must be one line")
    return text


def _common_log_time(now: float) -> str:
    # Not strftime: its month names follow the locale.
    moment = time.gmtime(now)
    return (
        f"{moment.tm_mday:02}/{_MONTHS[moment.tm_mon - 1]}/{moment.tm_year}:{time.strftime('%H:%M:%S', moment)} +0000"
    )

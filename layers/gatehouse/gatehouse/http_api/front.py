"""What holds for every request to the API, whatever it asks: its id, headers, CORS, one log line, one metric."""

import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from uuid import uuid4

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders

from gatehouse.http_api.problems import of_a_fault, problem
from gatehouse.observability import log, metrics
from gatehouse.settings import settings

type Scope = MutableMapping[str, Any]
type Message = MutableMapping[str, Any]
type Receive = Callable[[], Awaitable[Message]]
type Send = Callable[[Message], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]

SECURITY_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
ALLOWED_METHODS = "GET, POST, PATCH, DELETE"
ALLOWED_HEADERS = (
    "authorization, confirm-name, content-type, gatehouse-merchant, idempotency-key, if-match, if-none-match"
)
EXPOSED_HEADERS = "etag, ratelimit, ratelimit-policy, retry-after, x-next-cursor, x-request-id"
PREFLIGHT_SECONDS = 600


class Front:
    """Stands around the whole application."""

    def __init__(self, application: Application, allowed_origins: Iterable[str]) -> None:
        self._application = application
        self._allowed_origins = frozenset(allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        began = time.monotonic()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        origin = Headers(scope=scope).get("origin", "")
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._finish(MutableHeaders(scope=message), scope, origin)
            await send(message)

        log.add(api_request_id=request_id)
        try:
            await self._answer(scope, receive, send_with_headers, origin)
        except Exception as error:  # noqa: BLE001 - the last one that could answer; what it was is logged
            # Without its message: an error that we did not foresee may quote what it choked on, which may be personal.
            frames = [
                f"{each.filename}:{each.lineno} {each.name}" for each in traceback.extract_tb(error.__traceback__)
            ]
            log.error("request failed", error_type=type(error).__name__, trace=frames[-20:])
            if not status:
                await (await of_a_fault(Request(scope), error))(scope, receive, send_with_headers)
        _tell(scope, status, (time.monotonic() - began) * 1000)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, origin: str) -> None:
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            return await self._answer_preflight(scope, receive, send, origin)
        return await self._application(scope, receive, send)

    async def _answer_preflight(self, scope: Scope, receive: Receive, send: Send, origin: str) -> None:
        if origin in self._allowed_origins:
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        words = "Pages of this origin may not call the API."
        await problem(Request(scope), 403, "ORIGIN_NOT_ALLOWED", words)(scope, receive, send)

    def _finish(self, headers: MutableHeaders, scope: Scope, origin: str) -> None:
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers["x-request-id"] = scope["state"]["request_id"]
        for name, value in scope["state"].get("rate_headers", {}).items():
            headers[name] = value
        if not self._allowed_origins:
            return
        headers.add_vary_header("Origin")
        if origin in self._allowed_origins:
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = EXPOSED_HEADERS
            if scope["method"] == "OPTIONS":
                headers["access-control-allow-methods"] = ALLOWED_METHODS
                headers["access-control-allow-headers"] = ALLOWED_HEADERS
                headers["access-control-max-age"] = str(PREFLIGHT_SECONDS)


def _request_id(scope: Scope) -> str:
    """Return the front door's id of the request, by which its access log names it too."""
    context = scope.get("aws.event", {}).get("requestContext", {})
    return str(context.get("requestId") or uuid4())


def _tell(scope: Scope, status: int, milliseconds: float) -> None:
    # The route and not the path, and no query: those may hold an e-mail address.
    route = getattr(scope.get("route"), "path", "no such path")
    log.info("answered", method=scope["method"], route=route, status=status, milliseconds=round(milliseconds, 1))
    function = settings().aws_lambda_function_name or "none"
    metrics.measure("ApiTime", milliseconds, function=function)
    if status >= 500:
        metrics.count("ApiFailures", function=function)
    elif status >= 400:
        metrics.count("ApiRefusals", function=function)

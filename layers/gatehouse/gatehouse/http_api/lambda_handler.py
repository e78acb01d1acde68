"""From API Gateway's event to the application and back; the only importer of Mangum."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import cache
from typing import Any

from mangum import Mangum

from gatehouse.errors import RequestRefused
from gatehouse.http_api.front import SECURITY_HEADERS, Front
from gatehouse.http_api.problems import MEDIA_TYPE
from gatehouse.http_request import read_request
from gatehouse.observability import log, metrics

# Mangum logs each path, in which an e-mail address may stand, and whole traces. We log the route ourselves.
logging.getLogger("mangum").setLevel(logging.CRITICAL)

Answer = dict[str, Any]


def lambda_handler(application: Front) -> Callable[[dict[str, Any], Any], Answer]:
    """Return the Lambda handler of an application."""
    asyncio.set_event_loop(_loop())  # Mangum works with the loop that it finds
    adapter = Mangum(application, lifespan="off", text_mime_types=["text/", "application/json", MEDIA_TYPE])

    def handler(event: dict[str, Any], context: Any) -> Answer:
        log.bind(request_id=getattr(context, "aws_request_id", None))
        try:
            read_request(event)  # refuses what is too large, or no text: Mangum would fail on it
            answer: Answer = adapter(event, context)
        except RequestRefused as refusal:
            log.warning("request refused", code=refusal.code, reason=str(refusal))
            answer = _refused(event, refusal)
        finally:
            metrics.emit()
        return answer

    return handler


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the one event loop of this process."""
    return asyncio.new_event_loop()


def _refused(event: dict[str, Any], refusal: RequestRefused) -> Answer:
    words = {
        "type": "about:blank",
        "title": "Bad Request" if refusal.http_status == 400 else "Content Too Large",
        "status": refusal.http_status,
        "detail": str(refusal),
        "code": refusal.code,
        "request_id": event.get("requestContext", {}).get("requestId", ""),
    }
    headers = {**SECURITY_HEADERS, "content-type": MEDIA_TYPE}
    return {"statusCode": refusal.http_status, "headers": headers, "body": json.dumps(words), "isBase64Encoded": False}

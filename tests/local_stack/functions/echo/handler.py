"""Answers with the event that it was given."""

import json
from typing import Any


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:  # noqa: ARG001 - Lambda gives both
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(event)}

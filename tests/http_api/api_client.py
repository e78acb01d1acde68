"""Asks the API as API Gateway does: through the Lambda handler, with an event of payload format 2.0."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from analytics_api.api import build
from gatehouse.database.connection import Database
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.models import api_keys
from local.api_gateway_event import api_gateway_event, read_target
from local.http_connection import HttpMessage

ROUTE = "ANY /api/{proxy+}"


class Answer(NamedTuple):
    """What the API answered."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.text)


class Api:
    """An API, over the database that is the current one of the test: making it anew takes half a second."""

    def __init__(self, origins: tuple[str, ...] = ()) -> None:
        self.database: Database | None = None
        self.backup: Database | None = None
        self.rung: list[tuple[int, str]] = []
        self.rung_for_backup = 0
        self.application = build(
            Desk(self._current, lambda: self, lambda: self.backup),  # type: ignore[arg-type, return-value]  # rings
            origins,
        )
        self._handler = lambda_handler(self.application)

    def _current(self) -> Database:
        assert self.database is not None
        return self.database

    def ring(self, jobs: Sequence[tuple[int, str]]) -> int:
        """Stand for the bell, whose own ways are tested elsewhere: keep what it was asked to ring for."""
        self.rung += jobs
        return len(jobs)

    def ring_for_backup(self) -> bool:
        """The same for the bell that names nothing: count how often it was asked for."""
        self.rung_for_backup += 1
        return True

    def ask(
        self,
        path: str,
        key: str = "",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        **query: Any,
    ) -> Answer:
        """Send one request; a list in the query is a name that stands there several times."""
        sent = [("host", "api.example.com"), *(headers or {}).items()]
        sent += [("authorization", f"Bearer {key}")] if key else []
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        event = api_gateway_event(
            HttpMessage(method=method, target=target, headers=sent, body=body, keeps_alive=True),
            read_target(target),
            route_key=ROUTE,
            path_parameters={"proxy": path.removeprefix("/api/")},
            source_ip="203.0.113.7",
            port=443,
            request_id="JKJaXmPLvHcESHA=",
        )
        return self.send(event)

    def send(self, event: Any) -> Answer:
        """Hand one event to the handler."""
        answer = self._handler(json.loads(json.dumps(event)), None)
        return Answer(answer["statusCode"], answer["headers"], answer.get("body", ""))


def made_key(ops: Database, merchant: str | None = "default", role: str = "viewer", **options: Any) -> str:
    """Make a key as `gatehouse keys create` does."""
    key = api_keys.new_key()
    api_keys.add_key(ops, key, merchant=merchant, role=role, name="a test", **options)
    return key

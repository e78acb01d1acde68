"""What the API answers is what its OpenAPI document says, whatever it is asked; found out by trying."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from gatehouse.database.connection import Database
from tests.http_api.api_client import Api, made_key
from tests.http_api.records import NEEDED, put
from tests.support.gatehouse_database import GatehouseDatabase

# The same ones in each run, and few: the document has a good many operations.
EXAMPLES = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]


def statuses_of(operation: Any, key: str) -> set[int]:
    """Ask one operation many things, each answer as the document has it, and return the statuses that came."""
    statuses: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def keeps_its_word(case: Any) -> None:
        answer = case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)
        statuses.add(answer.status_code)

    keeps_its_word()
    return statuses


@pytest.mark.req("P3", "P5", "P6")
def test_the_api_keeps_to_its_document(api: Api, ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    for table in NEEDED:
        put(gatehouse_database, table, 1)
    key = made_key(ops, role="ops", rate_per_minute=60_000)
    document = schemathesis.openapi.from_asgi("/api/openapi.json", api.application)
    asked: dict[str, set[int]] = {}
    for found in document.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        asked[f"{operation.method.upper()} {operation.path}"] = statuses_of(operation, key)
    paths = api.ask("/api/openapi.json").body["paths"]
    assert set(asked) == {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    lists = {name for name in asked if name.startswith("GET ") and "{" not in name}
    assert [name for name in lists if 200 not in asked[name]] == []

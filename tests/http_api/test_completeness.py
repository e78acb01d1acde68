"""How complete the days are, over HTTP."""

import pytest

from tests.http_api.api_client import Api
from tests.support.gatehouse_database import GatehouseDatabase


@pytest.mark.req("G14", "M7")
def test_days_come_in_pages_and_only_ones_own(api: Api, key: str, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql(
        "insert into completeness (gateway, account, day, merchant, listed, recorded) values"
        " ('stripe', 'default', '2026-11-20', 'default', 10, 9), ('stripe', 'default', '2026-11-19', 'default', 8, 8),"
        " ('paystack', 'default', '2026-11-20', 'default', 3, 3), ('stripe', 'acme', '2026-11-20', 'acme', 5, 1)"
    )
    every = api.ask("/api/completeness", key).body["items"]
    assert [(each["day"], each["gateway"], each["listed"], each["recorded"]) for each in every] == [
        ("2026-11-20", "stripe", 10, 9),
        ("2026-11-20", "paystack", 3, 3),
        ("2026-11-19", "stripe", 8, 8),
    ]
    first = api.ask("/api/completeness", key, limit=2).body
    second = api.ask("/api/completeness", key, limit=2, cursor=first["next_cursor"]).body
    assert [*first["items"], *second["items"]] == every
    assert second["next_cursor"] is None
    lacking = api.ask("/api/completeness", key, only_missing="true", gateway="stripe", since="2026-11-20").body
    assert lacking["items"] == every[:1]
    assert api.ask("/api/completeness", key, limit=2, cursor="e30").status == 422

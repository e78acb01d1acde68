"""Values: what goes in comes out, and what has no exact form is refused."""

import json
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.database.connection import Database
from gatehouse.database.sql import Json
from gatehouse.errors import QueryError, ValidationError
from local.postgres import PostgresServer
from tests.support.database import database_at
from tests.support.postgres import run_sql

TEHERAN = timezone(timedelta(hours=3, minutes=30))


class Colour(StrEnum):
    RED = "red"


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer) -> Iterator[Database]:
    database = database_at(postgres_server.url())
    yield database
    database.close()


def _round_trip(database: Database, value: Any, type_name: str) -> Any:
    return database.query_one(f"SELECT :value::{type_name} AS value", value=value)["value"]


@pytest.mark.req("P9")
@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        *((None, name) for name in ("text", "int", "bytea", "jsonb", "numeric", "timestamptz", "text[]", "bool")),
        (True, "bool"),
        (False, "bool"),
        (0, "int"),
        (-(2**63), "bigint"),
        (32767, "smallint"),
        ("", "text"),
        ('it\'s \\ "quoted" $1 :name -- no\n\ttab é 漢 🎉', "text"),
        (b"", "bytea"),
        (bytes(range(256)), "bytea"),
        (b"\\x00\\\\'\0", "bytea"),
        (Decimal("0.00"), "numeric"),
        (Decimal("-12345678901234567890.123456789"), "numeric"),
        (Decimal("Infinity"), "numeric"),
        (datetime(2026, 11, 20, 23, 59, 59, 999_999, UTC), "timestamptz"),
        (datetime(1, 1, 1, tzinfo=UTC), "timestamptz"),
        (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "timestamptz"),
        ("infinity", "timestamptz"),
        ("-infinity", "timestamptz"),
        ("infinity", "date"),
        (date(2024, 2, 29), "date"),
        (UUID(int=7), "uuid"),
        ({}, "jsonb"),
        ({"a": [1, {"b": None}], "é": "\\ \" '", "half": 0.5}, "jsonb"),
        ({"a": [1, {"b": None}]}, "json"),
        ([], "text[]"),
        ([], "int[]"),
        ([1, None, -3], "int[]"),
        ([1, None], "bigint[]"),
        (["a", "", None, "NULL", "null", "{}", 'q"\\', " space ", ",", "é\n"], "text[]"),
        ([True, False, None], "bool[]"),
        ([Decimal("1.50"), Decimal("-2")], "numeric[]"),
        ([UUID(int=1)], "uuid[]"),
        ([datetime(2026, 1, 1, tzinfo=UTC)], "timestamptz[]"),
        ([date(2026, 1, 1)], "date[]"),
    ],
)
def test_a_value_comes_back_as_it_went(database: Database, value: Any, type_name: str) -> None:
    got = _round_trip(database, value, type_name)
    assert got == value
    assert type(got) is type(value)
    assert str(got) == str(value)  # Decimal("0.00") is not Decimal("0")


def test_not_a_number_comes_back(database: Database) -> None:
    assert _round_trip(database, Decimal("NaN"), "numeric").is_nan()


def test_a_list_of_dicts_is_json_when_it_is_said_to_be(database: Database) -> None:
    value = [{"a": 1}, {"b": [Decimal("1.10"), UUID(int=1), date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC)]}]
    got = _round_trip(database, Json(value), "jsonb")
    assert got == [{"a": 1}, {"b": ["1.10", str(UUID(int=1)), "2026-01-02", "2026-01-02T00:00:00+00:00"]}]


def test_times_come_back_in_utc(database: Database) -> None:
    got = _round_trip(database, datetime(2026, 1, 1, 3, 30, tzinfo=TEHERAN), "timestamptz")
    assert got == datetime(2026, 1, 1, tzinfo=UTC)
    assert got.tzinfo is UTC


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York"])
def test_the_zone_and_style_of_the_role_do_not_matter(postgres_server: PostgresServer, zone: str) -> None:
    for sql in (
        "CREATE ROLE traveller LOGIN PASSWORD 'pw'",
        f"ALTER ROLE traveller SET timezone = '{zone}'",
        "ALTER ROLE traveller SET datestyle = 'German'",
    ):
        run_sql(postgres_server.url(), sql)
    database = database_at(postgres_server.url(user="traveller", password="pw"))
    try:
        for moment in (datetime(2026, 7, 1, 12, 0, 0, 5, UTC), datetime(1850, 1, 1, tzinfo=UTC)):
            assert _round_trip(database, moment, "timestamptz") == moment
    finally:
        database.close()
        run_sql(postgres_server.url(), "DROP ROLE traveller")


def test_years_that_python_does_not_know_come_as_text(database: Database) -> None:
    row = database.query_one("SELECT '4000-01-01 BC'::date AS before, '20000-01-01 00:00:00Z'::timestamptz AS after")
    assert row["before"] == "4000-01-01 BC"
    assert row["after"].startswith("20000-01-01")


def test_values_that_only_come_out(database: Database) -> None:
    row = database.query_one(
        "SELECT 0.5::float8 AS ratio, '1 day'::interval AS span, '2026-01-01 10:00'::timestamp AS clock,"
        " '{{1,2},{3,4}}'::int[] AS grid, '[0:1]={5,6}'::int[] AS shifted, 'x'::name AS name, NULL AS nothing,"
        " ARRAY['{\"a\": \"}\"}'::jsonb] AS documents, ARRAY['\\x00ff'::bytea] AS blobs"
    )
    assert row == {
        "ratio": 0.5,
        "span": "1 day",
        "clock": datetime(2026, 1, 1, 10, 0),  # noqa: DTZ001 - a timestamp without a zone has none
        "grid": [[1, 2], [3, 4]],
        "shifted": [5, 6],
        "name": "x",
        "nothing": None,
        "documents": [{"a": "}"}],
        "blobs": [b"\x00\xff"],
    }


def test_a_word_of_an_enumeration_is_text(database: Database) -> None:
    assert _round_trip(database, Colour.RED, "text") == "red"
    assert _round_trip(database, [Colour.RED], "text[]") == ["red"]


@pytest.mark.req("P9")
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (1.5, "is a float, which cannot hold money"),
        ([1.5], "is a float, which cannot hold money"),
        (datetime(2026, 1, 1), "is a time without a time zone"),  # noqa: DTZ001 - that is the point
        ([{"a": 1}], r"wrap the whole list in Json"),
        ([[1]], "holds a list inside a list"),
        (object(), "is a object, which has no form in the database"),
        ({"a": {1, 2}}, "holds a set, which JSON does not know"),
        ({"a": float("nan")}, "not JSON compliant"),
        ("half \ud83d", "lone surrogate"),
        ({"a": "half \ud83d"}, "lone surrogate"),
    ],
)
def test_a_value_without_an_exact_form_is_refused_before_anything_is_sent(
    database: Database, value: Any, complaint: str
) -> None:
    flushes = database.statistics.flushes
    with pytest.raises(ValidationError, match=f"unnamed: parameter value .*{complaint}"):
        database.query("SELECT :value::text AS value", value=value)
    assert database.statistics.flushes == flushes
    assert database.query("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(
    ("value", "type_name"), [("a\0b", "text"), ({"a": "\0"}, "jsonb"), ("{", "jsonb"), (2**40, "int")]
)
def test_what_the_server_refuses_is_a_validation_error_that_names_the_parameter(
    database: Database, value: Any, type_name: str
) -> None:
    with pytest.raises(ValidationError, match=r"^unnamed: .*(22003|22P02|22P05|22021)"):
        _round_trip(database, value, type_name)


def test_two_columns_of_one_name_are_refused_as_one_would_be_lost(database: Database) -> None:
    with pytest.raises(QueryError, match="two columns of the result have one name, say AS: id, id"):
        database.query("SELECT 1 AS id, 2 AS id")
    assert database.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_result_larger_than_any_buffer_arrives_whole(database: Database) -> None:
    rows = database.query("SELECT n, repeat('x', 10000) AS text FROM generate_series(1, 500) AS n")
    assert [row["n"] for row in rows] == list(range(1, 501))
    assert {len(row["text"]) for row in rows} == {10_000}
    assert len(_round_trip(database, b"\0" * 5_000_000, "bytea")) == 5_000_000


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
MOMENTS = st.datetimes(timezones=st.just(UTC))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(
    text=TEXT,
    blob=st.binary(),
    number=st.integers(-(2**63), 2**63 - 1),
    amount=st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**20), max_value=10**20),
    moment=MOMENTS,
    day=st.dates(),
    document=JSON,
    words=st.lists(st.none() | TEXT | st.text(string.punctuation + " \n\\N")),
    flags=st.lists(st.none() | st.booleans()),
)
def test_any_values_come_back_as_they_went(database: Database, **values: Any) -> None:
    got = database.query_one(
        "SELECT :text::text AS text, :blob::bytea AS blob, :number::bigint AS number, :amount::numeric AS amount,"
        " :moment::timestamptz AS moment, :day::date AS day, :document::jsonb AS document, :words::text[] AS words,"
        " :flags::bool[] AS flags",
        **{**values, "document": Json(values["document"])},
    )
    assert got == values
    assert json.dumps(got["document"], sort_keys=True) == json.dumps(values["document"], sort_keys=True)

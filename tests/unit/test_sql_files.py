"""Files of named statements, and what counts as a placeholder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gatehouse
from gatehouse.database.sql import Statements, load_statements, unnamed

GOOD = """\
-- Statements about payments.

-- name: find_payment
-- Find a payment
-- by its id.
SELECT *
FROM payments -- not :this
WHERE id = :payment_id::bigint AND merchant = :merchant AND id <> :payment_id;

-- name: count_payments
-- Count all payments.
SELECT count(*) FROM payments
"""


def _load(folder: Path, text: str) -> Statements:
    file = folder / "payments.sql"
    file.write_text(text)
    return load_statements(file)


@pytest.mark.req("P9")
def test_a_file_holds_named_statements_with_sentences(tmp_path: Path) -> None:
    sql = _load(tmp_path, GOOD)
    assert list(sql) == ["find_payment", "count_payments"]
    assert sql.find_payment is sql["find_payment"]
    assert sql.find_payment.sentence == "Find a payment by its id."
    assert sql.find_payment.parameters == ("payment_id", "merchant")
    assert sql.find_payment.text == (
        "SELECT *\nFROM payments -- not :this\nWHERE id = $1::bigint AND merchant = $2 AND id <> $1"
    )


def test_a_statement_is_bound_by_names_in_any_order(tmp_path: Path) -> None:
    bound = _load(tmp_path, GOOD).find_payment(merchant="m", payment_id=7)
    assert bound.values == [7, "m"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"merchant": "m"}, "missing parameters: payment_id; unknown parameters: none"),
        ({"merchant": "m", "payment_id": 1, "x": 2}, "missing parameters: none; unknown parameters: x"),
        ({"merchant": "m", "payment": 1}, "missing parameters: payment_id; unknown parameters: payment"),
    ],
)
def test_missing_and_unknown_parameters_are_named(tmp_path: Path, values: dict[str, object], complaint: str) -> None:
    with pytest.raises(TypeError, match=f"find_payment: {complaint}"):
        _load(tmp_path, GOOD).find_payment(**values)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("SELECT 1;\n-- name: a\n-- S.\nSELECT 2", "SQL stands before the first"),
        ("-- name: a\nSELECT 1", "a has no sentence"),
        ("-- name: a\n-- Says nothing.\n", "a has no SQL"),
        ("-- name: a\n-- S.\nSELECT 1\n-- name: a\n-- S.\nSELECT 2", "a is there twice"),
        ("-- name: two words\n-- S.\nSELECT 1", "'two words' is not a name"),
        ("-- name: a\n-- S.\nSELECT $1", r"\$1 is not a placeholder"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"payments\.sql: .*{complaint}"):
        _load(tmp_path, text)


def test_a_statement_that_is_not_there_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match=r"payments\.sql has no statement named find_refund"):
        _ = _load(tmp_path, GOOD).find_refund


@pytest.mark.parametrize(
    "piece",
    [
        "x::text",
        "':no'",
        "'it''s :no'",
        r"E'\':no'",
        '":no"',
        "$$:no$$",
        "$tag$ $$ :no $tag$",
        "-- :no\n",
        "/* :no /* :no */ :no */",
        "a[b:c]",
        "now(at := 1)",
        ":1",
    ],
)
def test_what_is_no_placeholder_stays_as_it_is(piece: str) -> None:
    statement = unnamed(f"SELECT {piece}, :yes")
    assert statement.parameters == ("yes",)
    assert statement.text == f"SELECT {piece}, $1"


@pytest.mark.parametrize("text", ["(:a)", "a=:a", ":a::text", "[:a]", "-:a", "CAST(:a AS int)", "'x':a"])
def test_what_is_a_placeholder(text: str) -> None:
    assert unnamed(text).parameters == ("a",)


@given(st.text("ab:$'\"/*-\n\\eE1[] "))
def test_no_text_at_all_breaks_the_scanner(text: str) -> None:
    try:
        statement = unnamed(text)
    except ValueError as refusal:
        assert "is not a placeholder here" in str(refusal)  # noqa: PT017 - a refusal is allowed, not demanded
        return
    assert len(statement.parameters) <= text.count(":")


def test_every_sql_file_of_the_package_loads() -> None:
    files = sorted(Path(gatehouse.__file__).parent.rglob("*.sql"))
    assert {"health.sql", "performance.sql"} <= {file.name for file in files}
    for file in files:
        assert len(load_statements(file)) > 0

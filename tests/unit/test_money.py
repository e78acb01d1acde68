"""Money is whole minor units: exact, or an error."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.money import EXPONENTS, MOST_MINOR, exponent, to_decimal, to_minor, written

quick = settings(deadline=None, derandomize=True, database=None)


@quick
@given(amount_minor=st.integers(-MOST_MINOR, MOST_MINOR), currency=st.sampled_from(sorted(EXPONENTS)))
def test_there_and_back(amount_minor: int, currency: str) -> None:
    amount = to_decimal(amount_minor, currency)
    assert to_minor(amount, currency) == amount_minor
    assert to_minor(f"{amount:f}", currency) == amount_minor


@pytest.mark.parametrize(
    ("amount", "currency", "amount_minor"),
    [
        ("12.30", "EUR", 1230),
        ("12.3", "EUR", 1230),
        ("12.3000", "EUR", 1230),
        ("500", "JPY", 500),
        ("500.0", "JPY", 500),
        ("1.234", "KWD", 1234),
        ("-0.01", "USD", -1),
        ("0", "USD", 0),
        (Decimal("1E+3"), "USD", 100_000),
        (Decimal("92233720368547758.07"), "USD", MOST_MINOR),
    ],
)
def test_minor_units(amount: Decimal | str, currency: str, amount_minor: int) -> None:
    assert to_minor(amount, currency) == amount_minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("0.001", "USD"),
        ("0.5", "JPY"),
        ("1", "XXX"),
        ("1", "usd"),
        ("", "USD"),
        (" 1", "USD"),
        ("1\n", "USD"),
        ("+1", "USD"),
        ("1,000", "USD"),
        ("1e3", "USD"),
        ("NaN", "USD"),
        (".5", "USD"),
        ("1.", "USD"),
        ("\u0661", "USD"),
        ("9" * 41, "USD"),
        ("92233720368547758.08", "USD"),
        (Decimal("NaN"), "USD"),
        (Decimal("-Infinity"), "USD"),
        (Decimal("1E+999999"), "USD"),
        (Decimal("1E-999999"), "USD"),
        (Decimal("0E-999999"), "USD"),
    ],
)
def test_no_exact_minor_units(amount: Decimal | str, currency: str) -> None:
    with pytest.raises(ValueError):
        to_minor(amount, currency)


@pytest.mark.parametrize("amount", [1.5, 1, True, None, b"1"])
def test_only_decimals_and_texts_are_amounts(amount: Any) -> None:
    with pytest.raises(TypeError):
        to_minor(amount, "USD")


@pytest.mark.parametrize("amount_minor", [1.0, True, "1", None, Decimal(1)])
def test_minor_units_are_integers(amount_minor: Any) -> None:
    with pytest.raises(TypeError):
        to_decimal(amount_minor, "USD")


def test_exponents_are_iso_4217s() -> None:
    assert [exponent(code) for code in ("USD", "JPY", "ISK", "UGX", "MGA", "KWD", "CLF")] == [2, 0, 0, 0, 2, 3, 4]
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text"),
    [(123450, "EUR", "1,234.50 EUR"), (-5, "USD", "-0.05 USD"), (500, "JPY", "500 JPY"), (0, "KWD", "0.000 KWD")],
)
def test_written_for_people(amount_minor: int, currency: str, text: str) -> None:
    assert written(amount_minor, currency) == text

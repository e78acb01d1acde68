"""Single fields of a payload, and the ids that we make: what says something, and what says nothing."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.errors import FactRefused
from gatehouse.facts import ObjectName
from gatehouse.gateways.fields import (
    first_moment,
    identifier_or_number,
    livemode_of_domain,
    minor_of_major,
    minor_of_major_or_none,
    moment,
    object_names,
    plain_metadata,
    text,
)
from gatehouse.gateways.identity import made_event_id

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


class TestTimes:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            ("2016-09-30T21:10:19.000Z", datetime(2016, 9, 30, 21, 10, 19, tzinfo=UTC)),
            ("2022-10-04T05:03:00.0000000000Z", datetime(2022, 10, 4, 5, 3, tzinfo=UTC)),
            ("2022-08-08T14:59:23+02:00", datetime(2022, 8, 8, 12, 59, 23, tzinfo=UTC)),
            ("2022-08-08 13:59:23", None),
            ("2025-04-04T02:20:48.0000000", None),
            ("01/01/2025 15:03:44", None),
            ("0001-01-01T00:00:00+14:00", None),
            ("9999-12-31T23:59:59-14:00", None),
            ("", None),
            (1475269819, None),
        ],
    )
    def test_only_a_time_with_its_zone(self, said: object, expected: datetime | None) -> None:
        assert moment(said) == expected

    def test_the_first_that_says_one(self) -> None:
        holder = {"paid_at": None, "updated_at": "soon", "created_at": "2025-01-01T00:00:00Z"}
        assert first_moment(holder, "paid_at", "updated_at", "missing", "created_at") == datetime(
            2025, 1, 1, tzinfo=UTC
        )
        assert first_moment(holder, "paid_at") is None


class TestNames:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (302961, "302961"),
            (2**64 - 1, "18446744073709551615"),
            ("302961", "302961"),
            ("", None),
            (None, None),
            (True, None),
            (Decimal("1.5"), None),
            ("x" * 256, None),
            (10**300, None),
            ([1], None),
        ],
    )
    def test_id(self, said: object, expected: str | None) -> None:
        assert identifier_or_number(said) == expected

    def test_each_kind_that_has_an_id(self) -> None:
        assert object_names(("transaction", 1), ("order", None), ("reference", "r")) == (
            ObjectName("transaction", "1"),
            ObjectName("reference", "r"),
        )

    def test_money_without_a_name_is_refused(self) -> None:
        with pytest.raises(FactRefused, match="no id"):
            object_names(("transaction", None), ("reference", ""))

    def test_a_long_text_is_cut(self) -> None:
        assert text("x" * 501) == "x" * 500


@pytest.mark.parametrize(
    ("said", "livemode"), [("live", True), ("test", False), ("Live", None), (None, None), ([], None)]
)
def test_livemode(said: object, livemode: bool | None) -> None:
    assert livemode_of_domain(said) is livemode


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "currency", "minor"),
        [
            ("10.12", "NGN", 1012),
            ("10", "ngn", 1000),
            (10, "NGN", 1000),
            (Decimal("4539.6"), "USD", 453960),
            (0, "USD", 0),
            ("500", "XOF", 500),
            ("1.250", "KWD", 1250),
        ],
    )
    def test_major_units(self, amount: object, currency: str, minor: int) -> None:
        assert minor_of_major(amount, currency) == minor

    @pytest.mark.parametrize(
        ("amount", "currency"),
        [
            ("0.19836", "USD"),
            ("1,000.00", "USD"),
            ("1e3", "USD"),
            (" 1", "USD"),
            ("\u0661", "USD"),
            ("-1", "USD"),
            (-1, "USD"),
            (10.5, "USD"),
            (True, "USD"),
            (None, "USD"),
            ({}, "USD"),
            (10**4000, "USD"),
            (Decimal("NaN"), "USD"),
            (Decimal("1e300"), "USD"),
            ("1.5", "XOF"),
            ("1", "XXX"),
            ("1", None),
        ],
    )
    def test_what_cannot_be_counted(self, amount: object, currency: object) -> None:
        with pytest.raises(FactRefused):
            minor_of_major(amount, currency)
        assert minor_of_major_or_none(amount, currency) is None

    @given(amount=anything, currency=st.sampled_from(["USD", "XOF", "KWD", "", None]))
    def test_anything_is_an_amount_or_none(self, amount: object, currency: object) -> None:
        minor = minor_of_major_or_none(amount, currency)
        assert minor is None or minor >= 0


class TestMetadata:
    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (0, None),
            ("", None),
            (None, None),
            ([], None),
            ({}, None),
            ("{}", None),
            ("MID: EXAMPLE", None),
            ("[1]", None),
            ('{"app": "nexai", "app": "other"}', None),
            ('{"app": "\\ud800"}', None),
            ('{"deep":' + "[" * 100_000, None),
            ({"app": "nexai", "user_id": 42, "paid": True, "rate": Decimal("0.5")},) * 2,
            ('{"app": "nexai", "user_id": 42, "paid": true, "rate": 0.5}',) * 2,
            ({"app": "nexai", "plan": None, "custom_fields": [{"value": 1}], "cart": {"a": 1}}, {"app": "nexai"}),
        ],
    )
    def test_whatever_gateways_write_there(self, said: object, expected: object) -> None:
        if expected is said and said is not None:
            expected = {"app": "nexai", "user_id": "42", "paid": "true", "rate": "0.5"}
        assert plain_metadata(said) == expected

    @given(anything)
    def test_anything_is_metadata_or_none(self, said: object) -> None:
        found = plain_metadata(said)
        assert found is None or all(isinstance(value, str) for value in found.values())


class TestMadeIds:
    def test_parts_joined(self) -> None:
        assert made_event_id(b"body", "charge.success", "302961", "success") == "charge.success/302961/success"

    def test_different_parts_never_join_to_the_same(self) -> None:
        assert made_event_id(b"", "a/b", "c") != made_event_id(b"", "a", "b/c")
        assert made_event_id(b"", "a%2Fb", "c") != made_event_id(b"", "a/b", "c")

    @pytest.mark.parametrize("parts", [(None,), ("a", None), ("a", ""), (), ("x" * 200, "y" * 60)])
    def test_the_hash_of_the_body_where_parts_will_not_do(self, parts: tuple[str | None, ...]) -> None:
        assert made_event_id(b"body", *parts) == f"sha256/{sha256(b'body').hexdigest()}"

    @given(
        st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4), st.lists(st.text(min_size=1), min_size=1)
    )
    def test_no_two_events_meet(self, some: list[str], others: list[str]) -> None:
        assert (made_event_id(b"1", *some) == made_event_id(b"2", *others)) == (some == others)

"""What is taken for an event of Stripe's, and everything that is not."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.errors import RequestRefused
from gatehouse.facts import Event, ObjectName
from gatehouse.gateways.stripe import read_event, translate
from tests.support.mutation import mutations

SAMPLES = sorted((Path(__file__).parents[3] / "events" / "stripe").glob("*.json"))
GOOD: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "charge.succeeded",
    "created": 1700000000,
    "livemode": False,
    "data": {"object": {"id": "ch_1", "object": "charge"}},
}

pytestmark = pytest.mark.req("G1")


def refusal(body: bytes) -> tuple[str, str]:
    with pytest.raises(RequestRefused) as refused:
        read_event(body)
    assert refused.value.http_status == 400
    return refused.value.code, str(refused.value)


def changed(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def test_an_event_as_it_is() -> None:
    assert read_event(changed()) == GOOD


def test_numbers_with_a_point_are_exact() -> None:
    assert read_event(changed()[:-1] + b',"rate": 0.1}')["rate"] == Decimal("0.1")


def test_escaped_characters_beyond_the_basic_plane_are_text() -> None:
    assert read_event(changed(note="\U0001f600"))["note"] == "\U0001f600"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"", "Expecting value", id="empty"),
        pytest.param(b"payment=1&ok=true", "Expecting value", id="a form"),
        pytest.param(changed()[:-1], "Expecting", id="cut short"),
        pytest.param(changed() + b"{}", "Extra data", id="two of them"),
        pytest.param(b"\xef\xbb\xbf" + changed(), "BOM", id="with a byte order mark"),
        pytest.param(changed().decode().encode("utf-16"), "not UTF-8", id="UTF-16, which Python would guess"),
        pytest.param(b'{"id": "\xff"}', "not UTF-8", id="bytes that are no text"),
        pytest.param(b'{"id": "\xed\xa0\x80"}', "not UTF-8", id="a surrogate as bytes"),
        pytest.param(changed(note="\ud800"), "half a character", id="half a character"),
        pytest.param(changed(**{"k\udfff": 1}), "half a character", id="half a character in a key"),
        pytest.param(changed(note="a\x00b"), "NUL", id="NUL, escaped"),
        pytest.param(b'{"id": "a\x00b"}', "control character", id="NUL as it is"),
        pytest.param(changed()[:-1] + b',"x": NaN}', "NaN is no number", id="NaN"),
        pytest.param(changed()[:-1] + b',"x": -Infinity}', "-Infinity is no number", id="infinity"),
        pytest.param(changed()[:-1] + b',"x": 1e999999999}', "out of range", id="a number that fills the memory"),
        pytest.param(changed()[:-1] + b',"x": 1e99999999999999999999}', "out of range", id="an exponent beyond all"),
        pytest.param(changed()[:-1] + b',"x": ' + b"9" * 5000 + b"}", "digits", id="an integer of 5000 digits"),
        pytest.param(changed()[:-1] + b',"id": "evt_2"}', "same key twice", id="the same key twice"),
        pytest.param(b"[" * 200_000, "nested too deeply", id="nested arrays"),
        pytest.param(b'{"a":' * 200_000, "nested too deeply", id="nested objects"),
        pytest.param(b'["evt_1"]', "not an object", id="an array"),
        pytest.param(b"null", "not an object", id="null"),
    ],
)
def test_not_json(body: bytes, reason: str) -> None:
    code, message = refusal(body)
    assert code == "NOT_JSON"
    assert reason in message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"{}", '"object"', id="nothing"),
        pytest.param(changed(object="charge"), '"object"', id="another object"),
        pytest.param(changed(object="v2.core.event"), "thin v2 event", id="a thin event"),
        pytest.param(changed(object=["event"]), '"object"', id="object of another type"),
        pytest.param(changed(id=""), '"id"', id="empty id"),
        pytest.param(changed(id=7), '"id"', id="id of another type"),
        pytest.param(changed(id="e" * 256), '"id"', id="long id"),
        pytest.param(changed(type=None), '"type"', id="no type"),
        pytest.param(changed(type={}), '"type"', id="type of another type"),
        pytest.param(changed(created="2026"), '"created"', id="created as text"),
        pytest.param(changed(created=True), '"created"', id="created as truth"),
        pytest.param(changed(created=-1), '"created"', id="before all time"),
        pytest.param(changed(created=10**18), '"created"', id="after all time"),
        pytest.param(changed(created=1.5), '"created"', id="half a second"),
        pytest.param(changed(data=None), '"data"', id="no data"),
        pytest.param(changed(data=[]), '"data"', id="data of another type"),
        pytest.param(changed(data={"object": "ch_1"}), '"data"', id="object by its id only"),
    ],
)
def test_not_an_event(body: bytes, reason: str) -> None:
    code, message = refusal(body)
    assert code == "NOT_AN_EVENT"
    assert reason in message


@given(st.binary(max_size=300))
@example(b"\x80")
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused):
        read_event(body)


def names_by_kind(event: Event) -> list[list[ObjectName]]:
    """Return the names of the objects that the facts of an event are about, apart by the kind of fact."""
    return [
        [name for fact in event.facts if isinstance(fact, kind) for name in fact.objects]
        for kind in {type(fact) for fact in event.facts}
    ]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_damaged_sample_is_refused_or_translated_and_nothing_else(sample: Path) -> None:
    codes = []
    translated = 0
    for body in mutations(sample.read_bytes(), seed=sample.name, count=300):
        try:
            payload = read_event(body)
        except RequestRefused as refused:
            codes.append(refused.code)
        else:
            for names in names_by_kind(translate(payload, "default")):
                assert len(set(names)) == len(names)
            translated += 1
    assert set(codes) == {"NOT_JSON", "NOT_AN_EVENT"}
    assert translated + len(codes) == 300
    assert translated > 50

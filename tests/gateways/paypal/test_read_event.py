"""What is taken for an event of PayPal's, and everything that is not."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.errors import RequestRefused
from gatehouse.facts import Event
from gatehouse.gateways.paypal import HANDLED, read_event, translate
from tests.support.gateway_samples import ignored_samples, samples
from tests.support.mutation import mutations

SAMPLES = samples("paypal") | ignored_samples("paypal")
GOOD: dict[str, Any] = {
    "id": "WH-1",
    "event_type": "PAYMENT.CAPTURE.COMPLETED",
    "create_time": "2026-11-20T12:00:00Z",
    "resource": {"id": "CAPTURE-1", "amount": {"currency_code": "USD", "value": "30.00"}},
}
COPIES = 300
MOST_SECONDS = 20  # for all copies of one sample; they take one

pytestmark = pytest.mark.req("G2")


def refusal(body: bytes) -> tuple[str, str]:
    with pytest.raises(RequestRefused) as refused:
        read_event(body)
    assert refused.value.http_status == 400
    return refused.value.code, str(refused.value)


def changed(**fields: object) -> bytes:
    return json.dumps({**GOOD, **fields}).encode()


def test_an_event_as_it_is() -> None:
    assert read_event(changed()) == GOOD


@pytest.mark.parametrize("body", [b"", b"payment=1", changed()[:-1], b"[]", b"null", b'{"id": "\xff"}', b"[" * 100_000])
def test_not_json(body: bytes) -> None:
    assert refusal(body)[0] == "NOT_JSON"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        pytest.param(b"{}", '"id"', id="nothing"),
        pytest.param(changed(id=""), '"id"', id="empty id"),
        pytest.param(changed(id=7), '"id"', id="id of another type"),
        pytest.param(changed(id="W" * 256), '"id"', id="long id"),
        pytest.param(changed(event_type=None), '"event_type"', id="no type"),
        pytest.param(changed(event_type={}), '"event_type"', id="type of another type"),
        pytest.param(changed(id="W" * 200, event_type="T" * 55), "together", id="long together"),
    ],
)
def test_not_an_event(body: bytes, reason: str) -> None:
    code, message = refusal(body)
    assert code == "NOT_AN_EVENT"
    assert reason in message


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_refused(body: bytes) -> None:
    refusal(body)


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["USD", "30.00", "COMPLETED", "2018-19-12T22:20:32.000Z", "https://api.sandbox.paypal.com/x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "amount", "value", "total", "currency_code", "currency", "links", "href", "status"])
            | st.sampled_from(
                ["supplementary_data", "related_ids", "order_id", "seller_receivable_breakdown", "paypal_fee"]
            )
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(event_type=st.sampled_from(sorted(HANDLED)), resource=any_json, links=any_json, create_time=any_json)
def test_any_resource_is_translated(event_type: str, **fields: Any) -> None:
    try:
        payload = read_event(changed(event_type=event_type, **fields))
    except RequestRefused as refused:
        assert refused.code == "NOT_JSON"  # noqa: PT017 - a text with NUL or half a character, which is rare
        return
    event = translate(payload, "default")
    assert isinstance(event, Event)
    assert bool(event.facts) != bool(event.refused_because)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda path: path.stem)
def test_a_damaged_sample_is_refused_or_translated_and_nothing_else(sample: Path) -> None:
    codes = []
    translated = 0
    began = time.monotonic()
    for body in mutations(sample.read_bytes(), seed=sample.name, count=COPIES):
        try:
            payload = read_event(body)
        except RequestRefused as refused:
            codes.append(refused.code)
        else:
            translate(payload, "default")
            translated += 1
    assert set(codes) == {"NOT_JSON", "NOT_AN_EVENT"}
    assert translated + len(codes) == COPIES
    assert translated > 50
    assert time.monotonic() - began < MOST_SECONDS

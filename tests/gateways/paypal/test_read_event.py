"""What is taken for an event of PayPal's, and everything that is not."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.errors import RequestRefused
from gatehouse.facts import KINDS, Event
from gatehouse.gateways.paypal import ASKABLE, HANDLED, read_event, translate
from gatehouse.money import MOST_MINOR
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


# Names of fields that lead further into the resources, so that chance gets behind the first of them.
FIELDS = (
    *("id", "amount", "value", "total", "currency_code", "currency", "links", "href", "rel", "status", "state"),
    *("supplementary_data", "related_ids", "order_id", "seller_receivable_breakdown", "paypal_fee", "sale_id"),
    *("seller_payable_breakdown", "total_refunded_amount", "purchase_units", "payments", "captures", "refunds"),
    *("payer", "payer_id", "subscriber", "name", "plan", "billing_cycles", "payment_definitions", "billing_info"),
    *("dispute_id", "disputed_transactions", "seller_transaction_id", "dispute_outcome", "invoice", "detail", "items"),
    *(
        "quantity",
        "unit_amount",
        "transactions",
        "payment_id",
        "type",
        "batch_header",
        "payout_batch_id",
        "payout_item",
    ),
    *("payout_item_id", "errors", "custom_id", "payment_source", "metadata", "authorizations", "transaction_status"),
)
WORDS = (
    *("USD", "JPY", "30.00", "-0.01", "COMPLETED", "ACTIVE", "RESOLVED", "REGULAR", "PAYPAL", "SUCCESS", "self", "up"),
    *("2018-19-12T22:20:32.000Z", "2015-09-28 14:37:13 PDT", "https://api.sandbox.paypal.com/x"),
    *("https://api.paypal.com/v2/payments/captures/C1", "https://api.paypal.com/v1/payments/refund/R1", '{"app": "a"}'),
)
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)


def wrong_with(event: Event) -> list[str]:
    """Say what recording could not take of an event."""
    wrong = []
    names = [(type(fact), name) for fact in event.facts for name in fact.objects]
    if len(names) != len(set(names)):
        wrong.append("two facts of a kind share a name")
    for fact in event.facts:
        fields = fact._asdict()
        names_of_payment = fields.pop("payment", ())
        for name in (*fields.pop("objects"), *names_of_payment):
            if not name.kind.islower() or not 0 < len(name.id) <= 255:
                wrong.append(f"{name} is no name")
        if fields.get("status") not in (None, *KINDS[type(fact)].steps):
            wrong.append(f"{fields['status']} is no status")
        for word, value in fields.items():
            if word.endswith("_minor") and not (value is None or (type(value) is int and abs(value) <= MOST_MINOR)):
                wrong.append(f"{word} cannot be counted: {value!r}")
            if word.endswith("_at") and value is not None and value.utcoffset().total_seconds() != 0:
                wrong.append(f"{word} is not in UTC")
            if isinstance(value, str) and not 0 < len(value) <= 500:
                wrong.append(f"{word} is empty or long")
        json.dumps([fields.get("metadata"), fields.get("lines")])
    wrong += [f"nobody can be asked for {need.key}" for need in event.needs if need.arguments["kind"] not in ASKABLE]
    if not event.facts and not event.ignored_because and not event.refused_because:
        wrong.append("nothing says why there are no facts")
    return wrong


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
    assert wrong_with(event) == []


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
            assert wrong_with(translate(payload, "default")) == []
            translated += 1
    assert set(codes) == {"NOT_JSON", "NOT_AN_EVENT"}
    assert translated + len(codes) == COPIES
    assert translated > 50
    assert time.monotonic() - began < MOST_SECONDS

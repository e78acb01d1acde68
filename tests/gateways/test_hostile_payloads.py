"""What strangers, proxies and bugs make of a payload: an event, or a refusal, and soon."""

import contextlib
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.accounts import GatewayAccount
from gatehouse.errors import RequestRefused
from gatehouse.facts import Event
from gatehouse.gateways import NAMES, gateway_named
from gatehouse.gateways.identity import MADE_EVENT_ID
from gatehouse.http_request import HttpRequest, read_request
from local.send import SIGNERS
from tests.support.gateway_samples import ignored_samples, samples
from tests.support.mutation import WRONG_VALUES, mutations

WITH_TESTS_OF_THEIR_OWN = ("stripe", "paypal")  # their signatures need more than a secret
GATEWAYS = tuple(gateway_named(name) for name in NAMES if name not in WITH_TESTS_OF_THEIR_OWN)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "invented-secret-of-32-characters"
MORE = {"merchant_id": "418355562"}
COPIES = 200
MOST_SECONDS = 20  # for all copies of one sample; they take a twentieth of one
FIELDS = (
    *("id", "event", "type", "notify", "notifyType", "eventType", "data", "status", "reference", "amount", "fees"),
    *("currency", "metadata", "customer", "paid_at", "domain", "transaction", "bank_transfer", "merchantId"),
)

SAMPLES = [
    pytest.param(gateway, path, id=f"{gateway.NAME}: {path.stem}")
    for gateway in GATEWAYS
    for path in (samples(gateway.NAME) | ignored_samples(gateway.NAME)).values()
]
every_gateway = pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda gateway: gateway.NAME)

pytestmark = pytest.mark.req("G3", "G4", "G5")


def signed(gateway: ModuleType, body: bytes) -> HttpRequest:
    """Return a request with any body that holds everything by which a gateway's own are known."""
    headers = SIGNERS[gateway.NAME](body, {}, SECRET, int(NOW.timestamp()))
    return read_request({"headers": headers, "pathParameters": {"token": SECRET}}, now=NOW)._replace(body=body)


def taken(gateway: ModuleType, body: bytes) -> Event:
    """Verify, read and translate a body as intake does."""
    account = GatewayAccount(gateway.NAME, "default", "default", "both", (SECRET,), MORE)
    assert gateway.verify(signed(gateway, body), account, now=NOW).secret_index == 0
    event: Event = gateway.translate(gateway.read_event(body), "default")
    return event


@pytest.mark.parametrize(("gateway", "sample"), SAMPLES)
def test_a_damaged_sample_is_refused_or_translated_and_nothing_else(gateway: ModuleType, sample: Path) -> None:
    body = sample.read_bytes()
    began = time.monotonic()
    translated = refused = 0
    statuses: set[int] = set()
    for damaged in mutations(body, seed=f"{gateway.NAME}/{sample.stem}", count=COPIES):
        try:
            event = taken(gateway, damaged)
        except RequestRefused as refusal:
            statuses.add(refusal.http_status)
            refused += 1
        else:
            assert event.facts or event.ignored_because or event.refused_because
            assert 0 < len(event.event_id) <= 255
            translated += 1
    assert statuses <= {400, 401}
    assert translated + refused == COPIES
    assert translated > 20
    assert refused > 20
    assert time.monotonic() - began < MOST_SECONDS


@every_gateway
@given(
    payload=st.dictionaries(
        st.sampled_from(FIELDS),
        st.recursive(
            st.sampled_from([value for value in WRONG_VALUES if value not in ("\x00", "\ud800")])
            | st.sampled_from(["charge.success", "transaction", "successful", "PaymentSuccess", "418355562", "live"]),
            lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
            max_leaves=12,
        ),
        max_size=8,
    )
)
def test_any_object_is_an_event_or_refused(gateway: ModuleType, payload: dict[str, object]) -> None:
    body = json.dumps(payload).encode()
    with contextlib.suppress(RequestRefused):
        event = gateway.translate(gateway.read_event(body), "default")
        assert event.facts or event.ignored_because or event.refused_because


@every_gateway
@given(body=st.binary(max_size=300))
def test_any_bytes_are_refused_or_ignored(gateway: ModuleType, body: bytes) -> None:
    with contextlib.suppress(RequestRefused):
        assert gateway.translate(gateway.read_event(body), "default").ignored_because


@pytest.mark.req("G8")
@pytest.mark.parametrize(("gateway", "sample"), SAMPLES)
def test_the_same_bytes_are_the_same_event_and_the_id_is_ours(gateway: ModuleType, sample: Path) -> None:
    body = sample.read_bytes()
    payload = json.loads(body)
    assert taken(gateway, body).event_id == taken(gateway, body).event_id
    planted = json.dumps({MADE_EVENT_ID: "chosen by the sender", **payload}).encode()
    assert taken(gateway, planted).event_id != "chosen by the sender"

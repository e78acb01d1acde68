"""Events as they arrive, with what they led to, masked; and what was refused."""

import pytest

from tests.console.console_client import Browser
from tests.console.scenery import paint
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4", "G18")


def test_a_merchant_sees_its_own_events_and_operators_all(
    viewer: Browser, stranger: Browser, operator: Browser, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    assert "evt_1" in viewer.get("/console/m/default/events").words
    assert "evt_1" not in stranger.get("/console/m/acme/events").words
    assert stranger.get("/console/m/acme/events/1").status == 404
    assert "evt_1" in operator.get("/console/ops/events").words
    for asked, is_there in (
        ({"status": "failed"}, False),
        ({"type": "charge.succeeded"}, True),
        ({"gateway": "paypal"}, False),
    ):
        assert ("evt_1" in viewer.get("/console/m/default/events", **asked).words) is is_there, asked
    assert viewer.get("/console/m/default/events", name="evt_1").location == "/console/m/default/events/1"
    assert viewer.get("/console/m/default/events", name="evt_none").status == 404


def test_the_live_part_is_a_piece_of_the_page_with_the_same_filters(
    viewer: Browser, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    page = viewer.get("/console/m/default/events", gateway="stripe")
    assert 'data-live="/console/m/default/events?gateway=stripe&amp;live=1"' in page.text
    part = viewer.get("/console/m/default/events", gateway="stripe", live="1")
    assert "evt_1" in part.text
    assert "<html" not in part.text
    assert "data-live" not in viewer.get("/console/m/default/events", before="9").text


@pytest.mark.req("M9", "P14")
def test_an_event_shows_what_it_said_without_who_it_was(viewer: Browser, gatehouse_database: GatehouseDatabase) -> None:
    paint(gatehouse_database)
    shown = viewer.get("/console/m/default/events/1").words
    assert "amount minor 4620" in shown
    assert "ada@example.com" not in shown
    assert "(personal)" in shown


def test_what_was_refused_shows_with_its_reason(operator: Browser, gatehouse_database: GatehouseDatabase) -> None:
    assert "Nothing was refused" in operator.get("/console/ops/rejected").words
    gatehouse_database.sql(
        "insert into rejected_requests (received_at, gateway, account, code, reason, headers, body_bytes, source_ip,"
        " request_id) values (now(), 'stripe', 'default', 'SIGNATURE_REFUSED', 'the signature does not match',"
        """ '{"user-agent": "curl", "stripe-signature": "(90 characters)"}', 12, '203.0.113.9', 'r-1')"""
    )
    shown = operator.get("/console/ops/rejected").words
    for words in ("SIGNATURE_REFUSED", "the signature does not match", "203.0.113.9", "(90 characters)"):
        assert words in shown
    assert "SIGNATURE_REFUSED" not in operator.get("/console/ops/rejected", gateway="paypal").words

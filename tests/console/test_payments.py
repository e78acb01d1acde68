"""Payments found, looked at, and given back."""

import re

import pytest

from gatehouse.database.connection import Database
from tests.console.console_client import Browser, Console
from tests.console.scenery import paint
from tests.http_api.api_client import made_key
from tests.http_api.records import put
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("O4")
PATH = "/console/m/default/payments"


def test_payments_are_found_by_text_status_gateway_day_and_mode(
    viewer: Browser, gatehouse_database: GatehouseDatabase
) -> None:
    paint(gatehouse_database)
    put(gatehouse_database, "payments", 3, gateway="paypal", livemode=False, first_fact_at="2026-11-21T23:30:00Z")
    put(gatehouse_database, "payments", 4, merchant="acme", reference="theirs")
    for asked, ids in (
        ({}, {1, 2, 3}),
        ({"status": "failed", "text": "", "gateway": ""}, {2}),
        ({"gateway": "paypal"}, {3}),
        ({"livemode": "true"}, {1, 2}),
        ({"since": "2026-11-21"}, {3}),
        ({"until": "2026-11-20"}, {1, 2}),
        ({"text": "ada@example.com"}, {1}),
        ({"text": "theirs"}, set()),
    ):
        shown = viewer.get(PATH, **asked)
        assert shown.status == 200, shown.words
        assert {int(found) for found in re.findall(rf'"{PATH}/(\d+)"', shown.text)} == ids, asked
    viewer.post("/console/preferences", {"zone": "Europe/Madrid"})
    assert "2026-11-22 00:30" in viewer.get(PATH, since="2026-11-22").words, "days are those of the chosen zone"
    refused = viewer.get(PATH, status="failed", wrong="1")
    assert (refused.status, "INPUT_REFUSED" in refused.words) == (422, True)


def test_pages_go_on_where_the_one_before_ended(viewer: Browser, gatehouse_database: GatehouseDatabase) -> None:
    for row in range(1, 6):
        put(gatehouse_database, "payments", row)
    seen: list[str] = []
    path = f"{PATH}?limit=2"
    while path:
        shown = viewer.get(path)
        seen += re.findall(rf'"{PATH}/(\d+)"', shown.text)
        path = next((link for link in shown.links() if "cursor=" in link), "")
    assert seen == ["5", "4", "3", "2", "1"]


def test_the_list_as_a_file_holds_formulas_back(viewer: Browser, gatehouse_database: GatehouseDatabase) -> None:
    put(gatehouse_database, "payments", 1, reference="=1+1", amount_minor=1234, currency="KWD")
    file = viewer.get(PATH, format="csv")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert file.headers["content-disposition"] == 'attachment; filename="payments-default.csv"'
    header, row = file.text.splitlines()
    told = dict(zip(header.split(","), row.split(","), strict=True))
    assert (told["reference"], told["amount_minor"], told["amount"]) == ("'=1+1", "1234", "1.234")


def test_a_failed_payment_says_why(viewer: Browser, gatehouse_database: GatehouseDatabase) -> None:
    paint(gatehouse_database)
    shown = viewer.get(f"{PATH}/2").words
    assert "Insufficient funds" in shown
    assert "card_declined" in shown
    assert viewer.get(f"{PATH}/3").status == 404


@pytest.mark.req("P6")
def test_half_of_a_payment_is_given_back_after_a_second_look(
    console: Console, admin: Browser, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1)
    asked = admin.get(f"{PATH}/1/refund", amount="23.10", reason="half of it")
    assert "give back 23.10 EUR of payment 1" in asked.words
    assert ops.query("select * from refund_requests") == [], "looking changes nothing"
    fields = asked.hidden()
    done = [admin.post(f"{PATH}/1/refund", fields) for _ in range(2)]
    assert [each.location for each in done] == [f"{PATH}/1"] * 2
    (request,) = ops.query("select * from refund_requests")
    assert request["actor"].startswith("key ")
    assert [topic for _, topic in console.rung] == ["send_refund"], "sent twice, asked once"
    shown = admin.get(f"{PATH}/1")
    assert "A refund of 23.10 EUR was asked for." in shown.words
    assert "half of it" in admin.get(f"{PATH}/refunds").words


@pytest.mark.parametrize(
    ("amount", "words"),
    [("46.21", "more than is left"), ("1.234", "such as"), ("0", "more than nothing"), ("x", "such as")],
)
def test_an_amount_that_cannot_be_given_back_says_so(
    admin: Browser, gatehouse_database: GatehouseDatabase, amount: str, words: str
) -> None:
    put(gatehouse_database, "payments", 1)
    refused = admin.get(f"{PATH}/1/refund", amount=amount)
    assert refused.status == 422
    assert words in refused.words


def test_a_viewer_and_a_stranger_give_nothing_back(
    viewer: Browser, stranger: Browser, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1)
    fields = {"amount": "1.00", "key": "k"}
    assert "Refund …" not in viewer.get(f"{PATH}/1").text
    assert viewer.post(f"{PATH}/1/refund", fields).status == 403
    assert stranger.post(f"{PATH}/1/refund", fields).status == 404
    assert stranger.post("/console/m/acme/payments/1/refund", fields).status == 404
    assert ops.query("select * from refund_requests") == []


@pytest.mark.req("M9")
def test_who_may_not_see_health_data_sees_the_money_alone(
    console: Console, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    put(gatehouse_database, "payments", 1, gateway="mx_merchant", product_name="Tirzepatide", product_category="TRT")
    blind = console.sign_in(made_key(ops, "default", "admin", may_read_health_data=False))
    seeing = console.sign_in(made_key(ops, "default", "admin"))
    for path in (PATH, f"{PATH}/1", f"{PATH}?format=csv"):
        assert "Tirzepatide" not in blind.get(path).text
    assert "Tirzepatide" in seeing.get(f"{PATH}/1").text
    assert ops.query_one("select count(*) as reads from health_data_reads")["reads"] >= 1

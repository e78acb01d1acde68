"""A clinic's memberships and products: its tabs, what its people note, what they categorise."""

import re
from uuid import uuid4

import pytest

from gatehouse.database.connection import Database
from gatehouse.jobs.claim import Job
from gatehouse.membership.reclassify import reclassify
from gatehouse.sealing import Keyring
from tests.console.console_client import Browser, Console
from tests.http_api.api_client import made_key
from tests.membership.clinic import invoiced, known, paid, person, tell
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M4", "O4")
PATH = "/console/m/default"


@pytest.fixture
def clinic(intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase) -> None:
    """Three patients, and a product that nobody has categorised."""
    known(gatehouse_database, {"Testosterone": "TRT", "Semaglutide": "Weight Loss"})
    tell(
        intake,
        keyring,
        invoiced("t", "Testosterone", customer_ref="C0", total_minor=19900, currency="USD"),
        invoiced("s", "Semaglutide"),
        invoiced("u", "Tadalafil 5mg"),
        *(person(f"C{place}", name) for place, name in enumerate(("Ada Byron", "Bob Stone", "Cleo Marsh"))),
        paid("p0", "C0", 0, invoice_ref="t"),
        paid("p1", "C1", 1, invoice_ref="s"),
        paid("p2", "C2", 2, invoice_ref="u"),
    )


def number(browser: Browser, text: str) -> int:
    """Return the id of the membership that a search finds."""
    (found,) = set(re.findall(rf"{PATH}/memberships/(\d+)", browser.get(f"{PATH}/memberships", text=text).text))
    return int(found)


@pytest.mark.usefixtures("clinic")
def test_tabs_have_counts_and_lists_are_searched_sorted_paged_and_handed_out(viewer: Browser) -> None:
    shown = viewer.get(f"{PATH}/memberships").words
    for words in ("All 3", "TRT 1", "Uncategorized 1", "Weight Loss 1", "Cancellations 0"):
        assert words in shown, words
    assert "Ada Byron" in viewer.get(f"{PATH}/memberships", tab="TRT").text
    assert "Bob Stone" not in viewer.get(f"{PATH}/memberships", tab="TRT").text
    assert "No membership is like this" in viewer.get(f"{PATH}/memberships", tab="Cancellations").words
    assert "Bob Stone" in viewer.get(f"{PATH}/memberships", text="semaglutide").text
    for sort, first in (("name", "Ada Byron"), ("started", "Cleo Marsh"), ("last_payment", "Cleo Marsh")):
        page = viewer.get(f"{PATH}/memberships", sort=sort, limit="1")
        assert first in page.text, sort
        seen = {first}
        while following := [link for link in page.links() if "cursor=" in link and "edit=" not in link]:
            page = viewer.get(following[0])
            seen |= {name for name in ("Ada Byron", "Bob Stone", "Cleo Marsh") if name in page.text}
        assert len(seen) == 3, sort
    file = viewer.get(f"{PATH}/memberships", format="csv", tab="TRT").text
    assert file.count("\r\n") == 2
    assert "Ada Byron" in file
    assert viewer.get(f"{PATH}/memberships", edit=str(number(viewer, "ada"))).text.count('name="referral_source"') == 1


@pytest.mark.usefixtures("clinic")
def test_what_people_note_is_written_in_the_list_and_a_conflict_shows_both(admin: Browser, ops: Database) -> None:
    ada = number(admin, "ada")
    form = admin.get(f"{PATH}/memberships", edit=ada, sort="started").hidden()
    noted = {**form, "google_review_submitted": "true", "referral_source": "A friend", "fulfillment_type": "ship"}
    done = admin.post(f"{PATH}/memberships/{ada}", noted)
    assert done.location == f"{PATH}/memberships?sort=started"
    assert "A friend" in admin.get(done.location).words
    late = admin.post(f"{PATH}/memberships/{ada}", {**noted, "referral_source": "The radio"})
    assert late.status == 412
    for words in ("A friend", "The radio", "Save mine over it"):
        assert words in late.words, words
    assert ops.query_one("select referral_source from memberships where id = :id::bigint", id=ada) == {
        "referral_source": "A friend"
    }
    assert admin.post(f"{PATH}/memberships/{ada}", late.hidden()).status == 303
    (row,) = ops.query(
        "select referral_source, google_review_submitted from memberships where id = :id::bigint", id=ada
    )
    assert (row["referral_source"], row["google_review_submitted"]) == ("The radio", True)


@pytest.mark.usefixtures("clinic")
def test_a_status_by_hand_wants_a_reason_and_is_released_again(admin: Browser) -> None:
    path = f"{PATH}/memberships/{number(admin, 'bob')}"
    form = admin.get(path).hidden()
    assert admin.post(path, {**form, "status": "canceled"}).status == 422
    assert admin.post(path, {**form, "status": "canceled", "reason": "moved away"}).location == path
    shown = admin.get(path)
    assert "Set to canceled by key" in shown.words
    assert "Bob Stone" in admin.get(f"{PATH}/memberships", tab="Cancellations").text
    assert admin.post(path, {**shown.hidden(), "status": "release", "reason": "came back"}).status == 303
    assert "Bob Stone" not in admin.get(f"{PATH}/memberships", tab="Cancellations").text


@pytest.mark.req("M9")
@pytest.mark.usefixtures("clinic")
def test_a_patient_is_shown_with_payments_and_invoices_and_each_read_is_noted(
    console: Console, viewer: Browser, ops: Database
) -> None:
    ada = number(viewer, "ada")
    shown = viewer.get(f"{PATH}/memberships/{ada}")
    for words in ("Ada Byron", "TRT", "205.96 USD", "Testosterone"):
        assert words in shown.words, words
    (invoice,) = {link for link in shown.links() if "/invoices/" in link}
    assert "199.00 USD" in viewer.get(invoice).words
    for words in ("product Testosterone", "amount 199.00 USD"):
        assert words in viewer.get(invoice).words, words
    noted = {row["kind"] for row in ops.query("select distinct kind from health_data_reads")}
    assert {"memberships", "patient", "invoices"} <= noted
    blind = console.sign_in(made_key(ops, may_read_health_data=False))
    for path in ("memberships", f"memberships/{ada}", "products"):
        assert blind.get(f"{PATH}/{path}").status == 403, path
    hidden = blind.get(invoice)
    assert (hidden.status, "Testosterone" in hidden.text) == (200, False)


@pytest.mark.usefixtures("clinic")
def test_an_unknown_product_is_categorised_and_its_patient_stands_under_the_tab(
    console: Console, admin: Browser, worker: Database, ops: Database
) -> None:
    review = admin.get(f"{PATH}/products")
    assert "Tadalafil 5mg" in review.text
    assert "Testosterone" not in review.text
    assert "Testosterone" in admin.get(f"{PATH}/products", show="all").text
    product = ops.query_one("select id from product_categories where product_name = 'Tadalafil 5mg'")["id"]
    sent = {**review.hidden(), "category": "Vitality"}
    console.rung.clear()
    assert admin.post(f"{PATH}/products/{product}", sent).status == 303
    assert admin.post(f"{PATH}/products/{product}", sent).status == 412
    ((job, topic),) = console.rung
    assert topic == "reclassify"
    arguments = ops.query_one("select arguments from jobs where id = :id::bigint", id=job)["arguments"]
    reclassify(Job(job, topic, "x", "default", arguments, 1, uuid4()), worker)
    assert "Cleo Marsh" in admin.get(f"{PATH}/memberships", tab="Vitality").text


@pytest.mark.usefixtures("clinic")
def test_many_products_are_set_at_once_or_none(
    admin: Browser, intake: Database, keyring: Keyring, ops: Database
) -> None:
    tell(intake, keyring, invoiced("x", "Zzz one", "Zzz two"), paid("p9", "C2", 9, invoice_ref="x"), mark="more")
    ops_rows = ops.query("select id from product_categories where product_name like 'Zzz%'")
    ids = [row["id"] for row in ops_rows] or pytest.fail("no product came with the invoice")
    assert admin.post(f"{PATH}/products/bulk", {"category": "Other"}).status == 422
    refused = admin.post(f"{PATH}/products/bulk", {"product": ids, "category": ""})
    assert (refused.status, "nothing is suggested for Zzz" in refused.words) == (422, True)
    assert admin.post(f"{PATH}/products/bulk", {"product": [*ids, 999_999], "category": "Other"}).status == 404
    reads = "select row_ids from health_data_reads where kind = 'products' order by id desc limit 1"
    done = admin.post(f"{PATH}/products/bulk", {"product": ids, "category": "Other"})
    assert ops.query_one(reads)["row_ids"] == sorted(ids)
    assert f"{len(ids)} products have their categories" in admin.get(done.location).words
    assert {
        row["category"] for row in ops.query("select category from product_categories where product_name like 'Zzz%'")
    } == {"Other"}

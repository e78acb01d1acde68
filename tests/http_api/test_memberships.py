"""Memberships and products over HTTP: the dashboard of a clinic, and who may see it."""

import csv
import io
import json
from typing import Any
from uuid import uuid4

import pytest

from gatehouse.database.connection import Database
from gatehouse.jobs.claim import Job
from gatehouse.membership.reclassify import reclassify
from gatehouse.sealing import Keyring
from tests.http_api.api_client import Answer, Api, made_key
from tests.membership.clinic import ACME, invoiced, known, paid, person, tell
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M4")


def send(
    api: Api, path: str, key: str, body: Any, method: str = "PATCH", content: str = "application/json", **headers: str
) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()} | {"content-type": content}
    sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return api.ask(path, key, method=method, headers=named, body=sent)


@pytest.fixture
def developer(ops: Database) -> str:
    """A key that may write."""
    return made_key(ops, role="developer")


@pytest.fixture
def clinic(intake: Database, keyring: Keyring, ops: Database, gatehouse_database: GatehouseDatabase) -> None:  # noqa: ARG001 - ops make acme
    """Five patients of one clinic, and one of another."""
    known(gatehouse_database, {"Testosterone": "TRT", "Semaglutide": "Weight Loss"})
    tell(
        intake,
        keyring,
        invoiced("t", "Testosterone"),
        invoiced("s", "Semaglutide", number="77"),
        invoiced("u", "Tadalafil 5mg"),
        *(person(f"C{place}", name) for place, name in enumerate(("Ada Byron", "Bob Stone", "Cleo Marsh", "Ada Zeta"))),
        paid("p0", "C0", 0, invoice_ref="t"),
        paid("p1", "C1", 1, invoice_ref="s"),
        paid("p2", "C2", 2, invoice_ref="t"),
        paid("p3", "C3", 3, "failed", invoice_ref="t"),
        paid("p4", "C4", 4, invoice_ref="u"),
        paid("p5", "C0", 5, invoice_ref="s"),
    )
    tell(intake, keyring, invoiced("t", "Testosterone"), paid("p0", "C0", 0, invoice_ref="t"), account=ACME)


def names(answer: Answer) -> list[tuple[str, str]]:
    assert answer.status == 200, answer.text
    return [(each["customer_ref"], each["category"]) for each in answer.body["items"]]


@pytest.mark.usefixtures("clinic")
def test_the_tabs_are_the_merchants_own_and_their_counts_add_up(api: Api, key: str, developer: str) -> None:
    number = api.ask("/api/memberships", key, text="cleo").body["items"][0]["id"]
    shown = api.ask(f"/api/memberships/{number}", key)
    canceled = {"status": "canceled", "reason": "moved away"}
    changed = send(api, f"/api/memberships/{number}", developer, canceled, if_match=shown.headers["etag"])
    assert changed.status == 200, changed.text
    tabs = api.ask("/api/memberships/tabs", key).body["tabs"]
    assert [(tab["name"], tab["memberships"]) for tab in tabs] == [
        ("All", 6),
        ("TRT", 2),
        ("Uncategorized", 1),
        ("Weight Loss", 2),
        ("Cancellations", 1),
    ]
    assert tabs[1]["by_status"] == {"active": 1, "past_due": 1}
    for tab in tabs:
        assert len(api.ask("/api/memberships", key, tab=tab["name"]).body["items"]) == tab["memberships"]
    assert names(api.ask("/api/memberships", key, tab="Cancellations")) == [("C2", "TRT")]
    assert names(api.ask("/api/memberships", key, tab="Cancellations", status="active")) == []


@pytest.mark.usefixtures("clinic")
def test_memberships_are_filtered_searched_and_sorted(api: Api, key: str, developer: str) -> None:
    def found(**asked: Any) -> list[str]:
        return [code for code, _ in names(api.ask("/api/memberships", key, **asked))]

    number = api.ask("/api/memberships", key, text="bob").body["items"][0]
    body = {"google_review_submitted": True, "referral_source": "Google", "fulfillment_type": "Ship"}
    path = f"/api/memberships/{number['id']}"
    assert send(api, path, developer, body, if_match=f'"v{number["version"]}"').status == 200
    assert found() == ["C0", "C0", "C3", "C1", "C4", "C2"]
    assert found(text="ada by") == found(text="C0") == ["C0", "C0"]
    assert found(text="semagl") == ["C0", "C1"]
    assert found(status=["past_due"]) == ["C3"]
    assert found(status=["active"], tab="TRT") == ["C0", "C2"]
    assert found(google_review_submitted="true") == found(referral_source="Google") == found(fulfillment_type="Ship")
    assert found(fulfillment_type="Ship") == ["C1"]
    assert found(started_since="2026-01-09T00:00:00Z") == ["C0", "C4"]
    assert found(paid_before="2026-01-06T00:00:00Z") == ["C0"]
    assert found(renewal_missed="true") == found(livemode="false") == []
    assert found(sort="started") == found(sort="last_payment") == ["C0", "C4", "C2", "C1", "C0", "C3"]
    assert len(found(sort="next_expected")) == 6
    assert api.ask("/api/memberships", key, sort="colour").status == 422
    assert api.ask("/api/memberships", key, status="gone").status == 422


@pytest.mark.usefixtures("clinic")
@pytest.mark.parametrize("sort", ["name", "started", "last_payment", "next_expected"])
def test_pages_stay_whole_while_patients_come(
    api: Api, key: str, intake: Database, keyring: Keyring, sort: str
) -> None:
    expected = names(api.ask("/api/memberships", key, sort=sort))
    seen, cursor, place = [], None, 0
    while True:
        asked: dict[str, Any] = {"sort": sort, "limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.ask("/api/memberships", key, **asked)
        seen += names(page)
        cursor, place = page.body["next_cursor"], place + 1
        if cursor is None:
            break
        tell(intake, keyring, person(f"N{place}", "A first one"), paid(f"n{place}", f"N{place}", 400))
    assert [each for each in seen if not each[0].startswith("N")] == expected
    assert len(seen) == len(set(seen))
    assert api.ask("/api/memberships", key, sort=sort, cursor="eA").status == 422


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M3")
def test_what_people_note_is_written_by_whoever_saw_it_last(api: Api, key: str, developer: str) -> None:
    number = api.ask("/api/memberships", key, text="bob").body["items"][0]["id"]
    path = f"/api/memberships/{number}"
    tag = api.ask(path, key).headers["etag"]
    assert send(api, path, key, {"fulfillment_type": "Ship"}, if_match=tag).body["code"] == "ROLE_TOO_LOW"
    assert send(api, path, developer, {"fulfillment_type": "Ship"}).status == 428
    first = send(api, path, developer, {"fulfillment_type": "Ship"}, if_match=tag)
    assert (first.status, first.body["fulfillment_type"]) == (200, "Ship"), first.text
    assert send(api, path, developer, {"fulfillment_type": "Office"}, if_match=tag).status == 412
    tag = first.headers["etag"]
    for wrong in ({}, {"status": "paused"}, {"status": "gone"}, {"colour": 1}, {"google_review_submitted": None}):
        assert send(api, path, developer, wrong, if_match=tag).status == 422, wrong
    paused = send(api, path, developer, {"status": "paused", "reason": "travels"}, if_match=tag)
    assert (paused.body["status"], paused.body["status_by_rule"], paused.body["status_reason"]) == (
        "paused",
        "active",
        "travels",
    )
    assert paused.body["status_set_by"] == f"key {developer[3:11]}"
    released = send(api, path, developer, {"status": None}, if_match=paused.headers["etag"])
    assert (released.body["status"], released.body["status_by_hand"]) == ("active", None)
    history = api.ask(f"/api/audit/memberships/{number}", key).body
    assert [each["actor"] for each in history][-1] == f"key {developer[3:11]}"


@pytest.mark.usefixtures("clinic")
def test_a_patient_is_shown_with_payments_invoices_and_history(api: Api, key: str) -> None:
    number = api.ask("/api/memberships", key, text="ada by").body["items"][0]["id"]
    shown = api.ask(f"/api/memberships/{number}/patient", key).body
    assert [each["category"] for each in shown["memberships"]] == ["TRT", "Weight Loss"]
    assert [(each["product_category"], each["amount"]["decimal"]) for each in shown["payments"]] == [
        ("Weight Loss", "205.96"),
        ("TRT", "205.96"),
    ]
    assert shown["payments"][0]["surcharge"]["decimal"] == "6.96"
    assert shown["memberships"][0]["amount"]["decimal"] == "199.00"
    assert {each["number"] for each in shown["invoices"]} == {None, "77"}
    assert {each["action"] for each in shown["history"]} >= {"insert"}


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M7")
def test_another_merchants_patients_are_as_if_they_were_not_there(api: Api, key: str, ops: Database) -> None:
    theirs = made_key(ops, "acme", role="admin")
    assert names(api.ask("/api/memberships", theirs)) == [("C0", "Uncategorized")]
    number = api.ask("/api/memberships", theirs).body["items"][0]["id"]
    for path in (f"/api/memberships/{number}", f"/api/memberships/{number}/patient"):
        assert (api.ask(path, key).status, api.ask(path, theirs).status) == (404, 200)
    product = api.ask("/api/products", theirs).body["items"][0]["id"]
    assert (api.ask(f"/api/products/{product}", key).status, api.ask(f"/api/products/{product}", theirs).status) == (
        404,
        200,
    )
    assert send(api, f"/api/memberships/{number}", made_key(ops, role="admin"), {"referral_source": "x"},
                if_match='"v1"').status == 404  # fmt: skip
    assert api.ask(f"/api/audit/memberships/{number}", key).body == []


@pytest.mark.usefixtures("clinic")
def test_memberships_go_out_as_a_file_in_parts(api: Api, key: str) -> None:
    first = api.ask("/api/memberships/export", key, limit=4)
    assert (first.status, first.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    rest = api.ask("/api/memberships/export", key, limit=4, cursor=first.headers["x-next-cursor"])
    assert "x-next-cursor" not in rest.headers
    rows = [row for part in (first, rest) for row in csv.DictReader(io.StringIO(part.text))]
    assert [row["customer_ref"] for row in rows] == ["C0", "C0", "C3", "C1", "C4", "C2"]
    assert (rows[0]["name"], rows[0]["amount_minor"], rows[0]["status"]) == ("Ada Byron", "19900", "active")


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M9")
def test_reads_are_noted_and_shown_to_admins(api: Api, key: str, ops: Database) -> None:
    number = api.ask("/api/memberships", key, text="bob").body["items"][0]["id"]
    api.ask(f"/api/memberships/{number}/patient", key)
    api.ask("/api/payments", key)
    api.ask("/api/invoices", key)
    assert api.ask("/api/memberships/reads", key).body["code"] == "ROLE_TOO_LOW"
    admin = made_key(ops, role="admin")
    notes = api.ask("/api/memberships/reads", admin).body["items"]
    assert [(note["kind"], note["row_count"]) for note in notes] == [
        ("invoices", 3),
        ("payments", 6),
        ("patient", 1),
        ("memberships", 1),
    ]
    assert {note["reader"] for note in notes} == {f"key {key[3:11]}"}
    assert notes[3]["filters"]["text"] is True
    of_bob = api.ask("/api/memberships/reads", admin, membership_id=number).body["items"]
    assert [note["kind"] for note in of_bob] == ["patient", "memberships"]
    first = api.ask("/api/memberships/reads", admin, limit=3).body
    rest = api.ask("/api/memberships/reads", admin, limit=3, cursor=first["next_cursor"]).body
    assert [note["id"] for note in first["items"] + rest["items"]] == [note["id"] for note in notes]


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M9")
def test_a_key_without_health_data_sees_money_and_no_treatment(api: Api, key: str, ops: Database) -> None:
    bookkeeping = made_key(ops, role="admin", may_read_health_data=False)
    of_memberships = ("", "/tabs", "/export", "/1", "/1/patient", "/reads")
    of_products = ("", "/review", "/export", "/categories", "/reclassifications", "/1")
    paths = [f"memberships{path}" for path in of_memberships] + [f"products{path}" for path in of_products]
    for path in (*paths, "audit/memberships/1"):
        answer = api.ask(f"/api/{path}", bookkeeping)
        assert (answer.status, answer.body["code"]) == (403, "HEALTH_DATA_NOT_ALLOWED"), path
    seen = api.ask("/api/payments", key).body["items"]
    hidden = api.ask("/api/payments", bookkeeping).body["items"]
    assert {each["product_category"] for each in seen} == {"TRT", "Weight Loss", "Uncategorized"}
    assert {(each["product_category"], each["product_name"]) for each in hidden} == {(None, None)}
    assert [each["amount"] for each in hidden] == [each["amount"] for each in seen]
    one = api.ask(f"/api/payments/{seen[0]['id']}", bookkeeping)
    assert "TRT" not in one.text
    assert "Weight Loss" not in one.text
    assert {str(each["lines"]) for each in api.ask("/api/invoices", bookkeeping).body["items"]} == {"None"}


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M2")
def test_a_new_product_is_reviewed_and_past_payments_follow(
    api: Api, key: str, developer: str, gatehouse_database: GatehouseDatabase
) -> None:
    (unknown,) = api.ask("/api/products/review", key).body["items"]
    assert (unknown["product_name"], unknown["category"], unknown["suggested_category"]) == (
        "Tadalafil 5mg",
        "Uncategorized",
        "ED",
    )
    path = f"/api/products/{unknown['id']}"
    tag = api.ask(path, key).headers["etag"]
    assert send(api, path, key, {"category": "ED"}, if_match=tag).status == 403
    assert send(api, path, developer, {"category": "ED"}).status == 428
    assert send(api, path, developer, {"category": "All"}, if_match=tag).status == 422
    done = send(api, path, developer, {"category": "ED"}, if_match=tag)
    assert (done.status, done.body["category"], done.body["reviewed_by"]) == (200, "ED", f"key {developer[3:11]}")
    assert done.body["reclassification"]["payments_planned"] == 1
    assert send(api, path, developer, {"category": "ED"}, if_match=tag).status == 412
    ((job, topic),) = api.rung[-1:]
    assert topic == "reclassify"
    rows = gatehouse_database.sql(f"select arguments::text from jobs where id = {job}")
    worker = gatehouse_database.connect("worker")
    reclassify(Job(job, topic, "x", "default", json.loads(rows[0][0]), 1, uuid4()), worker)
    worker.close()
    progress = api.ask(f"/api/products/reclassifications/{done.body['reclassification']['id']}", key).body
    assert (progress["payments_changed"], progress["memberships_changed"]) == (1, 1)
    assert progress["finished_at"]
    assert [each["id"] for each in api.ask("/api/products/reclassifications", key).body] == [progress["id"]]
    assert names(api.ask("/api/memberships", key, tab="ED")) == [("C4", "ED")]
    assert api.ask("/api/products/review", key).body["items"] == []
    assert [each["category"] for each in api.ask("/api/products/categories", key).body] == ["ED", "TRT", "Weight Loss"]


@pytest.mark.usefixtures("clinic")
@pytest.mark.req("M2")
def test_products_go_out_and_come_in_as_a_file_once(api: Api, key: str, developer: str) -> None:
    out = api.ask("/api/products/export", key)
    assert (out.status, out.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    filled = out.text.replace("Tadalafil 5mg,Uncategorized", "Tadalafil 5mg,ED") + "New one,Labs\r\n"
    path = "/api/products/import"
    answers = [send(api, path, developer, filled, "POST", "text/csv", idempotency_key="once") for _ in range(2)]
    assert [each.status for each in answers] == [200, 200], answers[0].text
    assert answers[0].body == answers[1].body
    done = answers[0].body
    assert {name: done[name] for name in ("added", "changed", "reviewed", "same")} == {
        "added": 1,
        "changed": 1,
        "reviewed": 0,
        "same": 2,
    }
    again = send(api, path, developer, filled, "POST", "text/csv")
    assert (again.body["same"], again.body["reclassifications"]) == (4, [])
    wrong = send(api, path, developer, "product_name,category\nA,All\n", "POST", "text/csv")
    assert (wrong.status, "line 2" in wrong.text) == (422, True)
    one = send(api, "/api/products", developer, {"product_name": "BPC", "category": "Peptides"}, "POST")
    assert (one.status, one.body["added"]) == (200, 1)
    begins = api.ask("/api/products", key, begins="bp", limit=1).body
    assert [each["product_name"] for each in begins["items"]] == ["BPC"]
    first = api.ask("/api/products", key, limit=3).body
    rest = api.ask("/api/products", key, limit=3, cursor=first["next_cursor"]).body
    assert len({each["id"] for each in first["items"] + rest["items"]}) == 5
    assert api.ask("/api/products", key, category="Labs").body["items"][0]["product_name"] == "New one"

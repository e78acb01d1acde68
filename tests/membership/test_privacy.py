"""Health data is exported, erased, and hashed in the audit; each read of it is noted, and the notes are kept."""

import json

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import QueryError
from gatehouse.models import memberships
from gatehouse.models.privacy import erase_customer, export_customer
from gatehouse.sealing import Keyring
from tests.membership.clinic import invoiced, known, paid, person, tell
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("M9")

EMAIL = "ada@example.com"
CHANGES = "select changes::text from payment_audit_log where table_name <> 'product_categories'"


@pytest.fixture
def member(intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase) -> int:
    """Ada, who is a member, and of whom people have noted something; returns her membership."""
    known(gatehouse_database, {"Testosterone": "TRT"})
    tell(
        intake,
        keyring,
        person("C1", "Ada Byron", email=EMAIL),
        paid("p1", "C1", 0, invoice_ref="i1", email=EMAIL),
        invoiced("i1", "Testosterone", customer_name="Ada Byron"),
        paid("p2", "C2", 0, invoice_ref="i2"),
        invoiced("i2", "Testosterone"),
    )
    number = memberships.list_memberships(api, "default", memberships.Wanted(text="ada"), reader="r").rows[0].id
    memberships.change_membership(
        api, "default", number, {"status": "paused", "referral_source": "her friend"}, reason="Ada is ill", actor="k"
    )
    return number


@pytest.mark.req("P14")
def test_a_person_is_shown_and_erased_with_their_memberships(
    member: int, api: Database, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    (exported,) = export_customer(ops, "default", EMAIL)["memberships"]
    assert (exported["id"], exported["name"], exported["category"]) == (member, "Ada Byron", "TRT")
    erase_customer(ops, "default", EMAIL)
    ours = gatehouse_database.sql("select row_to_json(m)::text from memberships m")
    for word in ("Ada", "ada", "friend", "is ill"):
        assert all(word not in row for (row,) in ours), word
    assert len(ours) == 2
    assert memberships.list_memberships(api, "default", memberships.Wanted(text="ada"), reader="r").rows == []


def test_the_audit_holds_neither_names_nor_products(
    member: int, api: Database, gatehouse_database: GatehouseDatabase
) -> None:
    log = json.dumps(gatehouse_database.sql(CHANGES))
    assert "TRT" in log
    for word in ("Ada", "ada@", "Testosterone", "friend", "is ill"):
        assert word not in log, word
    one = memberships.find_membership(api, "default", member, reader="r")
    assert f"{one} {one!r}" == f"<Membership {member}> <Membership {member}>"


def test_every_read_is_noted_and_nobody_can_change_the_note(
    member: int, api: Database, worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql("delete from health_data_reads")
    asked = memberships.Wanted(text="ada", status=["paused"])
    memberships.list_memberships(api, "default", asked, reader="key 1", most=1)
    memberships.find_patient(api, "default", member, reader="key 2")
    memberships.list_memberships(api, "default", reader="key 3", most=1, kind="export", sort="started")
    notes = memberships.list_reads(api, "default")
    assert [(note.reader, note.kind, note.filters, note.row_count) for note in notes] == [
        ("key 3", "export", {}, 1),
        ("key 2", "patient", {}, 1),
        ("key 1", "memberships", {"text": True, "status": ["paused"]}, 1),
    ]
    assert [note.reader for note in memberships.list_reads(api, "default", membership_id=member)][-2:] == [
        "key 2",
        "key 1",
    ]
    for change in ("update health_data_reads set reader = 'x'", "delete from health_data_reads"):
        with pytest.raises(QueryError, match="42501"):
            api.query(change)
    assert memberships.drop_old_reads(worker, days=1) == 0
    gatehouse_database.sql("update health_data_reads set at = now() - interval '3 days' where reader = 'key 1'")
    assert memberships.drop_old_reads(worker, days=2) == 1
    assert len(memberships.list_reads(api, "default")) == 2

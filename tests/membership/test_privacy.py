"""Health data is exported, erased, and hashed in the audit; each read of it is noted, and the notes are kept."""

import json

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, QueryError
from gatehouse.facts import Event
from gatehouse.intake.record import Delivery, record
from gatehouse.models import memberships
from gatehouse.models.privacy import (
    CustomerName,
    erase_customer,
    erase_named_customer,
    erase_payloads_naming,
    export_customer,
    export_named_customer,
    named_customer,
    payloads_naming,
)
from gatehouse.sealing import Keyring
from tests.membership.clinic import ARRIVED, CLINIC, invoiced, known, paid, person, tell
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


@pytest.fixture
def nameless(intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase) -> CustomerName:
    """Ben, of whom no address is known: his payments say his code, and his invoices another number; and Cora."""
    known(gatehouse_database, {"Testosterone": "TRT"})
    tell(
        intake,
        keyring,
        person("C-7", "Ben Nelson", phone="555-7070"),
        paid("p7", "C-7", 0, invoice_ref="i7"),
        invoiced("i7", "Testosterone", customer_ref="70707", customer_name="Ben Nelson"),
        person("70707", "Ben Nelson"),
        person("C-8", "Cora Nelson"),
        paid("p8", "C-8", 0, invoice_ref="i8"),
        invoiced("i8", "Testosterone", customer_ref="80808", customer_name="Cora Nelson"),
    )
    number = memberships.list_memberships(api, "default", memberships.Wanted(text="ben"), reader="r").rows[0].id
    changes = {"status": "paused", "referral_source": "his neighbour"}
    memberships.change_membership(api, "default", number, changes, reason="Ben is away", actor="k")
    return named_customer(api, "default", "C-7")


def everything(database: GatehouseDatabase) -> str:
    """Return what stands in the tables that tell of patients."""
    tables = ("facts", "payments", "invoices", "gateway_customers", "memberships")
    return "".join(row for each in tables for (row,) in database.sql(f"select to_jsonb(t)::text from {each} t"))


@pytest.mark.req("P14", "M9")
@pytest.mark.parametrize("ref", ["C-7", "70707"], ids=["as payments say", "as invoices say"])
def test_a_patient_without_an_address_is_shown_and_erased_by_their_code(
    ref: str,
    nameless: CustomerName,
    intake: Database,
    api: Database,
    ops: Database,
    keyring: Keyring,
    gatehouse_database: GatehouseDatabase,
) -> None:
    name = named_customer(ops, "default", ref)
    assert name == nameless._replace(ref=ref)
    told = export_named_customer(ops, "default", name, keyring)
    assert [each["name"] for each in told["memberships"]] == ["Ben Nelson"]
    assert [each["customer_name"] for each in told["invoices"]] == ["Ben Nelson"]
    assert {each["name"] for each in told["gateway_customers"]} == {"Ben Nelson"}
    assert len(told["payments"]) == 1
    assert "Cora" not in json.dumps(told)
    assert [each["raw"] for each in told["webhook_events"]] == ["{}"] * 4

    tried = erase_named_customer(ops, "default", name, dry_run=True)
    assert tried["payments"] == 1
    assert len(export_named_customer(ops, "default", name)["memberships"]) == 1
    assert erase_named_customer(ops, "default", name) == tried
    kept = everything(gatehouse_database)
    for word in ("Ben", "555-7070", "neighbour", "is away"):
        assert word not in kept, word
    assert "Cora Nelson" in kept
    assert memberships.list_memberships(api, "default", memberships.Wanted(text="ben"), reader="r").rows == []
    assert gatehouse_database.sql("select count(*) from webhook_payloads") == [[3]], "of Cora"

    later = person("C-7", "Ben Nelson", email="ben@example.com")
    tell(intake, keyring, later, paid("p9", "C-7", 30, invoice_ref="i9", email="ben@example.com"))
    tell(intake, keyring, invoiced("i9", "Testosterone", on=30, customer_ref="70707", customer_name="Ben Nelson"))
    kept = everything(gatehouse_database)
    assert "Ben" not in kept
    assert "ben@" not in kept


@pytest.mark.req("P14")
@pytest.mark.usefixtures("member")
def test_whoever_has_an_address_too_is_erased_by_it_as_well(
    ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    erase_named_customer(ops, "default", named_customer(ops, "default", "C1"))
    kept = everything(gatehouse_database)
    for word in ("Ada", "ada@", "friend"):
        assert word not in kept, word
    with pytest.raises(NotFound):
        export_customer(ops, "default", EMAIL)


@pytest.mark.req("P14", "M7")
def test_a_code_is_looked_for_at_ones_own_merchant_and_only_ops_erase(
    nameless: CustomerName, api: Database, ops: Database
) -> None:
    for merchant, ref in (("default", "C-9"), ("other", "C-7")):
        with pytest.raises(NotFound, match="no gateway has"):
            named_customer(ops, merchant, ref)
    with pytest.raises(NotFound, match="no gateway has"):
        named_customer(ops, "default", "C-7", account="other")
    with pytest.raises(QueryError, match="42501"):
        erase_named_customer(api, "default", nameless)
    other = erase_named_customer(ops, "other", nameless)
    assert not any(other.values())
    assert export_named_customer(ops, "default", nameless)["payments"]


@pytest.mark.req("P14")
@pytest.mark.parametrize(
    ("raw", "is_named"),
    [
        ('{"customerNumber": "C-7", "id": 1}', True),
        ('{"customer":{"name":"x","id":"C-7"}}', True),
        ('{"customerNumber": "C-70"}', False),
        ('{"id": "C-7"}', False),
        ('{"customerNumber": "c-7"}', False),
    ],
)
def test_events_of_which_nothing_was_made_are_found_by_the_code(
    raw: str, is_named: bool, intake: Database, ops: Database, keyring: Keyring
) -> None:
    event = Event("evt_x", "nobody.knows", None, False, ignored_because="unknown")
    record(intake, Delivery(CLINIC, event, raw.encode(), ARRIVED), keyring)
    name = CustomerName(CLINIC.gateway, CLINIC.account, "C-7")
    assert erase_payloads_naming(ops, "default", name, keyring) == int(is_named)
    assert list(payloads_naming(ops, "default", name, keyring)) == []

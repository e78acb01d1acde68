"""`gatehouse payments explain`: the whole story of a payment, by any of its names."""

import json
import re
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    Need,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.intake.record import Delivery, fetched_facts, record
from gatehouse.models.story import PERSONAL, story_of
from gatehouse.sealing import Keyring
from tests.cli.conftest import Command
from tests.intake.linked_stories import PAID
from tests.intake.stories import ACCOUNT, ARRIVED, EPOCH
from tests.support.gatehouse_database import GatehouseDatabase

CHARGE, PI = ObjectName("charge", "ch_1"), ObjectName("payment_intent", "pi_1")
FULL = PAID._replace(objects=(CHARGE,), reference="A-1", email="planted@example.com", metadata={"order": "planted 7"})


def tell(database: Database, keyring: Keyring, event: str, second: int, *facts: Fact, **more: Any) -> int | None:
    """Record one event and return its row."""
    at = EPOCH.replace(second=second)
    reference = more.pop("reference", facts[0].objects[0].id if facts else None)
    said = Event(event, f"type.of.{event}", at, livemode=True, facts=facts, reference=reference, **more)
    return record(database, Delivery(ACCOUNT, said, b"{}", ARRIVED, request_id=f"req-{event}"), keyring).event_row


@pytest.fixture
def payment(intake: Database, keyring: Keyring) -> int:
    """Return the number of a payment to which everything has happened."""
    tell(intake, keyring, "evt_customer", 1, CustomerFact(objects=(ObjectName("customer", "cus_1"),), app="elevenone"))
    tell(intake, keyring, "evt_intent", 2, PaymentFact(objects=(PI,), status=PaymentStatus.PENDING, method="card"))
    tell(
        intake,
        keyring,
        "evt_paid",
        4,
        FULL._replace(customer_ref="cus_1", subscription_ref="sub_1", invoice_ref="in_1", method="card"),
        needs=(Need("fetch_fee", "stripe/default/ch_1", {"id": "ch_1"}),),
    )
    tell(intake, keyring, "evt_late", 3, PaymentFact(objects=(PI,), status=PaymentStatus.FAILED, method="bank"))
    tell(intake, keyring, "evt_link", 5, PaymentFact(objects=(PI, CHARGE)))
    tell(
        intake,
        keyring,
        "evt_sub",
        6,
        SubscriptionFact(
            objects=(ObjectName("subscription", "sub_1"),), status=SubscriptionStatus.ACTIVE, customer_ref="cus_1"
        ),
    )
    tell(intake, keyring, "evt_in", 6, InvoiceFact(objects=(ObjectName("invoice", "in_1"),), status=InvoiceStatus.PAID))
    tell(
        intake,
        keyring,
        "evt_refund",
        7,
        RefundFact(
            objects=(ObjectName("refund", "re_1"),),
            payment=(CHARGE,),
            status=RefundStatus.COMPLETED,
            amount_minor=300,
            currency="EUR",
            reason="planted reason",
        ),
    )
    tell(
        intake,
        keyring,
        "evt_dispute",
        8,
        DisputeFact(
            objects=(ObjectName("dispute", "dp_1"),),
            payment=(CHARGE,),
            status=DisputeStatus.NEEDS_RESPONSE,
            reason="fraudulent",
        ),
    )
    tell(intake, keyring, "evt_ignored", 9, reference="ch_1", ignored_because="not handled: charge.lucky")
    tell(intake, keyring, "evt_broken", 10, reference="re_1", refused_because="amount is no number")
    tell(intake, keyring, "evt_other", 10, reference="ch_2", ignored_because="of another")
    intake.flush(
        fetched_facts(
            ACCOUNT,
            (PaymentFact(objects=(CHARGE,), fee_minor=44, fee_currency="EUR"),),
            said_by="job/1",
            occurred_at=ARRIVED,
            job_id=1,
            livemode=True,
        )
    )
    found = intake_rows(intake, "select payment_id from payment_objects where object_id = 'ch_1'")
    return int(found[0]["payment_id"])


def intake_rows(database: Database, query: str) -> list[dict[str, Any]]:
    """Return rows as the merchant's own role sees them."""
    with database.transaction(merchant="default") as transaction:
        return transaction.query(query)


@pytest.mark.req("O5", "G16")
def test_the_story_is_told_in_the_order_of_the_gateways_clock(payment: int, gatehouse: Command) -> None:
    told = gatehouse("payments", "explain", str(payment))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    assert lines[0].split() == ["payment", str(payment), "stripe/default", "partially_refunded"]
    text = told.stdout
    for part in (
        "names      charge ch_1, payment_intent pi_1",
        "amount     10.00 EUR, received 10.00 EUR, refunded 3.00 EUR, fee 0.44 EUR",
        "app        elevenone: its subscription says so",
        "subscription sub_1  active, app elevenone by customer",
        "invoice    in_1  paid",
        "refund     re_1  completed  3.00 EUR",
        "dispute    dp_1  needs_response",
        "type.of.evt_ignored  evt_ignored  ignored: not handled: charge.lucky",
        "type.of.evt_broken  evt_broken  failed: amount is no number",
        "overruled: status failed (partially_refunded stands, by evt_paid)",
        "overruled: method bank (card stands, by evt_paid)",
        "fetch_fee: waiting, attempts 0",
        "job/1 of payment",
        "(the highest step that anything says: completed, which shows as partially_refunded, by evt_paid)",
        "(the completed refunds: 300)",
        "request req-evt_paid",
    ):
        assert part in text, part
    assert re.search(r"joined +\d+: what was recorded as these is this payment", text)
    events = [found[1] for line in lines if (found := re.match(r"  \d{4}-\S+ \S+  type\.of\.(\S+)", line))]
    assert events == [
        "evt_intent",
        "evt_late",
        "evt_paid",
        "evt_link",
        "evt_sub",  # it says nothing of the payment, and gave it its app
        "evt_refund",
        "evt_dispute",
        "evt_ignored",
        "evt_broken",
    ]
    assert "evt_other" not in text


@pytest.mark.req("O5", "P8")
def test_what_a_person_is_known_by_shows_only_when_asked_for(payment: int, gatehouse: Command) -> None:
    for arguments in ((), ("--json",)):
        told = gatehouse("payments", "explain", str(payment), *arguments).stdout
        assert "planted" not in told
        assert "cus_1" not in told
        assert "(personal)" in told
        assert "planted@example.com" in gatehouse("payments", "explain", str(payment), "--personal", *arguments).stdout


@pytest.mark.req("O5")
@pytest.mark.parametrize("name", ["ch_1", "pi_1", "re_1", "dp_1", "A-1"])
def test_it_is_found_by_any_of_its_names(name: str, payment: int, gatehouse: Command) -> None:
    told = json.loads(gatehouse("payments", "explain", name, "--json").stdout)
    assert told["payment"]["id"] == payment
    assert told["events"][0]["event_id"] == "evt_intent"
    by_column = {held["column"]: held for held in told["columns"]}
    assert by_column["method"] == {
        "column": "method",
        "value": "card",
        "rule": "the newest that says it",
        "said_by": "evt_paid",
        "overruled": [{"said_by": "evt_late", "value": "bank"}],
    }


@pytest.mark.req("O5")
def test_the_number_of_one_that_was_joined_away_leads_to_its_home(payment: int, gatehouse: Command) -> None:
    joined = json.loads(gatehouse("payments", "explain", "ch_1", "--json").stdout)["joined"]
    assert json.loads(gatehouse("payments", "explain", str(joined[0]), "--json").stdout)["payment"]["id"] == payment


@pytest.mark.req("O5")
def test_no_payment_and_several_are_clear_words(
    payment: int, intake: Database, keyring: Keyring, gatehouse: Command
) -> None:
    none = gatehouse("payments", "explain", "ch_unknown")
    assert (none.returncode, none.stderr) == (1, "error: no payment is named ch_unknown\n")
    tell(intake, keyring, "evt_twin", 20, FULL._replace(objects=(ObjectName("charge", "ch_2"),)))
    several = gatehouse("payments", "explain", "A-1")
    assert several.returncode == 1
    assert "error: several payments are named A-1; give the number of one:" in several.stderr
    assert f"{payment}  stripe/default  partially_refunded" in several.stderr


@pytest.mark.req("O5", "D4")
def test_the_story_takes_one_round_trip(payment: int, ops: Database) -> None:
    story_of(ops, payment)
    before = ops.statistics.flushes
    story_of(ops, payment)
    assert ops.statistics.flushes == before + 1


@pytest.mark.req("P8")
def test_what_is_masked_is_what_the_audit_hashes(gatehouse_database: GatehouseDatabase) -> None:
    found = gatehouse_database.sql(
        "select tgrelid::regclass::text, encode(tgargs, 'escape') from pg_trigger"
        " where tgfoid = 'write_audit'::regproc and tgname like '%_audit_insert'"
        " and tgrelid::regclass::text not in"
        " ('customers', 'orders', 'order_items', 'memberships', 'product_categories')"
    )
    hashed = {
        table.removeprefix("gateway_").rstrip("s"): set(arguments.split("\\000")) - {""} for table, arguments in found
    }
    assert {kind: set(columns) for kind, columns in PERSONAL.items()} == hashed

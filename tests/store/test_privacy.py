"""A person can be shown all that is known of them, and erased everywhere; and nobody sees another merchant's people."""

import json
import threading
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.errors import NotFound, QueryError
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    Need,
    ObjectName,
    PayoutFact,
    PayoutStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.http_api.callers import Caller
from gatehouse.http_api.repetition import Answer, answer_once
from gatehouse.intake.record import record
from gatehouse.models import api_keys
from gatehouse.models.customers import NewCustomer, find_customer_by_email, save_customer
from gatehouse.models.orders import NewItem, Order, create_order, find_order, list_orders
from gatehouse.models.payments import find_payment_by_object
from gatehouse.models.privacy import (
    customers_past_retention,
    erase_customer,
    erase_past_retention,
    erase_payloads_naming,
    export_customer,
)
from gatehouse.models.products import put_products
from gatehouse.models.refunds import RefundRequest, request_refund
from gatehouse.sealing import Keyring
from tests.intake.stories import ACCOUNT
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, paid, refunded, told
from tests.support.gatehouse_database import GatehouseDatabase

EMAIL = "John.Doe@example.com"
PERSONAL = ("john.doe@example.com", "johnny", "555-0123", "jane@example.com", "janey")
ATTENDED = (PASSES[0]._replace(attendee_name="Johnny D", attendee_email="JOHN.DOE@example.com"),)
CUSTOMER = NewCustomer(EMAIL, "Johnny", "Doe", "+1-555-0123")
FOREVER = datetime.now(UTC) + timedelta(days=1)


def tell_everything(intake: Database, keyring: Keyring, account: GatewayAccount = ACCOUNT, mark: str = "") -> None:
    """Tell one fact of each kind about John, and what hangs on it."""
    where: dict[str, Any] = {"account": account}
    payment = paid(f"{mark}pi", email=EMAIL, customer_ref=f"{mark}cus", reference=f"{mark}web", user_id=EMAIL)
    payment = payment._replace(metadata={"order_id": f"{mark}web", "note": "for Johnny"}, plan="gold")
    need = Need("fetch_fee", f"{mark}fee", {"gateway": account.gateway, "account": "default", "email": EMAIL})
    customer = CustomerFact((ObjectName("customer", f"{mark}cus"),), email=EMAIL, name="Johnny Doe", phone="555-0123")
    subscription = SubscriptionFact(
        (ObjectName("subscription", f"{mark}sub"),),
        status=SubscriptionStatus.ACTIVE,
        email=EMAIL,
        customer_ref=f"{mark}cus",
        metadata={"who": "Johnny"},
    )
    invoice = InvoiceFact(
        (ObjectName("invoice", f"{mark}in"),), status=InvoiceStatus.PAID, email=EMAIL, description="for Johnny"
    )
    payout = PayoutFact(
        (ObjectName("payout", f"{mark}po"),),
        status=PayoutStatus.SETTLED,
        amount_minor=1,
        currency="USD",
        destination=EMAIL,
    )
    dispute = DisputeFact(
        (ObjectName("dispute", f"{mark}dp"),),
        payment=(ObjectName("payment_intent", f"{mark}pi"),),
        status=DisputeStatus.NEEDS_RESPONSE,
    )
    refund = refunded(f"{mark}re", f"{mark}pi", 5)._replace(reason="Johnny is ill")
    record(intake, told(f"{mark}evt_paid", payment, second=1, needs=(need,), **where), keyring)
    others: tuple[Fact, ...] = (customer, subscription, invoice, payout, dispute, refund)
    for number, fact in enumerate(others):
        record(intake, told(f"{mark}evt_{number}", fact, second=2 + number, **where), keyring)


def everything(database: GatehouseDatabase) -> str:
    """Return every row of every table as text, in lower case."""
    tables = database.sql(
        "select c.oid::regclass::text from pg_class c"
        " where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace"
    )
    found = ""
    for (table,) in tables:
        found += "".join(f"{table}: {row[0]}\n" for row in database.sql(f"select t::text from {table} t"))
    return found.lower()


# Tables of no merchant; and those in which a webhook finds out whose it is.
NOBODYS = {
    *("api_usage", "audit_hash_key", "gatehouse_migrations", "rejected_requests"),
    *("backup_state", "total_checks", "tenant_endpoints", "tenant_windows"),
}
KNOWN_AT_THE_DOOR = {"gateway_accounts", "merchants"}


def lines_about_john(text: str) -> list[str]:
    return [line for line in text.splitlines() if any(word in line for word in PERSONAL)]


# What holds nothing that is about a person: no table else may be empty of John before he is erased.
NOTHING_PERSONAL = {
    "admin_changes": "who changed which merchant, account, key or app; an address only as a keyed hash",
    "api_keys": "who uses the API",
    "api_usage": "how often",
    "apps": "who is told",
    "audit_hash_key": "a key",
    "disputes": "sums and days",
    "erased_customers": "keyed hashes of who was erased",
    "gateway_accounts": "whose accounts they are",
    "gatehouse_migrations": "the ledger of the schema",
    "item_types": "what is sold",
    "merchants": "who sells",
    "order_counters": "numbers of days",
    "payment_audit_log": "keyed hashes of what was personal",
    "payment_objects": "the gateways' names of payments",
    "subject_names": "the gateways' names of what is no payment",
    "webhook_payloads": "sealed; deleted as a whole",
    "backup_changes": "which payments the backup has yet to be told of",
    "backup_state": "whether there is one",
    "category_rules": "words of products",
    "completeness": "how many payments of a day",
    "gateway_answers": "sealed; deleted as a whole, which tests/enrichment shows",
    "gateway_troubles": "which account has none to ask",
    "health_data_reads": "who read which rows",
    "imports": "which file, how far",
    "membership_counts": "how many",
    "memberships": "John has none here; tests/membership erases those who have",
    "platform_tenants": "John pays for none here; tests/tenants erases who does",
    "product_categories": "what is sold",
    "reclassifications": "how many payments moved",
    "tenant_audit_log": "who changed which tenant's database, by the id of an account",
    "tenant_branches": "databases",
    "tenant_endpoints": "whether one is open",
    "tenant_permissions": "who may ask a tenant's database, by the id of an account",
    "tenant_usage_slots": "how much",
    "tenant_windows": "how often",
    "total_checks": "what recounts found",
    "total_entries": "sums",
    "total_marks": "what is to be counted",
    "totals": "sums",
}


def plant_john_where_others_write(
    database: GatehouseDatabase, api: Database, ops: Database, order: Order, request: RefundRequest
) -> None:
    """Put John into every table that no event and no order writes: kept answers, logs, redrives, refused requests."""
    key = api_keys.new_key()
    api_keys.add_key(ops, key, merchant=DEFAULT, role="developer", name="a test")
    caller = Caller(key[3:11], DEFAULT, "developer")
    answer_once(
        api, caller, f"for {EMAIL}", b"a", lambda _: Answer(201, {"note": f"Johnny at {EMAIL}", "order": order.number})
    )
    event = database.sql("select id from webhook_events where event_id = 'evt_paid'")[0][0]
    database.sql(
        "insert into webhook_forward_logs (app, target_url, ok, merchant, error_message, reference, webhook_event_id)"
        f" values ('nexai', 'https://app.example.com/{EMAIL}', false, 'default', 'no Johnny here', '{EMAIL}', {event});"
        "insert into redrives (merchant, actor, filters, planned)"
        f""" values ('default', 'jane', '{{"error": "{EMAIL}"}}', 1);"""
        f"update webhook_events set reason = 'refused: {EMAIL}', reference = '{EMAIL}' where id = {event};"
        f"update refund_requests set failure = 'no money for Johnny', idempotency_key = '{EMAIL}'"
        f" where id = '{request.id}';"
        f"update orders set idempotency_key = 'of {EMAIL}' where id = {order.id};"
        f"update jobs set last_error = 'no address {EMAIL}' where webhook_event_id = {event};"
        "insert into rejected_requests (received_at, gateway, account, code, reason, headers, body_bytes, source_ip,"
        " request_id) values (now(), 'stripe', 'default', 'X', 'from Johnny', '{"
        f'"from": "{EMAIL}"'
        "}', 1, '::1', 'r')"
    )


def tables_of(database: GatehouseDatabase) -> list[str]:
    """Return all tables but the months of a partitioned one."""
    return [
        row[0]
        for row in database.sql(
            "select c.relname::text from pg_class c where relkind in ('r', 'p') and not relispartition"
            " and relnamespace = 'public'::regnamespace order by 1"
        )
    ]


@pytest.mark.req("P14")
def test_an_export_has_everything_and_an_erasure_leaves_nothing(
    intake: Database, api: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    order = create_order(
        api, DEFAULT, FESTIVAL._replace(reference="web", metadata={"note": "Johnny"}), CUSTOMER, ATTENDED
    ).order
    tell_everything(intake, keyring)
    request = request_refund(
        api, DEFAULT, find_payment_by_object(api, DEFAULT, "pi").id, amount_minor=1, reason="Johnny again"
    )
    plant_john_where_others_write(gatehouse_database, api, ops, order, request)
    second = create_order(
        api, DEFAULT, FESTIVAL, CUSTOMER, (NewItem("vip", 1),), idempotency_key=f"of {EMAIL.upper()}"
    ).order
    assert second.customer_id == order.customer_id
    for other in ("bigjohn.doe@example.com", "john.doe@example.com.au"):  # no words of John's, and they stay
        create_order(api, DEFAULT, FESTIVAL, NewCustomer(other, "Big"), (NewItem("vip", 1),))
        gatehouse_database.sql(
            "insert into redrives (merchant, actor, filters, planned)"
            f""" values ('default', 'jane', '{{"error": "{other}"}}', 1);"""
        )
    before = everything(gatehouse_database)
    silent = {
        table
        for table in tables_of(gatehouse_database)
        if not any(line.startswith(f"{table}: ") for line in lines_about_john(before))
    }
    assert silent == set(NOTHING_PERSONAL), "a new table holds John here before he is erased, or is told to hold nobody"

    known = export_customer(ops, DEFAULT, EMAIL.upper(), keyring)
    assert {name: len(part) for name, part in known.items() if name not in ("customer", "told")} == {
        "orders": 2,
        "attended_items": 1,
        "gateway_customers": 1,
        "payments": 1,
        "refunds": 2,
        "disputes": 1,
        "subscriptions": 1,
        "invoices": 1,
        "payouts": 1,
        "memberships": 0,  # nothing here is paid by contract; tests/membership has those who are
        "gateway_answers": 0,  # nothing here is asked for
        "api_answers": 1,
        "app_transactions": 2,
        "events_of_no_facts": 0,
        "jobs": 1,
        "redrives": 1,
        "refund_requests": 1,
        "webhook_events": 7,
        "webhook_forward_logs": 1,
    }
    assert known["customer"]["first_name"] == "Johnny"
    assert {each["raw"] for each in known["webhook_events"]} == {'{"told": true}'}
    assert json.loads(json.dumps(known)) == known

    would = erase_customer(ops, DEFAULT, EMAIL, dry_run=True)
    assert find_customer_by_email(api, DEFAULT, EMAIL).first_name == "Johnny"
    audit_rows = gatehouse_database.sql("select count(*) from payment_audit_log")[0][0]
    money = "select id, status, amount_minor, received_minor, refunded_minor, order_id from payments order by id"
    money_before = gatehouse_database.sql(money)
    assert erase_customer(ops, DEFAULT, EMAIL, actor="privacy officer") == would
    assert would["webhook_payloads"] == 7
    assert would["customers"] == would["order_items"] == would["jobs"] == 1
    assert would["orders"] == 2
    assert would["webhook_forward_logs"] == would["redrives"] == would["refund_requests"] == 1
    left = everything(gatehouse_database)
    assert [line for line in lines_about_john(left) if "bigjohn" not in line and "example.com.au" not in line] == []
    for other in ("bigjohn.doe@example.com", "john.doe@example.com.au"):
        assert left.count(other) == before.count(other), "another person's address is as it was"
    assert gatehouse_database.sql(money) == money_before
    assert gatehouse_database.sql("select count(*) from payment_audit_log")[0][0] > audit_rows
    assert find_order(api, DEFAULT, order.id).status == "partially_refunded"
    assert gatehouse_database.sql("select count(*) from webhook_payloads")[0][0] == 0
    assert erase_customer(ops, DEFAULT, EMAIL)["customers"] == 0
    with pytest.raises(NotFound):
        export_customer(ops, DEFAULT, EMAIL)


@pytest.mark.req("P14")
def test_what_is_told_again_brings_nothing_back(
    intake: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    tell_everything(intake, keyring)
    erase_customer(ops, DEFAULT, EMAIL)
    tell_everything(intake, keyring, mark="again-")
    late = CustomerFact((ObjectName("customer", "cus"),), name="Johnny Doe", metadata={"who": "Johnny"})
    record(intake, told("evt_without_address", late, second=99), keyring)
    gatehouse_database.sql("delete from jobs")  # the job of an event that came later holds what its gateway needs
    left = everything(gatehouse_database)
    assert lines_about_john(left) == []


@pytest.mark.req("P14")
def test_events_of_which_nothing_was_made_are_looked_into(
    intake: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    bodies = {
        "evt_name": b'{"buyer": {"mail": "JOHN.DOE@example.com"}}',
        "evt_form": b"email=john.doe%40example.com&x=1",
        "evt_big": b'{"mail": "bigjohn.doe@example.com"}',
        "evt_au": b'{"mail": "john.doe@example.com.au"}',
        "evt_none": b"{}",
    }
    for event, body in bodies.items():
        ignored = told(event)
        record(intake, ignored._replace(event=ignored.event._replace(ignored_because="unknown"), body=body), keyring)
    mine = ["evt_name", "evt_form"]
    known = export_customer(ops, DEFAULT, EMAIL, keyring)
    assert [each["event_id"] for each in known["events_of_no_facts"]] == mine
    assert json.loads(json.dumps(known)) == known
    assert erase_payloads_naming(ops, DEFAULT, EMAIL, keyring, dry_run=True) == 2
    assert erase_payloads_naming(ops, "other", EMAIL, keyring) == 0
    kept = "select e.event_id from webhook_events e join webhook_payloads p on p.webhook_event_id = e.id order by e.id"
    assert len(gatehouse_database.sql(kept)) == 5
    assert erase_payloads_naming(ops, DEFAULT, EMAIL, keyring) == 2
    assert [each[0] for each in gatehouse_database.sql(kept)] == ["evt_big", "evt_au", "evt_none"]
    with pytest.raises(NotFound):
        export_customer(ops, DEFAULT, EMAIL, keyring)


@pytest.mark.req("P14")
def test_somebody_who_comes_back_is_a_customer_again_for_what_happens_then(
    intake: Database, api: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    record(intake, told("evt_1", paid("pi_1", email=EMAIL)), keyring)
    erase_customer(ops, DEFAULT, EMAIL)
    create_order(api, DEFAULT, FESTIVAL._replace(reference="new"), CUSTOMER, ATTENDED)
    old = told("evt_2", paid("pi_2", email=EMAIL))
    new = told("evt_3", paid("pi_3", email=EMAIL, reference="new"))
    record(intake, old, keyring)
    record(intake, new._replace(event=new.event._replace(occurred_at=FOREVER)), keyring)
    emails = [find_payment_by_object(api, DEFAULT, name).email for name in ("pi_1", "pi_2", "pi_3")]
    assert emails == [None, None, EMAIL]
    assert gatehouse_database.sql(
        "select event_id from webhook_payloads p join webhook_events e on e.id = p.webhook_event_id"
    ) == [["evt_3"]]


@pytest.mark.req("P14")
def test_an_erasure_waits_for_an_event_that_is_being_recorded(
    intake: Database, ops: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    record(intake, told("evt_1", paid("pi", email=EMAIL)), keyring)
    other = gatehouse_database.connect("intake")
    with other.transaction(merchant=DEFAULT) as recording:
        recording.query(
            "insert into facts (kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, occurred_at,"
            " received_at, rank, words) select kind, subject_id, merchant, gateway, account, 'late', webhook_event_id,"
            " now(), now(), rank, words from facts"
        )
        erasing = threading.Thread(target=erase_customer, args=(ops, DEFAULT, EMAIL))
        erasing.start()
        time.sleep(0.3)
        assert erasing.is_alive()
    erasing.join()
    other.close()
    assert EMAIL.lower() not in everything(gatehouse_database)
    assert find_payment_by_object(api, DEFAULT, "pi").received_minor == TOTAL


@pytest.mark.req("P14")
def test_only_ops_erase(api: Database, worker: Database) -> None:
    for database in (api, worker):
        with pytest.raises(QueryError, match="permission denied"):
            erase_customer(database, DEFAULT, EMAIL)


@pytest.mark.req("P14")
def test_the_retained_are_listed_when_their_day_has_passed(api: Database, ops: Database) -> None:
    kept = save_customer(api, DEFAULT, JOHN._replace(retain_until=date(2026, 5, 15)))
    save_customer(api, DEFAULT, NewCustomer("jane@example.com"))
    assert customers_past_retention(ops, date(2026, 5, 15)) == []
    assert [each.customer_id for each in customers_past_retention(ops, date(2026, 5, 16))] == [kept.id]
    erase_customer(ops, DEFAULT, EMAIL)
    assert customers_past_retention(ops, date(2026, 5, 16)) == []


@pytest.mark.req("P14")
def test_the_sweeper_erases_those_whose_day_has_passed_and_nobody_else(
    api: Database, worker: Database, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql("insert into merchants (id, name) values ('other', 'Other')")
    past, today = date(2026, 5, 15), datetime.now(UTC).date()
    first = save_customer(api, DEFAULT, JOHN._replace(retain_until=past))
    second = save_customer(api, "other", NewCustomer("jane@example.com", retain_until=past + timedelta(days=1)))
    kept = [
        save_customer(api, DEFAULT, NewCustomer("today@example.com", retain_until=today)),
        save_customer(api, DEFAULT, NewCustomer("always@example.com")),
    ]
    assert erase_past_retention(worker, seconds=0) == []
    assert erase_past_retention(worker, seconds=9) == [(DEFAULT, first.id), ("other", second.id)]
    assert erase_past_retention(worker, seconds=9) == []
    assert gatehouse_database.sql("select id from customers where erased_at is null order by id") == [
        [each.id] for each in kept
    ]
    actors = "select distinct actor from payment_audit_log where changes ? 'erased_at'"
    assert gatehouse_database.sql(actors) == [["retention"]]


@pytest.mark.req("P14", "M7")
def test_no_merchant_reaches_a_row_of_another_in_any_table(
    intake: Database, api: Database, ops: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(
        "insert into merchants (id, name) values ('other', 'Other');"
        "insert into gateway_accounts (gateway, account, merchant, mode, credentials, key_id)"
        " select 'stripe', m, m, 'both', '', 'k1' from unnest(array['default', 'other']) as m;"
        "insert into item_types values ('other', 'full_festival');"
        "insert into apps (merchant, name, is_default) values ('other', 'nexai', true)"
    )
    for merchant in (DEFAULT, "other"):
        create_order(api, merchant, FESTIVAL._replace(reference=f"{merchant}web"), CUSTOMER, ATTENDED)
        account = GatewayAccount("stripe", merchant, merchant, "both", ())
        tell_everything(intake, keyring, account, mark=merchant)
        request_refund(api, merchant, find_payment_by_object(api, merchant, f"{merchant}pi").id, amount_minor=1)
        save_customer(api, merchant, NewCustomer("erased@example.com"))
        key = api_keys.new_key()
        api_keys.add_key(ops, key, merchant=merchant, role="viewer", name="a test")
        caller = Caller(key[3:11], merchant, "viewer")
        answer_once(api, caller, "once", b"asked", lambda _: Answer(201, {"id": 1}))
        erase_customer(ops, merchant, "erased@example.com")
        gatehouse_database.sql(
            "insert into webhook_forward_logs (app, target_url, ok, merchant)"
            f" values ('nexai', 'https://app.example.com', true, '{merchant}');"
            f"insert into redrives (merchant, actor, filters, planned) values ('{merchant}', 'jane', '{{}}', 1);"
            f"insert into backup_changes (payment_id, merchant) values (hashtext('{merchant}'), '{merchant}');"
            "insert into imports (merchant, gateway, account, source, content_hash, job_id)"
            f" values ('{merchant}', 'stripe', '{merchant}', 'old.csv', 'x', 1);"
            "insert into completeness (gateway, account, day, merchant, listed, recorded)"
            f" values ('stripe', '{merchant}', '2026-11-20', '{merchant}', 1, 1);"
            "insert into gateway_answers"
            " (gateway, account, kind, object_id, merchant, answered_at, job_id, key_id, sealed)"
            f" values ('stripe', '{merchant}', 'invoice', 'in_1', '{merchant}', now(), 1, 'k1', '');"
            f"insert into category_rules (merchant, word, category) values ('{merchant}', 'cure', 'Cures');"
            "insert into memberships (merchant, gateway, account, customer_ref, livemode, category, status_by_rule)"
            f" values ('{merchant}', 'stripe', '{merchant}', 'cus_1', true, 'Cures', 'active');"
            "insert into health_data_reads (merchant, reader, kind, row_count)"
            f" values ('{merchant}', 'x', 'export', 1);"
            "insert into platform_tenants (id, merchant, name, engine, max_databases, max_storage_mb,"
            " max_requests_per_minute, max_requests_per_hour, max_requests_per_day, created_by)"
            f" values (rpad('t{merchant}', 16, 'x'), '{merchant}', 'T', 'plain', 1, 1, 1, 1, 1, 'user:anna');"
            "insert into tenant_permissions (tenant_id, merchant, subject, role, granted_by)"
            f" values (rpad('t{merchant}', 16, 'x'), '{merchant}', 'user:anna', 'owner', 'user:anna');"
            "insert into tenant_branches (id, tenant_id, merchant, name, created_by)"
            f" values (rpad('b{merchant}', 16, 'x'), rpad('t{merchant}', 16, 'x'), '{merchant}', 'dev', 'user:anna');"
            "insert into tenant_usage_slots (tenant_id, merchant, date, slot)"
            f" values (rpad('t{merchant}', 16, 'x'), '{merchant}', current_date, 0);"
            "insert into gateway_troubles"
            " (gateway, account, merchant, kind, reason, credentials_mark, asked_again_at)"
            f" values ('stripe', '{merchant}', '{merchant}', 'failing', 'it answered 500', '', now())"
        )
        put_products(api, merchant, [{"product_name": "Cure", "category": "Cures"}], actor="a test")
    gatehouse_database.sql("select fold_totals(10000)")
    gatehouse_database.sql("insert into total_marks values ('order', 0, 'default'), ('order', 0, 'other')")
    tables = gatehouse_database.sql(
        "select c.relname::text, a.attname::text from pg_class c left join pg_attribute a on a.attrelid = c.oid"
        " and not a.attisdropped and (a.attname = 'merchant' or (c.relname = 'merchants' and a.attname = 'id'))"
        " where c.relkind in ('r', 'p', 'v') and c.relnamespace = 'public'::regnamespace order by 1"
    )
    assert len(tables) > 30
    assert {table for table, column in tables if not column} == NOBODYS
    assert {table for table in NOBODYS if reached(api, DEFAULT, f"select count(*) as n from {table}")} == {
        *("gatehouse_migrations", "backup_state", "tenant_endpoints")  # which tell nothing of anybody
    }
    empty = set()
    for table, column in tables:
        if not column:
            continue
        counted = gatehouse_database.sql(f"select count(*) from {table} where {column} = 'other'")[0][0]
        if not counted:
            empty.add(table)
        for merchant, theirs in ((DEFAULT, "other"), ("", "other"), ("", DEFAULT)):
            its = f"{table} where {column} = '{theirs}'"
            tried = (
                f"select count(*) as n from {its}",
                f"with gone as (delete from {its} returning 1) select count(*) as n from gone",
                f"with moved as (update {table} set {column} = '{DEFAULT}' where {column} = '{theirs}' returning 1)"
                " select count(*) as n from moved",
                f"with made as (insert into {table} ({column}) values ('{theirs}') returning 1)"
                " select count(*) as n from made",
            )
            for database in (api, intake):
                if database is intake and table in KNOWN_AT_THE_DOOR:
                    continue
                for statement in tried:
                    assert reached(database, merchant, statement) == 0, statement
        assert gatehouse_database.sql(f"select count(*) from {table} where {column} = 'other'")[0][0] == counted
    # A new table is put to the test with rows of another merchant.
    assert {table for table in empty if not table.startswith("webhook_payloads_")} <= {"elevenone_subscriptions"}
    assert list_orders(api, "nobody").rows == []


def reached(database: Database, merchant: str, statement: str) -> int:
    """Return how many rows a role got at; none where it may not even try."""
    try:
        with database.transaction() as transaction:
            transaction.query("select set_config('gatehouse.merchant', :merchant, true)", merchant=merchant)
            found = transaction.query_one(statement)["n"]
            transaction.undo()
            return int(found)
    except QueryError as refused:
        if refused.sqlstate not in ("42501", "55000", "0A000"):  # not granted; a view that cannot be written
            raise
        return 0

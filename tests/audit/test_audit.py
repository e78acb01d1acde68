"""The audit of everything that is folded: complete, without personal values, and beyond the reach of every role."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gatehouse.database.connection import Database
from gatehouse.errors import DatabaseError
from gatehouse.facts import (
    CustomerFact,
    DisputeFact,
    DisputeStatus,
    Event,
    Fact,
    InvoiceFact,
    InvoiceStatus,
    ObjectName,
    PaymentFact,
    PaymentStatus,
    PayoutFact,
    PayoutStatus,
    RefundFact,
    RefundStatus,
    SubscriptionFact,
    SubscriptionStatus,
)
from gatehouse.intake.record import Delivery, record
from gatehouse.sealing import Keyring
from tests.intake.stories import ACCOUNT, ARRIVED, EPOCH
from tests.support.gatehouse_database import GatehouseDatabase

# Which columns may hold what a person is known by, or words that somebody wrote; written here once more by hand.
PERSONAL = {
    "payments": {"metadata", "failure_message", "customer_ref", "email", "user_id"},
    "gateway_customers": {"email", "name", "phone", "user_id", "metadata"},
    "subscriptions": {"email", "user_id", "metadata", "customer_ref", "cancel_reason"},
    "invoices": {*("email", "customer_ref", "customer_name", "billing_address", "description", "lines", "metadata")},
    "refunds": {"reason", "failure_message", "metadata"},
    "disputes": set[str](),
    "payouts": {"failure_message", "metadata", "destination"},
}
# Made by the store, and not folded: the tests of the store fill them.
OF_THE_STORE = {"customers", "orders", "order_items", "memberships", "product_categories"}
# To rows of the store, and what follows from invoices: triggers find these.
LINKS = {"customer_id", "order_id", "product_name", "product_category", "is_recurring"}
STATUS = {
    "payments": "processing",
    "subscriptions": "active",
    "invoices": "open",
    "refunds": "pending",
    "disputes": "won",
    "payouts": "pending",
}
ROLES = ("intake", "worker", "api", "ops")
REFUSED = "42501"
ITS_EVENT = 4711
A_PERSON = "planted.person@example.com"

ON_THE_LOG = {
    "update": "update payment_audit_log set actor = 'nobody'",
    "delete": "delete from payment_audit_log",
    "truncate": "truncate payment_audit_log",
    "insert": "insert into payment_audit_log (merchant, table_name, row_id, action, actor, changes)"
    " values ('default', 'payments', 1, 'update', 'nobody', '{}')",
    "switch its triggers off": "alter table payment_audit_log disable trigger all",
    "drop its trigger": "drop trigger append_only on payment_audit_log",
    "a rule instead": "create rule quiet as on insert to payment_audit_log do instead nothing",
    "another policy": "create policy mine on payment_audit_log using (true)",
    "drop it": "drop table payment_audit_log",
    "rename it": "alter table payment_audit_log rename to old_log",
    "become a replica": "set session_replication_role = replica",
    "become the owner": "set role gatehouse_owner",
    "another function": "create or replace function write_audit() returns trigger language plpgsql"
    " as $$ begin return null; end $$",
    "a weaker function": "alter function write_audit() security invoker",
    "another hash": "create or replace function audit_hash(hash_key bytea, value jsonb) returns jsonb language sql"
    " as $$ select value $$",
    "another refusal": "drop function refuse_audit_change() cascade",
    "read the key": "select key from audit_hash_key",
    "change the key": "update audit_hash_key set key = ''",
    "call the function": "select write_audit()",
    "a function in its way": "create function public.jsonb_object_keys(jsonb) returns setof text language sql"
    " as $$ select '' $$",
}
ON_A_TABLE = {
    "switch off": "alter table {table} disable trigger {table}_audit_update",
    "switch all off": "alter table {table} disable trigger all",
    "drop": "drop trigger {table}_audit_insert on {table}",
    "replace": "create or replace trigger {table}_audit_update after update on {table} for each row"
    " when (false) execute function refuse_audit_change()",
    "only on replicas": "alter table {table} enable replica trigger {table}_audit_delete",
    "without a trace": "delete from {table}",
    "empty": "truncate {table} cascade",
}


@pytest.mark.req("G16")
def test_every_table_that_is_folded_is_audited(gatehouse_database: GatehouseDatabase) -> None:
    found = gatehouse_database.sql(
        "select tgrelid::regclass::text, count(*)::int from pg_trigger"
        " where tgfoid = 'write_audit'::regproc and tgenabled = 'O' group by 1 order by 1"
    )
    assert found == [[table, 3] for table in sorted(PERSONAL.keys() | OF_THE_STORE)]


@pytest.mark.req("G16")
@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_change_the_log_or_go_round_it(role: str, gatehouse_database: GatehouseDatabase) -> None:
    gatehouse_database.sql(
        "insert into payment_audit_log (merchant, table_name, row_id, action, actor, changes)"
        " values ('default', 'payments', 1, 'insert', 'somebody', '{}')"
    )
    before = everything(gatehouse_database)
    database = gatehouse_database.connect(role)
    attempts = ON_THE_LOG | {
        f"{what} of {table}": statement.format(table=table)
        for table in (*PERSONAL, *OF_THE_STORE)
        for what, statement in ON_A_TABLE.items()
    }
    for what, statement in attempts.items():
        with pytest.raises(DatabaseError) as refusal:
            database.query(statement)
        assert refusal.value.sqlstate == REFUSED, (what, str(refusal.value))
    database.close()
    assert everything(gatehouse_database) == before


@pytest.mark.req("G16")
def test_even_the_owner_of_the_log_only_adds_to_it(gatehouse_database: GatehouseDatabase) -> None:
    owner = gatehouse_database.connect("owner")
    for change in ("update payment_audit_log set actor = ''", "delete from payment_audit_log"):
        with pytest.raises(DatabaseError, match="append-only"):
            owner.query(change)
    owner.close()


@pytest.mark.req("G16", "G12")
@pytest.mark.parametrize("table", PERSONAL)
def test_every_change_of_a_row_is_told_column_by_column(
    table: str, ops: Database, gatehouse_database: GatehouseDatabase
) -> None:
    row = a_row(gatehouse_database, table)
    in_event = f"set_config('gatehouse.event_row', '{ITS_EVENT}', true)"
    ops.query(
        f"with event as (select {in_event}) insert into {table}"
        f" select said.* from event, jsonb_populate_record(null::{table}, :row::jsonb) as said",
        row=json.dumps(row),
    )
    changed = {**dict.fromkeys(PERSONAL[table], A_PERSON), "last_fact_at": (EPOCH + timedelta(days=1)).isoformat()}
    columns = ", ".join(f"{column} = said.{column}" for column in changed)
    words = row | {column: as_column(column, value) for column, value in changed.items()}
    update = (
        f"update {table} set {columns} from jsonb_populate_record(null::{table}, :row::jsonb) as said"
        f" where {table}.id = said.id"
    )
    for _again in range(2):  # the second time it changes nothing
        ops.query(update, row=json.dumps(words))
    gatehouse_database.sql(f"delete from {table}")

    inserted, updated, deleted = ops.query(
        "select * from payment_audit_log where table_name = :named order by id", named=table
    )
    assert {each["row_id"] for each in (inserted, updated, deleted)} == {row["id"]}
    assert [each["action"] for each in (inserted, updated, deleted)] == ["insert", "update", "delete"]
    assert [each["actor"] for each in (inserted, updated, deleted)] == ["gatehouse_ops", "gatehouse_ops", "postgres"]
    assert [each["webhook_event_id"] for each in (inserted, updated, deleted)] == [ITS_EVENT, None, None]

    assert set(inserted["changes"]) - LINKS == {column for column, value in row.items() if value is not None}
    assert set(updated["changes"]) - LINKS == set(changed)
    for column, (before, after) in inserted["changes"].items():
        assert before is None
        assert is_hash(after) if column in PERSONAL[table] else after is not None, (column, after)
    assert inserted["changes"]["gateway"] == [None, "stripe"]
    for column in PERSONAL[table]:
        before, after = updated["changes"][column]
        assert before == inserted["changes"][column][1]
        assert is_hash(after)
        assert after != before
        assert deleted["changes"][column] == [after, None]
    assert A_PERSON not in json.dumps([each["changes"] for each in (inserted, updated, deleted)])


@pytest.mark.req("G16")
def test_a_hash_cannot_be_made_without_the_key(ops: Database, gatehouse_database: GatehouseDatabase) -> None:
    """Each database has a key of its own: the same person has another hash there."""
    [[length]] = gatehouse_database.sql("select octet_length(key) from audit_hash_key")
    assert length == 32
    [[with_key]] = gatehouse_database.sql(f"select audit_hash(key, to_jsonb('{A_PERSON}'::text)) from audit_hash_key")
    guessed = ops.query_one(f"select audit_hash(''::bytea, to_jsonb('{A_PERSON}'::text)) as hash")["hash"]
    assert guessed != with_key


CHARGE, SUBSCRIPTION = ObjectName("charge", "ch_1"), ObjectName("subscription", "sub_1")
METADATA = {"patient": f"planted {A_PERSON}", "phone": "planted +4915112345678"}
FACTS: dict[str, tuple[Fact, ...]] = {
    "payment": (
        PaymentFact(
            objects=(CHARGE,),
            status=PaymentStatus.FAILED,
            amount_minor=5,
            currency="EUR",
            email=A_PERSON,
            user_id="planted-user",
            customer_ref="planted-customer",
            failure_message=f"planted card of {A_PERSON}",
            metadata=METADATA,
            subscription_ref="sub_1",
        ),
    ),
    "customer": (
        CustomerFact(
            objects=(ObjectName("customer", "cus_1"),),
            email=A_PERSON,
            name="planted Erika Mustermann",
            phone="planted +4915112345678",
            user_id="planted-user",
            metadata=METADATA,
        ),
    ),
    "subscription": (
        SubscriptionFact(
            objects=(SUBSCRIPTION,),
            status=SubscriptionStatus.CANCELLED,
            email=A_PERSON,
            user_id="planted-user-2",
            customer_ref="planted-customer",
            cancel_reason="planted: I, Erika, am ill",
            metadata=METADATA,
        ),
    ),
    "invoice": (
        InvoiceFact(
            objects=(ObjectName("invoice", "in_1"),),
            status=InvoiceStatus.OPEN,
            email=A_PERSON,
            customer_ref="planted-customer",
            description="planted: for Erika",
            lines=[{"product": "planted: a cure", "description": "planted: treatment of Erika"}],
            customer_name="planted Erika Mustermann",
            billing_address={"address1": "planted Street 1"},
            metadata=METADATA,
        ),
    ),
    "refund": (
        RefundFact(
            objects=(ObjectName("refund", "re_1"),),
            payment=(CHARGE,),
            status=RefundStatus.FAILED,
            amount_minor=5,
            currency="EUR",
            reason="planted: Erika was ill",
            failure_message="planted: account of Erika closed",
            metadata=METADATA,
        ),
    ),
    "dispute": (
        DisputeFact(objects=(ObjectName("dispute", "dp_1"),), payment=(CHARGE,), status=DisputeStatus.NEEDS_RESPONSE),
    ),
    "payout": (
        PayoutFact(
            objects=(ObjectName("payout", "po_1"),),
            status=PayoutStatus.FAILED,
            failure_message="planted: account of Erika",
            metadata=METADATA,
        ),
    ),
}


def told(event: str, facts: tuple[Fact, ...], second: int = 0) -> Delivery:
    """Return an event with these facts."""
    said = Event(event, "test", EPOCH + timedelta(seconds=second), livemode=True, facts=facts, reference=event)
    return Delivery(ACCOUNT, said, b"{}", ARRIVED)


@pytest.mark.req("G16", "G12", "P8")
def test_what_people_are_known_by_never_stands_in_the_audit(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    for kind, facts in FACTS.items():
        assert record(intake, told(kind, facts), keyring).status == "applied"
    for kind, facts in FACTS.items():  # and each once more, with other words of its person
        changed = tuple(with_other_words(fact) for fact in facts)
        assert record(intake, told(f"{kind} again", changed, second=9), keyring).status == "applied"
    kept = gatehouse_database.sql("select words::text from facts")
    assert sum("planted" in words for (words,) in kept) >= 2 * (len(FACTS) - 1), "nothing was planted"
    log = gatehouse_database.sql("select table_name, changes::text, actor from payment_audit_log")
    assert {table for table, _changes, _actor in log} == {*PERSONAL, "customers", "memberships"}
    for table, changes, actor in log:
        for planted in ("planted", "Erika", "example.com", "4915112345678"):
            assert planted not in changes + actor, (table, changes)


@pytest.mark.req("G16", "P8")
def test_a_row_that_was_joined_away_leaves_only_hashes(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    one, other = ObjectName("refund", "re_1"), ObjectName("refund_reference", "rr_1")
    for number, names in enumerate([(one,), (other,), (one, other)]):
        fact = RefundFact(objects=names, status=RefundStatus.PENDING, reason=f"planted: {A_PERSON}")
        assert record(intake, told(f"evt_{number}", (fact,), number), keyring).status == "applied"
    log = gatehouse_database.sql(
        "select action, actor, changes::text from payment_audit_log where table_name = 'refunds'"
    )
    assert [action for action, _actor, _changes in log].count("delete") == 1
    assert gatehouse_database.sql("select gateway_id from refunds") == [["re_1"]]
    assert {actor for _action, actor, _changes in log} == {"gatehouse_intake"}
    assert not any(A_PERSON in changes for _action, _actor, changes in log)


@pytest.mark.req("G16")
def test_a_row_whose_facts_are_its_own_cannot_be_dropped(
    intake: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    recorded = record(intake, told("evt_1", FACTS["refund"]), keyring)
    refund = next(each.id for each in recorded.changed if each.kind == "refund")
    # Numbers of facts and of refunds are of different kinds; here none of them may be taken for the other.
    gatehouse_database.sql("update facts set id = default where kind = 'refund'")
    intake.query("select drop_joined_away('refund', array[:refund::bigint])", refund=refund)
    assert gatehouse_database.sql("select id from refunds") == [[refund]]


@pytest.mark.req("G16", "G17")
def test_the_audit_of_a_row_names_the_event_that_changed_it(intake: Database, ops: Database, keyring: Keyring) -> None:
    paid = PaymentFact(
        objects=(CHARGE,), status=PaymentStatus.COMPLETED, amount_minor=5, received_minor=5, currency="EUR"
    )
    first = record(intake, told("evt_paid", (paid,)), keyring)
    refunded = RefundFact(
        objects=(ObjectName("refund", "re_1"),),
        payment=(CHARGE,),
        status=RefundStatus.COMPLETED,
        amount_minor=2,
        currency="EUR",
    )
    second = record(intake, told("evt_refunded", (refunded,), 1), keyring)
    assert record(intake, told("evt_refunded", (refunded,), 1), keyring).status == "duplicate"
    log = ops.query(
        "select webhook_event_id as event, table_name, action, changes - 'last_fact_at' as changes"
        " from payment_audit_log order by id"
    )
    assert [(each["event"], each["table_name"], each["action"]) for each in log] == [
        (first.event_row, "payments", "insert"),
        (second.event_row, "refunds", "insert"),
        (second.event_row, "payments", "update"),
    ]
    assert log[2]["changes"] == {"status": ["completed", "partially_refunded"], "refunded_minor": [None, 2]}


def with_other_words(fact: Any) -> Any:
    """Return what is said of the same object with another person's words, where it has such words."""
    return fact._replace(metadata={"patient": "planted Max"}) if "metadata" in fact._fields else fact


def everything(database: GatehouseDatabase) -> Any:
    """Return the log, its key, its triggers and functions: what nobody may have changed."""
    return [
        database.sql(query)
        for query in (
            "select payment_audit_log::text from payment_audit_log order by id",
            "select encode(key, 'hex') from audit_hash_key",
            "select tgrelid::regclass::text, tgname::text, tgenabled::text, pg_get_triggerdef(oid) from pg_trigger"
            " where not tgisinternal order by 1, 2",
            "select pg_get_functiondef(p.oid) from pg_proc p where pronamespace = 'public'::regnamespace"
            " and prokind = 'f' order by 1",
        )
    ]


def a_row(database: GatehouseDatabase, table: str) -> dict[str, Any]:
    """Return a row for a table in which every column says something, but what only points at another row."""
    columns = database.sql(
        "select column_name::text from information_schema.columns"
        f" where table_schema = 'public' and table_name = '{table}' order by ordinal_position"
    )
    row = {column: as_column(column, f"planted {column}") for (column,) in columns}
    return row | {
        "id": 42,
        "merchant": "default",
        "gateway": "stripe",
        **({"status": STATUS[table]} if table in STATUS else {}),
    }


def as_column(column: str, value: str) -> Any:
    """Return a value as the column wants it, so that every column of every table can be filled."""
    if column in ("payment_id", "merged_into", *LINKS):
        return None
    if column in ("metadata", "lines", "billing_address"):
        return {"says": value}
    if column == "data_sent_status":
        return "sent"
    if column in ("currency", "fee_currency"):
        return "EUR"
    if column.endswith("_minor") or column in ("id", "attempts"):
        return 7
    if column in ("livemode", "is_deleted", "is_withdrawn"):
        return True
    if column.endswith("_at") or column in ("period_start", "period_end", "respond_by"):
        return value if value[:4].isdigit() else EPOCH.isoformat()
    return value


def is_hash(value: Any) -> bool:
    """Tell whether a value is a keyed hash and nothing else."""
    return isinstance(value, str) and value.startswith("hash:") and len(value) == 29

"""Orders, customers and payments are found in every way that people look for them, by an index each time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gatehouse.accounts import GatewayAccount
from gatehouse.database.connection import Database
from gatehouse.database.sql import Bound, Statement
from gatehouse.errors import NotFound, ValidationError
from gatehouse.facts import ObjectName
from gatehouse.intake.record import record
from gatehouse.models import audit, browse, customers, order_items, orders, payments, refunds
from gatehouse.models.customers import NewCustomer, change_customer, find_customer_by_email, list_customers
from gatehouse.models.order_items import count_items, items_of_attendee
from gatehouse.models.orders import (
    NewItem,
    Order,
    OrderFilter,
    create_order,
    find_order_named,
    list_orders,
    order_statistics,
    orders_of_customer,
    set_order_status,
)
from gatehouse.models.payments import list_payments, payments_by_reference, payments_of_customer
from gatehouse.models.scope import flush_for
from gatehouse.sealing import Keyring
from tests.store.store import DEFAULT, FESTIVAL, JOHN, PASSES, TOTAL, paid, refunded, told
from tests.support.gatehouse_database import GatehouseDatabase

pytestmark = pytest.mark.req("P3")


def make(api: Database, reference: str, **changes: Any) -> Order:
    wanted: dict[str, Any] = {"customer": JOHN, "items": PASSES} | changes
    return create_order(api, DEFAULT, FESTIVAL._replace(reference=reference), **wanted).order


def found(api: Database, text: str | None = None, **wanted: Any) -> list[str | None]:
    return [order.reference for order in list_orders(api, DEFAULT, OrderFilter(**wanted), text=text).rows]


@pytest.mark.parametrize(
    "text",
    [
        "john", "JOHN doe", "joh do", "john.doe@example.com", "john.d", "example.com", "jane", "Jané", "jane@exa",
        "web", "web-7", "alb", "ALB-", "0001", "  john  ", "jöhn jane",
    ],
)  # fmt: skip
def test_an_order_is_found_by_the_beginnings_of_its_words(api: Database, text: str) -> None:
    make(api, "web-7")
    make(api, "other", customer=NewCustomer("mary@site.org", "Mary"), items=[NewItem("vip", 1)])
    assert "web-7" in found(api, text)


@pytest.mark.parametrize("text", ["ohn", "john mary", "example.org", "' | 'x':*", "%", "", "\\", "a" * 500])
def test_what_no_order_has_is_not_found(api: Database, text: str) -> None:
    make(api, "web-7")
    assert found(api, text) == []


def test_the_number_finds_its_order_alone(api: Database) -> None:
    first, second = make(api, "a"), make(api, "b")
    assert found(api, first.number) == ["a"]
    assert found(api, second.number.lower()) == ["b"]


def test_a_letter_of_any_script_is_a_letter(api: Database) -> None:
    make(api, "cyr", customer=NewCustomer("i@example.org", "Иван"))
    make(api, "han", customer=NewCustomer("w@example.org", "王小明"))
    assert (found(api, "Ива"), found(api, "王")) == (["cyr"], ["han"])


def test_a_changed_name_is_found_by_the_new_one(api: Database) -> None:
    order = make(api, "web-7")
    change_customer(api, DEFAULT, order.customer_id, {"first_name": "Giovanni"})
    assert (found(api, "giov"), found(api, "john d")) == (["web-7"], ["web-7"])  # the address still says john
    change_customer(api, DEFAULT, order.customer_id, {"email": "g@example.com"})
    assert (found(api, "giov"), found(api, "john")) == (["web-7"], [])


def test_filters_are_combined(api: Database) -> None:
    make(api, "a")
    done = make(api, "b", items=[NewItem("vip", 500), NewItem("day_pass", 100)])
    set_order_status(api, DEFAULT, done.id, "completed")
    hour = timedelta(hours=1)
    assert found(api, status="completed") == ["b"]
    assert found(api, payment_state="unpaid", event_id="alocubano-2026") == ["b", "a"]
    assert found(api, item_type="vip") == ["b"]
    assert found(api, "john", item_type="full_festival", status="pending") == ["a"]
    assert found(api, since=done.created_at - hour, before=done.created_at + hour, livemode=False) == ["b", "a"]
    assert found(api, since=done.created_at + hour) == found(api, livemode=True) == found(api, event_id="other") == []
    for wrong in ({"status": "paid"}, {"payment_state": "pending"}):
        with pytest.raises(ValidationError, match="must be one of"):
            found(api, **wrong)


@pytest.mark.parametrize("text", [None, "john"])
def test_pages_stay_whole_while_orders_come_in(api: Database, text: str | None) -> None:
    for place in range(7):
        make(api, f"web-{place}")
    page = list_orders(api, DEFAULT, text=text, most=3)
    seen = [order.reference for order in page.rows]
    while page.next:
        make(api, f"new-{len(seen)}")
        page = list_orders(api, DEFAULT, text=text, after=page.next, most=3)
        seen += [order.reference for order in page.rows]
    assert seen == [f"web-{place}" for place in (6, 5, 4, 3, 2, 1, 0)]


@pytest.mark.parametrize("after", ["x", "2026-01-01/5", "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:00+00:00/x", ""])
def test_a_page_that_nobody_gave_is_refused(api: Database, after: str) -> None:
    with pytest.raises(ValidationError, match="after"):
        list_orders(api, DEFAULT, after=after)
    with pytest.raises(ValidationError, match="most"):
        list_orders(api, DEFAULT, most=201)


def test_an_order_is_found_by_number_reference_or_any_name_of_its_payment(
    intake: Database, api: Database, keyring: Keyring
) -> None:
    order = make(api, "web-7")
    record(intake, told("evt", paid("pi_1", metadata={"order_id": "web-7"}, reference="ch-ref")), keyring)
    for name in (order.number, "web-7", "pi_1", "ch-ref"):
        assert find_order_named(api, DEFAULT, name).id == order.id
    with pytest.raises(NotFound):
        find_order_named(api, DEFAULT, "pi_2")


def test_a_payment_is_found_by_a_name_at_any_account_and_gateway(
    intake: Database, api: Database, keyring: Keyring, gatehouse_database: GatehouseDatabase
) -> None:
    gatehouse_database.sql(
        "insert into merchants (id, name) values ('other', 'Other');"
        "insert into gateway_accounts (gateway, account, merchant, mode, credentials, key_id)"
        " values ('stripe', 'eu', 'default', 'both', '', 'k1'), ('stripe', 'sold', 'other', 'both', '', 'k1')"
    )
    homes = [("stripe", "default"), ("stripe", "eu"), ("paystack", "default"), ("stripe", "sold")]
    for place, (gateway, account) in enumerate(homes):
        also = (ObjectName("charge", f"ch_{place}"), ObjectName("invoice", "the_same"))
        its = GatewayAccount(gateway, account, DEFAULT, "both", ())
        record(intake, told(f"evt_{place}", paid(f"pi_{place}", also=also), account=its), keyring)

    def called(merchant: str, name: str, gateway: str | None = None) -> list[tuple[str, str]]:
        bound = payments.sql.payments_by_object(merchant=merchant, object_id=name, gateway=gateway)
        (rows,) = flush_for(api, merchant, bound)
        return [(row["gateway"], row["account"]) for row in rows]

    for place, home in enumerate(homes):  # the last one has changed hands since
        for name in (f"pi_{place}", f"ch_{place}"):
            assert called(DEFAULT, name) == [home]
            assert called("other", name) == []
    assert called(DEFAULT, "the_same") == homes[:3]
    assert called(DEFAULT, "the_same", "paystack") == homes[2:3]
    assert called(DEFAULT, "the_same", "paypal") == []


def test_a_customer_is_found_with_all_that_they_bought(intake: Database, api: Database, keyring: Keyring) -> None:
    order = make(api, "web-7")
    make(api, "other", customer=NewCustomer("mary@site.org", "Mary"))
    record(intake, told("evt", paid("pi_1", reference="web-7", email="john.doe@EXAMPLE.com")), keyring)
    customer = find_customer_by_email(api, DEFAULT, "JOHN.DOE@example.com")
    assert customer.id == order.customer_id
    assert [each.reference for each in orders_of_customer(api, DEFAULT, customer.id).rows] == ["web-7"]
    assert [each.status for each in payments_of_customer(api, DEFAULT, customer.id)] == ["completed"]
    totals = customers.totals_of_customer(api, DEFAULT, customer.id, livemode=False)
    assert [(each.orders, each.completed_orders, each.paid_minor) for each in totals] == [(1, 1, TOTAL)]
    assert [each.email for each in list_customers(api, DEFAULT).rows] == ["mary@site.org", "John.Doe@example.com"]
    assert [each.first_name for each in list_customers(api, DEFAULT, text="joh +1").rows] == ["John"]
    assert [item.attendee_name for item in items_of_attendee(api, DEFAULT, "JANE@example.com")] == ["Jané Doe"] * 2
    assert [each.reference for each in payments_by_reference(api, DEFAULT, "web-7")] == ["web-7"]
    assert [each.status for each in list_payments(api, DEFAULT, status="completed", gateway="stripe").rows] == [
        "completed"
    ]


@pytest.mark.req("P4")
def test_statistics_count_orders_by_status_and_items_by_type(intake: Database, api: Database, keyring: Keyring) -> None:
    make(api, "a")
    make(api, "b")
    make(api, "c", items=[NewItem("vip", 500, 3)])
    record(intake, told("evt", paid("pi_1", reference="a"), refunded("re", "pi_1", 24)), keyring)
    statistics = order_statistics(api, DEFAULT, event_id="alocubano-2026", livemode=False)
    assert [(each.status, each.orders, each.paid_minor, each.refunded_minor) for each in statistics.by_status] == [
        ("partially_refunded", 1, TOTAL, 24),
        ("pending", 2, 0, 0),
    ]
    by_type = [(each.item_type, each.ordered_quantity, each.sold_quantity, each.sold_minor)
               for each in statistics.by_item_type]  # fmt: skip
    assert by_type == [("full_festival", 4, 2, 30000), ("vip", 3, 0, 0)]
    assert count_items(api, DEFAULT, livemode=False) == statistics.by_item_type
    assert order_statistics(api, DEFAULT, livemode=True).by_status == []


# --- the plans ---------------------------------------------------------------------------------------------------

AT = datetime(2026, 5, 1, tzinfo=UTC)
FIRST: dict[str, Any] = {"after_at": None, "after_id": None, "most": 20, "merchant": DEFAULT}
NEXT: dict[str, Any] = {**FIRST, "after_at": AT, "after_id": 1}
WORDED = dict.fromkeys(OrderFilter._fields) | FIRST
ANY_ORDER = {name: value for name, value in WORDED.items() if name != "item_type"}
ANY_PAYMENT = dict.fromkeys(("status", "gateway", "since", "before", "livemode")) | FIRST
BROWSED: dict[str, Any] = dict.fromkeys(
    (
        "gateway",
        "status",
        "reference",
        "customer_ref",
        "app",
        "user_id",
        "subscription_ref",
        "email",
        "livemode",
        "text",
    )
) | dict.fromkeys(("order_id", "customer_id", "since", "until", "after_at", "after_id"))
BROWSED |= {"most": 20}
SUMS: dict[str, Any] = {"merchant": DEFAULT, "livemode": True, "event_id": None, "since": AT, "before": None}
ONE: dict[str, Any] = {"merchant": DEFAULT}

# what is asked -> the index that must answer
PLANS: list[tuple[Bound, str]] = [
    (orders.sql.list_orders(**ANY_ORDER), "orders_newest"),
    (orders.sql.list_orders(**ANY_ORDER | NEXT), "orders_newest"),
    (orders.sql.list_orders(**ANY_ORDER | {"since": AT, "before": AT + timedelta(days=1)}), "orders_newest"),
    (orders.sql.list_orders(**ANY_ORDER | {"status": "failed"}), "orders_status"),
    (orders.sql.list_orders(**ANY_ORDER | NEXT | {"status": "failed"}), "orders_status"),
    (orders.sql.list_orders(**ANY_ORDER | {"payment_state": "over_paid"}), "orders_payment_state"),
    (orders.sql.list_orders(**ANY_ORDER | {"event_id": "event 7"}), "orders_event"),
    (orders.sql.list_orders_of_type(**WORDED | {"item_type": "vip"}), "order_items_of_type"),
    (orders.sql.list_orders_of_type(**WORDED | NEXT | {"item_type": "vip"}), "order_items_of_type"),
    (orders.sql.search_orders(text="john", **WORDED), "orders_pkey"),
    (orders.sql.order_by_id(order_id=1, **ONE), "orders_pkey"),
    (orders.sql.orders_named(name="web-7", **ONE), "orders_reference"),
    (orders.sql.orders_named(name="web-7", **ONE), "payments_pkey"),
    (orders.sql.orders_of_customer(customer_id=7, **FIRST), "orders_customer"),
    (orders.sql.order_counts(**SUMS), "orders_newest"),
    (order_items.sql.items_of_order(order_id=1, **ONE), "order_items_order"),
    (order_items.sql.items_of_attendee(email="x@y", most=20, **ONE), "order_items_attendee"),
    (customers.sql.customer_by_email(email="x@y", **ONE), "customers_email"),
    (customers.sql.list_customers(email=None, **NEXT), "customers_newest"),
    (customers.sql.list_customers(email="x@y", **FIRST), "customers_email"),
    (customers.sql.search_customers(text="john", email=None, **FIRST), "customers_pkey"),
    (customers.sql.totals_of_customer(customer_id=7, livemode=True, **ONE), "orders_customer"),
    (payments.sql.list_payments(**ANY_PAYMENT), "payments_newest"),
    (payments.sql.list_payments_of_status(**ANY_PAYMENT | {"status": "failed"}), "payments_of_status"),
    (payments.sql.list_payments_of_status(**ANY_PAYMENT | NEXT | {"status": "failed"}), "payments_of_status"),
    (browse.sql.list_payments_of_status(**BROWSED | {"status": ["failed", "pending"]}), "payments_of_status"),
    (browse.sql.list_payments(**BROWSED | {"status": ["failed", "completed"]}), "payments_newest"),
    (browse.sql.list_payments(**BROWSED | {"email": "x@y"}), "payments_pkey"),
    (browse.sql.list_payments(**BROWSED | {"order_id": 1}), "payments_order"),
    (browse.sql.list_payments(**BROWSED | {"customer_id": 1}), "payments_customer_id"),
    (payments.sql.payments_by_reference(reference="web-7", most=20, **ONE), "payments_reference"),
    (payments.sql.payments_of_order(order_id=1, **ONE), "payments_order"),
    (payments.sql.payments_of_customer(customer_id=1, most=20, **ONE), "payments_customer_id"),
    (payments.sql.payments_by_object(object_id="pi_1", gateway="stripe", **ONE), "payments_pkey"),
    (refunds.sql.list_refunds(status=None, **FIRST), "refunds_newest"),
    (refunds.sql.refunds_of_order(order_id=1, **ONE), "payments_order"),
    (audit.sql.history_of_row(table_name="orders", row_id=1, **ONE), "payment_audit_log_pkey"),
    (audit.sql.history_of_order(order_id=1, **ONE), "payment_audit_log_pkey"),
]
FILL = """
set session_replication_role = replica;  -- no triggers and foreign keys, which would only take time
insert into customers (merchant, email, first_name) select 'default', 'guest' || n || '@example.com', 'Guest ' || n
from generate_series(1, 2000) as n;
insert into orders (merchant, number, customer_id, livemode, event_id, currency, status, subtotal_minor, tax_minor,
    fee_minor, discount_minor, total_minor, reference, search, created_at)
select c.merchant, 'ALB-20260515-' || c.id, c.id, true, 'event ' || c.id % 50, 'USD',
    (array['pending', 'completed', 'failed'])[1 + (c.id % 100 = 0)::int + (c.id % 100 = 1)::int], 100, 0, 0, 0, 100,
    'web-' || c.id, search_words(c.merchant, array[c.email, c.first_name]),
    timestamptz '2026-01-01' + c.id * interval '1 hour'
from customers c;
insert into order_items (merchant, order_id, item_type, quantity, unit_minor, total_minor, attendee_email, ordered_at)
select o.merchant, o.id, case when o.id % 100 = 0 then 'vip' else 'day_pass' end, 1, 100, 100,
    'a' || o.id || '@example.com', o.created_at
from orders o;
insert into payments (id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency,
    reference, email, first_fact_at, last_fact_at)
select nextval('payment_ids'), o.merchant, 'stripe', 'default', true, 'completed', 100, 100, 'USD', o.reference,
    'guest' || o.customer_id || '@example.com', o.created_at, o.created_at
from orders o;
insert into refunds (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, first_fact_at, last_fact_at)
select nextval('subject_ids'), p.merchant, 'stripe', 'default', true, 're_' || p.id, p.id, 'completed', p.first_fact_at,
    p.first_fact_at
from payments p;
analyze customers, orders, order_items, payments, refunds, payment_objects, payment_audit_log;
"""


@pytest.fixture
def _filled(gatehouse_database: GatehouseDatabase) -> None:
    """Put a few thousand rows into the database, with statistics of them."""
    gatehouse_database.sql(FILL)


def plan(database: Database, bound: Bound) -> str:
    """Return the plan of a statement for the API's role, with sequential scans disfavoured."""
    explain = Statement("explain", "", f"explain {bound.statement.text}", bound.statement.parameters)
    with database.transaction(merchant=DEFAULT) as transaction:
        transaction.query("set local enable_seqscan = off")
        rows = transaction.flush([Bound(explain, bound.values)])[0].rows
        transaction.undo()
    return "\n".join(row["QUERY PLAN"] for row in rows)


@pytest.mark.usefixtures("_filled")
def test_every_search_uses_its_index(api: Database) -> None:
    wrong = {}
    for bound, index in PLANS:
        found_plan = plan(api, bound)
        if index not in found_plan or "Seq Scan" in found_plan:
            wrong[f"{bound.statement.name} by {index}"] = found_plan
    assert not wrong, "\n\n".join(f"{name}\n{each}" for name, each in wrong.items())


WORDS_AND_FILTERS: list[tuple[str, dict[str, Any]]] = [
    ("guest", {}),  # all: met among the newest
    ("guest 17", {}),  # few: by the index of words
    ("guest", {"item_type": "vip"}),
    ("example.com", {"status": "failed"}),
    ("guest1", {"event_id": "event 7"}),  # in the middle: after a longer look
    ("guest", {"before": datetime(2026, 1, 20, tzinfo=UTC)}),
    ("guest1999@example.com", {}),
    ("guest 17", {"since": datetime(2027, 1, 1, tzinfo=UTC)}),
]
CONDITIONS = {
    "item_type": "exists (select from order_items i where i.order_id = o.id and i.item_type = '{}')",
    "since": "created_at >= '{}'",
    "before": "created_at < '{}'",
}


@pytest.mark.usefixtures("_filled")
def test_pages_of_words_are_what_all_orders_hold(api: Database, gatehouse_database: GatehouseDatabase) -> None:
    for text, wanted in WORDS_AND_FILTERS:
        also = [CONDITIONS.get(name, name + " = '{}'").format(value) for name, value in wanted.items()]
        expected = gatehouse_database.sql(
            f"select reference from orders o where search @@ search_query('default', '{text}')"
            f" and {' and '.join(also) or 'true'} order by created_at desc, id desc"
        )
        seen: list[str | None] = []
        after: str | None = None
        while True:
            page = list_orders(api, DEFAULT, OrderFilter(**wanted), text=text, after=after, most=150)
            seen += [order.reference for order in page.rows]
            after = page.next
            if after is None:
                break
        assert [[each] for each in seen] == expected, (text, wanted)
    for text, number in (("guest", 150), ("guest17", 111), ("guest1999@example.com", 1)):
        found_customers = list_customers(api, DEFAULT, text=text, most=150).rows
        emails = [each.email for each in found_customers]
        assert len(emails) == number
        assert emails == sorted(emails, key=lambda email: -int(str(email)[5:].partition("@")[0]))


@pytest.mark.usefixtures("_filled")
def test_words_are_found_by_the_index_of_words(ops: Database) -> None:
    for table in ("orders", "customers"):
        inside = Statement(
            "inside", "", f"select id from {table} where search @@ search_query($1, $2) and merchant = $1", ("m", "t")
        )
        assert f"{table}_search" in plan(ops, inside(m=DEFAULT, t="guest 17"))

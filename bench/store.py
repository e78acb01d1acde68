"""The store at a million orders: every way to find one, beside the same at a hundred thousand.

What is asked for finds equally many in both: a shop that grows has more customers, not one customer with more orders,
and a person is looked for by what names that person. Where a question is wider (a status, an event, a word that every
order has), the page is as long in both, and what lies behind it grows. Both databases are on one server, in memory, and
are asked in turn, so that what else the machine does meets both alike. Each search's plan is looked at too.
"""

from contextlib import closing
from typing import Any

from bench.asking import ROUNDS, RUNS, Question, in_turn, no_filter, read_whole
from bench.figures import Figure
from bench.ground import Ground, ground, migrated_database
from gatehouse.database.connection import Database
from gatehouse.models import browse, customers, order_items, orders, payments, refunds
from gatehouse.models.orders import OrderFilter
from tests.support.gatehouse_database import GatehouseDatabase

SMALL, LARGE = 100_000, 1_000_000
MOST_TIMES_DEARER = 1.5
MERCHANT = "default"
FIRST_ID = 1_000_000_000
FILLED = {"customers", "orders", "order_items", "payments", "payment_objects", "refunds", "payment_audit_log"}

# Made as they would be by a shop, in one statement each; triggers and foreign keys would only slow the making. Of each
# person four orders, of each given name eighty, of each family name forty; names of equal length, so that none begins
# another. One order in a thousand has a rare status, and a rare type of item was sold to the first thousand alone.
FILL = """
set session_replication_role = replica;
insert into item_types (merchant, name) values ('default', 'early_bird');
insert into customers (id, merchant, email, first_name, last_name, phone, created_at) overriding system value
select n, 'default', 'guest' || lpad(n::text, 7, '0') || '@example.com', 'Given' || lpad((n / 20)::text, 6, '0'),
    'Family' || lpad((n / 10)::text, 6, '0'), '+1-555-' || lpad(n::text, 7, '0'),
    timestamptz '2025-01-01' + n * interval '80 seconds'
from generate_series(0, :orders / 4) as n;
insert into orders (
    id, merchant, number, customer_id, livemode, event_id, event_name, currency, status, payment_state, subtotal_minor,
    tax_minor, fee_minor, discount_minor, total_minor, paid_minor, reference, search, created_at, updated_at
) overriding system value
select 1000000000 + n, 'default', made.number, c.id, true, 'event-' || n % 40, 'Festival ' || n % 40, 'EUR',
    case when n % 1000 = 7 then 'failed' when n % 10 = 3 then 'pending' else 'completed' end,
    case when n % 1000 = 7 or n % 10 = 3 then 'unpaid' else 'paid' end, 5000, 0, 0, 0, 5000, 5000,
    made.reference,
    search_words('default', array[made.number, made.reference, c.email, c.first_name, c.last_name]),
    made.at, made.at
from generate_series(1, :orders) as n
cross join lateral (
    select timestamptz '2025-01-01' + n * interval '20 seconds' as at,
        'ALB-' || to_char(timestamptz '2025-01-01' + n * interval '20 seconds', 'YYYYMMDD') || '-'
            || lpad(n::text, 7, '0') as number,
        'basket-' || lpad(n::text, 7, '0') as reference
) as made
join customers c on c.id = n / 4;
insert into order_items (
    merchant, order_id, item_type, quantity, unit_minor, total_minor, attendee_name, attendee_email, ordered_at
)
select 'default', o.id,
    case when o.id <= 1000001000 then 'early_bird'
        else (array['full_festival', 'day_pass', 'workshop_only', 'social_only', 'vip'])[1 + o.id % 5] end,
    1, 5000, 5000, c.first_name, c.email, o.created_at
from orders o join customers c on c.id = o.customer_id;
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency, reference, order_id,
    customer_id, customer_ref, email, first_fact_at, last_fact_at, completed_at
)
select o.id - 1000000000, 'default', 'stripe', 'default', true,
    case when o.status = 'failed' then 'failed' else 'completed' end, 5000, 5000, 'EUR', o.reference, o.id, c.id,
    'cus_' || c.id, c.email, o.created_at, o.created_at, o.created_at
from orders o join customers c on c.id = o.customer_id;
insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
select gateway, account, 'payment_intent', 'pi_' || id, merchant, id from payments;
insert into refunds (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, first_fact_at,
    last_fact_at
)
select id, merchant, gateway, account, livemode, 're_' || id, id, 'completed', 5000, 'EUR', first_fact_at, first_fact_at
from payments where id % 20 = 0;
insert into payment_audit_log (at, merchant, table_name, row_id, action, actor, changes)
select created_at, merchant, 'orders', id, 'insert', 'bench', '{"status": [null, "pending"]}' from orders;
set session_replication_role = origin;
"""
# What the API asks of payments where no filter is given.
ANY: dict[str, Any] = no_filter("payments") | {"most": 20}


def guest(n: int) -> str:
    """Return the e-mail address of the customer of an order."""
    return f"guest{n // 4:07}@example.com"


# Each is asked for an order by its place among all, so that what is found lies far apart.
SEARCHES: dict[str, Question] = {
    "orders by id": lambda store, n: orders.find_order(store, MERCHANT, FIRST_ID + n),
    "orders by number": lambda store, n: orders.orders_named(store, MERCHANT, f"basket-{n:07}"),
    "orders by the gateway's name of a payment": lambda store, n: orders.orders_named(store, MERCHANT, f"pi_{n}"),
    "orders by e-mail": lambda store, n: orders.list_orders(store, MERCHANT, text=guest(n)),
    "orders by text, two words": lambda store, n: orders.list_orders(
        store, MERCHANT, text=f"given{n // 80:06} family{n // 40:06}"
    ),
    "orders by the beginning of a word": lambda store, n: orders.list_orders(
        store, MERCHANT, text=f"basket-{n // 100:05}"
    ),
    "orders by a word that all have": lambda store, _n: orders.list_orders(store, MERCHANT, text="example"),
    "orders by a word that none has": lambda store, _n: orders.list_orders(store, MERCHANT, text="nobody"),
    "orders, newest": lambda store, _n: orders.list_orders(store, MERCHANT),
    "orders of a day": lambda store, n: orders.list_orders(
        store, MERCHANT, OrderFilter(before=orders.find_order(store, MERCHANT, FIRST_ID + n).created_at)
    ),
    "orders by status": lambda store, _n: orders.list_orders(store, MERCHANT, OrderFilter(status="pending")),
    "orders by a rare status": lambda store, _n: orders.list_orders(store, MERCHANT, OrderFilter(status="failed")),
    "orders by event": lambda store, n: orders.list_orders(store, MERCHANT, OrderFilter(event_id=f"event-{n % 40}")),
    "orders by type of item": lambda store, _n: orders.list_orders(store, MERCHANT, OrderFilter(item_type="vip")),
    "orders by a type sold long ago": lambda store, _n: orders.list_orders(
        store, MERCHANT, OrderFilter(item_type="early_bird")
    ),
    "orders of a customer": lambda store, n: orders.orders_of_customer(store, MERCHANT, n // 4),
    "an order with all that hangs on it": lambda store, n: orders.summarise_order(store, MERCHANT, FIRST_ID + n),
    "items of an attendee": lambda store, n: order_items.items_of_attendee(store, MERCHANT, guest(n)),
    "customers by e-mail": lambda store, n: customers.find_customer_by_email(store, MERCHANT, guest(n).upper()),
    "customers by text, an e-mail": lambda store, n: customers.list_customers(store, MERCHANT, text=guest(n)),
    "customers by text, a name": lambda store, n: customers.list_customers(store, MERCHANT, text=f"family{n // 40:06}"),
    "a customer's history in sums": lambda store, n: customers.totals_of_customer(store, MERCHANT, n // 4),
    "payments, newest": lambda store, _n: payments.list_payments(store, MERCHANT),
    "payments by a rare status": lambda store, _n: payments.list_payments(store, MERCHANT, status="failed"),
    "payments by a status that none has": lambda store, _n: payments.list_payments(store, MERCHANT, status="cancelled"),
    "payments by reference": lambda store, n: payments.payments_by_reference(store, MERCHANT, f"basket-{n:07}"),
    "payments by e-mail, at the API": lambda store, n: browse.list_rows(
        store, MERCHANT, "payments", **ANY | {"email": guest(n)}
    ),
    "payments by rare statuses, at the API": lambda store, _n: browse.list_rows(
        store, MERCHANT, "payments", **ANY | {"status": ["failed", "cancelled"]}
    ),
    "payments of a customer": lambda store, n: payments.payments_of_customer(store, MERCHANT, n // 4),
    "refunds of a payment": lambda store, n: refunds.refunds_of_payment(store, MERCHANT, n),
}


def run() -> list[Figure]:
    """Measure every search at a hundred thousand orders and at a million, in turn."""
    # Enough memory for either, as a server of that size has: else this would measure the machine's disk.
    with ground(shared_buffers="3GB", max_wal_size="8GB") as place:
        return measured(place, migrated_database(place.server), SMALL, LARGE)


def measured(
    place: Ground, other: GatehouseDatabase, fewer: int, more: int, *, rounds: int = ROUNDS, runs: int = RUNS
) -> list[Figure]:
    """Fill both databases, and ask both every question in turn."""
    fill(place.database, fewer)
    fill(other, more)
    figures = []
    with closing(place.database.connect("api")) as small, closing(other.connect("api")) as large:
        for name, search in SEARCHES.items():

            def ask(store: Database, turn: int, search: Question = search) -> object:
                return search(store, 1 + (turn * 7_919_977) % ((fewer if store is small else more) - 1))

            at_small, at_large = in_turn(ask, small, large, rounds=rounds, runs=runs)
            figures.append(Figure(f"{name}, p95 (floor: {fewer:,})", at_large, "ms", at_small, limit=MOST_TIMES_DEARER))
    whole = read_whole(other, FILLED)
    return [
        *figures,
        Figure(f"tables that any of them read whole {sorted(whole) or ''}", len(whole), "tables", limit=0),
    ]


def fill(database: GatehouseDatabase, count: int) -> None:
    """Write orders with their customers, items and payments."""
    database.sql(FILL.replace(":orders", str(count)))
    database.sql("vacuum analyze")
    database.sql("select pg_stat_reset()")

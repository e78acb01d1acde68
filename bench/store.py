"""The store at a million orders: every way to find one, beside the same at a hundred thousand."""

from collections.abc import Callable
from statistics import quantiles
from time import perf_counter

from bench.figures import Figure
from bench.ground import Ground, ground
from gatehouse.database.connection import Database
from gatehouse.models import customers, orders
from gatehouse.models.orders import OrderFilter

SMALL, LARGE = 100_000, 1_000_000
RUNS = 60
MOST_TIMES_DEARER = 1.5
MERCHANT = "default"

# Made as they would be by a shop, in one statement each; triggers and foreign keys would only slow the making.
FILL = """
set session_replication_role = replica;
insert into customers (merchant, email, first_name, last_name, created_at)
select 'default', 'guest' || n || '@example.com', 'Given' || n % 5000, 'Family' || n % 20000,
    timestamptz '2025-01-01' + n * interval '20 seconds'
from generate_series(:from, :to) as n where n % 4 = 0;
insert into orders (
    merchant, number, customer_id, livemode, event_id, event_name, currency, status, payment_state, subtotal_minor,
    tax_minor, fee_minor, discount_minor, total_minor, reference, search, created_at, updated_at
)
select 'default', 'ALB-' || to_char(made, 'YYYYMMDD') || '-' || lpad((n % 5000)::text, 4, '0') || '-' || n,
    greatest(n / 4, 1), true, 'event-' || n % 40, 'Festival ' || n % 40, 'EUR',
    (array['pending', 'completed', 'completed', 'completed', 'refunded', 'cancelled'])[1 + n % 6],
    (array['unpaid', 'paid', 'paid', 'paid', 'refunded', 'unpaid'])[1 + n % 6], 5000, 0, 0, 0, 5000, 'basket-' || n,
    search_words('default', array['ALB-' || n, 'basket-' || n, 'Given' || n % 5000, 'Family' || n % 20000,
        'guest' || n || '@example.com']),
    made, made
from generate_series(:from, :to) as n, lateral (select timestamptz '2025-01-01' + n * interval '20 seconds' as made) m;
insert into order_items (
    merchant, order_id, item_type, quantity, unit_minor, total_minor, attendee_name, attendee_email
)
select 'default', 1000000000 + n,
    (array['full_festival', 'day_pass', 'workshop_only', 'social_only', 'vip'])[1 + n % 5],
    1, 5000, 5000, 'Given' || n % 5000, 'guest' || n || '@example.com'
from generate_series(:from, :to) as n;
set session_replication_role = origin;
analyze customers; analyze orders; analyze order_items;
"""

SEARCHES: dict[str, Callable[[Database, int], object]] = {
    "by number": lambda database, n: orders.orders_named(database, MERCHANT, f"basket-{n}"),
    "by customer's e-mail": lambda database, n: customers.list_customers(
        database, MERCHANT, text=f"guest{n - n % 4}@example.com"
    ),
    "by text, two words": lambda database, n: orders.list_orders(
        database, MERCHANT, text=f"given{n % 5000} family{n % 20000}"
    ),
    "by the beginning of a word": lambda database, n: orders.list_orders(database, MERCHANT, text=f"basket-{n // 10}"),
    "newest": lambda database, _n: orders.list_orders(database, MERCHANT),
    "by status": lambda database, _n: orders.list_orders(database, MERCHANT, OrderFilter(status="refunded")),
    "by event": lambda database, n: orders.list_orders(database, MERCHANT, OrderFilter(event_id=f"event-{n % 40}")),
    "by type of item": lambda database, _n: orders.list_orders(database, MERCHANT, OrderFilter(item_type="vip")),
    "one with all that hangs on it": lambda database, n: orders.summarise_order(database, MERCHANT, 1_000_000_000 + n),
}


def run() -> list[Figure]:
    """Measure every search at a hundred thousand orders, then at a million."""
    with ground() as place:
        database = place.database.connect("api")
        try:
            fill(place, 1, SMALL)
            small = {name: p95(database, search, SMALL) for name, search in SEARCHES.items()}
            fill(place, SMALL + 1, LARGE)
            large = {name: p95(database, search, LARGE) for name, search in SEARCHES.items()}
        finally:
            database.close()
    return [
        Figure(f"orders {name}, p95 (floor: {SMALL:,})", large[name], "ms", small[name], limit=MOST_TIMES_DEARER)
        for name in SEARCHES
    ]


def fill(place: Ground, first: int, last: int) -> None:
    """Write orders with their customers and items."""
    place.database.sql(FILL.replace(":from", str(first)).replace(":to", str(last)))


def p95(database: Database, search: Callable[[Database, int], object], orders_there: int) -> float:
    """Return the 95th percentile of a search in milliseconds, over orders that lie far apart."""
    times = []
    for run in range(RUNS):
        begun = perf_counter()
        search(database, 1 + (run * 7_919_977) % orders_there)
        times.append((perf_counter() - begun) * 1000)
    return quantiles(times, n=20)[-1]

"""Clinics with patients, payments and invoices in any number, always the same ones: to see plans with.

Written past the triggers, each row as the rules would have made it, so that thousands take a moment.
"""

from tests.support.gatehouse_database import GatehouseDatabase

PRODUCTS = {
    "Testosterone Cypionate": "TRT",
    "Semaglutide 2.5mg": "Weight Loss",
    "BPC-157": "Peptides",
    "Tadalafil 5mg": "ED",
    "NAD+ booster": "Uncategorized",
}

FILL = """
set session_replication_role = replica;
insert into merchants (id, name)
select case n when 0 then 'default' else 'clinic-' || n end, 'Clinic ' || n from generate_series({first}, {last}) as n
on conflict (id) do nothing;
insert into product_categories (merchant, product_name, category, reviewed_by, reviewed_at)
select m.id, product.name, product.category, 'x', now()
from (
    select case n when 0 then 'default' else 'clinic-' || n end as id from generate_series({first}, {last}) as n
) as m, (values {products}) as product (name, category);
create temporary table patients as
select
    case n when 0 then 'default' else 'clinic-' || n end as merchant, n, k, 'CODE' || lpad(k::text, 7, '0') as code,
    (array['Ada', 'Bob', 'Cleo', 'Dan', 'Eve', 'Finn', 'Gia'])[1 + k % 7] || ' ' || chr(65 + k % 26) || 'name' || k
        as name,
    (array[{names}])[1 + k % 5] as product, (array[{categories}])[1 + k % 5] as category,
    (array['active', 'active', 'active', 'active', 'past_due', 'paused', 'canceled', 'active'])[1 + k % 8] as status,
    timestamptz '2025-01-01 12:00Z' + (k % 300) * interval '1 day' as began
from generate_series({first}, {last}) as n, generate_series(1, {patients}) as k;
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, currency, customer_ref, source,
    invoice_ref, surcharge_minor, first_fact_at, last_fact_at, completed_at, product_name, product_category,
    is_recurring
)
select
    nextval('payment_ids'), p.merchant, 'mx_merchant', p.merchant, true, 'completed', 20596, 20596, 'USD', p.code,
    'Recurring', p.n || '-' || p.k || '-' || t, 696, p.began + t * interval '30 days', p.began + t * interval '30 days',
    p.began + t * interval '30 days', p.product, p.category, true
from patients p, generate_series(0, {payments_each} - 1) as t;
insert into invoices (
    id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, currency, customer_name, lines,
    first_fact_at, last_fact_at
)
select
    nextval('subject_ids'), p.merchant, 'mx_merchant', p.merchant, true, p.n || '-' || p.k || '-' || t, 'paid',
    p.k || '-' || t, 19900, 'USD', p.name, jsonb_build_array(jsonb_build_object('product', p.product)),
    p.began + t * interval '30 days', p.began + t * interval '30 days'
from patients p, generate_series(0, {payments_each} - 1) as t;
insert into memberships (
    merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status_by_rule, started_at,
    last_payment_at, next_expected_at, renews_every, amount_minor, currency, payment_count, google_review_submitted,
    referral_source, fulfillment_type
)
select
    p.merchant, 'mx_merchant', p.merchant, p.code, true, p.category, p.name, 'p' || p.k || '@example.com', p.product,
    p.status, p.began, p.began + ({payments_each} - 1) * interval '30 days',
    p.began + {payments_each} * interval '30 days',
    'month', 19900, 'USD', {payments_each}, p.k % 3 = 0, (array['Google', 'A friend', null])[1 + p.k % 3],
    (array['Ship', 'Office', null])[1 + p.k % 3]
from patients p;
drop table patients;
set session_replication_role = origin;
select repair_membership_counts(id) from merchants;
"""
ANALYZE = (
    "analyze merchants, product_categories, payments, invoices, memberships, payment_audit_log, health_data_reads,"
    " reclassifications, membership_counts"
)


def fill(
    database: GatehouseDatabase,
    *,
    merchants: int,
    patients: int,
    payments_each: int,
    first: int = 0,
    analyze: bool = True,
) -> None:
    """Write clinics from number `first` on, each with so many patients, who each paid so many times."""
    values = ", ".join(f"('{name}', '{category}')" for name, category in PRODUCTS.items())
    database.sql(
        FILL.format(
            first=first,
            last=first + merchants - 1,
            patients=patients,
            payments_each=payments_each,
            products=values,
            names=", ".join(f"'{name}'" for name in PRODUCTS),
            categories=", ".join(f"'{category}'" for category in PRODUCTS.values()),
        )
    )
    if analyze:
        database.sql(ANALYZE)

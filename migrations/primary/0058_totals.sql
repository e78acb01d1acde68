-- What each payment, refund, dispute and order counts for in reports, and the sums of it: so that an answer over a year
-- costs what a year of days costs, however many payments they held.
-- migrate: up

-- What one row counts for in one quarter of an hour: it follows from what the row says, so that it can be made anew. A
-- measure is null where it is nothing.
create table total_entries (
    source text not null check (source in ('payment', 'refund', 'dispute', 'order')),
    source_id bigint not null,
    part text not null,  -- of an order: the type of item; else nothing
    bucket timestamptz not null,
    currency text not null,  -- '' where no gateway has said it yet
    merchant text not null,
    livemode boolean not null,
    gateway text,
    app text,
    method text,
    category text,
    failure text,
    duration_bin integer,
    order_status text,
    event_id text,
    payments bigint,
    amount_minor bigint,
    succeeded bigint,
    failed bigint,
    cancelled bigint,
    duration_ms bigint,
    sales bigint,
    gross_minor bigint,
    fee_minor bigint,
    unknown_fees bigint,
    unknown_fee_gross_minor bigint,
    sales_refunded bigint,
    sales_refunded_minor bigint,
    sales_disputed bigint,
    refunds bigint,
    refund_minor bigint,
    other_fee_minor bigint,
    disputes bigint,
    dispute_minor bigint,
    disputes_lost bigint,
    lost_minor bigint,
    held_minor bigint,
    orders bigint,
    ordered_minor bigint,
    paid_minor bigint,
    returned_minor bigint,
    tax_minor bigint,
    order_fee_minor bigint,
    discount_minor bigint,
    quantity bigint,
    sold_quantity bigint,
    sold_minor bigint,
    primary key (source, source_id, part, bucket, currency)
);
comment on column total_entries.duration_bin is 'n, where the processing time in ms is above 1.1^(n-1) and up to 1.1^n';

create index total_entries_merchant on total_entries (merchant, livemode, bucket);
create index total_entries_bucket on total_entries (bucket);

-- Sums of entries by hour, day and month of UTC, by one thing at a time. The merchant '*' is all of them together.
create table totals (
    merchant text not null,
    livemode boolean not null,
    breakdown text not null check (
        breakdown in ('gateway', 'app', 'method', 'category', 'failure', 'duration', 'order', 'item')),
    level text not null check (level in ('hour', 'day', 'month')),
    bucket timestamptz not null,
    currency text not null,
    value text not null,
    detail text not null,  -- of failure and duration the gateway, of order and item the event that is sold
    payments bigint,
    amount_minor bigint,
    succeeded bigint,
    failed bigint,
    cancelled bigint,
    duration_ms bigint,
    sales bigint,
    gross_minor bigint,
    fee_minor bigint,
    unknown_fees bigint,
    unknown_fee_gross_minor bigint,
    sales_refunded bigint,
    sales_refunded_minor bigint,
    sales_disputed bigint,
    refunds bigint,
    refund_minor bigint,
    other_fee_minor bigint,
    disputes bigint,
    dispute_minor bigint,
    disputes_lost bigint,
    lost_minor bigint,
    held_minor bigint,
    orders bigint,
    ordered_minor bigint,
    paid_minor bigint,
    returned_minor bigint,
    tax_minor bigint,
    order_fee_minor bigint,
    discount_minor bigint,
    quantity bigint,
    sold_quantity bigint,
    sold_minor bigint,
    primary key (merchant, livemode, breakdown, level, bucket, currency, value, detail)
);

create index totals_bucket on totals (bucket, level);

-- What has changed since it was last counted. No index: few rows, written by every recording and soon gone.
create table total_marks (
    source text not null,
    source_id bigint not null,
    merchant text not null,
    marked_at timestamptz not null default now()
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = -1);

-- What a nightly recount found.
create table total_checks (
    id bigint generated always as identity primary key,
    begun_at timestamptz not null default now(),
    ended_at timestamptz,
    next_payment_id bigint not null default 0,  -- where the next one goes on
    rows_checked bigint not null default 0,
    entries_drifted bigint not null default 0,
    totals_drifted bigint not null default 0,
    repaired boolean not null default false,
    examples jsonb not null default '[]'
);

alter table total_entries enable row level security, force row level security;
create policy own_merchant on total_entries to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on total_entries to gatehouse_worker, gatehouse_ops, current_user using (true);
alter table totals enable row level security, force row level security;
create policy own_merchant on totals to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on totals to gatehouse_worker, gatehouse_ops, current_user using (true);
alter table total_marks enable row level security, force row level security;
create policy own_merchant on total_marks to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on total_marks to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select on total_entries, totals, total_marks to gatehouse_api;
grant insert on total_marks to gatehouse_intake, gatehouse_api;
grant select, insert, update, delete on total_entries, totals, total_marks to gatehouse_worker, gatehouse_ops;
grant select, insert, update on total_checks to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop table total_checks;
drop table total_marks;
drop table totals;
drop table total_entries;

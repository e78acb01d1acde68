-- Payments: folded from facts, found by any of the names that a gateway gives to one money.
-- migrate: up

-- What was said, and by what; rows are made from this and from nothing else. `words` holds the fields of a fact that
-- say something. Its primary key is also the way the fold reads: all facts of one subject lie together.
create table facts (
    kind text not null check (kind in ('payment')),
    subject_id bigint not null,
    id bigint generated always as identity,
    merchant text not null,
    gateway text not null,
    account text not null,
    said_by text not null,
    webhook_event_id bigint,
    job_id bigint,
    -- By the gateway's clock. A fact without a time says less than any with one, whenever it arrived.
    occurred_at timestamptz,
    received_at timestamptz not null,
    rank smallint not null,
    words jsonb not null,
    primary key (kind, subject_id, id),
    check (num_nonnulls(webhook_event_id, job_id) = 1)
);

create index facts_webhook_event on facts (webhook_event_id) where webhook_event_id is not null;

-- Ids are taken before the row is written, because facts and names come first and the fold makes the row.
create sequence payment_ids;

create table payments (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    status text not null check (status in (
        'pending', 'processing', 'completed', 'failed', 'refunded', 'partially_refunded', 'cancelled'
    )),
    amount_minor bigint check (amount_minor >= 0),
    received_minor bigint check (received_minor >= 0),
    refunded_minor bigint check (refunded_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    fee_minor bigint,
    fee_currency text check (fee_currency ~ '^[A-Z]{3}$'),
    method text,
    reference text,
    customer_ref text,
    failure_code text,
    failure_message text,
    status_reason text,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null,
    completed_at timestamptz,
    merged_into bigint references payments (id),
    check (fee_minor is null or fee_currency is not null),
    -- Money that came in without an amount or a currency would be counted as nothing.
    check (status not in ('completed', 'refunded', 'partially_refunded')
        or (amount_minor is not null and received_minor is not null and currency is not null))
);

comment on column payments.fee_minor is 'null means: not known yet; never counted as zero';

create index payments_newest on payments (merchant, first_fact_at desc, id desc) where merged_into is null;
create index payments_reference on payments (merchant, reference) where reference is not null;
create index payments_customer on payments (merchant, customer_ref) where customer_ref is not null;
create index payments_merged on payments (merged_into) where merged_into is not null;

-- Deferred: the name is written a statement before its payment, in the same transaction.
create table payment_objects (
    gateway text not null,
    account text not null,
    kind text not null,
    object_id text not null,
    merchant text not null,
    payment_id bigint not null references payments (id) deferrable initially deferred,
    primary key (gateway, account, kind, object_id)
);

create index payment_objects_payment on payment_objects (payment_id);

alter table facts enable row level security, force row level security;
create policy own_merchant on facts to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on facts to gatehouse_worker, gatehouse_ops, current_user using (true);

alter table payments enable row level security, force row level security;
create policy own_merchant on payments to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on payments to gatehouse_worker, gatehouse_ops, current_user using (true);

alter table payment_objects enable row level security, force row level security;
create policy own_merchant on payment_objects to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on payment_objects to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert on facts, payments, payment_objects to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant update on payments to gatehouse_intake, gatehouse_worker, gatehouse_ops;
-- Joining two payments moves their facts and names, and nothing else of them ever changes.
grant update (subject_id) on facts to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant update (payment_id) on payment_objects to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant usage on sequence payment_ids to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant select on payments, payment_objects, facts to gatehouse_api;

-- migrate: down

drop table payment_objects;
drop table payments;
drop sequence payment_ids;
drop table facts;

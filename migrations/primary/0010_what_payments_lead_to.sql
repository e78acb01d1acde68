-- Refunds, disputes, subscriptions, invoices, payouts and the gateways' customers: folded from facts, as payments are.
-- migrate: up

-- Not valid: what is there are payments all of them, and reading them through would hold up every recording.
alter table facts drop constraint facts_kind_check;
alter table facts add constraint facts_kind_check check (
    kind in ('payment', 'customer', 'subscription', 'invoice', 'refund', 'dispute', 'payout')
) not valid;

-- Ids are taken before the row is written, because facts and names come first and the fold makes the row.
create sequence subject_ids;

-- Every name that a gateway gives to one of them, and the row that it leads to; payments have payment_objects.
create table subject_names (
    gateway text not null,
    account text not null,
    kind text not null,
    object_id text not null,
    subject_kind text not null,
    subject_id bigint not null,
    merchant text not null,
    primary key (gateway, account, kind, object_id, subject_kind)
);

create index subject_names_subject on subject_names (subject_kind, subject_id);

-- `gateway_id` is the first of its names: by it others speak of it (customer_ref, subscription_ref, invoice_ref).
create table gateway_customers (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    email text,
    name text,
    phone text,
    app text,
    user_id text,
    is_deleted boolean,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create table subscriptions (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    status text not null check (status in (
        'pending', 'trialing', 'active', 'past_due', 'paused', 'non_renewing', 'expired', 'cancelled'
    )),
    plan text,
    plan_name text,
    amount_minor bigint check (amount_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    interval text,
    customer_ref text,
    email text,
    reference text,
    started_at timestamptz,
    period_start timestamptz,
    period_end timestamptz,
    next_payment_at timestamptz,
    cancel_at timestamptz,
    ended_at timestamptz,
    cancel_reason text,
    app text,
    app_from text,
    user_id text,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create table invoices (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    status text not null check (status in (
        'draft', 'open', 'partially_paid', 'past_due', 'uncollectible', 'void', 'paid', 'partially_refunded', 'refunded'
    )),
    number text,
    total_minor bigint,
    due_minor bigint,
    paid_minor bigint,
    currency text check (currency ~ '^[A-Z]{3}$'),
    customer_ref text,
    email text,
    subscription_ref text,
    attempts integer,
    next_attempt_at timestamptz,
    issued_at timestamptz,
    due_at timestamptz,
    paid_at timestamptz,
    period_start timestamptz,
    period_end timestamptz,
    description text,
    lines jsonb,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create table refunds (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    payment_id bigint references payments (id) deferrable initially deferred,
    status text not null check (status in ('pending', 'completed', 'cancelled', 'failed')),
    amount_minor bigint check (amount_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    fee_minor bigint,
    reason text,
    failure_code text,
    failure_message text,
    reference text,
    refunded_at timestamptz,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create table disputes (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    payment_id bigint references payments (id) deferrable initially deferred,
    status text not null check (status in ('warning', 'needs_response', 'under_review', 'closed', 'won', 'lost')),
    amount_minor bigint check (amount_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    fee_minor bigint,
    reason text,
    outcome text,
    is_withdrawn boolean,
    respond_by timestamptz,
    opened_at timestamptz,
    closed_at timestamptz,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create table payouts (
    id bigint primary key,
    merchant text not null,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    gateway_id text not null,
    kind text,
    status text not null check (status in ('pending', 'settled', 'cancelled', 'failed', 'reversed')),
    amount_minor bigint check (amount_minor >= 0),
    currency text check (currency ~ '^[A-Z]{3}$'),
    fee_minor bigint,
    reversed_minor bigint check (reversed_minor >= 0),
    destination text,
    batch_ref text,
    reference text,
    arrives_at timestamptz,
    settled_at timestamptz,
    failure_code text,
    failure_message text,
    metadata jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null
);

create index gateway_customers_ref on gateway_customers (gateway, account, gateway_id);
create index gateway_customers_email on gateway_customers (merchant, lower(email)) where email is not null;

create index subscriptions_ref on subscriptions (gateway, account, gateway_id);
create index subscriptions_customer on subscriptions (gateway, account, customer_ref) where customer_ref is not null;
create index subscriptions_user on subscriptions (merchant, app, user_id) where user_id is not null;
create index subscriptions_newest on subscriptions (merchant, first_fact_at desc, id desc);

create index invoices_ref on invoices (gateway, account, gateway_id);
create index invoices_customer on invoices (gateway, account, customer_ref) where customer_ref is not null;
create index invoices_subscription on invoices (gateway, account, subscription_ref) where subscription_ref is not null;
create index invoices_newest on invoices (merchant, first_fact_at desc, id desc);

create index refunds_payment on refunds (payment_id) where payment_id is not null;
create index refunds_newest on refunds (merchant, first_fact_at desc, id desc);

create index disputes_payment on disputes (payment_id) where payment_id is not null;
create index disputes_newest on disputes (merchant, first_fact_at desc, id desc);
-- Those that somebody has to answer, by the day until which.
create index disputes_to_answer on disputes (merchant, respond_by) where status in ('warning', 'needs_response');

create index payouts_batch on payouts (gateway, account, batch_ref) where batch_ref is not null;
create index payouts_newest on payouts (merchant, first_fact_at desc, id desc);

do $$
declare
    each text;
begin
    foreach each in array array[
        'subject_names', 'gateway_customers', 'subscriptions', 'invoices', 'refunds',
        'disputes', 'payouts'
    ] loop
        execute format('alter table %I enable row level security, force row level security', each);
        execute format(
            'create policy own_merchant on %I to gatehouse_intake, gatehouse_api'
            ' using (merchant = current_setting(''gatehouse.merchant'', true))', each);
        execute format(
            'create policy all_merchants on %I to gatehouse_worker, gatehouse_ops, current_user using (true)', each);
        execute format('grant select on %I to gatehouse_api', each);
        execute format('grant select, insert, update on %I to gatehouse_intake, gatehouse_worker, gatehouse_ops', each);
    end loop;
end
$$;

-- A name leads to another row only when two turn out to be one.
revoke update on subject_names from gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant update (subject_id) on subject_names to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant usage on sequence subject_ids to gatehouse_intake, gatehouse_worker, gatehouse_ops;

-- What a payment says of others, and whose user pays.
alter table payments
    add column email text,
    add column subscription_ref text,
    add column invoice_ref text,
    add column app text,
    add column app_from text,
    add column user_id text,
    add column plan text;

comment on column payments.refunded_minor is
    'completed refunds, and what the gateway calls refunded that no known refund explains';
comment on column payments.app_from is
    'how the app is known: event, subscription, plan, customer, payment, default';

-- By what the front door calls a request, so that one event can be followed from there.
alter table webhook_events add column request_id text;

-- Disputes of PayPal name a capture or a sale without saying which: both get one more name in common.
insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
select gateway, account, 'transaction', object_id, merchant, payment_id
from payment_objects
where gateway = 'paypal' and kind in ('capture', 'sale')
on conflict do nothing;

-- migrate: down

delete from payment_objects where gateway = 'paypal' and kind = 'transaction';
alter table webhook_events drop column request_id;
alter table payments
    drop column email, drop column subscription_ref, drop column invoice_ref, drop column app, drop column app_from,
    drop column user_id, drop column plan;
comment on column payments.refunded_minor is null;
drop table payouts;
drop table disputes;
drop table refunds;
drop table invoices;
drop table subscriptions;
drop table gateway_customers;
drop table subject_names;
drop sequence subject_ids;
delete from facts where kind <> 'payment';
alter table facts drop constraint facts_kind_check;
alter table facts add constraint facts_kind_check check (kind in ('payment'));

-- The payments themselves: a row each, whole in itself, so that one write brings one payment over.
-- migrate: up

create table payment_services (
    -- The payment's id in the primary database; of rows that only sync_payment_to_backup() knows, a negative number.
    id bigint primary key,
    -- An older state never overwrites a newer one; 0 is what no primary database has counted.
    version bigint not null,
    merchant text not null,
    gateway_provider text not null,
    account text not null,
    livemode boolean not null,
    service text not null,
    reference text,
    client_reference text,
    status text not null,
    amount_minor bigint,
    received_minor bigint,
    refunded_minor bigint,
    currency text,
    currency_exponent smallint not null default 2,
    amount numeric generated always as (
        round(amount_minor::numeric / 10::numeric ^ currency_exponent::numeric, currency_exponent)) stored,
    fee_minor bigint,
    fee_currency text,
    method text,
    customer_ref text,
    email text,
    app text,
    app_from text,
    user_id text,
    plan text,
    subscription_ref text,
    invoice_ref text,
    failure_code text,
    failure_message text,
    status_reason text,
    metadata jsonb,
    merged_into bigint,
    order_id bigint,
    order_state jsonb,
    refunds jsonb,
    disputes jsonb,
    first_fact_at timestamptz not null,
    last_fact_at timestamptz not null,
    completed_at timestamptz,
    names jsonb,
    names_of_others jsonb,
    events jsonb,
    changes jsonb,
    -- What the gateway said of it, in our words: no card data, sealed with the data keys, opened by a restore alone.
    key_id text,
    sealed_facts bytea,
    written_at timestamptz not null default now()
);

comment on column payment_services.amount is 'in whole units of its currency; everything else counts minor units';

create index payment_services_newest on payment_services (merchant, first_fact_at desc, id desc)
    where merged_into is null;
-- What the reports read: a period, by gateway, without a look at the rows themselves.
create index payment_services_period on payment_services (first_fact_at)
    include (gateway_provider, livemode, status, currency, amount, completed_at, merchant) where merged_into is null;
create index payment_services_reference on payment_services (merchant, reference) where reference is not null;
create index payment_services_email on payment_services (merchant, lower(email)) where email is not null;
create index payment_services_customer on payment_services (merchant, customer_ref) where customer_ref is not null;
create index payment_services_order on payment_services (order_id) where order_id is not null;

create sequence payment_services_elsewhere increment by -1 start with -1 maxvalue -1 minvalue -9223372036854775807;

-- Which accounts there are at which gateway. No secrets: those are in the primary database, sealed.
create table gateway_configs (
    gateway_provider text not null,
    account text not null,
    merchant text not null,
    environment text not null check (environment in ('test', 'live', 'both')),
    is_active boolean not null,
    updated_at timestamptz not null,
    primary key (gateway_provider, account)
);

-- Every write and every failure of it: one line a batch.
create table service_logs (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    service text not null,
    action text not null,
    ok boolean not null,
    payments integer not null default 0,
    payment_ids bigint[],
    milliseconds integer,
    message text
);
create index service_logs_at on service_logs (at);
create index service_logs_failed on service_logs (at) where not ok;

-- Until when everything that was committed in the primary database is here. One row.
create table backup_progress (
    only_row boolean primary key default true check (only_row),
    as_of timestamptz,
    checked_at timestamptz
);
insert into backup_progress default values;

alter table payment_services enable row level security, force row level security;
create policy own_merchant on payment_services to gatehouse_backup_reader
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on payment_services to gatehouse_backup_writer, current_user using (true);
alter table gateway_configs enable row level security, force row level security;
create policy own_merchant on gateway_configs to gatehouse_backup_reader
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on gateway_configs to gatehouse_backup_writer, current_user using (true);

grant select, insert, update, delete on payment_services, gateway_configs, service_logs to gatehouse_backup_writer;
grant select, update on backup_progress to gatehouse_backup_writer;
grant usage on sequence payment_services_elsewhere to gatehouse_backup_writer;
grant select on backup_progress to gatehouse_backup_reader;
-- Not the sealed facts: reports and answers have no need of them.
grant select (
    id, version, merchant, gateway_provider, account, livemode, service, reference, client_reference, status,
    amount_minor, received_minor, refunded_minor, currency, currency_exponent, amount, fee_minor, fee_currency, method,
    customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message,
    status_reason, metadata, merged_into, order_id, order_state, refunds, disputes, first_fact_at, last_fact_at,
    completed_at, names, names_of_others, events, changes, written_at
) on payment_services to gatehouse_backup_reader;
grant select on gateway_configs to gatehouse_backup_reader;

-- migrate: down

drop table backup_progress;
drop table service_logs;
drop table gateway_configs;
drop sequence payment_services_elsewhere;
drop table payment_services;

-- Where each app is told of its events, how, and what became of each delivery.
-- migrate: up

alter table apps
    add column target_url text check (length(target_url) between 8 and 2048),
    -- What the settings of the deployment say; `target_url` wins. The sweeper keeps it up to date.
    add column environment_url text,
    add column is_paused boolean not null default false,
    add column paused_because text,
    -- {every_app, gateways, types, least_minor, most_minor, currencies}; empty: all events of its own.
    add column takes jsonb not null default '{}' check (jsonb_typeof(takes) = 'object'),
    add column takes_health_data boolean not null default false,
    add column router_source text,
    -- Null: as the settings say.
    add column attempts smallint check (attempts between 1 and 5),
    add column attempt_milliseconds integer check (attempt_milliseconds between 100 and 10000),
    add column waits_milliseconds integer[] check (
        cardinality(waits_milliseconds) between 1 and 5 and 0 <= all (waits_milliseconds)
        and 2000 >= all (waits_milliseconds)),
    add column rate_per_second double precision check (rate_per_second > 0),
    add column burst integer not null default 10 check (burst >= 1),
    -- Signing secrets, the new one first, and the app's own headers, which may hold a password: JSON, sealed with `key_id`.
    add column sealed bytea,
    add column key_id text,
    add column circuit_state text not null default 'closed' check (circuit_state in ('closed', 'open', 'half_open')),
    add column circuit_failures integer not null default 0,
    add column circuit_opened_at timestamptz,
    add column circuit_probe_at timestamptz,
    add column bucket_tokens double precision,
    add column bucket_filled_at timestamptz,
    add check ((sealed is null) = (key_id is null));

-- What is sealed is for who delivers and who sets it up.
revoke select on apps from gatehouse_intake, gatehouse_api;
grant select (
    merchant, name, is_default, plans, created_at, target_url, environment_url, is_paused, paused_because, takes,
    takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst,
    circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at
) on apps to gatehouse_intake, gatehouse_api;
grant update (
    environment_url, is_paused, paused_because, sealed, key_id, circuit_state, circuit_failures, circuit_opened_at,
    circuit_probe_at, bucket_tokens, bucket_filled_at
) on apps to gatehouse_worker;

-- A row for each delivery, however many attempts it took.
create table webhook_forward_logs (
    id bigserial primary key,
    created_at timestamptz not null default now(),
    app text not null,
    target_url text not null,  -- without its query, which may hold a token
    ok boolean not null,
    status_code integer,
    attempt_count integer not null default 1,
    error_message text,
    reference text,
    merchant text not null,
    gateway text,
    duration_ms integer,
    error_class text,
    webhook_event_id bigint,
    job_id bigint
);

create index webhook_forward_logs_created on webhook_forward_logs (created_at desc);
create index webhook_forward_logs_app on webhook_forward_logs (merchant, app, id desc);
create index webhook_forward_logs_reference on webhook_forward_logs (reference) where reference is not null;
create index webhook_forward_logs_failed on webhook_forward_logs (id desc) where not ok;
create index webhook_forward_logs_event on webhook_forward_logs (webhook_event_id) where webhook_event_id is not null;

alter table webhook_forward_logs enable row level security, force row level security;
create policy own_merchant on webhook_forward_logs to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on webhook_forward_logs to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select on webhook_forward_logs to gatehouse_worker, gatehouse_api, gatehouse_ops;
grant insert on webhook_forward_logs to gatehouse_worker, gatehouse_ops;
grant usage on sequence webhook_forward_logs_id_seq to gatehouse_worker, gatehouse_ops;

-- Sending again what was given up, or, as a replay, what was delivered: who asked, for what, and how far it came.
create table redrives (
    id bigint generated always as identity primary key,
    merchant text not null,
    actor text not null,
    filters jsonb not null,
    planned integer not null,
    sent integer not null default 0,
    started_at timestamptz not null default now(),
    finished_at timestamptz
);

alter table redrives enable row level security, force row level security;
create policy own_merchant on redrives to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on redrives to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select, insert, update on redrives to gatehouse_worker, gatehouse_ops;

-- The redrive that took the job up last.
alter table jobs add column redrive_id bigint;

-- migrate: down

alter table jobs drop column redrive_id;
drop table redrives;
drop table webhook_forward_logs;
revoke select (
    merchant, name, is_default, plans, created_at, target_url, environment_url, is_paused, paused_because, takes,
    takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst,
    circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at
) on apps from gatehouse_intake, gatehouse_api;
grant select on apps to gatehouse_intake, gatehouse_api;
alter table apps
    drop column bucket_filled_at, drop column bucket_tokens, drop column circuit_probe_at,
    drop column circuit_opened_at, drop column circuit_failures, drop column circuit_state, drop column key_id,
    drop column sealed, drop column burst, drop column rate_per_second, drop column waits_milliseconds,
    drop column attempt_milliseconds, drop column attempts, drop column router_source, drop column takes_health_data,
    drop column takes, drop column paused_because, drop column is_paused, drop column environment_url,
    drop column target_url;

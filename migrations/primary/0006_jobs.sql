-- Work to do: the row is the truth, a queue message only rings the bell.
-- migrate: up

create table jobs (
    id bigint generated always as identity primary key,
    topic text not null,
    business_key text not null,
    merchant text not null,
    arguments jsonb not null default '{}',
    status text not null default 'waiting' check (status in ('waiting', 'leased', 'done', 'dead')),
    due_at timestamptz not null default now(),
    attempts integer not null default 0,
    lease_until timestamptz,
    lease_token uuid,
    -- When the sweeper may ring for this job: each writer moves it past the time in which it rings itself.
    ring_after timestamptz not null default now() + interval '30 seconds',
    last_error text,
    -- How often it was given up, and whether its dead-letter queue has heard of the last time.
    burials integer not null default 0,
    burial_told boolean not null default true,
    webhook_event_id bigint,
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    unique (topic, business_key),
    check ((status = 'leased') = (lease_token is not null and lease_until is not null))
);

create index jobs_to_ring on jobs (ring_after) where status in ('waiting', 'leased');
create index jobs_burials_to_tell on jobs (id) where not burial_told;
create index jobs_dead on jobs (topic, finished_at) where status = 'dead';

alter table jobs enable row level security, force row level security;
create policy own_merchant on jobs to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on jobs to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select, insert on jobs to gatehouse_intake;
grant select, insert, update on jobs to gatehouse_worker, gatehouse_ops;
grant select on jobs to gatehouse_api;

-- migrate: down

drop table jobs;

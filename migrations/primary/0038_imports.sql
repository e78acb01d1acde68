-- Payments that people bring in, from a file or from a gateway's lists: how far each import has come.
-- migrate: up

create table imports (
    id bigint generated always as identity primary key,
    merchant text not null references merchants (id),
    gateway text not null,
    account text not null,
    source text not null,  -- the file's name, or the days that are fetched
    content_hash text not null,  -- of what is imported: the same file goes on where it was left
    job_id bigint not null,  -- the facts of an import are those of a job that a person works on
    place bigint not null default 0,  -- everything before it is recorded: bytes of the file, or days
    rows_read bigint not null default 0,
    rows_recorded bigint not null default 0,
    rows_refused bigint not null default 0,
    started_by text not null default session_user,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    finished_at timestamptz,
    unique (gateway, account, content_hash)
);
create index imports_newest on imports (merchant, started_at desc, id desc);
alter table imports enable row level security, force row level security;
create policy all_merchants on imports to current_user, gatehouse_ops, gatehouse_worker using (true);
create policy own_merchant on imports to gatehouse_api, gatehouse_intake
    using (merchant = current_setting('gatehouse.merchant', true));
grant select, insert, update on imports to gatehouse_ops, gatehouse_worker;

-- migrate: down

drop table imports;

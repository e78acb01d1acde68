-- Merchants and their accounts at the gateways: whose money an event speaks of.
-- migrate: up

create table merchants (
    id text primary key check (id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    name text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default now()
);

insert into merchants (id, name) values ('default', 'The default merchant');

create table gateway_accounts (
    gateway text not null,
    account text not null,
    merchant text not null references merchants (id),
    mode text not null check (mode in ('test', 'live', 'both')),
    is_active boolean not null default true,
    -- Signing secrets, API keys and what else the gateway asks for: JSON, sealed with the data key `key_id`.
    credentials bytea not null,
    key_id text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (gateway, account)
);

create index gateway_accounts_merchant on gateway_accounts (merchant);
-- Intake asks once a minute what has changed.
create index gateway_accounts_updated on gateway_accounts (updated_at);

-- Ends the transaction with a chosen SQLSTATE: how a statement in the middle of a flush refuses to go on.
-- Returns boolean only so that it can stand in a WHERE.
create function refuse(code text, reason text) returns boolean
language plpgsql as $$
begin
    raise exception using errcode = code, message = reason;
end
$$;

-- Intake looks for the account before it knows the merchant, so it sees all of them.
alter table merchants enable row level security, force row level security;
create policy own_merchant on merchants to gatehouse_api using (id = current_setting('gatehouse.merchant', true));
create policy all_merchants on merchants to gatehouse_intake, gatehouse_worker, gatehouse_ops, current_user
    using (true);

alter table gateway_accounts enable row level security, force row level security;
create policy own_merchant on gateway_accounts to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on gateway_accounts to gatehouse_intake, gatehouse_worker, gatehouse_ops, current_user
    using (true);

grant select on merchants to gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops;
grant select on gateway_accounts to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant select (gateway, account, merchant, mode, is_active, created_at, updated_at) on gateway_accounts to gatehouse_api;
grant insert, update on merchants, gateway_accounts to gatehouse_ops;

-- migrate: down

drop function refuse(text, text);
drop table gateway_accounts;
drop table merchants;

-- The merchant's apps: which of them each payment and subscription belongs to, and what each app's users have.
-- migrate: up

create table apps (
    merchant text not null references merchants (id),
    name text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'),
    -- Where nothing says otherwise, a merchant's money belongs to this one.
    is_default boolean not null default false,
    -- The gateways' ids of the plans that belong to it.
    plans text[] not null default '{}',
    created_at timestamptz not null default now(),
    primary key (merchant, name)
);

create unique index apps_default on apps (merchant) where is_default;

insert into apps (merchant, name, is_default) values ('default', 'nexai', true), ('default', 'elevenone', false);

-- A row for each event of a payment or subscription. The app follows when a link to another one arrives later.
create table app_transactions (
    webhook_event_id bigint primary key,
    merchant text not null,
    app text,
    gateway text not null,
    account text not null,
    livemode boolean not null,
    event_type text not null,
    payment_id bigint,
    subscription_id bigint,
    reference text,
    user_id text,
    plan text,
    amount_minor bigint,
    currency text,
    status text not null,
    occurred_at timestamptz,
    created_at timestamptz not null,
    check (num_nonnulls(payment_id, subscription_id) = 1)
);

create index app_transactions_newest on app_transactions (merchant, app, created_at desc);
create index app_transactions_user on app_transactions (merchant, app, user_id) where user_id is not null;
create index app_transactions_reference on app_transactions (merchant, reference) where reference is not null;
create index app_transactions_payment on app_transactions (payment_id) where payment_id is not null;
create index app_transactions_subscription on app_transactions (subscription_id) where subscription_id is not null;

-- Makes the view of one app, `<app>_subscriptions`. Views belong to the owner, so ops make them through this.
create function make_app_view(p_app text) returns text
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    view_name text := replace(p_app, '-', '_') || '_subscriptions';
begin
    if not exists (select from apps where name = p_app) then
        raise exception using errcode = 'P0002', message = 'no merchant has an app named ' || p_app;
    end if;
    if to_regclass(view_name) is null then
        execute format(
            'create view %I with (security_invoker = true) as'
            ' select webhook_event_id as id, created_at, reference, user_id, plan, amount_minor, currency, status,'
            ' event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id'
            ' from app_transactions where app = %L', view_name, p_app);
        execute format('grant select on %I to gatehouse_worker, gatehouse_api, gatehouse_ops', view_name);
    end if;
    return view_name;
end
$$;

revoke execute on function make_app_view(text) from public;
grant execute on function make_app_view(text) to gatehouse_ops;

alter table apps enable row level security, force row level security;
create policy own_merchant on apps to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on apps to gatehouse_worker, gatehouse_ops, current_user using (true);

alter table app_transactions enable row level security, force row level security;
create policy own_merchant on app_transactions to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on app_transactions to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select on apps to gatehouse_intake, gatehouse_worker, gatehouse_api, gatehouse_ops;
grant insert, update, delete on apps to gatehouse_ops;
grant select on app_transactions to gatehouse_api;
grant select, insert, update on app_transactions to gatehouse_intake, gatehouse_worker, gatehouse_ops;

select make_app_view(name) from apps order by name;

-- What each user of an app has now: the newest of their subscriptions, else the newest payment of a plan.
create view app_users with (security_invoker = true) as
select distinct on (merchant, app, user_id)
    merchant, app, user_id, plan, status, amount_minor, currency, said_by, gateway, account, object_id, since,
    last_fact_at, livemode
from (
    select merchant, app, user_id, plan, status, amount_minor, currency, 'subscription' as said_by, gateway, account,
        gateway_id as object_id, coalesce(started_at, first_fact_at) as since, last_fact_at, livemode, 1 as place
    from subscriptions
    where user_id is not null
    union all
    select merchant, app, user_id, plan, status, amount_minor, currency, 'payment', gateway, account,
        id::text, coalesce(completed_at, first_fact_at), last_fact_at, livemode, 2
    from payments
    where user_id is not null and plan is not null and merged_into is null
        and status in ('completed', 'partially_refunded', 'refunded')
) as said
order by merchant, app, user_id, place, livemode desc, since desc, object_id desc;

grant select on app_users to gatehouse_worker, gatehouse_api, gatehouse_ops;

-- migrate: down

drop view app_users;
do $$
declare
    each text;
begin
    -- Also those that were made since; they are what depends on this table.
    for each in select distinct replace(name, '-', '_') || '_subscriptions' from apps loop
        execute format('drop view if exists %I', each);
    end loop;
end
$$;
drop function make_app_view(text);
drop table app_transactions;
drop table apps;

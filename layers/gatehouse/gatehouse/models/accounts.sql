-- Merchants and their accounts at the gateways. Credentials come and go sealed; nothing here can read them.

-- name: add_merchant
-- Adds a merchant.
insert into merchants (id, name) values (:merchant::text, :name::text) returning id, name, is_active;

-- name: find_merchant
-- One of them.
select id, name, is_active from merchants where id = :merchant::text;

-- name: list_merchants
-- All merchants with the number of their accounts.
select m.id, m.name, m.is_active, m.created_at, count(a.account) as accounts
from merchants m
left join gateway_accounts a on a.merchant = m.id
group by m.id
order by m.id;

-- name: look_for_merchants
-- Merchants by id, those with a text in id or name; the page before ended at `after`.
select m.id, m.name, m.is_active, m.created_at,
       (select count(*) from gateway_accounts a where a.merchant = m.id) as accounts
from merchants m
where (:text::text is null or position(lower(:text::text) in lower(m.id || ' ' || m.name)) > 0)
  and (:after::text is null or m.id > :after::text)
order by m.id
limit :most::integer;

-- name: switch_merchant
-- Switches a merchant on or off; its accounts are touched, so that intake hears of it.
with touched as (
    update gateway_accounts set updated_at = clock_timestamp() where merchant = :merchant::text
)
update merchants set is_active = :is_active::boolean where id = :merchant::text returning id, is_active;

-- name: add_account
-- Adds an account of a merchant at a gateway.
insert into gateway_accounts (gateway, account, merchant, mode, credentials, key_id, updated_at)
values (
    :gateway::text, :account::text, :merchant::text, :mode::text, :credentials::bytea, :key_id::text,
    clock_timestamp()
)
returning gateway, account;

-- name: accounts_changed_since
-- Every account that was changed since a moment, with whether it and its merchant are switched on.
select a.gateway, a.account, a.merchant, a.mode, a.is_active and m.is_active as is_active, a.credentials, a.key_id,
       a.created_at, a.updated_at
from gateway_accounts a
join merchants m on m.id = a.merchant
where (:since::timestamptz is null or a.updated_at >= :since::timestamptz)
  and (:gateway::text is null or a.gateway = :gateway::text)
order by a.gateway, a.account;

-- name: look_for_accounts
-- Accounts by gateway, those with a text in account or merchant, credentials still sealed.
select a.gateway, a.account, a.merchant, a.mode, a.is_active and m.is_active as is_active, a.credentials, a.key_id,
       a.created_at, a.updated_at
from gateway_accounts a
join merchants m on m.id = a.merchant
where :text::text is null or position(lower(:text::text) in lower(concat_ws(' ', a.gateway, a.account, a.merchant))) > 0
order by a.gateway, a.account
limit :most::integer;

-- name: find_account
-- One account.
select a.gateway, a.account, a.merchant, a.mode, a.is_active and m.is_active as is_active, a.credentials, a.key_id,
       a.created_at, a.updated_at
from gateway_accounts a
join merchants m on m.id = a.merchant
where a.gateway = :gateway::text and a.account = :account::text;

-- name: replace_credentials
-- Puts new sealed credentials in the place of those that were read; finds nothing when another has changed them since.
update gateway_accounts
set credentials = :credentials::bytea, key_id = :key_id::text, updated_at = clock_timestamp()
where gateway = :gateway::text and account = :account::text and credentials = :credentials_read::bytea
returning gateway, account;

-- name: switch_account
-- Switches an account on or off.
update gateway_accounts
set is_active = :is_active::boolean, updated_at = clock_timestamp()
where gateway = :gateway::text and account = :account::text
returning gateway, account, is_active;

-- name: last_events
-- When an account was last told of a payment by an event: by its merchant's newest payments, which an index gives.
select a.account, said.received_at
from unnest(:accounts::text[], :merchants::text[]) as a (account, merchant)
cross join lateral (
    select max(f.received_at) as received_at
    from (
        select p.id from payments p
        where p.merchant = a.merchant and p.gateway = :gateway::text and p.account = a.account
          and p.merged_into is null
        order by p.first_fact_at desc, p.id desc
        limit 5
    ) as newest
    join facts f on f.kind = 'payment' and f.subject_id = newest.id and f.webhook_event_id is not null
) as said;

-- name: use_of_secrets
-- How often, and when last, each secret of an account has signed since a moment.
select signed_by, count(*) as events, max(received_at) as last_used_at
from webhook_events
where gateway = :gateway::text and account = :account::text and received_at >= :since::timestamptz
  and signed_by is not null
group by signed_by;

-- name: keys_in_use
-- What each data key still seals.
select key_id, sum(accounts)::bigint as accounts, sum(payloads)::bigint as payloads, sum(tenants)::bigint as tenants
from (
    select key_id, count(*) as accounts, 0 as payloads, 0 as tenants from gateway_accounts group by key_id
    union all
    select key_id, 0, count(*), 0 from webhook_payloads group by key_id
    union all
    select key_id, 0, count(*), 0 from gateway_answers group by key_id
    union all
    select key_id, 0, 0, count(*) from platform_tenants where key_id is not null group by key_id
    union all
    select key_id, 0, 0, count(*) from tenant_branches where key_id is not null group by key_id
) as sealed
group by key_id
order by key_id;

-- name: save_merchants
-- Adds merchants, and gives those that are there the name that is told.
insert into merchants as held (id, name)
select told.id, told.name from jsonb_to_recordset(:rows::jsonb) as told (id text, name text)
order by told.id
on conflict (id) do update set name = excluded.name where held.name <> excluded.name;

-- name: save_accounts
-- Adds accounts, and changes those whose credentials are still what was read of them. All or none of them: where one
-- was changed meanwhile, everything in the same flush is undone.
with told as materialized (
    select * from jsonb_to_recordset(:rows::jsonb) as told (
        account text, merchant text, mode text, credentials text, key_id text, credentials_read text)
),
written as (
    insert into gateway_accounts as held (gateway, account, merchant, mode, credentials, key_id, updated_at)
    select :gateway::text, told.account, told.merchant, told.mode, decode(told.credentials, 'base64'), told.key_id,
        clock_timestamp()
    from told
    order by told.account
    on conflict (gateway, account) do update set
        credentials = excluded.credentials, key_id = excluded.key_id, updated_at = excluded.updated_at
    where held.merchant = excluded.merchant and held.mode = excluded.mode and held.credentials = (
        select decode(told.credentials_read, 'base64') from told where told.account = excluded.account
    )
    returning held.account
)
select case
    when count(*) = :expected::bigint then count(*)
    else refuse('GH004', 'an account was changed meanwhile')::text::bigint end as accounts
from written;

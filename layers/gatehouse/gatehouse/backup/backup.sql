-- What is asked of the backup database.

-- name: write
-- Writes payments; returns the ids of those that were not there in this or a newer version.
select id from sync_payments_to_backup(:payments::jsonb) as id;

-- name: log
-- Writes a line of the log: what was written, or why nothing was.
insert into service_logs (service, action, ok, payments, payment_ids, milliseconds, message)
values (:service::text, :action::text, :ok::boolean, cardinality(:ids::bigint[]), :ids::bigint[],
        (extract(epoch from clock_timestamp() - now()) * 1000)::integer, :message::text);

-- name: progress
-- Notes until when everything is here.
update backup_progress set as_of = greatest(as_of, :as_of::timestamptz), checked_at = now();

-- name: as_of
-- Until when everything is here.
select as_of, now() as now from backup_progress;

-- name: hashes
-- Hashes a range of payments by gateway and hour.
select gateway, hour, payments, hash from backup_hashes(:from::bigint, :until::bigint);

-- name: hashes_within
-- Hashes each payment of one gateway and hour.
select payment_id, hash from backup_hashes_within(:from::bigint, :until::bigint, :gateway::text, :hour::timestamptz);

-- name: hashes_of
-- Hashes single payments.
select payment_id, hash from backup_hashes_of(:ids::bigint[]);

-- name: last_payment
-- The newest payment's id.
select coalesce(max(id), 0) as id from payment_services;

-- name: remove
-- Removes payments that the primary database does not have.
delete from payment_services where id = any (:ids::bigint[]) returning id;

-- name: keep_accounts
-- Keeps the accounts as the primary database has them.
with told as (
    select * from jsonb_to_recordset(:accounts::jsonb) as t (
        gateway text, account text, merchant text, mode text, is_active boolean, updated_at timestamptz)
), gone as (
    delete from gateway_configs c where not exists (
        select from told t where t.gateway = c.gateway_provider and t.account = c.account)
)
insert into gateway_configs (gateway_provider, account, merchant, environment, is_active, updated_at)
select gateway, account, merchant, mode, is_active, updated_at from told
on conflict (gateway_provider, account) do update set
    merchant = excluded.merchant, environment = excluded.environment, is_active = excluded.is_active,
    updated_at = excluded.updated_at
    where (gateway_configs.merchant, gateway_configs.environment, gateway_configs.is_active, gateway_configs.updated_at)
        is distinct from (excluded.merchant, excluded.environment, excluded.is_active, excluded.updated_at);

-- name: keep_keys
-- Keeps the hashes of the API's keys as the primary database has them.
with told as (
    select * from jsonb_to_recordset(:keys::jsonb) as t (
        id text, merchant text, role text, hash text, rate_per_minute integer, expires_at timestamptz,
        revoked_at timestamptz, merchant_is_active boolean)
), gone as (
    delete from reader_keys k where not exists (select from told t where t.id = k.id)
)
insert into reader_keys (id, merchant, role, hash, rate_per_minute, expires_at, revoked_at, merchant_is_active)
select id, merchant, role, decode(hash, 'hex'), rate_per_minute, expires_at, revoked_at, merchant_is_active from told
on conflict (id) do update set
    merchant = excluded.merchant, role = excluded.role, hash = excluded.hash,
    rate_per_minute = excluded.rate_per_minute, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at,
    merchant_is_active = excluded.merchant_is_active
    where reader_keys.* is distinct from excluded.*;

-- name: forget_logs
-- Drops lines of the log that are older than some days.
delete from service_logs where at < now() - make_interval(days => :days::integer);

-- name: story
-- The events that spoke of a payment and how it changed, as the primary database told them; of two that turned out to be
-- one, of the one that was kept.
select coalesce(events, '[]') as events, coalesce(changes, '[]') as changes from payment_services
where id = :id::bigint;

-- name: next_payments
-- Whole payments for a restore, in order of id.
select id, version, key_id, sealed_facts, to_jsonb(p) - array['sealed_facts', 'amount'] as state
from payment_services p where id > :after::bigint and id > 0 order by id limit :most::integer;

-- name: accounts
-- The accounts as they were last told.
select gateway_provider, account, merchant, environment, is_active from gateway_configs;

-- name: count_payments
-- How many payments there are, and the highest version.
select count(*) as payments, coalesce(max(version), 0) as version from payment_services where id > 0;

-- name: highest_ids
-- The highest ids that were given out, so that a restored database gives out none of them again.
select
    coalesce(max(id), 0) as payment, coalesce(max(order_id), 0) as order_id, coalesce(max(version), 0) as version,
    coalesce(max((order_state ->> 'customer_id')::bigint), 0) as customer,
    coalesce(max((select max((r ->> 'id')::bigint) from jsonb_array_elements(refunds) r)), 0) as refund,
    coalesce(max((select max((d ->> 'id')::bigint) from jsonb_array_elements(disputes) d)), 0) as dispute,
    coalesce(max((select max((e ->> 'id')::bigint) from jsonb_array_elements(events) e)), 0) as event,
    coalesce(max((select max((c ->> 'id')::bigint) from jsonb_array_elements(changes) c)), 0) as change
from payment_services where id > 0;

-- name: find_refund
-- One refund, which lies inside its payment.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
from refunds
where payment_id = payment_of_refund(:id::bigint) and id = :id::bigint;

-- name: find_dispute
-- One dispute, which lies inside its payment.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
from disputes
where payment_id = payment_of_dispute(:id::bigint) and id = :id::bigint;

-- name: find_order
-- The state of an order, as the newest that is known of its payments says it.
select order_state || jsonb_build_object('merchant', merchant) as order_state
from payment_services
where order_id = :id::bigint and order_state is not null
order by version desc
limit 1;

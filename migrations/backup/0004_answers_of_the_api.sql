-- What the API needs to answer from here: the primary database's names of things, and its keys.
-- migrate: up

-- The same columns as in the primary database, so that its statements run here as they are. What a payment was for is not
-- kept here, as it may tell of somebody's health; nor what can be folded again from its facts.
create view payments with (security_invoker = true) as
select
    id, merchant, gateway_provider as gateway, account, livemode, status, amount_minor, received_minor, refunded_minor,
    currency, fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason,
    metadata, first_fact_at, last_fact_at, completed_at, merged_into, email, subscription_ref, invoice_ref, app, user_id,
    plan, order_id, null::bigint as customer_id, null::text as source, null::bigint as surcharge_minor,
    null::text as invoice_number, null::text as product_name, null::text as product_category,
    null::boolean as is_recurring
from payment_services;

create view refunds with (security_invoker = true) as
select
    r.id, s.merchant, s.gateway_provider as gateway, s.account, r.livemode, r.gateway_id, s.id as payment_id, r.status,
    r.amount_minor, r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at,
    r.metadata, r.first_fact_at, r.last_fact_at
from payment_services s
cross join lateral jsonb_to_recordset(s.refunds) as r (
    id bigint, gateway_id text, livemode boolean, status text, amount_minor bigint, currency text, fee_minor bigint,
    reason text, failure_code text, failure_message text, reference text, refunded_at timestamptz, metadata jsonb,
    first_fact_at timestamptz, last_fact_at timestamptz)
where s.refunds is not null;

create view disputes with (security_invoker = true) as
select
    d.id, s.merchant, s.gateway_provider as gateway, s.account, d.livemode, d.gateway_id, s.id as payment_id, d.status,
    d.amount_minor, d.currency, d.fee_minor, d.reason, d.outcome, d.is_withdrawn, d.respond_by, d.opened_at,
    d.closed_at, d.first_fact_at, d.last_fact_at
from payment_services s
cross join lateral jsonb_to_recordset(s.disputes) as d (
    id bigint, gateway_id text, livemode boolean, status text, amount_minor bigint, currency text, fee_minor bigint,
    reason text, outcome text, is_withdrawn boolean, respond_by timestamptz, opened_at timestamptz,
    closed_at timestamptz, first_fact_at timestamptz, last_fact_at timestamptz)
where s.disputes is not null;

create function payments_of_email(p_email text) returns setof bigint
language sql stable as $$
    select id from payment_services
    where merchant = current_setting('gatehouse.merchant', true) and lower(email) = lower(p_email)
$$;

-- Words of orders are not kept here: a payment is found by what it says itself.
create function payments_with_words(p_text text) returns setof bigint
language sql stable as $$
    select id from payment_services
    where merchant = current_setting('gatehouse.merchant', true)
      and (reference = p_text or customer_ref = p_text or lower(email) = lower(p_text))
$$;

create table reader_keys (
    id text primary key,
    merchant text,
    role text not null,
    hash bytea not null,
    rate_per_minute integer not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    merchant_is_active boolean not null
);

-- Says who a key is, as the function of the same name in the primary database does. Rates are not counted here.
create function use_api_key(p_id text, p_hash bytea)
returns table (
    answer text, key_id text, key_merchant text, key_role text, key_rate integer, requests_left integer,
    full_in_seconds numeric, wait_seconds numeric
)
language plpgsql stable security definer set search_path = public, pg_temp as $$
declare
    shown reader_keys;
    mask bytea := convert_to(gen_random_uuid()::text, 'UTF8');
begin
    select * into shown from reader_keys where id = p_id;
    if shown.id is null or sha256(shown.hash || mask) is distinct from sha256(p_hash || mask) then
        answer := 'unknown';
        return next;
        return;
    end if;
    key_id := shown.id;
    key_merchant := shown.merchant;
    key_role := shown.role;
    key_rate := shown.rate_per_minute;
    requests_left := shown.rate_per_minute;
    answer := case
        when shown.revoked_at is not null then 'revoked'
        when shown.expires_at <= now() then 'expired'
        when not shown.merchant_is_active then 'merchant_off'
        else 'ok'
    end;
    return next;
end
$$;

revoke execute on function use_api_key(text, bytea) from public;
grant execute on function use_api_key(text, bytea) to gatehouse_backup_reader;
alter table reader_keys enable row level security, force row level security;
create policy all_merchants on reader_keys to gatehouse_backup_writer, current_user using (true);
grant select, insert, update, delete on reader_keys to gatehouse_backup_writer;
grant select on payments, refunds, disputes to gatehouse_backup_writer, gatehouse_backup_reader;

-- migrate: down

drop function use_api_key(text, bytea);
drop table reader_keys;
drop function payments_with_words(text);
drop function payments_of_email(text);
drop view disputes;
drop view refunds;
drop view payments;

-- How payments are written here: many at once, and one by its reference.
-- migrate: up

-- Writes payments, each a state as payments_for_backup() of the primary database gives it, with its version. Returns those
-- that were written; one that is here in the same or a newer version is left as it is. In order of id, so that two
-- writers never wait for each other in a ring.
create function sync_payments_to_backup(p_payments jsonb) returns setof bigint
language sql as $$
    insert into payment_services (
        id, version, merchant, gateway_provider, account, livemode, service, reference, client_reference, status,
        amount_minor, received_minor, refunded_minor, currency, currency_exponent, fee_minor, fee_currency, method,
        customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message,
        status_reason, metadata, merged_into, order_id, order_state, refunds, disputes, first_fact_at, last_fact_at,
        completed_at, names, names_of_others, events, changes, key_id, sealed_facts
    )
    select
        t.id, t.version, t.merchant, t.gateway_provider, t.account, t.livemode, t.service, t.reference,
        t.client_reference, t.status, t.amount_minor, t.received_minor, t.refunded_minor, t.currency,
        coalesce(t.currency_exponent, 2), t.fee_minor, t.fee_currency, t.method, t.customer_ref, t.email, t.app,
        t.app_from, t.user_id, t.plan, t.subscription_ref, t.invoice_ref, t.failure_code, t.failure_message, t.status_reason,
        t.metadata, t.merged_into, t.order_id, t.order_state, t.refunds, t.disputes, t.first_fact_at, t.last_fact_at,
        t.completed_at, t.names, t.names_of_others, t.events, t.changes, t.key_id, decode(t.sealed_base64, 'base64')
    from jsonb_to_recordset(p_payments) as t (
        id bigint, version bigint, merchant text, gateway_provider text, account text, livemode boolean, service text,
        reference text, client_reference text, status text, amount_minor bigint, received_minor bigint,
        refunded_minor bigint, currency text, currency_exponent smallint, fee_minor bigint, fee_currency text,
        method text, customer_ref text, email text, app text, app_from text, user_id text, plan text, subscription_ref text,
        invoice_ref text, failure_code text, failure_message text, status_reason text, metadata jsonb,
        merged_into bigint, order_id bigint, order_state jsonb, refunds jsonb, disputes jsonb,
        first_fact_at timestamptz, last_fact_at timestamptz, completed_at timestamptz, names jsonb,
        names_of_others jsonb, events jsonb, changes jsonb, key_id text, sealed_base64 text
    )
    order by t.id
    on conflict (id) do update set
        version = excluded.version, merchant = excluded.merchant, gateway_provider = excluded.gateway_provider,
        account = excluded.account, livemode = excluded.livemode, service = excluded.service,
        reference = excluded.reference, client_reference = excluded.client_reference, status = excluded.status,
        amount_minor = excluded.amount_minor, received_minor = excluded.received_minor,
        refunded_minor = excluded.refunded_minor, currency = excluded.currency,
        currency_exponent = excluded.currency_exponent, fee_minor = excluded.fee_minor,
        fee_currency = excluded.fee_currency, method = excluded.method, customer_ref = excluded.customer_ref,
        email = excluded.email, app = excluded.app, app_from = excluded.app_from, user_id = excluded.user_id, plan = excluded.plan,
        subscription_ref = excluded.subscription_ref, invoice_ref = excluded.invoice_ref,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        status_reason = excluded.status_reason, metadata = excluded.metadata, merged_into = excluded.merged_into,
        order_id = excluded.order_id, order_state = excluded.order_state, refunds = excluded.refunds,
        disputes = excluded.disputes, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
        completed_at = excluded.completed_at, names = excluded.names,
        names_of_others = excluded.names_of_others, events = excluded.events, changes = excluded.changes, key_id = excluded.key_id, sealed_facts = excluded.sealed_facts,
        written_at = now()
        where payment_services.version < excluded.version
    returning id
$$;

-- Writes one payment by what its gateway calls it, and returns its id here. `amount` is in whole units of the currency.
-- The payload may say more of it: id, version, merchant, account, livemode, currency, currency_exponent, first_fact_at,
-- completed_at and the other columns; nothing else of it is kept, so no card data can be. Without a version a call makes
-- a row where there is none and changes what such a call has made, forward only: a status that is settled stays.
create function sync_payment_to_backup(
    reference text, client_reference text, gateway text, service text, amount numeric, status text, payload jsonb
) returns bigint
language plpgsql as $$
declare
    said jsonb := coalesce(payload, '{}');
    exponent smallint := coalesce((said ->> 'currency_exponent')::smallint, 2);
    in_minor bigint := round(amount * 10::numeric ^ exponent);
    whose text := coalesce(said ->> 'merchant', 'default');
    known payment_services;
    row_id bigint;
begin
    if sync_payment_to_backup.reference is null or sync_payment_to_backup.gateway is null
        or sync_payment_to_backup.status is null
    then
        raise exception using errcode = '22004', message = 'reference, gateway and status must be given';
    end if;
    if amount * 10::numeric ^ exponent <> in_minor then
        raise exception using errcode = '22023', message = 'amount has more digits than its currency';
    end if;
    perform pg_advisory_xact_lock(hashtextextended(concat_ws('/', whose, gateway, sync_payment_to_backup.reference), 0));
    select * into known from payment_services p
    where p.merchant = whose and p.gateway_provider = sync_payment_to_backup.gateway
      and p.reference = sync_payment_to_backup.reference and p.merged_into is null
    order by p.version desc, p.id limit 1 for update;
    row_id := coalesce((said ->> 'id')::bigint, known.id, nextval('payment_services_elsewhere'));
    if not said ? 'version' then
        if known.version > 0 then
            return known.id;
        end if;
        if known.id is not null then
            update payment_services p set
                status = case
                    when p.status in ('completed', 'refunded', 'partially_refunded') and sync_payment_to_backup.status
                        not in ('refunded', 'partially_refunded') then p.status
                    when sync_payment_to_backup.status = 'success' then 'completed'
                    else sync_payment_to_backup.status end,
                amount_minor = coalesce(in_minor, p.amount_minor),
                client_reference = coalesce(sync_payment_to_backup.client_reference, p.client_reference),
                completed_at = coalesce(p.completed_at, case
                    when sync_payment_to_backup.status in ('success', 'completed') then now() end),
                last_fact_at = now(), written_at = now()
            where p.id = known.id;
            return known.id;
        end if;
    end if;
    perform sync_payments_to_backup(jsonb_build_array(
        jsonb_build_object(
            'version', 0, 'merchant', whose, 'account', 'default', 'livemode', true, 'first_fact_at', now(),
            'last_fact_at', now(), 'completed_at', case
                when sync_payment_to_backup.status in ('success', 'completed') then now() end)
        || (said - 'sealed_base64')
        || jsonb_build_object(
            'id', row_id, 'reference', sync_payment_to_backup.reference,
            'client_reference', sync_payment_to_backup.client_reference, 'gateway_provider', gateway,
            'service', coalesce(service, 'payment'), 'amount_minor', in_minor, 'currency_exponent', exponent,
            'status', case sync_payment_to_backup.status when 'success' then 'completed' else
                sync_payment_to_backup.status end)));
    return row_id;
end
$$;

-- Each payment once, as reports count it: live money alone, but for a database that is marked as a development one.
create view payment_services_summary with (security_invoker = true) as
select
    gateway_provider, first_fact_at as created_at, amount,
    extract(epoch from completed_at - first_fact_at) as processing_time_seconds, currency, status, merchant, livemode
from payment_services
where merged_into is null and (livemode or current_setting('gatehouse.stage', true) = 'development');

-- The same hashes as in the primary database, over the same columns in the same order.
create view backup_states with (security_invoker = true) as
select
    id, merchant, gateway_provider, account, livemode, service, reference, client_reference, status, amount_minor,
    received_minor, refunded_minor, currency, fee_minor, fee_currency, method, customer_ref, email, app, app_from, user_id, plan,
    subscription_ref, invoice_ref, failure_code, failure_message, status_reason, metadata, merged_into, order_id,
    order_state, refunds, disputes, first_fact_at, last_fact_at, completed_at
from payment_services;

create function backup_hashes(p_from bigint, p_until bigint)
returns table (gateway text, hour timestamptz, payments bigint, hash numeric)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.gateway_provider, date_trunc('hour', s.first_fact_at), count(*),
        sum(('x' || left(md5(s::text), 16))::bit(64)::bigint::numeric)
    from backup_states s
    where s.id >= p_from and s.id < p_until
    group by 1, 2
$$;

create function backup_hashes_within(p_from bigint, p_until bigint, p_gateway text, p_hour timestamptz)
returns table (payment_id bigint, hash text)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.id, md5(s::text)
    from backup_states s
    where s.id >= p_from and s.id < p_until and s.gateway_provider = p_gateway
      and s.first_fact_at >= p_hour and s.first_fact_at < p_hour + interval '1 hour'
$$;

create function backup_hashes_of(p_ids bigint[]) returns table (payment_id bigint, hash text)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.id, md5(s::text) from backup_states s where s.id = any (p_ids)
$$;

grant select on payment_services_summary to gatehouse_backup_writer, gatehouse_backup_reader;
grant select on backup_states to gatehouse_backup_writer;

-- migrate: down

drop function backup_hashes_of(bigint[]);
drop function backup_hashes_within(bigint, bigint, text, timestamptz);
drop function backup_hashes(bigint, bigint);
drop view backup_states;
drop view payment_services_summary;
drop function sync_payment_to_backup(text, text, text, text, numeric, text, jsonb);
drop function sync_payments_to_backup(jsonb);

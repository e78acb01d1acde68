-- What the backup holds of a payment, read here; and a hash of it, in the same words as on the other side.
-- migrate: up

-- The columns are those of payment_services in the backup database, in the same order; both sides hash this row's text.
create view backup_states with (security_invoker = true) as
select
    p.id, p.merchant, p.gateway as gateway_provider, p.account, p.livemode,
    case when p.subscription_ref is null then 'payment' else 'subscription' end as service,
    p.reference, o.number as client_reference, p.status, p.amount_minor, p.received_minor, p.refunded_minor, p.currency,
    p.fee_minor, p.fee_currency, p.method, p.customer_ref, p.email, p.app, p.app_from, p.user_id, p.plan, p.subscription_ref,
    p.invoice_ref, p.failure_code, p.failure_message, p.status_reason, p.metadata, p.merged_into, p.order_id,
    case when o.id is not null then jsonb_build_object(
        'id', o.id, 'number', o.number, 'customer_id', o.customer_id, 'livemode', o.livemode, 'event_id', o.event_id,
        'event_name', o.event_name, 'event_date', o.event_date, 'currency', o.currency, 'status', o.status,
        'status_by_hand', o.status_by_hand, 'payment_state', o.payment_state, 'subtotal_minor', o.subtotal_minor,
        'tax_minor', o.tax_minor, 'fee_minor', o.fee_minor, 'discount_minor', o.discount_minor,
        'total_minor', o.total_minor, 'paid_minor', o.paid_minor, 'refunded_minor', o.refunded_minor,
        'reference', o.reference, 'created_at', o.created_at) end as order_state,
    (
        select jsonb_agg(jsonb_build_object(
            'id', r.id, 'gateway_id', r.gateway_id, 'livemode', r.livemode, 'status', r.status,
            'amount_minor', r.amount_minor, 'currency', r.currency, 'fee_minor', r.fee_minor, 'reason', r.reason,
            'failure_code', r.failure_code, 'failure_message', r.failure_message, 'reference', r.reference,
            'refunded_at', r.refunded_at, 'metadata', r.metadata, 'first_fact_at', r.first_fact_at,
            'last_fact_at', r.last_fact_at) order by r.id)
        from refunds r where r.payment_id = p.id
    ) as refunds,
    (
        select jsonb_agg(jsonb_build_object(
            'id', d.id, 'gateway_id', d.gateway_id, 'livemode', d.livemode, 'status', d.status,
            'amount_minor', d.amount_minor, 'currency', d.currency, 'fee_minor', d.fee_minor, 'reason', d.reason,
            'outcome', d.outcome, 'is_withdrawn', d.is_withdrawn, 'respond_by', d.respond_by,
            'opened_at', d.opened_at, 'closed_at', d.closed_at, 'first_fact_at', d.first_fact_at,
            'last_fact_at', d.last_fact_at) order by d.id)
        from disputes d where d.payment_id = p.id
    ) as disputes,
    p.first_fact_at, p.last_fact_at, p.completed_at
from payments p
left join orders o on o.id = p.order_id;

-- Returns payments as the backup keeps them, each with what the backup needs to be of use alone: its names, the events
-- that spoke of it, how it changed, and the facts that it was made from. Times are written in UTC, to the microsecond.
create function payments_for_backup(p_ids bigint[]) returns table (payment_id bigint, state jsonb, facts jsonb)
language sql stable set timezone = 'UTC' as $$
    select
        s.id,
        to_jsonb(s) || jsonb_build_object(
            'names', (
                select jsonb_agg(jsonb_build_object('kind', n.kind, 'id', n.object_id, 'of', 'payment', 'row', s.id)
                    order by n.kind, n.object_id)
                from payment_objects n where n.payment_id = s.id),
            'names_of_others', (
                select jsonb_agg(jsonb_build_object(
                    'kind', n.kind, 'id', n.object_id, 'of', n.subject_kind, 'row', n.subject_id)
                    order by n.subject_kind, n.kind, n.object_id)
                from (
                    select 'refund' as kind, r.id from refunds r where r.payment_id = s.id
                    union all
                    select 'dispute', d.id from disputes d where d.payment_id = s.id
                ) as other
                join subject_names n on n.subject_kind = other.kind and n.subject_id = other.id),
            'events', (
                select jsonb_agg(to_jsonb(told) order by told.id)
                from (
                    select e.id, e.event_id, e.type, e.livemode, e.occurred_at, e.received_at
                    from webhook_events e
                    where e.id in (
                        select f.webhook_event_id from facts f where f.kind = 'payment' and f.subject_id = s.id
                        union
                        select f.webhook_event_id from refunds r
                        join facts f on f.kind = 'refund' and f.subject_id = r.id where r.payment_id = s.id
                        union
                        select f.webhook_event_id from disputes d
                        join facts f on f.kind = 'dispute' and f.subject_id = d.id where d.payment_id = s.id)
                    order by e.id desc limit 200
                ) as told),
            'changes', (
                select jsonb_agg(to_jsonb(made) order by made.id)
                from (
                    select a.id, a.at, a.table_name, a.row_id, a.action, a.actor, a.webhook_event_id, a.changes
                    from payment_audit_log a
                    where a.table_name = 'payments' and a.row_id = s.id
                    order by a.id desc limit 200
                ) as made)),
        (
            select jsonb_agg(jsonb_build_object(
                'kind', f.kind, 'subject_id', f.subject_id, 'said_by', f.said_by,
                'webhook_event_id', f.webhook_event_id, 'job_id', f.job_id, 'occurred_at', f.occurred_at,
                'received_at', f.received_at, 'rank', f.rank, 'words', f.words) order by f.id)
            from facts f
            where (f.kind = 'payment' and f.subject_id = s.id)
               or (f.kind = 'refund' and f.subject_id in (select r.id from refunds r where r.payment_id = s.id))
               or (f.kind = 'dispute' and f.subject_id in (select d.id from disputes d where d.payment_id = s.id))
        )
    from backup_states s
    where s.id = any (p_ids)
    order by s.id
$$;

-- Hashes payments of a range of ids by gateway and hour: a sum, so that their order makes no difference.
create function backup_hashes(p_from bigint, p_until bigint)
returns table (gateway text, hour timestamptz, payments bigint, hash numeric)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.gateway_provider, date_trunc('hour', s.first_fact_at), count(*),
        sum(('x' || left(md5(s::text), 16))::bit(64)::bigint::numeric)
    from backup_states s
    where s.id >= p_from and s.id < p_until
    group by 1, 2
$$;

-- Hashes each payment of one gateway and hour of the range.
create function backup_hashes_within(p_from bigint, p_until bigint, p_gateway text, p_hour timestamptz)
returns table (payment_id bigint, hash text)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.id, md5(s::text)
    from backup_states s
    where s.id >= p_from and s.id < p_until and s.gateway_provider = p_gateway
      and s.first_fact_at >= p_hour and s.first_fact_at < p_hour + interval '1 hour'
$$;

-- Hashes single payments.
create function backup_hashes_of(p_ids bigint[]) returns table (payment_id bigint, hash text)
language sql stable set timezone = 'UTC' set datestyle = 'ISO, MDY' as $$
    select s.id, md5(s::text) from backup_states s where s.id = any (p_ids)
$$;

-- Keys to the API as the backup needs them, so that it can answer while this database is away: hashes, no keys.
create function keys_for_backup()
returns table (id text, merchant text, role text, hash bytea, rate_per_minute integer, expires_at timestamptz,
    revoked_at timestamptz)
language sql stable security definer set search_path = public, pg_temp as $$
    select id, merchant, role, hash, rate_per_minute, expires_at, revoked_at from api_keys
$$;

-- How far the backup is behind, in all: for those too who may see the rows of one merchant alone.
create function backup_backlog(p_many integer)
returns table (backlog bigint, lag_seconds bigint, as_of timestamptz, refused bigint)
language sql stable security definer set search_path = public, pg_temp as $$
    select count(*), coalesce(extract(epoch from now() - min(changed_at)), 0)::bigint, coalesce(min(changed_at), now()),
        (select count(*) from backup_changes where attempts >= p_many)
    from backup_changes
$$;

-- Whether the backup lacks something that is older than so many seconds, or is not whole yet. Stops at the first such row.
create function backup_is_behind(p_seconds integer) returns boolean
language sql stable security definer set search_path = public, pg_temp as $$
    select exists (select from backup_changes where changed_at < now() - make_interval(secs => p_seconds))
        or (select not is_on or fill_ended_at is null from backup_state)
$$;

revoke execute on function keys_for_backup(), backup_backlog(integer), backup_is_behind(integer) from public;
grant execute on function backup_backlog(integer), backup_is_behind(integer)
    to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant execute on function keys_for_backup() to gatehouse_worker, gatehouse_ops;
grant select on backup_states to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function backup_is_behind(integer);
drop function backup_backlog(integer);
drop function keys_for_backup();
drop function backup_hashes_of(bigint[]);
drop function backup_hashes_within(bigint, bigint, text, timestamptz);
drop function backup_hashes(bigint, bigint);
drop function payments_for_backup(bigint[]);
drop view backup_states;

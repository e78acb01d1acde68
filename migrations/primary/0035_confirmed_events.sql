-- An event that only hints is confirmed once the gateway's API says the same; then it is forwarded as any other.
-- migrate: up

alter table webhook_events add column confirmed_at timestamptz;
comment on column webhook_events.confirmed_at is
    'when the gateway''s API said what the event hints at; null for an event that proves itself, and for one unconfirmed';
grant update (confirmed_at, reason) on webhook_events to gatehouse_worker;

-- Tells whether an event may be forwarded at all. What came from a stranger's hands into the wrong mode, or counts as
-- nothing, may not; nor may what only hints at money, as SaySwitch's and MX Merchant's do, before it is confirmed.
create or replace function may_be_forwarded(p_event webhook_events) returns boolean
language sql stable as $$
    select (
        p_event.status = 'applied'
        or (p_event.status = 'ignored' and p_event.reason not like 'wrong mode%' and p_event.reason not like 'switched off%')
    ) and (p_event.gateway not in ('sayswitch', 'mx_merchant') or p_event.confirmed_at is not null)
$$;

-- Notes what a gateway's API said to the event whose job asked; a confirmed one is forwarded, and its transaction says
-- what the payment came to. Called after the facts of the answer are applied; returns the jobs that it leaves.
create function confirm_event(p_job_id bigint, p_confirms boolean) returns jsonb
language plpgsql as $$
declare
    event_row bigint := (select webhook_event_id from jobs where id = p_job_id);
begin
    if not p_confirms then
        update webhook_events set reason = 'not confirmed: the gateway says otherwise'
        where id = event_row and confirmed_at is null and status = 'applied';
        return '[]';
    end if;
    update webhook_events set confirmed_at = now(), reason = null
    where id = event_row and confirmed_at is null and status = 'applied';
    if not found then
        return '[]';
    end if;
    update app_transactions t
    set status = p.status, amount_minor = coalesce(p.amount_minor, t.amount_minor),
        currency = coalesce(p.currency, t.currency)
    from payments p
    where t.webhook_event_id = event_row and p.id = t.payment_id
      and (t.status, t.amount_minor, t.currency) is distinct from (p.status, p.amount_minor, p.currency);
    return write_forwards(event_row);
end
$$;

-- migrate: down

drop function confirm_event(bigint, boolean);

-- Tells whether an event may be forwarded at all. What came from a stranger's hands into the wrong mode, or counts as
-- nothing, may not; nor may what only hints at money: SaySwitch's and MX Merchant's say where to ask, and prove nothing.
-- Once their payments are confirmed by a fetched fact, this is the place that lets them through.
create or replace function may_be_forwarded(p_event webhook_events) returns boolean
language sql stable as $$
    select (
        p_event.status = 'applied'
        or (p_event.status = 'ignored' and p_event.reason not like 'wrong mode%' and p_event.reason not like 'switched off%')
    ) and p_event.gateway not in ('sayswitch', 'mx_merchant')
$$;

revoke update (confirmed_at, reason) on webhook_events from gatehouse_worker;
alter table webhook_events drop column confirmed_at;

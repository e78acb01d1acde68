-- For each app that wants an event, recording leaves a job to forward it: all in one transaction, or nothing.
-- migrate: up

-- Tells whether an event may be forwarded at all. What came from a stranger's hands into the wrong mode, or counts as
-- nothing, may not; nor may what only hints at money: SaySwitch's and MX Merchant's say where to ask, and prove nothing.
-- Once their payments are confirmed by a fetched fact, this is the place that lets them through.
create function may_be_forwarded(p_event webhook_events) returns boolean
language sql stable as $$
    select (
        p_event.status = 'applied'
        or (p_event.status = 'ignored' and p_event.reason not like 'wrong mode%' and p_event.reason not like 'switched off%')
    ) and p_event.gateway not in ('sayswitch', 'mx_merchant')
$$;

-- Returns the apps that an event belongs to, through what its facts speak of.
create function apps_of_event(p_event_row bigint) returns text[]
language sql stable as $$
    select coalesce(array_agg(distinct app order by app), '{}')
    from (
        select t.app from app_transactions t where t.webhook_event_id = p_event_row
        union all
        select coalesce(home.app, p.app) from facts f join payments p on p.id = f.subject_id
        left join payments home on home.id = p.merged_into
        where f.webhook_event_id = p_event_row and f.kind = 'payment'
        union all
        select p.app from facts f join refunds r on r.id = f.subject_id join payments p on p.id = r.payment_id
        where f.webhook_event_id = p_event_row and f.kind = 'refund'
        union all
        select p.app from facts f join disputes d on d.id = f.subject_id join payments p on p.id = d.payment_id
        where f.webhook_event_id = p_event_row and f.kind = 'dispute'
        union all
        select s.app from facts f join subscriptions s on s.id = f.subject_id
        where f.webhook_event_id = p_event_row and f.kind = 'subscription'
        union all
        select s.app from facts f join invoices i on i.id = f.subject_id
        join subscriptions s on s.gateway = i.gateway and s.account = i.account and s.gateway_id = i.subscription_ref
        where f.webhook_event_id = p_event_row and f.kind = 'invoice'
        union all
        select c.app from facts f join gateway_customers c on c.id = f.subject_id
        where f.webhook_event_id = p_event_row and f.kind = 'customer'
    ) as named
    where app is not null
$$;

-- Tells whether an app that `takes` such events wants this one. An event without an amount passes no bound on amounts.
create function is_taken(
    p_takes jsonb, p_app text, p_apps text[], p_gateway text, p_type text, p_amount_minor bigint, p_currency text
) returns boolean
language sql immutable as $$
    select coalesce(
        (coalesce((p_takes ->> 'every_app')::boolean, false) or p_app = any (p_apps))
        and (not p_takes ? 'gateways' or p_takes -> 'gateways' ? p_gateway)
        and (not p_takes ? 'types' or exists (
            select from jsonb_array_elements_text(p_takes -> 'types') as pattern
            where p_type like
                replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')))
        and (not p_takes ? 'currencies' or p_takes -> 'currencies' ? p_currency)
        and (not p_takes ? 'least_minor' or p_amount_minor >= (p_takes ->> 'least_minor')::bigint)
        and (not p_takes ? 'most_minor' or p_amount_minor <= (p_takes ->> 'most_minor')::bigint),
        false)
$$;

-- Writes the job of each app that is to be told of an event; one that is there stays as it is. Returns the new ones.
create function write_forwards(p_event_row bigint) returns jsonb
language plpgsql as $$
declare
    event webhook_events;
    belongs_to text[];
    said record;
    told text;
    job bigint;
    written jsonb := '[]';
begin
    select * into event from webhook_events where id = p_event_row;
    if not may_be_forwarded(event) or not exists (
        select from apps a where a.merchant = event.merchant and (a.target_url is not null or a.environment_url is not null)
    ) then
        return written;
    end if;
    belongs_to := apps_of_event(p_event_row);
    select
        coalesce((f.words ->> 'amount_minor')::bigint, (f.words ->> 'total_minor')::bigint) as amount_minor,
        f.words ->> 'currency' as currency
    into said
    from facts f
    where f.webhook_event_id = p_event_row and f.words ?| array['amount_minor', 'total_minor']
    order by f.id limit 1;
    for told in
        select a.name from apps a
        where a.merchant = event.merchant and (a.target_url is not null or a.environment_url is not null)
          and (a.takes_health_data or event.gateway <> 'mx_merchant')
          and is_taken(a.takes, a.name, belongs_to, event.gateway, event.type, said.amount_minor, said.currency)
        order by a.name
    loop
        insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
        values (
            'forward', p_event_row || '/' || told, event.merchant, jsonb_build_object('app', told), p_event_row)
        on conflict (topic, business_key) do nothing
        returning id into job;
        if found then
            written := written || jsonb_build_object('id', job, 'topic', 'forward');
        end if;
    end loop;
    return written;
end
$$;

-- What turns out late to belong to another app: that app is told too, by jobs that the sweeper rings for. Not of what is
-- older than a week: an app that is given a plan today is not told of years.
create function forward_what_belongs_elsewhere() returns trigger
language plpgsql as $$
begin
    if tg_table_name = 'app_transactions' then
        if new.webhook_event_id is distinct from nullif(current_setting('gatehouse.event_row', true), '')::bigint
            and new.created_at > now() - interval '7 days'
        then
            perform write_forwards(new.webhook_event_id);
        end if;
        return null;
    end if;
    perform write_forwards(late.id)
    from (
        select distinct f.webhook_event_id as id from facts f
        where f.kind = rtrim(tg_table_name, 's') and f.subject_id = new.id and f.webhook_event_id is not null
          and f.received_at > now() - interval '7 days'
        order by 1
    ) as late
    -- The event that is being recorded follows at its end.
    where late.id is distinct from nullif(current_setting('gatehouse.event_row', true), '')::bigint;
    return null;
end
$$;

create trigger forward_payment after update on payments
    for each row when (old.app is distinct from new.app and new.app is not null)
    execute function forward_what_belongs_elsewhere();
create trigger forward_subscription after update on subscriptions
    for each row when (old.app is distinct from new.app and new.app is not null)
    execute function forward_what_belongs_elsewhere();
create trigger forward_transaction after update on app_transactions
    for each row when (old.app is distinct from new.app and new.app is not null)
    execute function forward_what_belongs_elsewhere();

-- Lets a delivery that was given up or made be made again, with the same webhook-id. Returns the job to ring for.
create function forward_again(p_log_id bigint) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    logged webhook_forward_logs;
    held jobs;
begin
    select * into logged from webhook_forward_logs where id = p_log_id and merchant = working_for();
    select * into held from jobs where id = logged.job_id and topic = 'forward' for update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such delivery';
    elsif held.status = 'leased' then
        raise exception using errcode = 'GH009', message = 'it is being delivered at this moment';
    end if;
    update jobs set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null
    where id = held.id;
    return held.id;
end
$$;

revoke execute on function forward_again(bigint) from public;
grant execute on function forward_again(bigint) to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- Records one event: itself, its sealed bytes, its jobs, its facts, and for which apps it is. For one that is there
-- already it writes nothing and says since when: {duplicate_of, first_received_at}; else {event_row, jobs, changed}.
create or replace function record_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean,
    p_occurred_at timestamptz, p_received_at timestamptz, p_status text, p_reason text, p_reference text,
    p_signed_by text, p_request_id text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by, request_id
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by, p_request_id
    )
    on conflict (event_id, gateway, account) do nothing
    returning id into event_row;
    if event_row is null then
        -- Empty where the account has changed hands: the row belongs to a merchant whose rows we cannot see.
        return coalesce((
            select jsonb_build_object('duplicate_of', id, 'first_received_at', received_at)
            from webhook_events
            where event_id = p_event_id and gateway = p_gateway and account = p_account
        ), '{}');
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    values (event_row, p_merchant, p_received_at, p_key_id, p_sealed);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    -- Last, as only now it is known whose the event is.
    written_jobs := written_jobs || (applied -> 'jobs') || write_forwards(event_row);
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'changed', applied -> 'changed');
end
$$;

-- Takes up again an event that failed or was ignored, with what we now make of it; {} when it is in another state.
create or replace function reapply_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamptz,
    p_received_at timestamptz, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    update webhook_events
    set status = p_status, reason = p_reason, reference = p_reference, attempts = attempts + 1
    where event_id = p_event_id and gateway = p_gateway and account = p_account
      and status in ('received', 'failed', 'ignored')
    returning id into event_row;
    if event_row is null then
        return '{}';
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    -- Last, as only now it is known whose the event is.
    written_jobs := written_jobs || (applied -> 'jobs') || write_forwards(event_row);
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'changed', applied -> 'changed');
end
$$;

-- migrate: down

-- Records one event: itself, its sealed bytes, its jobs, its facts. For one that is there already it writes nothing
-- and says since when: {duplicate_of, first_received_at}; else {event_row, jobs, changed}.
create or replace function record_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean,
    p_occurred_at timestamptz, p_received_at timestamptz, p_status text, p_reason text, p_reference text,
    p_signed_by text, p_request_id text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by, request_id
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by, p_request_id
    )
    on conflict (event_id, gateway, account) do nothing
    returning id into event_row;
    if event_row is null then
        -- Empty where the account has changed hands: the row belongs to a merchant whose rows we cannot see.
        return coalesce((
            select jsonb_build_object('duplicate_of', id, 'first_received_at', received_at)
            from webhook_events
            where event_id = p_event_id and gateway = p_gateway and account = p_account
        ), '{}');
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    values (event_row, p_merchant, p_received_at, p_key_id, p_sealed);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object(
        'event_row', event_row, 'jobs', written_jobs || (applied -> 'jobs'), 'changed', applied -> 'changed');
end
$$;

-- Takes up again an event that failed or was ignored, with what we now make of it; {} when it is in another state.
create or replace function reapply_event(
    p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamptz,
    p_received_at timestamptz, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb,
    p_account_lock bigint, p_name_locks bigint[], p_joining boolean
) returns jsonb
language plpgsql as $$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    update webhook_events
    set status = p_status, reason = p_reason, reference = p_reference, attempts = attempts + 1
    where event_id = p_event_id and gateway = p_gateway and account = p_account
      and status in ('received', 'failed', 'ignored')
    returning id into event_row;
    if event_row is null then
        return '{}';
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object(
        'event_row', event_row, 'jobs', written_jobs || (applied -> 'jobs'), 'changed', applied -> 'changed');
end
$$;

drop function forward_again(bigint);
drop trigger forward_transaction on app_transactions;
drop trigger forward_subscription on subscriptions;
drop trigger forward_payment on payments;
drop function forward_what_belongs_elsewhere();
drop function write_forwards(bigint);
drop function is_taken(jsonb, text, text[], text, text, bigint, text);
drop function apps_of_event(bigint);
drop function may_be_forwarded(webhook_events);

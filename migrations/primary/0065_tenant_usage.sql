-- What each tenant uses, and how its requests are held to the limits of its plan.
-- migrate: up

-- A day of a tenant is spread over a few rows, one of which each request picks by chance: requests that come at once
-- do not wait for each other, and a day is the sum of at most eight rows.
create table tenant_usage_slots (
    tenant_id text not null,
    merchant text not null,
    date date not null,
    slot smallint not null,
    api_requests bigint not null default 0,
    query_executions bigint not null default 0,
    rows_returned bigint not null default 0,
    bytes_returned bigint not null default 0,
    milliseconds bigint not null default 0,
    storage_bytes bigint,  -- the most that was measured in the day; in slot 0
    primary key (tenant_id, date, slot),
    foreign key (tenant_id, merchant) references platform_tenants (id, merchant)
) with (fillfactor = 70);

create index tenant_usage_slots_tenant on tenant_usage_slots (merchant, tenant_id);

-- Requests of the present minute and hour. Unlogged: after a crash they begin at nothing, and nobody waits for the disk.
create unlogged table tenant_windows (
    tenant_id text not null,
    kind text not null check (kind in ('minute', 'hour')),
    starts_at timestamptz not null,
    slot smallint not null,
    requests integer not null,
    primary key (tenant_id, kind, starts_at, slot)
) with (fillfactor = 70);

create index tenant_windows_old on tenant_windows (starts_at);

create view tenant_usage with (security_invoker = true) as
select tenant_id, merchant, date, sum(api_requests)::bigint as api_requests,
    sum(query_executions)::bigint as query_executions, sum(rows_returned)::bigint as rows_returned,
    sum(bytes_returned)::bigint as bytes_returned, sum(milliseconds)::bigint as milliseconds,
    max(storage_bytes) as storage_bytes, round(max(storage_bytes) / 1048576.0, 3) as storage_used_mb,
    round(sum(bytes_returned) / 1048576.0, 3) as bandwidth_used_mb
from tenant_usage_slots
group by tenant_id, merchant, date;

alter table tenant_usage_slots enable row level security, force row level security;
create policy own_merchant on tenant_usage_slots to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on tenant_usage_slots to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select on tenant_usage_slots, tenant_usage to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant insert, update on tenant_usage_slots to gatehouse_worker;
grant select, delete on tenant_windows to gatehouse_worker;

-- Lets a request in to a tenant: says the caller's role there, and counts. `answer` is ok, missing, limited (a query
-- beyond the plan; the window that is full and when it ends) or closed (SQL over HTTP is switched off).
-- Windows begin with the minute, the hour and the day (UTC); requests at the very same moment may pass by a few.
create function enter_tenant(p_tenant text, p_subject text, p_is_query boolean)
returns table (answer text, role text, full_window text, wait_seconds integer, reason text)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
    entered platform_tenants;
    moment timestamptz := clock_timestamp();
    chosen smallint := floor(random() * 8)::smallint;
    today date := (moment at time zone 'UTC')::date;
    in_minute bigint;
    in_hour bigint;
    in_day bigint;
begin
    -- For this statement's own transaction: what it counts need not survive a crash, and the caller waits for it.
    perform set_config('synchronous_commit', 'off', true);
    select * into entered from platform_tenants t where t.id = p_tenant and t.merchant = merchant_now;
    role := case when p_subject = '*' then 'owner' else (
        select p.role from tenant_permissions p where p.tenant_id = p_tenant and p.subject = p_subject) end;
    if entered.id is null or role is null then
        answer := 'missing';
        return next;
        return;
    end if;
    answer := 'ok';
    if p_is_query then
        select 'closed', e.reason into answer, reason from tenant_endpoints e
        where e.engine = entered.engine and not e.is_open;
        answer := coalesce(answer, 'ok');
        select coalesce(sum(w.requests) filter (where w.kind = 'minute'), 0),
            coalesce(sum(w.requests) filter (where w.kind = 'hour'), 0)
        into in_minute, in_hour
        from tenant_windows w
        where w.tenant_id = p_tenant
          and (w.kind, w.starts_at) in (
              ('minute', date_trunc('minute', moment, 'UTC')), ('hour', date_trunc('hour', moment, 'UTC')));
        select coalesce(sum(u.query_executions), 0) into in_day from tenant_usage_slots u
        where u.tenant_id = p_tenant and u.date = today;
        full_window := case
            when in_day >= entered.max_requests_per_day then 'day'
            when in_hour >= entered.max_requests_per_hour then 'hour'
            when in_minute >= entered.max_requests_per_minute then 'minute'
        end;
        if answer = 'ok' and full_window is not null then
            answer := 'limited';
            wait_seconds := ceil(extract(epoch from
                date_trunc(full_window, moment, 'UTC') + ('1 ' || full_window)::interval - moment));
        end if;
    end if;
    if answer = 'ok' and p_is_query then
        insert into tenant_windows as w (tenant_id, kind, starts_at, slot, requests)
        values (p_tenant, 'minute', date_trunc('minute', moment, 'UTC'), chosen, 1),
            (p_tenant, 'hour', date_trunc('hour', moment, 'UTC'), chosen, 1)
        on conflict on constraint tenant_windows_pkey do update set requests = w.requests + 1;
    end if;
    insert into tenant_usage_slots as u (tenant_id, merchant, date, slot, api_requests, query_executions)
    values (p_tenant, entered.merchant, today, chosen, 1, (p_is_query and answer = 'ok')::integer)
    on conflict on constraint tenant_usage_slots_pkey do update
        set api_requests = u.api_requests + 1, query_executions = u.query_executions + excluded.query_executions;
    return next;
end
$$;

-- Adds what a query gave back.
create function add_tenant_usage(p_tenant text, p_rows bigint, p_bytes bigint, p_milliseconds bigint) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into tenant_usage_slots as u (tenant_id, merchant, date, slot, rows_returned, bytes_returned, milliseconds)
    select t.id, t.merchant, (now() at time zone 'UTC')::date, floor(random() * 8)::smallint,
        p_rows, p_bytes, p_milliseconds
    from platform_tenants t where t.id = p_tenant and t.merchant = merchant_now
    on conflict on constraint tenant_usage_slots_pkey do update
        set rows_returned = u.rows_returned + excluded.rows_returned,
            bytes_returned = u.bytes_returned + excluded.bytes_returned,
            milliseconds = u.milliseconds + excluded.milliseconds;
end
$$;

revoke execute on function enter_tenant(text, text, boolean) from public;
revoke execute on function add_tenant_usage(text, bigint, bigint, bigint) from public;
grant execute on function enter_tenant(text, text, boolean) to gatehouse_api, gatehouse_ops;
grant execute on function add_tenant_usage(text, bigint, bigint, bigint) to gatehouse_api, gatehouse_ops;

-- migrate: down

drop function add_tenant_usage(text, bigint, bigint, bigint);
drop function enter_tenant(text, text, boolean);
drop view tenant_usage;
drop table tenant_windows;
drop table tenant_usage_slots;

-- Who changed merchants, accounts, keys and apps, and who let something be done again; append-only, written by triggers.
-- migrate: up

create table admin_changes (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    actor text not null check (actor <> ''),
    merchant text,
    what text not null check (what <> ''),
    subject text not null,
    details jsonb not null default '{}'
);

comment on column admin_changes.merchant is 'whose it is; null where it is of every merchant';
comment on column admin_changes.details is 'column -> [before, after]; of what is secret only that it was set or changed';

create index admin_changes_of_merchant on admin_changes (merchant, id desc) where merchant is not null;
create index admin_changes_at on admin_changes (at);

-- Old ones go by drop_old_admin_changes alone, which works as the owner and says so.
create function refuse_admin_change() returns trigger
language plpgsql as $$
begin
    if tg_op = 'DELETE' and current_setting('gatehouse.retention', true) = 'admin_changes'
            and pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'member') then
        return null;
    end if;
    raise exception using errcode = '42501', message = 'admin_changes is append-only';
end
$$;

create trigger append_only before update or delete or truncate on admin_changes
    for each statement execute function refuse_admin_change();

alter table admin_changes enable row level security, force row level security;
create policy own_merchant on admin_changes for select to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on admin_changes to gatehouse_ops, gatehouse_worker, current_user using (true);
grant select on admin_changes to gatehouse_api, gatehouse_ops, gatehouse_worker;

-- Writes one change down, by whom the transaction says, else by the role that logged in. An address in it is hashed.
create function write_admin_change(p_merchant text, p_what text, p_subject text, p_details jsonb) returns void
language sql security definer set search_path = public, pg_temp as $$
    insert into admin_changes (actor, merchant, what, subject, details)
    select
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user), p_merchant, p_what, p_subject,
        coalesce((
            select jsonb_object_agg(key, case when position('@' in value::text) > 0
                then audit_hash((select key from audit_hash_key), value) else value end)
            from jsonb_each(p_details)), '{}')
$$;
revoke execute on function write_admin_change(text, text, text, jsonb) from public;

-- Says that something was done which changes no row of its own kind: an event taken up again, say.
create function note_deed(p_what text, p_subject text, p_details jsonb) returns void
language sql security definer set search_path = public, pg_temp as $$
    select write_admin_change(nullif(current_setting('gatehouse.merchant', true), ''), p_what, p_subject, p_details)
$$;
revoke execute on function note_deed(text, text, jsonb) from public;
grant execute on function note_deed(text, text, jsonb) to gatehouse_api, gatehouse_ops;

-- Trigger arguments: the columns to write down. Before one, `!` says that it is secret, `?` that all from a question
-- mark on is.
create function note_admin_change() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
    deed text := nullif(current_setting('gatehouse.deed', true), '');
    noun text := case tg_table_name
        when 'merchants' then 'merchant' when 'gateway_accounts' then 'account' when 'api_keys' then 'key'
        when 'apps' then 'app' else tg_table_name end;
    found jsonb;
begin
    select jsonb_object_agg(ltrim(arg, '!?'), case
        when arg like '!%' then jsonb_build_array(
            case when nullif(before -> ltrim(arg, '!'), 'null') is not null then 'set' end,
            case when nullif(after -> ltrim(arg, '!'), 'null') is null then null
                when nullif(before -> ltrim(arg, '!'), 'null') is null then 'set' else 'changed' end)
        when arg like '?%' then jsonb_build_array(
            split_part(before ->> ltrim(arg, '?'), '?', 1), split_part(after ->> ltrim(arg, '?'), '?', 1))
        else jsonb_build_array(before -> arg, after -> arg)
    end)
    into found
    from unnest(tg_argv) as arg
    where nullif(before -> ltrim(arg, '!?'), 'null') is distinct from nullif(after -> ltrim(arg, '!?'), 'null');
    if found is null and tg_op = 'UPDATE' then
        return null;
    end if;
    perform write_admin_change(
        case tg_table_name when 'merchants' then this ->> 'id' else this ->> 'merchant' end,
        coalesce(deed, noun || case tg_op when 'INSERT' then ' added' when 'UPDATE' then ' changed' else ' removed' end),
        case tg_table_name
            when 'gateway_accounts' then concat(this ->> 'gateway', '/', this ->> 'account')
            when 'apps' then this ->> 'name' else this ->> 'id' end,
        found);
    return null;
end
$$;
revoke execute on function note_admin_change() from public;

-- `update of`: what intake and forwarding write all the time, such as an app's circuit, comes by none of these.
create trigger merchants_noted after insert or delete or update of name, is_active on merchants
    for each row execute function note_admin_change('name', 'is_active');
create trigger gateway_accounts_noted
    after insert or delete or update of merchant, mode, is_active, credentials on gateway_accounts
    for each row execute function note_admin_change('merchant', 'mode', 'is_active', '!credentials');
create trigger api_keys_noted after insert or delete or update of revoked_at on api_keys
    for each row execute function note_admin_change(
        'name', 'merchant', 'role', 'rate_per_minute', 'expires_at', 'may_read_health_data', 'user_id', 'created_by',
        'revoked_at');
create trigger apps_noted after insert or delete or update of
        is_default, plans, target_url, environment_url, is_paused, paused_because, takes, takes_health_data,
        router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst, sealed on apps
    for each row execute function note_admin_change(
        'is_default', 'plans', '?target_url', '?environment_url', 'is_paused', 'paused_because', 'takes',
        'takes_health_data', 'router_source', 'attempts', 'attempt_milliseconds', 'waits_milliseconds',
        'rate_per_second', 'burst', '!sealed');

-- Drops what is older than some days, some rows at a time.
create function drop_old_admin_changes(p_days integer, p_most integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    dropped integer;
begin
    if p_days < 365 then
        raise exception using errcode = '22023', message = 'changes are kept for a year at least';
    end if;
    perform set_config('gatehouse.retention', 'admin_changes', true);
    delete from admin_changes where id in (
        select id from admin_changes where at < now() - make_interval(days => p_days) order by at limit p_most);
    get diagnostics dropped = row_count;
    perform set_config('gatehouse.retention', '', true);
    return dropped;
end
$$;
revoke execute on function drop_old_admin_changes(integer, integer) from public;
grant execute on function drop_old_admin_changes(integer, integer) to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop trigger apps_noted on apps;
drop trigger api_keys_noted on api_keys;
drop trigger gateway_accounts_noted on gateway_accounts;
drop trigger merchants_noted on merchants;
drop function drop_old_admin_changes(integer, integer);
drop function note_admin_change();
drop function note_deed(text, text, jsonb);
drop function write_admin_change(text, text, text, jsonb);
drop table admin_changes;
drop function refuse_admin_change();

-- An e-mail address is kept out of the audit whatever its column is called: a reference or a key may hold one.
-- migrate: up

-- Trigger arguments: the columns with personal values. An address is one wherever it stands.
create or replace function write_audit() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into payment_audit_log (merchant, table_name, row_id, action, actor, webhook_event_id, changes)
    select
        this ->> 'merchant', tg_table_name, (this ->> 'id')::bigint, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        nullif(current_setting('gatehouse.event_row', true), '')::bigint,
        coalesce(jsonb_object_agg(name, case
            when name = any (tg_argv) or position('@' in concat(before -> name, after -> name)) > 0
            then jsonb_build_array(
                audit_hash((select key from audit_hash_key), before -> name),
                audit_hash((select key from audit_hash_key), after -> name))
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and (before -> name <> 'null' or after -> name <> 'null');
    return null;
end
$$;

-- migrate: down

-- Trigger arguments: the columns with personal values.
create or replace function write_audit() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into payment_audit_log (merchant, table_name, row_id, action, actor, webhook_event_id, changes)
    select
        this ->> 'merchant', tg_table_name, (this ->> 'id')::bigint, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        nullif(current_setting('gatehouse.event_row', true), '')::bigint,
        coalesce(jsonb_object_agg(name, case
            when name = any (tg_argv) then jsonb_build_array(
                audit_hash((select key from audit_hash_key), before -> name),
                audit_hash((select key from audit_hash_key), after -> name))
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and (before -> name <> 'null' or after -> name <> 'null');
    return null;
end
$$;

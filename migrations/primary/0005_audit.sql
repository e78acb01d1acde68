-- Who changed what and why, for every change of a payment; append-only, written by a trigger that nobody can go round.
-- migrate: up

create table payment_audit_log (
    id bigint generated always as identity,
    at timestamptz not null default now(),
    merchant text not null,
    table_name text not null,
    row_id bigint not null,
    action text not null check (action in ('insert', 'update', 'delete')),
    actor text not null,
    webhook_event_id bigint,
    changes jsonb not null,
    primary key (table_name, row_id, id)
);

comment on column payment_audit_log.changes is
    'column -> [before, after]; personal values appear only as keyed hashes';

-- The key of those hashes: made here, readable by no application role, so that a hash cannot be guessed from outside.
create table audit_hash_key (
    only_one boolean primary key default true check (only_one),
    key bytea not null
);
insert into audit_hash_key (key)
values (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Tells whether a personal value changed, and not what it is; null stays null.
create function audit_hash(hash_key bytea, value jsonb) returns jsonb
language sql immutable as $$
    select case when value <> 'null' then to_jsonb('hash:' || left(encode(
        sha256(hash_key || sha256(hash_key || convert_to(value::text, 'UTF8'))), 'hex'), 24)) end
$$;

-- Trigger arguments: the columns with personal values.
create function write_audit() returns trigger
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

create trigger payments_audit_insert after insert on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref');
create trigger payments_audit_update after update on payments
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'failure_message', 'customer_ref');
create trigger payments_audit_delete after delete on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref');

create function refuse_audit_change() returns trigger
language plpgsql as $$
begin
    raise exception using errcode = '42501', message = 'payment_audit_log is append-only';
end
$$;

create trigger append_only before update or delete or truncate on payment_audit_log
    for each statement execute function refuse_audit_change();

alter table payment_audit_log enable row level security, force row level security;
create policy own_merchant on payment_audit_log to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on payment_audit_log to gatehouse_worker, gatehouse_ops, current_user using (true);

grant select on payment_audit_log to gatehouse_api, gatehouse_ops, gatehouse_worker;
revoke execute on function write_audit() from public;

-- migrate: down

drop trigger payments_audit_insert on payments;
drop trigger payments_audit_update on payments;
drop trigger payments_audit_delete on payments;
drop table payment_audit_log;
drop table audit_hash_key;
drop function write_audit();
drop function audit_hash(bytea, jsonb);
drop function refuse_audit_change();

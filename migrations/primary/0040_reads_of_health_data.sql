-- Who read which patient's data, and when. Written in the flush that reads; nobody can change it.
-- migrate: up

create table health_data_reads (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    merchant text not null,
    reader text not null,
    kind text not null check (kind in (
        'memberships', 'membership', 'patient', 'export', 'products', 'payments', 'invoices')),
    filters jsonb not null default '{}',
    row_ids bigint[] not null default '{}',
    row_count integer not null
);

comment on column health_data_reads.reader is 'the key or person that asked, as the audit calls them';
comment on column health_data_reads.filters is 'what was asked for; of words that were searched only that they were';
comment on column health_data_reads.row_ids is 'which rows were shown: of memberships, products, payments or invoices';

create index health_data_reads_newest on health_data_reads (merchant, id desc);
create index health_data_reads_at on health_data_reads (at);

alter table health_data_reads enable row level security, force row level security;
create policy own_merchant on health_data_reads to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on health_data_reads to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select, insert on health_data_reads to gatehouse_api, gatehouse_ops, gatehouse_worker;

-- Drops what is older than some days, some rows at a time.
create function drop_old_health_reads(p_days integer, p_most integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    dropped integer;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'reads are kept for a day at least';
    end if;
    delete from health_data_reads where id in (
        select id from health_data_reads where at < now() - make_interval(days => p_days) order by at limit p_most);
    get diagnostics dropped = row_count;
    return dropped;
end
$$;

revoke execute on function drop_old_health_reads(integer, integer) from public;
grant execute on function drop_old_health_reads(integer, integer) to gatehouse_worker, gatehouse_ops;

-- A key may be made without the right to see health data: for bookkeeping, say.
alter table api_keys add column may_read_health_data boolean not null default true;

-- Says whether a key may see health data; where it may and rows are named, notes that it does.
create function reads_health_data(p_key_id text, p_kind text, p_ids bigint[]) returns boolean
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    is_allowed boolean := coalesce((select k.may_read_health_data from api_keys k where k.id = p_key_id), false);
begin
    if is_allowed and p_kind is not null then
        insert into health_data_reads (merchant, reader, kind, row_ids, row_count)
        values (working_for(), 'key ' || p_key_id, p_kind, p_ids, cardinality(p_ids));
    end if;
    return is_allowed;
end
$$;

revoke execute on function reads_health_data(text, text, bigint[]) from public;
grant execute on function reads_health_data(text, text, bigint[]) to gatehouse_api;

-- migrate: down

drop function reads_health_data(text, text, bigint[]);
alter table api_keys drop column may_read_health_data;
drop function drop_old_health_reads(integer, integer);
drop table health_data_reads;

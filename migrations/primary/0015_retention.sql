-- Payloads are kept for as long as retention says: whole months are dropped, not deleted row by row.
-- migrate: up

-- Drops the monthly partitions of webhook_payloads whose every row is older than some days, and deletes such rows of the
-- default partition; with p_dry_run it only says which. Returns what each held (an estimate for a partition).
create function drop_old_payloads(p_days integer, p_dry_run boolean)
returns table (partition text, payloads bigint, oldest date)
language plpgsql security definer set search_path = public, pg_temp
-- A drop needs the table alone. Whoever waits for that holds up every recording behind it: so not for long.
set lock_timeout = '1s' as $$
declare
    before timestamptz := now() - make_interval(days => p_days);
    month date;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'payloads are kept for a day at least';
    end if;
    for partition, month in
        select c.relname, to_date(right(c.relname, 7), 'YYYY_MM')
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'webhook_payloads'::regclass and c.relname ~ '^webhook_payloads_\d{4}_\d{2}$'
        order by c.relname
    loop
        continue when (month + interval '1 month') at time zone 'utc' > before;
        select greatest(reltuples, 0)::bigint into payloads from pg_class where oid = to_regclass(partition);
        oldest := month;
        if not p_dry_run then
            execute format('drop table %I', partition);
        end if;
        return next;
    end loop;
    partition := 'webhook_payloads_default';
    select count(*), min(received_at)::date into payloads, oldest
    from webhook_payloads_default where received_at < before;
    if payloads > 0 then
        if not p_dry_run then
            delete from webhook_payloads_default where received_at < before;
        end if;
        return next;
    end if;
end
$$;

revoke execute on function drop_old_payloads(integer, boolean) from public;
grant execute on function drop_old_payloads(integer, boolean) to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function drop_old_payloads(integer, boolean);

-- How many memberships each tab holds, kept, so that a clinic of any size is told at once. Each change adds a row, so that
-- no recording waits for another; a count is their sum, and now and then a merchant's rows are merged into one of each.
-- migrate: up

create table membership_counts (
    merchant text not null,
    category text not null,
    status text not null,
    livemode boolean not null,
    memberships integer not null,
    missed integer not null,
    is_merged boolean not null default false
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_insert_threshold = -1);

comment on column membership_counts.memberships is 'how many more, or with a minus fewer';
comment on column membership_counts.missed is 'how many more of them have missed a renewal';

create index membership_counts_merchant on membership_counts (merchant);
create index membership_counts_changes on membership_counts (merchant) where not is_merged;

alter table membership_counts enable row level security, force row level security;
create policy all_merchants on membership_counts to gatehouse_ops, gatehouse_worker, current_user using (true);
create policy own_merchant on membership_counts to gatehouse_api, gatehouse_intake
    using (merchant = current_setting('gatehouse.merchant', true));
grant select on membership_counts to gatehouse_api, gatehouse_ops, gatehouse_worker;

create function count_membership() returns trigger
language plpgsql as $$
begin
    if tg_op <> 'INSERT' then
        insert into membership_counts (merchant, category, status, livemode, memberships, missed)
        values (old.merchant, old.category, old.status, old.livemode, -1, -(old.renewal_missed_at is not null)::integer);
    end if;
    if tg_op <> 'DELETE' then
        insert into membership_counts (merchant, category, status, livemode, memberships, missed)
        values (new.merchant, new.category, new.status, new.livemode, 1, (new.renewal_missed_at is not null)::integer);
    end if;
    return null;
end
$$;

create trigger count_membership after insert or delete on memberships
    for each row execute function count_membership();
-- A renewal that was paid moves nobody to another tab.
create trigger count_membership_update after update on memberships
    for each row
    when ((old.merchant, old.category, old.status, old.livemode, old.renewal_missed_at is null)
        is distinct from (new.merchant, new.category, new.status, new.livemode, new.renewal_missed_at is null))
    execute function count_membership();

-- What is missing in the counts of one merchant, and with a minus what is too much in them. One statement sees both sides
-- as of one moment.
create function drift_of_membership_counts(p_merchant text)
returns table (category text, status text, livemode boolean, memberships integer, missed integer)
language sql stable as $$
    select category, status, livemode, sum(memberships)::integer, sum(missed)::integer
    from (
        select m.category, m.status, m.livemode, count(*) as memberships, count(m.renewal_missed_at) as missed
        from memberships m where m.merchant = p_merchant group by 1, 2, 3
        union all
        select c.category, c.status, c.livemode, -sum(c.memberships), -sum(c.missed)
        from membership_counts c where c.merchant = p_merchant group by 1, 2, 3
    ) as both_sides
    group by 1, 2, 3
    having sum(memberships) <> 0 or sum(missed) <> 0
$$;
revoke execute on function drift_of_membership_counts(text) from public;
grant execute on function drift_of_membership_counts(text) to gatehouse_ops, gatehouse_worker;

-- One at a time: two would both add what is missing.
create function repair_membership_counts(p_merchant text) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    repaired integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('gatehouse/membership_counts', 0));
    insert into membership_counts (merchant, category, status, livemode, memberships, missed)
    select p_merchant, category, status, livemode, memberships, missed from drift_of_membership_counts(p_merchant);
    get diagnostics repaired = row_count;
    return repaired;
end
$$;
revoke execute on function repair_membership_counts(text) from public;
grant execute on function repair_membership_counts(text) to gatehouse_ops, gatehouse_worker;

-- Merges rows of merchants that have more changes than may be left alone, so many at most, and tells how many it has
-- taken; none while somebody else is at it. A merchant that is merged in part has the same sums.
create function merge_membership_counts(p_left_alone integer, p_most integer) returns integer
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    taken integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/membership_counts', 0)) then
        return 0;
    end if;
    with changed as (
        select merchant from membership_counts where not is_merged group by merchant having count(*) > p_left_alone
    ), gone as (
        delete from membership_counts c
        where c.ctid = any (array(
            select k.ctid from membership_counts k join changed using (merchant) order by k.is_merged limit p_most))
        returning c.*
    ), merged as (
        insert into membership_counts (merchant, category, status, livemode, memberships, missed, is_merged)
        select merchant, category, status, livemode, sum(memberships), sum(missed), true from gone
        group by merchant, category, status, livemode
        having sum(memberships) <> 0 or sum(missed) <> 0
    )
    select count(*) into taken from gone;
    return taken;
end
$$;
revoke execute on function merge_membership_counts(integer, integer) from public;
grant execute on function merge_membership_counts(integer, integer) to gatehouse_ops, gatehouse_worker;

-- migrate: down

drop function merge_membership_counts(integer, integer);
drop function repair_membership_counts(text);
drop function drift_of_membership_counts(text);
drop trigger count_membership_update on memberships;
drop trigger count_membership on memberships;
drop function count_membership();
drop table membership_counts;

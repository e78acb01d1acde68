-- Sums of six hours and of quarters of an hour, so that days of any time zone are put together from some sums: a day of
-- UTC, put right at both ends. Of all merchants together there are finer sums of orders and items now, too.
-- migrate: no-transaction
-- migrate: up

alter table totals drop constraint if exists totals_level_check, add constraint totals_level_check
    check (level in ('quarter', 'hour', 'six_hours', 'day', 'month')) not valid;
alter table totals validate constraint totals_level_check;

-- Which sums there are: finer ones than days of one merchant by gateway, and of all together by what has few values.
create or replace function is_kept(p_breakdown text, p_level text, p_merchant text) returns boolean
language sql immutable parallel safe as $$
    select p_level in ('day', 'month') or p_breakdown = 'gateway'
        or p_merchant = '*' and p_breakdown not in ('failure', 'duration')
$$;

create or replace function total_bucket(p_level text, p_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case p_level
        when 'quarter' then date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00')
        when 'hour' then date_bin('1 hour', p_at, '2000-01-01 00:00:00+00')
        when 'six_hours' then date_bin('6 hours', p_at, '2000-01-01 00:00:00+00')
        when 'day' then date_bin('1 day', p_at, '2000-01-01 00:00:00+00')
        else date_trunc('month', p_at at time zone 'UTC') at time zone 'UTC' end
$$;

-- What counts and what compares goes through more levels; nothing else of them changes.
do $$ declare each regprocedure; begin
    foreach each in array array['add_to_totals(total_entries[])',
        'drift_of_totals(timestamptz, timestamptz, text[])']::regprocedure[]
    loop
        execute replace(pg_get_functiondef(each), $old$(values ('hour'), ('day'), ('month'))$old$,
            $new$(values ('quarter'), ('hour'), ('six_hours'), ('day'), ('month'))$new$);
    end loop;
end $$;

-- What is there already is summed, a day at a time and each by itself: nobody who records waits for it, and whoever
-- counts waits for a day at most.
do $$
declare
    at timestamptz := (select date_bin('1 day', min(bucket), '2000-01-01 00:00:00+00') from total_entries);
    until timestamptz := (select max(bucket) from total_entries);
begin
    while at <= until loop
        if repair_totals(at, at + interval '24 hours', '{quarter,hour,six_hours}') is null then
            perform pg_sleep(0.1);  -- somebody else counts
        else
            at := at + interval '24 hours';
        end if;
        commit;
    end loop;
end $$;

-- migrate: down

do $$ declare each regprocedure; begin
    foreach each in array array['add_to_totals(total_entries[])',
        'drift_of_totals(timestamptz, timestamptz, text[])']::regprocedure[]
    loop
        execute replace(pg_get_functiondef(each),
            $new$(values ('quarter'), ('hour'), ('six_hours'), ('day'), ('month'))$new$,
            $old$(values ('hour'), ('day'), ('month'))$old$);
    end loop;
end $$;

create or replace function total_bucket(p_level text, p_at timestamptz) returns timestamptz
language sql immutable parallel safe as $$
    select case p_level
        when 'hour' then date_bin('1 hour', p_at, '2000-01-01 00:00:00+00')
        when 'day' then date_bin('1 day', p_at, '2000-01-01 00:00:00+00')
        else date_trunc('month', p_at at time zone 'UTC') at time zone 'UTC' end
$$;

create or replace function is_kept(p_breakdown text, p_level text, p_merchant text) returns boolean
language sql immutable parallel safe as $$
    select p_level <> 'hour' or p_breakdown = 'gateway'
        or p_merchant = '*' and p_breakdown in ('app', 'method', 'category')
$$;

delete from totals where level in ('quarter', 'six_hours') or not is_kept(breakdown, level, merchant);

alter table totals drop constraint if exists totals_level_check, add constraint totals_level_check
    check (level in ('hour', 'day', 'month'));

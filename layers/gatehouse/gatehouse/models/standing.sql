-- How everything stands, for one screen; each statement is bounded, so that the screen may be drawn every few seconds.

-- name: jobs
-- What waits, what is being worked on and what was given up, by topic, with the age of the oldest that is due.
select
    topic, sum(waiting)::bigint as waiting, sum(leased)::bigint as leased, sum(dead)::bigint as dead,
    coalesce(extract(epoch from now() - min(due_at)), 0)::bigint as oldest_due_seconds
from (
    select topic, count(*) filter (where status = 'waiting') as waiting, count(*) filter (where status = 'leased') as leased,
        0 as dead, min(due_at) filter (where due_at <= now()) as due_at
    from jobs where status in ('waiting', 'leased') group by topic
    union all
    select topic, 0, 0, count(*), null from jobs where status = 'dead' group by topic
) as counted
group by topic
order by topic;

-- name: last_events
-- The last event of each gateway among the newest so many; one that is not there has been silent for longer. Where all of
-- them came within the hour there were more: `hour_is_cut`.
with newest as (
    select gateway, max(received_at) as last_at, min(received_at) as first_at, count(*) as events,
        count(*) filter (where received_at > now() - interval '1 hour') as in_last_hour,
        count(*) filter (where received_at > now() - interval '1 hour' and status = 'failed') as failed_in_last_hour
    from (select gateway, received_at, status from webhook_events order by id desc limit :most::integer) as held
    group by gateway
)
select
    g.gateway, n.last_at, extract(epoch from now() - n.last_at)::bigint as silent_seconds,
    coalesce(n.in_last_hour, 0) as in_last_hour, coalesce(n.failed_in_last_hour, 0) as failed_in_last_hour,
    coalesce((select sum(events) = :most::integer and min(first_at) > now() - interval '1 hour' from newest), false)
        as hour_is_cut
from unnest(:gateways::text[]) with ordinality as g (gateway, place)
left join newest n using (gateway)
order by g.place;

-- name: failed_events
-- Events whose facts were refused and that nobody has taken up again.
select count(*) as failed from webhook_events where status = 'failed';

-- name: success_of_apps
-- What share of its deliveries each app took in 24 hours.
select app, round(100.0 * count(*) filter (where ok) / count(*), 2)::double precision as success_rate_pct
from webhook_forward_logs
where created_at > now() - interval '24 hours'
group by app
order by app;

-- name: completeness
-- What gateways listed and what of it was recorded, of the days that were compared last and not longer than a week ago.
select coalesce(sum(listed), 0)::bigint as listed, coalesce(sum(recorded), 0)::bigint as recorded,
    count(*) filter (where recorded < listed) as days_lacking, max(checked_at) as compared_at
from completeness
where day > (now() at time zone 'UTC')::date - 7;

-- name: tenants
-- Tenants by how they stand, those that use up their storage, and what became of statements today.
with standing as (
    select count(*) filter (where status = 'active') as active, count(*) filter (where status = 'creating') as creating,
        count(*) filter (where status = 'suspended') as suspended,
        count(*) filter (where status = 'creating' and created_at < now() - interval '15 minutes') as late,
        count(*) filter (where storage_bytes > max_storage_mb * 1048576::bigint) as over_storage
    from platform_tenants where removed_at is null
),
today as (
    select coalesce(sum(query_executions), 0)::bigint as statements_today from tenant_usage_slots
    where date = (now() at time zone 'UTC')::date
)
select * from standing, today;

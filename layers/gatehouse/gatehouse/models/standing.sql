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
-- The last event of each gateway among the newest so many; one that is not there has been silent for longer.
with newest as (
    select id, gateway, received_at, status from webhook_events order by id desc limit :most::integer
)
select
    g.gateway, max(n.received_at) as last_at,
    extract(epoch from now() - max(n.received_at))::bigint as silent_seconds,
    count(n.id) filter (where n.received_at > now() - interval '1 hour') as in_last_hour,
    count(n.id) filter (where n.received_at > now() - interval '1 hour' and n.status = 'failed') as failed_in_last_hour
from unnest(:gateways::text[]) with ordinality as g (gateway, place)
left join newest n using (gateway)
group by g.gateway, g.place
order by g.place;

-- name: failed_events
-- Events whose facts were refused and that nobody has taken up again.
select count(*) as failed from webhook_events where status = 'failed';

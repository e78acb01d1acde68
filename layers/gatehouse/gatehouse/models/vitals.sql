-- What alarms watch besides what the functions count: read once a minute, and cheap enough for that.

-- name: server
-- How full the database is. The default partition is asked for its size: its rows are not for whoever asks, and a size
-- costs nothing. It shrinks back to nothing once the rows are gone and vacuum has been there.
select
    round(100.0 * (select count(*) from pg_stat_activity where datid is not null)
        / current_setting('max_connections')::integer, 1)::double precision as connections_pct,
    pg_relation_size('webhook_payloads_default') > 0 as has_payloads_without_month,
    (select count(*) from webhook_events where status = 'failed') as failed_events;

-- name: oldest_jobs
-- The age of the oldest job of each topic that is not done, counted from when it was written.
select topic, extract(epoch from now() - min(created_at))::bigint as seconds
from jobs where status in ('waiting', 'leased')
group by topic
order by topic;

-- name: money_at_risk
-- What was paid and has not reached the app that should know, a while after it came; of the oldest so many deliveries.
select app, currency, sum(amount_minor)::bigint as amount_minor
from (
    select distinct j.arguments ->> 'app' as app, p.id, p.currency, coalesce(p.received_minor, p.amount_minor) as amount_minor
    from (
        select id, arguments, webhook_event_id from jobs
        where topic = 'forward' and status <> 'done' and created_at < now() - make_interval(secs => :seconds::integer)
        order by id
        limit :most::integer
    ) as j
    join facts f on f.webhook_event_id = j.webhook_event_id and f.kind = 'payment'
    join payments p on p.id = f.subject_id
    where p.livemode and p.status = 'completed' and p.currency is not null
) as untold
group by app, currency
order by app, currency;

-- How the work that follows events goes, in a period.

-- name: forwarding
-- Deliveries by app, and what waits or was given up now.
with logged as (
    select l.app, count(*) as deliveries, count(*) filter (where l.ok) as delivered,
        sum(l.attempt_count)::bigint as tries,
        percentile_cont(array[0.5, 0.95]) within group (
            order by extract(epoch from l.created_at - e.received_at)::double precision
        ) filter (where l.ok) as seconds
    from webhook_forward_logs l
    left join webhook_events e on e.id = l.webhook_event_id
    where l.created_at >= :since::timestamptz and l.created_at < :until::timestamptz
      and (:merchant::text = '*' or l.merchant = :merchant::text)
      and (:app::text is null or l.app = :app::text)
    group by l.app
),
held as (
    select arguments ->> 'app' as app, count(*) filter (where status <> 'dead') as waiting,
        count(*) filter (where status = 'dead') as given_up
    from jobs
    where topic = 'forward' and status <> 'done'
      and (:merchant::text = '*' or merchant = :merchant::text)
      and (:app::text is null or arguments ->> 'app' = :app::text)
    group by 1
)
select app, coalesce(deliveries, 0) as deliveries, coalesce(delivered, 0) as delivered, coalesce(tries, 0) as tries,
    seconds[1] as p50_seconds, seconds[2] as p95_seconds, coalesce(waiting, 0) as waiting,
    coalesce(given_up, 0) as given_up
from logged full join held using (app)
order by app;

-- name: failed_deliveries
-- Why deliveries failed, the most frequent reason first.
select app, coalesce(error_class, '') as reason, count(*) as deliveries
from webhook_forward_logs
where not ok and created_at >= :since::timestamptz and created_at < :until::timestamptz
  and (:merchant::text = '*' or merchant = :merchant::text)
  and (:app::text is null or app = :app::text)
group by 1, 2
order by 1, 3 desc, 2;

-- name: enrichment
-- Jobs but for deliveries, by topic.
select topic, count(*) as jobs, count(*) filter (where status = 'done') as done,
    count(*) filter (where status in ('waiting', 'leased')) as waiting,
    count(*) filter (where status = 'dead') as given_up, sum(attempts)::bigint as tries,
    percentile_cont(0.5) within group (order by extract(epoch from finished_at - created_at)::double precision)
        filter (where status = 'done') as p50_seconds,
    percentile_cont(0.95) within group (order by extract(epoch from finished_at - created_at)::double precision)
        filter (where status = 'done') as p95_seconds
from jobs
where topic <> 'forward' and created_at >= :since::timestamptz and created_at < :until::timestamptz
  and (:merchant::text = '*' or merchant = :merchant::text)
group by topic
order by topic;

-- name: completeness
-- What gateways listed beside what was recorded, by account, of the days of UTC that begin in the period.
select width_bucket(day::timestamp at time zone 'UTC', :starts::timestamptz[]) - 1 as slot, gateway, account,
    count(*) as days, count(*) filter (where recorded = listed) as complete_days, sum(listed)::bigint as listed,
    sum(recorded)::bigint as recorded, sum(found_missing)::bigint as found_missing, min(checked_at) as compared_since
from completeness
where day >= (:since::timestamptz at time zone 'UTC')::date and day::timestamp at time zone 'UTC' >= :since::timestamptz
  and day::timestamp at time zone 'UTC' < :until::timestamptz
  and (:merchant::text = '*' or merchant = :merchant::text)
  and (:gateway::text is null or gateway = :gateway::text)
group by 1, 2, 3
order by 1, 2, 3;

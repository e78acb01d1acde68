-- Deliveries to apps, as ops and callers of the API look at them.

-- name: list_forwards
-- Deliveries, newest first, with any of the filters; `before` is the last one of the page before. A time is looked up as
-- an id as well, generously, as ids are drawn a little before or after the time is: else a month of long ago would be
-- found by walking through all that is newer.
select id, created_at, merchant, app, target_url, ok, status_code, attempt_count, error_class, error_message, reference,
    gateway, duration_ms, webhook_event_id, job_id
from webhook_forward_logs
where (:app::text is null or app = :app::text)
  and (:ok::boolean is null or ok = :ok::boolean)
  and (:gateway::text is null or gateway = :gateway::text)
  and (:reference::text is null or reference = :reference::text)
  and (:event::bigint is null or webhook_event_id = :event::bigint)
  and (:error::text is null
       or (error_class is not null  -- as each that was not delivered has: there is an index of one merchant's
           and position(lower(:error::text) in lower(concat_ws(': ', error_class, error_message))) > 0))
  and (:since::timestamptz is null or created_at >= :since::timestamptz)
  and (:until::timestamptz is null or created_at < :until::timestamptz)
  and (:since::timestamptz is null or id >= (
      select first.id from webhook_forward_logs first
      where first.created_at >= :since::timestamptz - interval '10 minutes' order by first.created_at limit 1))
  and (:until::timestamptz is null or id <= (
      select last.id from webhook_forward_logs last
      where last.created_at < :until::timestamptz + interval '10 minutes' order by last.created_at desc limit 1))
  and (:before::bigint is null or id < :before::bigint)
order by id desc
limit :most::integer;

-- name: find_forward
-- One delivery, and how its job stands.
select l.id, l.created_at, l.merchant, l.app, l.target_url, l.ok, l.status_code, l.attempt_count, l.error_class,
    l.error_message, l.reference, l.gateway, l.duration_ms, l.webhook_event_id, l.job_id,
    j.status as job_status, j.attempts as job_attempts, j.due_at, j.last_error, e.event_id, e.type as event_type,
    e.received_at
from webhook_forward_logs l
left join jobs j on j.id = l.job_id
left join webhook_events e on e.id = l.webhook_event_id
where l.id = :id::bigint;

-- name: forward_again
-- Lets a delivery be made again.
select forward_again(:id::bigint) as job;

-- name: stats
-- How forwarding to each app goes: the last 24 hours, and what waits or was given up.
with logged as (
    select l.app, count(*) as deliveries, count(*) filter (where l.ok) as delivered, sum(l.attempt_count) as attempts,
        percentile_cont(array[0.5, 0.95]) within group (
            order by extract(epoch from l.created_at - e.received_at)::double precision
        ) filter (where l.ok) as seconds
    from webhook_forward_logs l
    left join webhook_events e on e.id = l.webhook_event_id
    where l.created_at > now() - interval '24 hours'
    group by l.app
),
held as (
    select arguments ->> 'app' as app, count(*) filter (where status in ('waiting', 'leased')) as waiting,
        count(*) filter (where status = 'dead') as dead,
        min(created_at) filter (where status in ('waiting', 'leased')) as oldest_waiting_since
    from jobs where topic = 'forward' and status <> 'done'
    group by 1
)
select app, coalesce(l.deliveries, 0) as deliveries, coalesce(l.delivered, 0) as delivered,
    round(100.0 * l.delivered / nullif(l.deliveries, 0), 2)::double precision as success_rate_pct,
    coalesce(l.attempts, 0)::bigint as attempts, l.seconds[1] as p50_seconds, l.seconds[2] as p95_seconds,
    coalesce(h.waiting, 0) as waiting, coalesce(h.dead, 0) as dead, h.oldest_waiting_since
from logged l full join held h using (app)
order by app;

-- name: list_targets
-- Where and how each app is told, and how it has been answering; nothing that is secret.
select merchant, name, is_default, plans, coalesce(target_url, environment_url) as url,
    target_url is null and environment_url is not null as is_from_settings, is_paused, paused_because, takes,
    takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst,
    circuit_state, circuit_failures, circuit_probe_at
from apps
order by merchant, name;

-- name: failures
-- Why deliveries failed since a moment, by app and cause: how many, how many of them were given up, and the newest.
select l.app, l.error_class, l.status_code, count(*) as deliveries,
    count(distinct l.job_id) filter (where j.status = 'dead') as given_up, max(l.created_at) as last_at,
    max(l.id) as last_id, (array_agg(l.error_message order by l.id desc))[1] as last_message
from webhook_forward_logs l
left join jobs j on j.id = l.job_id
where not l.ok and l.created_at > :since::timestamptz
group by l.app, l.error_class, l.status_code
order by given_up desc, deliveries desc, l.app, l.error_class, l.status_code
limit :most::integer;

-- The way of one event through Gatehouse, from the request that brought it to the apps that were told.

-- name: events_of_request
-- Events that a request brought. No index knows requests, because each would cost every recording: so only the time
-- in which it arrived is read.
select id from webhook_events
where received_at >= now() - make_interval(days => :days::integer) and request_id = :request_id::text
order by id;

-- name: refused_request
-- A request that was refused, as long as that is kept.
select received_at, gateway, account, code, reason, body_bytes, request_id
from rejected_requests
where request_id = :request_id::text
order by id
limit 1;

-- name: event
-- The event itself, and the request that brought it.
select id, gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, attempts,
    reference, request_id
from webhook_events
where id = :event::bigint;

-- name: said
-- What it said: of which rows, and which of their columns. The values may be a person's, and are not needed here.
select f.kind, f.subject_id, array(select jsonb_object_keys(f.words) order by 1) as columns, f.received_at as at
from facts f
where f.webhook_event_id = :event::bigint
order by f.id;

-- name: changed
-- What it changed, and when: that is when it was recorded.
select at, table_name, row_id, action, actor, array(select jsonb_object_keys(changes) order by 1) as columns
from payment_audit_log
where webhook_event_id = :event::bigint
order by id;

-- name: jobs
-- The work that it left.
select id, topic, business_key, status, created_at, due_at, attempts, burials, last_error, finished_at, redrive_id
from jobs
where webhook_event_id = :event::bigint
order by id;

-- name: fetched
-- What that work learnt from the gateway about what the event spoke of.
select f.kind, f.subject_id, array(select jsonb_object_keys(f.words) order by 1) as columns, f.received_at as at, f.job_id
from facts f
where (f.kind, f.subject_id) in (select kind, subject_id from facts where webhook_event_id = :event::bigint)
  and f.job_id in (select id from jobs where webhook_event_id = :event::bigint)
order by f.id;

-- name: told
-- The apps that were told of it, each delivery.
select id, created_at, app, ok, status_code, attempt_count, duration_ms, error_class, error_message, job_id
from webhook_forward_logs
where webhook_event_id = :event::bigint
order by id;

-- The apps' rows as forwarding needs them. Secrets and headers come and go sealed; nothing here can read them.

-- name: what_to_forward
-- The event of a job with its sealed bytes, and the app that is to be told, as it stands now.
select * from what_to_forward(:job::bigint, :app::text);

-- name: lock_state
-- Locks an app's row to change its circuit or bucket, and tells the time of the one clock.
select circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at, rate_per_second, burst, bucket_tokens,
    bucket_filled_at, clock_timestamp() as now
from apps where merchant = :merchant::text and name = :app::text
for no key update;

-- name: write_state
-- Writes circuit and bucket of a locked row.
update apps set
    circuit_state = :circuit_state::text, circuit_failures = :circuit_failures::integer,
    circuit_opened_at = :circuit_opened_at::timestamptz, circuit_probe_at = :circuit_probe_at::timestamptz,
    bucket_tokens = :bucket_tokens::double precision, bucket_filled_at = :bucket_filled_at::timestamptz
where merchant = :merchant::text and name = :app::text;

-- name: close_circuit
-- Notes that an app answers; writes nothing where that is known.
update apps set circuit_state = 'closed', circuit_failures = 0, circuit_opened_at = null, circuit_probe_at = null
where merchant = :merchant::text and name = :app::text and (circuit_state <> 'closed' or circuit_failures <> 0);

-- name: pause
-- Pauses an app; what is for it waits.
update apps set is_paused = true, paused_because = :because::text
where merchant = :merchant::text and name = :app::text
returning name;

-- name: resume
-- Lets an app be told again.
update apps set
    is_paused = false, paused_because = null, circuit_state = 'closed', circuit_failures = 0, circuit_opened_at = null,
    circuit_probe_at = null
where merchant = :merchant::text and name = :app::text
returning name;

-- name: wake_forwards
-- Lets what waits for an app go at once, a thousand at a time; the sweeper rings.
update jobs set due_at = now(), ring_after = now()
where id in (
    select id from jobs
    where topic = 'forward' and status = 'waiting' and merchant = :merchant::text
      and arguments ->> 'app' = :app::text and due_at > now()
    order by id
    limit 1000
    for update skip locked
)
returning id;

-- name: find_app
-- One app with what is sealed of it.
select merchant, name, target_url, environment_url, is_paused, paused_because, takes, takes_health_data, router_source,
    attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst, sealed, key_id, circuit_state,
    circuit_probe_at
from apps where merchant = :merchant::text and name = :app::text;

-- name: set_up
-- Writes how an app is told; finds nothing when another has changed its secrets or headers since they were read.
update apps set
    target_url = :target_url::text, takes = :takes::jsonb, takes_health_data = :takes_health_data::boolean,
    router_source = :router_source::text, attempts = :attempts::smallint,
    attempt_milliseconds = :attempt_milliseconds::integer, waits_milliseconds = :waits_milliseconds::integer[],
    rate_per_second = :rate_per_second::double precision, burst = :burst::integer, sealed = :sealed::bytea,
    key_id = :key_id::text
where merchant = :merchant::text and name = :app::text and sealed is not distinct from :sealed_read::bytea
returning name;

-- name: put_sealed
-- Writes secrets and headers in the place of those that were read; finds nothing when another was faster.
update apps set sealed = :sealed::bytea, key_id = :key_id::text
where merchant = :merchant::text and name = :app::text and sealed is not distinct from :sealed_read::bytea
returning name;

-- name: keep_environment_url
-- Notes what the settings say of where one app is told of its events.
update apps set environment_url = nullif(:url::text, '')
where merchant = :merchant::text and name = :app::text and environment_url is distinct from nullif(:url::text, '')
returning name;

-- name: log_delivery
-- Notes one delivery.
insert into webhook_forward_logs (
    app, target_url, ok, status_code, attempt_count, error_message, reference, merchant, gateway, duration_ms,
    error_class, webhook_event_id, job_id
) values (
    :app::text, :target_url::text, :ok::boolean, :status_code::integer, :attempt_count::integer, :error_message::text,
    :reference::text, :merchant::text, :gateway::text, :duration_ms::integer, :error_class::text,
    :event_row::bigint, :job::bigint
);

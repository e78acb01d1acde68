-- What the gateways' APIs answered, as it is kept.

-- name: keep_answer
-- Keeps the newest answer about an object, sealed; none that tells of somebody who was erased.
insert into gateway_answers as held (
    gateway, account, kind, object_id, merchant, answered_at, job_id, key_id, sealed
)
select
    :gateway::text, :account::text, :kind::text, :object_id::text, :merchant::text, :answered_at::timestamptz,
    :job_id::bigint, :key_id::text, :sealed::bytea
where current_setting('gatehouse.was_erased', true) is distinct from 'yes'
on conflict (gateway, account, kind, object_id) do update set
    answered_at = excluded.answered_at, job_id = excluded.job_id, key_id = excluded.key_id, sealed = excluded.sealed
where held.answered_at <= excluded.answered_at and held.merchant = excluded.merchant;

-- name: find_answer
-- The newest answer about an object, sealed.
select answered_at, key_id, sealed from gateway_answers
where gateway = :gateway::text and account = :account::text and kind = :kind::text and object_id = :object_id::text;

-- name: confirm_event
-- Notes whether an answer says what the event hints at whose job asked; leaves the jobs that forward it.
select confirm_event(:job_id::bigint, :confirms::boolean) as jobs;

-- name: write_needs
-- Leaves the jobs that an answer leads to; they are of the event whose job asked.
select write_needs(
    :merchant::text, (select webhook_event_id from jobs where id = :job_id::bigint), :needs::jsonb) as jobs;

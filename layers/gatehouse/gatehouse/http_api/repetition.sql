-- Answers that are kept so that a repeated write gets the one of the first time.

-- name: wait_a_little
-- Let a twin wait for the first for two seconds; then it is told to come again.
select set_config('lock_timeout', '2s', true) as waits;

-- name: lock_answer
-- Let one request with this key go on at a time.
select pg_advisory_xact_lock(
    hashtextextended(concat_ws('/', 'api_answers', :key_id::text, :merchant::text, :idempotency_key::text), 0)
) is null as locked;

-- name: find_answer
-- What the first request with this key was answered, and which request it was.
select request_hash, status, body from api_answers
where key_id = :key_id::text and merchant = :merchant::text and idempotency_key = :idempotency_key::text;

-- name: keep_answer
-- Keep the answer for those who ask again.
insert into api_answers (key_id, merchant, idempotency_key, request_hash, status, body)
values (:key_id::text, :merchant::text, :idempotency_key::text, :request_hash::bytea, :status::smallint, :body::jsonb);

-- Keys to the API.

-- name: use_key
-- Say who a key is, and take one of its requests of this minute.
select answer, key_id, key_merchant, key_role, key_rate, requests_left, full_in_seconds, wait_seconds
from use_api_key(:id::text, :hash::bytea);

-- name: add_key
-- Keep a new key, of which only the hash is known from now on.
insert into api_keys (id, merchant, role, name, hash, rate_per_minute, expires_at, may_read_health_data, user_id,
                      created_by)
values (:id::text, :merchant::text, :role::text, :name::text, :hash::bytea, :rate_per_minute::integer,
        :expires_at::timestamptz, :may_read_health_data::boolean, :user_id::text,
        coalesce(:made_by::text, session_user))
returning id, merchant, role, name, rate_per_minute, created_at, created_by, expires_at, revoked_at, last_used_at,
          may_read_health_data;

-- name: list_keys
-- All keys, those that still work first; of those that sessions by token live on, the ones that work.
select id, merchant, role, name, rate_per_minute, created_at, created_by, expires_at, revoked_at, last_used_at,
       may_read_health_data
from api_keys
where created_by <> :made_at_sign_in::text or (expires_at > now() and revoked_at is null)
order by revoked_at is not null or coalesce(expires_at <= now(), false), created_at, id;

-- name: look_for_keys
-- Keys that have a text in id, name or merchant, those that still work first; of sessions by token those that go on.
select id, merchant, role, name, rate_per_minute, created_at, created_by, expires_at, revoked_at, last_used_at,
       may_read_health_data
from api_keys
where (created_by <> :made_at_sign_in::text or (expires_at > now() and revoked_at is null))
  and (:text::text is null or position(lower(:text::text) in lower(concat_ws(' ', id, name, merchant))) > 0)
order by revoked_at is not null or coalesce(expires_at <= now(), false), created_at, id
limit :most::integer;

-- name: revoke_key
-- End a key for ever; one that is revoked already keeps the time of the first.
update api_keys set revoked_at = coalesce(revoked_at, now())
where id = :id::text
returning id, merchant, role, name, rate_per_minute, created_at, created_by, expires_at, revoked_at, last_used_at,
          may_read_health_data;

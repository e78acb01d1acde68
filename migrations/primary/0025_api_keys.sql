-- Keys to the API: whose rows each may see, what it may do, and how often. Of a key itself only a hash is kept.
-- migrate: up

create table api_keys (
    id text primary key check (id ~ '^[A-Za-z0-9]{8}$'),
    -- Null: a key for every merchant, whose requests name the one that they are about.
    merchant text references merchants (id),
    role text not null check (role in ('viewer', 'developer', 'admin', 'ops')),
    name text not null check (name <> ''),
    -- SHA-256 of the whole key. A key holds 256 random bits, so nobody finds it from its hash, however fast he tries.
    hash bytea not null check (octet_length(hash) = 32),
    rate_per_minute integer not null check (rate_per_minute between 1 and 60000),
    created_at timestamptz not null default now(),
    created_by text not null default session_user,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    check (merchant is not null or role = 'ops')
);

comment on column api_keys.last_used_at is 'exact to an hour: written no more often than that';

-- How far each key has used its rate: it may be used again as long as `busy_until` is less than a minute ahead. Each
-- request moves it on by one sixtieth of a minute divided by the rate. One short row a key, changed in its place.
-- Unlogged: after a crash everybody starts with a full minute, and nobody's request ever waits for the disk.
create unlogged table api_usage (
    key_id text primary key references api_keys (id),
    busy_until timestamptz not null
) with (fillfactor = 50);

-- Says who a key is and takes one of its requests, in one statement. Nobody can list keys by it: it answers for the one
-- key whose hash is shown. `answer` is ok, unknown, revoked, expired, merchant_off or limited.
-- The hashes are compared under a mask of the moment, so the time of the comparison tells nothing about the right one.
create function use_api_key(p_id text, p_hash bytea)
returns table (
    answer text, key_id text, key_merchant text, key_role text, key_rate integer, requests_left integer,
    full_in_seconds numeric, wait_seconds numeric
)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    shown api_keys;
    mask bytea := convert_to(gen_random_uuid()::text, 'UTF8');
    moment timestamptz;
    tick interval;
    busy timestamptz;
begin
    -- For this statement's own transaction: what it writes need not survive a crash, and the caller waits for it.
    perform set_config('synchronous_commit', 'off', true);
    select * into shown from api_keys where id = p_id;
    if shown.id is null or sha256(shown.hash || mask) is distinct from sha256(p_hash || mask) then
        answer := 'unknown';
        return next;
        return;
    end if;
    key_id := shown.id;
    key_merchant := shown.merchant;
    key_role := shown.role;
    key_rate := shown.rate_per_minute;
    answer := case
        when shown.revoked_at is not null then 'revoked'
        when shown.expires_at <= now() then 'expired'
        when exists (select from merchants where id = shown.merchant and not is_active) then 'merchant_off'
        else 'ok'
    end;
    if answer = 'ok' then
        tick := interval '1 minute' / shown.rate_per_minute;
        moment := clock_timestamp();
        insert into api_usage as usage (key_id, busy_until)
        values (shown.id, moment + tick)
        on conflict on constraint api_usage_pkey do update set busy_until = greatest(usage.busy_until, moment) + tick
            where greatest(usage.busy_until, moment) + tick <= moment + interval '1 minute'
        returning usage.busy_until into busy;
        if busy is null then
            answer := 'limited';
            select usage.busy_until into busy from api_usage as usage where usage.key_id = shown.id;
            wait_seconds := greatest(extract(epoch from busy + tick - moment - interval '1 minute'), 0);
        end if;
        full_in_seconds := greatest(extract(epoch from busy - moment), 0);
        requests_left := greatest(floor((60 - full_in_seconds) / extract(epoch from tick)), 0);
        update api_keys set last_used_at = moment
        where id = shown.id and (last_used_at is null or last_used_at < moment - interval '1 hour');
    end if;
    return next;
end
$$;

revoke execute on function use_api_key(text, bytea) from public;
grant execute on function use_api_key(text, bytea) to gatehouse_api;

-- The API itself cannot read this table: it shows a hash to the function and learns about that key alone.
alter table api_keys enable row level security, force row level security;
create policy all_merchants on api_keys to gatehouse_ops, current_user using (true);
grant select, insert on api_keys to gatehouse_ops;
grant update (revoked_at) on api_keys to gatehouse_ops;

-- migrate: down

drop function use_api_key(text, bytea);
drop table api_usage;
drop table api_keys;

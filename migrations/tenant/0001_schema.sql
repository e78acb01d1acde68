-- What every tenant's database begins with: the schemas, and who it is that asks (auth.uid()).
-- migrate: up

create schema auth;
create schema storage;

-- The key with which the platform signs what it says about a caller (docs/tenants.md): without it, whoever may write
-- SQL could set the claims of somebody else. The two blocks are those of HMAC (RFC 2104).
create table auth.signing_key (
    only_one boolean primary key default true check (only_one),
    inner_block bytea not null check (octet_length(inner_block) = 64),
    outer_block bytea not null check (octet_length(outer_block) = 64)
);

-- The claims of whoever asks, or null where none were given or their signature is not the platform's.
create function auth.claims() returns jsonb
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select nullif(current_setting('request.jwt.claims', true), '')::jsonb
    from auth.signing_key k
    where encode(sha256(k.outer_block || sha256(
        k.inner_block || convert_to(current_setting('request.jwt.claims', true), 'UTF8'))), 'hex')
        = current_setting('request.jwt.signature', true)
$$;

create function auth.uid() returns uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
    select case when auth.claims() ->> 'sub' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
        then (auth.claims() ->> 'sub')::uuid end
$$;

create function auth.role() returns text
language sql stable set search_path = pg_catalog, pg_temp as $$ select auth.claims() ->> 'role' $$;

create function auth.jwt() returns jsonb
language sql stable set search_path = pg_catalog, pg_temp as $$ select auth.claims() $$;

-- migrate: down

drop schema storage;
drop function auth.jwt();
drop function auth.role();
drop function auth.uid();
drop function auth.claims();
drop table auth.signing_key;
drop schema auth;

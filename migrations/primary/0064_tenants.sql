-- Tenants: customers of ours who each have a Postgres database of their own, and who may do what with it.
-- migrate: up

create table platform_tenants (
    -- Random and without meaning: it names the database and its roles, and other tenants of a cluster can see it.
    id text primary key check (id ~ '^t[a-z0-9]{15}$'),
    merchant text not null references merchants (id),
    name text not null check (length(name) between 1 and 100),
    organization_id text,
    billing_email text,
    subscription_id text,
    plan_type text not null default 'free' check (plan_type in ('free', 'pro', 'team', 'enterprise')),
    engine text not null check (engine in ('plain', 'neon', 'digitalocean')),
    region text,
    -- creating -> active <-> suspended; deleted: closed to everybody, and gone for good once `removed_at` is set.
    status text not null default 'creating' check (status in ('creating', 'active', 'suspended', 'deleted')),
    status_reason text,
    max_databases integer not null check (max_databases >= 1),
    max_storage_mb integer not null check (max_storage_mb >= 1),
    max_requests_per_minute integer not null check (max_requests_per_minute >= 1),
    max_requests_per_hour integer not null check (max_requests_per_hour >= 1),
    max_requests_per_day integer not null check (max_requests_per_day >= 1),
    -- What the engine must know to find it again: {project_id, branch_id, …}. No secret is in here.
    engine_state jsonb not null default '{}' check (jsonb_typeof(engine_state) = 'object'),
    -- Addresses and passwords of the roles in it, and the key that signs its callers' claims: JSON, sealed with `key_id`.
    sealed bytea,
    key_id text,
    schema_version integer not null default 0,
    storage_bytes bigint,
    storage_measured_at timestamptz,
    created_by text not null,
    idempotency_key text,
    request_hash bytea,
    delete_after timestamptz,
    removed_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((sealed is null) = (key_id is null)),
    check (removed_at is null or status = 'deleted'),
    unique (id, merchant)
);

create unique index platform_tenants_key on platform_tenants (merchant, created_by, idempotency_key)
    where idempotency_key is not null;
create index platform_tenants_newest on platform_tenants (merchant, created_at desc, id desc);
create index platform_tenants_creator on platform_tenants (created_by);
create index platform_tenants_present on platform_tenants (engine, id) where removed_at is null;

comment on column platform_tenants.created_by is 'who asked: user:<id>, key:<id>, <issuer>:<sub>, or ops:<name>';

create table tenant_permissions (
    tenant_id text not null,
    merchant text not null,
    subject text not null check (length(subject) between 3 and 300),
    role text not null default 'developer' check (role in ('owner', 'admin', 'developer', 'viewer')),
    granted_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    primary key (tenant_id, subject),
    foreign key (tenant_id, merchant) references platform_tenants (id, merchant)
);

create index tenant_permissions_tenant on tenant_permissions (merchant, tenant_id);

create index tenant_permissions_subject on tenant_permissions (subject, tenant_id);

-- A copy of a tenant's database to try things on.
create table tenant_branches (
    id text primary key check (id ~ '^b[a-z0-9]{15}$'),
    tenant_id text not null,
    merchant text not null,
    name text not null check (name ~ '^[a-z0-9][a-z0-9-]{0,39}$'),
    status text not null default 'creating' check (status in ('creating', 'active', 'deleted')),
    status_reason text,
    engine_state jsonb not null default '{}' check (jsonb_typeof(engine_state) = 'object'),
    sealed bytea,
    key_id text,
    created_by text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    removed_at timestamptz,
    check ((sealed is null) = (key_id is null)),
    foreign key (tenant_id, merchant) references platform_tenants (id, merchant)
);

create index tenant_branches_tenant on tenant_branches (merchant, tenant_id);

create unique index tenant_branches_name on tenant_branches (tenant_id, name) where removed_at is null;

-- Whether SQL over HTTP is open for an engine: closed by itself when one of the known attacks gets through.
create table tenant_endpoints (
    engine text primary key check (engine in ('plain', 'neon', 'digitalocean')),
    is_open boolean not null default true,
    reason text,
    changed_at timestamptz not null default now(),
    -- How far the turns at the engine's API are given away, which all processes share.
    busy_until timestamptz not null default now()
);
insert into tenant_endpoints (engine) values ('plain'), ('neon'), ('digitalocean');

-- Who changed what of tenants and permissions; append-only. Secrets are told by the fact that they changed.
create table tenant_audit_log (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    merchant text not null,
    tenant_id text not null,
    table_name text not null,
    action text not null,
    actor text not null,
    changes jsonb not null
);

create index tenant_audit_log_tenant on tenant_audit_log (tenant_id, id desc);

create function write_tenant_audit() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into tenant_audit_log (merchant, tenant_id, table_name, action, actor, changes)
    select this ->> 'merchant',
        case tg_table_name when 'platform_tenants' then this ->> 'id' else this ->> 'tenant_id' end,
        tg_table_name, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        coalesce(jsonb_object_agg(name, case
            when name in ('sealed', 'request_hash', 'billing_email') then to_jsonb('changed'::text)
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and name not in ('updated_at', 'version', 'storage_bytes', 'storage_measured_at');
    return null;
end
$$;

revoke execute on function write_tenant_audit() from public;

create trigger platform_tenants_audit_insert after insert on platform_tenants
    for each row execute function write_tenant_audit();
create trigger platform_tenants_audit_update after update on platform_tenants
    for each row when (
        (old.status, old.plan_type, old.max_databases, old.max_storage_mb, old.max_requests_per_minute,
            old.max_requests_per_hour, old.max_requests_per_day, old.name, old.billing_email, old.organization_id,
            old.sealed, old.engine_state, old.removed_at)
        is distinct from
        (new.status, new.plan_type, new.max_databases, new.max_storage_mb, new.max_requests_per_minute,
            new.max_requests_per_hour, new.max_requests_per_day, new.name, new.billing_email, new.organization_id,
            new.sealed, new.engine_state, new.removed_at))
    execute function write_tenant_audit();
create trigger tenant_permissions_audit after insert or update or delete on tenant_permissions
    for each row execute function write_tenant_audit();
create trigger tenant_branches_audit after insert or update or delete on tenant_branches
    for each row execute function write_tenant_audit();

-- A tenant has an owner as long as it is there: the last one can neither leave nor become something less. All changes of
-- a tenant's permissions wait for each other on its row, so that two owners cannot leave at the same moment.
create function keep_last_owner() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    if old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') then
        perform from platform_tenants where id = old.tenant_id for update;
        if not exists (
            select from tenant_permissions
            where tenant_id = old.tenant_id and role = 'owner' and subject <> old.subject
        ) then
            perform refuse('GH009', 'the last owner of a tenant stays: make somebody else an owner first');
        end if;
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;

revoke execute on function keep_last_owner() from public;

create trigger tenant_permissions_last_owner before update or delete on tenant_permissions
    for each row execute function keep_last_owner();

alter table platform_tenants enable row level security, force row level security;
alter table tenant_permissions enable row level security, force row level security;
alter table tenant_branches enable row level security, force row level security;
alter table tenant_audit_log enable row level security, force row level security;

-- Callers see the tenants that they made or have a permission for; `*` is an operator of the merchant.
create policy own_tenants on platform_tenants to gatehouse_api
    using (
        merchant = current_setting('gatehouse.merchant', true)
        and (
            current_setting('gatehouse.subject', true) in ('*', created_by)
            or exists (
                select from tenant_permissions p
                where p.tenant_id = platform_tenants.id and p.subject = current_setting('gatehouse.subject', true))
        )
    );
create policy own_merchant on tenant_permissions to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy own_merchant on tenant_branches to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on platform_tenants to gatehouse_worker, gatehouse_ops, current_user using (true);
create policy all_merchants on tenant_permissions to gatehouse_worker, gatehouse_ops, current_user using (true);
create policy all_merchants on tenant_branches to gatehouse_worker, gatehouse_ops, current_user using (true);
create policy all_merchants on tenant_audit_log to gatehouse_worker, gatehouse_ops, current_user using (true);
create policy own_merchant on tenant_audit_log to gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));

grant select, insert, update on platform_tenants to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant select, insert, update, delete on tenant_permissions to gatehouse_api, gatehouse_ops;
grant select on tenant_permissions to gatehouse_worker;
grant select, insert, update on tenant_branches to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant select on tenant_endpoints to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant update on tenant_endpoints to gatehouse_ops;
grant update (busy_until) on tenant_endpoints to gatehouse_worker;
grant select on tenant_audit_log to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- Whoever is erased is no tenant's billing address any more.
create function erase_tenant_billing() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    update platform_tenants t set billing_email = null
    where t.merchant = new.merchant and erasure_hash(lower(t.billing_email)) = new.said_hash;
    return null;
end
$$;

create trigger erase_tenant_billing after insert or update on erased_customers
    for each row when (new.what = 'email') execute function erase_tenant_billing();

revoke execute on function erase_tenant_billing() from public;

-- Leaves a job for a tenant. The API may write no jobs of its own; it may ask for these, of its own merchant. The key
-- tells the same request from another one: asking again for what waits, is under way or was given up opens it anew.
create function ask_tenant_job(p_topic text, p_tenant text, p_key text, p_arguments jsonb, p_due timestamptz)
returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
    made bigint;
begin
    if p_topic not in ('provision_tenant', 'remove_tenant', 'make_branch', 'remove_branch') then
        perform refuse('GH005', 'there is no such job for a tenant');
    end if;
    insert into jobs as job (topic, business_key, merchant, arguments, due_at, ring_after)
    select p_topic, p_key, t.merchant, p_arguments || jsonb_build_object('tenant', t.id), p_due,
        greatest(p_due, now() + interval '30 seconds')
    from platform_tenants t
    where t.id = p_tenant and t.merchant = merchant_now
    on conflict (topic, business_key) do update
        set due_at = excluded.due_at, ring_after = excluded.ring_after,
            status = case when job.status = 'leased' then job.status else 'waiting' end,
            attempts = case when job.status = 'leased' then job.attempts else 0 end, finished_at = null
    returning id into made;
    if made is null then
        perform refuse('GH008', 'there is no such tenant');
    end if;
    return made;
end
$$;

revoke execute on function ask_tenant_job(text, text, text, jsonb, timestamptz) from public;
grant execute on function ask_tenant_job(text, text, text, jsonb, timestamptz) to gatehouse_api, gatehouse_ops;

-- migrate: down

drop function ask_tenant_job(text, text, text, jsonb, timestamptz);
drop trigger erase_tenant_billing on erased_customers;
drop function erase_tenant_billing();
drop table tenant_audit_log;
drop table tenant_endpoints;
drop table tenant_branches;
drop policy own_tenants on platform_tenants;
drop table tenant_permissions;
drop table platform_tenants;
drop function keep_last_owner();
drop function write_tenant_audit();

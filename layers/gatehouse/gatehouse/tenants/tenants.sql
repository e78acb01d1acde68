-- Tenants, their permissions, branches and usage.

-- name: work_as
-- Say for which merchant this transaction works and who asks; row-level security and the audit read it.
select set_config('gatehouse.merchant', :merchant::text, true) as merchant,
    set_config('gatehouse.subject', :subject::text, true) as subject,
    set_config('gatehouse.actor', :actor::text, true) as actor;

-- name: lock_key
-- Let one request with an Idempotency-Key go on at a time.
select pg_advisory_xact_lock(hashtextextended(
    concat_ws('/', 'platform_tenants', :merchant::text, :subject::text, :idempotency_key::text), 0)) is null as locked;

-- name: find_by_key
-- Find the tenant that a request with this Idempotency-Key made.
select * from platform_tenants
where merchant = :merchant::text and created_by = :subject::text and idempotency_key = :idempotency_key::text;

-- name: add_tenant
-- Write down a tenant that is to be made.
insert into platform_tenants (
    id, merchant, name, organization_id, billing_email, plan_type, engine, region, max_databases, max_storage_mb,
    max_requests_per_minute, max_requests_per_hour, max_requests_per_day, sealed, key_id, created_by, idempotency_key,
    request_hash
) values (
    :id::text, :merchant::text, :name::text, :organization_id::text, :billing_email::text, :plan_type::text,
    :engine::text, :region::text, :max_databases::integer, :max_storage_mb::integer,
    :max_requests_per_minute::integer, :max_requests_per_hour::integer, :max_requests_per_day::integer,
    :sealed::bytea, :key_id::text, :created_by::text, :idempotency_key::text, :request_hash::bytea
) returning *;

-- name: grant_role
-- Give somebody a role on a tenant, or another one.
insert into tenant_permissions as held (tenant_id, merchant, subject, role, granted_by)
select t.id, t.merchant, :subject::text, :role::text, :granted_by::text
from platform_tenants t where t.id = :tenant::text
on conflict (tenant_id, subject) do update
    set role = excluded.role, granted_by = excluded.granted_by, updated_at = now()
returning *;

-- name: revoke_role
-- Take somebody's role on a tenant away.
delete from tenant_permissions where tenant_id = :tenant::text and subject = :subject::text returning *;

-- name: list_permissions
-- Who may do what on a tenant.
select * from tenant_permissions where tenant_id = :tenant::text order by created_at, subject;

-- name: ask_job
-- Leave a job for a tenant.
select ask_tenant_job(:topic::text, :tenant::text, :key::text, :arguments::jsonb,
    coalesce(:due::timestamptz, now())) as job_id;

-- name: find_tenant
-- Find one tenant.
select * from platform_tenants where id = :tenant::text;

-- name: enter
-- Let a request in: the caller's role, and whether the plan's limits leave room for it.
select * from enter_tenant(:tenant::text, :subject::text, :is_query::boolean);

-- name: list_tenants
-- The tenants that a caller has a role on, or all of a merchant for its operators; newest first.
select t.*, case when :subject::text = '*' then 'owner' else p.role end as role
from platform_tenants t
left join tenant_permissions p on p.tenant_id = t.id and p.subject = :subject::text
where (:merchant::text is null or t.merchant = :merchant::text)
  and (:subject::text = '*' or p.role is not null)
  and (:status::text is null or t.status = :status::text)
  and (:status::text = 'deleted' or t.status <> 'deleted' or t.removed_at is null)
  and (:after_at::timestamptz is null or (t.created_at, t.id) < (:after_at::timestamptz, :after_id::text))
order by t.created_at desc, t.id desc
limit :most::integer;

-- name: change_tenant
-- Change what a tenant's owner may say of it, and the limits of its plan.
update platform_tenants set
    name = coalesce(:name::text, name), billing_email = coalesce(:billing_email::text, billing_email),
    organization_id = coalesce(:organization_id::text, organization_id),
    plan_type = coalesce(:plan_type::text, plan_type), max_databases = coalesce(:max_databases::integer, max_databases),
    max_storage_mb = coalesce(:max_storage_mb::integer, max_storage_mb),
    max_requests_per_minute = coalesce(:max_requests_per_minute::integer, max_requests_per_minute),
    max_requests_per_hour = coalesce(:max_requests_per_hour::integer, max_requests_per_hour),
    max_requests_per_day = coalesce(:max_requests_per_day::integer, max_requests_per_day),
    version = version + 1, updated_at = now()
where id = :tenant::text and status <> 'deleted'
returning *;

-- name: move_status
-- Take a tenant from one status to another; nothing where it is in none of those.
update platform_tenants set
    status = :status::text, status_reason = :reason::text, delete_after = :delete_after::timestamptz,
    version = version + 1, updated_at = now()
where id = :tenant::text and status = any (:from::text[]) and removed_at is null
returning *;

-- name: keep_engine_state
-- Note what the engine must know to find a tenant again.
update platform_tenants set engine_state = :state::jsonb, updated_at = now() where id = :tenant::text;

-- name: keep_credentials
-- Keep the sealed secrets of a tenant.
update platform_tenants set sealed = :sealed::bytea, key_id = :key_id::text, updated_at = now()
where id = :tenant::text;

-- name: keep_schema_version
-- Note how far a tenant's schema is.
update platform_tenants set schema_version = :schema_version::integer, updated_at = now() where id = :tenant::text;

-- name: removed
-- Note that nothing of a tenant is left on its engine; its secrets go too.
update platform_tenants set
    status = 'deleted', removed_at = coalesce(removed_at, now()), status_reason = coalesce(:reason::text, status_reason),
    engine_state = '{}', sealed = null, key_id = null, version = version + 1, updated_at = now()
where id = :tenant::text
returning *;

-- name: branches_removed
-- Note that no branch of a tenant is left.
update tenant_branches set status = 'deleted', removed_at = coalesce(removed_at, now()), sealed = null, key_id = null
where tenant_id = :tenant::text and removed_at is null;

-- name: add_usage
-- Count what a query gave back.
select add_tenant_usage(:tenant::text, :rows::bigint, :bytes::bigint, :milliseconds::bigint) is null as added;

-- name: usage
-- What a tenant used, by day.
select * from tenant_usage
where tenant_id = :tenant::text and date between :since::date and :until::date order by date desc;

-- name: present
-- All tenants of an engine that should have a database, or may still have one.
select * from platform_tenants
where removed_at is null and (:engine::text is null or engine = :engine::text) order by id;

-- name: jobs_of
-- The jobs of tenants that were given up.
select arguments ->> 'tenant' as tenant, topic, business_key, last_error from jobs
where status = 'dead' and topic in ('provision_tenant', 'remove_tenant', 'make_branch', 'remove_branch');

-- name: storage_measured
-- Note how large a tenant's database is, and the most of the day.
with measured as (
    update platform_tenants set storage_bytes = :bytes::bigint, storage_measured_at = now()
    where id = :tenant::text returning id, merchant
)
insert into tenant_usage_slots as u (tenant_id, merchant, date, slot, storage_bytes)
select id, merchant, (now() at time zone 'UTC')::date, 0, :bytes::bigint from measured
on conflict on constraint tenant_usage_slots_pkey do update
    set storage_bytes = greatest(u.storage_bytes, excluded.storage_bytes);

-- name: forget_windows
-- Drop the windows that are over.
delete from tenant_windows where starts_at < now() - interval '2 hours';

-- name: endpoints
-- Whether SQL over HTTP is open, by engine.
select * from tenant_endpoints order by engine;

-- name: set_endpoint
-- Open or close SQL over HTTP for an engine.
update tenant_endpoints set is_open = :is_open::boolean, reason = :reason::text, changed_at = now()
where engine = :engine::text returning *;

-- name: take_turn
-- Take a turn at an engine's API, which all processes share; how long to wait for it.
update tenant_endpoints
set busy_until = greatest(busy_until, clock_timestamp()) + make_interval(secs => :seconds_each::double precision)
where engine = :engine::text
returning extract(epoch from busy_until - clock_timestamp())::double precision - :seconds_each::double precision
    as wait_seconds;

-- name: add_branch
-- Write down a branch that is to be made.
insert into tenant_branches (id, tenant_id, merchant, name, created_by)
select :id::text, t.id, t.merchant, :name::text, :created_by::text
from platform_tenants t where t.id = :tenant::text
returning *;

-- name: count_branches
-- How many branches a tenant has; its row is locked first, so that two requests do not pass the limit together.
select (select count(*) from tenant_branches b where b.tenant_id = t.id and b.removed_at is null) as n, t.max_databases
from platform_tenants t where t.id = :tenant::text for update;

-- name: list_branches
-- The branches of a tenant.
select * from tenant_branches where tenant_id = :tenant::text and removed_at is null order by created_at, id;

-- name: find_branch
-- One branch, by its name or id.
select * from tenant_branches
where tenant_id = :tenant::text and removed_at is null and (name = :branch::text or id = :branch::text);

-- name: branch_made
-- Note that a branch is ready.
update tenant_branches set status = 'active', sealed = :sealed::bytea, key_id = :key_id::text, updated_at = now()
where id = :branch::text and status = 'creating' returning id;

-- name: keep_branch_state
-- Note what the engine must know to find a branch again.
update tenant_branches set engine_state = :state::jsonb, updated_at = now() where id = :branch::text;

-- name: leave_branch
-- Close a branch that is to be removed.
update tenant_branches set status = 'deleted', updated_at = now()
where id = :branch::text and removed_at is null returning *;

-- name: branch_removed
-- Note that nothing of a branch is left.
update tenant_branches set
    status = 'deleted', removed_at = coalesce(removed_at, now()), status_reason = coalesce(:reason::text, status_reason),
    sealed = null, key_id = null, updated_at = now()
where id = :branch::text;

-- name: others_at_work
-- Is another job of this tenant under way?
select 1 as found from jobs
where topic in ('provision_tenant', 'remove_tenant', 'make_branch', 'remove_branch')
  and business_key in (
      select :tenant::text
      union all
      select :tenant::text || '/' || b.id from tenant_branches b where b.tenant_id = :tenant::text
  )
  and id <> :job::bigint and status = 'leased' and lease_until > now()
limit 1;

-- name: reopen_job
-- Let a job of a tenant that was given up go on.
update jobs set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null
where id = (
    select id from jobs
    where status = 'dead' and topic = :topic::text and arguments ->> 'tenant' = :tenant::text limit 1
)
returning id;

-- name: sealed_with_another
-- Tenants and branches whose secrets are sealed with another key than this one.
select id, sealed, key_id from platform_tenants where key_id <> :key_id::text
union all
select id, sealed, key_id from tenant_branches where key_id <> :key_id::text;

-- name: seal_tenant
-- Keep the secrets of a tenant sealed with another key, unless they were changed meanwhile.
update platform_tenants set sealed = :sealed::bytea, key_id = :key_id::text
where id = :id::text and sealed = :before::bytea returning id;

-- name: seal_branch
-- Keep those of a branch.
update tenant_branches set sealed = :sealed::bytea, key_id = :key_id::text
where id = :id::text and sealed = :before::bytea returning id;

-- name: user_of_key
-- The user whom a key to the API was made for.
select user_of_key(:id::text) as user_id;

-- What the engine of plain clusters asks the cluster.

-- name: find_role
-- Is there a role of this name?
select 1 as found from pg_catalog.pg_roles where rolname = :role::text;

-- name: find_database
-- Is there a database of this name, and can it be used? A DROP that was cut off leaves one that cannot.
select datconnlimit = -2 as is_broken from pg_catalog.pg_database where datname = :database::text;

-- name: may_act_as
-- May we act as a role? A superuser may as any.
select pg_catalog.pg_has_role(current_user, :role::name, 'usage') as may;

-- name: size_of
-- How large is a database?
select pg_catalog.pg_database_size(oid) as bytes from pg_catalog.pg_database where datname = :database::text;

-- name: end_sessions
-- End all sessions of a database.
select count(pg_catalog.pg_terminate_backend(pid, 1000)) as ended
from pg_catalog.pg_stat_activity where datname = :database::text and pid <> pg_catalog.pg_backend_pid();

-- name: everything_of_ours
-- Every database and role whose name begins as ours do.
select 'database' as kind, datname::text as name from pg_catalog.pg_database where datname like 'gh\_%'
union all
select 'role', rolname::text from pg_catalog.pg_roles where rolname like 'gh\_%'
order by 1, 2;

-- What a runner asks and tells the database about itself: where it is, who it is, and whether it is alone.

-- name: who_and_where
-- Tells which database this is, whose, who we are, and whether the options we connected with arrived.
select
    current_database()::text as database,
    session_user::text as session_user,
    pg_catalog.pg_get_userbyid(d.datdba)::text as owner,
    coalesce(current_setting('gatehouse.stage', true), '') as stage,
    current_setting('is_superuser') = 'on' as is_superuser,
    coalesce(current_setting('gatehouse.direct_probe', true), '') as probe
from pg_catalog.pg_database d
where d.datname = current_database();

-- name: act_as
-- Works as another role from here on.
select set_config('role', :role::text, false) as role;

-- name: try_lock
-- Takes the lock of this database's runners if it is free; it is ours until this session ends, however it ends.
select pg_try_advisory_lock(:key::bigint) as taken;

-- name: lock_holder
-- Tells who holds that lock. Advisory locks are kept as two halves of the key.
select a.pid, a.usename::text as role, coalesce(host(a.client_addr), 'a local socket') as client,
       date_trunc('second', a.backend_start)::text as since
from pg_catalog.pg_locks l
join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.locktype = 'advisory' and l.granted and l.objsubid = 1
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
  and l.classid::bigint = (:key::bigint >> 32) and l.objid::bigint = (:key::bigint & 4294967295);

-- name: end_orphans
-- Ends sessions of a runner that was killed: the server goes on with their statement, and keeps its locks, until told.
select count(*) filter (where pg_catalog.pg_terminate_backend(a.pid, 10000)) as ended
from pg_catalog.pg_stat_activity a
where a.datname = current_database() and a.application_name = :application::text
  and a.usename = session_user and a.pid <> pg_backend_pid();

-- name: droppable_objects
-- Lists a DROP statement for everything in this database that is not the server's and not an extension's.
with foreign_objects as (
    select objid from pg_catalog.pg_depend where deptype = 'e'
    union all
    -- the sequence of an identity column goes with its table, and not alone
    select s.seqrelid from pg_catalog.pg_sequence s
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_class'::regclass and d.objid = s.seqrelid
    where d.deptype = 'i'
)
select statement from (
    select 1 as step, format('drop schema if exists %I cascade', nspname) as statement
    from pg_catalog.pg_namespace
    where nspname !~ '^pg_' and nspname not in ('public', 'information_schema')
      and oid not in (select objid from foreign_objects)
    union all
    select 2, format('drop %s if exists %s cascade',
        case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
            when 'f' then 'foreign table' when 'c' then 'type' else 'table' end,
        oid::regclass)
    from pg_catalog.pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c') and not relispartition
      and oid not in (select objid from foreign_objects)
    union all
    select 3, format('drop %s if exists %s cascade',
        case prokind when 'a' then 'aggregate' when 'p' then 'procedure' else 'function' end, oid::regprocedure)
    from pg_catalog.pg_proc
    where pronamespace = 'public'::regnamespace and oid not in (select objid from foreign_objects)
    union all
    select 4, format('drop type if exists %s cascade', oid::regtype)
    from pg_catalog.pg_type
    where typnamespace = 'public'::regnamespace and typtype in ('e', 'd', 'r')
      and oid not in (select objid from foreign_objects)
) as objects
order by step, statement;

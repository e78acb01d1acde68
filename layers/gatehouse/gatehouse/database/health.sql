-- How the server is. Everything here is cheap enough to be asked every few seconds.

-- name: server_facts
-- What the server says of itself. Connections are sessions in a database: their kind is hidden from other roles. Of other
-- roles' transactions only those that this role may see are counted, which are none of them unless it is a member of
-- pg_read_all_stats.
select
    current_setting('server_version') as server_version,
    pg_is_in_recovery() as in_recovery,
    current_setting('transaction_read_only') = 'off' as writable,
    sessions.connections,
    current_setting('max_connections')::int as max_connections,
    sessions.active_now,
    pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_other_roles,
    sessions.oldest_transaction_seconds,
    (
        select round(blks_hit::numeric / nullif(blks_hit + blks_read, 0), 4)
        from pg_stat_database
        where datname = current_database()
    ) as cache_hit_ratio,
    coalesce(has_table_privilege(to_regclass('gatehouse_migrations')::oid, 'select'), false) as migrations_readable
from (
    select
        count(*) filter (where datid is not null) as connections,
        count(*) filter (where backend_type = 'client backend' and state = 'active') as active_now,
        round(coalesce(max(extract(epoch from clock_timestamp() - xact_start)) filter (
            where datname = current_database() and pid <> pg_backend_pid()), 0), 3) as oldest_transaction_seconds
    from pg_stat_activity
) as sessions;

-- name: database_size
-- How large the database is: the server looks at each of its files for that.
select pg_database_size(current_database()) as database_bytes;

-- name: migrations_version
-- The number of the newest migration that this database has.
select max(version) as version from gatehouse_migrations where state = 'applied';

-- How the server is. Everything here is cheap enough to be asked every few seconds.

-- name: server_facts
-- What the server says of itself. Connections are sessions in a database: their kind is hidden from other roles. Of other
-- roles' transactions only those that this role may see are counted.
select
    current_setting('server_version') as server_version,
    pg_is_in_recovery() as in_recovery,
    current_setting('transaction_read_only') = 'off' as writable,
    (select count(*) from pg_stat_activity where datid is not null) as connections,
    current_setting('max_connections')::int as max_connections,
    (
        select round(coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0), 3)
        from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()
    ) as oldest_transaction_seconds,
    pg_database_size(current_database()) as database_bytes,
    (
        select round(blks_hit::numeric / nullif(blks_hit + blks_read, 0), 4)
        from pg_stat_database
        where datname = current_database()
    ) as cache_hit_ratio,
    coalesce(has_table_privilege(to_regclass('gatehouse_migrations')::oid, 'select'), false) as migrations_readable;

-- name: migrations_version
-- The number of the newest migration that this database has.
select max(version) as version from gatehouse_migrations where state = 'applied';

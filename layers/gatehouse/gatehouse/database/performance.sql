-- Where the time and the space go; asked by people, not by probes.

-- name: table_sizes
-- The largest tables with their indexes, and how many dead rows wait for vacuum.
select
    relid::regclass::text as table_name,
    table_bytes + index_bytes as total_bytes,
    index_bytes,
    n_live_tup as live_rows,
    n_dead_tup as dead_rows,
    greatest(last_vacuum, last_autovacuum) as vacuumed_at
from pg_stat_user_tables
cross join lateral (
    select pg_table_size(relid) as table_bytes, pg_indexes_size(relid) as index_bytes
    offset 0  -- so that each file is looked at once
) as size
order by total_bytes desc, table_name
limit :most::int;

-- name: index_use
-- Every index with how often it was used; one that is never used, and guards nothing, only slows down writing: `idle`.
select
    used.relid::regclass::text as table_name,
    used.indexrelid::regclass::text as index_name,
    used.idx_scan as scans,
    used.idx_scan = 0 and not made.indisunique and pg_relation_size(made.indrelid) > 0 as idle,
    pg_relation_size(used.indexrelid) as bytes,
    made.indisunique as is_unique,
    made.indisvalid as is_valid
from pg_stat_user_indexes as used
inner join pg_index as made on made.indexrelid = used.indexrelid
order by scans, bytes desc, index_name
limit :most::int;

-- name: keys_without_index
-- Foreign keys of which no index begins with the columns: each change of the table that they point at reads all of theirs.
select
    key.conrelid::regclass::text as table_name,
    (
        select string_agg(attname::text, ', ' order by place)
        from unnest(key.conkey) with ordinality as part (number, place)
        inner join pg_attribute as attribute on attribute.attrelid = key.conrelid and attribute.attnum = part.number
    ) as columns,
    key.confrelid::regclass::text as points_at,
    coalesce(filled.n_live_tup, 0) as live_rows
from pg_constraint as key
left join pg_stat_user_tables as filled on filled.relid = key.conrelid
where
    key.contype = 'f'
    and key.conparentid = 0
    and not exists (
        select from pg_index as made
        where
            made.indrelid = key.conrelid
            and (made.indkey::smallint[])[0:cardinality(key.conkey) - 1] @> key.conkey
    )
order by live_rows desc, table_name, columns
limit :most::int;

-- name: slow_now
-- Statements that have been running for longer than so many seconds, and what they wait for.
select
    pid,
    usename::text as role,
    application_name as application,
    state,
    round(extract(epoch from clock_timestamp() - query_start), 3) as seconds,
    wait_event_type,
    wait_event,
    pg_blocking_pids(pid) as blocked_by,
    left(query, 200) as query_start
from pg_stat_activity
where
    datname = current_database()
    and state <> 'idle'
    and pid <> pg_backend_pid()
    and clock_timestamp() - query_start > make_interval(secs => :seconds::int)
order by seconds desc
limit :most::int;

-- name: has_statement_statistics
-- Tell whether the server keeps statistics of statements (the extension pg_stat_statements).
select to_regclass('pg_stat_statements') is not null as kept;

-- name: slow_on_average
-- The statements that took the most time in all, as pg_stat_statements counted them.
select
    left(query, 200) as query_start,
    calls,
    round(total_exec_time::numeric, 1) as total_milliseconds,
    round(mean_exec_time::numeric, 3) as mean_milliseconds,
    rows
from pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time desc
limit :most::int;

-- name: dead_rows
-- How many dead rows wait for vacuum, what share of all they are, and the table with most of them.
select
    coalesce(sum(n_dead_tup), 0)::bigint as dead_rows,
    coalesce(round(sum(n_dead_tup) / nullif(sum(n_live_tup + n_dead_tup), 0), 4), 0) as dead_share,
    (array_agg(relid::regclass::text order by n_dead_tup desc, relid))[1] as most_dead_in
from pg_stat_user_tables;

-- name: read_whole
-- Tables of some size that are read whole more often than by an index, the most read rows first.
select
    relid::regclass::text as table_name,
    seq_scan as read_whole,
    coalesce(idx_scan, 0) as read_by_index,
    seq_tup_read as rows_read,
    n_live_tup as live_rows
from pg_stat_user_tables
where seq_scan > coalesce(idx_scan, 0) and n_live_tup > 1000
order by rows_read desc, table_name
limit :most::int;

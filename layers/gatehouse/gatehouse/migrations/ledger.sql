-- The ledger: one row for each migration that this database has, in a table beside the others.

-- name: has_ledger
-- Tells whether this database was ever migrated.
select to_regclass('public.gatehouse_migrations') is not null as there;

-- name: create_ledger
-- Makes the table, the first time.
create table if not exists public.gatehouse_migrations (
    version integer primary key check (version > 0),
    name text not null,
    -- Of the whole file; while it is being applied outside a transaction, of the statements that are done.
    checksum text not null,
    state text not null check (state in ('applied', 'applying', 'undoing')),
    statements_done integer not null,
    -- The index that CREATE INDEX CONCURRENTLY was about to make, so that a runner after a kill knows it as ours.
    building text,
    applied_at timestamptz not null default clock_timestamp(),
    applied_by text not null default session_user,
    milliseconds integer not null default 0
);

-- name: read_ledger
-- Returns every row in order.
select version, name, checksum, state, statements_done, building, applied_at, applied_by, milliseconds
from public.gatehouse_migrations
order by version;

-- name: write_row
-- Puts down how far a migration is, new or known.
insert into public.gatehouse_migrations as ledger (version, name, checksum, state, statements_done, milliseconds)
values (
    :version::integer, :name::text, :checksum::text, :state::text, :statements_done::integer, :milliseconds::integer
)
on conflict (version) do update
set checksum = excluded.checksum,
    state = excluded.state,
    statements_done = excluded.statements_done,
    building = null,
    applied_at = clock_timestamp(),
    applied_by = session_user,
    milliseconds = ledger.milliseconds + excluded.milliseconds;

-- name: write_building
-- Puts down that the next statement makes this index.
update public.gatehouse_migrations set building = :index_name::text where version = :version::integer;

-- name: remove_row
-- Forgets a migration that was undone.
delete from public.gatehouse_migrations where version = :version::integer;

-- name: index_state
-- Tells whether a table has an index of this name, and whether it is whole.
select x.indisvalid as is_valid, format('%I.%I', n.nspname, i.relname) as full_name
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
join pg_catalog.pg_namespace n on n.oid = i.relnamespace
-- By its name, not by to_regclass: an owner that is no superuser may not even ask about the schemas of others.
where x.indrelid = to_regclass(:table_name::text) and i.relname = (parse_ident(:index_name::text))[1];

-- name: invalid_indexes
-- Lists the indexes that a failed CREATE INDEX CONCURRENTLY left: they cost every write and help no read.
select format('%I.%I', n.nspname, i.relname) as index_name, x.indrelid::regclass::text as table_name
from pg_catalog.pg_index x
join pg_catalog.pg_class i on i.oid = x.indexrelid
join pg_catalog.pg_namespace n on n.oid = i.relnamespace
where not x.indisvalid and n.nspname !~ '^pg_'
-- The index of a partitioned table is invalid until each partition has its own; that is how one is built with care.
  and i.relkind = 'i'
order by 1;

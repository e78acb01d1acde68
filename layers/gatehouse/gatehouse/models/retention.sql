-- How long the sealed payloads of events are kept.

-- name: make_payload_partitions
-- Makes the partitions of this month and some months ahead.
select make_payload_partitions(:months_ahead::integer) as made;

-- name: drop_old_payloads
-- Drops what is older than some days, or only says what that would be.
select partition, payloads, oldest from drop_old_payloads(:days::integer, :dry_run::boolean);

-- name: drop_old_answers
-- Deletes the answers of gateways that are older than some days, or only counts them.
select drop_old_answers(:days::integer, :dry_run::boolean) as answers;

-- name: kept_payloads
-- What is kept, by partition; the number of a month's payloads is an estimate.
select c.relname::text as partition, greatest(c.reltuples, 0)::bigint as payloads,
    pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' as is_default
from pg_catalog.pg_inherits i
join pg_catalog.pg_class c on c.oid = i.inhrelid
where i.inhparent = 'webhook_payloads'::regclass
order by c.relname;

-- What the primary database knows of its backup: which payments are to be brought over, and their states.

-- name: claim
-- Takes some payments to bring over, from both ends: the newest, so that live traffic is there within seconds, and the
-- oldest, so that a backlog ends. The version is drawn here, before any state is read. A writer that vanishes loses its
-- claim after twenty seconds; one that is only slow finds it gone, and what both wrote is settled by the version.
with drawn as materialized (select nextval('backup_versions') as version),
newest as (
    select payment_id from backup_changes where due_at <= now()
    order by payment_id desc limit :newest::integer for update skip locked
),
oldest as (
    select payment_id from backup_changes where due_at <= now()
    order by payment_id limit :oldest::integer for update skip locked
)
update backup_changes set claim = (select version from drawn), due_at = now() + interval '20 seconds'
where payment_id in (select payment_id from newest union select payment_id from oldest)
returning payment_id, claim as version, attempts;

-- name: states
-- Reads payments as the backup keeps them.
select payment_id, state, facts from payments_for_backup(:ids::bigint[]);

-- name: draw_version
-- Draws a version for states that are read next.
select nextval('backup_versions') as version;

-- name: finish
-- Takes away what was brought over. What was changed meanwhile has lost its claim, and stays to be brought over again; what
-- somebody is changing this moment is left to them.
with done as (
    select payment_id from backup_changes
    where payment_id = any (:ids::bigint[]) and claim = :version::bigint
    order by payment_id for update skip locked
)
delete from backup_changes where payment_id in (select payment_id from done);

-- name: wrote
-- Notes that something was brought over.
update backup_state set wrote_at = now(), last_error = null;

-- name: release
-- Gives payments back that could not be brought over just now.
update backup_changes set claim = null, due_at = now()
where payment_id = any (:ids::bigint[]) and claim = :version::bigint;

-- name: refuse
-- Notes that the backup refused a payment; it is tried again later, and later each time.
update backup_changes set claim = null, attempts = attempts + 1, last_error = :error::text,
    due_at = now() + least(interval '10 seconds' * 2 ^ least(attempts, 12), interval '1 hour')
where payment_id = :payment::bigint and claim = :version::bigint;

-- name: failed
-- Notes why the backup could not be written.
update backup_state set last_error = :error::text, last_error_at = now();

-- name: backlog
-- Counts what is to be brought over, how long the oldest of it has waited, and what the backup refuses.
select backlog, lag_seconds, as_of, refused from backup_backlog(:many::integer);

-- name: is_behind
-- Tells whether the backup lacks something that is older than so many seconds, or is not whole yet.
select backup_is_behind(:seconds::integer) as is_behind;

-- name: state
-- How the backup stands.
select is_on, filled_after, fill_ended_at, wrote_at, last_error, last_error_at, compared_at, divergent
from backup_state;

-- name: refused
-- What the backup refuses, and why.
select payment_id, attempts, last_error, changed_at from backup_changes
where attempts >= :many::integer order by payment_id limit :most::integer;

-- name: turn
-- Switches the backup on or off. Where no payment is there yet, nothing needs to be filled; what is off has gaps.
update backup_state set is_on = :on::boolean,
    fill_ended_at = case when not :on::boolean then null
        when exists (select from payments) then fill_ended_at else coalesce(fill_ended_at, now()) end,
    filled_after = case when :on::boolean then filled_after else 0 end
where is_on <> :on::boolean
returning is_on;

-- name: next_payments
-- The ids of the payments that follow one.
select id from payments where id > :after::bigint order by id limit :most::integer;

-- name: count_payments
-- How many payments follow one: the planner's estimate where they are many.
select case when estimate > 100000 then estimate
    else (select count(*) from payments where id > :after::bigint) end::bigint as payments
from (select reltuples::bigint as estimate from pg_class where oid = 'payments'::regclass) as planned;

-- name: last_payment
-- The newest payment's id.
select coalesce(max(id), 0) as id from payments;

-- name: filled
-- Remembers how far the fill has come.
update backup_state set filled_after = :after::bigint,
    fill_ended_at = case when :ended::boolean then now() else fill_ended_at end;

-- name: hashes
-- Hashes a range of payments by gateway and hour.
select gateway, hour, payments, hash from backup_hashes(:from::bigint, :until::bigint);

-- name: hashes_within
-- Hashes each payment of one gateway and hour.
select payment_id, hash from backup_hashes_within(:from::bigint, :until::bigint, :gateway::text, :hour::timestamptz);

-- name: hashes_of
-- Hashes single payments.
select payment_id, hash from backup_hashes_of(:ids::bigint[]);

-- name: open_changes
-- Which of these payments are still to be brought over.
select payment_id from backup_changes where payment_id = any (:ids::bigint[]);

-- name: compared
-- Notes what a comparison found.
update backup_state set compared_at = now(), divergent = :divergent::bigint;

-- name: note
-- Puts payments down to be brought over, whatever the backup says of them.
select note_backup_changes(:ids::bigint[]) as noted;

-- name: accounts
-- The accounts at the gateways, without their secrets.
select gateway, account, merchant, mode, is_active, updated_at from gateway_accounts;

-- name: api_keys
-- The API's keys as hashes, and whether their merchants are switched on.
select k.id, k.merchant, k.role, encode(k.hash, 'hex') as hash, k.rate_per_minute, k.expires_at, k.revoked_at,
    coalesce(m.is_active, true) as merchant_is_active
from keys_for_backup() k left join merchants m on m.id = k.merchant;

-- Which payments the backup database has yet to be told of: written in the flush that changes them.
-- migrate: up

-- Whether there is a backup at all, and how it stands. One row.
create table backup_state (
    only_row boolean primary key default true check (only_row),
    -- While it is off nothing is noted; `gatehouse backup fill` brings over what happened meanwhile.
    is_on boolean not null default false,
    filled_after bigint not null default 0,
    fill_ended_at timestamptz,
    wrote_at timestamptz,
    last_error text,
    last_error_at timestamptz,
    compared_at timestamptz,
    divergent bigint
);
insert into backup_state default values;

-- One row a payment that changed and is not in the backup as it is now; many changes of it are one row. Short, with one
-- index, because it is written while a gateway waits.
-- `claim` is the version under which somebody is bringing it over; a change takes the claim away, so whoever has written
-- the state before the change cannot take the row away too.
create table backup_changes (
    payment_id bigint primary key,
    merchant text not null,
    changed_at timestamptz not null default now(),
    due_at timestamptz not null default now(),
    claim bigint,
    attempts integer not null default 0,
    last_error text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

create index backup_changes_refused on backup_changes (payment_id) where attempts > 0;

-- A version is drawn before the state is read. So of two states the one with the higher version has seen at least what
-- was committed before the lower one was drawn, and the highest that is ever written has seen everything.
create sequence backup_versions;

create function note_backup_change() returns trigger
language plpgsql as $$
begin
    insert into backup_changes (payment_id, merchant)
    select new.id, new.merchant from backup_state where is_on
    -- A row that nobody has claimed is locked by this, and not written: nobody claims it before we have committed.
    on conflict (payment_id) do update set claim = null, attempts = 0, last_error = null, due_at = now()
        where backup_changes.claim is not null or backup_changes.attempts > 0;
    return null;
end
$$;

create trigger note_backup_insert after insert on payments
    for each row execute function note_backup_change();
create trigger note_backup_update after update on payments
    for each row when (old.* is distinct from new.*) execute function note_backup_change();

-- Notes payments because of something that hangs on them.
create function note_backup_changes(p_payments bigint[]) returns void
language sql as $$
    insert into backup_changes (payment_id, merchant)
    select p.id, p.merchant from backup_state, payments p
    where is_on and p.id = any (p_payments)
    order by p.id
    on conflict (payment_id) do update set claim = null, attempts = 0, last_error = null, due_at = now()
        where backup_changes.claim is not null or backup_changes.attempts > 0
$$;

create function note_backup_of_child() returns trigger
language plpgsql as $$
begin
    if tg_op = 'UPDATE' then
        perform note_backup_changes(array[old.payment_id, new.payment_id]);
    else
        perform note_backup_changes(array[new.payment_id]);
    end if;
    return null;
end
$$;

create trigger note_backup_insert after insert on refunds
    for each row when (new.payment_id is not null) execute function note_backup_of_child();
create trigger note_backup_update after update on refunds
    for each row when (old.* is distinct from new.*) execute function note_backup_of_child();
create trigger note_backup_insert after insert on disputes
    for each row when (new.payment_id is not null) execute function note_backup_of_child();
create trigger note_backup_update after update on disputes
    for each row when (old.* is distinct from new.*) execute function note_backup_of_child();

create function note_backup_of_order() returns trigger
language plpgsql as $$
begin
    perform note_backup_changes(array(select id from payments where order_id = new.id));
    return null;
end
$$;

create trigger note_backup_update after update on orders
    for each row when (old.* is distinct from new.*) execute function note_backup_of_order();

-- Facts change in one case alone: somebody is erased.
create function note_backup_of_fact() returns trigger
language plpgsql as $$
begin
    perform note_backup_changes(array(
        select new.subject_id where new.kind = 'payment'
        union
        select payment_id from refunds where new.kind = 'refund' and id = new.subject_id
        union
        select payment_id from disputes where new.kind = 'dispute' and id = new.subject_id));
    return null;
end
$$;

create trigger note_backup_erased after update of words on facts
    for each row when (old.words is distinct from new.words and new.kind in ('payment', 'refund', 'dispute'))
    execute function note_backup_of_fact();

alter table backup_changes enable row level security, force row level security;
create policy own_merchant on backup_changes to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on backup_changes to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select, insert, update on backup_changes to gatehouse_intake;
grant select, insert, update, delete on backup_changes to gatehouse_worker, gatehouse_ops;
grant select on backup_changes to gatehouse_api;
grant select on backup_state to gatehouse_intake, gatehouse_api;
grant select, update on backup_state to gatehouse_worker, gatehouse_ops;
grant usage on sequence backup_versions to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop trigger note_backup_erased on facts;
drop trigger note_backup_update on orders;
drop trigger note_backup_update on disputes;
drop trigger note_backup_insert on disputes;
drop trigger note_backup_update on refunds;
drop trigger note_backup_insert on refunds;
drop trigger note_backup_update on payments;
drop trigger note_backup_insert on payments;
drop function note_backup_of_fact();
drop function note_backup_of_order();
drop function note_backup_of_child();
drop function note_backup_changes(bigint[]);
drop function note_backup_change();
drop sequence backup_versions;
drop table backup_changes;
drop table backup_state;

-- How a batch of an import becomes rows: the facts of many payments at once, folded as those of an event are.
-- migrate: up

-- Takes up the place that an import has come to. Whoever finds another place than the one it worked from raises GH003:
-- the same rows are being imported by somebody else.
create function go_on_with_import(
    p_import bigint, p_place bigint, p_next_place bigint, p_read bigint, p_recorded bigint, p_refused bigint,
    p_is_end boolean
) returns void
language plpgsql as $$
begin
    update imports
    set place = p_next_place, rows_read = rows_read + p_read, rows_recorded = rows_recorded + p_recorded,
        rows_refused = rows_refused + p_refused, updated_at = now(), finished_at = case when p_is_end then now() end
    where id = p_import and place = p_place and finished_at is null;
    if not found then
        raise exception using errcode = 'GH003', message = 'this import has gone on elsewhere';
    end if;
end
$$;

-- Applies facts of payments that each say one name: [{kind, id, said_by, occurred_at, rank, words}]. The caller holds
-- the locks of all their names. What was said before under the same `said_by` is not said again, so a repeated import
-- adds nothing. Returns how many were new.
create function import_payment_facts(
    p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_job_id bigint
) returns bigint
language plpgsql as $$
declare
    home bigint;
    touched bigint[];
    was_there bigint[];
begin
    -- With its limit, so that a plan made while the table is small does not read all of it later.
    select array_agg(distinct found.payment_id order by found.payment_id) into was_there
    from jsonb_to_recordset(p_facts) as said (kind text, id text),
         lateral (
             select po.payment_id from payment_objects po
             where po.gateway = p_gateway and po.account = p_account and po.kind = said.kind and po.object_id = said.id
             limit 1
         ) as found;
    -- Locked before any fact is read, in order of id, so that the fold sees what a neighbour has committed.
    foreach home in array coalesce(was_there, '{}') loop
        perform from payments where id = home for update;
    end loop;
    insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
    select p_gateway, p_account, said.kind, said.id, p_merchant, nextval('payment_ids')
    from (
        select kind, id
        from rows from (jsonb_to_recordset(p_facts) as (kind text, id text)) with ordinality as each (kind, id, place)
        group by kind, id
        order by min(place)
    ) as said
    on conflict (gateway, account, kind, object_id) do nothing;
    with added as (
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, job_id, occurred_at, received_at, rank, words
        )
        select 'payment', home_of.payment_id, p_merchant, p_gateway, p_account, said.said_by, p_job_id,
            said.occurred_at, now(), said.rank, said.words
        from jsonb_to_recordset(p_facts) as said (
                 kind text, id text, said_by text, occurred_at timestamptz, rank smallint, words jsonb),
             lateral (
                 select po.payment_id from payment_objects po
                 where po.gateway = p_gateway and po.account = p_account and po.kind = said.kind
                   and po.object_id = said.id
                 limit 1
             ) as home_of
        where not exists (
            select from facts f
            where f.kind = 'payment' and f.subject_id = home_of.payment_id and f.said_by = said.said_by
        )
        returning subject_id
    )
    select array_agg(subject_id order by subject_id) into touched from added;
    for home in select distinct id from unnest(touched) as id order by id loop
        perform fold_payment(home);
    end loop;
    return coalesce(cardinality(touched), 0);
end
$$;

-- Applies the facts of everything else of a batch, each with the time and the mark of its own row:
-- [{kind, id, said_by, occurred_at, facts}], with facts as apply_facts takes them. Returns how many rows were new; a
-- customer is part of a payment's row.
create function import_other_facts(
    p_merchant text, p_gateway text, p_account text, p_rows jsonb, p_job_id bigint, p_joining boolean
) returns bigint
language plpgsql as $$
declare
    said record;
    home bigint;
    new_rows bigint := 0;
begin
    for said in
        select * from jsonb_to_recordset(p_rows) as each (
            kind text, id text, said_by text, occurred_at timestamptz, facts jsonb)
    loop
        if said.kind = 'customer' and not p_joining then  -- one name each, and nothing that hangs on another
            home := home_of_subject(
                p_merchant, p_gateway, p_account, 'customer', said.facts -> 'others' -> 0 -> 'objects', false);
            insert into facts (
                kind, subject_id, merchant, gateway, account, said_by, job_id, occurred_at, received_at, rank, words
            )
            select 'customer', home, p_merchant, p_gateway, p_account, said.said_by, p_job_id, said.occurred_at, now(),
                0, said.facts -> 'others' -> 0 -> 'words'
            where not exists (
                select from facts f where f.kind = 'customer' and f.subject_id = home and f.said_by = said.said_by
            );
            if found then
                perform fold_customer(home);
            end if;
            continue;
        end if;
        continue when exists (
            select from subject_names named
            join facts f on f.kind = said.kind and f.subject_id = named.subject_id and f.said_by = said.said_by
            where named.gateway = p_gateway and named.account = p_account and named.kind = said.kind
              and named.object_id = said.id and named.subject_kind = said.kind
        );
        perform apply_facts(
            p_merchant, p_gateway, p_account, said.facts, said.said_by, null, p_job_id, said.occurred_at, now(),
            p_joining);
        new_rows := new_rows + (said.kind <> 'customer')::integer;
    end loop;
    return new_rows;
end
$$;

-- migrate: down

drop function import_other_facts(text, text, text, jsonb, bigint, boolean);
drop function import_payment_facts(text, text, text, jsonb, bigint);
drop function go_on_with_import(bigint, bigint, bigint, bigint, bigint, bigint, boolean);

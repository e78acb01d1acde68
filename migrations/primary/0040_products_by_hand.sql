-- A person gives a product its category. Past payments follow in batches, by a job that can be interrupted at any point,
-- and how far it has come is there to see.
-- migrate: up

create table reclassifications (
    id bigint generated always as identity primary key,
    merchant text not null references merchants (id),
    product_id bigint not null references product_categories (id),
    product_key text not null,
    category text not null,
    actor text not null,
    payments_planned integer not null,
    payments_changed integer not null default 0,
    memberships_changed integer not null default 0,
    after_id bigint not null default 0,
    job_id bigint,
    started_at timestamptz not null default now(),
    finished_at timestamptz
);

create index reclassifications_product on reclassifications (product_id);

comment on column reclassifications.memberships_changed is 'of how many patients they followed';
comment on column reclassifications.after_id is 'every payment up to this one is done';

create index reclassifications_newest on reclassifications (merchant, id desc);

alter table reclassifications enable row level security, force row level security;
create policy own_merchant on reclassifications to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on reclassifications to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select on reclassifications to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- Begins to give past payments of a product the category that it has now; returns the row that tells how far that is.
create function begin_reclassification(p_product_id bigint) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    product product_categories;
    planned integer;
    begun bigint;
    job bigint;
begin
    select * into product from product_categories where id = p_product_id;
    select coalesce(sum(said.payments), 0) into planned
    from (
        select p.product_name, p.product_category, count(*) as payments from payments p
        where p.merchant = product.merchant and product_key(p.product_name) = product.product_key
          and p.product_name is not null
        group by p.product_name, p.product_category
    ) as said
    where known_category(product.merchant, said.product_name) is distinct from said.product_category;
    -- Also where none is found: one may be recorded at this moment with the category of before.
    insert into reclassifications (merchant, product_id, product_key, category, actor, payments_planned)
    values (product.merchant, product.id, product.product_key, product.category,
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user), planned)
    returning id into begun;
    insert into jobs (topic, business_key, merchant, arguments)
    values ('reclassify', begun::text, product.merchant, jsonb_build_object('reclassification', begun))
    returning id into job;
    update reclassifications set job_id = job where id = begun;
    return begun;
end
$$;

-- Gives a product of the merchant its category, and notes who did. Returns the reclassification that this begins; null
-- where the category stays as it was.
create function set_product_category(p_id bigint, p_category text, p_expected_version integer) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    held product_categories;
begin
    select * into held from product_categories where id = p_id and merchant = working_for() for no key update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such product';
    elsif p_expected_version <> held.version then
        raise exception using errcode = 'GH006', message = 'the product was changed since it was read';
    end if;
    update product_categories set
        category = p_category,
        reviewed_by = coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        reviewed_at = now(), version = version + 1, updated_at = now()
    where id = p_id;
    if held.category = p_category then
        return null;
    end if;
    return begin_reclassification(p_id);
end
$$;

-- Puts products with their categories into the merchant's list. Returns for each what was done: added, changed, reviewed
-- (its category was the same, and is now known to be right), same.
create function put_products(p_products jsonb)
returns table (place integer, product_id bigint, outcome text, reclassification bigint)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
    actor text := coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user);
    said record;
    held product_categories;
    suggested record;
begin
    for said in
        select each.place::integer as place, each.value ->> 'product_name' as name, each.value ->> 'category' as category
        from jsonb_array_elements(p_products) with ordinality as each (value, place)
        order by each.value ->> 'product_name', each.place
    loop
        place := said.place - 1;
        reclassification := null;
        select * into held from product_categories
        where merchant = merchant_now and product_name = said.name for no key update;
        if held.id is null then
            select * into suggested from suggest_category(merchant_now, said.name);
            insert into product_categories (
                merchant, product_name, category, suggested_category, suggested_because, reviewed_by, reviewed_at)
            values (
                merchant_now, said.name, said.category, suggested.category, suggested.because, actor, now())
            on conflict (merchant, product_name) do nothing
            returning id into product_id;
            if product_id is not null then
                outcome := 'added';
                reclassification := begin_reclassification(product_id);
                return next;
                continue;
            end if;
            select * into held from product_categories
            where merchant = merchant_now and product_name = said.name for no key update;
        end if;
        product_id := held.id;
        if held.category <> said.category then
            outcome := 'changed';
            reclassification := set_product_category(held.id, said.category, null);
        elsif held.reviewed_at is null then
            outcome := 'reviewed';
            perform set_product_category(held.id, said.category, null);
        else
            outcome := 'same';
        end if;
        return next;
    end loop;
end
$$;

-- Takes one step of a reclassification: some payments in the order of their ids, with the memberships of their patients.
-- A step is a transaction, and the next one begins where it ended. Returns the reclassification as it is then.
create function step_reclassification(p_id bigint, p_most integer) returns reclassifications
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    task reclassifications;
    ids bigint[];
    patients jsonb;
    patient record;
    changed integer := 0;
    moved integer := 0;
begin
    select * into task from reclassifications where id = p_id for no key update;
    if task.id is null or task.finished_at is not null then
        return task;
    end if;
    perform set_config('gatehouse.merchant', task.merchant, true),
        set_config('gatehouse.actor', task.actor, true),
        set_config('gatehouse.memberships', 'later', true);
    ids := array(
        select p.id from payments p
        where p.merchant = task.merchant and product_key(p.product_name) = task.product_key
          and p.product_name is not null and p.id > task.after_id
        order by p.id limit p_most
        for no key update);
    if ids <> '{}' then
        -- Of each patient once: with the last payment of theirs that is to be changed.
        select coalesce(jsonb_agg(distinct jsonb_build_object(
            'gateway', p.gateway, 'account', p.account, 'ref', p.customer_ref, 'was', p.product_category,
            'is', known_category(task.merchant, p.product_name))), '[]')
        into patients
        from payments p
        where p.id = any (ids) and p.is_recurring and p.customer_ref is not null and p.merged_into is null
          and p.product_category is distinct from known_category(task.merchant, p.product_name)
          and not exists (
              select from payments later
              where later.merchant = task.merchant and later.customer_ref = p.customer_ref
                and later.gateway = p.gateway and later.account = p.account and later.id > ids[cardinality(ids)]
                and product_key(later.product_name) = task.product_key and later.is_recurring
                and later.merged_into is null
                and later.product_category is distinct from known_category(task.merchant, later.product_name));
        update payments p set product_category = category_of(task.merchant, p.product_name)
        where p.id = any (ids)
          and p.product_category is distinct from known_category(task.merchant, p.product_name);
        get diagnostics changed = row_count;
        for patient in
            select * from jsonb_to_recordset(patients) as each (gateway text, account text, ref text, was text, "is" text)
            order by each.gateway, each.account, each.ref, each.was, each."is"
        loop
            perform refresh_patient(
                task.merchant, patient.gateway, patient.account, patient.ref, patient.was, patient."is");
            moved := moved + 1;
        end loop;
    end if;
    perform set_config('gatehouse.memberships', '', true);
    update reclassifications set
        payments_changed = payments_changed + changed, memberships_changed = memberships_changed + moved,
        after_id = coalesce(ids[cardinality(ids)], after_id),
        finished_at = case when cardinality(ids) < p_most then now() end
    where id = p_id
    returning * into task;
    return task;
end
$$;

-- Gives a merchant's payments their product, category and membership anew, as if they came now: for those that are older
-- than the rules. Newest first, from where the step before ended; returns where this one ended, nulls behind the last one.
create function classify_again(p_after_at timestamptz, p_after_id bigint, p_most integer)
returns table (last_at timestamptz, last_id bigint, payments integer, payments_changed integer, memberships_changed integer)
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
    ids bigint[];
    patient record;
begin
    perform set_config('gatehouse.memberships', 'later', true);
    ids := array(
        select p.id from payments p
        where p.merchant = merchant_now and p.merged_into is null
          and (p_after_at is null or (p.first_fact_at, p.id) < (p_after_at, p_after_id))
        order by p.first_fact_at desc, p.id desc
        limit p_most);
    payments := cardinality(ids);
    select p.first_fact_at, p.id into last_at, last_id from payments p where p.id = ids[cardinality(ids)];
    -- Locked in the order of their ids, as recordings do.
    perform from payments p where p.id = any (ids) order by p.id for no key update;
    memberships_changed := 0;
    with fresh as (
        select p.id, asked.product, category_of(p.merchant, asked.product) as category,
            coalesce(lower(p.source) = 'recurring', false) or p.subscription_ref is not null
                or asked.subscription_ref is not null as is_recurring
        from payments p
        left join lateral (
            select product_of_lines(i.lines) as product, i.subscription_ref from invoices i
            where i.gateway = p.gateway and i.account = p.account and i.gateway_id = p.invoice_ref
            order by i.id limit 1
        ) as asked on true
        where p.id = any (ids)
          and (p.source is not null or p.invoice_ref is not null or p.subscription_ref is not null)
    )
    update payments p set
        product_name = fresh.product, product_category = fresh.category, is_recurring = fresh.is_recurring
    from fresh
    where p.id = fresh.id and (p.product_name, p.product_category, p.is_recurring)
        is distinct from (fresh.product, fresh.category, fresh.is_recurring);
    get diagnostics payments_changed = row_count;
    for patient in
        select distinct p.gateway, p.account, p.customer_ref from payments p
        where p.id = any (ids) and p.is_recurring and p.customer_ref is not null
        order by p.gateway, p.account, p.customer_ref
    loop
        memberships_changed := memberships_changed + refresh_patient(
            merchant_now, patient.gateway, patient.account, patient.customer_ref);
    end loop;
    perform set_config('gatehouse.memberships', '', true);
    return next;
end
$$;

revoke execute on function
    begin_reclassification(bigint), set_product_category(bigint, text, integer), put_products(jsonb),
    step_reclassification(bigint, integer), classify_again(timestamptz, bigint, integer)
from public;
grant execute on function set_product_category(bigint, text, integer), put_products(jsonb)
to gatehouse_api, gatehouse_worker, gatehouse_ops;
grant execute on function step_reclassification(bigint, integer), classify_again(timestamptz, bigint, integer)
to gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function classify_again(timestamptz, bigint, integer);
drop function step_reclassification(bigint, integer);
drop function put_products(jsonb);
drop function set_product_category(bigint, text, integer);
drop function begin_reclassification(bigint);
drop table reclassifications;

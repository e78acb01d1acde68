-- What an event names is found by index, whatever is in the tables. Under row-level security a comparison with what `->>`
-- takes out of a document is made after the policy's, as the operator might tell what it sees: the names of the whole
-- account were read for each event. Columns of a record are compared by the index.
-- migrate: up

create or replace function payments_named(p_gateway text, p_account text, p_objects jsonb)
returns bigint[]
language plpgsql
as $$
begin
    return array(
        select distinct found.payment_id
        from jsonb_to_recordset(p_objects) as named (kind text, id text),
             lateral (  -- with its limit, so that a plan made while the table is small does not read all of it later
                 select po.payment_id from payment_objects po
                 where po.gateway = p_gateway and po.account = p_account
                   and po.kind = named.kind and po.object_id = named.id
                 limit 1
             ) as found
        order by found.payment_id
    );
end
$$;

create or replace function home_of_subject(p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean)
returns bigint
language plpgsql
as $$
declare
    known bigint[] := array(
        select distinct found.subject_id
        from jsonb_to_recordset(p_objects) as named (kind text, id text),
             lateral (
                 select sn.subject_id from subject_names sn
                 where sn.gateway = p_gateway and sn.account = p_account and sn.kind = named.kind
                   and sn.object_id = named.id and sn.subject_kind = p_kind
                 limit 1
             ) as found
        order by found.subject_id
    );
    home bigint := coalesce(known[1], nextval('subject_ids'));
    each bigint;
    noted bigint[];
begin
    foreach each in array known loop
        perform lock_subject(p_kind, each);
    end loop;
    if cardinality(known) > 1 then
        if not p_joining then
            raise exception using errcode = 'GH001', message = 'these names lead to several rows';
        end if;
        update subject_names set subject_id = home where subject_kind = p_kind and subject_id = any (known[2:]);
        update facts set subject_id = home where kind = p_kind and subject_id = any (known[2:]);
        if p_kind = 'subscription' then
            with moved as (
                update app_transactions set subscription_id = home where subscription_id = any (known[2:])
                returning webhook_event_id
            )
            select coalesce(array_agg(webhook_event_id), '{}') into noted from moved;
            perform tell_app_transactions(noted);
        elsif p_kind in ('refund', 'dispute') then
            perform join_payments_of(p_kind, known);
        end if;
        perform drop_joined_away(p_kind, known[2:]);
    end if;
    insert into subject_names (gateway, account, kind, object_id, subject_kind, subject_id, merchant)
    select p_gateway, p_account, named.kind, named.id, p_kind, home, p_merchant
    from jsonb_to_recordset(p_objects) as named (kind text, id text)
    on conflict (gateway, account, kind, object_id, subject_kind) do nothing;
    return home;
end
$$;

create or replace function refunded_by(p_gateway text, p_account text, p_objects jsonb)
returns bigint[]
language plpgsql
as $$
begin
    return array(
        select distinct refunded.payment_id
        from jsonb_to_recordset(p_objects) as named (kind text, id text),
             lateral (
                 select sn.subject_id from subject_names sn
                 where sn.gateway = p_gateway and sn.account = p_account and sn.kind = named.kind
                   and sn.object_id = named.id and sn.subject_kind = 'refund'
                 limit 1
             ) as found,
             lateral (select r.payment_id from refunds r where r.id = found.subject_id limit 1) as refunded
        where refunded.payment_id is not null);
end
$$;

create or replace function apps_of_event(p_event_row bigint)
returns text[]
language sql
stable
as $$
    select coalesce(array_agg(distinct app order by app), '{}')
    from (
        select t.app from app_transactions t where t.webhook_event_id = p_event_row
        union all
        -- Each row by its id, from the facts of the event: joined, they might be read from the tables' end.
        select of_row.app
        from facts f
        cross join lateral (
            (select coalesce(home.app, p.app) as app from payments p left join payments home on home.id = p.merged_into
             where f.kind = 'payment' and p.id = f.subject_id limit 1)
            union all
            (select p.app from (select r.payment_id from refunds r where f.kind = 'refund' and r.id = f.subject_id limit 1) as r
             cross join lateral (select app from payments p where p.id = r.payment_id limit 1) as p)
            union all
            (select p.app from (select d.payment_id from disputes d where f.kind = 'dispute' and d.id = f.subject_id limit 1) as d
             cross join lateral (select app from payments p where p.id = d.payment_id limit 1) as p)
            union all
            (select s.app from subscriptions s where f.kind = 'subscription' and s.id = f.subject_id limit 1)
            union all
            (select s.app
             from (select i.gateway, i.account, i.subscription_ref from invoices i
                   where f.kind = 'invoice' and i.id = f.subject_id limit 1) as i
             cross join lateral (
                 select app from subscriptions s
                 where s.gateway = i.gateway and s.account = i.account and s.gateway_id = i.subscription_ref limit 1) as s)
            union all
            (select c.app from gateway_customers c where f.kind = 'customer' and c.id = f.subject_id limit 1)
        ) as of_row
        where f.webhook_event_id = p_event_row
    ) as named
    where app is not null
$$;

create or replace function app_of_subscription(p_merchant text, p_gateway text, p_account text, p_gateway_id text, p_customer_ref text, p_plan text, p_app text, p_user_id text, out app text, out app_from text, out user_id text)
returns record
language plpgsql
as $$
declare
    linked record;
begin
    -- By customer and plan they find each other: of two that are told at once, the later one sees the other.
    if p_customer_ref is not null and p_plan is not null then
        perform lock_name(p_gateway, p_account, 'customer', p_customer_ref);
    end if;
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null or user_id is null then
        -- The first payment whose own events say it, by the gateway's clock: so arrival does not matter. What a payment
        -- only has from this subscription would tell it what it was told.
        for linked in
            select said.app, said.user_id
            from unnest(array(
                select id from payments
                where gateway = p_gateway and account = p_account and subscription_ref = p_gateway_id
                union
                select id from payments
                where merchant = p_merchant and customer_ref = p_customer_ref and plan = p_plan
                  and gateway = p_gateway and account = p_account and subscription_ref is null
            )) as known (id)
            -- Each by its id: joined, the newest of the merchant might be read until one of them comes.
            cross join lateral (
                select p.id, p.first_fact_at from payments p
                where p.id = known.id and (p.app_from = 'event' or p.user_id is not null) and p.merged_into is null
                limit 1
            ) as p
            cross join lateral (
                select
                    (array_agg(f.words ->> 'app' order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'app'))[1] as app,
                    (array_agg(f.words ->> 'user_id'
                        order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'user_id'))[1] as user_id
                from facts f
                where f.kind = 'payment' and f.subject_id = p.id
            ) as said
            order by p.first_fact_at, said.app, said.user_id
        loop
            if app is null and linked.app is not null then
                app := linked.app;
                app_from := 'payment';
            end if;
            user_id := coalesce(user_id, linked.user_id);
        end loop;
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

-- migrate: down

create or replace function payments_named(p_gateway text, p_account text, p_objects jsonb)
returns bigint[]
language plpgsql
as $$
begin
    return array(
        select distinct found.payment_id
        from jsonb_array_elements(p_objects) as named,
             lateral (  -- with its limit, so that a plan made while the table is small does not read all of it later
                 select po.payment_id from payment_objects po
                 where po.gateway = p_gateway and po.account = p_account
                   and po.kind = named ->> 'kind' and po.object_id = named ->> 'id'
                 limit 1
             ) as found
        order by found.payment_id
    );
end
$$;

create or replace function home_of_subject(p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean)
returns bigint
language plpgsql
as $$
declare
    known bigint[] := array(
        select distinct found.subject_id
        from jsonb_array_elements(p_objects) as named,
             lateral (
                 select sn.subject_id from subject_names sn
                 where sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
                   and sn.object_id = named ->> 'id' and sn.subject_kind = p_kind
                 limit 1
             ) as found
        order by found.subject_id
    );
    home bigint := coalesce(known[1], nextval('subject_ids'));
    each bigint;
    noted bigint[];
begin
    foreach each in array known loop
        perform lock_subject(p_kind, each);
    end loop;
    if cardinality(known) > 1 then
        if not p_joining then
            raise exception using errcode = 'GH001', message = 'these names lead to several rows';
        end if;
        update subject_names set subject_id = home where subject_kind = p_kind and subject_id = any (known[2:]);
        update facts set subject_id = home where kind = p_kind and subject_id = any (known[2:]);
        if p_kind = 'subscription' then
            with moved as (
                update app_transactions set subscription_id = home where subscription_id = any (known[2:])
                returning webhook_event_id
            )
            select coalesce(array_agg(webhook_event_id), '{}') into noted from moved;
            perform tell_app_transactions(noted);
        elsif p_kind in ('refund', 'dispute') then
            perform join_payments_of(p_kind, known);
        end if;
        perform drop_joined_away(p_kind, known[2:]);
    end if;
    insert into subject_names (gateway, account, kind, object_id, subject_kind, subject_id, merchant)
    select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_kind, home, p_merchant
    from jsonb_array_elements(p_objects) as named
    on conflict (gateway, account, kind, object_id, subject_kind) do nothing;
    return home;
end
$$;

create or replace function refunded_by(p_gateway text, p_account text, p_objects jsonb)
returns bigint[]
language plpgsql
as $$
begin
    return array(
        select distinct r.payment_id
        from jsonb_array_elements(p_objects) as named
        join subject_names sn on sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
            and sn.object_id = named ->> 'id' and sn.subject_kind = 'refund'
        join refunds r on r.id = sn.subject_id
        where r.payment_id is not null);
end
$$;

create or replace function apps_of_event(p_event_row bigint)
returns text[]
language sql
stable
as $$
    select coalesce(array_agg(distinct app order by app), '{}')
    from (
        select t.app from app_transactions t where t.webhook_event_id = p_event_row
        union all
        select coalesce(home.app, p.app) from facts f join payments p on p.id = f.subject_id
        left join payments home on home.id = p.merged_into
        where f.webhook_event_id = p_event_row and f.kind = 'payment'
        union all
        select p.app from facts f join refunds r on r.id = f.subject_id join payments p on p.id = r.payment_id
        where f.webhook_event_id = p_event_row and f.kind = 'refund'
        union all
        select p.app from facts f join disputes d on d.id = f.subject_id join payments p on p.id = d.payment_id
        where f.webhook_event_id = p_event_row and f.kind = 'dispute'
        union all
        select s.app from facts f join subscriptions s on s.id = f.subject_id
        where f.webhook_event_id = p_event_row and f.kind = 'subscription'
        union all
        select s.app from facts f join invoices i on i.id = f.subject_id
        join subscriptions s on s.gateway = i.gateway and s.account = i.account and s.gateway_id = i.subscription_ref
        where f.webhook_event_id = p_event_row and f.kind = 'invoice'
        union all
        select c.app from facts f join gateway_customers c on c.id = f.subject_id
        where f.webhook_event_id = p_event_row and f.kind = 'customer'
    ) as named
    where app is not null
$$;

create or replace function app_of_subscription(p_merchant text, p_gateway text, p_account text, p_gateway_id text, p_customer_ref text, p_plan text, p_app text, p_user_id text, out app text, out app_from text, out user_id text)
returns record
language plpgsql
as $$
declare
    linked record;
begin
    -- By customer and plan they find each other: of two that are told at once, the later one sees the other.
    if p_customer_ref is not null and p_plan is not null then
        perform lock_name(p_gateway, p_account, 'customer', p_customer_ref);
    end if;
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null or user_id is null then
        -- The first payment whose own events say it, by the gateway's clock: so arrival does not matter. What a payment
        -- only has from this subscription would tell it what it was told.
        for linked in
            select said.app, said.user_id
            from payments p
            cross join lateral (
                select
                    (array_agg(f.words ->> 'app' order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'app'))[1] as app,
                    (array_agg(f.words ->> 'user_id'
                        order by f.occurred_at desc nulls last, f.rank desc, f.said_by desc)
                        filter (where f.words ? 'user_id'))[1] as user_id
                from facts f
                where f.kind = 'payment' and f.subject_id = p.id
            ) as said
            where p.id in (
                    select id from payments
                    where gateway = p_gateway and account = p_account and subscription_ref = p_gateway_id
                    union
                    select id from payments
                    where merchant = p_merchant and customer_ref = p_customer_ref and plan = p_plan
                      and gateway = p_gateway and account = p_account and subscription_ref is null
                )
                and (p.app_from = 'event' or p.user_id is not null) and p.merged_into is null
            order by p.first_fact_at, said.app, said.user_id
        loop
            if app is null and linked.app is not null then
                app := linked.app;
                app_from := 'payment';
            end if;
            user_id := coalesce(user_id, linked.user_id);
        end loop;
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$$;

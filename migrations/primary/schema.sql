-- The schema that the migrations make, read from the catalogue: to see it whole, and to compare with. Not to be run:
-- the migrations beside it are the source. `gatehouse migrate schema --write` writes this file, and a test compares it.
-- Roles belong to the server and monthly partitions to the calendar, so neither is here.

GRANT USAGE ON SCHEMA public TO PUBLIC;

CREATE OR REPLACE FUNCTION public.account_lock(p_gateway text, p_account text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select ('x' || encode(substr(sha256(convert_to(p_gateway || '/' || p_account, 'UTF8')), 1, 8), 'hex'))
        ::bit(64)::bigint
$function$;

CREATE OR REPLACE FUNCTION public.add_item_type(p_name text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    insert into item_types (merchant, name) values (working_for(), p_name);
end
$function$;
REVOKE ALL ON FUNCTION add_item_type(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_item_type(text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.add_tenant_usage(p_tenant text, p_rows bigint, p_bytes bigint, p_milliseconds bigint)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
begin
    perform set_config('synchronous_commit', 'off', true);
    insert into tenant_usage_slots as u (tenant_id, merchant, date, slot, rows_returned, bytes_returned, milliseconds)
    select t.id, t.merchant, (now() at time zone 'UTC')::date, floor(random() * 8)::smallint,
        p_rows, p_bytes, p_milliseconds
    from platform_tenants t where t.id = p_tenant and t.merchant = merchant_now
    on conflict on constraint tenant_usage_slots_pkey do update
        set rows_returned = u.rows_returned + excluded.rows_returned,
            bytes_returned = u.bytes_returned + excluded.bytes_returned,
            milliseconds = u.milliseconds + excluded.milliseconds;
end
$function$;
REVOKE ALL ON FUNCTION add_tenant_usage(text,bigint,bigint,bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_tenant_usage(text,bigint,bigint,bigint) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.add_to_totals(p_entries total_entries[])
 RETURNS void
 LANGUAGE sql
AS $function$
    insert into totals as held (
        merchant, livemode, breakdown, level, bucket, currency, value, detail,
        payments, amount_minor, succeeded, failed, cancelled, duration_ms, sales, gross_minor, fee_minor,
        unknown_fees, unknown_fee_gross_minor, sales_refunded, sales_refunded_minor, sales_disputed, refunds,
        refund_minor, other_fee_minor, disputes, dispute_minor, disputes_lost, lost_minor, held_minor, orders,
        ordered_minor, paid_minor, returned_minor, tax_minor, order_fee_minor, discount_minor, quantity,
        sold_quantity, sold_minor
    )
    select scope, e.livemode, breakdown, level, total_bucket(level, e.bucket), e.currency, value, detail,
        total_sum(e.payments), total_sum(e.amount_minor), total_sum(e.succeeded), total_sum(e.failed),
        total_sum(e.cancelled), total_sum(e.duration_ms), total_sum(e.sales), total_sum(e.gross_minor),
        total_sum(e.fee_minor), total_sum(e.unknown_fees), total_sum(e.unknown_fee_gross_minor),
        total_sum(e.sales_refunded), total_sum(e.sales_refunded_minor), total_sum(e.sales_disputed),
        total_sum(e.refunds), total_sum(e.refund_minor), total_sum(e.other_fee_minor), total_sum(e.disputes),
        total_sum(e.dispute_minor), total_sum(e.disputes_lost), total_sum(e.lost_minor), total_sum(e.held_minor),
        total_sum(e.orders), total_sum(e.ordered_minor), total_sum(e.paid_minor), total_sum(e.returned_minor),
        total_sum(e.tax_minor), total_sum(e.order_fee_minor), total_sum(e.discount_minor), total_sum(e.quantity),
        total_sum(e.sold_quantity), total_sum(e.sold_minor)
    from unnest(p_entries) as e
    cross join lateral (values
        ('gateway', e.gateway, ''), ('app', e.app, ''), ('method', e.method, ''), ('category', e.category, ''),
        ('failure', e.failure, e.gateway), ('duration', e.duration_bin::text, e.gateway),
        ('order', e.order_status, e.event_id), ('item', nullif(e.part, ''), e.event_id)
    ) as told (breakdown, value, detail)
    cross join lateral (values (e.merchant), ('*')) as whose (scope)
    cross join (values ('quarter'), ('hour'), ('six_hours'), ('day'), ('month')) as levels (level)
    where value is not null and is_kept(breakdown, level, scope)
    group by 1, 2, 3, 4, 5, 6, 7, 8
    order by 1, 2, 3, 4, 5, 6, 7, 8
    on conflict (merchant, livemode, breakdown, level, bucket, currency, value, detail) do update set
        payments = coalesce(held.payments, 0) + coalesce(excluded.payments, 0),
        amount_minor = coalesce(held.amount_minor, 0) + coalesce(excluded.amount_minor, 0),
        succeeded = coalesce(held.succeeded, 0) + coalesce(excluded.succeeded, 0),
        failed = coalesce(held.failed, 0) + coalesce(excluded.failed, 0),
        cancelled = coalesce(held.cancelled, 0) + coalesce(excluded.cancelled, 0),
        duration_ms = coalesce(held.duration_ms, 0) + coalesce(excluded.duration_ms, 0),
        sales = coalesce(held.sales, 0) + coalesce(excluded.sales, 0),
        gross_minor = coalesce(held.gross_minor, 0) + coalesce(excluded.gross_minor, 0),
        fee_minor = coalesce(held.fee_minor, 0) + coalesce(excluded.fee_minor, 0),
        unknown_fees = coalesce(held.unknown_fees, 0) + coalesce(excluded.unknown_fees, 0),
        unknown_fee_gross_minor =
            coalesce(held.unknown_fee_gross_minor, 0) + coalesce(excluded.unknown_fee_gross_minor, 0),
        sales_refunded = coalesce(held.sales_refunded, 0) + coalesce(excluded.sales_refunded, 0),
        sales_refunded_minor = coalesce(held.sales_refunded_minor, 0) + coalesce(excluded.sales_refunded_minor, 0),
        sales_disputed = coalesce(held.sales_disputed, 0) + coalesce(excluded.sales_disputed, 0),
        refunds = coalesce(held.refunds, 0) + coalesce(excluded.refunds, 0),
        refund_minor = coalesce(held.refund_minor, 0) + coalesce(excluded.refund_minor, 0),
        other_fee_minor = coalesce(held.other_fee_minor, 0) + coalesce(excluded.other_fee_minor, 0),
        disputes = coalesce(held.disputes, 0) + coalesce(excluded.disputes, 0),
        dispute_minor = coalesce(held.dispute_minor, 0) + coalesce(excluded.dispute_minor, 0),
        disputes_lost = coalesce(held.disputes_lost, 0) + coalesce(excluded.disputes_lost, 0),
        lost_minor = coalesce(held.lost_minor, 0) + coalesce(excluded.lost_minor, 0),
        held_minor = coalesce(held.held_minor, 0) + coalesce(excluded.held_minor, 0),
        orders = coalesce(held.orders, 0) + coalesce(excluded.orders, 0),
        ordered_minor = coalesce(held.ordered_minor, 0) + coalesce(excluded.ordered_minor, 0),
        paid_minor = coalesce(held.paid_minor, 0) + coalesce(excluded.paid_minor, 0),
        returned_minor = coalesce(held.returned_minor, 0) + coalesce(excluded.returned_minor, 0),
        tax_minor = coalesce(held.tax_minor, 0) + coalesce(excluded.tax_minor, 0),
        order_fee_minor = coalesce(held.order_fee_minor, 0) + coalesce(excluded.order_fee_minor, 0),
        discount_minor = coalesce(held.discount_minor, 0) + coalesce(excluded.discount_minor, 0),
        quantity = coalesce(held.quantity, 0) + coalesce(excluded.quantity, 0),
        sold_quantity = coalesce(held.sold_quantity, 0) + coalesce(excluded.sold_quantity, 0),
        sold_minor = coalesce(held.sold_minor, 0) + coalesce(excluded.sold_minor, 0)
$function$;

CREATE OR REPLACE FUNCTION public.address_pattern(p_email_key text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select '(?<![[:alnum:]._%+-])' || regexp_replace(p_email_key, '([^[:alnum:]@])', '\\\1', 'g')
        || '(?![[:alnum:]-]|[.][[:alnum:]])'
$function$;

CREATE OR REPLACE FUNCTION public.addresses_of_named()
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
AS $function$
    with known as (
        select distinct lower(g.email) as address
        from subjects_of_person(working_for(), '', null) as theirs
        join gateway_customers g on theirs.kind = 'customer' and g.id = theirs.id
        where g.email is not null
        union
        select lower(p.email) from subjects_of_person(working_for(), '', null) as theirs
        join payments p on theirs.kind = 'payment' and p.id = theirs.id
        where p.email is not null
    )
    select address from known
    union all
    select lower(concat_ws('/', n.gateway, n.account, n.ref)) from person_named() n
    where not exists (select from known)
$function$;
REVOKE ALL ON FUNCTION addresses_of_named() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.app_of_payment(p_merchant text, p_gateway text, p_account text, p_subscription_ref text, p_customer_ref text, p_plan text, p_app text, p_user_id text, OUT app text, OUT app_from text, OUT user_id text)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
    linked record;
begin
    -- By customer and plan they find each other: of two that are told at once, the later one sees the other.
    if p_subscription_ref is null and p_customer_ref is not null and p_plan is not null then
        perform lock_name(p_gateway, p_account, 'customer', p_customer_ref);
    end if;
    app := p_app;
    user_id := p_user_id;
    app_from := case when p_app is not null then 'event' end;
    if (app is null or user_id is null)
        and (p_subscription_ref is not null or (p_customer_ref is not null and p_plan is not null)) then
        if p_subscription_ref is not null then
            -- Locked, as whoever changes it looks for its payments: one that is not committed yet would not be found.
            select s.app, s.app_from, s.user_id into linked
            from subscriptions s
            where s.gateway = p_gateway and s.account = p_account and s.gateway_id = p_subscription_ref
            limit 1
            for share;
        else
            -- Paystack's charges name no subscription: there it is the customer's one to the same plan.
            select s.app, s.app_from, s.user_id into linked
            from subscriptions s
            where s.gateway = p_gateway and s.account = p_account and s.customer_ref = p_customer_ref
              and s.plan = p_plan
            order by s.first_fact_at, s.gateway_id
            limit 1;
        end if;
        if found then
            user_id := coalesce(user_id, linked.user_id);
            if app is null and linked.app_from <> 'default' then
                app := linked.app;
                app_from := 'subscription';
            end if;
        end if;
    end if;
    if app is null or user_id is null then
        select * into linked
        from app_of_plan_or_customer(p_merchant, p_gateway, p_account, p_plan, p_customer_ref);
        user_id := coalesce(user_id, linked.user_id);
        app_from := coalesce(app_from, linked.app_from);
        app := coalesce(app, linked.app);
    end if;
    if app is null then
        select a.name, 'default' into app, app_from from apps a where a.merchant = p_merchant and a.is_default;
    end if;
end
$function$;

CREATE OR REPLACE FUNCTION public.app_of_plan_or_customer(p_merchant text, p_gateway text, p_account text, p_plan text, p_customer_ref text, OUT app text, OUT app_from text, OUT user_id text)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
    customer record;
begin
    if p_plan is not null then
        select a.name, 'plan' into app, app_from
        from apps a where a.merchant = p_merchant and p_plan = any (a.plans)
        order by a.name limit 1;
    end if;
    if p_customer_ref is not null then
        select c.app, c.user_id into customer
        from gateway_customers c
        where c.gateway = p_gateway and c.account = p_account and c.gateway_id = p_customer_ref
        limit 1;
        user_id := customer.user_id;
        if app is null and customer.app is not null then
            app := customer.app;
            app_from := 'customer';
        end if;
    end if;
end
$function$;

CREATE OR REPLACE FUNCTION public.app_of_subscription(p_merchant text, p_gateway text, p_account text, p_gateway_id text, p_customer_ref text, p_plan text, p_app text, p_user_id text, OUT app text, OUT app_from text, OUT user_id text)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.apply_facts(p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_said_by text, p_event_row bigint, p_job_id bigint, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    fact jsonb;
    -- The payments that the names lead to: of all facts, and of one. They stay right until we are done: the lock of
    -- each name is ours, and nobody can join payments without having the account alone.
    known bigint[] := payments_named(
        p_gateway, p_account, jsonb_path_query_array(p_facts, '$.payments[*].objects[*]'));
    known_to_fact bigint[] := '{}';
    home bigint;
    of_payment bigint;
    touched bigint[] := '{}';
    logged jsonb;
    new_status text;
    changed jsonb := '[]';
    open_questions jsonb := '[]';
begin
    -- Locked before any fact is read, in order of id, so that the fold sees what a neighbour has committed.
    foreach home in array known loop
        perform from payments where id = home for update;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts -> 'payments') loop
        if known <> '{}' then
            known_to_fact := payments_named(p_gateway, p_account, fact -> 'objects');
        end if;
        home := coalesce(known_to_fact[1], nextval('payment_ids'));
        if cardinality(known_to_fact) > 1 then
            if not p_joining then
                raise exception using errcode = 'GH001', message = 'these names lead to several payments';
            end if;
            home := join_payments(known_to_fact);
        end if;
        insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
        select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_merchant, home
        from jsonb_array_elements(fact -> 'objects') as named
        on conflict (gateway, account, kind, object_id) do nothing;
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at,
            received_at, rank, words
        ) values (
            'payment', home, p_merchant, p_gateway, p_account, p_said_by, p_event_row, p_job_id, p_occurred_at,
            p_received_at, (fact ->> 'rank')::smallint, fact -> 'words'
        );
        touched := touched || home;
        if fact ? 'is_logged' then
            logged := fact || jsonb_build_object('id', home);
        end if;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts -> 'others') loop
        if fact ->> 'kind' = 'refund' then  -- also of those that are about to be joined
            touched := touched || refunded_by(p_gateway, p_account, fact -> 'objects');
        end if;
        home := home_of_subject(
            p_merchant, p_gateway, p_account, fact ->> 'kind', fact -> 'objects', p_joining);
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at,
            received_at, rank, words
        ) values (
            fact ->> 'kind', home, p_merchant, p_gateway, p_account, p_said_by, p_event_row, p_job_id, p_occurred_at,
            p_received_at, (fact ->> 'rank')::smallint, fact -> 'words'
        );
        if fact -> 'words' ? 'payment' and fact ->> 'kind' in ('refund', 'dispute') then
            of_payment := (payments_named(p_gateway, p_account, fact -> 'words' -> 'payment'))[1];
            touched := touched || one_payment_of(fact ->> 'kind', home, of_payment, p_joining);
        end if;
        new_status := fold_subject(fact ->> 'kind', home);
        if new_status is not null then
            changed := changed || jsonb_build_object('kind', fact ->> 'kind', 'id', home, 'status', new_status);
        end if;
        if fact ? 'ask' and two_words_at_once(fact, home, p_said_by, p_occurred_at) then
            open_questions := open_questions || jsonb_build_object(
                'topic', 'refetch',
                'key', concat_ws('/', p_gateway, p_account, fact -> 'ask' ->> 'kind', fact -> 'ask' ->> 'id',
                    extract(epoch from p_occurred_at)::bigint),
                'arguments', fact -> 'ask' || jsonb_build_object('gateway', p_gateway, 'account', p_account));
        end if;
        if fact ? 'is_logged' then
            logged := fact || jsonb_build_object('id', home);
        end if;
    end loop;
    -- Those that were reached through their refunds are locked now, in order of id; the fold comes a statement later.
    -- One by one: for a list of unknown length Postgres might read the whole table. One that was joined away has no facts
    -- any more, and its fold does nothing.
    touched := array(select distinct id from unnest(touched) as id where id is not null order by id);
    foreach home in array touched loop
        perform from payments where id = home for update;
    end loop;
    foreach home in array touched loop
        new_status := fold_payment(home);
        if new_status is not null then
            changed := changed || jsonb_build_object('kind', 'payment', 'id', home, 'status', new_status);
        end if;
    end loop;
    if p_event_row is not null and logged is not null then
        perform log_app_transaction(p_event_row, logged);
    end if;
    return jsonb_build_object('changed', changed, 'jobs', case
        when open_questions = '[]' then '[]' else write_needs(p_merchant, p_event_row, open_questions) end);
end
$function$;

CREATE OR REPLACE FUNCTION public.apply_payment_facts(p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_said_by text, p_event_row bigint, p_job_id bigint, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    fact jsonb;
    -- The payments that the names lead to: of all facts, and of one. They stay right until we are done: the lock of
    -- each name is ours, and nobody can join payments without having the account alone.
    known bigint[] := payments_named(p_gateway, p_account, jsonb_path_query_array(p_facts, '$[*].objects[*]'));
    known_to_fact bigint[] := '{}';
    home bigint;
    touched bigint[] := '{}';
    new_status text;
    changed jsonb := '[]';
begin
    -- Locked before any fact is read, in order of id, so that the fold sees what a neighbour has committed.
    foreach home in array known loop
        perform from payments where id = home for update;
    end loop;
    for fact in select * from jsonb_array_elements(p_facts) loop
        if known <> '{}' then
            known_to_fact := payments_named(p_gateway, p_account, fact -> 'objects');
        end if;
        home := coalesce(known_to_fact[1], nextval('payment_ids'));
        if cardinality(known_to_fact) > 1 then
            if not p_joining then
                raise exception using errcode = 'GH001', message = 'these names lead to several payments';
            end if;
            update payment_objects set payment_id = home where payment_id = any (known_to_fact[2:]);
            update facts set subject_id = home where kind = 'payment' and subject_id = any (known_to_fact[2:]);
            update payments set merged_into = home
            where id = any (known_to_fact[2:]) or merged_into = any (known_to_fact[2:]);
        end if;
        insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
        select p_gateway, p_account, named ->> 'kind', named ->> 'id', p_merchant, home
        from jsonb_array_elements(fact -> 'objects') as named
        on conflict (gateway, account, kind, object_id) do nothing;
        insert into facts (
            kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at,
            received_at, rank, words
        ) values (
            'payment', home, p_merchant, p_gateway, p_account, p_said_by, p_event_row, p_job_id, p_occurred_at,
            p_received_at, (fact ->> 'rank')::smallint, fact -> 'words'
        );
        touched := touched || home;
    end loop;
    foreach home in array touched loop
        new_status := fold_payment(home);
        if new_status is not null then
            changed := changed || jsonb_build_object('id', home, 'status', new_status);
        end if;
    end loop;
    return changed;
end
$function$;

CREATE OR REPLACE FUNCTION public.apps_of_event(p_event_row bigint)
 RETURNS text[]
 LANGUAGE sql
 STABLE
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.ask_tenant_job(p_topic text, p_tenant text, p_key text, p_arguments jsonb, p_due timestamp with time zone)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
    made bigint;
begin
    if p_topic not in ('provision_tenant', 'remove_tenant', 'make_branch', 'remove_branch') then
        perform refuse('GH005', 'there is no such job for a tenant');
    end if;
    insert into jobs as job (topic, business_key, merchant, arguments, due_at, ring_after)
    select p_topic, p_key, t.merchant, p_arguments || jsonb_build_object('tenant', t.id), p_due,
        greatest(p_due, now() + interval '30 seconds')
    from platform_tenants t
    where t.id = p_tenant and t.merchant = merchant_now
    on conflict (topic, business_key) do update
        set due_at = excluded.due_at, ring_after = excluded.ring_after,
            status = case when job.status = 'leased' then job.status else 'waiting' end,
            attempts = case when job.status = 'leased' then job.attempts else 0 end, finished_at = null
    returning id into made;
    if made is null then
        perform refuse('GH008', 'there is no such tenant');
    end if;
    return made;
end
$function$;
REVOKE ALL ON FUNCTION ask_tenant_job(text,text,text,jsonb,timestamp with time zone) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ask_tenant_job(text,text,text,jsonb,timestamp with time zone) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.audit_hash(hash_key bytea, value jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case when value <> 'null' then to_jsonb('hash:' || left(encode(
        sha256(hash_key || sha256(hash_key || convert_to(value::text, 'UTF8'))), 'hex'), 24)) end
$function$;

CREATE OR REPLACE FUNCTION public.backup_backlog(p_many integer)
 RETURNS TABLE(backlog bigint, lag_seconds bigint, as_of timestamp with time zone, refused bigint)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select count(*), coalesce(extract(epoch from now() - min(changed_at)), 0)::bigint, coalesce(min(changed_at), now()),
        (select count(*) from backup_changes where attempts >= p_many)
    from backup_changes
$function$;
REVOKE ALL ON FUNCTION backup_backlog(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backup_backlog(integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.backup_hashes(p_from bigint, p_until bigint)
 RETURNS TABLE(gateway text, hour timestamp with time zone, payments bigint, hash numeric)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.gateway_provider, date_trunc('hour', s.first_fact_at), count(*),
        sum(('x' || left(md5(s::text), 16))::bit(64)::bigint::numeric)
    from backup_states s
    where s.id >= p_from and s.id < p_until
    group by 1, 2
$function$;

CREATE OR REPLACE FUNCTION public.backup_hashes_of(p_ids bigint[])
 RETURNS TABLE(payment_id bigint, hash text)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.id, md5(s::text) from backup_states s where s.id = any (p_ids)
$function$;

CREATE OR REPLACE FUNCTION public.backup_hashes_within(p_from bigint, p_until bigint, p_gateway text, p_hour timestamp with time zone)
 RETURNS TABLE(payment_id bigint, hash text)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
 SET "DateStyle" TO 'ISO, MDY'
AS $function$
    select s.id, md5(s::text)
    from backup_states s
    where s.id >= p_from and s.id < p_until and s.gateway_provider = p_gateway
      and s.first_fact_at >= p_hour and s.first_fact_at < p_hour + interval '1 hour'
$function$;

CREATE OR REPLACE FUNCTION public.backup_is_behind(p_seconds integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select exists (select from backup_changes where changed_at < now() - make_interval(secs => p_seconds))
        or (select not is_on or fill_ended_at is null from backup_state)
$function$;
REVOKE ALL ON FUNCTION backup_is_behind(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION backup_is_behind(integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.begin_reclassification(p_product_id bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION begin_reclassification(bigint) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.category_of(p_merchant text, p_name text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    found_category text;
    suggested record;
begin
    if p_name is null then
        return 'Other';
    end if;
    found_category := known_category(p_merchant, p_name);
    if found_category is null then
        select * into suggested from suggest_category(p_merchant, p_name);
        insert into product_categories (merchant, product_name, suggested_category, suggested_because)
        values (p_merchant, p_name, suggested.category, suggested.because)
        on conflict (merchant, product_name) do nothing;
        found_category := known_category(p_merchant, p_name);  -- another transaction may have been quicker
    end if;
    return found_category;
end
$function$;
REVOKE ALL ON FUNCTION category_of(text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION category_of(text,text) TO gatehouse_api, gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.change_customer(p_id bigint, p_changes jsonb, p_expected_version integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    held customers;
begin
    select * into held from customers where id = p_id and merchant = working_for() for no key update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such customer';
    elsif held.erased_at is not null then
        raise exception using errcode = 'GH009', message = 'the customer was erased';
    elsif p_expected_version <> held.version then
        raise exception using errcode = 'GH006', message = 'the customer was changed since it was read';
    end if;
    held := jsonb_populate_record(held, p_changes);
    begin
        update customers set
            email = held.email, first_name = held.first_name, last_name = held.last_name, phone = held.phone,
            consent_at = held.consent_at, consent_scope = held.consent_scope, retain_until = held.retain_until,
            version = version + 1, updated_at = now()
        where id = p_id;
    exception when unique_violation then
        perform refuse_field('email', 'another customer has this address');
    end;
end
$function$;
REVOKE ALL ON FUNCTION change_customer(bigint,jsonb,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION change_customer(bigint,jsonb,integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.change_membership(p_id bigint, p_changes jsonb, p_expected_version integer, p_reason text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    held memberships;
begin
    select * into held from memberships where id = p_id and merchant = working_for() for no key update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such membership';
    elsif p_expected_version <> held.version then
        raise exception using errcode = 'GH006', message = 'the membership was changed since it was read';
    end if;
    update memberships set
        google_review_submitted = case when p_changes ? 'google_review_submitted'
            then (p_changes ->> 'google_review_submitted')::boolean else google_review_submitted end,
        referral_source = case when p_changes ? 'referral_source'
            then p_changes ->> 'referral_source' else referral_source end,
        fulfillment_type = case when p_changes ? 'fulfillment_type'
            then p_changes ->> 'fulfillment_type' else fulfillment_type end,
        status_by_hand = case when p_changes ? 'status' then p_changes ->> 'status' else status_by_hand end,
        status_reason = case when p_changes ? 'status' then p_reason else status_reason end,
        status_set_by = case
            when not p_changes ? 'status' then status_set_by
            when p_changes ->> 'status' is null then null
            else coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user) end,
        status_set_at = case
            when not p_changes ? 'status' then status_set_at
            when p_changes ->> 'status' is null then null
            else now() end,
        version = version + 1, updated_at = now()
    where id = p_id;
end
$function$;
REVOKE ALL ON FUNCTION change_membership(bigint,jsonb,integer,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION change_membership(bigint,jsonb,integer,text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.classify_again(p_after_at timestamp with time zone, p_after_id bigint, p_most integer)
 RETURNS TABLE(last_at timestamp with time zone, last_id bigint, payments integer, payments_changed integer, memberships_changed integer)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION classify_again(timestamp with time zone,bigint,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION classify_again(timestamp with time zone,bigint,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.classify_payment()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    asked record;
begin
    -- A fold inserts, and updates where the row is there: then the trigger of the update is the one that counts.
    if tg_op = 'INSERT' and exists (select from payments where id = new.id) then
        return new;
    end if;
    if new.invoice_ref is not null and (tg_op = 'INSERT' or new.invoice_ref is distinct from old.invoice_ref) then
        perform lock_name(new.gateway, new.account, 'invoice of payments', new.invoice_ref);
    end if;
    if new.subscription_ref is not null
        and (tg_op = 'INSERT' or new.subscription_ref is distinct from old.subscription_ref)
    then
        perform lock_name(new.gateway, new.account, 'subscription', new.subscription_ref);
    end if;
    select product_of_lines(i.lines) as product, i.subscription_ref into asked
    from invoices i
    where i.gateway = new.gateway and i.account = new.account and i.gateway_id = new.invoice_ref
    order by i.id limit 1;
    new.product_name := asked.product;
    new.product_category := category_of(new.merchant, asked.product);
    new.is_recurring := coalesce(lower(new.source) = 'recurring', false) or new.subscription_ref is not null
        or asked.subscription_ref is not null;
    return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.classify_payments_of_invoice()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    product text := product_of_lines(new.lines);
    category text;
begin
    perform lock_name(new.gateway, new.account, 'invoice of payments', new.gateway_id);
    if not exists (
        select from payments p
        where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
    ) then
        return null;
    end if;
    category := category_of(new.merchant, product);
    update payments p set
        product_name = product, product_category = category,
        is_recurring = coalesce(lower(p.source) = 'recurring', false) or p.subscription_ref is not null
            or new.subscription_ref is not null
    where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
      and p.merchant = new.merchant
      and (p.product_name, p.product_category, p.is_recurring) is distinct from (
          product, category, coalesce(lower(p.source) = 'recurring', false) or p.subscription_ref is not null
              or new.subscription_ref is not null);
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.confirm_event(p_job_id bigint, p_confirms boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    event_row bigint := (select webhook_event_id from jobs where id = p_job_id);
begin
    if not p_confirms then
        update webhook_events set reason = 'not confirmed: the gateway says otherwise'
        where id = event_row and confirmed_at is null and status = 'applied';
        return '[]';
    end if;
    update webhook_events set confirmed_at = now(), reason = null
    where id = event_row and confirmed_at is null and status = 'applied';
    if not found then
        return '[]';
    end if;
    update app_transactions t
    set status = p.status, amount_minor = coalesce(p.amount_minor, t.amount_minor),
        currency = coalesce(p.currency, t.currency)
    from payments p
    where t.webhook_event_id = event_row and p.id = t.payment_id
      and (t.status, t.amount_minor, t.currency) is distinct from (p.status, p.amount_minor, p.currency);
    return write_forwards(event_row);
end
$function$;

CREATE OR REPLACE FUNCTION public.count_membership()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op <> 'INSERT' then
        insert into membership_counts (merchant, category, status, livemode, memberships, missed)
        values (old.merchant, old.category, old.status, old.livemode, -1, -(old.renewal_missed_at is not null)::integer);
    end if;
    if tg_op <> 'DELETE' then
        insert into membership_counts (merchant, category, status, livemode, memberships, missed)
        values (new.merchant, new.category, new.status, new.livemode, 1, (new.renewal_missed_at is not null)::integer);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.create_order(p_order jsonb, p_customer jsonb, p_items jsonb, p_prefix text, p_zone text, p_at timestamp with time zone, p_idempotency_key text, p_content_hash text, OUT order_id bigint, OUT is_new boolean)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    said orders := jsonb_populate_record(null::orders, p_order);
    held orders;
    wrong record;
    broken text;
begin
    if p_idempotency_key is not null then
        perform pg_advisory_xact_lock(hashtextextended(merchant_now || '/order key/' || p_idempotency_key, 0));
        select * into held from orders where merchant = merchant_now and idempotency_key = p_idempotency_key;
        if held.id is not null and held.content_hash is distinct from p_content_hash then
            raise exception using errcode = 'GH004',
                message = 'the idempotency key was used for order ' || held.number || ', which has another content';
        elsif held.id is not null then
            order_id := held.id;
            is_new := false;
            perform set_config('gatehouse.order', order_id::text, true);
            return;
        end if;
    end if;
    select 'items[' || place - 1 || '].item_type' as field, item ->> 'item_type' as item_type into wrong
    from jsonb_array_elements(p_items) with ordinality as items (item, place)
    where not exists (
        select from item_types where merchant = merchant_now and name = item ->> 'item_type')
    order by place
    limit 1;
    if found then
        perform refuse_field(wrong.field, 'there is no item type ' || coalesce(wrong.item_type, 'null'));
    end if;
    if said.reference ~ ('^' || p_prefix || '-\d{8}-\d{4,}$') then
        perform refuse_field('reference', 'has the form of an order number');
    end if;
    said.customer_id := save_customer(p_customer);
    said.number := next_order_number(merchant_now, p_prefix, (p_at at time zone p_zone)::date);
    order_id := nextval(pg_get_serial_sequence('orders', 'id'));
    is_new := true;
    perform lock_order_names(merchant_now, array[said.number, said.reference, order_id::text]);
    begin
        insert into orders (
            id, merchant, number, customer_id, livemode, event_id, event_name, event_date, currency, subtotal_minor,
            tax_minor, fee_minor, discount_minor, total_minor, reference, metadata, idempotency_key, content_hash,
            search
        ) overriding system value
        select
            order_id, merchant_now, said.number, said.customer_id, said.livemode, said.event_id, said.event_name,
            said.event_date, said.currency, said.subtotal_minor, said.tax_minor, said.fee_minor, said.discount_minor,
            said.total_minor, said.reference, said.metadata, p_idempotency_key, p_content_hash,
            search_words(merchant_now, array[said.number, said.reference] || array[
                c.email, c.first_name, c.last_name] || array(
                select t.text from jsonb_array_elements(p_items) as item,
                    lateral (values (item ->> 'attendee_name'), (item ->> 'attendee_email')) as t (text)))
        from customers c where c.id = said.customer_id;
    exception when unique_violation then
        get stacked diagnostics broken = constraint_name;
        if broken <> 'orders_reference' then
            raise;
        end if;
        perform refuse_field('reference', 'another order has it');
    end;
    insert into order_items (
        merchant, order_id, item_type, description, quantity, unit_minor, total_minor, attendee_name, attendee_email)
    select
        merchant_now, create_order.order_id, item.item_type, item.description, item.quantity, item.unit_minor,
        item.total_minor, item.attendee_name, item.attendee_email
    from jsonb_array_elements(p_items) with ordinality as items (value, place),
         lateral jsonb_to_record(items.value) as item (
             item_type text, description text, quantity integer, unit_minor bigint, total_minor bigint,
             attendee_name text, attendee_email text)
    order by items.place;
    perform set_config('gatehouse.order', order_id::text, true);
end
$function$;
REVOKE ALL ON FUNCTION create_order(jsonb,jsonb,jsonb,text,text,timestamp with time zone,text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION create_order(jsonb,jsonb,jsonb,text,text,timestamp with time zone,text,text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.customer_of(p_merchant text, p_email text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    found_id bigint;
begin
    select id into found_id from customers where merchant = p_merchant and email_key = lower(p_email);
    if found_id is null then
        insert into customers (merchant, email) values (p_merchant, p_email)
        on conflict (merchant, email_key) where email_key is not null do nothing
        returning id into found_id;
    end if;
    if found_id is null then  -- another transaction was quicker
        select id into found_id from customers where merchant = p_merchant and email_key = lower(p_email);
    end if;
    return found_id;
end
$function$;
REVOKE ALL ON FUNCTION customer_of(text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION customer_of(text,text) TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.customers_page_with_words(p_text text, p_after_at timestamp with time zone, p_after_id bigint, p_most integer)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 20
 SET search_path TO 'public', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
declare
    merchant_now text := working_for();
    words tsquery := search_query(merchant_now, p_text);
    newest integer;
    met bigint[];
    looked_at integer;
begin
    if words is null then
        return;
    end if;
    foreach newest in array array[500, 5000] loop
        select (array_agg(id order by created_at desc, id desc) filter (where search @@ words))[:p_most], count(*)
        into met, looked_at
        from (
            select c.id, c.created_at, c.search from customers c
            where c.merchant = merchant_now and (p_after_id is null or (c.created_at, c.id) < (p_after_at, p_after_id))
            order by c.created_at desc, c.id desc
            limit newest
        ) as looked_through;
        if coalesce(cardinality(met), 0) >= p_most or looked_at < newest then
            return query select unnest(met);
            return;
        end if;
        exit when coalesce(cardinality(met), 0) < 3;
    end loop;
    return query
        with worded as materialized (
            select c.id, c.created_at from customers c
            where c.search @@ words and c.merchant = merchant_now
              and (p_after_id is null or (c.created_at, c.id) < (p_after_at, p_after_id))
        )
        select w.id from worded w order by w.created_at desc, w.id desc limit p_most;
end
$function$;
REVOKE ALL ON FUNCTION customers_page_with_words(text,timestamp with time zone,bigint,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION customers_page_with_words(text,timestamp with time zone,bigint,integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.customers_past_retention(p_day date)
 RETURNS TABLE(merchant text, customer_id bigint, email text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select c.merchant, c.id, c.email from customers c
    where c.retain_until < p_day and c.erased_at is null
    order by c.merchant, c.id
$function$;
REVOKE ALL ON FUNCTION customers_past_retention(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION customers_past_retention(date) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.customers_with_words(p_text text)
 RETURNS TABLE(customer_id bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
begin
    return query select id from customers
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$function$;
REVOKE ALL ON FUNCTION customers_with_words(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION customers_with_words(text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drift_of_membership_counts(p_merchant text)
 RETURNS TABLE(category text, status text, livemode boolean, memberships integer, missed integer)
 LANGUAGE sql
 STABLE
AS $function$
    select category, status, livemode, sum(memberships)::integer, sum(missed)::integer
    from (
        select m.category, m.status, m.livemode, count(*) as memberships, count(m.renewal_missed_at) as missed
        from memberships m where m.merchant = p_merchant group by 1, 2, 3
        union all
        select c.category, c.status, c.livemode, -sum(c.memberships), -sum(c.missed)
        from membership_counts c where c.merchant = p_merchant group by 1, 2, 3
    ) as both_sides
    group by 1, 2, 3
    having sum(memberships) <> 0 or sum(missed) <> 0
$function$;
REVOKE ALL ON FUNCTION drift_of_membership_counts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drift_of_membership_counts(text) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drift_of_totals(p_since timestamp with time zone, p_until timestamp with time zone, p_levels text[])
 RETURNS SETOF totals
 LANGUAGE sql
 STABLE
AS $function$
    select merchant, livemode, breakdown, level, bucket, currency, value, detail,
        total_sum(payments), total_sum(amount_minor), total_sum(succeeded), total_sum(failed), total_sum(cancelled),
        total_sum(duration_ms), total_sum(sales), total_sum(gross_minor), total_sum(fee_minor),
        total_sum(unknown_fees), total_sum(unknown_fee_gross_minor), total_sum(sales_refunded),
        total_sum(sales_refunded_minor), total_sum(sales_disputed), total_sum(refunds), total_sum(refund_minor),
        total_sum(other_fee_minor), total_sum(disputes), total_sum(dispute_minor), total_sum(disputes_lost),
        total_sum(lost_minor), total_sum(held_minor), total_sum(orders), total_sum(ordered_minor),
        total_sum(paid_minor), total_sum(returned_minor), total_sum(tax_minor), total_sum(order_fee_minor),
        total_sum(discount_minor), total_sum(quantity), total_sum(sold_quantity), total_sum(sold_minor)
    from (
        select scope as merchant, e.livemode, breakdown, level, total_bucket(level, e.bucket) as bucket, e.currency,
            value, detail,
            e.payments, e.amount_minor, e.succeeded, e.failed, e.cancelled, e.duration_ms, e.sales, e.gross_minor,
            e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.sales_refunded, e.sales_refunded_minor,
            e.sales_disputed, e.refunds, e.refund_minor, e.other_fee_minor, e.disputes, e.dispute_minor,
            e.disputes_lost, e.lost_minor, e.held_minor, e.orders, e.ordered_minor, e.paid_minor, e.returned_minor,
            e.tax_minor, e.order_fee_minor, e.discount_minor, e.quantity, e.sold_quantity, e.sold_minor
        from total_entries as e
        cross join lateral (values
            ('gateway', e.gateway, ''), ('app', e.app, ''), ('method', e.method, ''), ('category', e.category, ''),
            ('failure', e.failure, e.gateway), ('duration', e.duration_bin::text, e.gateway),
            ('order', e.order_status, e.event_id), ('item', nullif(e.part, ''), e.event_id)
        ) as told (breakdown, value, detail)
        cross join lateral (values (e.merchant), ('*')) as whose (scope)
        cross join (values ('quarter'), ('hour'), ('six_hours'), ('day'), ('month')) as levels (level)
        where value is not null and is_kept(breakdown, level, scope)
          and e.bucket >= p_since and e.bucket < p_until and level = any (p_levels) and level <> 'month'
        union all
        select merchant, livemode, breakdown, 'month', total_bucket('month', bucket), currency, value, detail,
            payments, amount_minor, succeeded, failed, cancelled, duration_ms, sales, gross_minor, fee_minor,
            unknown_fees, unknown_fee_gross_minor, sales_refunded, sales_refunded_minor, sales_disputed, refunds,
            refund_minor, other_fee_minor, disputes, dispute_minor, disputes_lost, lost_minor, held_minor, orders,
            ordered_minor, paid_minor, returned_minor, tax_minor, order_fee_minor, discount_minor, quantity,
            sold_quantity, sold_minor
        from totals
        where level = 'day' and 'month' = any (p_levels) and bucket >= p_since and bucket < p_until
        union all
        select merchant, livemode, breakdown, level, bucket, currency, value, detail,
            -payments, -amount_minor, -succeeded, -failed, -cancelled, -duration_ms, -sales, -gross_minor, -fee_minor,
            -unknown_fees, -unknown_fee_gross_minor, -sales_refunded, -sales_refunded_minor, -sales_disputed,
            -refunds, -refund_minor, -other_fee_minor, -disputes, -dispute_minor, -disputes_lost, -lost_minor,
            -held_minor, -orders, -ordered_minor, -paid_minor, -returned_minor, -tax_minor, -order_fee_minor,
            -discount_minor, -quantity, -sold_quantity, -sold_minor
        from totals where level = any (p_levels) and bucket >= p_since and bucket < p_until
    ) as both_sides
    group by merchant, livemode, breakdown, level, bucket, currency, value, detail
    having total_sum(payments) <> 0
        or total_sum(amount_minor) <> 0
        or total_sum(succeeded) <> 0
        or total_sum(failed) <> 0
        or total_sum(cancelled) <> 0
        or total_sum(duration_ms) <> 0
        or total_sum(sales) <> 0
        or total_sum(gross_minor) <> 0
        or total_sum(fee_minor) <> 0
        or total_sum(unknown_fees) <> 0
        or total_sum(unknown_fee_gross_minor) <> 0
        or total_sum(sales_refunded) <> 0
        or total_sum(sales_refunded_minor) <> 0
        or total_sum(sales_disputed) <> 0
        or total_sum(refunds) <> 0
        or total_sum(refund_minor) <> 0
        or total_sum(other_fee_minor) <> 0
        or total_sum(disputes) <> 0
        or total_sum(dispute_minor) <> 0
        or total_sum(disputes_lost) <> 0
        or total_sum(lost_minor) <> 0
        or total_sum(held_minor) <> 0
        or total_sum(orders) <> 0
        or total_sum(ordered_minor) <> 0
        or total_sum(paid_minor) <> 0
        or total_sum(returned_minor) <> 0
        or total_sum(tax_minor) <> 0
        or total_sum(order_fee_minor) <> 0
        or total_sum(discount_minor) <> 0
        or total_sum(quantity) <> 0
        or total_sum(sold_quantity) <> 0
        or total_sum(sold_minor) <> 0
$function$;

CREATE OR REPLACE FUNCTION public.drifted_orders(p_from bigint, p_to bigint)
 RETURNS TABLE(order_id bigint, merchant text)
 LANGUAGE sql
 STABLE
AS $function$
    with asked as (
        select array(select id from orders where id >= p_from and id < p_to) as orders
    ), fresh as (
        select e from asked, total_entries_of('{}', '{}', '{}', asked.orders) as e
    ), held as (
        select e from asked, total_entries as e where e.source = 'order' and e.source_id = any (asked.orders)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct o.id, o.merchant from different join orders o on o.id = (different.e).source_id
    where o.id not in (select source_id from total_marks where source = 'order')
$function$;

CREATE OR REPLACE FUNCTION public.drifted_orphans()
 RETURNS TABLE(source text, source_id bigint, merchant text)
 LANGUAGE sql
 STABLE
AS $function$
    with family as (
        select array(select id from refunds where payment_id is null) as refunds,
            array(select id from disputes where payment_id is null) as disputes
    ), fresh as (
        select e from family, total_entries_of('{}', family.refunds, family.disputes, '{}') as e
    ), held as (
        select e from total_entries as e
        where e.source = 'refund' and not exists (
            select from refunds r where r.id = e.source_id and r.payment_id is not null)
        union all
        select e from total_entries as e
        where e.source = 'dispute' and not exists (
            select from disputes d where d.id = e.source_id and d.payment_id is not null)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct (e).source, (e).source_id, (e).merchant from different
    where not exists (
        select from total_marks m where m.source = (different.e).source and m.source_id = (different.e).source_id)
$function$;

CREATE OR REPLACE FUNCTION public.drifted_payments(p_from bigint, p_to bigint)
 RETURNS TABLE(payment_id bigint, merchant text)
 LANGUAGE sql
 STABLE
AS $function$
    with asked as (
        select array(select id from payments where id >= p_from and id < p_to) as payments
    ), family as (
        select asked.payments,
            array(select r.id from refunds r where r.payment_id = any (asked.payments)) as refunds,
            array(select d.id from disputes d where d.payment_id = any (asked.payments)) as disputes
        from asked
    ), marked as (
        select source_id as id from total_marks where source = 'payment'
        union
        select r.payment_id from total_marks m join refunds r on r.id = m.source_id where m.source = 'refund'
        union
        select d.payment_id from total_marks m join disputes d on d.id = m.source_id where m.source = 'dispute'
    ), fresh as (
        select e from family, total_entries_of(family.payments, family.refunds, family.disputes, '{}') as e
    ), held as (
        select e from family, total_entries as e where e.source = 'payment' and e.source_id = any (family.payments)
        union all
        select e from family, total_entries as e where e.source = 'refund' and e.source_id = any (family.refunds)
        union all
        select e from family, total_entries as e where e.source = 'dispute' and e.source_id = any (family.disputes)
    ), different as (
        (select e from fresh except all select e from held)
        union all
        (select e from held except all select e from fresh)
    )
    select distinct p.id, p.merchant
    from different
    join payments p on p.id = case (different.e).source
        when 'payment' then (different.e).source_id
        when 'refund' then (select r.payment_id from refunds r where r.id = (different.e).source_id)
        else (select d.payment_id from disputes d where d.id = (different.e).source_id) end
    where p.id not in (select id from marked where id is not null)
$function$;

CREATE OR REPLACE FUNCTION public.drop_joined_away(p_kind text, p_ids bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    gone bigint[] := array(
        select away.id from unnest(p_ids) as away (id)
        where not exists (select from facts f where f.kind = p_kind and f.subject_id = away.id));
begin
    case p_kind
        when 'customer' then delete from gateway_customers where id = any (gone);
        when 'subscription' then delete from subscriptions where id = any (gone);
        when 'invoice' then delete from invoices where id = any (gone);
        when 'refund' then delete from refunds where id = any (gone);
        when 'dispute' then delete from disputes where id = any (gone);
        when 'payout' then delete from payouts where id = any (gone);
    end case;
end
$function$;
REVOKE ALL ON FUNCTION drop_joined_away(text,bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_joined_away(text,bigint[]) TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drop_old_admin_changes(p_days integer, p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    dropped integer;
begin
    if p_days < 365 then
        raise exception using errcode = '22023', message = 'changes are kept for a year at least';
    end if;
    perform set_config('gatehouse.retention', 'admin_changes', true);
    delete from admin_changes where id in (
        select id from admin_changes where at < now() - make_interval(days => p_days) order by at limit p_most);
    get diagnostics dropped = row_count;
    perform set_config('gatehouse.retention', '', true);
    return dropped;
end
$function$;
REVOKE ALL ON FUNCTION drop_old_admin_changes(integer,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_admin_changes(integer,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drop_old_answers(p_days integer, p_dry_run boolean)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    before timestamptz := now() - make_interval(days => p_days);
    found bigint;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'answers are kept for a day at least';
    end if;
    if p_dry_run then
        select count(*) into found from gateway_answers where answered_at < before;
    else
        delete from gateway_answers where answered_at < before;
        get diagnostics found = row_count;
    end if;
    return found;
end
$function$;
REVOKE ALL ON FUNCTION drop_old_answers(integer,boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_answers(integer,boolean) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drop_old_health_reads(p_days integer, p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    dropped integer;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'reads are kept for a day at least';
    end if;
    delete from health_data_reads where id in (
        select id from health_data_reads where at < now() - make_interval(days => p_days) order by at limit p_most);
    get diagnostics dropped = row_count;
    return dropped;
end
$function$;
REVOKE ALL ON FUNCTION drop_old_health_reads(integer,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_health_reads(integer,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.drop_old_payloads(p_days integer, p_dry_run boolean)
 RETURNS TABLE(partition text, payloads bigint, oldest date)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '1s'
AS $function$
declare
    before timestamptz := now() - make_interval(days => p_days);
    month date;
begin
    if p_days < 1 then
        raise exception using errcode = '22023', message = 'payloads are kept for a day at least';
    end if;
    for partition, month in
        select c.relname, to_date(right(c.relname, 7), 'YYYY_MM')
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'webhook_payloads'::regclass and c.relname ~ '^webhook_payloads_\d{4}_\d{2}$'
        order by c.relname
    loop
        continue when (month + interval '1 month') at time zone 'utc' > before;
        select greatest(reltuples, 0)::bigint into payloads from pg_class where oid = to_regclass(partition);
        oldest := month;
        if not p_dry_run then
            execute format('drop table %I', partition);
        end if;
        return next;
    end loop;
    partition := 'webhook_payloads_default';
    select count(*), min(received_at)::date into payloads, oldest
    from webhook_payloads_default where received_at < before;
    if payloads > 0 then
        if not p_dry_run then
            delete from webhook_payloads_default where received_at < before;
        end if;
        return next;
    end if;
end
$function$;
REVOKE ALL ON FUNCTION drop_old_payloads(integer,boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_payloads(integer,boolean) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.enter_tenant(p_tenant text, p_subject text, p_is_query boolean)
 RETURNS TABLE(answer text, role text, full_window text, wait_seconds integer, reason text)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := nullif(current_setting('gatehouse.merchant', true), '');
    entered platform_tenants;
    moment timestamptz := clock_timestamp();
    chosen smallint := floor(random() * 8)::smallint;
    today date := (moment at time zone 'UTC')::date;
    in_minute bigint;
    in_hour bigint;
    in_day bigint;
begin
    -- For this statement's own transaction: what it counts need not survive a crash, and the caller waits for it.
    perform set_config('synchronous_commit', 'off', true);
    select * into entered from platform_tenants t where t.id = p_tenant and t.merchant = merchant_now;
    role := case when p_subject = '*' then 'owner' else (
        select p.role from tenant_permissions p where p.tenant_id = p_tenant and p.subject = p_subject) end;
    if entered.id is null or role is null then
        answer := 'missing';
        return next;
        return;
    end if;
    answer := 'ok';
    if p_is_query then
        select 'closed', e.reason into answer, reason from tenant_endpoints e
        where e.engine = entered.engine and not e.is_open;
        answer := coalesce(answer, 'ok');
        select coalesce(sum(w.requests) filter (where w.kind = 'minute'), 0),
            coalesce(sum(w.requests) filter (where w.kind = 'hour'), 0)
        into in_minute, in_hour
        from tenant_windows w
        where w.tenant_id = p_tenant
          and (w.kind, w.starts_at) in (
              ('minute', date_trunc('minute', moment, 'UTC')), ('hour', date_trunc('hour', moment, 'UTC')));
        select coalesce(sum(u.query_executions), 0) into in_day from tenant_usage_slots u
        where u.tenant_id = p_tenant and u.date = today;
        full_window := case
            when in_day >= entered.max_requests_per_day then 'day'
            when in_hour >= entered.max_requests_per_hour then 'hour'
            when in_minute >= entered.max_requests_per_minute then 'minute'
        end;
        if answer = 'ok' and full_window is not null then
            answer := 'limited';
            wait_seconds := ceil(extract(epoch from
                date_trunc(full_window, moment, 'UTC') + ('1 ' || full_window)::interval - moment));
        end if;
    end if;
    if answer = 'ok' and p_is_query then
        insert into tenant_windows as w (tenant_id, kind, starts_at, slot, requests)
        values (p_tenant, 'minute', date_trunc('minute', moment, 'UTC'), chosen, 1),
            (p_tenant, 'hour', date_trunc('hour', moment, 'UTC'), chosen, 1)
        on conflict on constraint tenant_windows_pkey do update set requests = w.requests + 1;
    end if;
    insert into tenant_usage_slots as u (tenant_id, merchant, date, slot, api_requests, query_executions)
    values (p_tenant, entered.merchant, today, chosen, 1, (p_is_query and answer = 'ok')::integer)
    on conflict on constraint tenant_usage_slots_pkey do update
        set api_requests = u.api_requests + 1, query_executions = u.query_executions + excluded.query_executions;
    return next;
end
$function$;
REVOKE ALL ON FUNCTION enter_tenant(text,text,boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION enter_tenant(text,text,boolean) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.erase_answers()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    update api_answers a set body = null
    where a.merchant = new.merchant and exists (
        select from (
            select jsonb_path_query(a.body, '$.**.email') as said
            union
            select jsonb_path_query(a.body, '$.**.attendee_email')
        ) as addresses
        where jsonb_typeof(said) = 'string' and erasure_hash(lower(said #>> '{}')) = new.said_hash);
    update api_answers a set body = a.body || '{"reason": null}' where a.merchant = new.merchant and a.body ? 'reason';
    return null;
end
$function$;
REVOKE ALL ON FUNCTION erase_answers() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_customer(p_email text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    key_now text := lower(p_email);
    in_json text := trim(both '"' from to_json(lower(p_email))::text);
    as_pattern text := address_pattern(lower(p_email));
    customer bigint;
    their_orders bigint[];
    theirs jsonb;
    of_kind record;
    part record;
    events bigint[];
    changed bigint;
    done jsonb := '{}';
begin
    select id into customer from customers where merchant = merchant_now and email_key = key_now for no key update;
    -- As a recording does: the payments first, and then the address, which no recording gets past until we are done.
    perform from payments
    where id in (select id from subjects_of_person(merchant_now, key_now, customer) where kind = 'payment')
    order by id for update;
    perform pg_advisory_xact_lock(hashtextextended(merchant_now || '/erasure/' || key_now, 0));
    select id into customer from customers where merchant = merchant_now and email_key = key_now;
    their_orders := array(select id from orders where customer_id = customer);
    select coalesce(jsonb_object_agg(kind, ids), '{}') into theirs
    from (
        select kind, jsonb_agg(id order by id) as ids
        from subjects_of_person(merchant_now, key_now, customer) group by kind
    ) as found;

    insert into erased_customers (merchant, what, said_hash) values (merchant_now, 'email', erasure_hash(key_now))
    on conflict (merchant, what, said_hash) do update set erased_at = now();
    insert into erased_customers (merchant, what, said_hash)
    select merchant_now, 'customer_ref', erasure_hash(concat_ws('/', gateway, account, ref))
    from (
        select gateway, account, gateway_id as ref from gateway_customers
        where id in (select jsonb_array_elements_text(theirs -> 'customer')::bigint)
        union
        select gateway, account, customer_ref from payments
        where id in (select jsonb_array_elements_text(theirs -> 'payment')::bigint) and customer_ref is not null
    ) as refs
    on conflict (merchant, what, said_hash) do update set erased_at = now();

    events := events_of_person(merchant_now, theirs);
    delete from webhook_payloads where webhook_event_id = any (events);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('webhook_payloads', changed);

    update facts f set words = without_personal_words(f.kind, f.words)
    from jsonb_each(theirs) as kinds, jsonb_array_elements_text(kinds.value) as one
    where f.kind = kinds.key and f.subject_id = one::bigint
      and f.words is distinct from without_personal_words(f.kind, f.words);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('facts', changed);

    for of_kind in
        select key as kind, array(select jsonb_array_elements_text(value)::bigint) as ids from jsonb_each(theirs)
    loop
        if of_kind.kind = 'payment' then
            perform fold_payments(of_kind.ids);
        else
            perform fold_subjects(of_kind.kind, of_kind.ids);
        end if;
        done := done || jsonb_build_object(
            case of_kind.kind when 'customer' then 'gateway_customers' else of_kind.kind || 's' end,
            cardinality(of_kind.ids));
    end loop;
    -- What was joined away has no facts any more, and keeps what it last said.
    update payments set email = null, user_id = null, metadata = null, failure_message = null, reference = null
    where merged_into in (select jsonb_array_elements_text(theirs -> 'payment')::bigint)
      and num_nonnulls(email, user_id, metadata, failure_message, reference) > 0;
    -- Known from elsewhere: a payment takes its user from the customer or the subscription.
    update payments set user_id = null where merchant = merchant_now and lower(user_id) = key_now;

    update customers set
        email = null, first_name = null, last_name = null, phone = null, consent_at = null, consent_scope = null,
        retain_until = null, erased_at = now(), version = version + 1, updated_at = now()
    where id = customer;
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('customers', changed);
    update orders set
        metadata = without_personal_words('order', jsonb_build_object('metadata', metadata)) -> 'metadata',
        reference = case when reference not like '%@%' then reference end, content_hash = null,
        idempotency_key = key_without_address(idempotency_key, key_now),
        version = version + 1, updated_at = now()
    where id = any (their_orders);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('orders', changed);
    update order_items set attendee_name = null, attendee_email = null
    where (merchant = merchant_now and attendee_email_key = key_now)
        or (order_id = any (their_orders) and attendee_email is null and attendee_name is not null);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('order_items', changed);
    update app_transactions set
        user_id = case when lower(user_id) <> key_now then user_id end,
        reference = case when reference not like '%@%' then reference end
    where merchant = merchant_now and (lower(user_id) = key_now or lower(reference) = key_now);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('app_transactions', changed);
    -- Work that waits, or was given up and may be taken up again, and what was left by events of theirs.
    update jobs set
        arguments = regexp_replace(arguments::text, as_pattern, 'erased', 'gi')::jsonb,
        last_error = regexp_replace(last_error, as_pattern, 'erased', 'gi')
    where merchant = merchant_now
      and (status in ('waiting', 'leased') or status = 'dead' or webhook_event_id = any (events))
      and (position(in_json in lower(arguments::text)) > 0 or position(key_now in lower(last_error)) > 0);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('jobs', changed);
    delete from rejected_requests
    where position(in_json in lower(headers::text)) > 0 or says_address(headers::text || ' ' || reason, key_now);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('rejected_requests', changed);
    for part in
        select proname, substr(proname, length('erase_person_in_') + 1) as table_name from pg_proc
        where pronamespace = 'public'::regnamespace and starts_with(proname, 'erase_person_in_') order by proname
    loop
        execute format('select %I($1, $2, $3, $4, $5)', part.proname) into changed
        using merchant_now, key_now, customer, theirs, events;
        done := done || jsonb_build_object(part.table_name, changed);
    end loop;
    return done;
end
$function$;
REVOKE ALL ON FUNCTION erase_customer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_customer(text) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.erase_named_customer(p_gateway text, p_account text, p_ref text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    address text;
    addresses text[];
    done jsonb := '{}';
begin
    perform set_config('gatehouse.person', jsonb_build_object(
        'gateway', p_gateway, 'account', p_account, 'ref', p_ref)::text, true);
    -- No address is there to lock: what is recorded of the account waits until we are done, or we until it is.
    perform pg_advisory_xact_lock(account_lock(p_gateway, p_account));
    addresses := array(select addresses_of_named() order by 1);
    insert into erased_customers (merchant, what, said_hash)
    select merchant_now, 'customer_ref', erasure_hash(concat_ws('/', each.called, names.gateway, names.account, names.ref))
    from (
        select gateway, account, ref from person_named()
        union
        select g.gateway, g.account, g.gateway_id
        from subjects_of_person(merchant_now, '', null) as theirs
        join gateway_customers g on theirs.kind = 'customer' and g.id = theirs.id
        union
        select p.gateway, p.account, p.customer_ref
        from subjects_of_person(merchant_now, '', null) as theirs
        join payments p on theirs.kind = 'payment' and p.id = theirs.id
        where p.customer_ref is not null
    ) as names
    cross join (values (null), ('by name')) as each (called)
    on conflict (merchant, what, said_hash) do update set erased_at = now();
    foreach address in array addresses loop
        select coalesce(jsonb_object_agg(coalesce(a.key, b.key),
            coalesce(a.value::text::bigint, 0) + coalesce(b.value::text::bigint, 0)), '{}') into done
        from jsonb_each(done) as a full join jsonb_each(erase_customer(address)) as b using (key);
    end loop;
    perform set_config('gatehouse.person', '', true);
    return done;
end
$function$;
REVOKE ALL ON FUNCTION erase_named_customer(text,text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_named_customer(text,text,text) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.erase_notes_of_memberships()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    update memberships m set
        name = null, email = null, referral_source = null, fulfillment_type = null, google_review_submitted = false,
        status_reason = null, version = m.version + 1, updated_at = now()
    where m.merchant = new.merchant and new.said_hash = erasure_hash(case new.what
        when 'email' then lower(m.email) else concat_ws('/', m.gateway, m.account, m.customer_ref) end);
    return null;
end
$function$;
REVOKE ALL ON FUNCTION erase_notes_of_memberships() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_one_past_retention(OUT merchant text, OUT customer_id bigint)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    due customers;
begin
    select * into due from customers c
    where c.retain_until < (now() at time zone 'UTC')::date and c.erased_at is null
    order by c.retain_until, c.id
    limit 1
    for no key update skip locked;
    if due.id is null then
        return;
    end if;
    perform set_config('gatehouse.merchant', due.merchant, true), set_config('gatehouse.actor', 'retention', true);
    perform erase_customer(due.email);
    merchant := due.merchant;
    customer_id := due.id;
end
$function$;
REVOKE ALL ON FUNCTION erase_one_past_retention() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_one_past_retention() TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.erase_payloads(p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    gone bigint;
begin
    delete from webhook_payloads where merchant = working_for() and webhook_event_id = any (p_events);
    get diagnostics gone = row_count;
    return gone;
end
$function$;
REVOKE ALL ON FUNCTION erase_payloads(bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_payloads(bigint[]) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.erase_person_in_api_answers(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    changed bigint;
begin
    update api_answers set body = null, idempotency_key = key_without_address(idempotency_key, p_email_key)
    where merchant = p_merchant
      and (says_address(body::text, p_email_key) or says_address(idempotency_key, p_email_key));
    get diagnostics changed = row_count;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_api_answers(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_person_in_gateway_answers(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    erased bigint;
begin
    delete from gateway_answers a using names_of_person(p_theirs) n
    where a.gateway = n.gateway and a.account = n.account and a.kind = n.kind and a.object_id = n.object_id
      and a.merchant = p_merchant;
    get diagnostics erased = row_count;
    return erased;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_gateway_answers(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_person_in_redrives(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    changed bigint;
begin
    update redrives set filters = without_address(filters::text, p_email_key)::jsonb
    where merchant = p_merchant and says_address(filters::text, p_email_key);
    get diagnostics changed = row_count;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_redrives(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_person_in_refund_requests(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    changed bigint;
begin
    update refund_requests set
        reason = null, failure = null, idempotency_key = key_without_address(idempotency_key, p_email_key)
    where merchant = p_merchant and payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
      and (num_nonnulls(reason, failure) > 0 or says_address(idempotency_key, p_email_key));
    get diagnostics changed = row_count;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_refund_requests(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_person_in_webhook_events(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    changed bigint;
begin
    update webhook_events set
        reason = without_address(reason, p_email_key), reference = case when reference not like '%@%' then reference end
    where merchant = p_merchant and id = any (p_events)
      and (reference like '%@%' or says_address(reason, p_email_key));
    get diagnostics changed = row_count;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_webhook_events(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_person_in_webhook_forward_logs(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    changed bigint;
begin
    update webhook_forward_logs set
        error_message = null, target_url = without_address(target_url, p_email_key),
        reference = case when reference not like '%@%' then reference end
    where merchant = p_merchant and id in (
        select id from webhook_forward_logs where webhook_event_id = any (p_events)
        union
        select id from webhook_forward_logs where reference = p_email_key)
      and (error_message is not null or reference like '%@%' or says_address(target_url, p_email_key));
    get diagnostics changed = row_count;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION erase_person_in_webhook_forward_logs(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erase_tenant_billing()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    update platform_tenants t set billing_email = null
    where t.merchant = new.merchant and erasure_hash(lower(t.billing_email)) = new.said_hash;
    return null;
end
$function$;
REVOKE ALL ON FUNCTION erase_tenant_billing() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.erasure_hash(p_said text)
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select encode(sha256(key || sha256(key || convert_to('erased ' || p_said, 'UTF8'))), 'hex') from audit_hash_key
$function$;
REVOKE ALL ON FUNCTION erasure_hash(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.events_of_person(p_merchant text, p_theirs jsonb)
 RETURNS bigint[]
 LANGUAGE sql
 STABLE
AS $function$
    select array(
        select f.webhook_event_id
        from jsonb_each(p_theirs) as kinds cross join lateral jsonb_array_elements_text(kinds.value) as one
        join facts f on f.kind = kinds.key and f.subject_id = one::bigint
        where f.webhook_event_id is not null
        union
        select e.id from payment_objects po join webhook_events e on e.reference = po.object_id
        where po.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
          and e.merchant = p_merchant and e.gateway = po.gateway and e.account = po.account)
$function$;

CREATE OR REPLACE FUNCTION public.export_customer(p_email text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    key_now text := lower(p_email);
    customer customers;
    found_ids jsonb;
    events bigint[];
    part record;
    rows_there jsonb;
    others jsonb := '{}';
begin
    select * into customer from customers where merchant = merchant_now and email_key = key_now;
    select coalesce(jsonb_object_agg(kind, ids), '{}') into found_ids
    from (
        select kind, jsonb_agg(id order by id) as ids
        from subjects_of_person(merchant_now, key_now, customer.id) group by kind
    ) as found;
    events := events_of_person(merchant_now, found_ids);
    for part in
        select proname, substr(proname, length('export_person_in_') + 1) as table_name from pg_proc
        where pronamespace = 'public'::regnamespace and starts_with(proname, 'export_person_in_') order by proname
    loop
        execute format('select %I($1, $2, $3, $4, $5)', part.proname) into rows_there
        using merchant_now, key_now, customer.id, found_ids, events;
        others := others || jsonb_build_object(part.table_name, coalesce(rows_there, '[]'));
    end loop;
    return others || jsonb_build_object(
        'customer', case when customer.id is not null then to_jsonb(customer) - array['search', 'email_key'] end,
        'orders', (
            select coalesce(jsonb_agg(to_jsonb(o) - array['search', 'content_hash'] || jsonb_build_object('items', (
                select jsonb_agg(to_jsonb(i) - 'attendee_email_key' order by i.id)
                from order_items i where i.order_id = o.id)) order by o.id), '[]')
            from orders o where o.customer_id = customer.id),
        'attended_items', (
            select coalesce(jsonb_agg(to_jsonb(i) - 'attendee_email_key' order by i.id), '[]')
            from order_items i where i.merchant = merchant_now and i.attendee_email_key = key_now),
        'gateway_customers', (
            select coalesce(jsonb_agg(to_jsonb(g) order by g.id), '[]') from gateway_customers g
            where g.id in (select jsonb_array_elements_text(found_ids -> 'customer')::bigint)),
        'payments', (
            select coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object('objects', (
                select jsonb_agg(jsonb_build_object('kind', po.kind, 'id', po.object_id) order by po.kind, po.object_id)
                from payment_objects po where po.payment_id = p.id)) order by p.id), '[]')
            from payments p where p.id in (select jsonb_array_elements_text(found_ids -> 'payment')::bigint)),
        'refunds', (
            select coalesce(jsonb_agg(to_jsonb(r) order by r.id), '[]') from refunds r
            where r.id in (select jsonb_array_elements_text(found_ids -> 'refund')::bigint)),
        'disputes', (
            select coalesce(jsonb_agg(to_jsonb(d) order by d.id), '[]') from disputes d
            where d.id in (select jsonb_array_elements_text(found_ids -> 'dispute')::bigint)),
        'subscriptions', (
            select coalesce(jsonb_agg(to_jsonb(s) order by s.id), '[]') from subscriptions s
            where s.id in (select jsonb_array_elements_text(found_ids -> 'subscription')::bigint)),
        'invoices', (
            select coalesce(jsonb_agg(to_jsonb(i) order by i.id), '[]') from invoices i
            where i.id in (select jsonb_array_elements_text(found_ids -> 'invoice')::bigint)),
        'payouts', (
            select coalesce(jsonb_agg(to_jsonb(o) order by o.id), '[]') from payouts o
            where o.id in (select jsonb_array_elements_text(found_ids -> 'payout')::bigint)),
        'told', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'kind', f.kind, 'gateway', f.gateway, 'said_by', f.said_by, 'occurred_at', f.occurred_at,
                'received_at', f.received_at, 'words', f.words) order by f.id), '[]')
            from jsonb_each(found_ids) as of_kind
            cross join lateral jsonb_array_elements_text(of_kind.value) as one
            join facts f on f.kind = of_kind.key and f.subject_id = one::bigint)
    );
end
$function$;
REVOKE ALL ON FUNCTION export_customer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION export_customer(text) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.export_named_customer(p_gateway text, p_account text, p_ref text)
 RETURNS SETOF jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    address text;
begin
    perform set_config('gatehouse.person', jsonb_build_object(
        'gateway', p_gateway, 'account', p_account, 'ref', p_ref)::text, true);
    for address in select addresses_of_named() order by 1 loop
        return next export_customer(address) || jsonb_build_object('memberships', memberships_of_person(address));
    end loop;
    perform set_config('gatehouse.person', '', true);
end
$function$;
REVOKE ALL ON FUNCTION export_named_customer(text,text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION export_named_customer(text,text,text) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.export_person_in_api_answers(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(jsonb_build_object('at', a.created_at, 'status', a.status, 'body', a.body) order by a.created_at)
    from api_answers a
    where a.merchant = p_merchant and says_address(a.body::text, p_email_key)
$function$;
REVOKE ALL ON FUNCTION export_person_in_api_answers(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_app_transactions(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(to_jsonb(t) order by t.created_at, t.webhook_event_id) from app_transactions t
    where t.merchant = p_merchant and t.webhook_event_id = any (p_events)
$function$;
REVOKE ALL ON FUNCTION export_person_in_app_transactions(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_gateway_answers(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select coalesce(jsonb_agg(
        jsonb_build_object('gateway', a.gateway, 'account', a.account, 'kind', a.kind, 'object_id', a.object_id,
            'answered_at', a.answered_at) order by a.answered_at, a.object_id), '[]')
    from gateway_answers a
    join names_of_person(p_theirs) n using (gateway, account, kind, object_id)
    where a.merchant = p_merchant
$function$;
REVOKE ALL ON FUNCTION export_person_in_gateway_answers(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_jobs(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(jsonb_build_object(
        'topic', j.topic, 'status', j.status, 'arguments', j.arguments, 'last_error', j.last_error,
        'created_at', j.created_at) order by j.id)
    from jobs j
    where j.merchant = p_merchant and j.webhook_event_id = any (p_events)
$function$;
REVOKE ALL ON FUNCTION export_person_in_jobs(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_redrives(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(to_jsonb(r) order by r.id) from redrives r
    where r.merchant = p_merchant and says_address(r.filters::text, p_email_key)
$function$;
REVOKE ALL ON FUNCTION export_person_in_redrives(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_refund_requests(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(to_jsonb(r) order by r.created_at, r.id) from refund_requests r
    where r.merchant = p_merchant and r.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
$function$;
REVOKE ALL ON FUNCTION export_person_in_refund_requests(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_webhook_events(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(to_jsonb(e) order by e.id) from webhook_events e
    where e.merchant = p_merchant and e.id = any (p_events)
$function$;
REVOKE ALL ON FUNCTION export_person_in_webhook_events(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.export_person_in_webhook_forward_logs(p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
AS $function$
    select jsonb_agg(to_jsonb(l) order by l.id) from webhook_forward_logs l
    where l.merchant = p_merchant and l.id in (
        select id from webhook_forward_logs where webhook_event_id = any (p_events)
        union
        select id from webhook_forward_logs where reference = p_email_key)
$function$;
REVOKE ALL ON FUNCTION export_person_in_webhook_forward_logs(text,text,bigint,jsonb,bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.fold_customer(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('customer', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into gateway_customers as held (
        id, merchant, gateway, account, livemode, gateway_id, email, name, phone, app, user_id, is_deleted, metadata,
        first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), word.email, word.name, word.phone, word.app, word.user_id, word.is_deleted,
        word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, email text, name text, phone text, app text, user_id text,
        is_deleted boolean, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, email = excluded.email, name = excluded.name,
        phone = excluded.phone, app = excluded.app, user_id = excluded.user_id, is_deleted = excluded.is_deleted,
        metadata = excluded.metadata, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.email, held.name, held.phone, held.app, held.user_id, held.is_deleted,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.email, excluded.name, excluded.phone, excluded.app,
        excluded.user_id, excluded.is_deleted, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning case when held.is_deleted then 'deleted' else 'known' end into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_dispute(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('dispute', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into disputes as held (
        id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor,
        reason, outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), (payments_named(told.gateway, told.account, word.payment))[1],
        coalesce(told.status, 'needs_response'), word.amount_minor, word.currency, word.fee_minor, word.reason,
        word.outcome, word.is_withdrawn, word.respond_by, word.opened_at, word.closed_at, told.first_fact_at,
        told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, amount_minor bigint, currency text, fee_minor bigint, reason text,
        outcome text, is_withdrawn boolean, respond_by timestamptz, opened_at timestamptz, closed_at timestamptz,
        payment jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, payment_id = excluded.payment_id,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reason = excluded.reason, outcome = excluded.outcome,
        is_withdrawn = excluded.is_withdrawn, respond_by = excluded.respond_by, opened_at = excluded.opened_at,
        closed_at = excluded.closed_at, first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.payment_id, held.status, held.amount_minor, held.currency,
        held.fee_minor, held.reason, held.outcome, held.is_withdrawn, held.respond_by, held.opened_at, held.closed_at,
        held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.payment_id, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reason, excluded.outcome, excluded.is_withdrawn,
        excluded.respond_by, excluded.opened_at, excluded.closed_at, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_invoice(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('invoice', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into invoices as held (
        id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, due_minor, paid_minor,
        currency, customer_ref, email, subscription_ref, attempts, next_attempt_at, issued_at, due_at, paid_at,
        period_start, period_end, description, lines, metadata, customer_name, billing_address, first_fact_at,
        last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'open'), word.number, word.total_minor, word.due_minor,
        word.paid_minor, word.currency, word.customer_ref, word.email, word.subscription_ref, word.attempts,
        word.next_attempt_at, word.issued_at, word.due_at, word.paid_at, word.period_start, word.period_end,
        word.description, word.lines, word.metadata, word.customer_name, word.billing_address, told.first_fact_at,
        told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, number text, total_minor bigint, due_minor bigint, paid_minor bigint,
        currency text, customer_ref text, email text, subscription_ref text, attempts integer,
        next_attempt_at timestamptz, issued_at timestamptz, due_at timestamptz, paid_at timestamptz,
        period_start timestamptz, period_end timestamptz, description text, lines jsonb, metadata jsonb,
        customer_name text, billing_address jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        number = excluded.number, total_minor = excluded.total_minor, due_minor = excluded.due_minor,
        paid_minor = excluded.paid_minor, currency = excluded.currency, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, attempts = excluded.attempts,
        next_attempt_at = excluded.next_attempt_at, issued_at = excluded.issued_at, due_at = excluded.due_at,
        paid_at = excluded.paid_at, period_start = excluded.period_start, period_end = excluded.period_end,
        description = excluded.description, lines = excluded.lines, metadata = excluded.metadata,
        customer_name = excluded.customer_name, billing_address = excluded.billing_address,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.number, held.total_minor, held.due_minor, held.paid_minor,
        held.currency, held.customer_ref, held.email, held.subscription_ref, held.attempts, held.next_attempt_at,
        held.issued_at, held.due_at, held.paid_at, held.period_start, held.period_end, held.description, held.lines,
        held.metadata, held.customer_name, held.billing_address, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.number, excluded.total_minor,
        excluded.due_minor, excluded.paid_minor, excluded.currency, excluded.customer_ref, excluded.email,
        excluded.subscription_ref, excluded.attempts, excluded.next_attempt_at, excluded.issued_at, excluded.due_at,
        excluded.paid_at, excluded.period_start, excluded.period_end, excluded.description, excluded.lines,
        excluded.metadata, excluded.customer_name, excluded.billing_address, excluded.first_fact_at,
        excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_payment(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told facts;
    words jsonb := '{}';
    step smallint := 0;
    first_fact_at timestamptz;
    first_received_at timestamptz;
    last_received_at timestamptz;
    completed_at timestamptz;
    refunds_known bigint;  -- all that we know of, whatever became of them
    refunds_completed bigint;
    new_status text;
begin
    -- A fact without a time says less than any with one.
    for told in
        select * from facts where kind = 'payment' and subject_id = p_id
        order by occurred_at nulls first, rank, said_by
    loop
        words := words || told.words;  -- what the newer one says lies over what the older one said
        step := greatest(step, told.rank);
        first_fact_at := least(first_fact_at, told.occurred_at);
        first_received_at := least(first_received_at, told.received_at);
        last_received_at := greatest(last_received_at, told.received_at);
        if told.words ->> 'status' = 'completed' then
            completed_at := least(
                completed_at,
                coalesce((told.words ->> 'completed_at')::timestamptz, told.occurred_at, told.received_at));
        end if;
    end loop;
    if first_received_at is null then  -- its facts have moved to the payment that it was joined with
        return null;
    end if;
    select sum(amount_minor), coalesce(sum(amount_minor) filter (where refunds.status = 'completed'), 0)
    into refunds_known, refunds_completed
    from refunds
    where payment_id = p_id and (refunds.currency = words ->> 'currency' or words ->> 'currency' is null)
      -- One that only we know of is in no total of the gateway's: it was not sent yet, or was refused.
      and exists (
          select from subject_names named
          where named.subject_kind = 'refund' and named.subject_id = refunds.id and named.kind <> 'gatehouse_refund');
    if refunds_known is not null then
        -- A total that the gateway says may hold a refund that we do not know yet, and one that has failed since.
        words := words || jsonb_build_object('refunded_minor', refunds_completed
            + greatest(coalesce((words ->> 'refunded_minor')::bigint, 0) - refunds_known, 0));
    end if;
    -- `told` is the newest of them now.
    insert into payments as held (
        id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
        fee_minor, fee_currency, method, reference, customer_ref, email, subscription_ref, invoice_ref, failure_code,
        failure_message, status_reason, app, app_from, user_id, plan, metadata, first_fact_at, last_fact_at,
        completed_at, source, surcharge_minor, invoice_number
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        -- The ladder: 1 pending, 2 processing, 3 failed, 4 cancelled, 5 completed, 6 reversed; 0 says none.
        case
            when step = 5 and word.refunded_minor > 0 and word.refunded_minor >= word.received_minor then 'refunded'
            when step = 5 and word.refunded_minor > 0 then 'partially_refunded'
            else coalesce(
                (array['pending', 'processing', 'failed', 'cancelled', 'completed', 'cancelled'])[step], 'pending')
        end,
        word.amount_minor, word.received_minor, word.refunded_minor, word.currency, word.fee_minor, word.fee_currency,
        word.method, word.reference, word.customer_ref, word.email, word.subscription_ref, word.invoice_ref,
        case when step = 3 then word.failure_code end,
        case when step = 3 then word.failure_message end,
        case when step in (4, 6) then word.status_reason end,
        linked.app, linked.app_from, linked.user_id, word.plan, word.metadata,
        coalesce(first_fact_at, first_received_at), coalesce(told.occurred_at, last_received_at), completed_at,
        word.source, word.surcharge_minor, word.invoice_number
    from jsonb_to_record(words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, email text,
        subscription_ref text, invoice_ref text, failure_code text, failure_message text, status_reason text, app text,
        user_id text, plan text, metadata jsonb, source text, surcharge_minor bigint, invoice_number text
    )
    cross join lateral app_of_payment(
        told.merchant, told.gateway, told.account, word.subscription_ref, word.customer_ref, word.plan, word.app,
        word.user_id
    ) as linked
    on conflict (id) do update set
        livemode = excluded.livemode, status = excluded.status, amount_minor = excluded.amount_minor,
        received_minor = excluded.received_minor, refunded_minor = excluded.refunded_minor,
        currency = excluded.currency, fee_minor = excluded.fee_minor, fee_currency = excluded.fee_currency,
        method = excluded.method, reference = excluded.reference, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, invoice_ref = excluded.invoice_ref,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        status_reason = excluded.status_reason, app = excluded.app, app_from = excluded.app_from,
        user_id = excluded.user_id, plan = excluded.plan, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
        completed_at = excluded.completed_at, source = excluded.source, surcharge_minor = excluded.surcharge_minor,
        invoice_number = excluded.invoice_number
    where (
        held.livemode, held.status, held.amount_minor, held.received_minor, held.refunded_minor, held.currency,
        held.fee_minor, held.fee_currency, held.method, held.reference, held.customer_ref, held.email,
        held.subscription_ref, held.invoice_ref, held.failure_code, held.failure_message, held.status_reason,
        held.app, held.app_from, held.user_id, held.plan, held.metadata, held.first_fact_at, held.last_fact_at,
        held.completed_at, held.source, held.surcharge_minor, held.invoice_number
    ) is distinct from (
        excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
        excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
        excluded.customer_ref, excluded.email, excluded.subscription_ref, excluded.invoice_ref, excluded.failure_code,
        excluded.failure_message, excluded.status_reason, excluded.app, excluded.app_from, excluded.user_id,
        excluded.plan, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at,
        excluded.source, excluded.surcharge_minor, excluded.invoice_number
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_payments(p_ids bigint[])
 RETURNS TABLE(payment_id bigint, payment_status text)
 LANGUAGE plpgsql
AS $function$
begin
    for payment_id in select distinct id from unnest(p_ids) as id order by id loop
        -- Locked before its facts are read, so that the fold sees what a neighbour has committed.
        perform from payments where id = payment_id for update;
        payment_status := fold_payment(payment_id);
        if payment_status is not null then
            return next;
        end if;
    end loop;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_payout(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('payout', p_id, true);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into payouts as held (
        id, merchant, gateway, account, livemode, gateway_id, kind, status, amount_minor, currency, fee_minor,
        reversed_minor, destination, batch_ref, reference, arrives_at, settled_at, failure_code, failure_message,
        metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), word.kind, coalesce(told.status, 'pending'), word.amount_minor, word.currency,
        word.fee_minor, word.reversed_minor, word.destination, word.batch_ref, word.reference, word.arrives_at,
        word.settled_at, case when told.status in ('failed', 'reversed') then word.failure_code end,
        case when told.status in ('failed', 'reversed') then word.failure_message end, word.metadata,
        told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, kind text, amount_minor bigint, currency text, fee_minor bigint,
        reversed_minor bigint, destination text, batch_ref text, reference text, arrives_at timestamptz,
        settled_at timestamptz, failure_code text, failure_message text, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, kind = excluded.kind,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reversed_minor = excluded.reversed_minor, destination = excluded.destination,
        batch_ref = excluded.batch_ref, reference = excluded.reference, arrives_at = excluded.arrives_at,
        settled_at = excluded.settled_at, failure_code = excluded.failure_code,
        failure_message = excluded.failure_message, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.kind, held.status, held.amount_minor, held.currency, held.fee_minor,
        held.reversed_minor, held.destination, held.batch_ref, held.reference, held.arrives_at, held.settled_at,
        held.failure_code, held.failure_message, held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.kind, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reversed_minor, excluded.destination, excluded.batch_ref,
        excluded.reference, excluded.arrives_at, excluded.settled_at, excluded.failure_code, excluded.failure_message,
        excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_refund(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('refund', p_id, true);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into refunds as held (
        id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor,
        reason, failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), (payments_named(told.gateway, told.account, word.payment))[1],
        coalesce(told.status, 'pending'), word.amount_minor, word.currency, word.fee_minor, word.reason,
        case when told.status = 'failed' then word.failure_code end,
        case when told.status = 'failed' then word.failure_message end, word.reference, word.refunded_at,
        word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, amount_minor bigint, currency text, fee_minor bigint, reason text,
        failure_code text, failure_message text, reference text, refunded_at timestamptz, metadata jsonb,
        payment jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, payment_id = excluded.payment_id,
        status = excluded.status, amount_minor = excluded.amount_minor, currency = excluded.currency,
        fee_minor = excluded.fee_minor, reason = excluded.reason, failure_code = excluded.failure_code,
        failure_message = excluded.failure_message, reference = excluded.reference,
        refunded_at = excluded.refunded_at, metadata = excluded.metadata, first_fact_at = excluded.first_fact_at,
        last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.payment_id, held.status, held.amount_minor, held.currency,
        held.fee_minor, held.reason, held.failure_code, held.failure_message, held.reference, held.refunded_at,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.payment_id, excluded.status, excluded.amount_minor,
        excluded.currency, excluded.fee_minor, excluded.reason, excluded.failure_code, excluded.failure_message,
        excluded.reference, excluded.refunded_at, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_subject(p_kind text, p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
begin
    case p_kind
        when 'customer' then return fold_customer(p_id);
        when 'subscription' then return fold_subscription(p_id);
        when 'invoice' then return fold_invoice(p_id);
        when 'refund' then return fold_refund(p_id);
        when 'dispute' then return fold_dispute(p_id);
        when 'payout' then return fold_payout(p_id);
    end case;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_subjects(p_kind text, p_ids bigint[])
 RETURNS TABLE(subject_id bigint, subject_status text)
 LANGUAGE plpgsql
AS $function$
begin
    for subject_id in select distinct id from unnest(p_ids) as id order by id loop
        perform lock_subject(p_kind, subject_id);
        subject_status := fold_subject(p_kind, subject_id);
        if subject_status is not null then
            return next;
        end if;
    end loop;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_subscription(p_id bigint)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    told record;
    new_status text;
begin
    select * into told from told_of('subscription', p_id, false);
    if told.words is null then  -- its facts have moved to the one that it was joined with
        return null;
    end if;
    insert into subscriptions as held (
        id, merchant, gateway, account, livemode, gateway_id, status, plan, plan_name, amount_minor, currency,
        interval, customer_ref, email, reference, started_at, period_start, period_end, next_payment_at, cancel_at,
        ended_at, cancel_reason, app, app_from, user_id, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'pending'), word.plan, word.plan_name, word.amount_minor,
        word.currency, word.interval, word.customer_ref, word.email, word.reference, word.started_at,
        word.period_start, word.period_end, word.next_payment_at, word.cancel_at, word.ended_at, word.cancel_reason,
        linked.app, linked.app_from, linked.user_id, word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, plan text, plan_name text, amount_minor bigint, currency text,
        interval text, customer_ref text, email text, reference text, started_at timestamptz,
        period_start timestamptz, period_end timestamptz, next_payment_at timestamptz, cancel_at timestamptz,
        ended_at timestamptz, cancel_reason text, app text, user_id text, metadata jsonb
    )
    cross join lateral app_of_subscription(
        told.merchant, told.gateway, told.account, word.gateway_id, word.customer_ref, word.plan, word.app, word.user_id
    ) as linked
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        plan = excluded.plan, plan_name = excluded.plan_name, amount_minor = excluded.amount_minor,
        currency = excluded.currency, interval = excluded.interval, customer_ref = excluded.customer_ref,
        email = excluded.email, reference = excluded.reference, started_at = excluded.started_at,
        period_start = excluded.period_start, period_end = excluded.period_end,
        next_payment_at = excluded.next_payment_at, cancel_at = excluded.cancel_at, ended_at = excluded.ended_at,
        cancel_reason = excluded.cancel_reason, app = excluded.app, app_from = excluded.app_from,
        user_id = excluded.user_id, metadata = excluded.metadata, first_fact_at = excluded.first_fact_at,
        last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.plan, held.plan_name, held.amount_minor, held.currency,
        held.interval, held.customer_ref, held.email, held.reference, held.started_at, held.period_start,
        held.period_end, held.next_payment_at, held.cancel_at, held.ended_at, held.cancel_reason, held.app,
        held.app_from, held.user_id, held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.plan, excluded.plan_name,
        excluded.amount_minor, excluded.currency, excluded.interval, excluded.customer_ref, excluded.email,
        excluded.reference, excluded.started_at, excluded.period_start, excluded.period_end, excluded.next_payment_at,
        excluded.cancel_at, excluded.ended_at, excluded.cancel_reason, excluded.app, excluded.app_from,
        excluded.user_id, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
    )
    returning held.status into new_status;
    return new_status;
end
$function$;

CREATE OR REPLACE FUNCTION public.fold_totals(p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
    marked record;
    family record;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/totals', 0)) then
        return null;
    end if;
    with taken as (
        delete from total_marks where ctid = any (array(select ctid from total_marks limit p_most))
        returning source, source_id
    )
    select count(*)::integer as marks,
        coalesce(array_agg(distinct source_id) filter (where source = 'payment'), '{}') as payments,
        coalesce(array_agg(distinct source_id) filter (where source = 'refund'), '{}') as refunds,
        coalesce(array_agg(distinct source_id) filter (where source = 'dispute'), '{}') as disputes,
        coalesce(array_agg(distinct source_id) filter (where source = 'order'), '{}') as orders
    into marked from taken;
    -- A row that somebody changes at this moment is counted as it was, and its mark comes with the change.
    select * into family from total_family(marked.payments, marked.refunds, marked.disputes);
    perform recount_totals(family.p_payments, family.p_refunds, family.p_disputes, marked.orders);
    return marked.marks;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_attendee_words()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform refresh_order_search(array[new.order_id]);
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_customer()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform fold_subjects('subscription', array(
        select id from subscriptions
        where gateway = new.gateway and account = new.account and customer_ref in (new.gateway_id, old.gateway_id)));
    perform fold_payments(array(
        select id from payments
        where merchant = new.merchant and customer_ref in (new.gateway_id, old.gateway_id) and gateway = new.gateway
          and account = new.account and merged_into is null));
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_customer_words()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform refresh_order_search(array(select id from orders where customer_id = new.id));
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_membership_of_customer()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    -- Locked and asked in two statements: a payment that is recorded at the same moment is waited for, and then seen.
    perform lock_name(new.gateway, new.account, 'patient', new.gateway_id);
    if exists (
        select from payments p
        where p.merchant = new.merchant and p.customer_ref = new.gateway_id and p.gateway = new.gateway
          and p.account = new.account and p.is_recurring
    ) then
        perform refresh_patient(new.merchant, new.gateway, new.account, new.gateway_id);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_membership_of_subscription()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    patient record;
begin
    for patient in
        select distinct p.merchant, p.customer_ref
        from (
            select p.merchant, p.customer_ref from payments p
            where p.gateway = new.gateway and p.account = new.account and p.subscription_ref = new.gateway_id
              and p.is_recurring and p.customer_ref is not null
            union all
            select p.merchant, p.customer_ref
            from invoices i
            join payments p on p.gateway = i.gateway and p.account = i.account and p.invoice_ref = i.gateway_id
            where i.gateway = new.gateway and i.account = new.account and i.subscription_ref = new.gateway_id
              and p.is_recurring and p.customer_ref is not null
        ) as p
        order by p.customer_ref
    loop
        perform refresh_patient(patient.merchant, new.gateway, new.account, patient.customer_ref);
    end loop;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_name_on_invoice()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    patient record;
begin
    for patient in
        select distinct p.merchant, p.customer_ref from payments p
        where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
          and p.is_recurring and p.customer_ref is not null
        order by p.customer_ref
    loop
        perform refresh_patient(patient.merchant, new.gateway, new.account, patient.customer_ref);
    end loop;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_order()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    update payments p set order_id = new.id
    where p.id in (
            select id from payments where merchant = new.merchant and reference in (new.number, new.reference)
            union
            select id from payments
            where merchant = new.merchant and metadata ->> 'order_number' in (new.number, new.reference, new.id::text)
            union
            select id from payments
            where merchant = new.merchant and metadata ->> 'order_id' in (new.number, new.reference, new.id::text)
        )
        and p.merged_into is null and p.order_id is distinct from new.id
        and new.id = order_named(p.merchant, p.metadata, p.reference);
    if new.total_minor = 0 then
        perform settle_order(new.id);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_payment()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if new.app_from = 'event' or new.user_id is not null or new.merged_into is not null then
        -- Also those that are being recorded this moment: of what it names now, and of what it named before.
        perform lock_name(new.gateway, new.account, named.kind, named.id)
        from (
            select 'subscription' as kind, new.subscription_ref as id
            union
            select 'subscription', old.subscription_ref
            union
            select 'customer', old.customer_ref where old.customer_ref <> new.customer_ref
            order by 1, 2
        ) as named
        where named.id is not null;
        perform fold_subjects('subscription', array(
            select id from subscriptions
            where gateway = new.gateway and account = new.account
              and gateway_id in (new.subscription_ref, old.subscription_ref)
            union
            select id from subscriptions
            where gateway = new.gateway and account = new.account
              and (customer_ref, plan) in ((new.customer_ref, new.plan), (old.customer_ref, old.plan))));
    end if;
    if tg_op = 'UPDATE' then
        perform tell_app_transactions(array(
            select webhook_event_id from app_transactions where payment_id = new.id));
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_payment_of_order()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op = 'UPDATE' and old.order_id is not null and old.order_id is distinct from new.order_id then
        perform settle_order(old.order_id);
    end if;
    if new.order_id is not null then
        perform settle_order(new.order_id);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_recurring_payment()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
    has_moved boolean := false;
begin
    if coalesce(current_setting('gatehouse.memberships', true), '') = 'later' then
        return null;  -- whoever said so makes them anew at its end
    end if;
    if tg_op = 'UPDATE' and old.customer_ref is not null then
        has_moved := old.customer_ref is distinct from new.customer_ref;
        if has_moved then
            if old.customer_ref < new.customer_ref then  -- in one order, so that nobody waits for anybody in a ring
                perform lock_name(new.gateway, new.account, 'patient', old.customer_ref);
                perform lock_name(new.gateway, new.account, 'patient', new.customer_ref);
            end if;
        end if;
    end if;
    if new.customer_ref is not null then
        if tg_op = 'UPDATE' and not has_moved then
            perform refresh_patient(
                new.merchant, new.gateway, new.account, new.customer_ref, old.product_category, new.product_category);
        else
            perform refresh_patient(new.merchant, new.gateway, new.account, new.customer_ref);
        end if;
    end if;
    if has_moved then
        perform refresh_patient(old.merchant, old.gateway, old.account, old.customer_ref);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.follow_subscription()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform fold_payments(array(
        select id from payments
        where gateway = new.gateway and account = new.account
          and subscription_ref in (new.gateway_id, old.gateway_id) and merged_into is null
        union
        select id from payments
        where merchant = new.merchant
          and (customer_ref, plan) in ((new.customer_ref, new.plan), (old.customer_ref, old.plan))
          and gateway = new.gateway and account = new.account and merged_into is null));
    if tg_op = 'UPDATE' then
        perform tell_app_transactions(array(
            select webhook_event_id from app_transactions where subscription_id = new.id));
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.forget_trouble()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    delete from gateway_troubles where gateway = new.gateway and account = new.account;
    if found then
        update jobs set due_at = now(), ring_after = now()
        where status = 'waiting' and ring_after > now() and topic in ('refetch', 'fetch_fee')
          and arguments ->> 'gateway' = new.gateway and arguments ->> 'account' = new.account;
    end if;
    return null;
end
$function$;
REVOKE ALL ON FUNCTION forget_trouble() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.forward_again(p_log_id bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    logged webhook_forward_logs;
    held jobs;
begin
    select * into logged from webhook_forward_logs where id = p_log_id and merchant = working_for();
    select * into held from jobs where id = logged.job_id and topic = 'forward' for update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such delivery';
    elsif held.status = 'leased' then
        raise exception using errcode = 'GH009', message = 'it is being delivered at this moment';
    end if;
    update jobs set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null
    where id = held.id;
    return held.id;
end
$function$;
REVOKE ALL ON FUNCTION forward_again(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forward_again(bigint) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.forward_what_belongs_elsewhere()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_table_name = 'app_transactions' then
        if new.webhook_event_id is distinct from nullif(current_setting('gatehouse.event_row', true), '')::bigint
            and new.created_at > now() - interval '7 days'
        then
            perform write_forwards(new.webhook_event_id);
        end if;
        return null;
    end if;
    perform write_forwards(late.id)
    from (
        select distinct f.webhook_event_id as id from facts f
        where f.kind = rtrim(tg_table_name, 's') and f.subject_id = new.id and f.webhook_event_id is not null
          and f.received_at > now() - interval '7 days'
        order by 1
    ) as late
    -- The event that is being recorded follows at its end.
    where late.id is distinct from nullif(current_setting('gatehouse.event_row', true), '')::bigint;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.forwards_to_repeat(p_merchant text, p_filters jsonb, p_redrive bigint)
 RETURNS TABLE(job bigint, app text, gateway text, amount_minor bigint, currency text, hindrance text)
 LANGUAGE sql
 STABLE
AS $function$
    select
        j.id, j.arguments ->> 'app', e.gateway, t.amount_minor, t.currency,
        case
            when a.name is null or coalesce(a.target_url, a.environment_url) is null then 'the app has no address'
            when not exists (
                select from webhook_payloads p
                where p.webhook_event_id = e.id and p.received_at = e.received_at
            ) then 'the bytes of the event are gone'
            when a.is_paused then 'the app is paused'
        end
    from jobs j
    join webhook_events e on e.id = j.webhook_event_id
    left join apps a on a.merchant = j.merchant and a.name = j.arguments ->> 'app'
    left join app_transactions t on t.webhook_event_id = e.id
    where j.topic = 'forward' and j.merchant = p_merchant
      and j.status = case when (p_filters ->> 'replay')::boolean then 'done' else 'dead' end
      and (p_redrive is null or j.redrive_id is distinct from p_redrive)
      and (not p_filters ? 'app' or j.arguments ->> 'app' = p_filters ->> 'app')
      and (not p_filters ? 'gateway' or e.gateway = p_filters ->> 'gateway')
      and (not p_filters ? 'error' or position(lower(p_filters ->> 'error') in lower(j.last_error)) > 0)
      and (not p_filters ? 'since' or e.received_at >= (p_filters ->> 'since')::timestamptz)
      and (not p_filters ? 'until' or e.received_at < (p_filters ->> 'until')::timestamptz)
$function$;

CREATE OR REPLACE FUNCTION public.go_on_with_import(p_import bigint, p_place bigint, p_next_place bigint, p_read bigint, p_recorded bigint, p_refused bigint, p_is_end boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    update imports
    set place = p_next_place, rows_read = rows_read + p_read, rows_recorded = rows_recorded + p_recorded,
        rows_refused = rows_refused + p_refused, updated_at = now(), finished_at = case when p_is_end then now() end
    where id = p_import and place = p_place and finished_at is null;
    if not found then
        raise exception using errcode = 'GH003', message = 'this import has gone on elsewhere';
    end if;
end
$function$;

CREATE OR REPLACE FUNCTION public.home_of_subject(p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.import_other_facts(p_merchant text, p_gateway text, p_account text, p_rows jsonb, p_job_id bigint, p_joining boolean)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.import_payment_facts(p_merchant text, p_gateway text, p_account text, p_facts jsonb, p_job_id bigint)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.interval_of(p_said text)
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case
        when p_said ~ '^([1-9]\d{0,2} )?(day|week|month|quarter|half_year|year)$'
        then coalesce(substring(p_said from '^\d+')::integer, 1) * case substring(p_said from '[a-z_]+$')
            when 'quarter' then interval '3 months'
            when 'half_year' then interval '6 months'
            else ('1 ' || substring(p_said from '[a-z_]+$'))::interval
        end
    end
$function$;

CREATE OR REPLACE FUNCTION public.interval_seen(p_days double precision)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case
        when p_days is null or p_days < 1 then null
        when p_days between 6 and 8 then 'week'
        when p_days between 13 and 15 then '2 week'
        when p_days between 27 and 33 then 'month'
        when p_days between 55 and 66 then '2 month'
        when p_days between 84 and 98 then '3 month'
        when p_days between 170 and 196 then '6 month'
        when p_days between 350 and 380 then 'year'
        when p_days > 900 then null
        else round(p_days)::integer || ' day'
    end
$function$;

CREATE OR REPLACE FUNCTION public.is_kept(p_breakdown text, p_level text, p_merchant text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select p_level in ('day', 'month') or p_breakdown = 'gateway'
        or p_merchant = '*' and p_breakdown not in ('failure', 'duration')
$function$;

CREATE OR REPLACE FUNCTION public.is_taken(p_takes jsonb, p_app text, p_apps text[], p_gateway text, p_type text, p_amount_minor bigint, p_currency text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select coalesce(
        (coalesce((p_takes ->> 'every_app')::boolean, false) or p_app = any (p_apps))
        and (not p_takes ? 'gateways' or p_takes -> 'gateways' ? p_gateway)
        and (not p_takes ? 'types' or exists (
            select from jsonb_array_elements_text(p_takes -> 'types') as pattern
            where p_type like
                replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')))
        and (not p_takes ? 'currencies' or p_takes -> 'currencies' ? p_currency)
        and (not p_takes ? 'least_minor' or p_amount_minor >= (p_takes ->> 'least_minor')::bigint)
        and (not p_takes ? 'most_minor' or p_amount_minor <= (p_takes ->> 'most_minor')::bigint),
        false)
$function$;

CREATE OR REPLACE FUNCTION public.join_payments(p_ids bigint[])
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    home bigint := (select min(id) from unnest(p_ids) as id);
    others bigint[] := array(select distinct id from unnest(p_ids) as id where id <> home);
    noted bigint[];
begin
    update payment_objects set payment_id = home where payment_id = any (others);
    update facts set subject_id = home where kind = 'payment' and subject_id = any (others);
    update refunds set payment_id = home where payment_id = any (others);
    update disputes set payment_id = home where payment_id = any (others);
    with moved as (
        update app_transactions set payment_id = home where payment_id = any (others) returning webhook_event_id
    )
    select coalesce(array_agg(webhook_event_id), '{}') into noted from moved;
    perform tell_app_transactions(noted);
    update payments set merged_into = home where id = any (others) or merged_into = any (others);
    return home;
end
$function$;

CREATE OR REPLACE FUNCTION public.join_payments_of(p_kind text, p_ids bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    known bigint[];
    of_payment bigint;
begin
    if p_kind = 'refund' then
        known := array(select distinct payment_id from refunds where id = any (p_ids) and payment_id is not null);
    else
        known := array(select distinct payment_id from disputes where id = any (p_ids) and payment_id is not null);
    end if;
    if known = '{}' then
        return;
    end if;
    of_payment := known[1];
    if cardinality(known) > 1 then
        perform from payments where id = any (known) order by id for update;
        of_payment := join_payments(known);
    end if;
    -- The one that stays may be the one that did not know its payment.
    if p_kind = 'refund' then
        update refunds set payment_id = of_payment where id = p_ids[1] and payment_id is null;
    else
        update disputes set payment_id = of_payment where id = p_ids[1] and payment_id is null;
        perform fold_payments(array[of_payment]);  -- a refund's payment is folded by whoever applies its fact
    end if;
end
$function$;

CREATE OR REPLACE FUNCTION public.keep_last_owner()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    if old.role = 'owner' and (tg_op = 'DELETE' or new.role <> 'owner') then
        perform from platform_tenants where id = old.tenant_id for update;
        if not exists (
            select from tenant_permissions
            where tenant_id = old.tenant_id and role = 'owner' and subject <> old.subject
        ) then
            perform refuse('GH009', 'the last owner of a tenant stays: make somebody else an owner first');
        end if;
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$function$;
REVOKE ALL ON FUNCTION keep_last_owner() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.key_without_address(p_key text, p_email_key text)
 RETURNS text
 LANGUAGE sql
 STABLE
AS $function$
    select case when says_address(p_key, p_email_key) then 'erased ' || erasure_hash(p_key) else p_key end
$function$;

CREATE OR REPLACE FUNCTION public.keys_for_backup()
 RETURNS TABLE(id text, merchant text, role text, hash bytea, rate_per_minute integer, expires_at timestamp with time zone, revoked_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select id, merchant, role, hash, rate_per_minute, expires_at, revoked_at from api_keys
$function$;
REVOKE ALL ON FUNCTION keys_for_backup() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keys_for_backup() TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.known_category(p_merchant text, p_name text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
    found_category text;
begin
    select c.category into found_category from product_categories c
    where c.merchant = p_merchant and c.product_name = p_name;
    if not found then
        select c.category into found_category from product_categories c
        where c.merchant = p_merchant and c.product_key = product_key(p_name)
        order by c.id limit 1;
    end if;
    return found_category;
end
$function$;

CREATE OR REPLACE FUNCTION public.link_customers(p_table text, p_after bigint, p_most integer, OUT last_id bigint, OUT looked_at integer, OUT linked integer)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    each record;
    their_id bigint;
begin
    looked_at := 0;
    linked := 0;
    last_id := p_after;
    if p_table not in ('payments', 'gateway_customers') then
        perform refuse_field('table', 'must be payments or gateway_customers');
    end if;
    for each in execute format(
        'select id, merchant, email, customer_id, first_fact_at from %I where id > $1 order by id limit $2', p_table)
        using p_after, p_most
    loop
        looked_at := looked_at + 1;
        last_id := each.id;
        continue when each.customer_id is not null or each.email !~ '@' or length(each.email) > 320;
        continue when each.email is null;
        insert into customers (merchant, email, created_at) values (each.merchant, each.email, each.first_fact_at)
        on conflict (merchant, email_key) where email_key is not null do nothing;
        their_id := customer_of(each.merchant, each.email);
        -- Asked again, as it may have been changed, or its person erased, meanwhile.
        execute format(
            'update %I set customer_id = $1 where id = $2 and customer_id is null and lower(email) = lower($3)', p_table)
        using their_id, each.id, each.email;
        linked := linked + 1;
    end loop;
end
$function$;
REVOKE ALL ON FUNCTION link_customers(text,bigint,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION link_customers(text,bigint,integer) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.link_gateway_customer()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if new.email ~ '@' and length(new.email) <= 320 and (tg_op = 'INSERT' or new.email is distinct from old.email) then
        new.customer_id := customer_of(new.merchant, new.email);
    end if;
    return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.link_payment()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op = 'INSERT' then
        -- A fold inserts, and updates where the row is there: then the trigger of the update is the one that counts.
        if exists (select from payments where id = new.id) then
            return new;
        end if;
        new.order_id := order_named(new.merchant, new.metadata, new.reference);
    elsif new.merged_into is not null then
        new.order_id := null;
        return new;
    elsif (old.metadata, old.reference) is distinct from (new.metadata, new.reference) then
        new.order_id := order_named(new.merchant, new.metadata, new.reference);
    end if;
    if new.email ~ '@' and length(new.email) <= 320 and (tg_op = 'INSERT' or new.email is distinct from old.email) then
        new.customer_id := customer_of(new.merchant, new.email);
    end if;
    return new;
end
$function$;

CREATE OR REPLACE FUNCTION public.lock_name(p_gateway text, p_account text, p_kind text, p_id text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    perform pg_advisory_xact_lock(('x' || encode(substring(sha256(convert_to(
        concat_ws('/', p_gateway, p_account, p_kind, p_id), 'UTF8')) for 8), 'hex'))::bit(64)::bigint);
end
$function$;

CREATE OR REPLACE FUNCTION public.lock_order_names(p_merchant text, p_names text[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    perform pg_advisory_xact_lock(key)
    from (
        select distinct hashtextextended(p_merchant || '/order/' || name, 0) as key
        from unnest(p_names) as name
        where name is not null
        order by key
    ) as keys;
end
$function$;

CREATE OR REPLACE FUNCTION public.lock_subject(p_kind text, p_id bigint)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    case p_kind
        when 'customer' then perform from gateway_customers where id = p_id for update;
        when 'subscription' then perform from subscriptions where id = p_id for update;
        when 'invoice' then perform from invoices where id = p_id for update;
        when 'refund' then perform from refunds where id = p_id for update;
        when 'dispute' then perform from disputes where id = p_id for update;
        when 'payout' then perform from payouts where id = p_id for update;
    end case;
end
$function$;

CREATE OR REPLACE FUNCTION public.log_app_transaction(p_event_row bigint, p_fact jsonb)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    insert into app_transactions (
        webhook_event_id, merchant, app, gateway, account, livemode, event_type, payment_id, subscription_id,
        reference, user_id, plan, amount_minor, currency, status, occurred_at, created_at
    )
    select
        e.id, e.merchant, coalesce(p.app, s.app), e.gateway, e.account, e.livemode, e.type, p.id, s.id,
        coalesce(word.reference, p.reference, s.reference, e.reference), coalesce(p.user_id, s.user_id),
        coalesce(word.plan, p.plan, s.plan), coalesce(word.amount_minor, p.amount_minor, s.amount_minor),
        coalesce(word.currency, p.currency, s.currency), coalesce(word.status, p.status, s.status), e.occurred_at,
        e.received_at
    from webhook_events e
    cross join jsonb_to_record(p_fact -> 'words') as word (
        reference text, plan text, amount_minor bigint, currency text, status text)
    -- Asked from its fact: what the same event says of a refund may have joined the row with another one since.
    cross join lateral (
        select f.subject_id from facts f
        where f.webhook_event_id = e.id and f.kind in ('payment', 'subscription') and f.words ? 'status'
        order by f.id limit 1
    ) as noted
    left join payments p on p_fact ->> 'kind' = 'payment' and p.id = noted.subject_id
    left join subscriptions s on p_fact ->> 'kind' = 'subscription' and s.id = noted.subject_id
    where e.id = p_event_row
    on conflict (webhook_event_id) do nothing;
end
$function$;

CREATE OR REPLACE FUNCTION public.make_app_view(p_app text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    view_name text := replace(p_app, '-', '_') || '_subscriptions';
begin
    if not exists (select from apps where name = p_app) then
        raise exception using errcode = 'P0002', message = 'no merchant has an app named ' || p_app;
    end if;
    if to_regclass(view_name) is null then
        execute format(
            'create view %I with (security_invoker = true) as'
            ' select webhook_event_id as id, created_at, reference, user_id, plan, amount_minor, currency, status,'
            ' event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id'
            ' from app_transactions where app = %L', view_name, p_app);
        execute format('comment on view %I is %L', view_name, 'made by make_app_view');
        execute format('grant select on %I to gatehouse_worker, gatehouse_api, gatehouse_ops', view_name);
    elsif position(format('(app = %L::text)', p_app) in coalesce(pg_get_viewdef(to_regclass(view_name)), '')) = 0 then
        raise exception using errcode = '42P07',
            message = format('the view of %s would be named %s, as something else is', p_app, view_name);
    end if;
    return view_name;
end
$function$;
REVOKE ALL ON FUNCTION make_app_view(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_app_view(text) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.make_payload_partitions(months_ahead integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '1s'
AS $function$
declare
    this_month date := date_trunc('month', now() at time zone 'utc');
    month date;
    made integer := 0;
begin
    for ahead in 0 .. months_ahead loop
        month := this_month + make_interval(months => ahead);
        continue when to_regclass('webhook_payloads_' || to_char(month, 'YYYY_MM')) is not null
            or exists (
                select from webhook_payloads_default
                where received_at >= month::timestamp at time zone 'utc'
                  and received_at < (month + interval '1 month') at time zone 'utc'
            );
        execute format(
            'create table %I partition of webhook_payloads for values from (%L) to (%L)',
            'webhook_payloads_' || to_char(month, 'YYYY_MM'),
            month::text || ' 00:00:00+00',
            (month + interval '1 month')::date::text || ' 00:00:00+00'
        );
        made := made + 1;
    end loop;
    return made;
end
$function$;
REVOKE ALL ON FUNCTION make_payload_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_payload_partitions(integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.mark_total()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    insert into total_marks (source, source_id, merchant) values (tg_argv[0], new.id, new.merchant);
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.mark_total_of_part()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op = 'DELETE' then
        insert into total_marks (source, source_id, merchant) values (tg_argv[0], old.id, old.merchant);
    else
        insert into total_marks (source, source_id, merchant) values (tg_argv[0], new.id, new.merchant);
    end if;
    if tg_op <> 'INSERT' and old.payment_id is not null then
        insert into total_marks (source, source_id, merchant) values ('payment', old.payment_id, old.merchant);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.may_be_forwarded(p_event webhook_events)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    select (
        p_event.status = 'applied'
        or (p_event.status = 'ignored' and p_event.reason not like 'wrong mode%' and p_event.reason not like 'switched off%')
    ) and (p_event.gateway not in ('sayswitch', 'mx_merchant') or p_event.confirmed_at is not null)
$function$;

CREATE OR REPLACE FUNCTION public.memberships_of_patient(p_merchant text, p_gateway text, p_account text, p_customer_ref text)
 RETURNS TABLE(category text, livemode boolean, email text, invoice_name text, product_name text, status text, started_at timestamp with time zone, last_payment_at timestamp with time zone, next_expected_at timestamp with time zone, renews_every text, amount_minor bigint, currency text, payment_count integer)
 LANGUAGE plpgsql
 STABLE
AS $function$
#variable_conflict use_column
begin
    return query
    with paid as (
        select
            p.product_category as category, p.livemode, p.product_name as product, p.email as said_email, p.currency,
            p.amount_minor - coalesce(p.surcharge_minor, 0) as price_minor, i.customer_name as invoice_name,
            p.status in ('completed', 'partially_refunded', 'refunded') as came_in,
            p.status = 'refunded' as went_back,
            p.status = 'failed' or (p.status = 'cancelled' and p.completed_at is not null) as failed,
            coalesce(p.completed_at, p.first_fact_at) as at,
            coalesce(p.subscription_ref, i.subscription_ref) as subscription_ref
        from payments p
        left join lateral (
            select i.customer_name, i.subscription_ref from invoices i
            where i.gateway = p.gateway and i.account = p.account and i.gateway_id = p.invoice_ref
            order by i.id limit 1
        ) as i on true
        where p.merchant = p_merchant and p.customer_ref = p_customer_ref and p.gateway = p_gateway
          and p.account = p_account and p.is_recurring and p.merged_into is null and p.product_category is not null
    ), tried as (
        select *, row_number() over newest as place
        from paid where came_in or failed
        window newest as (
            partition by paid.category, paid.livemode
            order by at desc, came_in desc, went_back, price_minor desc nulls last, product nulls last)
    ), days as (
        select distinct t.category, t.livemode, (t.at at time zone 'utc')::date as day from tried t where t.came_in
    ), gaps as (
        select g.category, g.livemode, percentile_disc(0.5) within group (order by g.gap)::double precision as usual
        from (
            select d.category, d.livemode, d.day - lag(d.day) over (partition by d.category, d.livemode order by d.day) as gap
            from days d
        ) as g
        where g.gap is not null
        group by g.category, g.livemode
    ), summed as (
        select
            t.category, t.livemode,
            (array_agg(t.said_email order by t.place) filter (where t.said_email is not null))[1] as email,
            (array_agg(t.invoice_name order by t.place) filter (where t.invoice_name is not null))[1] as invoice_name,
            (array_agg(t.product order by t.came_in and not t.went_back desc, t.place))[1] as product,
            bool_or(t.failed) filter (where t.place = 1) as has_failed_last,
            min(t.at) filter (where t.came_in) as first_at,
            max(t.at) filter (where t.came_in) as newest_at,
            max(t.at) filter (where t.came_in and not t.went_back) as last_at,
            (array_agg(t.price_minor order by t.place) filter (where t.came_in and not t.went_back))[1] as price_minor,
            (array_agg(t.currency order by t.place) filter (where t.came_in and not t.went_back))[1] as currency,
            count(*) filter (where t.came_in)::integer as payment_count
        from tried t group by t.category, t.livemode
    ), asked as (
        -- Of several subscriptions the newest that lives speaks; where none lives, the newest.
        select distinct on (t.category, t.livemode)
            t.category, t.livemode, s.status, s.interval as every, s.next_payment_at, s.cancel_at, s.started_at,
            coalesce(s.ended_at, s.last_fact_at) as ended_at
        from (select distinct tried.category, tried.livemode, tried.subscription_ref from tried) as t
        join subscriptions s on s.gateway = p_gateway and s.account = p_account and s.gateway_id = t.subscription_ref
        where s.merchant = p_merchant
        order by t.category, t.livemode, s.status in ('cancelled', 'expired'), s.status = 'paused',
            coalesce(s.started_at, s.first_fact_at) desc, s.gateway_id
    ), judged as (
        select
            m.*, a.every, a.next_payment_at, a.cancel_at, a.status as said, a.started_at as said_started,
            case
                when a.status = 'paused' then 'paused'
                when a.status in ('cancelled', 'expired') and (m.newest_at is null or m.newest_at <= a.ended_at)
                    then 'canceled'
                when a.status = 'past_due' then 'past_due'
                when m.has_failed_last then 'past_due'
                else 'active'
            end as judgement,
            coalesce(case when interval_of(a.every) is not null then a.every end, interval_seen(g.usual)) as known_every
        from summed m
        left join asked a on a.category = m.category and a.livemode = m.livemode
        left join gaps g on g.category = m.category and g.livemode = m.livemode
    )
    select
        j.category, j.livemode, j.email, j.invoice_name, j.product, j.judgement, least(j.first_at, j.said_started),
        j.last_at,
        case
            when j.judgement in ('canceled', 'paused') or j.said = 'non_renewing' then null
            when j.cancel_at <= coalesce(j.next_payment_at, j.one_later) then null
            when j.said in ('pending', 'trialing', 'active', 'past_due')
                and (j.newest_at is null or j.next_payment_at > j.newest_at) then j.next_payment_at
            else j.one_later
        end,
        j.known_every, j.price_minor, j.currency, j.payment_count
    from (
        -- A month is one of UTC, whatever the time zone of the session.
        select *, ((newest_at at time zone 'utc') + interval_of(known_every)) at time zone 'utc' as one_later from judged
    ) as j;
end
$function$;

CREATE OR REPLACE FUNCTION public.memberships_of_person(p_email text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    key_now text := lower(p_email);
    customer bigint := (select id from customers where merchant = merchant_now and email_key = key_now);
begin
    return (
        select coalesce(jsonb_agg(to_jsonb(m) - array['search', 'name_key'] order by m.id), '[]')
        from memberships m
        where m.merchant = merchant_now and (m.gateway, m.account, m.customer_ref) in (
            select p.gateway, p.account, p.customer_ref
            from subjects_of_person(merchant_now, key_now, customer) as theirs
            join payments p on theirs.kind = 'payment' and p.id = theirs.id
            union
            select g.gateway, g.account, g.gateway_id
            from subjects_of_person(merchant_now, key_now, customer) as theirs
            join gateway_customers g on theirs.kind = 'customer' and g.id = theirs.id));
end
$function$;
REVOKE ALL ON FUNCTION memberships_of_person(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION memberships_of_person(text) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.memberships_with_words(p_text text)
 RETURNS TABLE(membership_id bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
begin
    return query select id from memberships
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$function$;
REVOKE ALL ON FUNCTION memberships_with_words(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION memberships_with_words(text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.merge_membership_counts(p_left_alone integer, p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    taken integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/membership_counts', 0)) then
        return 0;
    end if;
    with changed as (
        select merchant from membership_counts where not is_merged group by merchant having count(*) > p_left_alone
    ), gone as (
        delete from membership_counts c
        where c.ctid = any (array(
            select k.ctid from membership_counts k join changed using (merchant) order by k.is_merged limit p_most))
        returning c.*
    ), merged as (
        insert into membership_counts (merchant, category, status, livemode, memberships, missed, is_merged)
        select merchant, category, status, livemode, sum(memberships), sum(missed), true from gone
        group by merchant, category, status, livemode
        having sum(memberships) <> 0 or sum(missed) <> 0
    )
    select count(*) into taken from gone;
    return taken;
end
$function$;
REVOKE ALL ON FUNCTION merge_membership_counts(integer,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION merge_membership_counts(integer,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.names_of_person(p_theirs jsonb)
 RETURNS TABLE(gateway text, account text, kind text, object_id text)
 LANGUAGE sql
 STABLE
AS $function$
    select po.gateway, po.account, po.kind, po.object_id from payment_objects po
    where po.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
    union
    select sn.gateway, sn.account, sn.kind, sn.object_id
    from jsonb_each(p_theirs) as kinds, jsonb_array_elements_text(kinds.value) as one
    join subject_names sn on sn.subject_id = one::bigint
    where sn.subject_kind = kinds.key
$function$;
REVOKE ALL ON FUNCTION names_of_person(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.next_order_number(p_merchant text, p_prefix text, p_day date)
 RETURNS text
 LANGUAGE plpgsql
AS $function$
declare
    place integer;
begin
    insert into order_counters as counter (merchant, day, last_number) values (p_merchant, p_day, 1)
    on conflict (merchant, day) do update set last_number = counter.last_number + 1
    returning last_number into place;
    -- Four digits at least; the 10,000th of a day has five.
    return p_prefix || '-' || to_char(p_day, 'YYYYMMDD') || '-'
        || case when place < 10000 then lpad(place::text, 4, '0') else place::text end;
end
$function$;

CREATE OR REPLACE FUNCTION public.note_admin_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
    deed text := nullif(current_setting('gatehouse.deed', true), '');
    noun text := case tg_table_name
        when 'merchants' then 'merchant' when 'gateway_accounts' then 'account' when 'api_keys' then 'key'
        when 'apps' then 'app' else tg_table_name end;
    found jsonb;
begin
    select jsonb_object_agg(ltrim(arg, '!?'), case
        when arg like '!%' then jsonb_build_array(
            case when nullif(before -> ltrim(arg, '!'), 'null') is not null then 'set' end,
            case when nullif(after -> ltrim(arg, '!'), 'null') is null then null
                when nullif(before -> ltrim(arg, '!'), 'null') is null then 'set' else 'changed' end)
        when arg like '?%' then jsonb_build_array(
            split_part(before ->> ltrim(arg, '?'), '?', 1), split_part(after ->> ltrim(arg, '?'), '?', 1))
        else jsonb_build_array(before -> arg, after -> arg)
    end)
    into found
    from unnest(tg_argv) as arg
    where nullif(before -> ltrim(arg, '!?'), 'null') is distinct from nullif(after -> ltrim(arg, '!?'), 'null');
    if found is null and tg_op = 'UPDATE' then
        return null;
    end if;
    perform write_admin_change(
        case tg_table_name when 'merchants' then this ->> 'id' else this ->> 'merchant' end,
        coalesce(deed, noun || case tg_op when 'INSERT' then ' added' when 'UPDATE' then ' changed' else ' removed' end),
        case tg_table_name
            when 'gateway_accounts' then concat(this ->> 'gateway', '/', this ->> 'account')
            when 'apps' then this ->> 'name' else this ->> 'id' end,
        found);
    return null;
end
$function$;
REVOKE ALL ON FUNCTION note_admin_change() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.note_backup_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    insert into backup_changes (payment_id, merchant)
    select new.id, new.merchant from backup_state where is_on
    -- A row that nobody has claimed is locked by this, and not written: nobody claims it before we have committed.
    on conflict (payment_id) do update set claim = null, attempts = 0, last_error = null, due_at = now()
        where backup_changes.claim is not null or backup_changes.attempts > 0;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.note_backup_changes(p_payments bigint[])
 RETURNS void
 LANGUAGE sql
AS $function$
    insert into backup_changes (payment_id, merchant)
    select p.id, p.merchant from backup_state, payments p
    where is_on and p.id = any (p_payments)
    order by p.id
    on conflict (payment_id) do update set claim = null, attempts = 0, last_error = null, due_at = now()
        where backup_changes.claim is not null or backup_changes.attempts > 0
$function$;

CREATE OR REPLACE FUNCTION public.note_backup_of_child()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op = 'UPDATE' then
        perform note_backup_changes(array[old.payment_id, new.payment_id]);
    else
        perform note_backup_changes(array[new.payment_id]);
    end if;
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.note_backup_of_fact()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform note_backup_changes(array(
        select new.subject_id where new.kind = 'payment'
        union
        select payment_id from refunds where new.kind = 'refund' and id = new.subject_id
        union
        select payment_id from disputes where new.kind = 'dispute' and id = new.subject_id));
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.note_backup_of_order()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    perform note_backup_changes(array(select id from payments where order_id = new.id));
    return null;
end
$function$;

CREATE OR REPLACE FUNCTION public.note_deed(p_what text, p_subject text, p_details jsonb)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select write_admin_change(nullif(current_setting('gatehouse.merchant', true), ''), p_what, p_subject, p_details)
$function$;
REVOKE ALL ON FUNCTION note_deed(text,text,jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_deed(text,text,jsonb) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.note_missed_renewals(p_grace_days integer, p_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    noted integer;
begin
    update memberships m set renewal_missed_at = m.next_expected_at, version = m.version + 1, updated_at = now()
    where m.id in (
        select id from memberships
        where renewal_missed_at is null and status in ('active', 'past_due')
          and next_expected_at < now() - make_interval(days => p_grace_days)
        order by next_expected_at
        limit p_most
        for no key update skip locked);
    get diagnostics noted = row_count;
    return noted;
end
$function$;
REVOKE ALL ON FUNCTION note_missed_renewals(integer,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION note_missed_renewals(integer,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.note_refund(p_id uuid, p_state text, p_failure text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    update refund_requests set state = p_state, failure = p_failure, updated_at = now()
    where id = p_id and (state, failure) is distinct from (p_state, p_failure);
end
$function$;

CREATE OR REPLACE FUNCTION public.one_payment_of(p_kind text, p_id bigint, p_payment_id bigint, p_joining boolean)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
declare
    before bigint := case p_kind
        when 'refund' then (select payment_id from refunds where id = p_id)
        else (select payment_id from disputes where id = p_id) end;
begin
    if before is null or p_payment_id is null or before = p_payment_id then
        return coalesce(p_payment_id, before);
    end if;
    if not p_joining then
        raise exception using errcode = 'GH001', message = 'it was known to be of another payment';
    end if;
    return join_payments(array[before, p_payment_id]);
end
$function$;

CREATE OR REPLACE FUNCTION public.order_named(p_merchant text, p_metadata jsonb, p_reference text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    names text[] := array[p_metadata ->> 'order_number', p_metadata ->> 'order_id', p_reference];
    each text;
    found_id bigint;
begin
    perform lock_order_names(p_merchant, names);
    foreach each in array names loop
        continue when each is null;
        select id into found_id from orders where merchant = p_merchant and number = each;
        if found_id is null then
            select id into found_id from orders where merchant = p_merchant and reference = each;
        end if;
        if found_id is null and each ~ '^[1-9]\d{9,17}$' then
            select id into found_id from orders where merchant = p_merchant and id = each::bigint;
        end if;
        exit when found_id is not null;
    end loop;
    return found_id;
end
$function$;
REVOKE ALL ON FUNCTION order_named(text,jsonb,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION order_named(text,jsonb,text) TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.order_steps(p_status text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case p_status
        when 'pending' then array['processing', 'completed', 'failed', 'cancelled']
        when 'processing' then array['completed', 'failed', 'cancelled']
        when 'completed' then array['partially_refunded', 'refunded']
        when 'partially_refunded' then array['refunded']
        else '{}'::text[]
    end
$function$;

CREATE OR REPLACE FUNCTION public.orders_page_with_words(p_text text, p_status text, p_payment_state text, p_event_id text, p_item_type text, p_since timestamp with time zone, p_before timestamp with time zone, p_livemode boolean, p_after_at timestamp with time zone, p_after_id bigint, p_most integer)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 20
 SET search_path TO 'public', 'pg_temp'
 SET plan_cache_mode TO 'force_custom_plan'
AS $function$
declare
    merchant_now text := working_for();
    words tsquery := search_query(merchant_now, p_text);
    newest integer;
    met bigint[];
    looked_at integer;
begin
    if words is null then
        return;
    end if;
    foreach newest in array array[500, 5000] loop
        select
            (array_agg(id order by created_at desc, id desc) filter (where search @@ words and (
                p_item_type is null or exists (
                    select from order_items i
                    where i.order_id = looked_through.id and i.merchant = merchant_now and i.item_type = p_item_type)
            )))[:p_most],
            count(*)
        into met, looked_at
        from (
            select o.id, o.created_at, o.search from orders o
            where o.merchant = merchant_now
              and (p_status is null or o.status = p_status)
              and (p_payment_state is null or o.payment_state = p_payment_state)
              and (p_event_id is null or o.event_id = p_event_id)
              and (p_since is null or o.created_at >= p_since)
              and (p_before is null or o.created_at < p_before)
              and (p_livemode is null or o.livemode = p_livemode)
              and (p_after_id is null or (o.created_at, o.id) < (p_after_at, p_after_id))
            order by o.created_at desc, o.id desc
            limit newest
        ) as looked_through;
        if coalesce(cardinality(met), 0) >= p_most or looked_at < newest then
            return query select unnest(met);
            return;
        end if;
        exit when coalesce(cardinality(met), 0) < 3;
    end loop;
    return query
        with worded as materialized (
            select o.id, o.created_at from orders o
            where o.search @@ words and o.merchant = merchant_now
              and (p_status is null or o.status = p_status)
              and (p_payment_state is null or o.payment_state = p_payment_state)
              and (p_event_id is null or o.event_id = p_event_id)
              and (p_since is null or o.created_at >= p_since)
              and (p_before is null or o.created_at < p_before)
              and (p_livemode is null or o.livemode = p_livemode)
              and (p_after_id is null or (o.created_at, o.id) < (p_after_at, p_after_id))
        )
        select w.id from worded w
        where p_item_type is null or exists (
            select from order_items i
            where i.order_id = w.id and i.merchant = merchant_now and i.item_type = p_item_type)
        order by w.created_at desc, w.id desc
        limit p_most;
end
$function$;
REVOKE ALL ON FUNCTION orders_page_with_words(text,text,text,text,text,timestamp with time zone,timestamp with time zone,boolean,timestamp with time zone,bigint,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION orders_page_with_words(text,text,text,text,text,timestamp with time zone,timestamp with time zone,boolean,timestamp with time zone,bigint,integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.orders_with_words(p_text text)
 RETURNS TABLE(order_id bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
begin
    return query select id from orders
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$function$;
REVOKE ALL ON FUNCTION orders_with_words(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION orders_with_words(text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.paid_a_month(p_amount_minor bigint, p_every text)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select case when months > 0 then round(p_amount_minor / months)
        when days > 0 then round(p_amount_minor * 365.25 / 12 / days) end::bigint
    from (
        select extract(year from every) * 12 + extract(month from every) as months, extract(day from every) as days
        from (select interval_of(p_every) as every) as said
    ) as parts
$function$;

CREATE OR REPLACE FUNCTION public.payments_called(p_object_id text, p_gateway text)
 RETURNS SETOF bigint
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 1
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
begin
    return query
        with recursive gateways as (
            (select po.gateway from payment_objects po order by po.gateway limit 1)
            union all
            select following.gateway
            from gateways g
            cross join lateral (
                select po.gateway from payment_objects po where po.gateway > g.gateway order by po.gateway limit 1
            ) as following
        ),
        accounts as (
            select a.gateway, a.account from gateway_accounts a where a.merchant = merchant_now
            union
            select g.gateway, 'default' from gateways g  -- in the settings, and in no table
        ),
        kinds as (
            select a.gateway, a.account, first.kind
            from accounts a
            cross join lateral (
                select po.kind from payment_objects po
                where po.gateway = a.gateway and po.account = a.account order by po.kind limit 1
            ) as first
            union all
            select k.gateway, k.account, following.kind
            from kinds k
            cross join lateral (
                select po.kind from payment_objects po
                where po.gateway = k.gateway and po.account = k.account and po.kind > k.kind order by po.kind limit 1
            ) as following
        )
        select po.payment_id
        from kinds k
        join payment_objects po on (po.gateway, po.account, po.kind) = (k.gateway, k.account, k.kind)
            and po.object_id = p_object_id
        where po.merchant = merchant_now and (p_gateway is null or po.gateway = p_gateway);
    if found then
        return;
    end if;
    return query
        with recursive kinds as (
            (
                select po.gateway, po.account, po.kind from payment_objects po
                order by po.gateway, po.account, po.kind limit 1
            )
            union all
            select following.gateway, following.account, following.kind
            from kinds k
            cross join lateral (
                select po.gateway, po.account, po.kind from payment_objects po
                where (po.gateway, po.account, po.kind) > (k.gateway, k.account, k.kind)
                order by po.gateway, po.account, po.kind limit 1
            ) as following
        )
        select po.payment_id
        from kinds k
        join payment_objects po on (po.gateway, po.account, po.kind) = (k.gateway, k.account, k.kind)
            and po.object_id = p_object_id
        where po.merchant = merchant_now and (p_gateway is null or po.gateway = p_gateway);
end
$function$;
REVOKE ALL ON FUNCTION payments_called(text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments_called(text,text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.payments_for_backup(p_ids bigint[])
 RETURNS TABLE(payment_id bigint, state jsonb, facts jsonb)
 LANGUAGE sql
 STABLE
 SET "TimeZone" TO 'UTC'
AS $function$
    select
        s.id,
        to_jsonb(s) || jsonb_build_object(
            'names', (
                select jsonb_agg(jsonb_build_object('kind', n.kind, 'id', n.object_id, 'of', 'payment', 'row', s.id)
                    order by n.kind, n.object_id)
                from payment_objects n where n.payment_id = s.id),
            'names_of_others', (
                select jsonb_agg(jsonb_build_object(
                    'kind', n.kind, 'id', n.object_id, 'of', n.subject_kind, 'row', n.subject_id)
                    order by n.subject_kind, n.kind, n.object_id)
                from (
                    select 'refund' as kind, r.id from refunds r where r.payment_id = s.id
                    union all
                    select 'dispute', d.id from disputes d where d.payment_id = s.id
                ) as other
                join subject_names n on n.subject_kind = other.kind and n.subject_id = other.id),
            'events', (
                select jsonb_agg(to_jsonb(told) order by told.id)
                from (
                    select e.id, e.event_id, e.type, e.livemode, e.occurred_at, e.received_at
                    from webhook_events e
                    where e.id in (
                        select f.webhook_event_id from facts f where f.kind = 'payment' and f.subject_id = s.id
                        union
                        select f.webhook_event_id from refunds r
                        join facts f on f.kind = 'refund' and f.subject_id = r.id where r.payment_id = s.id
                        union
                        select f.webhook_event_id from disputes d
                        join facts f on f.kind = 'dispute' and f.subject_id = d.id where d.payment_id = s.id)
                    order by e.id desc limit 200
                ) as told),
            'changes', (
                select jsonb_agg(to_jsonb(made) order by made.id)
                from (
                    select a.id, a.at, a.table_name, a.row_id, a.action, a.actor, a.webhook_event_id, a.changes
                    from payment_audit_log a
                    where a.table_name = 'payments' and a.row_id = s.id
                    order by a.id desc limit 200
                ) as made)),
        (
            select jsonb_agg(jsonb_build_object(
                'kind', f.kind, 'subject_id', f.subject_id, 'said_by', f.said_by,
                'webhook_event_id', f.webhook_event_id, 'job_id', f.job_id, 'occurred_at', f.occurred_at,
                'received_at', f.received_at, 'rank', f.rank, 'words', f.words) order by f.id)
            from facts f
            where (f.kind = 'payment' and f.subject_id = s.id)
               or (f.kind = 'refund' and f.subject_id in (select r.id from refunds r where r.payment_id = s.id))
               or (f.kind = 'dispute' and f.subject_id in (select d.id from disputes d where d.payment_id = s.id))
        )
    from backup_states s
    where s.id = any (p_ids)
    order by s.id
$function$;

CREATE OR REPLACE FUNCTION public.payments_named(p_gateway text, p_account text, p_objects jsonb)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.payments_of_email(p_email text)
 RETURNS SETOF bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select id from payments
    where merchant = current_setting('gatehouse.merchant', true) and email is not null and lower(email) = lower(p_email)
$function$;
REVOKE ALL ON FUNCTION payments_of_email(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments_of_email(text) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.payments_with_words(p_text text)
 RETURNS TABLE(payment_id bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
begin
    return query
    select p.id from payments p where p.merchant = merchant_now and p.reference = p_text
    union
    select p.id from payments p where p.merchant = merchant_now and p.customer_ref = p_text
    union
    select p.id from payments p where p.merchant = merchant_now and lower(p.email) = lower(p_text)
    union
    select p.id from orders_with_words(p_text) as worded join payments p on p.order_id = worded.order_id;
end
$function$;
REVOKE ALL ON FUNCTION payments_with_words(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments_with_words(text) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.person_named()
 RETURNS TABLE(gateway text, account text, ref text)
 LANGUAGE sql
 STABLE
AS $function$
    select said.gateway, said.account, said.ref
    from jsonb_to_record(nullif(current_setting('gatehouse.person', true), '')::jsonb)
        as said (gateway text, account text, ref text)
    where said.ref is not null
$function$;

CREATE OR REPLACE FUNCTION public.places_of_customer(p_ref text)
 RETURNS TABLE(gateway text, account text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select g.gateway, g.account from gateway_customers g where g.merchant = working_for() and g.gateway_id = p_ref
    union
    select p.gateway, p.account from payments p where p.merchant = working_for() and p.customer_ref = p_ref
    union
    select i.gateway, i.account from invoices i where i.merchant = working_for() and i.customer_ref = p_ref
$function$;
REVOKE ALL ON FUNCTION places_of_customer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION places_of_customer(text) TO gatehouse_api, gatehouse_ops;

CREATE OR REPLACE FUNCTION public.product_key(p_name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select lower(regexp_replace(normalize(p_name, nfkc), '\s', '', 'g'))
$function$;

CREATE OR REPLACE FUNCTION public.product_of_lines(p_lines jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select nullif(btrim(left(btrim(line ->> 'product'), 300)), '')
    from jsonb_array_elements(case when jsonb_typeof(p_lines) = 'array' then p_lines else '[]' end)
        with ordinality as lines (line, place)
    where btrim(line ->> 'product') <> ''
    order by place
    limit 1
$function$;

CREATE OR REPLACE FUNCTION public.put_products(p_products jsonb)
 RETURNS TABLE(place integer, product_id bigint, outcome text, reclassification bigint)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION put_products(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION put_products(jsonb) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.quarter_hour(p_at timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00')
$function$;

CREATE OR REPLACE FUNCTION public.reads_health_data(p_key_id text, p_kind text, p_ids bigint[])
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    is_allowed boolean := coalesce((select k.may_read_health_data from api_keys k where k.id = p_key_id), false);
begin
    if is_allowed and p_kind is not null then
        insert into health_data_reads (merchant, reader, kind, row_ids, row_count)
        values (working_for(), 'key ' || p_key_id, p_kind, p_ids, cardinality(p_ids));
    end if;
    return is_allowed;
end
$function$;
REVOKE ALL ON FUNCTION reads_health_data(text,text,bigint[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION reads_health_data(text,text,bigint[]) TO gatehouse_api;

CREATE OR REPLACE FUNCTION public.reapply_event(p_merchant text, p_gateway text, p_account text, p_event_id text, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_status text, p_reason text, p_reference text, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    update webhook_events
    set status = p_status, reason = p_reason, reference = p_reference, attempts = attempts + 1
    where event_id = p_event_id and gateway = p_gateway and account = p_account
      and status in ('received', 'failed', 'ignored')
    returning id into event_row;
    if event_row is null then
        return '{}';
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    -- Last, as only now it is known whose the event is.
    written_jobs := written_jobs || (applied -> 'jobs') || write_forwards(event_row);
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'changed', applied -> 'changed');
end
$function$;

CREATE OR REPLACE FUNCTION public.record_event(p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_status text, p_reason text, p_reference text, p_signed_by text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    event_row bigint;
    written_jobs jsonb;
    changed_payments jsonb := '[]';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by
    )
    on conflict (event_id, gateway, account) do nothing
    returning id into event_row;
    if event_row is null then
        -- Empty where the account has changed hands: the row belongs to a merchant whose rows we cannot see.
        return coalesce((
            select jsonb_build_object('duplicate_of', id, 'first_received_at', received_at)
            from webhook_events
            where event_id = p_event_id and gateway = p_gateway and account = p_account
        ), '{}');
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    values (event_row, p_merchant, p_received_at, p_key_id, p_sealed);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '[]' then
        changed_payments := apply_payment_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'payments', changed_payments);
end
$function$;

CREATE OR REPLACE FUNCTION public.record_event(p_merchant text, p_gateway text, p_account text, p_event_id text, p_type text, p_livemode boolean, p_occurred_at timestamp with time zone, p_received_at timestamp with time zone, p_status text, p_reason text, p_reference text, p_signed_by text, p_request_id text, p_key_id text, p_sealed bytea, p_facts jsonb, p_needs jsonb, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    event_row bigint;
    written_jobs jsonb;
    applied jsonb := '{"changed": [], "jobs": []}';
begin
    perform take_recording_locks(p_merchant, p_account_lock, p_name_locks, p_joining);
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference,
        signed_by, request_id
    ) values (
        p_gateway, p_account, p_event_id, p_merchant, p_type, p_livemode, p_occurred_at, p_received_at, p_status,
        p_reason, p_reference, p_signed_by, p_request_id
    )
    on conflict (event_id, gateway, account) do nothing
    returning id into event_row;
    if event_row is null then
        -- Empty where the account has changed hands: the row belongs to a merchant whose rows we cannot see.
        return coalesce((
            select jsonb_build_object('duplicate_of', id, 'first_received_at', received_at)
            from webhook_events
            where event_id = p_event_id and gateway = p_gateway and account = p_account
        ), '{}');
    end if;
    perform set_config('gatehouse.event_row', event_row::text, true);
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    values (event_row, p_merchant, p_received_at, p_key_id, p_sealed);
    written_jobs := write_needs(p_merchant, event_row, p_needs);
    if p_facts <> '{}' then
        applied := apply_facts(
            p_merchant, p_gateway, p_account, p_facts, p_event_id, event_row, null, p_occurred_at, p_received_at,
            p_joining
        );
    end if;
    -- Last, as only now it is known whose the event is.
    written_jobs := written_jobs || (applied -> 'jobs') || write_forwards(event_row);
    return jsonb_build_object('event_row', event_row, 'jobs', written_jobs, 'changed', applied -> 'changed');
end
$function$;

CREATE OR REPLACE FUNCTION public.recount_totals(p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
declare
    fresh total_entries[] := array(
        select e from total_entries_of(p_payments, p_refunds, p_disputes, p_orders) as e);
begin
    perform add_to_totals(fresh || array(
        select e from total_entries_taken_back(p_payments, p_refunds, p_disputes, p_orders) as e));
    delete from total_entries where source = 'payment' and source_id = any (p_payments);
    delete from total_entries where source = 'refund' and source_id = any (p_refunds);
    delete from total_entries where source = 'dispute' and source_id = any (p_disputes);
    delete from total_entries where source = 'order' and source_id = any (p_orders);
    insert into total_entries select * from unnest(fresh);
end
$function$;

CREATE OR REPLACE FUNCTION public.refresh_order_search(p_ids bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
begin
    update orders o set search = fresh.words
    from (
        select o.id, search_words(
            o.merchant, array[o.number, o.reference, c.email, c.first_name, c.last_name] || array(
                select t.text from order_items i, lateral (values (i.attendee_name), (i.attendee_email)) as t (text)
                where i.order_id = o.id)) as words
        from orders o join customers c on c.id = o.customer_id
        where o.id = any (p_ids)
    ) as fresh
    where o.id = fresh.id and o.search is distinct from fresh.words;
end
$function$;
REVOKE ALL ON FUNCTION refresh_order_search(bigint[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.refresh_patient(p_merchant text, p_gateway text, p_account text, p_customer_ref text, p_from text DEFAULT NULL::text, p_to text DEFAULT NULL::text)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    known record;
    told record;
    empty_one memberships;
    changed integer := 0;
    kept bigint[] := '{}';
    this_id bigint;
begin
    perform lock_name(p_gateway, p_account, 'patient', p_customer_ref);
    select c.name, c.email into told
    from gateway_customers c
    where c.gateway = p_gateway and c.account = p_account and c.gateway_id = p_customer_ref and c.merchant = p_merchant
    order by c.id limit 1;
    for known in
        select * from memberships_of_patient(p_merchant, p_gateway, p_account, p_customer_ref) order by category, livemode
    loop
        -- One that has moved whole keeps its row.
        if p_from is not null and known.category = p_to then
            update memberships m set category = p_to, version = m.version + 1, updated_at = now()
            where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
              and m.customer_ref = p_customer_ref and m.livemode = known.livemode and m.category = p_from
              and not exists (
                  select from memberships_of_patient(p_merchant, p_gateway, p_account, p_customer_ref) as still
                  where still.category = p_from and still.livemode = m.livemode)
              and not exists (
                  select from memberships there
                  where there.merchant = p_merchant and there.gateway = p_gateway and there.account = p_account
                    and there.customer_ref = p_customer_ref and there.livemode = m.livemode
                    and there.category = p_to);
        end if;
        this_id := null;
        insert into memberships as held (
            merchant, gateway, account, customer_ref, livemode, category, name, email, product_name, status_by_rule,
            started_at, last_payment_at, next_expected_at, renews_every, amount_minor, currency, payment_count
        ) values (
            p_merchant, p_gateway, p_account, p_customer_ref, known.livemode, known.category,
            coalesce(told.name, known.invoice_name), coalesce(told.email, known.email), known.product_name,
            known.status, known.started_at, known.last_payment_at, known.next_expected_at, known.renews_every,
            known.amount_minor, known.currency, known.payment_count
        )
        on conflict (merchant, gateway, account, customer_ref, category, livemode) do update set
            name = excluded.name, email = excluded.email, product_name = excluded.product_name,
            status_by_rule = excluded.status_by_rule, started_at = excluded.started_at,
            last_payment_at = excluded.last_payment_at, next_expected_at = excluded.next_expected_at,
            renews_every = excluded.renews_every, amount_minor = excluded.amount_minor, currency = excluded.currency,
            payment_count = excluded.payment_count,
            -- What was missed is missed until the next renewal is another one.
            renewal_missed_at = case
                when held.renewal_missed_at = excluded.next_expected_at then held.renewal_missed_at end,
            version = held.version + 1, updated_at = now()
        where (
            held.name, held.email, held.product_name, held.status_by_rule, held.started_at, held.last_payment_at,
            held.next_expected_at, held.renews_every, held.amount_minor, held.currency, held.payment_count
        ) is distinct from (
            excluded.name, excluded.email, excluded.product_name, excluded.status_by_rule, excluded.started_at,
            excluded.last_payment_at, excluded.next_expected_at, excluded.renews_every, excluded.amount_minor,
            excluded.currency, excluded.payment_count
        )
        returning held.id into this_id;
        if this_id is null then
            select m.id into this_id from memberships m
            where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
              and m.customer_ref = p_customer_ref and m.livemode = known.livemode and m.category = known.category;
        else
            changed := changed + 1;
        end if;
        kept := kept || this_id;
    end loop;
    for empty_one in
        select * from memberships m
        where m.merchant = p_merchant and m.gateway = p_gateway and m.account = p_account
          and m.customer_ref = p_customer_ref and m.id <> all (kept)
        order by m.id
    loop
        update memberships m set
            google_review_submitted = m.google_review_submitted or empty_one.google_review_submitted,
            referral_source = coalesce(m.referral_source, empty_one.referral_source),
            fulfillment_type = coalesce(m.fulfillment_type, empty_one.fulfillment_type),
            status_by_hand = coalesce(m.status_by_hand, empty_one.status_by_hand),
            status_reason = case when m.status_by_hand is null then empty_one.status_reason else m.status_reason end,
            status_set_by = coalesce(m.status_set_by, empty_one.status_set_by),
            status_set_at = coalesce(m.status_set_at, empty_one.status_set_at),
            version = m.version + 1, updated_at = now()
        where empty_one.category = p_from and m.category = p_to and m.livemode = empty_one.livemode
          and m.id = any (kept)
          and (empty_one.google_review_submitted or num_nonnulls(
              empty_one.referral_source, empty_one.fulfillment_type, empty_one.status_by_hand) > 0);
        if found or not (empty_one.google_review_submitted or num_nonnulls(
            empty_one.referral_source, empty_one.fulfillment_type, empty_one.status_by_hand) > 0)
        then
            delete from memberships m where m.id = empty_one.id;
            changed := changed + 1;
        elsif empty_one.payment_count > 0 then
            -- People have noted something here: it stays, without what its payments said.
            update memberships m set
                last_payment_at = null, next_expected_at = null, renewal_missed_at = null, amount_minor = null,
                currency = null, payment_count = 0, version = m.version + 1, updated_at = now()
            where m.id = empty_one.id;
            changed := changed + 1;
        end if;
    end loop;
    return changed;
end
$function$;
REVOKE ALL ON FUNCTION refresh_patient(text,text,text,text,text,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_patient(text,text,text,text,text,text) TO gatehouse_api, gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.refunded_by(p_gateway text, p_account text, p_objects jsonb)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.refuse(code text, reason text)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = code, message = reason;
end
$function$;

CREATE OR REPLACE FUNCTION public.refuse_admin_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    if tg_op = 'DELETE' and current_setting('gatehouse.retention', true) = 'admin_changes'
            and pg_has_role(current_user, (select relowner from pg_class where oid = tg_relid), 'member') then
        return null;
    end if;
    raise exception using errcode = '42501', message = 'admin_changes is append-only';
end
$function$;

CREATE OR REPLACE FUNCTION public.refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = '42501', message = 'payment_audit_log is append-only';
end
$function$;

CREATE OR REPLACE FUNCTION public.refuse_field(p_field text, p_reason text)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    raise exception using errcode = 'GH005', constraint = p_field, message = p_field || ': ' || p_reason;
end
$function$;

CREATE OR REPLACE FUNCTION public.repair_membership_counts(p_merchant text)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    repaired integer;
begin
    perform pg_advisory_xact_lock(hashtextextended('gatehouse/membership_counts', 0));
    insert into membership_counts (merchant, category, status, livemode, memberships, missed)
    select p_merchant, category, status, livemode, memberships, missed from drift_of_membership_counts(p_merchant);
    get diagnostics repaired = row_count;
    return repaired;
end
$function$;
REVOKE ALL ON FUNCTION repair_membership_counts(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION repair_membership_counts(text) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.repair_totals(p_since timestamp with time zone, p_until timestamp with time zone, p_levels text[])
 RETURNS integer
 LANGUAGE plpgsql
AS $function$
declare
    repaired integer;
begin
    if not pg_try_advisory_xact_lock(hashtextextended('gatehouse/totals', 0)) then
        return null;
    end if;
    insert into totals as held select * from drift_of_totals(p_since, p_until, p_levels)
    on conflict (merchant, livemode, breakdown, level, bucket, currency, value, detail) do update set
        payments = coalesce(held.payments, 0) + coalesce(excluded.payments, 0),
        amount_minor = coalesce(held.amount_minor, 0) + coalesce(excluded.amount_minor, 0),
        succeeded = coalesce(held.succeeded, 0) + coalesce(excluded.succeeded, 0),
        failed = coalesce(held.failed, 0) + coalesce(excluded.failed, 0),
        cancelled = coalesce(held.cancelled, 0) + coalesce(excluded.cancelled, 0),
        duration_ms = coalesce(held.duration_ms, 0) + coalesce(excluded.duration_ms, 0),
        sales = coalesce(held.sales, 0) + coalesce(excluded.sales, 0),
        gross_minor = coalesce(held.gross_minor, 0) + coalesce(excluded.gross_minor, 0),
        fee_minor = coalesce(held.fee_minor, 0) + coalesce(excluded.fee_minor, 0),
        unknown_fees = coalesce(held.unknown_fees, 0) + coalesce(excluded.unknown_fees, 0),
        unknown_fee_gross_minor =
            coalesce(held.unknown_fee_gross_minor, 0) + coalesce(excluded.unknown_fee_gross_minor, 0),
        sales_refunded = coalesce(held.sales_refunded, 0) + coalesce(excluded.sales_refunded, 0),
        sales_refunded_minor = coalesce(held.sales_refunded_minor, 0) + coalesce(excluded.sales_refunded_minor, 0),
        sales_disputed = coalesce(held.sales_disputed, 0) + coalesce(excluded.sales_disputed, 0),
        refunds = coalesce(held.refunds, 0) + coalesce(excluded.refunds, 0),
        refund_minor = coalesce(held.refund_minor, 0) + coalesce(excluded.refund_minor, 0),
        other_fee_minor = coalesce(held.other_fee_minor, 0) + coalesce(excluded.other_fee_minor, 0),
        disputes = coalesce(held.disputes, 0) + coalesce(excluded.disputes, 0),
        dispute_minor = coalesce(held.dispute_minor, 0) + coalesce(excluded.dispute_minor, 0),
        disputes_lost = coalesce(held.disputes_lost, 0) + coalesce(excluded.disputes_lost, 0),
        lost_minor = coalesce(held.lost_minor, 0) + coalesce(excluded.lost_minor, 0),
        held_minor = coalesce(held.held_minor, 0) + coalesce(excluded.held_minor, 0),
        orders = coalesce(held.orders, 0) + coalesce(excluded.orders, 0),
        ordered_minor = coalesce(held.ordered_minor, 0) + coalesce(excluded.ordered_minor, 0),
        paid_minor = coalesce(held.paid_minor, 0) + coalesce(excluded.paid_minor, 0),
        returned_minor = coalesce(held.returned_minor, 0) + coalesce(excluded.returned_minor, 0),
        tax_minor = coalesce(held.tax_minor, 0) + coalesce(excluded.tax_minor, 0),
        order_fee_minor = coalesce(held.order_fee_minor, 0) + coalesce(excluded.order_fee_minor, 0),
        discount_minor = coalesce(held.discount_minor, 0) + coalesce(excluded.discount_minor, 0),
        quantity = coalesce(held.quantity, 0) + coalesce(excluded.quantity, 0),
        sold_quantity = coalesce(held.sold_quantity, 0) + coalesce(excluded.sold_quantity, 0),
        sold_minor = coalesce(held.sold_minor, 0) + coalesce(excluded.sold_minor, 0);
    get diagnostics repaired = row_count;
    return repaired;
end
$function$;

CREATE OR REPLACE FUNCTION public.request_refund(p_payment_id bigint, p_amount_minor bigint, p_reason text, p_idempotency_key text, p_gateways text[], p_full_only text[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    paid payments;
    held refund_requests;
    left_minor bigint;
    amount bigint := p_amount_minor;
    names jsonb;
begin
    if p_idempotency_key is not null then
        perform pg_advisory_xact_lock(hashtextextended(merchant_now || '/refund key/' || p_idempotency_key, 0));
        select * into held from refund_requests
        where merchant = merchant_now and idempotency_key = p_idempotency_key;
        if held.id is not null then
            if (held.payment_id, held.asked_minor, held.reason)
                is distinct from (p_payment_id, p_amount_minor, p_reason) then
                raise exception using errcode = 'GH004',
                    message = 'the idempotency key was used for another refund';
            end if;
            perform set_config('gatehouse.refund', held.id::text, true);
            return;
        end if;
    end if;
    select p.* into paid from payments named join payments p on p.id = coalesce(named.merged_into, named.id)
    where named.id = p_payment_id and named.merchant = merchant_now and p.merchant = merchant_now;
    if paid.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such payment';
    end if;
    -- As a recording does: the account first, so that nothing is joined meanwhile, then the payment.
    perform pg_advisory_xact_lock_shared(account_lock(paid.gateway, paid.account));
    select * into paid from payments where id = (select coalesce(merged_into, id) from payments where id = paid.id)
    for update;
    if paid.gateway <> all (p_gateways) then
        raise exception using errcode = 'GH009', 
            message = 'refunds at ' || paid.gateway || ' are made at ' || paid.gateway;
    elsif paid.status not in ('completed', 'partially_refunded', 'refunded') then
        raise exception using errcode = 'GH009', message = 'a payment that is ' || paid.status || ' cannot be refunded';
    end if;
    left_minor := greatest(paid.received_minor - coalesce(paid.refunded_minor, 0) - coalesce((
        select sum(amount_minor) from refunds where payment_id = paid.id and status = 'pending'), 0), 0);
    amount := coalesce(amount, left_minor);
    if left_minor = 0 then
        raise exception using errcode = 'GH007', constraint = '0',
            message = 'nothing is left of this payment to refund';
    elsif amount > left_minor then
        raise exception using errcode = 'GH007', constraint = left_minor::text,
            message = amount || ' is more than what is left of this payment: ' || left_minor;
    elsif amount < 1 then
        perform refuse_field('amount_minor', 'must be at least 1');
    elsif paid.gateway = any (p_full_only) and amount <> paid.received_minor then
        perform refuse_field('amount_minor', paid.gateway || ' refunds whole payments only: ' || paid.received_minor);
    end if;
    select jsonb_agg(jsonb_build_object('kind', kind, 'id', object_id) order by kind, object_id) into names
    from payment_objects where payment_id = paid.id;
    held.id := gen_random_uuid();
    insert into jobs (topic, business_key, merchant, arguments)
    values ('send_refund', held.id::text, merchant_now, jsonb_build_object(
        'request', held.id, 'gateway', paid.gateway, 'account', paid.account, 'livemode', paid.livemode,
        'payment', names, 'amount_minor', amount, 'currency', paid.currency))
    returning id into held.job_id;
    insert into refund_requests (
        id, merchant, payment_id, gateway, account, amount_minor, currency, reason, actor, idempotency_key,
        asked_minor, job_id
    ) values (
        held.id, merchant_now, paid.id, paid.gateway, paid.account, amount, paid.currency, p_reason,
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user), p_idempotency_key,
        p_amount_minor, held.job_id
    );
    -- Without a time: whatever the gateway says of it lies over this.
    perform apply_facts(
        merchant_now, paid.gateway, paid.account,
        jsonb_build_object('payments', '[]'::jsonb, 'others', jsonb_build_array(jsonb_build_object(
            'kind', 'refund', 'rank', 1,
            'objects', jsonb_build_array(jsonb_build_object('kind', 'gatehouse_refund', 'id', held.id)),
            'words', jsonb_strip_nulls(jsonb_build_object(
                'status', 'pending', 'amount_minor', amount, 'currency', paid.currency, 'reason', p_reason,
                'gateway_id', held.id, 'payment', names, 'livemode', paid.livemode))))),
        'request ' || held.id, null, held.job_id, null, now(), false);
    perform set_config('gatehouse.refund', held.id::text, true);
end
$function$;
REVOKE ALL ON FUNCTION request_refund(bigint,bigint,text,text,text[],text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION request_refund(bigint,bigint,text,text,text[],text[]) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.respect_erasure()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    said_email text := lower(
        case when new.kind = 'payout' then new.words ->> 'destination' else new.words ->> 'email' end);
    ref text := case when new.kind = 'customer' then new.words ->> 'gateway_id' else new.words ->> 'customer_ref' end;
    paid record;
    is_erased boolean := false;
begin
    if said_email is not null then
        -- An erasure of this address waits until we are done, or we until it is.
        perform pg_advisory_xact_lock_shared(hashtextextended(new.merchant || '/erasure/' || said_email, 0));
    end if;
    if not exists (select from erased_customers where merchant = new.merchant) then
        return new;
    end if;
    if said_email is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'email' and e.said_hash = erasure_hash(said_email)
              and not (new.occurred_at > e.erased_at and exists (
                  select from customers c where c.merchant = new.merchant and c.email_key = said_email)));
        if is_erased and ref is not null then  -- what says this and no address is theirs too
            insert into erased_customers (merchant, what, said_hash)
            values (new.merchant, 'customer_ref', erasure_hash(concat_ws('/', new.gateway, new.account, ref)))
            on conflict (merchant, what, said_hash) do nothing;
        end if;
    elsif new.kind = 'refund' then
        select p.customer_ref, c.erased_at is not null as is_erased into paid
        from payments p left join customers c on c.id = p.customer_id
        where p.id = (payments_named(new.gateway, new.account, new.words -> 'payment'))[1];
        is_erased := coalesce(paid.is_erased, false);
        ref := paid.customer_ref;
    end if;
    if not is_erased and ref is not null then
        -- Whoever was erased by such a name stays so, whatever address is told of them since.
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'customer_ref' and e.said_hash in (
                erasure_hash(concat_ws('/', 'by name', new.gateway, new.account, ref)),
                case when said_email is null then erasure_hash(concat_ws('/', new.gateway, new.account, ref)) end));
    end if;
    if is_erased then
        new.words := without_personal_words(new.kind, new.words);
        delete from webhook_payloads where webhook_event_id = new.webhook_event_id;
        perform set_config('gatehouse.was_erased', 'yes', true);  -- so the answer that says it is not kept either
    end if;
    return new;
end
$function$;
REVOKE ALL ON FUNCTION respect_erasure() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.save_customer(p_customer jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    customer bigint := customer_of(working_for(), p_customer ->> 'email');
begin
    perform set_config('gatehouse.customer', customer::text, true);
    update customers as held set
        first_name = coalesce(said.first_name, held.first_name), last_name = coalesce(said.last_name, held.last_name),
        phone = coalesce(said.phone, held.phone), consent_at = coalesce(said.consent_at, held.consent_at),
        consent_scope = coalesce(said.consent_scope, held.consent_scope),
        retain_until = coalesce(said.retain_until, held.retain_until), version = held.version + 1, updated_at = now()
    from jsonb_to_record(p_customer) as said (
        first_name text, last_name text, phone text, consent_at timestamptz, consent_scope text, retain_until date)
    where held.id = customer and (
        coalesce(said.first_name, held.first_name), coalesce(said.last_name, held.last_name),
        coalesce(said.phone, held.phone), coalesce(said.consent_at, held.consent_at),
        coalesce(said.consent_scope, held.consent_scope), coalesce(said.retain_until, held.retain_until)
    ) is distinct from (
        held.first_name, held.last_name, held.phone, held.consent_at, held.consent_scope, held.retain_until);
    return customer;
end
$function$;
REVOKE ALL ON FUNCTION save_customer(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION save_customer(jsonb) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.says_address(p_text text, p_email_key text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select coalesce(position(p_email_key in lower(p_text)) > 0 and p_text ~* address_pattern(p_email_key), false)
$function$;

CREATE OR REPLACE FUNCTION public.search_query(p_merchant text, p_text text)
 RETURNS tsquery
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select string_agg('''' || p_merchant || '/' || left(part, 60) || ''':*', ' & ')::tsquery
    from regexp_split_to_table(
        regexp_replace(lower(normalize(left(p_text, 300), nfd)), '[\u0300-\u036f]', '', 'g'), '[\s,;]+') as said,
         lateral (
             select trim(both '.' from regexp_replace(said, '[^[:alnum:]\u0080-\uffff]+', '.', 'g')) as part) as found
    where part <> ''
$function$;

CREATE OR REPLACE FUNCTION public.search_words(p_merchant text, p_texts text[])
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select coalesce(
        array_to_tsvector(array_agg(distinct p_merchant || '/' || left(array_to_string(words[place:], '.'), 60))), '')
    from unnest(p_texts) as said,
         lateral (select array_remove(regexp_split_to_array(
             regexp_replace(lower(normalize(said, nfd)), '[\u0300-\u036f]', '', 'g'),
             '[^[:alnum:]\u0080-\uffff]+'), '') as words) as split,
         generate_subscripts(words, 1) as place
$function$;

CREATE OR REPLACE FUNCTION public.send_refund_again(p_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    held refund_requests;
begin
    select * into held from refund_requests where id = p_id and merchant = working_for() for update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such refund';
    elsif held.state <> 'unknown' then
        raise exception using errcode = 'GH009', message = 'the refund is ' || held.state || ', not unknown';
    end if;
    update refund_requests set state = 'pending', failure = null, updated_at = now() where id = held.id;
    update jobs set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null,
        lease_token = null, lease_until = null
    where id = held.job_id;
end
$function$;
REVOKE ALL ON FUNCTION send_refund_again(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION send_refund_again(uuid) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.set_order_status(p_order_id bigint, p_status text, p_expected_version integer)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    held orders;
begin
    select * into held from orders where id = p_order_id and merchant = working_for() for no key update;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such order';
    elsif p_expected_version <> held.version then
        raise exception using errcode = 'GH006', message = 'the order was changed since it was read';
    elsif p_status <> all (order_steps(held.status)) then
        raise exception using errcode = 'GH003', constraint = array_to_string(order_steps(held.status), ','),
            message = case
                when order_steps(held.status) = '{}' then 'an order that is ' || held.status || ' stays so'
                else 'an order that is ' || held.status || ' can only become '
                    || array_to_string(order_steps(held.status), ', ')
            end;
    end if;
    perform settle_order(held.id, p_status);
end
$function$;
REVOKE ALL ON FUNCTION set_order_status(bigint,text,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION set_order_status(bigint,text,integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.set_product_category(p_id bigint, p_category text, p_expected_version integer)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION set_product_category(bigint,text,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION set_product_category(bigint,text,integer) TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.settle_order(p_order_id bigint, p_status_by_hand text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    held orders;
    came bigint;
    went bigint;
    is_foreign boolean;
    is_under_way boolean;
    is_reversed boolean;
    new_state text;
    said_by_money text;
    ladder constant text[] := array['pending', 'processing', 'completed', 'partially_refunded', 'refunded'];
    new_status text;
begin
    select * into held from orders where id = p_order_id for no key update;
    held.status_by_hand := coalesce(p_status_by_hand, held.status_by_hand);
    select
        coalesce(sum(received_minor) filter (where counts and currency = held.currency), 0),
        coalesce(sum(coalesce(refunded_minor, 0)) filter (where counts and currency = held.currency), 0),
        coalesce(bool_or(counts and currency <> held.currency and status <> 'refunded'), false),
        coalesce(bool_or(status = 'processing'), false),
        coalesce(bool_or(status = 'cancelled' and completed_at is not null), false)
    into came, went, is_foreign, is_under_way, is_reversed
    from (
        select *, status in ('completed', 'partially_refunded', 'refunded') as counts
        from payments
        where order_id = held.id and merged_into is null and livemode = held.livemode
    ) as paid;
    new_state := case
        when is_foreign then 'wrong_currency'
        when came = 0 and held.total_minor > 0 and is_under_way then 'processing'
        when came = 0 and held.total_minor > 0 and is_reversed then 'reversed'
        when came = 0 and held.total_minor > 0 then 'unpaid'
        when went > 0 and went >= came then 'refunded'
        when came - went > held.total_minor then 'over_paid'
        when came - went = held.total_minor then 'paid'
        when came >= held.total_minor then 'partially_refunded'
        else 'part_paid'
    end;
    said_by_money := case
        when came < held.total_minor then
            case when came > 0 or is_foreign or is_under_way then 'processing' else 'pending' end
        when went > 0 and went >= came then 'refunded'
        when came - went < held.total_minor then 'partially_refunded'
        else 'completed'
    end;
    new_status := case
        when held.status_by_hand in ('failed', 'cancelled') then held.status_by_hand
        else ladder[greatest(
            array_position(ladder, held.status_by_hand), array_position(ladder, said_by_money))]
    end;
    update orders set
        status = new_status, status_by_hand = held.status_by_hand, payment_state = new_state, paid_minor = came,
        refunded_minor = went, version = version + 1, updated_at = now()
    where id = held.id
      and (status, status_by_hand, payment_state, paid_minor, refunded_minor)
          is distinct from (new_status, held.status_by_hand, new_state, came, went);
end
$function$;
REVOKE ALL ON FUNCTION settle_order(bigint,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_order(bigint,text) TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.settle_unknown_refund(p_id uuid, p_made_as text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    merchant_now text := working_for();
    held refund_requests;
    made refunds;
    ours jsonb := jsonb_build_object('kind', 'gatehouse_refund', 'id', p_id);
begin
    select * into held from refund_requests where id = p_id and merchant = merchant_now;
    if held.id is null then
        raise exception using errcode = 'GH008', message = 'there is no such refund';
    end if;
    -- Two rows become one, so nothing else of the account is recorded meanwhile.
    perform pg_advisory_xact_lock(account_lock(held.gateway, held.account));
    select * into held from refund_requests where id = p_id for update;
    if held.state <> 'unknown' then
        raise exception using errcode = 'GH009', message = 'the refund is ' || held.state || ', not unknown';
    end if;
    if p_made_as is not null then
        select r.* into made from subject_names n join refunds r on r.id = n.subject_id
        where n.gateway = held.gateway and n.account = held.account and n.subject_kind = 'refund'
          and n.kind = 'refund' and n.object_id = p_made_as;
        if made.id is null then
            raise exception using errcode = 'GH008',
                message = 'no refund of this name was told of at ' || held.gateway || ' ' || held.account
                    || ': compare the day with its list first';
        elsif exists (
            select from subject_names
            where subject_kind = 'refund' and subject_id = made.id and kind = 'gatehouse_refund') then
            raise exception using errcode = 'GH009', message = 'this refund was made for another request';
        elsif made.amount_minor is distinct from held.amount_minor or made.payment_id is distinct from (
            select coalesce(merged_into, id) from payments where id = held.payment_id) then
            perform refuse_field('made_as', 'is a refund of another payment, or of another amount');
        end if;
    end if;
    perform apply_facts(
        merchant_now, held.gateway, held.account,
        jsonb_build_object('payments', '[]'::jsonb, 'others', jsonb_build_array(jsonb_build_object(
            'kind', 'refund', 'rank', 1,
            'objects', case
                when p_made_as is null then jsonb_build_array(ours)
                else jsonb_build_array(jsonb_build_object('kind', 'refund', 'id', p_made_as), ours)
            end,
            'words', case
                when p_made_as is null
                then jsonb_build_object('status', 'failed', 'failure_message', 'it was not made, as a person has seen')
                else jsonb_build_object('gateway_id', p_made_as)
            end))),
        'request ' || held.id || ' settled', null, held.job_id, now(), now(), true);
    update refund_requests set
        state = case when p_made_as is null then 'failed' else 'sent' end,
        failure = case when p_made_as is null then 'it was not made, as a person has seen' end, updated_at = now()
    where id = held.id;
end
$function$;
REVOKE ALL ON FUNCTION settle_unknown_refund(uuid,text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION settle_unknown_refund(uuid,text) TO gatehouse_ops;

CREATE OR REPLACE FUNCTION public.step_reclassification(p_id bigint, p_most integer)
 RETURNS reclassifications
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;
REVOKE ALL ON FUNCTION step_reclassification(bigint,integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION step_reclassification(bigint,integer) TO gatehouse_ops, gatehouse_worker;

CREATE OR REPLACE FUNCTION public.subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
 RETURNS TABLE(kind text, id bigint)
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
    return query
    with named as materialized (
        select n.gateway, n.account, n.ref from person_named() n
    ), theirs as (
        select g.id, g.gateway, g.account, g.gateway_id from gateway_customers g
        where g.merchant = p_merchant and (lower(g.email) = p_email_key or g.customer_id = p_customer_id)
        union
        select g.id, g.gateway, g.account, g.gateway_id from named n
        join gateway_customers g on g.gateway = n.gateway and g.account = n.account and g.gateway_id = n.ref
        where g.merchant = p_merchant
    ), refs as (
        select t.gateway, t.account, t.gateway_id as ref from theirs t
        union
        select n.gateway, n.account, n.ref from named n
    ), paid as (
        select coalesce(p.merged_into, p.id) as id from payments p
        where p.merchant = p_merchant and lower(p.email) = p_email_key
        union
        select coalesce(p.merged_into, p.id) from payments p
        where p.merchant = p_merchant and p.customer_id = p_customer_id
        union
        select coalesce(p.merged_into, p.id) from refs t
        join payments p on p.merchant = p_merchant and p.customer_ref = t.ref and p.gateway = t.gateway
            and p.account = t.account
        union
        -- Named as invoices name them: what their invoices were paid by.
        select coalesce(p.merged_into, p.id) from named n
        join invoices i on i.gateway = n.gateway and i.account = n.account and i.customer_ref = n.ref
            and i.merchant = p_merchant
        join payments p on p.gateway = i.gateway and p.account = i.account and p.invoice_ref = i.gateway_id
        union
        select coalesce(p.merged_into, p.id) from orders o join payments p on p.order_id = o.id
        where o.merchant = p_merchant and o.customer_id = p_customer_id
    )
    select 'customer', t.id from theirs t
    union
    -- Known by the invoice alone: its customer has another number there than the payment says.
    select 'customer', g.id from paid p
    join payments pp on pp.id = p.id
    join invoices i on i.gateway = pp.gateway and i.account = pp.account and i.gateway_id = pp.invoice_ref
    join gateway_customers g on g.gateway = i.gateway and g.account = i.account and g.gateway_id = i.customer_ref
    union
    select 'customer', g.id from paid p
    join payments pp on pp.id = p.id
    join gateway_customers g on g.gateway = pp.gateway and g.account = pp.account and g.gateway_id = pp.customer_ref
    where exists (select from named)
    union
    select 'payment', p.id from paid p
    union
    select 'subscription', s.id from subscriptions s
    where s.merchant = p_merchant and (lower(s.email) = p_email_key or lower(s.user_id) = p_email_key or exists (
        select from refs t
        where t.gateway = s.gateway and t.account = s.account and t.ref = s.customer_ref))
    union
    select 'invoice', i.id from invoices i
    where i.merchant = p_merchant and (lower(i.email) = p_email_key or exists (
        select from refs t
        where t.gateway = i.gateway and t.account = i.account and t.ref = i.customer_ref))
    union
    select 'invoice', i.id from paid p
    join payments pp on pp.id = p.id
    join invoices i on i.gateway = pp.gateway and i.account = pp.account and i.gateway_id = pp.invoice_ref
    union
    select 'refund', r.id from paid p join refunds r on r.payment_id = p.id
    union
    select 'dispute', d.id from paid p join disputes d on d.payment_id = p.id
    union
    select 'payout', o.id from payouts o where o.merchant = p_merchant and lower(o.destination) = p_email_key;
end
$function$;

CREATE OR REPLACE FUNCTION public.suggest_category(p_merchant text, p_name text, OUT category text, OUT because text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
    select r.category, 'the name has ' || r.word into category, because
    from category_rules r
    where (r.merchant is null or r.merchant = p_merchant)
      and case
          when r.is_whole then lower(p_name) ~ ('\m' || regexp_replace(lower(r.word), '(\W)', '\\\1', 'g') || '\M')
          else position(product_key(r.word) in product_key(p_name)) > 0
      end
    order by r.merchant is null, length(r.word) desc, r.word
    limit 1;
end
$function$;

CREATE OR REPLACE FUNCTION public.take_recording_locks(p_merchant text, p_account_lock bigint, p_name_locks bigint[], p_joining boolean)
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    perform set_config('gatehouse.merchant', p_merchant, true);
    if p_joining then
        perform pg_advisory_xact_lock(p_account_lock);
    else
        perform pg_advisory_xact_lock_shared(p_account_lock);
    end if;
    perform pg_advisory_xact_lock(name_lock) from unnest(p_name_locks) as name_lock;
end
$function$;

CREATE OR REPLACE FUNCTION public.tell_app_transactions(p_events bigint[])
 RETURNS void
 LANGUAGE plpgsql
AS $function$
begin
    update app_transactions as noted
    set app = known.app, user_id = known.user_id, reference = known.reference, plan = known.plan,
        amount_minor = known.amount_minor, currency = known.currency
    from (
        select
            e.id, coalesce(p.app, s.app) as app, coalesce(p.user_id, s.user_id) as user_id,
            coalesce(word.reference, p.reference, s.reference, e.reference) as reference,
            coalesce(word.plan, p.plan, s.plan) as plan,
            coalesce(word.amount_minor, p.amount_minor, s.amount_minor) as amount_minor,
            coalesce(word.currency, p.currency, s.currency) as currency
        from app_transactions t
        join webhook_events e on e.id = t.webhook_event_id
        left join payments p on p.id = t.payment_id
        left join subscriptions s on s.id = t.subscription_id
        cross join lateral (
            -- The fact that was noted: the first of the event that says a status, payments coming first.
            select f.words from facts f
            where f.webhook_event_id = t.webhook_event_id and f.kind in ('payment', 'subscription')
              and f.words ? 'status'
            order by f.id limit 1
        ) as said
        cross join jsonb_to_record(said.words) as word (reference text, plan text, amount_minor bigint, currency text)
        where t.webhook_event_id = any (p_events)
    ) as known
    where noted.webhook_event_id = known.id
      and (noted.app, noted.user_id, noted.reference, noted.plan, noted.amount_minor, noted.currency)
        is distinct from
        (known.app, known.user_id, known.reference, known.plan, known.amount_minor, known.currency);
end
$function$;

CREATE OR REPLACE FUNCTION public.told_of(p_kind text, p_id bigint, p_climbs boolean, OUT merchant text, OUT gateway text, OUT account text, OUT words jsonb, OUT status text, OUT first_fact_at timestamp with time zone, OUT last_fact_at timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
AS $function$
declare
    told facts;
    step smallint := -1;
    first_received_at timestamptz;
    last_received_at timestamptz;
begin
    for told in
        select * from facts where kind = p_kind and subject_id = p_id
        order by occurred_at nulls first, rank, said_by
    loop
        words := coalesce(words, '{}') || told.words;
        if told.words ->> 'status' is not null and (not p_climbs or told.rank >= step) then
            status := told.words ->> 'status';
            step := told.rank;
        end if;
        first_fact_at := least(first_fact_at, told.occurred_at);
        first_received_at := least(first_received_at, told.received_at);
        last_received_at := greatest(last_received_at, told.received_at);
        last_fact_at := told.occurred_at;
        merchant := told.merchant;
        gateway := told.gateway;
        account := told.account;
    end loop;
    first_fact_at := coalesce(first_fact_at, first_received_at);
    last_fact_at := coalesce(last_fact_at, last_received_at);
end
$function$;

CREATE OR REPLACE FUNCTION public.total_bucket(p_level text, p_at timestamp with time zone)
 RETURNS timestamp with time zone
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select case p_level
        when 'quarter' then date_bin('15 minutes', p_at, '2000-01-01 00:00:00+00')
        when 'hour' then date_bin('1 hour', p_at, '2000-01-01 00:00:00+00')
        when 'six_hours' then date_bin('6 hours', p_at, '2000-01-01 00:00:00+00')
        when 'day' then date_bin('1 day', p_at, '2000-01-01 00:00:00+00')
        else date_trunc('month', p_at at time zone 'UTC') at time zone 'UTC' end
$function$;

CREATE OR REPLACE FUNCTION public.total_detail(p_entry total_entries, p_breakdown text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select case
        when p_breakdown in ('failure', 'duration') then (p_entry).gateway
        when p_breakdown in ('order', 'item') then (p_entry).event_id
        else '' end
$function$;

CREATE OR REPLACE FUNCTION public.total_entries_of(p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[])
 RETURNS SETOF total_entries
 LANGUAGE sql
 STABLE
AS $function$
    with paid as (
        select p.*, is_sale, took_ms, quarter_hour(p.first_fact_at) as begun_in,
            case when is_sale then quarter_hour(coalesce(p.completed_at, p.first_fact_at)) end as sold_in
        from payments p
        cross join lateral (select p.status in ('completed', 'refunded', 'partially_refunded') as is_sale) as sale
        cross join lateral (
            select case when is_sale and p.completed_at is not null then
                greatest(extract(epoch from p.completed_at - p.first_fact_at) * 1000, 0)::bigint end as took_ms
        ) as took
        where p.id = any (p_payments) and p.merged_into is null
    ), said as (
        -- When it was first heard of.
        select 'payment' as source, p.id as source_id, p.begun_in as bucket, coalesce(p.currency, '') as currency,
            p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category,
            case when p.status = 'failed' then coalesce(p.failure_code, '') end as failure,
            case when took_ms is not null then
                ceil(ln(greatest(took_ms, 1)::float8) / ln(1.1::float8))::integer end as duration_bin,
        1::bigint as payments, nullif(p.amount_minor, 0) as amount_minor, case when is_sale then 1 end as succeeded,
        case when p.status = 'failed' then 1 end as failed, case when p.status = 'cancelled' then 1 end as cancelled,
        took_ms as duration_ms, null::bigint as sales, null::bigint as gross_minor, null::bigint as fee_minor,
        null::bigint as unknown_fees, null::bigint as unknown_fee_gross_minor, null::bigint as sales_refunded,
        null::bigint as sales_refunded_minor, null::bigint as sales_disputed, null::bigint as refunds,
        null::bigint as refund_minor, null::bigint as other_fee_minor, null::bigint as disputes,
        null::bigint as dispute_minor, null::bigint as disputes_lost, null::bigint as lost_minor,
        null::bigint as held_minor, null::bigint as orders, null::bigint as ordered_minor, null::bigint as paid_minor,
        null::bigint as returned_minor, null::bigint as tax_minor, null::bigint as order_fee_minor,
        null::bigint as discount_minor, null::bigint as quantity, null::bigint as sold_quantity,
        null::bigint as sold_minor
        from paid p
        union all
        -- When it came in.
        select 'payment', p.id, p.sold_in, coalesce(p.currency, ''), p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category,
            null, null,
        null, null, null, null, null, null, 1, p.received_minor, null, case when p.fee_minor is null then 1 end,
        case when p.fee_minor is null then p.received_minor end, case when p.refunded_minor > 0 then 1 end,
        nullif(p.refunded_minor, 0),
        case when exists (select from disputes d where d.payment_id = p.id and d.status <> 'warning') then 1 end,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
        from paid p where is_sale
        union all
        -- Its fee, in the currency that it is taken in.
        select 'payment', p.id, p.sold_in, p.fee_currency, p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, p.fee_minor, null, null, null, null, null, null, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
        from paid p where is_sale and p.fee_minor is not null
        union all
        -- What the gateway calls refunded and no refund that we know explains, from when it first said so.
        select 'payment', p.id, quarter_hour(coalesce(first_said.at, p.last_fact_at)), coalesce(p.currency, ''),
            p.merchant, p.livemode, p.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, 1,
        p.refunded_minor - itemised.minor, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null
        from paid p
        cross join lateral (
            select coalesce(sum(r.amount_minor), 0)::bigint as minor from refunds r
            where r.payment_id = p.id and r.status = 'completed' and r.currency = p.currency
        ) as itemised
        cross join lateral (
            select min(coalesce(f.occurred_at, f.received_at)) as at from facts f
            where f.kind = 'payment' and f.subject_id = p.id and (f.words ->> 'refunded_minor')::bigint > 0
        ) as first_said
        where is_sale and p.refunded_minor > itemised.minor
        union all
        select 'refund', r.id, quarter_hour(coalesce(r.refunded_at, r.first_fact_at)),
            coalesce(r.currency, p.currency, ''), r.merchant, r.livemode, r.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, 1,
        coalesce(r.amount_minor, 0), r.fee_minor, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null
        from refunds r left join payments p on p.id = r.payment_id
        where r.id = any (p_refunds) and r.status = 'completed'
        union all
        select 'dispute', d.id, quarter_hour(coalesce(d.opened_at, d.first_fact_at)),
            coalesce(d.currency, p.currency, ''), d.merchant, d.livemode, d.gateway, p.app, p.method,
            p.product_category, null, null,
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, d.fee_minor,
        case when d.status <> 'warning' then 1 end, case when d.status <> 'warning' then d.amount_minor end,
        case when d.status = 'lost' then 1 end, case when d.status = 'lost' then d.amount_minor end,
        case when d.is_withdrawn then d.amount_minor end, null, null, null, null, null, null, null, null, null, null
        from disputes d left join payments p on p.id = d.payment_id
        where d.id = any (p_disputes)
    )
    select source, source_id, '', bucket, currency, merchant, livemode, gateway, coalesce(app, ''),
        coalesce(method, ''), coalesce(product_category, ''), max(failure), max(duration_bin), null, null,
        total_sum(payments), total_sum(amount_minor), total_sum(succeeded), total_sum(failed), total_sum(cancelled),
        total_sum(duration_ms), total_sum(sales), total_sum(gross_minor), total_sum(fee_minor),
        total_sum(unknown_fees), total_sum(unknown_fee_gross_minor), total_sum(sales_refunded),
        total_sum(sales_refunded_minor), total_sum(sales_disputed), total_sum(refunds), total_sum(refund_minor),
        total_sum(other_fee_minor), total_sum(disputes), total_sum(dispute_minor), total_sum(disputes_lost),
        total_sum(lost_minor), total_sum(held_minor), total_sum(orders), total_sum(ordered_minor),
        total_sum(paid_minor), total_sum(returned_minor), total_sum(tax_minor), total_sum(order_fee_minor),
        total_sum(discount_minor), total_sum(quantity), total_sum(sold_quantity), total_sum(sold_minor)
    from said
    group by source, source_id, bucket, currency, merchant, livemode, gateway, app, method, product_category
    union all
    select 'order', o.id, '', quarter_hour(o.created_at), o.currency, o.merchant, o.livemode, null, null, null, null,
        null, null, o.status, coalesce(o.event_id, ''),
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, 1, o.total_minor, o.paid_minor, o.refunded_minor, o.tax_minor, o.fee_minor,
        o.discount_minor, null, null, null
    from orders o where o.id = any (p_orders)
    union all
    select 'order', o.id, i.item_type, quarter_hour(o.created_at), o.currency, o.merchant, o.livemode, null, null, null,
        null, null, null, null, coalesce(o.event_id, ''),
        null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
        null, null, null, null, 1, sum(i.total_minor), null, null, null, null, null, sum(i.quantity),
        sum(i.quantity) filter (where o.status in ('completed', 'partially_refunded')),
        sum(i.total_minor) filter (where o.status in ('completed', 'partially_refunded'))
    from orders o join order_items i on i.order_id = o.id
    where o.id = any (p_orders)
    group by o.id, i.item_type
$function$;

CREATE OR REPLACE FUNCTION public.total_entries_taken_back(p_payments bigint[], p_refunds bigint[], p_disputes bigint[], p_orders bigint[])
 RETURNS SETOF total_entries
 LANGUAGE sql
 STABLE
AS $function$
    select e.source, e.source_id, e.part, e.bucket, e.currency, e.merchant, e.livemode, e.gateway, e.app,
        e.method, e.category, e.failure, e.duration_bin, e.order_status, e.event_id,
        -e.payments, -e.amount_minor, -e.succeeded, -e.failed, -e.cancelled, -e.duration_ms, -e.sales, -e.gross_minor,
        -e.fee_minor, -e.unknown_fees, -e.unknown_fee_gross_minor, -e.sales_refunded, -e.sales_refunded_minor,
        -e.sales_disputed, -e.refunds, -e.refund_minor, -e.other_fee_minor, -e.disputes, -e.dispute_minor,
        -e.disputes_lost, -e.lost_minor, -e.held_minor, -e.orders, -e.ordered_minor, -e.paid_minor, -e.returned_minor,
        -e.tax_minor, -e.order_fee_minor, -e.discount_minor, -e.quantity, -e.sold_quantity, -e.sold_minor
    from (
        select * from total_entries where source = 'payment' and source_id = any (p_payments)
        union all
        select * from total_entries where source = 'refund' and source_id = any (p_refunds)
        union all
        select * from total_entries where source = 'dispute' and source_id = any (p_disputes)
        union all
        select * from total_entries where source = 'order' and source_id = any (p_orders)
    ) as e
$function$;

CREATE OR REPLACE FUNCTION public.total_family(INOUT p_payments bigint[], INOUT p_refunds bigint[], INOUT p_disputes bigint[])
 RETURNS record
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
    p_payments := array(
        select unnest(p_payments)
        union select payment_id from refunds where id = any (p_refunds) and payment_id is not null
        union select payment_id from disputes where id = any (p_disputes) and payment_id is not null);
    p_refunds := array(
        select unnest(p_refunds) union select id from refunds where payment_id = any (p_payments));
    p_disputes := array(
        select unnest(p_disputes) union select id from disputes where payment_id = any (p_payments));
end
$function$;

CREATE OR REPLACE FUNCTION public.total_value(p_entry total_entries, p_breakdown text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$
    select case p_breakdown
        when 'gateway' then (p_entry).gateway when 'app' then (p_entry).app when 'method' then (p_entry).method
        when 'category' then (p_entry).category when 'failure' then (p_entry).failure
        when 'duration' then (p_entry).duration_bin::text when 'order' then (p_entry).order_status
        when 'item' then nullif((p_entry).part, '') end
$function$;

CREATE OR REPLACE FUNCTION public.totals_as_of(p_merchant text, p_most integer)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE
AS $function$
    select case when count(*) <= p_most then now() else min(marked_at) end
    from total_marks where merchant = p_merchant or p_merchant = '*'
$function$;

CREATE OR REPLACE FUNCTION public.totals_outstanding(p_merchant text, p_most integer)
 RETURNS SETOF total_entries
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
    marked record;
    family record;
begin
    select count(*) as marks,
        coalesce(array_agg(distinct source_id) filter (where source = 'payment'), '{}') as payments,
        coalesce(array_agg(distinct source_id) filter (where source = 'refund'), '{}') as refunds,
        coalesce(array_agg(distinct source_id) filter (where source = 'dispute'), '{}') as disputes,
        coalesce(array_agg(distinct source_id) filter (where source = 'order'), '{}') as orders
    into marked from total_marks where merchant = p_merchant or p_merchant = '*';
    if marked.marks = 0 or marked.marks > p_most then
        return;
    end if;
    select * into family from total_family(marked.payments, marked.refunds, marked.disputes);
    return query
    select * from total_entries_of(family.p_payments, family.p_refunds, family.p_disputes, marked.orders)
    union all
    select * from total_entries_taken_back(family.p_payments, family.p_refunds, family.p_disputes, marked.orders);
end
$function$;

CREATE OR REPLACE FUNCTION public.two_words_at_once(p_fact jsonb, p_id bigint, p_said_by text, p_occurred_at timestamp with time zone)
 RETURNS boolean
 LANGUAGE plpgsql
AS $function$
begin
    return exists (
        select from facts f
        where f.kind = p_fact ->> 'kind' and f.subject_id = p_id and f.occurred_at = p_occurred_at
          and f.said_by <> p_said_by
          and exists (
              select from jsonb_each(f.words) as theirs join jsonb_each(p_fact -> 'words') as ours using (key)
              where theirs.value <> ours.value
          )
    ) and not exists (
        select from facts f
        where f.kind = p_fact ->> 'kind' and f.subject_id = p_id and f.occurred_at > p_occurred_at
    );
end
$function$;

CREATE OR REPLACE FUNCTION public.use_api_key(p_id text, p_hash bytea)
 RETURNS TABLE(answer text, key_id text, key_merchant text, key_role text, key_rate integer, requests_left integer, full_in_seconds numeric, wait_seconds numeric)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    shown api_keys;
    mask bytea := convert_to(gen_random_uuid()::text, 'UTF8');
    moment timestamptz;
    tick interval;
    busy timestamptz;
begin
    -- For this statement's own transaction: what it writes need not survive a crash, and the caller waits for it.
    perform set_config('synchronous_commit', 'off', true);
    select * into shown from api_keys where id = p_id;
    if shown.id is null or sha256(shown.hash || mask) is distinct from sha256(p_hash || mask) then
        answer := 'unknown';
        return next;
        return;
    end if;
    key_id := shown.id;
    key_merchant := shown.merchant;
    key_role := shown.role;
    key_rate := shown.rate_per_minute;
    answer := case
        when shown.revoked_at is not null then 'revoked'
        when shown.expires_at <= now() then 'expired'
        when exists (select from merchants where id = shown.merchant and not is_active) then 'merchant_off'
        else 'ok'
    end;
    if answer = 'ok' then
        tick := interval '1 minute' / shown.rate_per_minute;
        moment := clock_timestamp();
        insert into api_usage as usage (key_id, busy_until)
        values (shown.id, moment + tick)
        on conflict on constraint api_usage_pkey do update set busy_until = greatest(usage.busy_until, moment) + tick
            where greatest(usage.busy_until, moment) + tick <= moment + interval '1 minute'
        returning usage.busy_until into busy;
        if busy is null then
            answer := 'limited';
            select usage.busy_until into busy from api_usage as usage where usage.key_id = shown.id;
            wait_seconds := greatest(extract(epoch from busy + tick - moment - interval '1 minute'), 0);
        end if;
        full_in_seconds := greatest(extract(epoch from busy - moment), 0);
        requests_left := greatest(floor((60 - full_in_seconds) / extract(epoch from tick)), 0);
        update api_keys set last_used_at = moment
        where id = shown.id and (last_used_at is null or last_used_at < moment - interval '1 hour');
    end if;
    return next;
end
$function$;
REVOKE ALL ON FUNCTION use_api_key(text,bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION use_api_key(text,bytea) TO gatehouse_api;

CREATE OR REPLACE FUNCTION public.user_of_key(p_id text)
 RETURNS text
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    select user_id from api_keys where id = p_id
$function$;
REVOKE ALL ON FUNCTION user_of_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION user_of_key(text) TO gatehouse_api;

CREATE OR REPLACE FUNCTION public.what_to_forward(p_job bigint, p_app text)
 RETURNS TABLE(event_row bigint, gateway text, account text, event_id text, type text, reference text, received_at timestamp with time zone, merchant text, payload_key_id text, payload bytea, content_type text, now timestamp with time zone, app text, url text, is_paused boolean, paused_because text, router_source text, attempts smallint, attempt_milliseconds integer, waits_milliseconds integer[], rate_per_second double precision, burst integer, sealed bytea, key_id text, circuit_state text, circuit_failures integer, circuit_opened_at timestamp with time zone, circuit_probe_at timestamp with time zone, bucket_tokens double precision, bucket_filled_at timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
    return query
    select e.id, e.gateway, e.account, e.event_id, e.type, e.reference, e.received_at, e.merchant,
        p.key_id, p.sealed, p.content_type, pg_catalog.now(),
        a.name, coalesce(a.target_url, a.environment_url), a.is_paused, a.paused_because, a.router_source,
        a.attempts, a.attempt_milliseconds, a.waits_milliseconds, a.rate_per_second, a.burst, a.sealed, a.key_id,
        a.circuit_state, a.circuit_failures, a.circuit_opened_at, a.circuit_probe_at, a.bucket_tokens, a.bucket_filled_at
    from jobs j
    join webhook_events e on e.id = j.webhook_event_id
    left join webhook_payloads p on p.webhook_event_id = e.id and p.received_at = e.received_at
    left join apps a on a.merchant = e.merchant and a.name = p_app
    where j.id = p_job;
end
$function$;

CREATE OR REPLACE FUNCTION public.without_address(p_text text, p_email_key text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select case
        when position(p_email_key in lower(p_text)) > 0
        then regexp_replace(p_text, address_pattern(p_email_key), 'erased', 'gi')
        else p_text
    end
$function$;

CREATE OR REPLACE FUNCTION public.without_personal_words(p_kind text, p_words jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select (p_words - array[
            'email', 'name', 'phone', 'description', 'lines', 'failure_message', 'cancel_reason', 'metadata',
            'customer_name', 'billing_address']
        - case when p_kind = 'refund' then array['reason'] else '{}' end
        - case when p_kind = 'payout' then array['destination'] else '{}' end
        - array(select each.key from jsonb_each(p_words) as each
                where each.key in ('user_id', 'reference') and each.value::text like '%@%'))
        || coalesce((
            select jsonb_build_object('metadata', jsonb_object_agg(said.key, said.value))
            from jsonb_each(case when jsonb_typeof(p_words -> 'metadata') = 'object' then p_words -> 'metadata' end)
                as said
            where said.key in ('order_id', 'order_number', 'app', 'plan') and said.value::text not like '%@%'
            having count(*) > 0), '{}')
$function$;

CREATE OR REPLACE FUNCTION public.working_for()
 RETURNS text
 LANGUAGE plpgsql
 STABLE
AS $function$
declare
    merchant text := nullif(current_setting('gatehouse.merchant', true), '');
begin
    if merchant is null then
        raise exception using errcode = '42501', message = 'the transaction does not say for which merchant it works';
    end if;
    return merchant;
end
$function$;

CREATE OR REPLACE FUNCTION public.write_admin_change(p_merchant text, p_what text, p_subject text, p_details jsonb)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
    insert into admin_changes (actor, merchant, what, subject, details)
    select
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user), p_merchant, p_what, p_subject,
        coalesce((
            select jsonb_object_agg(key, case when position('@' in value::text) > 0
                then audit_hash((select key from audit_hash_key), value) else value end)
            from jsonb_each(p_details)), '{}')
$function$;
REVOKE ALL ON FUNCTION write_admin_change(text,text,text,jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.write_audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into payment_audit_log (merchant, table_name, row_id, action, actor, webhook_event_id, changes)
    select
        this ->> 'merchant', tg_table_name, (this ->> 'id')::bigint, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        nullif(current_setting('gatehouse.event_row', true), '')::bigint,
        coalesce(jsonb_object_agg(name, case
            when name = any (tg_argv) or position('@' in concat(before -> name, after -> name)) > 0
            then jsonb_build_array(
                audit_hash((select key from audit_hash_key), before -> name),
                audit_hash((select key from audit_hash_key), after -> name))
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and (before -> name <> 'null' or after -> name <> 'null');
    return null;
end
$function$;
REVOKE ALL ON FUNCTION write_audit() FROM PUBLIC;

CREATE OR REPLACE FUNCTION public.write_forwards(p_event_row bigint)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    event webhook_events;
    belongs_to text[];
    said record;
    told text;
    job bigint;
    written jsonb := '[]';
begin
    select * into event from webhook_events where id = p_event_row;
    if not may_be_forwarded(event) or not exists (
        select from apps a where a.merchant = event.merchant and (a.target_url is not null or a.environment_url is not null)
    ) then
        return written;
    end if;
    belongs_to := apps_of_event(p_event_row);
    select
        coalesce((f.words ->> 'amount_minor')::bigint, (f.words ->> 'total_minor')::bigint) as amount_minor,
        f.words ->> 'currency' as currency
    into said
    from facts f
    where f.webhook_event_id = p_event_row and f.words ?| array['amount_minor', 'total_minor']
    order by f.id limit 1;
    for told in
        select a.name from apps a
        where a.merchant = event.merchant and (a.target_url is not null or a.environment_url is not null)
          and (a.takes_health_data or event.gateway <> 'mx_merchant')
          and is_taken(a.takes, a.name, belongs_to, event.gateway, event.type, said.amount_minor, said.currency)
        order by a.name
    loop
        insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
        values (
            'forward', p_event_row || '/' || told, event.merchant, jsonb_build_object('app', told), p_event_row)
        on conflict (topic, business_key) do nothing
        returning id into job;
        if found then
            written := written || jsonb_build_object('id', job, 'topic', 'forward');
        end if;
    end loop;
    return written;
end
$function$;

CREATE OR REPLACE FUNCTION public.write_needs(p_merchant text, p_event_row bigint, p_needs jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
AS $function$
declare
    need jsonb;
    job bigint;
    written jsonb := '[]';
begin
    for need in select value from jsonb_array_elements(p_needs) order by value ->> 'topic', value ->> 'key' loop
        insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
        values (need ->> 'topic', need ->> 'key', p_merchant, need -> 'arguments', p_event_row)
        on conflict (topic, business_key) do nothing
        returning id into job;
        if found then
            written := written || jsonb_build_object('id', job, 'topic', need ->> 'topic');
        end if;
    end loop;
    return written;
end
$function$;

CREATE OR REPLACE FUNCTION public.write_tenant_audit()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
declare
    before jsonb := case when tg_op = 'INSERT' then '{}' else to_jsonb(old) end;
    after jsonb := case when tg_op = 'DELETE' then '{}' else to_jsonb(new) end;
    this jsonb := case when tg_op = 'DELETE' then before else after end;
begin
    insert into tenant_audit_log (merchant, tenant_id, table_name, action, actor, changes)
    select this ->> 'merchant',
        case tg_table_name when 'platform_tenants' then this ->> 'id' else this ->> 'tenant_id' end,
        tg_table_name, lower(tg_op),
        coalesce(nullif(current_setting('gatehouse.actor', true), ''), session_user),
        coalesce(jsonb_object_agg(name, case
            when name in ('sealed', 'request_hash', 'billing_email') then to_jsonb('changed'::text)
            else jsonb_build_array(before -> name, after -> name)
        end), '{}')
    from jsonb_object_keys(this) as name
    where before -> name is distinct from after -> name
      and name not in ('updated_at', 'version', 'storage_bytes', 'storage_measured_at');
    return null;
end
$function$;
REVOKE ALL ON FUNCTION write_tenant_audit() FROM PUBLIC;

CREATE SEQUENCE backup_versions AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE backup_versions TO gatehouse_ops, gatehouse_worker;

CREATE SEQUENCE payment_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE payment_ids TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE SEQUENCE subject_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE subject_ids TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE TABLE admin_changes (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    actor text NOT NULL,
    merchant text,
    what text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}'::jsonb,
    CONSTRAINT admin_changes_pkey PRIMARY KEY (id),
    CONSTRAINT admin_changes_actor_check CHECK ((actor <> ''::text)),
    CONSTRAINT admin_changes_what_check CHECK ((what <> ''::text))
);
CREATE INDEX admin_changes_at ON public.admin_changes USING btree (at);
CREATE INDEX admin_changes_of_merchant ON public.admin_changes USING btree (merchant, id DESC) WHERE (merchant IS NOT NULL);
ALTER TABLE admin_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON admin_changes FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON admin_changes FOR SELECT TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.admin_changes FOR EACH STATEMENT EXECUTE FUNCTION refuse_admin_change();
COMMENT ON COLUMN admin_changes.merchant IS 'whose it is; null where it is of every merchant';
COMMENT ON COLUMN admin_changes.details IS 'column -> [before, after]; of what is secret only that it was set or changed';
GRANT SELECT ON TABLE admin_changes TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE api_answers (
    key_id text NOT NULL,
    merchant text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    body jsonb,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT api_answers_pkey PRIMARY KEY (key_id, merchant, idempotency_key),
    CONSTRAINT api_answers_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id)
);
CREATE INDEX api_answers_created ON public.api_answers USING btree (created_at);
ALTER TABLE api_answers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON api_answers FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON api_answers FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, SELECT ON TABLE api_answers TO gatehouse_ops, gatehouse_worker;
GRANT INSERT, SELECT ON TABLE api_answers TO gatehouse_api;

CREATE TABLE api_keys (
    id text NOT NULL,
    merchant text,
    role text NOT NULL,
    name text NOT NULL,
    hash bytea NOT NULL,
    rate_per_minute integer NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT SESSION_USER,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    last_used_at timestamp with time zone,
    may_read_health_data boolean NOT NULL DEFAULT true,
    user_id text,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_check CHECK (((merchant IS NOT NULL) OR (role = 'ops'::text))),
    CONSTRAINT api_keys_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT api_keys_id_check CHECK ((id ~ '^[A-Za-z0-9]{8}$'::text)),
    CONSTRAINT api_keys_name_check CHECK ((name <> ''::text)),
    CONSTRAINT api_keys_rate_per_minute_check CHECK (((rate_per_minute >= 1) AND (rate_per_minute <= 60000))),
    CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'developer'::text, 'admin'::text, 'ops'::text]))),
    CONSTRAINT api_keys_user_id_check CHECK ((user_id ~ '^[!-~]{1,200}$'::text)),
    CONSTRAINT api_keys_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON api_keys FOR ALL TO CURRENT_USER, gatehouse_ops USING (true);
CREATE TRIGGER api_keys_noted AFTER INSERT OR DELETE OR UPDATE OF revoked_at ON public.api_keys FOR EACH ROW EXECUTE FUNCTION note_admin_change('name', 'merchant', 'role', 'rate_per_minute', 'expires_at', 'may_read_health_data', 'user_id', 'created_by', 'revoked_at');
COMMENT ON COLUMN api_keys.last_used_at IS 'exact to an hour: written no more often than that';
GRANT INSERT, SELECT, UPDATE (revoked_at) ON TABLE api_keys TO gatehouse_ops;

CREATE UNLOGGED TABLE api_usage (
    key_id text NOT NULL,
    busy_until timestamp with time zone NOT NULL,
    CONSTRAINT api_usage_pkey PRIMARY KEY (key_id),
    CONSTRAINT api_usage_key_id_fkey FOREIGN KEY (key_id) REFERENCES api_keys(id)
) WITH (fillfactor=50);

CREATE TABLE app_transactions (
    webhook_event_id bigint NOT NULL,
    merchant text NOT NULL,
    app text,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    event_type text NOT NULL,
    payment_id bigint,
    subscription_id bigint,
    reference text,
    user_id text,
    plan text,
    amount_minor bigint,
    currency text,
    status text NOT NULL,
    occurred_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT app_transactions_pkey PRIMARY KEY (webhook_event_id),
    CONSTRAINT app_transactions_check CHECK ((num_nonnulls(payment_id, subscription_id) = 1))
);
CREATE INDEX app_transactions_newest ON public.app_transactions USING btree (merchant, app, created_at DESC);
CREATE INDEX app_transactions_payment ON public.app_transactions USING btree (payment_id) WHERE (payment_id IS NOT NULL);
CREATE INDEX app_transactions_reference ON public.app_transactions USING btree (merchant, reference) WHERE (reference IS NOT NULL);
CREATE INDEX app_transactions_subscription ON public.app_transactions USING btree (subscription_id) WHERE (subscription_id IS NOT NULL);
CREATE INDEX app_transactions_user ON public.app_transactions USING btree (merchant, app, user_id) WHERE (user_id IS NOT NULL);
ALTER TABLE app_transactions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON app_transactions FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON app_transactions FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER forward_transaction AFTER UPDATE ON public.app_transactions FOR EACH ROW WHEN (((old.app IS DISTINCT FROM new.app) AND (new.app IS NOT NULL))) EXECUTE FUNCTION forward_what_belongs_elsewhere();
GRANT INSERT, SELECT, UPDATE ON TABLE app_transactions TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE app_transactions TO gatehouse_api;

CREATE TABLE apps (
    merchant text NOT NULL,
    name text NOT NULL,
    is_default boolean NOT NULL DEFAULT false,
    plans text[] NOT NULL DEFAULT '{}'::text[],
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    target_url text,
    environment_url text,
    is_paused boolean NOT NULL DEFAULT false,
    paused_because text,
    takes jsonb NOT NULL DEFAULT '{}'::jsonb,
    takes_health_data boolean NOT NULL DEFAULT false,
    router_source text,
    attempts smallint,
    attempt_milliseconds integer,
    waits_milliseconds integer[],
    rate_per_second double precision,
    burst integer NOT NULL DEFAULT 10,
    sealed bytea,
    key_id text,
    circuit_state text NOT NULL DEFAULT 'closed'::text,
    circuit_failures integer NOT NULL DEFAULT 0,
    circuit_opened_at timestamp with time zone,
    circuit_probe_at timestamp with time zone,
    bucket_tokens double precision,
    bucket_filled_at timestamp with time zone,
    CONSTRAINT apps_pkey PRIMARY KEY (merchant, name),
    CONSTRAINT apps_attempt_milliseconds_check CHECK (((attempt_milliseconds >= 100) AND (attempt_milliseconds <= 10000))),
    CONSTRAINT apps_attempts_check CHECK (((attempts >= 1) AND (attempts <= 5))),
    CONSTRAINT apps_burst_check CHECK ((burst >= 1)),
    CONSTRAINT apps_check CHECK (((sealed IS NULL) = (key_id IS NULL))),
    CONSTRAINT apps_circuit_state_check CHECK ((circuit_state = ANY (ARRAY['closed'::text, 'open'::text, 'half_open'::text]))),
    CONSTRAINT apps_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9_-]{0,39}$'::text)),
    CONSTRAINT apps_rate_per_second_check CHECK ((rate_per_second > (0)::double precision)),
    CONSTRAINT apps_takes_check CHECK ((jsonb_typeof(takes) = 'object'::text)),
    CONSTRAINT apps_target_url_check CHECK (((length(target_url) >= 8) AND (length(target_url) <= 2048))),
    CONSTRAINT apps_waits_milliseconds_check CHECK ((((cardinality(waits_milliseconds) >= 1) AND (cardinality(waits_milliseconds) <= 5)) AND (0 <= ALL (waits_milliseconds)) AND (2000 >= ALL (waits_milliseconds)))),
    CONSTRAINT apps_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE UNIQUE INDEX apps_default ON public.apps USING btree (merchant) WHERE is_default;
ALTER TABLE apps ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON apps FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON apps FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER apps_noted AFTER INSERT OR DELETE OR UPDATE OF is_default, plans, target_url, environment_url, is_paused, paused_because, takes, takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst, sealed ON public.apps FOR EACH ROW EXECUTE FUNCTION note_admin_change('is_default', 'plans', '?target_url', '?environment_url', 'is_paused', 'paused_because', 'takes', 'takes_health_data', 'router_source', 'attempts', 'attempt_milliseconds', 'waits_milliseconds', 'rate_per_second', 'burst', '!sealed');
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE apps TO gatehouse_ops;
GRANT SELECT (merchant, name, is_default, plans, created_at, target_url, environment_url, is_paused, paused_because, takes, takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst, circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at) ON TABLE apps TO gatehouse_api, gatehouse_intake;
GRANT SELECT, UPDATE (environment_url, is_paused, paused_because, sealed, key_id, circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at, bucket_tokens, bucket_filled_at) ON TABLE apps TO gatehouse_worker;

CREATE TABLE audit_hash_key (
    only_one boolean NOT NULL DEFAULT true,
    key bytea NOT NULL,
    CONSTRAINT audit_hash_key_pkey PRIMARY KEY (only_one),
    CONSTRAINT audit_hash_key_only_one_check CHECK (only_one)
);

CREATE TABLE backup_changes (
    payment_id bigint NOT NULL,
    merchant text NOT NULL,
    changed_at timestamp with time zone NOT NULL DEFAULT now(),
    due_at timestamp with time zone NOT NULL DEFAULT now(),
    claim bigint,
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    CONSTRAINT backup_changes_pkey PRIMARY KEY (payment_id)
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000);
CREATE INDEX backup_changes_refused ON public.backup_changes USING btree (payment_id) WHERE (attempts > 0);
ALTER TABLE backup_changes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON backup_changes FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON backup_changes FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE backup_changes TO gatehouse_ops, gatehouse_worker;
GRANT INSERT, SELECT, UPDATE ON TABLE backup_changes TO gatehouse_intake;
GRANT SELECT ON TABLE backup_changes TO gatehouse_api;

CREATE TABLE backup_state (
    only_row boolean NOT NULL DEFAULT true,
    is_on boolean NOT NULL DEFAULT false,
    filled_after bigint NOT NULL DEFAULT 0,
    fill_ended_at timestamp with time zone,
    wrote_at timestamp with time zone,
    last_error text,
    last_error_at timestamp with time zone,
    compared_at timestamp with time zone,
    divergent bigint,
    CONSTRAINT backup_state_pkey PRIMARY KEY (only_row),
    CONSTRAINT backup_state_only_row_check CHECK (only_row)
);
GRANT SELECT ON TABLE backup_state TO gatehouse_api, gatehouse_intake;
GRANT SELECT, UPDATE ON TABLE backup_state TO gatehouse_ops, gatehouse_worker;

CREATE TABLE category_rules (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text,
    word text NOT NULL,
    is_whole boolean NOT NULL DEFAULT false,
    category text NOT NULL,
    CONSTRAINT category_rules_pkey PRIMARY KEY (id),
    CONSTRAINT category_rules_merchant_word_key UNIQUE NULLS NOT DISTINCT (merchant, word),
    CONSTRAINT category_rules_category_check CHECK (((category = btrim(category)) AND ((length(category) >= 1) AND (length(category) <= 60)))),
    CONSTRAINT category_rules_word_check CHECK (((length(word) >= 2) AND (length(word) <= 60))),
    CONSTRAINT category_rules_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
ALTER TABLE category_rules ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON category_rules FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON category_rules FOR ALL TO gatehouse_api, gatehouse_intake USING (((merchant IS NULL) OR (merchant = current_setting('gatehouse.merchant'::text, true))));
COMMENT ON COLUMN category_rules.is_whole IS 'the word must stand alone in the name; otherwise it is enough that the name has it within, spaces aside';
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE category_rules TO gatehouse_ops;
GRANT SELECT ON TABLE category_rules TO gatehouse_api, gatehouse_intake, gatehouse_worker;

CREATE TABLE completeness (
    gateway text NOT NULL,
    account text NOT NULL,
    day date NOT NULL,
    merchant text NOT NULL,
    listed integer NOT NULL,
    recorded integer NOT NULL,
    found_missing integer NOT NULL DEFAULT 0,
    checks integer NOT NULL DEFAULT 1,
    checked_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT completeness_pkey PRIMARY KEY (gateway, account, day),
    CONSTRAINT completeness_check CHECK (((recorded >= 0) AND (recorded <= listed))),
    CONSTRAINT completeness_listed_check CHECK ((listed >= 0)),
    CONSTRAINT completeness_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX completeness_by_day ON public.completeness USING btree (day);
CREATE INDEX completeness_missing ON public.completeness USING btree (day DESC) WHERE (recorded < listed);
CREATE INDEX completeness_newest ON public.completeness USING btree (merchant, day DESC, gateway, account);
ALTER TABLE completeness ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON completeness FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON completeness FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE completeness TO gatehouse_worker;
GRANT SELECT ON TABLE completeness TO gatehouse_api, gatehouse_ops;

CREATE TABLE customers (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    email text,
    email_key text GENERATED ALWAYS AS (lower(email)) STORED,
    first_name text,
    last_name text,
    phone text,
    consent_at timestamp with time zone,
    consent_scope text,
    retain_until date,
    erased_at timestamp with time zone,
    version integer NOT NULL DEFAULT 1,
    search tsvector GENERATED ALWAYS AS (search_words(merchant, ARRAY[email, first_name, last_name, phone])) STORED,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT customers_pkey PRIMARY KEY (id),
    CONSTRAINT customers_check CHECK (((email IS NOT NULL) OR (erased_at IS NOT NULL))),
    CONSTRAINT customers_check1 CHECK (((erased_at IS NULL) OR (num_nonnulls(email, first_name, last_name, phone) = 0))),
    CONSTRAINT customers_email_check CHECK (((email ~ '@'::text) AND (length(email) <= 320))),
    CONSTRAINT customers_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE UNIQUE INDEX customers_email ON public.customers USING btree (merchant, email_key) WHERE (email_key IS NOT NULL);
CREATE INDEX customers_newest ON public.customers USING btree (merchant, created_at DESC, id DESC);
CREATE INDEX customers_retained ON public.customers USING btree (retain_until) WHERE ((retain_until IS NOT NULL) AND (erased_at IS NULL));
CREATE INDEX customers_search ON public.customers USING gin (search) WITH (fastupdate=off);
ALTER TABLE customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON customers FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON customers FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER customers_audit_delete AFTER DELETE ON public.customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');
CREATE TRIGGER customers_audit_insert AFTER INSERT ON public.customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');
CREATE TRIGGER customers_audit_update AFTER UPDATE ON public.customers FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'email_key', 'first_name', 'last_name', 'phone', 'search');
CREATE TRIGGER follow_customer_words AFTER UPDATE ON public.customers FOR EACH ROW WHEN ((((old.email IS DISTINCT FROM new.email) OR (old.first_name IS DISTINCT FROM new.first_name)) OR (old.last_name IS DISTINCT FROM new.last_name))) EXECUTE FUNCTION follow_customer_words();
GRANT SELECT ON TABLE customers TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE disputes (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    payment_id bigint,
    status text NOT NULL,
    amount_minor bigint,
    currency text,
    fee_minor bigint,
    reason text,
    outcome text,
    is_withdrawn boolean,
    respond_by timestamp with time zone,
    opened_at timestamp with time zone,
    closed_at timestamp with time zone,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    CONSTRAINT disputes_pkey PRIMARY KEY (id),
    CONSTRAINT disputes_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT disputes_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT disputes_status_check CHECK ((status = ANY (ARRAY['warning'::text, 'needs_response'::text, 'under_review'::text, 'closed'::text, 'won'::text, 'lost'::text]))),
    CONSTRAINT disputes_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX disputes_newest ON public.disputes USING btree (merchant, first_fact_at DESC, id DESC);
CREATE INDEX disputes_payment ON public.disputes USING btree (payment_id) WHERE (payment_id IS NOT NULL);
CREATE INDEX disputes_to_answer ON public.disputes USING btree (merchant, respond_by) WHERE (status = ANY (ARRAY['warning'::text, 'needs_response'::text]));
ALTER TABLE disputes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON disputes FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON disputes FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER disputes_audit_delete AFTER DELETE ON public.disputes FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER disputes_audit_insert AFTER INSERT ON public.disputes FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER disputes_audit_update AFTER UPDATE ON public.disputes FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit();
CREATE TRIGGER mark_dispute AFTER INSERT OR DELETE OR UPDATE ON public.disputes FOR EACH ROW EXECUTE FUNCTION mark_total_of_part('dispute');
CREATE TRIGGER note_backup_insert AFTER INSERT ON public.disputes FOR EACH ROW WHEN ((new.payment_id IS NOT NULL)) EXECUTE FUNCTION note_backup_of_child();
CREATE TRIGGER note_backup_update AFTER UPDATE ON public.disputes FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION note_backup_of_child();
GRANT INSERT, SELECT, UPDATE ON TABLE disputes TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE disputes TO gatehouse_api;

CREATE TABLE erased_customers (
    merchant text NOT NULL,
    what text NOT NULL,
    said_hash text NOT NULL,
    erased_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT erased_customers_pkey PRIMARY KEY (merchant, what, said_hash),
    CONSTRAINT erased_customers_what_check CHECK ((what = ANY (ARRAY['email'::text, 'customer_ref'::text])))
);
ALTER TABLE erased_customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON erased_customers FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON erased_customers FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER erase_answers AFTER INSERT OR UPDATE ON public.erased_customers FOR EACH ROW WHEN ((new.what = 'email'::text)) EXECUTE FUNCTION erase_answers();
CREATE TRIGGER erase_notes_of_memberships AFTER INSERT OR UPDATE ON public.erased_customers FOR EACH ROW EXECUTE FUNCTION erase_notes_of_memberships();
CREATE TRIGGER erase_tenant_billing AFTER INSERT OR UPDATE ON public.erased_customers FOR EACH ROW WHEN ((new.what = 'email'::text)) EXECUTE FUNCTION erase_tenant_billing();
GRANT SELECT ON TABLE erased_customers TO gatehouse_ops;

CREATE TABLE facts (
    kind text NOT NULL,
    subject_id bigint NOT NULL,
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    said_by text NOT NULL,
    webhook_event_id bigint,
    job_id bigint,
    occurred_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    rank smallint NOT NULL,
    words jsonb NOT NULL,
    CONSTRAINT facts_pkey PRIMARY KEY (kind, subject_id, id),
    CONSTRAINT facts_check CHECK ((num_nonnulls(webhook_event_id, job_id) = 1)),
    CONSTRAINT facts_kind_check CHECK ((kind = ANY (ARRAY['payment'::text, 'customer'::text, 'subscription'::text, 'invoice'::text, 'refund'::text, 'dispute'::text, 'payout'::text]))) NOT VALID
);
CREATE INDEX facts_webhook_event ON public.facts USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
ALTER TABLE facts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON facts FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON facts FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER note_backup_erased AFTER UPDATE OF words ON public.facts FOR EACH ROW WHEN (((old.words IS DISTINCT FROM new.words) AND (new.kind = ANY (ARRAY['payment'::text, 'refund'::text, 'dispute'::text])))) EXECUTE FUNCTION note_backup_of_fact();
CREATE TRIGGER respect_erasure BEFORE INSERT ON public.facts FOR EACH ROW WHEN (((new.kind = ANY (ARRAY['customer'::text, 'payout'::text, 'refund'::text])) OR (new.words ?| ARRAY['email'::text, 'customer_ref'::text]))) EXECUTE FUNCTION respect_erasure();
GRANT INSERT, SELECT, UPDATE (subject_id) ON TABLE facts TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE facts TO gatehouse_api;

CREATE TABLE gateway_accounts (
    gateway text NOT NULL,
    account text NOT NULL,
    merchant text NOT NULL,
    mode text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    credentials bytea NOT NULL,
    key_id text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT gateway_accounts_pkey PRIMARY KEY (gateway, account),
    CONSTRAINT gateway_accounts_mode_check CHECK ((mode = ANY (ARRAY['test'::text, 'live'::text, 'both'::text]))),
    CONSTRAINT gateway_accounts_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX gateway_accounts_merchant ON public.gateway_accounts USING btree (merchant);
CREATE INDEX gateway_accounts_updated ON public.gateway_accounts USING btree (updated_at);
ALTER TABLE gateway_accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_accounts FOR ALL TO CURRENT_USER, gatehouse_intake, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON gateway_accounts FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER forget_trouble AFTER UPDATE OF credentials ON public.gateway_accounts FOR EACH ROW WHEN ((old.credentials IS DISTINCT FROM new.credentials)) EXECUTE FUNCTION forget_trouble();
CREATE TRIGGER gateway_accounts_noted AFTER INSERT OR DELETE OR UPDATE OF merchant, mode, is_active, credentials ON public.gateway_accounts FOR EACH ROW EXECUTE FUNCTION note_admin_change('merchant', 'mode', 'is_active', '!credentials');
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_accounts TO gatehouse_ops;
GRANT SELECT ON TABLE gateway_accounts TO gatehouse_intake, gatehouse_worker;
GRANT SELECT (gateway, account, merchant, mode, is_active, created_at, updated_at) ON TABLE gateway_accounts TO gatehouse_api;

CREATE TABLE gateway_answers (
    gateway text NOT NULL,
    account text NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    merchant text NOT NULL,
    answered_at timestamp with time zone NOT NULL,
    job_id bigint NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    CONSTRAINT gateway_answers_pkey PRIMARY KEY (gateway, account, kind, object_id)
);
CREATE INDEX gateway_answers_answered ON public.gateway_answers USING btree (answered_at);
ALTER TABLE gateway_answers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_answers FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON gateway_answers FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_answers TO gatehouse_ops, gatehouse_worker;

CREATE TABLE gateway_customers (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    email text,
    name text,
    phone text,
    app text,
    user_id text,
    is_deleted boolean,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    customer_id bigint,
    CONSTRAINT gateway_customers_pkey PRIMARY KEY (id),
    CONSTRAINT gateway_customers_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id)
);
CREATE INDEX gateway_customers_customer ON public.gateway_customers USING btree (customer_id) WHERE (customer_id IS NOT NULL);
CREATE INDEX gateway_customers_email ON public.gateway_customers USING btree (merchant, lower(email)) WHERE (email IS NOT NULL);
CREATE INDEX gateway_customers_ref ON public.gateway_customers USING btree (gateway, account, gateway_id);
ALTER TABLE gateway_customers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_customers FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON gateway_customers FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER follow_customer_insert AFTER INSERT ON public.gateway_customers FOR EACH ROW WHEN (((new.app IS NOT NULL) OR (new.user_id IS NOT NULL))) EXECUTE FUNCTION follow_customer();
CREATE TRIGGER follow_customer_update AFTER UPDATE ON public.gateway_customers FOR EACH ROW WHEN ((((old.app IS DISTINCT FROM new.app) OR (old.user_id IS DISTINCT FROM new.user_id)) OR (old.gateway_id IS DISTINCT FROM new.gateway_id))) EXECUTE FUNCTION follow_customer();
CREATE TRIGGER follow_membership_insert AFTER INSERT ON public.gateway_customers FOR EACH ROW WHEN (((new.name IS NOT NULL) OR (new.email IS NOT NULL))) EXECUTE FUNCTION follow_membership_of_customer();
CREATE TRIGGER follow_membership_update AFTER UPDATE ON public.gateway_customers FOR EACH ROW WHEN (((old.name IS DISTINCT FROM new.name) OR (old.email IS DISTINCT FROM new.email) OR (old.gateway_id IS DISTINCT FROM new.gateway_id))) EXECUTE FUNCTION follow_membership_of_customer();
CREATE TRIGGER gateway_customers_audit_delete AFTER DELETE ON public.gateway_customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER gateway_customers_audit_insert AFTER INSERT ON public.gateway_customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER gateway_customers_audit_update AFTER UPDATE ON public.gateway_customers FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER link_gateway_customer_insert BEFORE INSERT ON public.gateway_customers FOR EACH ROW WHEN ((new.email IS NOT NULL)) EXECUTE FUNCTION link_gateway_customer();
CREATE TRIGGER link_gateway_customer_update BEFORE UPDATE ON public.gateway_customers FOR EACH ROW WHEN ((old.email IS DISTINCT FROM new.email)) EXECUTE FUNCTION link_gateway_customer();
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_customers TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE gateway_customers TO gatehouse_api;

CREATE TABLE gateway_troubles (
    gateway text NOT NULL,
    account text NOT NULL,
    merchant text NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    credentials_mark text NOT NULL,
    failures integer NOT NULL DEFAULT 1,
    began_at timestamp with time zone NOT NULL DEFAULT now(),
    asked_again_at timestamp with time zone NOT NULL,
    CONSTRAINT gateway_troubles_pkey PRIMARY KEY (gateway, account),
    CONSTRAINT gateway_troubles_kind_check CHECK ((kind = ANY (ARRAY['refused'::text, 'failing'::text])))
);
ALTER TABLE gateway_troubles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON gateway_troubles FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON gateway_troubles FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE gateway_troubles TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE gateway_troubles TO gatehouse_api;

CREATE TABLE health_data_reads (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    merchant text NOT NULL,
    reader text NOT NULL,
    kind text NOT NULL,
    filters jsonb NOT NULL DEFAULT '{}'::jsonb,
    row_ids bigint[] NOT NULL DEFAULT '{}'::bigint[],
    row_count integer NOT NULL,
    CONSTRAINT health_data_reads_pkey PRIMARY KEY (id),
    CONSTRAINT health_data_reads_kind_check CHECK ((kind = ANY (ARRAY['memberships'::text, 'membership'::text, 'patient'::text, 'export'::text, 'products'::text, 'payments'::text, 'invoices'::text])))
);
CREATE INDEX health_data_reads_at ON public.health_data_reads USING btree (at);
CREATE INDEX health_data_reads_newest ON public.health_data_reads USING btree (merchant, id DESC);
ALTER TABLE health_data_reads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON health_data_reads FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON health_data_reads FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN health_data_reads.reader IS 'the key or person that asked, as the audit calls them';
COMMENT ON COLUMN health_data_reads.filters IS 'what was asked for; of words that were searched only that they were';
COMMENT ON COLUMN health_data_reads.row_ids IS 'which rows were shown: of memberships, products, payments or invoices';
GRANT INSERT, SELECT ON TABLE health_data_reads TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE imports (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    source text NOT NULL,
    content_hash text NOT NULL,
    job_id bigint NOT NULL,
    place bigint NOT NULL DEFAULT 0,
    rows_read bigint NOT NULL DEFAULT 0,
    rows_recorded bigint NOT NULL DEFAULT 0,
    rows_refused bigint NOT NULL DEFAULT 0,
    started_by text NOT NULL DEFAULT SESSION_USER,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    CONSTRAINT imports_pkey PRIMARY KEY (id),
    CONSTRAINT imports_gateway_account_content_hash_key UNIQUE (gateway, account, content_hash),
    CONSTRAINT imports_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX imports_newest ON public.imports USING btree (merchant, started_at DESC, id DESC);
ALTER TABLE imports ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON imports FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON imports FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE imports TO gatehouse_ops, gatehouse_worker;

CREATE TABLE invoices (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    status text NOT NULL,
    number text,
    total_minor bigint,
    due_minor bigint,
    paid_minor bigint,
    currency text,
    customer_ref text,
    email text,
    subscription_ref text,
    attempts integer,
    next_attempt_at timestamp with time zone,
    issued_at timestamp with time zone,
    due_at timestamp with time zone,
    paid_at timestamp with time zone,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    description text,
    lines jsonb,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    customer_name text,
    billing_address jsonb,
    data_sent_status text NOT NULL DEFAULT 'pending'::text,
    CONSTRAINT invoices_pkey PRIMARY KEY (id),
    CONSTRAINT invoices_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT invoices_data_sent_status_check CHECK ((data_sent_status = ANY (ARRAY['pending'::text, 'sent'::text, 'failed'::text]))) NOT VALID,
    CONSTRAINT invoices_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'open'::text, 'partially_paid'::text, 'past_due'::text, 'uncollectible'::text, 'void'::text, 'paid'::text, 'partially_refunded'::text, 'refunded'::text])))
);
CREATE INDEX invoices_customer ON public.invoices USING btree (gateway, account, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX invoices_newest ON public.invoices USING btree (merchant, first_fact_at DESC, id DESC);
CREATE INDEX invoices_number ON public.invoices USING btree (merchant, number) WHERE (number IS NOT NULL);
CREATE INDEX invoices_of_customer ON public.invoices USING btree (merchant, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX invoices_ref ON public.invoices USING btree (gateway, account, gateway_id);
CREATE INDEX invoices_subscription ON public.invoices USING btree (gateway, account, subscription_ref) WHERE (subscription_ref IS NOT NULL);
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON invoices FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON invoices FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER classify_payments_of_invoice_insert AFTER INSERT ON public.invoices FOR EACH ROW WHEN (((new.lines IS NOT NULL) OR (new.subscription_ref IS NOT NULL))) EXECUTE FUNCTION classify_payments_of_invoice();
CREATE TRIGGER classify_payments_of_invoice_update AFTER UPDATE ON public.invoices FOR EACH ROW WHEN (((old.lines IS DISTINCT FROM new.lines) OR (old.subscription_ref IS DISTINCT FROM new.subscription_ref) OR (old.gateway_id IS DISTINCT FROM new.gateway_id))) EXECUTE FUNCTION classify_payments_of_invoice();
CREATE TRIGGER follow_name_on_invoice_insert AFTER INSERT ON public.invoices FOR EACH ROW WHEN ((new.customer_name IS NOT NULL)) EXECUTE FUNCTION follow_name_on_invoice();
CREATE TRIGGER follow_name_on_invoice_update AFTER UPDATE ON public.invoices FOR EACH ROW WHEN ((old.customer_name IS DISTINCT FROM new.customer_name)) EXECUTE FUNCTION follow_name_on_invoice();
CREATE TRIGGER invoices_audit_delete AFTER DELETE ON public.invoices FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');
CREATE TRIGGER invoices_audit_insert AFTER INSERT ON public.invoices FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');
CREATE TRIGGER invoices_audit_update AFTER UPDATE ON public.invoices FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'customer_ref', 'customer_name', 'billing_address', 'description', 'lines', 'metadata');
COMMENT ON COLUMN invoices.billing_address IS '{name, address1, address2, city, state, zip, country}, as far as it is said';
COMMENT ON COLUMN invoices.data_sent_status IS 'whether the invoice was passed on to whoever fulfils it: pending until somebody notes that it was sent, or that sending failed. No fact of a gateway says it, so no fold changes it.';
GRANT INSERT, SELECT, UPDATE ON TABLE invoices TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE invoices TO gatehouse_api;

CREATE TABLE item_types (
    merchant text NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT item_types_pkey PRIMARY KEY (merchant, name),
    CONSTRAINT item_types_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text)),
    CONSTRAINT item_types_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
ALTER TABLE item_types ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON item_types FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON item_types FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT SELECT ON TABLE item_types TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE jobs (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    topic text NOT NULL,
    business_key text NOT NULL,
    merchant text NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}'::jsonb,
    status text NOT NULL DEFAULT 'waiting'::text,
    due_at timestamp with time zone NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    lease_until timestamp with time zone,
    lease_token uuid,
    ring_after timestamp with time zone NOT NULL DEFAULT (now() + '00:00:30'::interval),
    last_error text,
    burials integer NOT NULL DEFAULT 0,
    burial_told boolean NOT NULL DEFAULT true,
    webhook_event_id bigint,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    redrive_id bigint,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_topic_business_key_key UNIQUE (topic, business_key),
    CONSTRAINT jobs_check CHECK (((status = 'leased'::text) = ((lease_token IS NOT NULL) AND (lease_until IS NOT NULL)))),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'leased'::text, 'done'::text, 'dead'::text])))
);
CREATE INDEX jobs_burials_to_tell ON public.jobs USING btree (id) WHERE (NOT burial_told);
CREATE INDEX jobs_dead ON public.jobs USING btree (topic, finished_at) WHERE (status = 'dead'::text);
CREATE INDEX jobs_event ON public.jobs USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
CREATE INDEX jobs_forwards ON public.jobs USING btree (merchant, ((arguments ->> 'app'::text)), id) WHERE ((topic = 'forward'::text) AND (status <> 'done'::text));
CREATE INDEX jobs_leased ON public.jobs USING btree (merchant) WHERE (status = 'leased'::text);
CREATE INDEX jobs_redrive ON public.jobs USING btree (redrive_id) WHERE (redrive_id IS NOT NULL);
CREATE INDEX jobs_to_ring ON public.jobs USING btree (ring_after) WHERE (status = ANY (ARRAY['waiting'::text, 'leased'::text]));
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON jobs FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON jobs FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE jobs TO gatehouse_intake;
GRANT INSERT, SELECT, UPDATE ON TABLE jobs TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE jobs TO gatehouse_api;

CREATE TABLE membership_counts (
    merchant text NOT NULL,
    category text NOT NULL,
    status text NOT NULL,
    livemode boolean NOT NULL,
    memberships integer NOT NULL,
    missed integer NOT NULL,
    is_merged boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_insert_threshold=-1);
CREATE INDEX membership_counts_changes ON public.membership_counts USING btree (merchant) WHERE (NOT is_merged);
CREATE INDEX membership_counts_merchant ON public.membership_counts USING btree (merchant);
ALTER TABLE membership_counts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON membership_counts FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON membership_counts FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN membership_counts.memberships IS 'how many more, or with a minus fewer';
COMMENT ON COLUMN membership_counts.missed IS 'how many more of them have missed a renewal';
GRANT SELECT ON TABLE membership_counts TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE memberships (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    customer_ref text NOT NULL,
    livemode boolean NOT NULL,
    category text NOT NULL,
    name text,
    email text,
    product_name text,
    status_by_rule text NOT NULL,
    started_at timestamp with time zone,
    last_payment_at timestamp with time zone,
    next_expected_at timestamp with time zone,
    renews_every text,
    amount_minor bigint,
    currency text,
    payment_count integer NOT NULL DEFAULT 0,
    renewal_missed_at timestamp with time zone,
    status_by_hand text,
    status_reason text,
    status_set_by text,
    status_set_at timestamp with time zone,
    google_review_submitted boolean NOT NULL DEFAULT false,
    referral_source text,
    fulfillment_type text,
    status text NOT NULL GENERATED ALWAYS AS (COALESCE(status_by_hand, status_by_rule)) STORED,
    name_key text COLLATE "C" NOT NULL GENERATED ALWAYS AS (lower(COALESCE(name, customer_ref))) STORED,
    search tsvector NOT NULL GENERATED ALWAYS AS (search_words(merchant, ARRAY[name, customer_ref, email, product_name])) STORED,
    version integer NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT memberships_pkey PRIMARY KEY (id),
    CONSTRAINT memberships_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT memberships_check CHECK ((((status_by_hand IS NULL) = (status_set_at IS NULL)) AND ((status_by_hand IS NULL) = (status_set_by IS NULL)))),
    CONSTRAINT memberships_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT memberships_fulfillment_type_check CHECK (((length(fulfillment_type) >= 1) AND (length(fulfillment_type) <= 100))),
    CONSTRAINT memberships_referral_source_check CHECK (((length(referral_source) >= 1) AND (length(referral_source) <= 200))),
    CONSTRAINT memberships_status_by_hand_check CHECK ((status_by_hand = ANY (ARRAY['active'::text, 'paused'::text, 'canceled'::text, 'past_due'::text]))),
    CONSTRAINT memberships_status_by_rule_check CHECK ((status_by_rule = ANY (ARRAY['active'::text, 'paused'::text, 'canceled'::text, 'past_due'::text]))),
    CONSTRAINT memberships_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX memberships_category_name ON public.memberships USING btree (merchant, category, name_key, id);
CREATE INDEX memberships_counted ON public.memberships USING btree (merchant, category, status, livemode) INCLUDE (renewal_missed_at);
CREATE INDEX memberships_due ON public.memberships USING btree (next_expected_at) WHERE ((renewal_missed_at IS NULL) AND (status = ANY (ARRAY['active'::text, 'past_due'::text])));
CREATE INDEX memberships_expected ON public.memberships USING btree (merchant, COALESCE(next_expected_at, 'infinity'::timestamp with time zone), id);
CREATE INDEX memberships_missed ON public.memberships USING btree (merchant, name_key, id) WHERE (renewal_missed_at IS NOT NULL);
CREATE INDEX memberships_name ON public.memberships USING btree (merchant, name_key, id);
CREATE INDEX memberships_paid ON public.memberships USING btree (merchant, COALESCE(last_payment_at, '-infinity'::timestamp with time zone) DESC, id DESC);
CREATE UNIQUE INDEX memberships_patient ON public.memberships USING btree (merchant, gateway, account, customer_ref, category, livemode);
CREATE INDEX memberships_search ON public.memberships USING gin (search) WITH (fastupdate=off);
CREATE INDEX memberships_started ON public.memberships USING btree (merchant, COALESCE(started_at, '-infinity'::timestamp with time zone) DESC, id DESC);
CREATE INDEX memberships_status_name ON public.memberships USING btree (merchant, status, name_key, id);
ALTER TABLE memberships ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON memberships FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON memberships FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER count_membership AFTER INSERT OR DELETE ON public.memberships FOR EACH ROW EXECUTE FUNCTION count_membership();
CREATE TRIGGER count_membership_update AFTER UPDATE ON public.memberships FOR EACH ROW WHEN ((((((old.merchant IS DISTINCT FROM new.merchant) OR (old.category IS DISTINCT FROM new.category)) OR (old.status IS DISTINCT FROM new.status)) OR (old.livemode IS DISTINCT FROM new.livemode)) OR ((old.renewal_missed_at IS NULL) IS DISTINCT FROM (new.renewal_missed_at IS NULL)))) EXECUTE FUNCTION count_membership();
CREATE TRIGGER memberships_audit_delete AFTER DELETE ON public.memberships FOR EACH ROW EXECUTE FUNCTION write_audit('customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');
CREATE TRIGGER memberships_audit_insert AFTER INSERT ON public.memberships FOR EACH ROW EXECUTE FUNCTION write_audit('customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');
CREATE TRIGGER memberships_audit_update AFTER UPDATE ON public.memberships FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('customer_ref', 'name', 'name_key', 'email', 'product_name', 'search', 'status_reason', 'referral_source');
COMMENT ON COLUMN memberships.next_expected_at IS 'by the subscription or contract, else by the interval at which payments were seen; null where neither says';
COMMENT ON COLUMN memberships.amount_minor IS 'of the last payment, without its surcharge';
COMMENT ON COLUMN memberships.renewal_missed_at IS 'when the renewal was expected that did not come; a job notes it';
COMMENT ON COLUMN memberships.status IS 'what a person said, until that is released; else what the payments say';
COMMENT ON COLUMN memberships.customer_ref IS 'the patient: the gateway''s code of the customer, in one of its accounts';
GRANT SELECT ON TABLE memberships TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE merchants (
    id text NOT NULL,
    name text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT merchants_pkey PRIMARY KEY (id),
    CONSTRAINT merchants_id_check CHECK ((id ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text))
);
ALTER TABLE merchants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON merchants FOR ALL TO CURRENT_USER, gatehouse_intake, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON merchants FOR ALL TO gatehouse_api USING ((id = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER merchants_noted AFTER INSERT OR DELETE OR UPDATE OF name, is_active ON public.merchants FOR EACH ROW EXECUTE FUNCTION note_admin_change('name', 'is_active');
GRANT INSERT, SELECT, UPDATE ON TABLE merchants TO gatehouse_ops;
GRANT SELECT ON TABLE merchants TO gatehouse_api, gatehouse_intake, gatehouse_worker;

CREATE TABLE order_counters (
    merchant text NOT NULL,
    day date NOT NULL,
    last_number integer NOT NULL,
    CONSTRAINT order_counters_pkey PRIMARY KEY (merchant, day)
);
ALTER TABLE order_counters ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON order_counters FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON order_counters FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT SELECT ON TABLE order_counters TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE order_items (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    order_id bigint NOT NULL,
    item_type text NOT NULL,
    description text,
    quantity integer NOT NULL,
    unit_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    attendee_name text,
    attendee_email text,
    attendee_email_key text GENERATED ALWAYS AS (lower(attendee_email)) STORED,
    ordered_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT order_items_pkey PRIMARY KEY (id),
    CONSTRAINT order_items_check CHECK ((total_minor = (quantity * unit_minor))),
    CONSTRAINT order_items_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT order_items_total_minor_check CHECK ((total_minor >= 0)),
    CONSTRAINT order_items_unit_minor_check CHECK ((unit_minor >= 0)),
    CONSTRAINT order_items_merchant_item_type_fkey FOREIGN KEY (merchant, item_type) REFERENCES item_types(merchant, name),
    CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id)
);
CREATE INDEX order_items_attendee ON public.order_items USING btree (merchant, attendee_email_key) WHERE (attendee_email_key IS NOT NULL);
CREATE INDEX order_items_of_type ON public.order_items USING btree (merchant, item_type, ordered_at DESC, order_id DESC);
CREATE INDEX order_items_order ON public.order_items USING btree (order_id, id);
ALTER TABLE order_items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON order_items FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON order_items FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER follow_attendee_words AFTER UPDATE ON public.order_items FOR EACH ROW WHEN (((old.attendee_name IS DISTINCT FROM new.attendee_name) OR (old.attendee_email IS DISTINCT FROM new.attendee_email))) EXECUTE FUNCTION follow_attendee_words();
CREATE TRIGGER order_items_audit_delete AFTER DELETE ON public.order_items FOR EACH ROW EXECUTE FUNCTION write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');
CREATE TRIGGER order_items_audit_insert AFTER INSERT ON public.order_items FOR EACH ROW EXECUTE FUNCTION write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');
CREATE TRIGGER order_items_audit_update AFTER UPDATE ON public.order_items FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('description', 'attendee_name', 'attendee_email', 'attendee_email_key');
GRANT SELECT ON TABLE order_items TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE orders (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    number text NOT NULL,
    customer_id bigint NOT NULL,
    livemode boolean NOT NULL,
    event_id text,
    event_name text,
    event_date date,
    currency text NOT NULL,
    status text NOT NULL DEFAULT 'pending'::text,
    status_by_hand text NOT NULL DEFAULT 'pending'::text,
    payment_state text NOT NULL DEFAULT 'unpaid'::text,
    subtotal_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    fee_minor bigint NOT NULL,
    discount_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    paid_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    reference text,
    metadata jsonb,
    idempotency_key text,
    content_hash text,
    version integer NOT NULL DEFAULT 1,
    search tsvector NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_check CHECK ((total_minor = (((subtotal_minor + tax_minor) + fee_minor) - discount_minor))),
    CONSTRAINT orders_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT orders_discount_minor_check CHECK ((discount_minor >= 0)),
    CONSTRAINT orders_fee_minor_check CHECK ((fee_minor >= 0)),
    CONSTRAINT orders_payment_state_check CHECK ((payment_state = ANY (ARRAY['unpaid'::text, 'processing'::text, 'part_paid'::text, 'paid'::text, 'over_paid'::text, 'wrong_currency'::text, 'partially_refunded'::text, 'refunded'::text, 'reversed'::text]))),
    CONSTRAINT orders_status_by_hand_check CHECK ((status_by_hand = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'cancelled'::text]))),
    CONSTRAINT orders_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'cancelled'::text]))),
    CONSTRAINT orders_subtotal_minor_check CHECK ((subtotal_minor >= 0)),
    CONSTRAINT orders_tax_minor_check CHECK ((tax_minor >= 0)),
    CONSTRAINT orders_total_minor_check CHECK ((total_minor >= 0)),
    CONSTRAINT orders_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id),
    CONSTRAINT orders_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX orders_customer ON public.orders USING btree (customer_id, created_at DESC, id DESC);
CREATE INDEX orders_event ON public.orders USING btree (merchant, event_id, created_at DESC, id DESC) WHERE (event_id IS NOT NULL);
CREATE UNIQUE INDEX orders_idempotency_key ON public.orders USING btree (merchant, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX orders_newest ON public.orders USING btree (merchant, created_at DESC, id DESC);
CREATE UNIQUE INDEX orders_number ON public.orders USING btree (merchant, number);
CREATE INDEX orders_payment_state ON public.orders USING btree (merchant, payment_state, created_at DESC, id DESC);
CREATE UNIQUE INDEX orders_reference ON public.orders USING btree (merchant, reference) WHERE (reference IS NOT NULL);
CREATE INDEX orders_search ON public.orders USING gin (search) WITH (fastupdate=off);
CREATE INDEX orders_status ON public.orders USING btree (merchant, status, created_at DESC, id DESC);
ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON orders FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON orders FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER follow_order AFTER INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION follow_order();
CREATE TRIGGER mark_order_insert AFTER INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION mark_total('order');
CREATE TRIGGER mark_order_update AFTER UPDATE ON public.orders FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) OR (old.livemode IS DISTINCT FROM new.livemode) OR (old.currency IS DISTINCT FROM new.currency) OR (old.event_id IS DISTINCT FROM new.event_id) OR (old.total_minor IS DISTINCT FROM new.total_minor) OR (old.paid_minor IS DISTINCT FROM new.paid_minor) OR (old.refunded_minor IS DISTINCT FROM new.refunded_minor) OR (old.tax_minor IS DISTINCT FROM new.tax_minor) OR (old.fee_minor IS DISTINCT FROM new.fee_minor) OR (old.discount_minor IS DISTINCT FROM new.discount_minor))) EXECUTE FUNCTION mark_total('order');
CREATE TRIGGER note_backup_update AFTER UPDATE ON public.orders FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION note_backup_of_order();
CREATE TRIGGER orders_audit_delete AFTER DELETE ON public.orders FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'content_hash', 'search');
CREATE TRIGGER orders_audit_insert AFTER INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'content_hash', 'search');
CREATE TRIGGER orders_audit_update AFTER UPDATE ON public.orders FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('metadata', 'content_hash', 'search');
COMMENT ON COLUMN orders.paid_minor IS 'what came in for it, before refunds, in its currency and its mode';
GRANT SELECT ON TABLE orders TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE payment_audit_log (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    merchant text NOT NULL,
    table_name text NOT NULL,
    row_id bigint NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    webhook_event_id bigint,
    changes jsonb NOT NULL,
    CONSTRAINT payment_audit_log_pkey PRIMARY KEY (table_name, row_id, id),
    CONSTRAINT payment_audit_log_action_check CHECK ((action = ANY (ARRAY['insert'::text, 'update'::text, 'delete'::text])))
);
CREATE INDEX payment_audit_log_event ON public.payment_audit_log USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
ALTER TABLE payment_audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payment_audit_log FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payment_audit_log FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.payment_audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
COMMENT ON COLUMN payment_audit_log.changes IS 'column -> [before, after]; personal values appear only as keyed hashes';
GRANT SELECT ON TABLE payment_audit_log TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE payment_objects (
    gateway text NOT NULL,
    account text NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    merchant text NOT NULL,
    payment_id bigint NOT NULL,
    CONSTRAINT payment_objects_pkey PRIMARY KEY (gateway, account, kind, object_id),
    CONSTRAINT payment_objects_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX payment_objects_payment ON public.payment_objects USING btree (payment_id);
ALTER TABLE payment_objects ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payment_objects FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payment_objects FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE (payment_id) ON TABLE payment_objects TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE payment_objects TO gatehouse_api;

CREATE TABLE payments (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    status text NOT NULL,
    amount_minor bigint,
    received_minor bigint,
    refunded_minor bigint,
    currency text,
    fee_minor bigint,
    fee_currency text,
    method text,
    reference text,
    customer_ref text,
    failure_code text,
    failure_message text,
    status_reason text,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    completed_at timestamp with time zone,
    merged_into bigint,
    email text,
    subscription_ref text,
    invoice_ref text,
    app text,
    app_from text,
    user_id text,
    plan text,
    order_id bigint,
    customer_id bigint,
    source text,
    surcharge_minor bigint,
    invoice_number text,
    product_name text,
    product_category text,
    is_recurring boolean NOT NULL DEFAULT false,
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payments_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT payments_check CHECK (((fee_minor IS NULL) OR (fee_currency IS NOT NULL))),
    CONSTRAINT payments_check1 CHECK (((status <> ALL (ARRAY['completed'::text, 'refunded'::text, 'partially_refunded'::text])) OR ((amount_minor IS NOT NULL) AND (received_minor IS NOT NULL) AND (currency IS NOT NULL)))),
    CONSTRAINT payments_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_fee_currency_check CHECK ((fee_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_received_minor_check CHECK ((received_minor >= 0)),
    CONSTRAINT payments_refunded_minor_check CHECK ((refunded_minor >= 0)),
    CONSTRAINT payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'cancelled'::text]))),
    CONSTRAINT payments_surcharge_minor_check CHECK ((surcharge_minor >= 0)) NOT VALID,
    CONSTRAINT payments_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers(id),
    CONSTRAINT payments_merged_into_fkey FOREIGN KEY (merged_into) REFERENCES payments(id),
    CONSTRAINT payments_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id)
);
CREATE INDEX payments_customer ON public.payments USING btree (merchant, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX payments_customer_id ON public.payments USING btree (customer_id) WHERE (customer_id IS NOT NULL);
CREATE INDEX payments_email ON public.payments USING btree (merchant, lower(email)) WHERE (email IS NOT NULL);
CREATE INDEX payments_invoice ON public.payments USING btree (gateway, account, invoice_ref) WHERE (invoice_ref IS NOT NULL);
CREATE INDEX payments_merged ON public.payments USING btree (merged_into) WHERE (merged_into IS NOT NULL);
CREATE INDEX payments_newest ON public.payments USING btree (merchant, first_fact_at DESC, id DESC) WHERE (merged_into IS NULL);
CREATE INDEX payments_of_status ON public.payments USING btree (merchant, status, first_fact_at DESC, id DESC) WHERE ((merged_into IS NULL) AND (status <> 'completed'::text));
CREATE INDEX payments_of_subscription ON public.payments USING btree (merchant, subscription_ref) WHERE (subscription_ref IS NOT NULL);
CREATE INDEX payments_order ON public.payments USING btree (order_id) WHERE (order_id IS NOT NULL);
CREATE INDEX payments_order_named ON public.payments USING btree (merchant, ((metadata ->> 'order_id'::text))) WHERE ((metadata ->> 'order_id'::text) IS NOT NULL);
CREATE INDEX payments_order_number ON public.payments USING btree (merchant, ((metadata ->> 'order_number'::text))) WHERE ((metadata ->> 'order_number'::text) IS NOT NULL);
CREATE INDEX payments_product ON public.payments USING btree (merchant, product_key(product_name), id) WHERE (product_name IS NOT NULL);
CREATE INDEX payments_reference ON public.payments USING btree (merchant, reference) WHERE (reference IS NOT NULL);
CREATE INDEX payments_subscription ON public.payments USING btree (gateway, account, subscription_ref) WHERE (subscription_ref IS NOT NULL);
CREATE INDEX payments_user ON public.payments USING btree (merchant, app, user_id) WHERE (user_id IS NOT NULL);
ALTER TABLE payments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payments FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payments FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER classify_payment_insert BEFORE INSERT ON public.payments FOR EACH ROW WHEN (((new.source IS NOT NULL) OR (new.invoice_ref IS NOT NULL) OR (new.subscription_ref IS NOT NULL))) EXECUTE FUNCTION classify_payment();
CREATE TRIGGER classify_payment_update BEFORE UPDATE ON public.payments FOR EACH ROW WHEN (((old.source IS DISTINCT FROM new.source) OR (old.invoice_ref IS DISTINCT FROM new.invoice_ref) OR (old.subscription_ref IS DISTINCT FROM new.subscription_ref))) EXECUTE FUNCTION classify_payment();
CREATE TRIGGER follow_payment_insert AFTER INSERT ON public.payments FOR EACH ROW WHEN ((((new.app_from = 'event'::text) OR (new.user_id IS NOT NULL)) AND ((new.subscription_ref IS NOT NULL) OR ((new.customer_ref IS NOT NULL) AND (new.plan IS NOT NULL))))) EXECUTE FUNCTION follow_payment();
CREATE TRIGGER follow_payment_of_order_insert AFTER INSERT ON public.payments FOR EACH ROW WHEN ((new.order_id IS NOT NULL)) EXECUTE FUNCTION follow_payment_of_order();
CREATE TRIGGER follow_payment_of_order_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((((old.order_id IS NOT NULL) OR (new.order_id IS NOT NULL)) AND ((((((((old.order_id IS DISTINCT FROM new.order_id) OR (old.status IS DISTINCT FROM new.status)) OR (old.received_minor IS DISTINCT FROM new.received_minor)) OR (old.refunded_minor IS DISTINCT FROM new.refunded_minor)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.completed_at IS DISTINCT FROM new.completed_at)) OR (old.livemode IS DISTINCT FROM new.livemode)) OR (old.merged_into IS DISTINCT FROM new.merged_into)))) EXECUTE FUNCTION follow_payment_of_order();
CREATE TRIGGER follow_payment_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((((((((((((old.app IS DISTINCT FROM new.app) OR (old.app_from IS DISTINCT FROM new.app_from)) OR (old.user_id IS DISTINCT FROM new.user_id)) OR (old.subscription_ref IS DISTINCT FROM new.subscription_ref)) OR (old.customer_ref IS DISTINCT FROM new.customer_ref)) OR (old.plan IS DISTINCT FROM new.plan)) OR (old.first_fact_at IS DISTINCT FROM new.first_fact_at)) OR (old.merged_into IS DISTINCT FROM new.merged_into)) OR (old.reference IS DISTINCT FROM new.reference)) OR (old.amount_minor IS DISTINCT FROM new.amount_minor)) OR (old.currency IS DISTINCT FROM new.currency))) EXECUTE FUNCTION follow_payment();
CREATE TRIGGER follow_recurring_payment_insert AFTER INSERT ON public.payments FOR EACH ROW WHEN ((new.is_recurring AND (new.customer_ref IS NOT NULL))) EXECUTE FUNCTION follow_recurring_payment();
CREATE TRIGGER follow_recurring_payment_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN (((old.is_recurring OR new.is_recurring) AND ((old.status IS DISTINCT FROM new.status) OR (old.product_category IS DISTINCT FROM new.product_category) OR (old.customer_ref IS DISTINCT FROM new.customer_ref) OR (old.completed_at IS DISTINCT FROM new.completed_at) OR (old.amount_minor IS DISTINCT FROM new.amount_minor) OR (old.currency IS DISTINCT FROM new.currency) OR (old.surcharge_minor IS DISTINCT FROM new.surcharge_minor) OR (old.product_name IS DISTINCT FROM new.product_name) OR (old.first_fact_at IS DISTINCT FROM new.first_fact_at) OR (old.merged_into IS DISTINCT FROM new.merged_into) OR (old.livemode IS DISTINCT FROM new.livemode) OR (old.subscription_ref IS DISTINCT FROM new.subscription_ref) OR (old.email IS DISTINCT FROM new.email) OR (old.is_recurring IS DISTINCT FROM new.is_recurring)))) EXECUTE FUNCTION follow_recurring_payment();
CREATE TRIGGER forward_payment AFTER UPDATE ON public.payments FOR EACH ROW WHEN (((old.app IS DISTINCT FROM new.app) AND (new.app IS NOT NULL))) EXECUTE FUNCTION forward_what_belongs_elsewhere();
CREATE TRIGGER link_payment_insert BEFORE INSERT ON public.payments FOR EACH ROW WHEN (((new.reference IS NOT NULL) OR (new.metadata IS NOT NULL) OR (new.email IS NOT NULL))) EXECUTE FUNCTION link_payment();
CREATE TRIGGER link_payment_update BEFORE UPDATE ON public.payments FOR EACH ROW WHEN (((((old.reference IS DISTINCT FROM new.reference) OR (old.metadata IS DISTINCT FROM new.metadata)) OR (old.email IS DISTINCT FROM new.email)) OR (old.merged_into IS DISTINCT FROM new.merged_into))) EXECUTE FUNCTION link_payment();
CREATE TRIGGER mark_payment_insert AFTER INSERT ON public.payments FOR EACH ROW EXECUTE FUNCTION mark_total('payment');
CREATE TRIGGER mark_payment_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) OR (old.livemode IS DISTINCT FROM new.livemode) OR (old.amount_minor IS DISTINCT FROM new.amount_minor) OR (old.currency IS DISTINCT FROM new.currency) OR (old.received_minor IS DISTINCT FROM new.received_minor) OR (old.refunded_minor IS DISTINCT FROM new.refunded_minor) OR (old.fee_minor IS DISTINCT FROM new.fee_minor) OR (old.fee_currency IS DISTINCT FROM new.fee_currency) OR (old.first_fact_at IS DISTINCT FROM new.first_fact_at) OR (old.completed_at IS DISTINCT FROM new.completed_at) OR (old.app IS DISTINCT FROM new.app) OR (old.method IS DISTINCT FROM new.method) OR (old.product_category IS DISTINCT FROM new.product_category) OR (old.failure_code IS DISTINCT FROM new.failure_code) OR (old.merged_into IS DISTINCT FROM new.merged_into))) EXECUTE FUNCTION mark_total('payment');
CREATE TRIGGER note_backup_insert AFTER INSERT ON public.payments FOR EACH ROW EXECUTE FUNCTION note_backup_change();
CREATE TRIGGER note_backup_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION note_backup_change();
CREATE TRIGGER payments_audit_delete AFTER DELETE ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');
CREATE TRIGGER payments_audit_insert AFTER INSERT ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');
CREATE TRIGGER payments_audit_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');
COMMENT ON COLUMN payments.fee_minor IS 'null means: not known yet; never counted as zero';
COMMENT ON COLUMN payments.app_from IS 'how the app is known: event, subscription, plan, customer, payment, default';
COMMENT ON COLUMN payments.order_id IS 'the order that its metadata (order_number, order_id) or its reference names';
COMMENT ON COLUMN payments.source IS 'how it was made, in the gateway''s word: Recurring, Invoice, QuickPay, API, Terminal …';
COMMENT ON COLUMN payments.surcharge_minor IS 'what of amount_minor the payer bore for paying by card; an invoice is paid by amount_minor less this';
COMMENT ON COLUMN payments.invoice_number IS 'the merchant''s number of the invoice; invoice_ref is the gateway''s id of it';
COMMENT ON COLUMN payments.product_name IS 'the first product of its invoice, as it was seen';
COMMENT ON COLUMN payments.product_category IS 'by product_categories; Other where no product is known; null where nothing says how the payment was made';
COMMENT ON COLUMN payments.is_recurring IS 'one of a row: its source is Recurring, or a subscription or contract asked for it or for its invoice';
COMMENT ON COLUMN payments.refunded_minor IS 'completed refunds, and what the gateway calls refunded that no known refund explains';
GRANT INSERT, SELECT, UPDATE ON TABLE payments TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE payments TO gatehouse_api;

CREATE TABLE payouts (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    kind text,
    status text NOT NULL,
    amount_minor bigint,
    currency text,
    fee_minor bigint,
    reversed_minor bigint,
    destination text,
    batch_ref text,
    reference text,
    arrives_at timestamp with time zone,
    settled_at timestamp with time zone,
    failure_code text,
    failure_message text,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    CONSTRAINT payouts_pkey PRIMARY KEY (id),
    CONSTRAINT payouts_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT payouts_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payouts_reversed_minor_check CHECK ((reversed_minor >= 0)),
    CONSTRAINT payouts_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'settled'::text, 'cancelled'::text, 'failed'::text, 'reversed'::text])))
);
CREATE INDEX payouts_batch ON public.payouts USING btree (gateway, account, batch_ref) WHERE (batch_ref IS NOT NULL);
CREATE INDEX payouts_newest ON public.payouts USING btree (merchant, first_fact_at DESC, id DESC);
ALTER TABLE payouts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payouts FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payouts FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER payouts_audit_delete AFTER DELETE ON public.payouts FOR EACH ROW EXECUTE FUNCTION write_audit('failure_message', 'metadata', 'destination');
CREATE TRIGGER payouts_audit_insert AFTER INSERT ON public.payouts FOR EACH ROW EXECUTE FUNCTION write_audit('failure_message', 'metadata', 'destination');
CREATE TRIGGER payouts_audit_update AFTER UPDATE ON public.payouts FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('failure_message', 'metadata', 'destination');
GRANT INSERT, SELECT, UPDATE ON TABLE payouts TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE payouts TO gatehouse_api;

CREATE TABLE platform_tenants (
    id text NOT NULL,
    merchant text NOT NULL,
    name text NOT NULL,
    organization_id text,
    billing_email text,
    subscription_id text,
    plan_type text NOT NULL DEFAULT 'free'::text,
    engine text NOT NULL,
    region text,
    status text NOT NULL DEFAULT 'creating'::text,
    status_reason text,
    max_databases integer NOT NULL,
    max_storage_mb integer NOT NULL,
    max_requests_per_minute integer NOT NULL,
    max_requests_per_hour integer NOT NULL,
    max_requests_per_day integer NOT NULL,
    engine_state jsonb NOT NULL DEFAULT '{}'::jsonb,
    sealed bytea,
    key_id text,
    schema_version integer NOT NULL DEFAULT 0,
    storage_bytes bigint,
    storage_measured_at timestamp with time zone,
    created_by text NOT NULL,
    idempotency_key text,
    request_hash bytea,
    delete_after timestamp with time zone,
    removed_at timestamp with time zone,
    version integer NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT platform_tenants_pkey PRIMARY KEY (id),
    CONSTRAINT platform_tenants_id_merchant_key UNIQUE (id, merchant),
    CONSTRAINT platform_tenants_check CHECK (((sealed IS NULL) = (key_id IS NULL))),
    CONSTRAINT platform_tenants_check1 CHECK (((removed_at IS NULL) OR (status = 'deleted'::text))),
    CONSTRAINT platform_tenants_engine_check CHECK ((engine = ANY (ARRAY['plain'::text, 'neon'::text, 'digitalocean'::text]))),
    CONSTRAINT platform_tenants_engine_state_check CHECK ((jsonb_typeof(engine_state) = 'object'::text)),
    CONSTRAINT platform_tenants_id_check CHECK ((id ~ '^t[a-z0-9]{15}$'::text)),
    CONSTRAINT platform_tenants_max_databases_check CHECK ((max_databases >= 1)),
    CONSTRAINT platform_tenants_max_requests_per_day_check CHECK ((max_requests_per_day >= 1)),
    CONSTRAINT platform_tenants_max_requests_per_hour_check CHECK ((max_requests_per_hour >= 1)),
    CONSTRAINT platform_tenants_max_requests_per_minute_check CHECK ((max_requests_per_minute >= 1)),
    CONSTRAINT platform_tenants_max_storage_mb_check CHECK ((max_storage_mb >= 1)),
    CONSTRAINT platform_tenants_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT platform_tenants_plan_type_check CHECK ((plan_type = ANY (ARRAY['free'::text, 'pro'::text, 'team'::text, 'enterprise'::text]))),
    CONSTRAINT platform_tenants_status_check CHECK ((status = ANY (ARRAY['creating'::text, 'active'::text, 'suspended'::text, 'deleted'::text]))),
    CONSTRAINT platform_tenants_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX platform_tenants_creator ON public.platform_tenants USING btree (created_by);
CREATE UNIQUE INDEX platform_tenants_key ON public.platform_tenants USING btree (merchant, created_by, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX platform_tenants_newest ON public.platform_tenants USING btree (merchant, created_at DESC, id DESC);
CREATE INDEX platform_tenants_present ON public.platform_tenants USING btree (engine, id) WHERE (removed_at IS NULL);
ALTER TABLE platform_tenants ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON platform_tenants FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_tenants ON platform_tenants FOR ALL TO gatehouse_api USING (((merchant = current_setting('gatehouse.merchant'::text, true)) AND (((current_setting('gatehouse.subject'::text, true) = '*'::text) OR (current_setting('gatehouse.subject'::text, true) = created_by)) OR (EXISTS ( SELECT
   FROM tenant_permissions p
  WHERE ((p.tenant_id = platform_tenants.id) AND (p.subject = current_setting('gatehouse.subject'::text, true))))))));
CREATE TRIGGER platform_tenants_audit_insert AFTER INSERT ON public.platform_tenants FOR EACH ROW EXECUTE FUNCTION write_tenant_audit();
CREATE TRIGGER platform_tenants_audit_update AFTER UPDATE ON public.platform_tenants FOR EACH ROW WHEN ((((((((((((((old.status IS DISTINCT FROM new.status) OR (old.plan_type IS DISTINCT FROM new.plan_type)) OR (old.max_databases IS DISTINCT FROM new.max_databases)) OR (old.max_storage_mb IS DISTINCT FROM new.max_storage_mb)) OR (old.max_requests_per_minute IS DISTINCT FROM new.max_requests_per_minute)) OR (old.max_requests_per_hour IS DISTINCT FROM new.max_requests_per_hour)) OR (old.max_requests_per_day IS DISTINCT FROM new.max_requests_per_day)) OR (old.name IS DISTINCT FROM new.name)) OR (old.billing_email IS DISTINCT FROM new.billing_email)) OR (old.organization_id IS DISTINCT FROM new.organization_id)) OR (old.sealed IS DISTINCT FROM new.sealed)) OR (old.engine_state IS DISTINCT FROM new.engine_state)) OR (old.removed_at IS DISTINCT FROM new.removed_at))) EXECUTE FUNCTION write_tenant_audit();
COMMENT ON COLUMN platform_tenants.created_by IS 'who asked: user:<id>, key:<id>, <issuer>:<sub>, or ops:<name>';
GRANT INSERT, SELECT, UPDATE ON TABLE platform_tenants TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE product_categories (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    product_name text NOT NULL,
    product_key text GENERATED ALWAYS AS (product_key(product_name)) STORED,
    category text NOT NULL DEFAULT 'Uncategorized'::text,
    suggested_category text,
    suggested_because text,
    reviewed_by text,
    reviewed_at timestamp with time zone,
    version integer NOT NULL DEFAULT 1,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT product_categories_pkey PRIMARY KEY (id),
    CONSTRAINT product_categories_category_check CHECK (((category = btrim(category)) AND ((length(category) >= 1) AND (length(category) <= 60)) AND (lower(category) <> ALL (ARRAY['all'::text, 'cancellations'::text])))),
    CONSTRAINT product_categories_check CHECK (((reviewed_by IS NULL) = (reviewed_at IS NULL))),
    CONSTRAINT product_categories_product_name_check CHECK (((product_name = btrim(product_name)) AND ((length(product_name) >= 1) AND (length(product_name) <= 300)))),
    CONSTRAINT product_categories_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id)
);
CREATE INDEX product_categories_category ON public.product_categories USING btree (merchant, category, product_key, id);
CREATE INDEX product_categories_key ON public.product_categories USING btree (merchant, product_key, id);
CREATE UNIQUE INDEX product_categories_name ON public.product_categories USING btree (merchant, product_name);
CREATE INDEX product_categories_to_review ON public.product_categories USING btree (merchant, product_key, id) WHERE (reviewed_at IS NULL);
ALTER TABLE product_categories ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON product_categories FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON product_categories FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER product_categories_audit_delete AFTER DELETE ON public.product_categories FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER product_categories_audit_insert AFTER INSERT ON public.product_categories FOR EACH ROW EXECUTE FUNCTION write_audit();
CREATE TRIGGER product_categories_audit_update AFTER UPDATE ON public.product_categories FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit();
COMMENT ON COLUMN product_categories.product_name IS 'as it was seen, or as it was given';
COMMENT ON COLUMN product_categories.suggested_because IS 'the rule that suggested it';
GRANT SELECT ON TABLE product_categories TO gatehouse_api, gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE TABLE reclassifications (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    product_id bigint NOT NULL,
    product_key text NOT NULL,
    category text NOT NULL,
    actor text NOT NULL,
    payments_planned integer NOT NULL,
    payments_changed integer NOT NULL DEFAULT 0,
    memberships_changed integer NOT NULL DEFAULT 0,
    after_id bigint NOT NULL DEFAULT 0,
    job_id bigint,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    CONSTRAINT reclassifications_pkey PRIMARY KEY (id),
    CONSTRAINT reclassifications_merchant_fkey FOREIGN KEY (merchant) REFERENCES merchants(id),
    CONSTRAINT reclassifications_product_id_fkey FOREIGN KEY (product_id) REFERENCES product_categories(id)
);
CREATE INDEX reclassifications_newest ON public.reclassifications USING btree (merchant, id DESC);
CREATE INDEX reclassifications_product ON public.reclassifications USING btree (product_id);
ALTER TABLE reclassifications ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON reclassifications FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON reclassifications FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN reclassifications.after_id IS 'every payment up to this one is done';
COMMENT ON COLUMN reclassifications.memberships_changed IS 'of how many patients they followed';
GRANT SELECT ON TABLE reclassifications TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE redrives (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    merchant text NOT NULL,
    actor text NOT NULL,
    filters jsonb NOT NULL,
    planned integer NOT NULL,
    sent integer NOT NULL DEFAULT 0,
    started_at timestamp with time zone NOT NULL DEFAULT now(),
    finished_at timestamp with time zone,
    CONSTRAINT redrives_pkey PRIMARY KEY (id)
);
ALTER TABLE redrives ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON redrives FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON redrives FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE redrives TO gatehouse_ops;
GRANT INSERT, SELECT, UPDATE ON TABLE redrives TO gatehouse_worker;

CREATE TABLE refund_requests (
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    merchant text NOT NULL,
    payment_id bigint NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    amount_minor bigint NOT NULL,
    currency text NOT NULL,
    reason text,
    state text NOT NULL DEFAULT 'pending'::text,
    failure text,
    actor text NOT NULL,
    idempotency_key text,
    asked_minor bigint,
    job_id bigint NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT refund_requests_pkey PRIMARY KEY (id),
    CONSTRAINT refund_requests_amount_minor_check CHECK ((amount_minor > 0)),
    CONSTRAINT refund_requests_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'sending'::text, 'sent'::text, 'failed'::text, 'unknown'::text]))),
    CONSTRAINT refund_requests_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id)
);
CREATE UNIQUE INDEX refund_requests_key ON public.refund_requests USING btree (merchant, idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE INDEX refund_requests_newest ON public.refund_requests USING btree (merchant, created_at DESC, id DESC);
CREATE INDEX refund_requests_open ON public.refund_requests USING btree (merchant, created_at) WHERE (state = ANY (ARRAY['sending'::text, 'unknown'::text]));
CREATE INDEX refund_requests_payment ON public.refund_requests USING btree (payment_id);
ALTER TABLE refund_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON refund_requests FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON refund_requests FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT SELECT ON TABLE refund_requests TO gatehouse_api;
GRANT SELECT, UPDATE (state, failure, updated_at) ON TABLE refund_requests TO gatehouse_ops, gatehouse_worker;

CREATE TABLE refunds (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    payment_id bigint,
    status text NOT NULL,
    amount_minor bigint,
    currency text,
    fee_minor bigint,
    reason text,
    failure_code text,
    failure_message text,
    reference text,
    refunded_at timestamp with time zone,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    CONSTRAINT refunds_pkey PRIMARY KEY (id),
    CONSTRAINT refunds_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT refunds_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT refunds_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'completed'::text, 'cancelled'::text, 'failed'::text]))),
    CONSTRAINT refunds_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES payments(id) DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX refunds_newest ON public.refunds USING btree (merchant, first_fact_at DESC, id DESC);
CREATE INDEX refunds_payment ON public.refunds USING btree (payment_id) WHERE (payment_id IS NOT NULL);
ALTER TABLE refunds ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON refunds FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON refunds FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER mark_refund AFTER INSERT OR DELETE OR UPDATE ON public.refunds FOR EACH ROW EXECUTE FUNCTION mark_total_of_part('refund');
CREATE TRIGGER note_backup_insert AFTER INSERT ON public.refunds FOR EACH ROW WHEN ((new.payment_id IS NOT NULL)) EXECUTE FUNCTION note_backup_of_child();
CREATE TRIGGER note_backup_update AFTER UPDATE ON public.refunds FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION note_backup_of_child();
CREATE TRIGGER refunds_audit_delete AFTER DELETE ON public.refunds FOR EACH ROW EXECUTE FUNCTION write_audit('reason', 'failure_message', 'metadata');
CREATE TRIGGER refunds_audit_insert AFTER INSERT ON public.refunds FOR EACH ROW EXECUTE FUNCTION write_audit('reason', 'failure_message', 'metadata');
CREATE TRIGGER refunds_audit_update AFTER UPDATE ON public.refunds FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('reason', 'failure_message', 'metadata');
GRANT INSERT, SELECT, UPDATE ON TABLE refunds TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE refunds TO gatehouse_api;

CREATE TABLE rejected_requests (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    received_at timestamp with time zone NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    headers jsonb NOT NULL,
    body_bytes integer NOT NULL,
    source_ip text NOT NULL,
    request_id text NOT NULL,
    CONSTRAINT rejected_requests_pkey PRIMARY KEY (id)
);
CREATE INDEX rejected_requests_received ON public.rejected_requests USING btree (received_at);
GRANT DELETE, SELECT ON TABLE rejected_requests TO gatehouse_ops, gatehouse_worker;
GRANT INSERT ON TABLE rejected_requests TO gatehouse_intake;

CREATE TABLE subject_names (
    gateway text NOT NULL,
    account text NOT NULL,
    kind text NOT NULL,
    object_id text NOT NULL,
    subject_kind text NOT NULL,
    subject_id bigint NOT NULL,
    merchant text NOT NULL,
    CONSTRAINT subject_names_pkey PRIMARY KEY (gateway, account, kind, object_id, subject_kind)
);
CREATE INDEX subject_names_subject ON public.subject_names USING btree (subject_kind, subject_id);
ALTER TABLE subject_names ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON subject_names FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON subject_names FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE (subject_id) ON TABLE subject_names TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE subject_names TO gatehouse_api;

CREATE TABLE subscriptions (
    id bigint NOT NULL,
    merchant text NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    livemode boolean NOT NULL,
    gateway_id text NOT NULL,
    status text NOT NULL,
    plan text,
    plan_name text,
    amount_minor bigint,
    currency text,
    "interval" text,
    customer_ref text,
    email text,
    reference text,
    started_at timestamp with time zone,
    period_start timestamp with time zone,
    period_end timestamp with time zone,
    next_payment_at timestamp with time zone,
    cancel_at timestamp with time zone,
    ended_at timestamp with time zone,
    cancel_reason text,
    app text,
    app_from text,
    user_id text,
    metadata jsonb,
    first_fact_at timestamp with time zone NOT NULL,
    last_fact_at timestamp with time zone NOT NULL,
    CONSTRAINT subscriptions_pkey PRIMARY KEY (id),
    CONSTRAINT subscriptions_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT subscriptions_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT subscriptions_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'trialing'::text, 'active'::text, 'past_due'::text, 'paused'::text, 'non_renewing'::text, 'expired'::text, 'cancelled'::text])))
);
CREATE INDEX subscriptions_customer ON public.subscriptions USING btree (gateway, account, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX subscriptions_newest ON public.subscriptions USING btree (merchant, first_fact_at DESC, id DESC);
CREATE INDEX subscriptions_ref ON public.subscriptions USING btree (gateway, account, gateway_id);
CREATE INDEX subscriptions_user ON public.subscriptions USING btree (merchant, app, user_id) WHERE (user_id IS NOT NULL);
ALTER TABLE subscriptions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON subscriptions FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON subscriptions FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER follow_membership_insert AFTER INSERT ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION follow_membership_of_subscription();
CREATE TRIGGER follow_membership_update AFTER UPDATE ON public.subscriptions FOR EACH ROW WHEN (((old.status IS DISTINCT FROM new.status) OR (old."interval" IS DISTINCT FROM new."interval") OR (old.next_payment_at IS DISTINCT FROM new.next_payment_at) OR (old.cancel_at IS DISTINCT FROM new.cancel_at) OR (old.started_at IS DISTINCT FROM new.started_at) OR (old.ended_at IS DISTINCT FROM new.ended_at) OR (old.gateway_id IS DISTINCT FROM new.gateway_id))) EXECUTE FUNCTION follow_membership_of_subscription();
CREATE TRIGGER follow_subscription_insert AFTER INSERT ON public.subscriptions FOR EACH ROW WHEN (((new.app_from <> 'default'::text) OR (new.user_id IS NOT NULL) OR ((new.customer_ref IS NOT NULL) AND (new.plan IS NOT NULL)))) EXECUTE FUNCTION follow_subscription();
CREATE TRIGGER follow_subscription_update AFTER UPDATE ON public.subscriptions FOR EACH ROW WHEN (((((((((((old.app IS DISTINCT FROM new.app) OR (old.app_from IS DISTINCT FROM new.app_from)) OR (old.user_id IS DISTINCT FROM new.user_id)) OR (old.customer_ref IS DISTINCT FROM new.customer_ref)) OR (old.plan IS DISTINCT FROM new.plan)) OR (old.gateway_id IS DISTINCT FROM new.gateway_id)) OR (old.first_fact_at IS DISTINCT FROM new.first_fact_at)) OR (old.reference IS DISTINCT FROM new.reference)) OR (old.amount_minor IS DISTINCT FROM new.amount_minor)) OR (old.currency IS DISTINCT FROM new.currency))) EXECUTE FUNCTION follow_subscription();
CREATE TRIGGER forward_subscription AFTER UPDATE ON public.subscriptions FOR EACH ROW WHEN (((old.app IS DISTINCT FROM new.app) AND (new.app IS NOT NULL))) EXECUTE FUNCTION forward_what_belongs_elsewhere();
CREATE TRIGGER subscriptions_audit_delete AFTER DELETE ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');
CREATE TRIGGER subscriptions_audit_insert AFTER INSERT ON public.subscriptions FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');
CREATE TRIGGER subscriptions_audit_update AFTER UPDATE ON public.subscriptions FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'user_id', 'metadata', 'customer_ref', 'cancel_reason');
GRANT INSERT, SELECT, UPDATE ON TABLE subscriptions TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE subscriptions TO gatehouse_api;

CREATE TABLE tenant_audit_log (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    at timestamp with time zone NOT NULL DEFAULT now(),
    merchant text NOT NULL,
    tenant_id text NOT NULL,
    table_name text NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    changes jsonb NOT NULL,
    CONSTRAINT tenant_audit_log_pkey PRIMARY KEY (id)
);
CREATE INDEX tenant_audit_log_tenant ON public.tenant_audit_log USING btree (tenant_id, id DESC);
ALTER TABLE tenant_audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON tenant_audit_log FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON tenant_audit_log FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT SELECT ON TABLE tenant_audit_log TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE tenant_branches (
    id text NOT NULL,
    tenant_id text NOT NULL,
    merchant text NOT NULL,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'creating'::text,
    status_reason text,
    engine_state jsonb NOT NULL DEFAULT '{}'::jsonb,
    sealed bytea,
    key_id text,
    created_by text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    removed_at timestamp with time zone,
    CONSTRAINT tenant_branches_pkey PRIMARY KEY (id),
    CONSTRAINT tenant_branches_check CHECK (((sealed IS NULL) = (key_id IS NULL))),
    CONSTRAINT tenant_branches_engine_state_check CHECK ((jsonb_typeof(engine_state) = 'object'::text)),
    CONSTRAINT tenant_branches_id_check CHECK ((id ~ '^b[a-z0-9]{15}$'::text)),
    CONSTRAINT tenant_branches_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,39}$'::text)),
    CONSTRAINT tenant_branches_status_check CHECK ((status = ANY (ARRAY['creating'::text, 'active'::text, 'deleted'::text]))),
    CONSTRAINT tenant_branches_tenant_id_merchant_fkey FOREIGN KEY (tenant_id, merchant) REFERENCES platform_tenants(id, merchant)
);
CREATE UNIQUE INDEX tenant_branches_name ON public.tenant_branches USING btree (tenant_id, name) WHERE (removed_at IS NULL);
CREATE INDEX tenant_branches_tenant ON public.tenant_branches USING btree (merchant, tenant_id);
ALTER TABLE tenant_branches ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON tenant_branches FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON tenant_branches FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER tenant_branches_audit AFTER INSERT OR DELETE OR UPDATE ON public.tenant_branches FOR EACH ROW EXECUTE FUNCTION write_tenant_audit();
GRANT INSERT, SELECT, UPDATE ON TABLE tenant_branches TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE TABLE tenant_endpoints (
    engine text NOT NULL,
    is_open boolean NOT NULL DEFAULT true,
    reason text,
    changed_at timestamp with time zone NOT NULL DEFAULT now(),
    busy_until timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT tenant_endpoints_pkey PRIMARY KEY (engine),
    CONSTRAINT tenant_endpoints_engine_check CHECK ((engine = ANY (ARRAY['plain'::text, 'neon'::text, 'digitalocean'::text])))
);
GRANT SELECT ON TABLE tenant_endpoints TO gatehouse_api;
GRANT SELECT, UPDATE ON TABLE tenant_endpoints TO gatehouse_ops;
GRANT SELECT, UPDATE (busy_until) ON TABLE tenant_endpoints TO gatehouse_worker;

CREATE TABLE tenant_permissions (
    tenant_id text NOT NULL,
    merchant text NOT NULL,
    subject text NOT NULL,
    role text NOT NULL DEFAULT 'developer'::text,
    granted_by text NOT NULL,
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    updated_at timestamp with time zone NOT NULL DEFAULT now(),
    CONSTRAINT tenant_permissions_pkey PRIMARY KEY (tenant_id, subject),
    CONSTRAINT tenant_permissions_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'developer'::text, 'viewer'::text]))),
    CONSTRAINT tenant_permissions_subject_check CHECK (((length(subject) >= 3) AND (length(subject) <= 300))),
    CONSTRAINT tenant_permissions_tenant_id_merchant_fkey FOREIGN KEY (tenant_id, merchant) REFERENCES platform_tenants(id, merchant)
);
CREATE INDEX tenant_permissions_subject ON public.tenant_permissions USING btree (subject, tenant_id);
CREATE INDEX tenant_permissions_tenant ON public.tenant_permissions USING btree (merchant, tenant_id);
ALTER TABLE tenant_permissions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON tenant_permissions FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON tenant_permissions FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER tenant_permissions_audit AFTER INSERT OR DELETE OR UPDATE ON public.tenant_permissions FOR EACH ROW EXECUTE FUNCTION write_tenant_audit();
CREATE TRIGGER tenant_permissions_last_owner BEFORE DELETE OR UPDATE ON public.tenant_permissions FOR EACH ROW EXECUTE FUNCTION keep_last_owner();
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE tenant_permissions TO gatehouse_api, gatehouse_ops;
GRANT SELECT ON TABLE tenant_permissions TO gatehouse_worker;

CREATE TABLE tenant_usage_slots (
    tenant_id text NOT NULL,
    merchant text NOT NULL,
    date date NOT NULL,
    slot smallint NOT NULL,
    api_requests bigint NOT NULL DEFAULT 0,
    query_executions bigint NOT NULL DEFAULT 0,
    rows_returned bigint NOT NULL DEFAULT 0,
    bytes_returned bigint NOT NULL DEFAULT 0,
    milliseconds bigint NOT NULL DEFAULT 0,
    storage_bytes bigint,
    CONSTRAINT tenant_usage_slots_pkey PRIMARY KEY (tenant_id, date, slot),
    CONSTRAINT tenant_usage_slots_tenant_id_merchant_fkey FOREIGN KEY (tenant_id, merchant) REFERENCES platform_tenants(id, merchant)
) WITH (fillfactor=70);
CREATE INDEX tenant_usage_slots_tenant ON public.tenant_usage_slots USING btree (merchant, tenant_id);
ALTER TABLE tenant_usage_slots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON tenant_usage_slots FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON tenant_usage_slots FOR ALL TO gatehouse_api USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT, UPDATE ON TABLE tenant_usage_slots TO gatehouse_worker;
GRANT SELECT ON TABLE tenant_usage_slots TO gatehouse_api, gatehouse_ops;

CREATE UNLOGGED TABLE tenant_windows (
    tenant_id text NOT NULL,
    kind text NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    slot smallint NOT NULL,
    requests integer NOT NULL,
    CONSTRAINT tenant_windows_pkey PRIMARY KEY (tenant_id, kind, starts_at, slot),
    CONSTRAINT tenant_windows_kind_check CHECK ((kind = ANY (ARRAY['minute'::text, 'hour'::text])))
) WITH (fillfactor=70);
CREATE INDEX tenant_windows_old ON public.tenant_windows USING btree (starts_at);
GRANT DELETE, SELECT ON TABLE tenant_windows TO gatehouse_worker;

CREATE TABLE total_checks (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    begun_at timestamp with time zone NOT NULL DEFAULT now(),
    ended_at timestamp with time zone,
    next_payment_id bigint NOT NULL DEFAULT 0,
    rows_checked bigint NOT NULL DEFAULT 0,
    entries_drifted bigint NOT NULL DEFAULT 0,
    totals_drifted bigint NOT NULL DEFAULT 0,
    repaired boolean NOT NULL DEFAULT false,
    examples jsonb NOT NULL DEFAULT '[]'::jsonb,
    CONSTRAINT total_checks_pkey PRIMARY KEY (id)
);
GRANT INSERT, SELECT, UPDATE ON TABLE total_checks TO gatehouse_ops, gatehouse_worker;

CREATE TABLE total_entries (
    source text NOT NULL,
    source_id bigint NOT NULL,
    part text NOT NULL,
    bucket timestamp with time zone NOT NULL,
    currency text NOT NULL,
    merchant text NOT NULL,
    livemode boolean NOT NULL,
    gateway text,
    app text,
    method text,
    category text,
    failure text,
    duration_bin integer,
    order_status text,
    event_id text,
    payments bigint,
    amount_minor bigint,
    succeeded bigint,
    failed bigint,
    cancelled bigint,
    duration_ms bigint,
    sales bigint,
    gross_minor bigint,
    fee_minor bigint,
    unknown_fees bigint,
    unknown_fee_gross_minor bigint,
    sales_refunded bigint,
    sales_refunded_minor bigint,
    sales_disputed bigint,
    refunds bigint,
    refund_minor bigint,
    other_fee_minor bigint,
    disputes bigint,
    dispute_minor bigint,
    disputes_lost bigint,
    lost_minor bigint,
    held_minor bigint,
    orders bigint,
    ordered_minor bigint,
    paid_minor bigint,
    returned_minor bigint,
    tax_minor bigint,
    order_fee_minor bigint,
    discount_minor bigint,
    quantity bigint,
    sold_quantity bigint,
    sold_minor bigint,
    CONSTRAINT total_entries_pkey PRIMARY KEY (source, source_id, part, bucket, currency),
    CONSTRAINT total_entries_source_check CHECK ((source = ANY (ARRAY['payment'::text, 'refund'::text, 'dispute'::text, 'order'::text])))
);
CREATE INDEX total_entries_bucket ON public.total_entries USING btree (bucket);
CREATE INDEX total_entries_merchant ON public.total_entries USING btree (merchant, livemode, bucket);
ALTER TABLE total_entries ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON total_entries FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON total_entries FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN total_entries.duration_bin IS 'n, where the processing time in ms is above 1.1^(n-1) and up to 1.1^n';
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE total_entries TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE total_entries TO gatehouse_api;

CREATE TABLE total_marks (
    source text NOT NULL,
    source_id bigint NOT NULL,
    merchant text NOT NULL,
    marked_at timestamp with time zone NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_insert_threshold=-1);
ALTER TABLE total_marks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON total_marks FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON total_marks FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE total_marks TO gatehouse_ops, gatehouse_worker;
GRANT INSERT ON TABLE total_marks TO gatehouse_intake;
GRANT INSERT, SELECT ON TABLE total_marks TO gatehouse_api;

CREATE TABLE totals (
    merchant text NOT NULL,
    livemode boolean NOT NULL,
    breakdown text NOT NULL,
    level text NOT NULL,
    bucket timestamp with time zone NOT NULL,
    currency text NOT NULL,
    value text NOT NULL,
    detail text NOT NULL,
    payments bigint,
    amount_minor bigint,
    succeeded bigint,
    failed bigint,
    cancelled bigint,
    duration_ms bigint,
    sales bigint,
    gross_minor bigint,
    fee_minor bigint,
    unknown_fees bigint,
    unknown_fee_gross_minor bigint,
    sales_refunded bigint,
    sales_refunded_minor bigint,
    sales_disputed bigint,
    refunds bigint,
    refund_minor bigint,
    other_fee_minor bigint,
    disputes bigint,
    dispute_minor bigint,
    disputes_lost bigint,
    lost_minor bigint,
    held_minor bigint,
    orders bigint,
    ordered_minor bigint,
    paid_minor bigint,
    returned_minor bigint,
    tax_minor bigint,
    order_fee_minor bigint,
    discount_minor bigint,
    quantity bigint,
    sold_quantity bigint,
    sold_minor bigint,
    CONSTRAINT totals_pkey PRIMARY KEY (merchant, livemode, breakdown, level, bucket, currency, value, detail),
    CONSTRAINT totals_breakdown_check CHECK ((breakdown = ANY (ARRAY['gateway'::text, 'app'::text, 'method'::text, 'category'::text, 'failure'::text, 'duration'::text, 'order'::text, 'item'::text]))),
    CONSTRAINT totals_level_check CHECK ((level = ANY (ARRAY['quarter'::text, 'hour'::text, 'six_hours'::text, 'day'::text, 'month'::text])))
);
CREATE INDEX totals_bucket ON public.totals USING btree (bucket, level);
ALTER TABLE totals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON totals FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON totals FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE totals TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE totals TO gatehouse_api;

CREATE TABLE webhook_events (
    id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    gateway text NOT NULL,
    account text NOT NULL,
    event_id text NOT NULL,
    merchant text NOT NULL,
    type text NOT NULL,
    livemode boolean NOT NULL,
    occurred_at timestamp with time zone,
    received_at timestamp with time zone NOT NULL,
    status text NOT NULL,
    reason text,
    attempts integer NOT NULL DEFAULT 1,
    reference text,
    signed_by text,
    request_id text,
    confirmed_at timestamp with time zone,
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_event_id_gateway_account_key UNIQUE (event_id, gateway, account),
    CONSTRAINT webhook_events_check CHECK (((status = ANY (ARRAY['applied'::text, 'received'::text])) OR (reason IS NOT NULL))),
    CONSTRAINT webhook_events_status_check CHECK ((status = ANY (ARRAY['received'::text, 'applied'::text, 'ignored'::text, 'failed'::text])))
);
CREATE INDEX webhook_events_failed ON public.webhook_events USING btree (received_at) WHERE (status = 'failed'::text);
CREATE INDEX webhook_events_newest ON public.webhook_events USING btree (merchant, gateway, id DESC);
CREATE INDEX webhook_events_of_status ON public.webhook_events USING btree (merchant, status, id DESC) WHERE (status <> 'applied'::text);
CREATE INDEX webhook_events_of_type ON public.webhook_events USING btree (type, merchant, id DESC);
CREATE INDEX webhook_events_received ON public.webhook_events USING brin (received_at);
CREATE INDEX webhook_events_reference ON public.webhook_events USING btree (reference) WHERE (reference IS NOT NULL);
ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_events FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_events FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
COMMENT ON COLUMN webhook_events.confirmed_at IS 'when the gateway''s API said what the event hints at; null for one that proves itself, or is not confirmed';
GRANT INSERT, SELECT ON TABLE webhook_events TO gatehouse_intake;
GRANT INSERT, SELECT, UPDATE ON TABLE webhook_events TO gatehouse_ops;
GRANT INSERT, SELECT, UPDATE (reason, confirmed_at) ON TABLE webhook_events TO gatehouse_worker;
GRANT SELECT ON TABLE webhook_events TO gatehouse_api;

CREATE TABLE webhook_forward_logs (
    id bigint NOT NULL DEFAULT nextval('webhook_forward_logs_id_seq'::regclass),
    created_at timestamp with time zone NOT NULL DEFAULT now(),
    app text NOT NULL,
    target_url text NOT NULL,
    ok boolean NOT NULL,
    status_code integer,
    attempt_count integer NOT NULL DEFAULT 1,
    error_message text,
    reference text,
    merchant text NOT NULL,
    gateway text,
    duration_ms integer,
    error_class text,
    webhook_event_id bigint,
    job_id bigint,
    CONSTRAINT webhook_forward_logs_pkey PRIMARY KEY (id)
);
CREATE INDEX webhook_forward_logs_app ON public.webhook_forward_logs USING btree (merchant, app, id DESC);
CREATE INDEX webhook_forward_logs_created ON public.webhook_forward_logs USING btree (created_at DESC);
CREATE INDEX webhook_forward_logs_errors ON public.webhook_forward_logs USING btree (merchant, id DESC) WHERE (error_class IS NOT NULL);
CREATE INDEX webhook_forward_logs_event ON public.webhook_forward_logs USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
CREATE INDEX webhook_forward_logs_failed ON public.webhook_forward_logs USING btree (id DESC) WHERE (NOT ok);
CREATE INDEX webhook_forward_logs_lately ON public.webhook_forward_logs USING btree (merchant, created_at DESC);
CREATE INDEX webhook_forward_logs_newest ON public.webhook_forward_logs USING btree (merchant, id DESC);
CREATE INDEX webhook_forward_logs_not_ok ON public.webhook_forward_logs USING btree (merchant, id DESC) WHERE (NOT ok);
CREATE INDEX webhook_forward_logs_reference ON public.webhook_forward_logs USING btree (reference) WHERE (reference IS NOT NULL);
ALTER TABLE webhook_forward_logs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_forward_logs FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_forward_logs FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT DELETE, INSERT, SELECT ON TABLE webhook_forward_logs TO gatehouse_ops;
GRANT INSERT, SELECT ON TABLE webhook_forward_logs TO gatehouse_worker;
GRANT SELECT ON TABLE webhook_forward_logs TO gatehouse_api;

CREATE TABLE webhook_payloads (
    webhook_event_id bigint NOT NULL,
    merchant text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
    content_type text DEFAULT NULLIF(current_setting('gatehouse.content_type'::text, true), ''::text),
    CONSTRAINT webhook_payloads_pkey PRIMARY KEY (webhook_event_id, received_at)
) PARTITION BY RANGE (received_at);
ALTER TABLE webhook_payloads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_payloads FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_payloads FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT ON TABLE webhook_payloads TO gatehouse_intake;
GRANT INSERT, SELECT ON TABLE webhook_payloads TO gatehouse_ops, gatehouse_worker;

CREATE TABLE webhook_payloads_default PARTITION OF webhook_payloads DEFAULT;

CREATE VIEW app_users WITH (security_invoker=true) AS SELECT DISTINCT ON (merchant, app, user_id) merchant, app, user_id, plan, status, amount_minor, currency, said_by, gateway, account, object_id, since, last_fact_at, livemode FROM ( SELECT merchant, app, user_id, plan, status, amount_minor, currency, 'subscription'::text AS said_by, gateway, account, gateway_id AS object_id, COALESCE(started_at, first_fact_at) AS since, last_fact_at, livemode, 1 AS place FROM subscriptions WHERE (user_id IS NOT NULL) UNION ALL SELECT merchant, app, user_id, plan, status, amount_minor, currency, 'payment'::text, gateway, account, (id)::text AS id, COALESCE(completed_at, first_fact_at) AS "coalesce", last_fact_at, livemode, 2 FROM payments WHERE ((user_id IS NOT NULL) AND (plan IS NOT NULL) AND (merged_into IS NULL) AND (status = ANY (ARRAY['completed'::text, 'partially_refunded'::text, 'refunded'::text])))) said ORDER BY merchant, app, user_id, place, livemode DESC, since DESC, object_id DESC;
GRANT SELECT ON TABLE app_users TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW backup_states WITH (security_invoker=true) AS SELECT id, merchant, gateway AS gateway_provider, account, livemode, CASE WHEN (subscription_ref IS NULL) THEN 'payment'::text ELSE 'subscription'::text END AS service, reference, number AS client_reference, status, amount_minor, received_minor, refunded_minor, currency, fee_minor, fee_currency, method, customer_ref, email, app, app_from, user_id, plan, subscription_ref, invoice_ref, failure_code, failure_message, status_reason, metadata, merged_into, order_id, CASE WHEN (id IS NOT NULL) THEN jsonb_build_object('id', id, 'number', number, 'customer_id', customer_id, 'livemode', livemode, 'event_id', event_id, 'event_name', event_name, 'event_date', event_date, 'currency', currency, 'status', status, 'status_by_hand', status_by_hand, 'payment_state', payment_state, 'subtotal_minor', subtotal_minor, 'tax_minor', tax_minor, 'fee_minor', fee_minor, 'discount_minor', discount_minor, 'total_minor', total_minor, 'paid_minor', paid_minor, 'refunded_minor', refunded_minor, 'reference', reference, 'created_at', created_at) ELSE NULL::jsonb END AS order_state, ( SELECT jsonb_agg(jsonb_build_object('id', id, 'gateway_id', gateway_id, 'livemode', livemode, 'status', status, 'amount_minor', amount_minor, 'currency', currency, 'fee_minor', fee_minor, 'reason', reason, 'failure_code', failure_code, 'failure_message', failure_message, 'reference', reference, 'refunded_at', refunded_at, 'metadata', metadata, 'first_fact_at', first_fact_at, 'last_fact_at', last_fact_at) ORDER BY id) AS jsonb_agg FROM refunds r WHERE (payment_id = id)) AS refunds, ( SELECT jsonb_agg(jsonb_build_object('id', id, 'gateway_id', gateway_id, 'livemode', livemode, 'status', status, 'amount_minor', amount_minor, 'currency', currency, 'fee_minor', fee_minor, 'reason', reason, 'outcome', outcome, 'is_withdrawn', is_withdrawn, 'respond_by', respond_by, 'opened_at', opened_at, 'closed_at', closed_at, 'first_fact_at', first_fact_at, 'last_fact_at', last_fact_at) ORDER BY id) AS jsonb_agg FROM disputes d WHERE (payment_id = id)) AS disputes, first_fact_at, last_fact_at, completed_at FROM (payments p LEFT JOIN orders o ON ((id = order_id)));
GRANT SELECT ON TABLE backup_states TO gatehouse_ops, gatehouse_worker;

CREATE VIEW elevenone_subscriptions WITH (security_invoker=true) AS SELECT webhook_event_id AS id, created_at, reference, user_id, plan, amount_minor, currency, status, event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id FROM app_transactions WHERE (app = 'elevenone'::text);
GRANT SELECT ON TABLE elevenone_subscriptions TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW invoice_settlements WITH (security_invoker=true) AS SELECT id AS invoice_id, merchant, gateway, account, gateway_id, number, status, currency, total_minor, paid_minor, payments, in_minor AS came_in_minor, surcharge_minor, (NOT (paid_minor IS DISTINCT FROM in_minor)) AS agrees FROM (invoices i CROSS JOIN LATERAL ( SELECT count(*) AS payments, (COALESCE(sum((received_minor - COALESCE(surcharge_minor, (0)::bigint))), (0)::numeric))::bigint AS in_minor, (COALESCE(sum(surcharge_minor), (0)::numeric))::bigint AS surcharge_minor FROM payments p WHERE ((gateway = gateway) AND (account = account) AND (invoice_ref = gateway_id) AND (merged_into IS NULL) AND (merchant = merchant) AND (received_minor IS NOT NULL) AND (status = ANY (ARRAY['completed'::text, 'partially_refunded'::text, 'refunded'::text])))) came);
COMMENT ON VIEW invoice_settlements IS 'invoices beside the payments that pay them: came_in_minor is what was received less surcharges';
GRANT SELECT ON TABLE invoice_settlements TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW nexai_subscriptions WITH (security_invoker=true) AS SELECT webhook_event_id AS id, created_at, reference, user_id, plan, amount_minor, currency, status, event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id FROM app_transactions WHERE (app = 'nexai'::text);
GRANT SELECT ON TABLE nexai_subscriptions TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW tenant_usage WITH (security_invoker=true) AS SELECT tenant_id, merchant, date, (sum(api_requests))::bigint AS api_requests, (sum(query_executions))::bigint AS query_executions, (sum(rows_returned))::bigint AS rows_returned, (sum(bytes_returned))::bigint AS bytes_returned, (sum(milliseconds))::bigint AS milliseconds, max(storage_bytes) AS storage_bytes, round(((max(storage_bytes))::numeric / 1048576.0), 3) AS storage_used_mb, round((sum(bytes_returned) / 1048576.0), 3) AS bandwidth_used_mb FROM tenant_usage_slots GROUP BY tenant_id, merchant, date;
GRANT SELECT ON TABLE tenant_usage TO gatehouse_api, gatehouse_ops, gatehouse_worker;

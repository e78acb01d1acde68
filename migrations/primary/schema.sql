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
    as_pattern text := regexp_replace(p_email, '([^[:alnum:]@])', '\\\1', 'g');
    customer bigint;
    their_orders bigint[];
    theirs jsonb;
    of_kind record;
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

    events := array(
        select f.webhook_event_id from jsonb_each(theirs) as kinds cross join lateral jsonb_array_elements_text(kinds.value) as one
        join facts f on f.kind = kinds.key and f.subject_id = one::bigint
        where f.webhook_event_id is not null
        union
        select e.id from payment_objects po join webhook_events e on e.reference = po.object_id
        where po.payment_id in (select jsonb_array_elements_text(theirs -> 'payment')::bigint)
          and e.merchant = merchant_now and e.gateway = po.gateway and e.account = po.account);
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
        version = version + 1, updated_at = now()
    where id = any (their_orders);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('orders', changed);
    update order_items set attendee_name = null, attendee_email = null
    where (merchant = merchant_now and attendee_email_key = key_now)
        or (order_id = any (their_orders) and attendee_email is null and attendee_name is not null);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('order_items', changed);
    update refund_requests set reason = null
    where reason is not null and payment_id in (select jsonb_array_elements_text(theirs -> 'payment')::bigint);
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('refund_requests', changed);
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
    delete from rejected_requests where position(in_json in lower(headers::text || reason)) > 0;
    get diagnostics changed = row_count;
    done := done || jsonb_build_object('rejected_requests', changed);
    return done;
end
$function$;
REVOKE ALL ON FUNCTION erase_customer(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION erase_customer(text) TO gatehouse_ops;

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
begin
    select * into customer from customers where merchant = merchant_now and email_key = key_now;
    select coalesce(jsonb_object_agg(kind, ids), '{}') into found_ids
    from (
        select kind, jsonb_agg(id order by id) as ids
        from subjects_of_person(merchant_now, key_now, customer.id) group by kind
    ) as found;
    return jsonb_build_object(
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
        period_start, period_end, description, lines, metadata, first_fact_at, last_fact_at
    )
    select
        p_id, told.merchant, told.gateway, told.account, coalesce(word.livemode, false),
        coalesce(word.gateway_id, ''), coalesce(told.status, 'open'), word.number, word.total_minor, word.due_minor,
        word.paid_minor, word.currency, word.customer_ref, word.email, word.subscription_ref, word.attempts,
        word.next_attempt_at, word.issued_at, word.due_at, word.paid_at, word.period_start, word.period_end,
        word.description, word.lines, word.metadata, told.first_fact_at, told.last_fact_at
    from jsonb_to_record(told.words) as word (
        livemode boolean, gateway_id text, number text, total_minor bigint, due_minor bigint, paid_minor bigint,
        currency text, customer_ref text, email text, subscription_ref text, attempts integer,
        next_attempt_at timestamptz, issued_at timestamptz, due_at timestamptz, paid_at timestamptz,
        period_start timestamptz, period_end timestamptz, description text, lines jsonb, metadata jsonb
    )
    on conflict (id) do update set
        livemode = excluded.livemode, gateway_id = excluded.gateway_id, status = excluded.status,
        number = excluded.number, total_minor = excluded.total_minor, due_minor = excluded.due_minor,
        paid_minor = excluded.paid_minor, currency = excluded.currency, customer_ref = excluded.customer_ref,
        email = excluded.email, subscription_ref = excluded.subscription_ref, attempts = excluded.attempts,
        next_attempt_at = excluded.next_attempt_at, issued_at = excluded.issued_at, due_at = excluded.due_at,
        paid_at = excluded.paid_at, period_start = excluded.period_start, period_end = excluded.period_end,
        description = excluded.description, lines = excluded.lines, metadata = excluded.metadata,
        first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at
    where (
        held.livemode, held.gateway_id, held.status, held.number, held.total_minor, held.due_minor, held.paid_minor,
        held.currency, held.customer_ref, held.email, held.subscription_ref, held.attempts, held.next_attempt_at,
        held.issued_at, held.due_at, held.paid_at, held.period_start, held.period_end, held.description, held.lines,
        held.metadata, held.first_fact_at, held.last_fact_at
    ) is distinct from (
        excluded.livemode, excluded.gateway_id, excluded.status, excluded.number, excluded.total_minor,
        excluded.due_minor, excluded.paid_minor, excluded.currency, excluded.customer_ref, excluded.email,
        excluded.subscription_ref, excluded.attempts, excluded.next_attempt_at, excluded.issued_at, excluded.due_at,
        excluded.paid_at, excluded.period_start, excluded.period_end, excluded.description, excluded.lines,
        excluded.metadata, excluded.first_fact_at, excluded.last_fact_at
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
        completed_at
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
        coalesce(first_fact_at, first_received_at), coalesce(told.occurred_at, last_received_at), completed_at
    from jsonb_to_record(words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, email text,
        subscription_ref text, invoice_ref text, failure_code text, failure_message text, status_reason text, app text,
        user_id text, plan text, metadata jsonb
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
        completed_at = excluded.completed_at
    where (
        held.livemode, held.status, held.amount_minor, held.received_minor, held.refunded_minor, held.currency,
        held.fee_minor, held.fee_currency, held.method, held.reference, held.customer_ref, held.email,
        held.subscription_ref, held.invoice_ref, held.failure_code, held.failure_message, held.status_reason,
        held.app, held.app_from, held.user_id, held.plan, held.metadata, held.first_fact_at, held.last_fact_at,
        held.completed_at
    ) is distinct from (
        excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
        excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
        excluded.customer_ref, excluded.email, excluded.subscription_ref, excluded.invoice_ref, excluded.failure_code,
        excluded.failure_message, excluded.status_reason, excluded.app, excluded.app_from, excluded.user_id,
        excluded.plan, excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at
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

CREATE OR REPLACE FUNCTION public.home_of_subject(p_merchant text, p_gateway text, p_account text, p_kind text, p_objects jsonb, p_joining boolean)
 RETURNS bigint
 LANGUAGE plpgsql
AS $function$
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

CREATE OR REPLACE FUNCTION public.may_be_forwarded(p_event webhook_events)
 RETURNS boolean
 LANGUAGE sql
 STABLE
AS $function$
    select (
        p_event.status = 'applied'
        or (p_event.status = 'ignored' and p_event.reason not like 'wrong mode%' and p_event.reason not like 'switched off%')
    ) and p_event.gateway not in ('sayswitch', 'mx_merchant')
$function$;

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

CREATE OR REPLACE FUNCTION public.payments_named(p_gateway text, p_account text, p_objects jsonb)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
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

CREATE OR REPLACE FUNCTION public.refunded_by(p_gateway text, p_account text, p_objects jsonb)
 RETURNS bigint[]
 LANGUAGE plpgsql
AS $function$
begin
    return array(
        select distinct r.payment_id
        from jsonb_array_elements(p_objects) as named
        join subject_names sn on sn.gateway = p_gateway and sn.account = p_account and sn.kind = named ->> 'kind'
            and sn.object_id = named ->> 'id' and sn.subject_kind = 'refund'
        join refunds r on r.id = sn.subject_id
        where r.payment_id is not null);
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
    if not is_erased and said_email is null and ref is not null then
        is_erased := exists (
            select from erased_customers e
            where e.merchant = new.merchant and e.what = 'customer_ref'
              and e.said_hash = erasure_hash(concat_ws('/', new.gateway, new.account, ref)));
    end if;
    if is_erased then
        new.words := without_personal_words(new.kind, new.words);
        delete from webhook_payloads where webhook_event_id = new.webhook_event_id;
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

CREATE OR REPLACE FUNCTION public.search_query(p_merchant text, p_text text)
 RETURNS tsquery
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select string_agg('''' || p_merchant || '/' || left(word, 60) || ''':*', ' & ')::tsquery
    from regexp_split_to_table(
        regexp_replace(lower(normalize(left(p_text, 300), nfd)), '[\u0300-\u036f]', '', 'g'),
        '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
$function$;

CREATE OR REPLACE FUNCTION public.search_words(p_merchant text, p_texts text[])
 RETURNS tsvector
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select coalesce(array_to_tsvector(array_agg(distinct p_merchant || '/' || left(word, 60))), '')
    from unnest(p_texts) as said,
         regexp_split_to_table(
             regexp_replace(lower(normalize(said, nfd)), '[\u0300-\u036f]', '', 'g'),
             '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
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

CREATE OR REPLACE FUNCTION public.subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
 RETURNS TABLE(kind text, id bigint)
 LANGUAGE plpgsql
 STABLE
AS $function$
begin
    return query
    with theirs as (
        select g.id, g.gateway, g.account, g.gateway_id from gateway_customers g
        where g.merchant = p_merchant and (lower(g.email) = p_email_key or g.customer_id = p_customer_id)
    ), paid as (
        select coalesce(p.merged_into, p.id) as id from payments p
        where p.merchant = p_merchant and lower(p.email) = p_email_key
        union
        select coalesce(p.merged_into, p.id) from payments p
        where p.merchant = p_merchant and p.customer_id = p_customer_id
        union
        select coalesce(p.merged_into, p.id) from theirs t
        join payments p on p.merchant = p_merchant and p.customer_ref = t.gateway_id and p.gateway = t.gateway
            and p.account = t.account
        union
        select coalesce(p.merged_into, p.id) from orders o join payments p on p.order_id = o.id
        where o.merchant = p_merchant and o.customer_id = p_customer_id
    )
    select 'customer', t.id from theirs t
    union
    select 'payment', p.id from paid p
    union
    select 'subscription', s.id from subscriptions s
    where s.merchant = p_merchant and (lower(s.email) = p_email_key or lower(s.user_id) = p_email_key or exists (
        select from theirs t
        where t.gateway = s.gateway and t.account = s.account and t.gateway_id = s.customer_ref))
    union
    select 'invoice', i.id from invoices i
    where i.merchant = p_merchant and (lower(i.email) = p_email_key or exists (
        select from theirs t
        where t.gateway = i.gateway and t.account = i.account and t.gateway_id = i.customer_ref))
    union
    select 'refund', r.id from paid p join refunds r on r.payment_id = p.id
    union
    select 'dispute', d.id from paid p join disputes d on d.payment_id = p.id
    union
    select 'payout', o.id from payouts o where o.merchant = p_merchant and lower(o.destination) = p_email_key;
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

CREATE OR REPLACE FUNCTION public.without_personal_words(p_kind text, p_words jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
AS $function$
    select (p_words - array[
            'email', 'name', 'phone', 'description', 'lines', 'failure_message', 'cancel_reason', 'metadata']
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
            when name = any (tg_argv) then jsonb_build_array(
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

CREATE SEQUENCE payment_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE payment_ids TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

CREATE SEQUENCE subject_ids AS bigint INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1;
GRANT USAGE ON SEQUENCE subject_ids TO gatehouse_intake, gatehouse_ops, gatehouse_worker;

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
GRANT DELETE, INSERT, SELECT, UPDATE ON TABLE apps TO gatehouse_ops;
GRANT SELECT (merchant, name, is_default, plans, created_at, target_url, environment_url, is_paused, paused_because, takes, takes_health_data, router_source, attempts, attempt_milliseconds, waits_milliseconds, rate_per_second, burst, circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at) ON TABLE apps TO gatehouse_api, gatehouse_intake;
GRANT SELECT, UPDATE (environment_url, is_paused, paused_because, sealed, key_id, circuit_state, circuit_failures, circuit_opened_at, circuit_probe_at, bucket_tokens, bucket_filled_at) ON TABLE apps TO gatehouse_worker;

CREATE TABLE audit_hash_key (
    only_one boolean NOT NULL DEFAULT true,
    key bytea NOT NULL,
    CONSTRAINT audit_hash_key_pkey PRIMARY KEY (only_one),
    CONSTRAINT audit_hash_key_only_one_check CHECK (only_one)
);

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
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_accounts TO gatehouse_ops;
GRANT SELECT ON TABLE gateway_accounts TO gatehouse_intake, gatehouse_worker;
GRANT SELECT (gateway, account, merchant, mode, is_active, created_at, updated_at) ON TABLE gateway_accounts TO gatehouse_api;

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
CREATE TRIGGER gateway_customers_audit_delete AFTER DELETE ON public.gateway_customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER gateway_customers_audit_insert AFTER INSERT ON public.gateway_customers FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER gateway_customers_audit_update AFTER UPDATE ON public.gateway_customers FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'name', 'phone', 'user_id', 'metadata');
CREATE TRIGGER link_gateway_customer_insert BEFORE INSERT ON public.gateway_customers FOR EACH ROW WHEN ((new.email IS NOT NULL)) EXECUTE FUNCTION link_gateway_customer();
CREATE TRIGGER link_gateway_customer_update BEFORE UPDATE ON public.gateway_customers FOR EACH ROW WHEN ((old.email IS DISTINCT FROM new.email)) EXECUTE FUNCTION link_gateway_customer();
GRANT INSERT, SELECT, UPDATE ON TABLE gateway_customers TO gatehouse_intake, gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE gateway_customers TO gatehouse_api;

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
    CONSTRAINT invoices_pkey PRIMARY KEY (id),
    CONSTRAINT invoices_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT invoices_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'open'::text, 'partially_paid'::text, 'past_due'::text, 'uncollectible'::text, 'void'::text, 'paid'::text, 'partially_refunded'::text, 'refunded'::text])))
);
CREATE INDEX invoices_customer ON public.invoices USING btree (gateway, account, customer_ref) WHERE (customer_ref IS NOT NULL);
CREATE INDEX invoices_newest ON public.invoices USING btree (merchant, first_fact_at DESC, id DESC);
CREATE INDEX invoices_ref ON public.invoices USING btree (gateway, account, gateway_id);
CREATE INDEX invoices_subscription ON public.invoices USING btree (gateway, account, subscription_ref) WHERE (subscription_ref IS NOT NULL);
ALTER TABLE invoices ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON invoices FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON invoices FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER invoices_audit_delete AFTER DELETE ON public.invoices FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
CREATE TRIGGER invoices_audit_insert AFTER INSERT ON public.invoices FOR EACH ROW EXECUTE FUNCTION write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
CREATE TRIGGER invoices_audit_update AFTER UPDATE ON public.invoices FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('email', 'customer_ref', 'description', 'lines', 'metadata');
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
CREATE INDEX jobs_redrive ON public.jobs USING btree (redrive_id) WHERE (redrive_id IS NOT NULL);
CREATE INDEX jobs_to_ring ON public.jobs USING btree (ring_after) WHERE (status = ANY (ARRAY['waiting'::text, 'leased'::text]));
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON jobs FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON jobs FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE jobs TO gatehouse_intake;
GRANT INSERT, SELECT, UPDATE ON TABLE jobs TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE jobs TO gatehouse_api;

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
    CONSTRAINT order_items_pkey PRIMARY KEY (id),
    CONSTRAINT order_items_check CHECK ((total_minor = (quantity * unit_minor))),
    CONSTRAINT order_items_quantity_check CHECK ((quantity > 0)),
    CONSTRAINT order_items_total_minor_check CHECK ((total_minor >= 0)),
    CONSTRAINT order_items_unit_minor_check CHECK ((unit_minor >= 0)),
    CONSTRAINT order_items_merchant_item_type_fkey FOREIGN KEY (merchant, item_type) REFERENCES item_types(merchant, name),
    CONSTRAINT order_items_order_id_fkey FOREIGN KEY (order_id) REFERENCES orders(id)
);
CREATE INDEX order_items_attendee ON public.order_items USING btree (merchant, attendee_email_key) WHERE (attendee_email_key IS NOT NULL);
CREATE INDEX order_items_order ON public.order_items USING btree (order_id, id);
CREATE INDEX order_items_type ON public.order_items USING btree (merchant, item_type, order_id);
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
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payments_amount_minor_check CHECK ((amount_minor >= 0)),
    CONSTRAINT payments_check CHECK (((fee_minor IS NULL) OR (fee_currency IS NOT NULL))),
    CONSTRAINT payments_check1 CHECK (((status <> ALL (ARRAY['completed'::text, 'refunded'::text, 'partially_refunded'::text])) OR ((amount_minor IS NOT NULL) AND (received_minor IS NOT NULL) AND (currency IS NOT NULL)))),
    CONSTRAINT payments_currency_check CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_fee_currency_check CHECK ((fee_currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT payments_received_minor_check CHECK ((received_minor >= 0)),
    CONSTRAINT payments_refunded_minor_check CHECK ((refunded_minor >= 0)),
    CONSTRAINT payments_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'processing'::text, 'completed'::text, 'failed'::text, 'refunded'::text, 'partially_refunded'::text, 'cancelled'::text]))),
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
CREATE INDEX payments_order ON public.payments USING btree (order_id) WHERE (order_id IS NOT NULL);
CREATE INDEX payments_order_named ON public.payments USING btree (merchant, ((metadata ->> 'order_id'::text))) WHERE ((metadata ->> 'order_id'::text) IS NOT NULL);
CREATE INDEX payments_order_number ON public.payments USING btree (merchant, ((metadata ->> 'order_number'::text))) WHERE ((metadata ->> 'order_number'::text) IS NOT NULL);
CREATE INDEX payments_reference ON public.payments USING btree (merchant, reference) WHERE (reference IS NOT NULL);
CREATE INDEX payments_subscription ON public.payments USING btree (gateway, account, subscription_ref) WHERE (subscription_ref IS NOT NULL);
CREATE INDEX payments_user ON public.payments USING btree (merchant, app, user_id) WHERE (user_id IS NOT NULL);
ALTER TABLE payments ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON payments FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON payments FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
CREATE TRIGGER follow_payment_insert AFTER INSERT ON public.payments FOR EACH ROW WHEN ((((new.app_from = 'event'::text) OR (new.user_id IS NOT NULL)) AND ((new.subscription_ref IS NOT NULL) OR ((new.customer_ref IS NOT NULL) AND (new.plan IS NOT NULL))))) EXECUTE FUNCTION follow_payment();
CREATE TRIGGER follow_payment_of_order_insert AFTER INSERT ON public.payments FOR EACH ROW WHEN ((new.order_id IS NOT NULL)) EXECUTE FUNCTION follow_payment_of_order();
CREATE TRIGGER follow_payment_of_order_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((((old.order_id IS NOT NULL) OR (new.order_id IS NOT NULL)) AND ((((((((old.order_id IS DISTINCT FROM new.order_id) OR (old.status IS DISTINCT FROM new.status)) OR (old.received_minor IS DISTINCT FROM new.received_minor)) OR (old.refunded_minor IS DISTINCT FROM new.refunded_minor)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.completed_at IS DISTINCT FROM new.completed_at)) OR (old.livemode IS DISTINCT FROM new.livemode)) OR (old.merged_into IS DISTINCT FROM new.merged_into)))) EXECUTE FUNCTION follow_payment_of_order();
CREATE TRIGGER follow_payment_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((((((((((((old.app IS DISTINCT FROM new.app) OR (old.app_from IS DISTINCT FROM new.app_from)) OR (old.user_id IS DISTINCT FROM new.user_id)) OR (old.subscription_ref IS DISTINCT FROM new.subscription_ref)) OR (old.customer_ref IS DISTINCT FROM new.customer_ref)) OR (old.plan IS DISTINCT FROM new.plan)) OR (old.first_fact_at IS DISTINCT FROM new.first_fact_at)) OR (old.merged_into IS DISTINCT FROM new.merged_into)) OR (old.reference IS DISTINCT FROM new.reference)) OR (old.amount_minor IS DISTINCT FROM new.amount_minor)) OR (old.currency IS DISTINCT FROM new.currency))) EXECUTE FUNCTION follow_payment();
CREATE TRIGGER forward_payment AFTER UPDATE ON public.payments FOR EACH ROW WHEN (((old.app IS DISTINCT FROM new.app) AND (new.app IS NOT NULL))) EXECUTE FUNCTION forward_what_belongs_elsewhere();
CREATE TRIGGER link_payment_insert BEFORE INSERT ON public.payments FOR EACH ROW WHEN (((new.reference IS NOT NULL) OR (new.metadata IS NOT NULL) OR (new.email IS NOT NULL))) EXECUTE FUNCTION link_payment();
CREATE TRIGGER link_payment_update BEFORE UPDATE ON public.payments FOR EACH ROW WHEN (((((old.reference IS DISTINCT FROM new.reference) OR (old.metadata IS DISTINCT FROM new.metadata)) OR (old.email IS DISTINCT FROM new.email)) OR (old.merged_into IS DISTINCT FROM new.merged_into))) EXECUTE FUNCTION link_payment();
CREATE TRIGGER payments_audit_delete AFTER DELETE ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
CREATE TRIGGER payments_audit_insert AFTER INSERT ON public.payments FOR EACH ROW EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
CREATE TRIGGER payments_audit_update AFTER UPDATE ON public.payments FOR EACH ROW WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
COMMENT ON COLUMN payments.fee_minor IS 'null means: not known yet; never counted as zero';
COMMENT ON COLUMN payments.app_from IS 'how the app is known: event, subscription, plan, customer, payment, default';
COMMENT ON COLUMN payments.order_id IS 'the order that its metadata (order_number, order_id) or its reference names';
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
GRANT INSERT, SELECT, UPDATE ON TABLE redrives TO gatehouse_ops, gatehouse_worker;

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
    CONSTRAINT webhook_events_pkey PRIMARY KEY (id),
    CONSTRAINT webhook_events_event_id_gateway_account_key UNIQUE (event_id, gateway, account),
    CONSTRAINT webhook_events_check CHECK (((status = ANY (ARRAY['applied'::text, 'received'::text])) OR (reason IS NOT NULL))),
    CONSTRAINT webhook_events_status_check CHECK ((status = ANY (ARRAY['received'::text, 'applied'::text, 'ignored'::text, 'failed'::text])))
);
CREATE INDEX webhook_events_failed ON public.webhook_events USING btree (received_at) WHERE (status = 'failed'::text);
CREATE INDEX webhook_events_received ON public.webhook_events USING brin (received_at);
CREATE INDEX webhook_events_reference ON public.webhook_events USING btree (reference) WHERE (reference IS NOT NULL);
ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_events FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_events FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE webhook_events TO gatehouse_intake, gatehouse_worker;
GRANT INSERT, SELECT, UPDATE ON TABLE webhook_events TO gatehouse_ops;
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
CREATE INDEX webhook_forward_logs_event ON public.webhook_forward_logs USING btree (webhook_event_id) WHERE (webhook_event_id IS NOT NULL);
CREATE INDEX webhook_forward_logs_failed ON public.webhook_forward_logs USING btree (id DESC) WHERE (NOT ok);
CREATE INDEX webhook_forward_logs_reference ON public.webhook_forward_logs USING btree (reference) WHERE (reference IS NOT NULL);
ALTER TABLE webhook_forward_logs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY all_merchants ON webhook_forward_logs FOR ALL TO CURRENT_USER, gatehouse_ops, gatehouse_worker USING (true);
CREATE POLICY own_merchant ON webhook_forward_logs FOR ALL TO gatehouse_api, gatehouse_intake USING ((merchant = current_setting('gatehouse.merchant'::text, true)));
GRANT INSERT, SELECT ON TABLE webhook_forward_logs TO gatehouse_ops, gatehouse_worker;
GRANT SELECT ON TABLE webhook_forward_logs TO gatehouse_api;

CREATE TABLE webhook_payloads (
    webhook_event_id bigint NOT NULL,
    merchant text NOT NULL,
    received_at timestamp with time zone NOT NULL,
    key_id text NOT NULL,
    sealed bytea NOT NULL,
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

CREATE VIEW elevenone_subscriptions WITH (security_invoker=true) AS SELECT webhook_event_id AS id, created_at, reference, user_id, plan, amount_minor, currency, status, event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id FROM app_transactions WHERE (app = 'elevenone'::text);
GRANT SELECT ON TABLE elevenone_subscriptions TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW nexai_subscriptions WITH (security_invoker=true) AS SELECT webhook_event_id AS id, created_at, reference, user_id, plan, amount_minor, currency, status, event_type, gateway, account, livemode, occurred_at, merchant, payment_id, subscription_id FROM app_transactions WHERE (app = 'nexai'::text);
GRANT SELECT ON TABLE nexai_subscriptions TO gatehouse_api, gatehouse_ops, gatehouse_worker;

CREATE VIEW tenant_usage WITH (security_invoker=true) AS SELECT tenant_id, merchant, date, (sum(api_requests))::bigint AS api_requests, (sum(query_executions))::bigint AS query_executions, (sum(rows_returned))::bigint AS rows_returned, (sum(bytes_returned))::bigint AS bytes_returned, (sum(milliseconds))::bigint AS milliseconds, max(storage_bytes) AS storage_bytes, round(((max(storage_bytes))::numeric / 0), 3) AS storage_used_mb, round((sum(bytes_returned) / 0), 3) AS bandwidth_used_mb FROM tenant_usage_slots GROUP BY tenant_id, merchant, date;
GRANT SELECT ON TABLE tenant_usage TO gatehouse_api, gatehouse_ops, gatehouse_worker;

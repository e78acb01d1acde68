-- A person is shown and erased in the tables that came after customers too. A table that is still to come adds two
-- functions, and changes none.
-- migrate: up

-- Returns the events that said something of a person: by their facts, or by naming one of their payments.
create function events_of_person(p_merchant text, p_theirs jsonb) returns bigint[]
language sql stable as $$
    select array(
        select f.webhook_event_id
        from jsonb_each(p_theirs) as kinds cross join lateral jsonb_array_elements_text(kinds.value) as one
        join facts f on f.kind = kinds.key and f.subject_id = one::bigint
        where f.webhook_event_id is not null
        union
        select e.id from payment_objects po join webhook_events e on e.reference = po.object_id
        where po.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
          and e.merchant = p_merchant and e.gateway = po.gateway and e.account = po.account)
$$;

-- Returns the pattern of an address that is no part of a longer one.
create function address_pattern(p_email_key text) returns text
language sql immutable as $$
    select '(?<![[:alnum:]._%+-])' || regexp_replace(p_email_key, '([^[:alnum:]@])', '\\\1', 'g')
        || '(?![[:alnum:]-]|[.][[:alnum:]])'
$$;

-- Tells whether an address stands in a text, in upper or lower case; as a whole, and not as the end of a longer one.
create function says_address(p_text text, p_email_key text) returns boolean
language sql immutable as $$
    select coalesce(position(p_email_key in lower(p_text)) > 0 and p_text ~* address_pattern(p_email_key), false)
$$;

-- Returns a text without an address that stands in it; null stays null.
create function without_address(p_text text, p_email_key text) returns text
language sql immutable as $$
    select case
        when position(p_email_key in lower(p_text)) > 0
        then regexp_replace(p_text, address_pattern(p_email_key), 'erased', 'gi')
        else p_text
    end
$$;

-- Returns a key in which an address stands as its hash: two such keys must stay two.
create function key_without_address(p_key text, p_email_key text) returns text
language sql stable as $$
    select case when says_address(p_key, p_email_key) then 'erased ' || erasure_hash(p_key) else p_key end
$$;

-- A log says what an app answered, which may repeat what it was sent.
create function erase_person_in_webhook_forward_logs(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
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
$$;

create function export_person_in_webhook_forward_logs(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(to_jsonb(l) order by l.id) from webhook_forward_logs l
    where l.merchant = p_merchant and l.id in (
        select id from webhook_forward_logs where webhook_event_id = any (p_events)
        union
        select id from webhook_forward_logs where reference = p_email_key)
$$;

-- A redrive says what it was asked for.
create function erase_person_in_redrives(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
declare
    changed bigint;
begin
    update redrives set filters = without_address(filters::text, p_email_key)::jsonb
    where merchant = p_merchant and says_address(filters::text, p_email_key);
    get diagnostics changed = row_count;
    return changed;
end
$$;

create function export_person_in_redrives(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(to_jsonb(r) order by r.id) from redrives r
    where r.merchant = p_merchant and says_address(r.filters::text, p_email_key)
$$;

create function erase_person_in_refund_requests(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
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
$$;

create function export_person_in_refund_requests(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(to_jsonb(r) order by r.created_at, r.id) from refund_requests r
    where r.merchant = p_merchant and r.payment_id in (select jsonb_array_elements_text(p_theirs -> 'payment')::bigint)
$$;

-- The reason for which an event failed may repeat a value of it.
create function erase_person_in_webhook_events(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
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
$$;

create function export_person_in_webhook_events(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(to_jsonb(e) order by e.id) from webhook_events e
    where e.merchant = p_merchant and e.id = any (p_events)
$$;

-- Whatever an answer says beside addresses that stand alone, which the trigger on erased_customers looks for.
create function erase_person_in_api_answers(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns bigint
language plpgsql as $$
declare
    changed bigint;
begin
    update api_answers set body = null, idempotency_key = key_without_address(idempotency_key, p_email_key)
    where merchant = p_merchant
      and (says_address(body::text, p_email_key) or says_address(idempotency_key, p_email_key));
    get diagnostics changed = row_count;
    return changed;
end
$$;

create function export_person_in_api_answers(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(jsonb_build_object('at', a.created_at, 'status', a.status, 'body', a.body) order by a.created_at)
    from api_answers a
    where a.merchant = p_merchant and says_address(a.body::text, p_email_key)
$$;

create function export_person_in_app_transactions(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(to_jsonb(t) order by t.created_at, t.webhook_event_id) from app_transactions t
    where t.merchant = p_merchant and t.webhook_event_id = any (p_events)
$$;

create function export_person_in_jobs(
    p_merchant text, p_email_key text, p_customer bigint, p_theirs jsonb, p_events bigint[]
) returns jsonb
language sql stable as $$
    select jsonb_agg(jsonb_build_object(
        'topic', j.topic, 'status', j.status, 'arguments', j.arguments, 'last_error', j.last_error,
        'created_at', j.created_at) order by j.id)
    from jobs j
    where j.merchant = p_merchant and j.webhook_event_id = any (p_events)
$$;

-- Returns everything that is known of a person, as JSON; empty lists where nothing is. Of a table that is not named
-- here tells a function export_person_in_<table>, where there is one: (merchant, address in lower case, customer, what facts
-- are folded into by kind, events) -> rows.
create or replace function export_customer(p_email text) returns jsonb
language plpgsql stable security definer set search_path = public, pg_temp as $$
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
$$;

-- Erases a person: payloads are deleted, personal fields emptied wherever they stand, the address remembered as a hash.
-- Money, names of objects and the audit stay. Returns how many rows of each table were changed. In a table that is not
-- named here they are erased by a function erase_person_in_<table>, where there is one: (merchant, address in lower
-- case, customer, what facts are folded into by kind, events) -> how many rows it changed.
create or replace function erase_customer(p_email text) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Called by the two alone, who are the owner then.
do $$
declare
    each regprocedure;
begin
    for each in
        select oid from pg_proc
        where pronamespace = 'public'::regnamespace
          and (starts_with(proname, 'erase_person_in_') or starts_with(proname, 'export_person_in_'))
    loop
        execute format('revoke execute on function %s from public', each);
    end loop;
end
$$;

-- migrate: down

-- Returns everything that is known of a person, as JSON; empty lists where nothing is.
create or replace function export_customer(p_email text) returns jsonb
language plpgsql stable security definer set search_path = public, pg_temp as $$
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
$$;

-- Erases a person: payloads are deleted, personal fields emptied wherever they stand, the address remembered as a hash.
-- Money, names of objects and the audit stay. Returns how many rows of each table were changed.
create or replace function erase_customer(p_email text) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

drop function export_person_in_jobs(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_app_transactions(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_api_answers(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_api_answers(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_webhook_events(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_webhook_events(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_refund_requests(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_refund_requests(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_redrives(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_redrives(text, text, bigint, jsonb, bigint[]);
drop function export_person_in_webhook_forward_logs(text, text, bigint, jsonb, bigint[]);
drop function erase_person_in_webhook_forward_logs(text, text, bigint, jsonb, bigint[]);
drop function key_without_address(text, text);
drop function without_address(text, text);
drop function says_address(text, text);
drop function address_pattern(text);
drop function events_of_person(text, jsonb);

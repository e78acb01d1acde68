-- What is known of a person can be shown and erased. Money and audit stay; an erased address is remembered as a keyed
-- hash alone, so that what is told of it again, late or by an import, leaves nothing personal behind.
-- migrate: up

create table erased_customers (
    merchant text not null,
    what text not null check (what in ('email', 'customer_ref')),
    said_hash text not null,
    erased_at timestamptz not null default now(),
    primary key (merchant, what, said_hash)
);

alter table erased_customers enable row level security, force row level security;
create policy own_merchant on erased_customers to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on erased_customers to gatehouse_worker, gatehouse_ops, current_user using (true);
grant select on erased_customers to gatehouse_ops;

-- The keyed hash under which an erased address or a gateway's customer is remembered.
create function erasure_hash(p_said text) returns text
language sql stable security definer set search_path = public, pg_temp as $$
    select encode(sha256(key || sha256(key || convert_to('erased ' || p_said, 'UTF8'))), 'hex') from audit_hash_key
$$;

-- Takes out of a fact's words what may be personal; of metadata stays what names orders and apps.
create function without_personal_words(p_kind text, p_words jsonb) returns jsonb
language sql immutable as $$
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
$$;

-- Keeps what is told of an erased person from bringing anything personal back: neither a fact nor its event's bytes.
-- Somebody who came back by ordering again is a customer again, for what happens from then on.
create function respect_erasure() returns trigger
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

create trigger respect_erasure before insert on facts
    for each row when (
        new.kind in ('customer', 'payout', 'refund') or new.words ?| array['email', 'customer_ref'])
    execute function respect_erasure();

-- Returns everything that facts are folded into and that is about one person, by address or by what leads to them.
create function subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
returns table (kind text, id bigint)
language plpgsql stable as $$
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
$$;

-- Returns everything that is known of a person, as JSON; empty lists where nothing is.
create function export_customer(p_email text) returns jsonb
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
create function erase_customer(p_email text) returns jsonb
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

-- Lists whose personal data may go: the day until which they are retained has passed.
create function customers_past_retention(p_day date) returns table (merchant text, customer_id bigint, email text)
language sql stable security definer set search_path = public, pg_temp as $$
    select c.merchant, c.id, c.email from customers c
    where c.retain_until < p_day and c.erased_at is null
    order by c.merchant, c.id
$$;

revoke execute on function
    erasure_hash(text), respect_erasure(), export_customer(text), erase_customer(text), customers_past_retention(date)
from public;
grant execute on function export_customer(text) to gatehouse_api, gatehouse_ops;
grant execute on function erase_customer(text), customers_past_retention(date) to gatehouse_ops;

-- The destination of a payout may be somebody's address.
drop trigger payouts_audit_insert on payouts;
drop trigger payouts_audit_update on payouts;
drop trigger payouts_audit_delete on payouts;
create trigger payouts_audit_insert after insert on payouts
    for each row execute function write_audit('failure_message', 'metadata', 'destination');
create trigger payouts_audit_update after update on payouts
    for each row when (old.* is distinct from new.*)
    execute function write_audit('failure_message', 'metadata', 'destination');
create trigger payouts_audit_delete after delete on payouts
    for each row execute function write_audit('failure_message', 'metadata', 'destination');

-- migrate: down

drop trigger payouts_audit_insert on payouts;
drop trigger payouts_audit_update on payouts;
drop trigger payouts_audit_delete on payouts;
create trigger payouts_audit_insert after insert on payouts
    for each row execute function write_audit('failure_message', 'metadata');
create trigger payouts_audit_update after update on payouts
    for each row when (old.* is distinct from new.*)
    execute function write_audit('failure_message', 'metadata');
create trigger payouts_audit_delete after delete on payouts
    for each row execute function write_audit('failure_message', 'metadata');

drop function customers_past_retention(date);
drop function erase_customer(text);
drop function export_customer(text);
drop function subjects_of_person(text, text, bigint);
drop trigger respect_erasure on facts;
drop function respect_erasure();
drop function without_personal_words(text, jsonb);
drop function erasure_hash(text);
drop table erased_customers;

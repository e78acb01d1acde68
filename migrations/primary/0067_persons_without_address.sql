-- A person of whom no e-mail address is known is shown and erased by the name that a gateway has for them: the code of a
-- patient at MX Merchant, say. What is known of them by an address too is theirs as well.
-- migrate: up

-- The gateway's customer that this transaction asks about, kept in gatehouse.person; none where it asks by address.
create function person_named() returns table (gateway text, account text, ref text)
language sql stable as $$
    select said.gateway, said.account, said.ref
    from jsonb_to_record(nullif(current_setting('gatehouse.person', true), '')::jsonb)
        as said (gateway text, account text, ref text)
    where said.ref is not null
$$;

-- Returns everything that facts are folded into and that is about one person: by address, by the gateway's customer that
-- the transaction asks about, or by what leads to them.
create or replace function subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
returns table (kind text, id bigint)
language plpgsql stable as $$
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
$$;

-- Keeps what is told of an erased person from bringing anything personal back: no fact, and not what it was read from.
-- Somebody who came back by ordering again is a customer again, for what happens from then on.
create or replace function respect_erasure() returns trigger
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
$$;

-- Tells at which gateways and accounts a merchant has a customer of this name.
create function places_of_customer(p_ref text) returns table (gateway text, account text)
language sql stable security definer set search_path = public, pg_temp as $$
    select g.gateway, g.account from gateway_customers g where g.merchant = working_for() and g.gateway_id = p_ref
    union
    select p.gateway, p.account from payments p where p.merchant = working_for() and p.customer_ref = p_ref
    union
    select i.gateway, i.account from invoices i where i.merchant = working_for() and i.customer_ref = p_ref
$$;

-- Returns the addresses of the customer that the transaction asks about; where none is known, its name, which is none.
create function addresses_of_named() returns setof text
language sql stable as $$
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
$$;

-- Returns everything that is known of a gateway's customer, as JSON; once for each address that is known of them.
create function export_named_customer(p_gateway text, p_account text, p_ref text) returns setof jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Erases a gateway's customer as `erase_customer` does a person, with all that is known of them by an address too; the
-- name stays erased for ever. Returns how many rows of each table were changed.
create function erase_named_customer(p_gateway text, p_account text, p_ref text) returns jsonb
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

revoke execute on function
    addresses_of_named(), places_of_customer(text), export_named_customer(text, text, text),
    erase_named_customer(text, text, text)
from public;
grant execute on function places_of_customer(text), export_named_customer(text, text, text)
to gatehouse_api, gatehouse_ops;
grant execute on function erase_named_customer(text, text, text) to gatehouse_ops;

-- migrate: down

drop function erase_named_customer(text, text, text);
drop function export_named_customer(text, text, text);
drop function addresses_of_named();
drop function places_of_customer(text);

create or replace function respect_erasure() returns trigger
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
        perform set_config('gatehouse.was_erased', 'yes', true);  -- so the answer that says it is not kept either
    end if;
    return new;
end
$$;

create or replace function subjects_of_person(p_merchant text, p_email_key text, p_customer_id bigint)
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
    -- Known by the invoice alone: its customer has another number there than the payment says.
    select 'customer', g.id from paid p
    join payments pp on pp.id = p.id
    join invoices i on i.gateway = pp.gateway and i.account = pp.account and i.gateway_id = pp.invoice_ref
    join gateway_customers g on g.gateway = i.gateway and g.account = i.account and g.gateway_id = i.customer_ref
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
$$;

drop function person_named();

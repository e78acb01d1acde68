-- How customers and orders are made and changed: functions that keep the rules, whoever calls them. For whom they work
-- says the setting gatehouse.merchant of the transaction, as for row-level security.
-- migrate: up

-- Returns the merchant that this transaction works for; refuses to work for nobody.
create function working_for() returns text
language plpgsql stable as $$
declare
    merchant text := nullif(current_setting('gatehouse.merchant', true), '');
begin
    if merchant is null then
        raise exception using errcode = '42501', message = 'the transaction does not say for which merchant it works';
    end if;
    return merchant;
end
$$;

-- Refuses a value, naming its field.
create function refuse_field(p_field text, p_reason text) returns void
language plpgsql as $$
begin
    raise exception using errcode = 'GH005', constraint = p_field, message = p_field || ': ' || p_reason;
end
$$;

-- Returns the customer of an e-mail address, a new one where there is none.
create function customer_of(p_merchant text, p_email text) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Finds or makes a customer and writes what is said of them; what is not said stays.
create function save_customer(p_customer jsonb) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Changes a customer that is known; a field that is named is written, also when it is null.
create function change_customer(p_id bigint, p_changes jsonb, p_expected_version integer) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Takes the next order number of a day. Its row is held until the transaction ends: so numbers have no gaps.
create function next_order_number(p_merchant text, p_prefix text, p_day date) returns text
language plpgsql as $$
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
$$;

-- Locks names of orders, sorted: so that an order and a payment that names it cannot pass each other unseen.
create function lock_order_names(p_merchant text, p_names text[]) returns void
language plpgsql as $$
begin
    perform pg_advisory_xact_lock(key)
    from (
        select distinct hashtextextended(p_merchant || '/order/' || name, 0) as key
        from unnest(p_names) as name
        where name is not null
        order by key
    ) as keys;
end
$$;

-- Makes an order with its customer and items. The same idempotency key gives the same order again; with another content
-- it is refused (GH004). The id is left in the setting gatehouse.order, so that what follows in the flush can read it.
create function create_order(
    p_order jsonb, p_customer jsonb, p_items jsonb, p_prefix text, p_zone text, p_at timestamptz,
    p_idempotency_key text, p_content_hash text, out order_id bigint, out is_new boolean
)
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Makes the words anew by which an order is found.
create function refresh_order_search(p_ids bigint[]) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

create function follow_customer_words() returns trigger
language plpgsql as $$
begin
    perform refresh_order_search(array(select id from orders where customer_id = new.id));
    return null;
end
$$;

create trigger follow_customer_words after update on customers
    for each row when (
        (old.email, old.first_name, old.last_name) is distinct from (new.email, new.first_name, new.last_name)
    ) execute function follow_customer_words();

create function follow_attendee_words() returns trigger
language plpgsql as $$
begin
    perform refresh_order_search(array[new.order_id]);
    return null;
end
$$;

create trigger follow_attendee_words after update on order_items
    for each row when (
        (old.attendee_name, old.attendee_email) is distinct from (new.attendee_name, new.attendee_email)
    ) execute function follow_attendee_words();

-- Adds a type of item that the merchant sells.
create function add_item_type(p_name text) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
begin
    insert into item_types (merchant, name) values (working_for(), p_name);
end
$$;

-- Full-text conditions cannot use their index below row-level security, so these look as the owner, for one merchant.
create function orders_with_words(p_text text) returns table (order_id bigint)
language plpgsql stable rows 100 security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
begin
    return query select id from orders
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$$;

create function customers_with_words(p_text text) returns table (customer_id bigint)
language plpgsql stable rows 100 security definer set search_path = public, pg_temp as $$
declare
    merchant_now text := working_for();
begin
    return query select id from customers
        where search @@ search_query(merchant_now, p_text) and merchant = merchant_now;
end
$$;

revoke execute on function
    customer_of(text, text), save_customer(jsonb), change_customer(bigint, jsonb, integer),
    create_order(jsonb, jsonb, jsonb, text, text, timestamptz, text, text), refresh_order_search(bigint[]),
    add_item_type(text), orders_with_words(text), customers_with_words(text)
from public;
grant execute on function
    save_customer(jsonb), change_customer(bigint, jsonb, integer),
    create_order(jsonb, jsonb, jsonb, text, text, timestamptz, text, text), add_item_type(text),
    orders_with_words(text), customers_with_words(text)
to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop trigger follow_attendee_words on order_items;
drop trigger follow_customer_words on customers;
drop function follow_attendee_words();
drop function follow_customer_words();
drop function customers_with_words(text);
drop function orders_with_words(text);
drop function add_item_type(text);
drop function refresh_order_search(bigint[]);
drop function create_order(jsonb, jsonb, jsonb, text, text, timestamptz, text, text);
drop function lock_order_names(text, text[]);
drop function next_order_number(text, text, date);
drop function change_customer(bigint, jsonb, integer);
drop function save_customer(jsonb);
drop function customer_of(text, text);
drop function refuse_field(text, text);
drop function working_for();

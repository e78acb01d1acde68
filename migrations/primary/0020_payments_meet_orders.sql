-- Payments find the order and the customer that they speak of, and an order's state is made of its payments: whatever
-- comes first, and whatever comes at the same moment, the same rows are left.
-- migrate: up

alter table payments
    add column order_id bigint references orders (id),
    add column customer_id bigint references customers (id);
alter table gateway_customers add column customer_id bigint references customers (id);

comment on column payments.order_id is 'the order that its metadata (order_number, order_id) or its reference names';

-- Returns the order that a payment names; what it says as an order's number counts before what it says as an id, and
-- that before its reference. The names stay locked: the order may be in the making.
create function order_named(p_merchant text, p_metadata jsonb, p_reference text) returns bigint
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

-- Gives a payment its order and its customer before it is written.
create function link_payment() returns trigger
language plpgsql as $$
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
$$;

create trigger link_payment_insert before insert on payments
    for each row when (new.reference is not null or new.metadata is not null or new.email is not null)
    execute function link_payment();
create trigger link_payment_update before update on payments
    for each row when (
        (old.reference, old.metadata, old.email, old.merged_into)
        is distinct from (new.reference, new.metadata, new.email, new.merged_into)
    ) execute function link_payment();

-- Gives a gateway's customer the person behind the address before it is written.
create function link_gateway_customer() returns trigger
language plpgsql as $$
begin
    if new.email ~ '@' and length(new.email) <= 320 and (tg_op = 'INSERT' or new.email is distinct from old.email) then
        new.customer_id := customer_of(new.merchant, new.email);
    end if;
    return new;
end
$$;

create trigger link_gateway_customer_insert before insert on gateway_customers
    for each row when (new.email is not null) execute function link_gateway_customer();
create trigger link_gateway_customer_update before update on gateway_customers
    for each row when (old.email is distinct from new.email) execute function link_gateway_customer();

-- Returns the steps that may follow a status of an order.
create function order_steps(p_status text) returns text[]
language sql immutable as $$
    select case p_status
        when 'pending' then array['processing', 'completed', 'failed', 'cancelled']
        when 'processing' then array['completed', 'failed', 'cancelled']
        when 'completed' then array['partially_refunded', 'refunded']
        when 'partially_refunded' then array['refunded']
        else '{}'::text[]
    end
$$;

-- Makes the state of an order anew from its payments: the money of its currency and mode that came in and went back,
-- what that means, and the status: the further one of what the money says and what a person said. Money for an order
-- that is failed or cancelled changes no status; it shows in payment_state. Locked first, so that it sees what
-- neighbours did; and no harder, as a payment that was just linked holds the key of its order, and so may another.
create function settle_order(p_order_id bigint, p_status_by_hand text default null) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

create function follow_payment_of_order() returns trigger
language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.order_id is not null and old.order_id is distinct from new.order_id then
        perform settle_order(old.order_id);
    end if;
    if new.order_id is not null then
        perform settle_order(new.order_id);
    end if;
    return null;
end
$$;

create trigger follow_payment_of_order_insert after insert on payments
    for each row when (new.order_id is not null) execute function follow_payment_of_order();
create trigger follow_payment_of_order_update after update on payments
    for each row when (
        (old.order_id is not null or new.order_id is not null)
        and (
            old.order_id, old.status, old.received_minor, old.refunded_minor, old.currency, old.completed_at,
            old.livemode, old.merged_into
        ) is distinct from (
            new.order_id, new.status, new.received_minor, new.refunded_minor, new.currency, new.completed_at,
            new.livemode, new.merged_into
        )
    ) execute function follow_payment_of_order();

-- Links a new order to the payments that named it before it was there.
create function follow_order() returns trigger
language plpgsql as $$
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
$$;

create trigger follow_order after insert on orders for each row execute function follow_order();

-- Takes a person's step with an order; one that may not follow its status is refused (GH003) with those that may.
create function set_order_status(p_order_id bigint, p_status text, p_expected_version integer) returns void
language plpgsql security definer set search_path = public, pg_temp as $$
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
$$;

revoke execute on function
    order_named(text, jsonb, text), settle_order(bigint, text), set_order_status(bigint, text, integer)
from public;
-- Whoever records a payment links it; `customer_of` and these work for the merchant of the row alone.
grant execute on function order_named(text, jsonb, text), settle_order(bigint, text), customer_of(text, text)
to gatehouse_intake, gatehouse_worker, gatehouse_ops;
grant execute on function set_order_status(bigint, text, integer) to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop trigger follow_order on orders;
drop trigger follow_payment_of_order_insert on payments;
drop trigger follow_payment_of_order_update on payments;
drop trigger link_gateway_customer_insert on gateway_customers;
drop trigger link_gateway_customer_update on gateway_customers;
drop trigger link_payment_insert on payments;
drop trigger link_payment_update on payments;
drop function set_order_status(bigint, text, integer);
drop function follow_order();
drop function follow_payment_of_order();
drop function settle_order(bigint, text);
drop function order_steps(text);
drop function link_gateway_customer();
drop function link_payment();
drop function order_named(text, jsonb, text);
revoke execute on function customer_of(text, text) from gatehouse_intake, gatehouse_worker, gatehouse_ops;
alter table gateway_customers drop column customer_id;
alter table payments drop column order_id, drop column customer_id;

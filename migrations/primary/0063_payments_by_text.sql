-- Payments are found by words, too: of what they say themselves, and of the orders that they pay.
-- migrate: up

-- A reference, the gateway's id of a customer or an address in full; or words of an order, or their beginnings: name,
-- address, number, attendee. Each by an index of its own.
create function payments_with_words(p_text text) returns table (payment_id bigint)
language plpgsql stable security definer rows 100 set search_path = public, pg_temp as $$
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
$$;

revoke execute on function payments_with_words(text) from public;
grant execute on function payments_with_words(text) to gatehouse_api, gatehouse_ops, gatehouse_worker;

-- migrate: down

drop function payments_with_words(text);

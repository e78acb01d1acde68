-- A word is found together with what follows it: john@example.com is one question to the index. As three questions it
-- had to collect every address that has an "example" or a "com", more with each customer.
-- migrate: up

-- Splits texts into what they can be found by: the text from each of its words on, in lower case, without accents, each
-- stop between words as a dot; so john.doe@example.com has john.doe.example.com, doe.example.com, example.com and com.
-- Each lies behind its merchant's name, so that those of one merchant lie together in an index that all share. A letter
-- beyond ASCII is one in any locale. What was found by a beginning of a word is found by it still.
create or replace function search_words(p_merchant text, p_texts text[]) returns tsvector
language sql immutable as $$
    select coalesce(
        array_to_tsvector(array_agg(distinct p_merchant || '/' || left(array_to_string(words[place:], '.'), 60))), '')
    from unnest(p_texts) as said,
         lateral (select array_remove(regexp_split_to_array(
             regexp_replace(lower(normalize(said, nfd)), '[\u0300-\u036f]', '', 'g'),
             '[^[:alnum:]\u0080-\uffff]+'), '') as words) as split,
         generate_subscripts(words, 1) as place
$$;

-- These make the words anew; nobody did anything that the audit should tell.
alter table customers disable trigger customers_audit_update;
update customers set email = email;
alter table customers enable trigger customers_audit_update;
alter table orders disable trigger orders_audit_update;
select refresh_order_search(array_agg(id)) from orders;
alter table orders enable trigger orders_audit_update;

-- Makes the question for what stands between spaces and commas, each of which may be the beginning of something longer;
-- null where there is no word.
create or replace function search_query(p_merchant text, p_text text) returns tsquery
language sql immutable as $$
    select string_agg('''' || p_merchant || '/' || left(part, 60) || ''':*', ' & ')::tsquery
    from regexp_split_to_table(
        regexp_replace(lower(normalize(left(p_text, 300), nfd)), '[\u0300-\u036f]', '', 'g'), '[\s,;]+') as said,
         lateral (
             select trim(both '.' from regexp_replace(said, '[^[:alnum:]\u0080-\uffff]+', '.', 'g')) as part) as found
    where part <> ''
$$;

-- Returns a page of the orders with all these words, newest first. Words that many orders have are met soon among the
-- newest ones; words that few have are collected from the index of words. Either alone would take longer with every
-- order that is made. Looks as the owner, for one merchant, as a full-text condition cannot use its index below
-- row-level security; each time with a plan of its own, as the filters make different ones.
create function orders_page_with_words(
    p_text text, p_status text, p_payment_state text, p_event_id text, p_item_type text, p_since timestamptz,
    p_before timestamptz, p_livemode boolean, p_after_at timestamptz, p_after_id bigint, p_most integer
) returns setof bigint
language plpgsql stable rows 20 security definer set search_path = public, pg_temp
set plan_cache_mode = force_custom_plan as $$
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
$$;

-- The same of customers.
create function customers_page_with_words(p_text text, p_after_at timestamptz, p_after_id bigint, p_most integer)
returns setof bigint
language plpgsql stable rows 20 security definer set search_path = public, pg_temp
set plan_cache_mode = force_custom_plan as $$
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
$$;

revoke execute on function
    orders_page_with_words(
        text, text, text, text, text, timestamptz, timestamptz, boolean, timestamptz, bigint, integer),
    customers_page_with_words(text, timestamptz, bigint, integer)
from public;
grant execute on function
    orders_page_with_words(
        text, text, text, text, text, timestamptz, timestamptz, boolean, timestamptz, bigint, integer),
    customers_page_with_words(text, timestamptz, bigint, integer)
to gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop function customers_page_with_words(text, timestamptz, bigint, integer);
drop function orders_page_with_words(
    text, text, text, text, text, timestamptz, timestamptz, boolean, timestamptz, bigint, integer);

-- Makes the question for some words, each of which may be the beginning of a longer one; null where there is no word.
create or replace function search_query(p_merchant text, p_text text) returns tsquery
language sql immutable as $$
    select string_agg('''' || p_merchant || '/' || left(word, 60) || ''':*', ' & ')::tsquery
    from regexp_split_to_table(
        regexp_replace(lower(normalize(left(p_text, 300), nfd)), '[\u0300-\u036f]', '', 'g'),
        '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
$$;

-- Splits texts into the words by which they are found: lower case, without accents, each behind its merchant's name, so
-- that the words of one merchant lie together in an index that all share. A letter beyond ASCII is one in any locale.
-- What was split in the new way is found by the old question too.
create or replace function search_words(p_merchant text, p_texts text[]) returns tsvector
language sql immutable as $$
    select coalesce(array_to_tsvector(array_agg(distinct p_merchant || '/' || left(word, 60))), '')
    from unnest(p_texts) as said,
         regexp_split_to_table(
             regexp_replace(lower(normalize(said, nfd)), '[\u0300-\u036f]', '', 'g'),
             '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
$$;

-- The items of orders, and the types of which they are.

-- name: items_of_order
-- The items of an order.
select id, order_id, item_type, description, quantity, unit_minor, total_minor, attendee_name, attendee_email
from order_items
where merchant = :merchant::text and order_id = :order_id::bigint
order by id;

-- name: items_of_attendee
-- The items of an attendee, by e-mail address in upper or lower case, newest first.
select id, order_id, item_type, description, quantity, unit_minor, total_minor, attendee_name, attendee_email
from order_items
where merchant = :merchant::text and attendee_email_key = lower(:email::text)
order by id desc
limit :most::integer;

-- name: item_counts
-- How many items of each type were ordered and sold, and their prices, before tax, fees and discounts of the order.
select i.item_type, o.currency, count(distinct o.id) as orders, sum(i.quantity)::bigint as ordered_quantity,
       coalesce(sum(i.quantity) filter (where o.status in ('completed', 'partially_refunded')), 0)::bigint
           as sold_quantity,
       coalesce(sum(i.total_minor) filter (where o.status in ('completed', 'partially_refunded')), 0)::bigint
           as sold_minor
from orders o
join order_items i on i.order_id = o.id
where o.merchant = :merchant::text and o.livemode = :livemode::boolean
  and (:event_id::text is null or o.event_id = :event_id::text)
  and (:since::timestamptz is null or o.created_at >= :since::timestamptz)
  and (:before::timestamptz is null or o.created_at < :before::timestamptz)
group by i.item_type, o.currency
order by i.item_type, o.currency;

-- name: item_types
-- The types of items that the merchant sells.
select name from item_types where merchant = :merchant::text order by name;

-- name: add_item_type
-- Adds a type.
select add_item_type(:name::text);

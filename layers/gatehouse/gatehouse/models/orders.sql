-- Orders of a merchant. Every statement names the merchant, whoever asks.

-- name: create_order
-- Makes an order with its customer and items, or finds the one of the same idempotency key; its id is left for the
-- statements that follow.
select order_id, is_new from create_order(
    p_order => :order::jsonb, p_customer => :customer::jsonb, p_items => :items::jsonb, p_prefix => :prefix::text,
    p_zone => :zone::text, p_at => coalesce(:at::timestamptz, now()), p_idempotency_key => :idempotency_key::text,
    p_content_hash => :content_hash::text
);

-- name: made_order
-- The order that was made or found in this flush.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.id = nullif(current_setting('gatehouse.order', true), '')::bigint;

-- name: items_of_made_order
-- Its items.
select id, order_id, item_type, description, quantity, unit_minor, total_minor, attendee_name, attendee_email
from order_items
where merchant = :merchant::text and order_id = nullif(current_setting('gatehouse.order', true), '')::bigint
order by id;

-- name: customer_of_made_order
-- Its customer.
select c.id, c.merchant, c.email, c.first_name, c.last_name, c.phone, c.consent_at, c.consent_scope, c.retain_until,
       c.erased_at, c.version, c.created_at, c.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.id = nullif(current_setting('gatehouse.order', true), '')::bigint;

-- name: set_order_status
-- Takes a person's step with an order.
select set_order_status(:order_id::bigint, :status::text, :expected_version::integer);

-- name: order_by_id
-- One order by its id.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.id = :order_id::bigint;

-- name: orders_named
-- Orders by number, by the merchant's own reference, or by the gateway's name of any object of a payment for it.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.id in (
    select id from orders where merchant = :merchant::text and number = :name::text
    union
    select id from orders where merchant = :merchant::text and reference = :name::text
    union
    select order_id from payments where merchant = :merchant::text and reference = :name::text
    union
    select order_id from payments where merchant = :merchant::text and id in (select payments_called(:name::text, null))
)
order by o.id desc
limit 20;

-- name: orders_of_customer
-- A customer's orders, newest first.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.customer_id = :customer_id::bigint
  and (:after_id::bigint is null or (o.created_at, o.id) < (:after_at::timestamptz, :after_id::bigint))
order by o.created_at desc, o.id desc
limit :most::integer;

-- name: list_orders
-- Orders, newest first, with any of the filters; what is null filters nothing.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text
  and (:status::text is null or o.status = :status::text)
  and (:payment_state::text is null or o.payment_state = :payment_state::text)
  and (:event_id::text is null or o.event_id = :event_id::text)
  and (:since::timestamptz is null or o.created_at >= :since::timestamptz)
  and (:before::timestamptz is null or o.created_at < :before::timestamptz)
  and (:livemode::boolean is null or o.livemode = :livemode::boolean)
  and (:after_id::bigint is null or (o.created_at, o.id) < (:after_at::timestamptz, :after_id::bigint))
order by o.created_at desc, o.id desc
limit :most::integer;

-- name: list_orders_of_type
-- The same, of orders with an item of a type. The items lie in an index by type and by when they were ordered.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from (
    select distinct on (ordered_at, order_id) ordered_at, order_id
    from order_items
    where merchant = :merchant::text and item_type = :item_type::text
      and (:since::timestamptz is null or ordered_at >= :since::timestamptz)
      and (:before::timestamptz is null or ordered_at < :before::timestamptz)
      and (:after_id::bigint is null or (ordered_at, order_id) < (:after_at::timestamptz, :after_id::bigint))
    order by ordered_at desc, order_id desc
) as typed
join orders o on o.id = typed.order_id
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text
  and (:status::text is null or o.status = :status::text)
  and (:payment_state::text is null or o.payment_state = :payment_state::text)
  and (:event_id::text is null or o.event_id = :event_id::text)
  and (:livemode::boolean is null or o.livemode = :livemode::boolean)
order by typed.ordered_at desc, typed.order_id desc
limit :most::integer;

-- name: search_orders
-- The same, of orders that have all these words, or words that begin so, in the names and addresses of the customer and
-- the attendees, in the number, or in the reference.
select o.id, o.merchant, o.number, o.customer_id, c.email, o.livemode, o.event_id, o.event_name, o.event_date,
       o.currency, o.status, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
       o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.metadata, o.version, o.created_at, o.updated_at
from orders_page_with_words(
    p_text => :text::text, p_status => :status::text, p_payment_state => :payment_state::text,
    p_event_id => :event_id::text, p_item_type => :item_type::text, p_since => :since::timestamptz,
    p_before => :before::timestamptz, p_livemode => :livemode::boolean, p_after_at => :after_at::timestamptz,
    p_after_id => :after_id::bigint, p_most => :most::integer
) as worded
join orders o on o.id = worded
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text
order by o.created_at desc, o.id desc;

-- name: order_counts
-- How many orders there are and what they brought, by status and currency.
select status, currency, count(*) as orders, sum(total_minor)::bigint as total_minor,
       sum(paid_minor)::bigint as paid_minor, sum(refunded_minor)::bigint as refunded_minor
from orders
where merchant = :merchant::text and livemode = :livemode::boolean
  and (:event_id::text is null or event_id = :event_id::text)
  and (:since::timestamptz is null or created_at >= :since::timestamptz)
  and (:before::timestamptz is null or created_at < :before::timestamptz)
group by status, currency
order by status, currency;

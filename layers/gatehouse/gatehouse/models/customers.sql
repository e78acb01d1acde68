-- Customers of a merchant. Every statement names the merchant, whoever asks.

-- name: save_customer
-- Finds or makes a customer and writes what is said of them; the id is left for the statements that follow.
select save_customer(:customer::jsonb) as id;

-- name: saved_customer
-- The customer that was saved in this flush.
select id, merchant, email, first_name, last_name, phone, consent_at, consent_scope, retain_until, erased_at, version,
       created_at, updated_at
from customers
where merchant = :merchant::text and id = nullif(current_setting('gatehouse.customer', true), '')::bigint;

-- name: change_customer
-- Writes the named fields of a customer.
select change_customer(:customer_id::bigint, :changes::jsonb, :expected_version::integer);

-- name: customer_by_id
-- One customer.
select id, merchant, email, first_name, last_name, phone, consent_at, consent_scope, retain_until, erased_at, version,
       created_at, updated_at
from customers
where merchant = :merchant::text and id = :customer_id::bigint;

-- name: customer_by_email
-- The customer of an e-mail address, in upper or lower case.
select id, merchant, email, first_name, last_name, phone, consent_at, consent_scope, retain_until, erased_at, version,
       created_at, updated_at
from customers
where merchant = :merchant::text and email_key = lower(:email::text);

-- name: list_customers
-- Customers, newest first.
select id, merchant, email, first_name, last_name, phone, consent_at, consent_scope, retain_until, erased_at, version,
       created_at, updated_at
from customers
where merchant = :merchant::text
  and (:email::text is null or email_key = lower(:email::text))
  and (:after_id::bigint is null or (created_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by created_at desc, id desc
limit :most::integer;

-- name: search_customers
-- Customers whose name, e-mail or phone has all these words, or words that begin so; newest first.
select id, merchant, email, first_name, last_name, phone, consent_at, consent_scope, retain_until, erased_at, version,
       created_at, updated_at
from customers
where merchant = :merchant::text and id in (
    select customers_page_with_words(
        p_text => :text::text, p_after_at => :after_at::timestamptz, p_after_id => :after_id::bigint,
        p_most => :most::integer)
)
  and (:email::text is null or email_key = lower(:email::text))
order by created_at desc, id desc;

-- name: totals_of_customer
-- What a customer ordered and paid, for each currency.
select o.currency, count(*) as orders,
       count(*) filter (where o.status in ('completed', 'partially_refunded', 'refunded')) as completed_orders,
       sum(o.paid_minor)::bigint as paid_minor, sum(o.refunded_minor)::bigint as refunded_minor,
       min(o.created_at) as first_order_at, max(o.created_at) as last_order_at
from orders o
where o.merchant = :merchant::text and o.customer_id = :customer_id::bigint and o.livemode = :livemode::boolean
group by o.currency
order by o.currency;

-- name: customer_of_order
-- The customer of an order.
select c.id, c.merchant, c.email, c.first_name, c.last_name, c.phone, c.consent_at, c.consent_scope, c.retain_until,
       c.erased_at, c.version, c.created_at, c.updated_at
from orders o
join customers c on c.id = o.customer_id
where o.merchant = :merchant::text and o.id = :order_id::bigint;

-- name: link_customers
-- Gives the next rows that have an address and no customer theirs.
select last_id, looked_at, linked from link_customers(:table::text, :after_id::bigint, :most::integer);

-- name: last_ids
-- How far there are rows to be linked.
select coalesce((select max(id) from payments), 0) as payments,
       coalesce((select max(id) from gateway_customers), 0) as gateway_customers;

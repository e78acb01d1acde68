-- Payments: read here; they are made from the facts that gateways tell.

-- name: payment_by_id
-- One payment; one that was joined with another leads to that.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments named
join payments p on p.id = coalesce(named.merged_into, named.id)
where named.merchant = :merchant::text and p.merchant = :merchant::text and named.id = :payment_id::bigint;

-- name: payments_by_object
-- Payments by the gateway's id of any of their objects.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null and p.id in (
    select payments_called(:object_id::text, :gateway::text)
)
order by p.id;

-- name: payments_by_reference
-- Payments by the merchant's own reference, newest first.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null and p.reference = :reference::text
order by p.id desc
limit :most::integer;

-- name: payments_of_order
-- The payments for an order, oldest first.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null and p.order_id = :order_id::bigint
order by p.first_fact_at, p.id;

-- name: payments_of_customer
-- The payments of a customer, newest first.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null and p.customer_id = :customer_id::bigint
order by p.first_fact_at desc, p.id desc
limit :most::integer;

-- name: list_payments
-- Payments, newest first, with any of the filters; what is null filters nothing.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null
  and (:status::text is null or p.status = :status::text)
  and (:gateway::text is null or p.gateway = :gateway::text)
  and (:since::timestamptz is null or p.first_fact_at >= :since::timestamptz)
  and (:before::timestamptz is null or p.first_fact_at < :before::timestamptz)
  and (:livemode::boolean is null or p.livemode = :livemode::boolean)
  and (:after_id::bigint is null or (p.first_fact_at, p.id) < (:after_at::timestamptz, :after_id::bigint))
order by p.first_fact_at desc, p.id desc
limit :most::integer;

-- name: list_payments_of_status
-- The same, of a rarer status: these lie in an index that has no completed ones.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor, p.refunded_minor,
       p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id, p.customer_id, p.customer_ref,
       p.email, p.subscription_ref, p.invoice_ref, p.app, p.user_id, p.plan, p.failure_code, p.failure_message,
       p.status_reason, p.metadata, p.first_fact_at, p.last_fact_at, p.completed_at, p.source, p.surcharge_minor,
       p.invoice_number, p.product_name, p.product_category, p.is_recurring
from payments p
where p.merchant = :merchant::text and p.merged_into is null
  and p.status = :status::text and p.status <> 'completed'
  and (:gateway::text is null or p.gateway = :gateway::text)
  and (:since::timestamptz is null or p.first_fact_at >= :since::timestamptz)
  and (:before::timestamptz is null or p.first_fact_at < :before::timestamptz)
  and (:livemode::boolean is null or p.livemode = :livemode::boolean)
  and (:after_id::bigint is null or (p.first_fact_at, p.id) < (:after_at::timestamptz, :after_id::bigint))
order by p.first_fact_at desc, p.id desc
limit :most::integer;

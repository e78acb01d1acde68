-- Refunds: what gateways say of them, and those that we ask for.

-- name: refunds_of_order
-- The refunds of an order's payments, oldest first.
select r.id, r.merchant, r.gateway, r.account, r.livemode, r.gateway_id, r.payment_id, r.status, r.amount_minor,
       r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference, r.refunded_at, r.metadata,
       r.first_fact_at, r.last_fact_at
from payments p
join refunds r on r.payment_id = p.id
where p.merchant = :merchant::text and p.order_id = :order_id::bigint and p.merged_into is null
order by r.first_fact_at, r.id;

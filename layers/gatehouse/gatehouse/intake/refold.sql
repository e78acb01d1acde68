-- Rows made anew from their facts, and what differs then.

-- name: window
-- The next rows of one kind by their numbers, and whether each is asked for: changed since a time, and, where a merchant
-- is named, its rows whose app is found by plan or default or whose plan is one of these. One row is always
-- there to say how far the window reaches, so each step is short however few rows are asked for.
select w.id, w.merchant, w.gateway, w.account,
    not w.is_joined_away
    and (:since::timestamptz is null or w.last_fact_at >= :since::timestamptz)
    and (:merchant::text is null or (
        w.merchant = :merchant::text and (w.app_from in ('plan', 'default') or w.app_from is null
            or w.plan = any (:plans::text[])))) as is_wanted
from (
    (select id, merchant, gateway, account, last_fact_at, merged_into is not null as is_joined_away, app_from, plan
     from payments where :kind::text = 'payment' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, app_from, plan
     from subscriptions where :kind::text = 'subscription' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, null, null
     from gateway_customers where :kind::text = 'customer' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, null, null
     from refunds where :kind::text = 'refund' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, null, null
     from disputes where :kind::text = 'dispute' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, null, null
     from invoices where :kind::text = 'invoice' and id > :after::bigint order by id limit :most::integer)
    union all
    (select id, merchant, gateway, account, last_fact_at, false, null, null
     from payouts where :kind::text = 'payout' and id > :after::bigint order by id limit :most::integer)
) as w
order by w.id;

-- name: last_ids
-- The highest number of each kind: where the work ends.
select (select max(id) from payments) as payment, (select max(id) from subscriptions) as subscription,
    (select max(id) from gateway_customers) as customer, (select max(id) from refunds) as refund,
    (select max(id) from disputes) as dispute, (select max(id) from invoices) as invoice,
    (select max(id) from payouts) as payout;

-- name: parts_of_payment
-- A payment, its refunds and its disputes, and whose they are.
select 'refund' as kind, id, merchant, gateway, account from refunds where payment_id = :payment::bigint
union all
select 'dispute', id, merchant, gateway, account from disputes where payment_id = :payment::bigint
union all
select 'payment', id, merchant, gateway, account from payments where id = :payment::bigint;

-- name: followers
-- What is folded anew by itself when these change: payments and subscriptions that take their app from them.
with customers as (
    select * from gateway_customers where :kind::text = 'customer' and id = any (:ids::bigint[])
),
subscriptions_of_them as (
    select * from subscriptions where :kind::text = 'subscription' and id = any (:ids::bigint[])
    union
    select s.* from customers c
    join subscriptions s on s.gateway = c.gateway and s.account = c.account and s.customer_ref = c.gateway_id
    union
    select s.* from payments p
    join subscriptions s on s.gateway = p.gateway and s.account = p.account
        and (s.gateway_id = p.subscription_ref or (s.customer_ref = p.customer_ref and s.plan = p.plan))
    where :kind::text = 'payment' and p.id = any (:ids::bigint[])
)
select 'subscription' as kind, id from subscriptions_of_them
union
select 'payment', p.id from customers c
join payments p on p.merchant = c.merchant and p.customer_ref = c.gateway_id and p.gateway = c.gateway
    and p.account = c.account and p.merged_into is null
union
select 'payment', p.id from subscriptions_of_them s
join payments p on p.gateway = s.gateway and p.account = s.account and p.subscription_ref = s.gateway_id
    and p.merged_into is null
union
select 'payment', p.id from subscriptions_of_them s
join payments p on p.merchant = s.merchant and p.customer_ref = s.customer_ref and p.plan = s.plan
    and p.gateway = s.gateway and p.account = s.account and p.merged_into is null;

-- name: lock_payments
-- Locks payments, so that nothing else changes them between the two readings.
select id from payments where id = any (:ids::bigint[]) order by id for update;

-- name: lock_subjects
-- Locks rows that are no payments.
select lock_subject(:kind::text, id) as locked
from (select id from unnest(:ids::bigint[]) as id order by id) as sorted;

-- name: rows
-- Rows of one kind, as they stand at this moment.
select id, to_jsonb(t) as row from payments t where :kind::text = 'payment' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from subscriptions t where :kind::text = 'subscription' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from gateway_customers t where :kind::text = 'customer' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from refunds t where :kind::text = 'refund' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from disputes t where :kind::text = 'dispute' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from invoices t where :kind::text = 'invoice' and id = any (:ids::bigint[])
union all
select id, to_jsonb(t) from payouts t where :kind::text = 'payout' and id = any (:ids::bigint[]);

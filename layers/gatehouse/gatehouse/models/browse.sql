-- What the gateways told us, as callers of the API look at it: lists in pages, newest first, and one of each.
-- Every statement works for the merchant of its flush; row-level security holds it to that one.

-- name: list_payments
-- Payments, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
       fee_minor, fee_currency, method, reference, order_id, customer_id, customer_ref, email, app, user_id, plan,
       subscription_ref, invoice_ref, invoice_number, source, surcharge_minor, failure_code, failure_message,
       status_reason, metadata, completed_at, first_fact_at, last_fact_at, product_name, product_category, is_recurring
from payments
where merged_into is null
  and (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:reference::text is null or reference = :reference::text)
  and (:order_id::bigint is null or order_id = :order_id::bigint)
  and (:customer_id::bigint is null or customer_id = :customer_id::bigint)
  and (:customer_ref::text is null or customer_ref = :customer_ref::text)
  and (:app::text is null or app = :app::text)
  and (:user_id::text is null or user_id = :user_id::text)
  and (:subscription_ref::text is null or subscription_ref = :subscription_ref::text)
  and (:email::text is null or id = any (array(select payments_of_email(:email::text))))
  and (:text::text is null or id = any (array(select payments_with_words(:text::text))))
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: list_payments_of_status
-- The same, of none but rarer statuses: those of each status lie together in an index that has no completed ones.
select p.id, p.merchant, p.gateway, p.account, p.livemode, p.status, p.amount_minor, p.received_minor,
       p.refunded_minor, p.currency, p.fee_minor, p.fee_currency, p.method, p.reference, p.order_id,
       p.customer_id, p.customer_ref, p.email, p.app, p.user_id, p.plan, p.subscription_ref, p.invoice_ref,
       p.invoice_number, p.source, p.surcharge_minor, p.failure_code, p.failure_message, p.status_reason, p.metadata,
       p.completed_at, p.first_fact_at, p.last_fact_at, p.product_name, p.product_category, p.is_recurring
from (select distinct unnest(:status::text[]) as status) as wanted
cross join lateral (
    select * from payments held
    where held.status = wanted.status and held.status <> 'completed' and held.merged_into is null
      and (:gateway::text is null or held.gateway = :gateway::text)
      and (:reference::text is null or held.reference = :reference::text)
      and (:order_id::bigint is null or held.order_id = :order_id::bigint)
      and (:customer_id::bigint is null or held.customer_id = :customer_id::bigint)
      and (:customer_ref::text is null or held.customer_ref = :customer_ref::text)
      and (:app::text is null or held.app = :app::text)
      and (:user_id::text is null or held.user_id = :user_id::text)
      and (:subscription_ref::text is null or held.subscription_ref = :subscription_ref::text)
      and (:email::text is null or held.id = any (array(select payments_of_email(:email::text))))
      and (:text::text is null or held.id = any (array(select payments_with_words(:text::text))))
      and (:livemode::boolean is null or held.livemode = :livemode::boolean)
      and (:since::timestamptz is null or held.first_fact_at >= :since::timestamptz)
      and (:until::timestamptz is null or held.first_fact_at < :until::timestamptz)
      and (:after_at::timestamptz is null
           or (held.first_fact_at, held.id) < (:after_at::timestamptz, :after_id::bigint))
    order by held.first_fact_at desc, held.id desc
    limit :most::integer
) as p
order by p.first_fact_at desc, p.id desc
limit :most::integer;

-- name: find_payment
-- One payment; of two that turned out to be one, the one that was kept.
with recursive kept as (
    select id, merged_into from payments where id = :id::bigint
    union
    select p.id, p.merged_into from payments p join kept on p.id = kept.merged_into
)
select id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
       fee_minor, fee_currency, method, reference, order_id, customer_id, customer_ref, email, app, user_id, plan,
       subscription_ref, invoice_ref, invoice_number, source, surcharge_minor, failure_code, failure_message,
       status_reason, metadata, completed_at, first_fact_at, last_fact_at, product_name, product_category, is_recurring
from payments
where id = (select id from kept where merged_into is null);

-- name: events_of_payment
-- The events that said something of a payment, in the order in which they came.
select distinct e.id, e.event_id, e.type, e.occurred_at, e.received_at
from facts f
join webhook_events e on e.id = f.webhook_event_id
where f.kind = 'payment' and f.subject_id = :id::bigint
order by e.id
limit :most::integer;

-- name: changes_of_payment
-- How the payment's row came to be as it is; personal values only as hashes.
select id, at, table_name, row_id, action, actor, webhook_event_id, changes
from payment_audit_log
where table_name = 'payments' and row_id = :id::bigint
order by id
limit :most::integer;

-- name: list_refunds
-- Refunds, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
from refunds
where (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:reference::text is null or reference = :reference::text)
  and (:payment_id::bigint is null or payment_id = :payment_id::bigint)
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: find_refund
-- One of them.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
from refunds
where id = :id::bigint;

-- name: list_disputes
-- Disputes, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
from disputes
where (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:payment_id::bigint is null or payment_id = :payment_id::bigint)
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: find_dispute
-- One of them.
select id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
       outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
from disputes
where id = :id::bigint;

-- name: list_subscriptions
-- Subscriptions, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, gateway_id, status, plan, plan_name, amount_minor, currency, interval,
       customer_ref, email, reference, started_at, period_start, period_end, next_payment_at, cancel_at, ended_at,
       cancel_reason, app, user_id, metadata, first_fact_at, last_fact_at
from subscriptions
where (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:customer_ref::text is null or customer_ref = :customer_ref::text)
  and (:app::text is null or app = :app::text)
  and (:user_id::text is null or user_id = :user_id::text)
  and (:plan::text is null or plan = :plan::text)
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: find_subscription
-- One of them.
select id, merchant, gateway, account, livemode, gateway_id, status, plan, plan_name, amount_minor, currency, interval,
       customer_ref, email, reference, started_at, period_start, period_end, next_payment_at, cancel_at, ended_at,
       cancel_reason, app, user_id, metadata, first_fact_at, last_fact_at
from subscriptions
where id = :id::bigint;

-- name: list_invoices
-- Invoices, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, due_minor, paid_minor, currency,
       customer_ref, customer_name, email, billing_address, data_sent_status, subscription_ref, attempts, next_attempt_at, issued_at, due_at, paid_at, period_start,
       period_end, description, lines, metadata, first_fact_at, last_fact_at
from invoices
where (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:customer_ref::text is null or customer_ref = :customer_ref::text)
  and (:subscription_ref::text is null or subscription_ref = :subscription_ref::text)
  and (:number::text is null or number = :number::text)
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: find_invoice
-- One of them.
select id, merchant, gateway, account, livemode, gateway_id, status, number, total_minor, due_minor, paid_minor, currency,
       customer_ref, customer_name, email, billing_address, data_sent_status, subscription_ref, attempts, next_attempt_at, issued_at, due_at, paid_at, period_start,
       period_end, description, lines, metadata, first_fact_at, last_fact_at
from invoices
where id = :id::bigint;

-- name: list_payouts
-- Payouts, newest first, with any of the filters; the page before ended at `after_at` and `after_id`.
select id, merchant, gateway, account, livemode, gateway_id, kind, status, amount_minor, currency, fee_minor,
       reversed_minor, destination, batch_ref, reference, arrives_at, settled_at, failure_code, failure_message, metadata,
       first_fact_at, last_fact_at
from payouts
where (:gateway::text is null or gateway = :gateway::text)
  and (:status::text[] is null or status = any (:status::text[]))
  and (:batch_ref::text is null or batch_ref = :batch_ref::text)
  and (:reference::text is null or reference = :reference::text)
  and (:livemode::boolean is null or livemode = :livemode::boolean)
  and (:since::timestamptz is null or first_fact_at >= :since::timestamptz)
  and (:until::timestamptz is null or first_fact_at < :until::timestamptz)
  and (:after_at::timestamptz is null or (first_fact_at, id) < (:after_at::timestamptz, :after_id::bigint))
order by first_fact_at desc, id desc
limit :most::integer;

-- name: find_payout
-- One of them.
select id, merchant, gateway, account, livemode, gateway_id, kind, status, amount_minor, currency, fee_minor,
       reversed_minor, destination, batch_ref, reference, arrives_at, settled_at, failure_code, failure_message, metadata,
       first_fact_at, last_fact_at
from payouts
where id = :id::bigint;

-- name: list_app_users
-- The users of an app and what each has now; the page before ended at `after_user`. Who is on the page is read off two
-- indexes first, so that what all the others have is not compared.
select user_id, plan, status, amount_minor, currency, said_by, gateway, account, object_id, since, last_fact_at, livemode
from app_users
where app = :app::text and user_id = any (array(
    (select distinct user_id from subscriptions
     where app = :app::text and user_id is not null and (:after_user::text is null or user_id > :after_user::text)
     order by user_id limit :most::integer)
    union
    (select distinct user_id from payments
     where app = :app::text and user_id is not null and plan is not null and merged_into is null
       and status in ('completed', 'partially_refunded', 'refunded')
       and (:after_user::text is null or user_id > :after_user::text)
     order by user_id limit :most::integer)
    order by user_id
    limit :most::integer
))
order by user_id;

-- name: list_app_transactions
-- What was paid or subscribed in an app, newest first; the page before ended at `after_at` and `after_id`.
select webhook_event_id, gateway, account, livemode, event_type, payment_id, subscription_id, reference, user_id, plan,
       amount_minor, currency, status, occurred_at, created_at
from app_transactions
where app = :app::text
  and (:user_id::text is null or user_id = :user_id::text)
  and (:reference::text is null or reference = :reference::text)
  and (:since::timestamptz is null or created_at >= :since::timestamptz)
  and (:until::timestamptz is null or created_at < :until::timestamptz)
  and (:after_at::timestamptz is null
       or (created_at, webhook_event_id) < (:after_at::timestamptz, :after_id::bigint))
order by created_at desc, webhook_event_id desc
limit :most::integer;

-- name: find_app
-- One of the merchant's apps.
select name, is_default, plans from apps where name = :app::text;

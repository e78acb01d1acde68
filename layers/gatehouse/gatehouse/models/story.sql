-- Everything that is known of one payment, each statement a chapter; all of them are asked in one flush.

-- name: payment
-- The payment as it stands, the names that it is known by, and those that were joined into it.
select to_jsonb(p) as row,
    array(select o.kind || ' ' || o.object_id from payment_objects o where o.payment_id = p.id order by 1) as names,
    array(select j.id from payments j where j.merged_into = p.id order by 1) as joined
from payments p
where p.id = :payment::bigint;

-- name: refunds
-- What was given back of it.
select to_jsonb(r) as row from refunds r where r.payment_id = :payment::bigint order by r.first_fact_at, r.id;

-- name: disputes
-- What somebody wants back of it.
select to_jsonb(d) as row from disputes d where d.payment_id = :payment::bigint order by d.first_fact_at, d.id;

-- name: subscription
-- The subscription that it pays for: the one that it names, else the customer's first one to the same plan.
select to_jsonb(s) as row
from (
    select named.*
    from payments p
    join subscriptions named on named.gateway = p.gateway and named.account = p.account
        and named.gateway_id = p.subscription_ref
    where p.id = :payment::bigint
    union all
    select own.*
    from payments p
    join subscriptions own on own.gateway = p.gateway and own.account = p.account
        and own.customer_ref = p.customer_ref and own.plan = p.plan
    where p.id = :payment::bigint and p.subscription_ref is null
) as s
order by s.first_fact_at, s.gateway_id
limit 1;

-- name: invoice
-- The invoice that it pays.
select to_jsonb(i) as row
from payments p
join invoices i on i.gateway = p.gateway and i.account = p.account and i.gateway_id = p.invoice_ref
where p.id = :payment::bigint
limit 1;

-- name: facts
-- What was said of it, its refunds and its disputes, in the order in which the fold reads it.
select f.kind, f.subject_id, f.said_by, f.webhook_event_id, f.job_id, f.occurred_at, f.received_at, f.rank, f.words
from facts f
where (f.kind = 'payment' and f.subject_id = :payment::bigint)
   or (f.kind = 'refund' and f.subject_id = any (array(select id from refunds where payment_id = :payment::bigint)))
   or (f.kind = 'dispute' and f.subject_id = any (array(select id from disputes where payment_id = :payment::bigint)))
order by f.occurred_at nulls first, f.rank, f.said_by;

-- name: events
-- The events that said it, that changed it, and those of the same objects that were ignored or failed. As arrays, each
-- way is looked up in its index; as subqueries behind an `or`, all events of the merchant would be read.
with of_others as (
    select 'refund' as kind, id from refunds where payment_id = :payment::bigint
    union all
    select 'dispute', id from disputes where payment_id = :payment::bigint
),
names as (
    select object_id as name from payment_objects where payment_id = :payment::bigint
    union
    select n.object_id from of_others o join subject_names n on n.subject_kind = o.kind and n.subject_id = o.id
    union
    select reference from payments where id = :payment::bigint and reference is not null
)
select e.id, e.gateway, e.account, e.event_id, e.type, e.livemode, e.occurred_at, e.received_at, e.status, e.reason,
    e.attempts, e.reference, e.request_id
from webhook_events e
where e.id = any (array(
        select webhook_event_id from facts where kind = 'payment' and subject_id = :payment::bigint
        union
        select f.webhook_event_id from of_others o join facts f on f.kind = o.kind and f.subject_id = o.id
        union
        select webhook_event_id from payment_audit_log where table_name = 'payments' and row_id = :payment::bigint
    ))
    or (
        e.reference = any (array(select name from names))
        and (e.gateway, e.account) = (select gateway, account from payments where id = :payment::bigint)
    )
order by coalesce(e.occurred_at, e.received_at), e.id;

-- name: changes
-- The audit of it, of those that were joined into it, of its refunds and disputes.
select a.id, a.at, a.table_name, a.row_id, a.action, a.actor, a.webhook_event_id, a.changes
from payment_audit_log a
where (a.table_name = 'payments' and a.row_id = any (array(
        select id from payments where id = :payment::bigint or merged_into = :payment::bigint)))
   or (a.table_name = 'refunds' and a.row_id = any (array(select id from refunds where payment_id = :payment::bigint)))
   or (a.table_name = 'disputes'
       and a.row_id = any (array(select id from disputes where payment_id = :payment::bigint)))
order by a.id;

-- name: jobs
-- The work that its events left, and the jobs that fetched what is known of it.
select j.id, j.topic, j.status, j.attempts, j.last_error, j.due_at, j.created_at, j.finished_at, j.webhook_event_id
from jobs j
where j.webhook_event_id = any (array(
        select webhook_event_id from facts where kind = 'payment' and subject_id = :payment::bigint
        union
        select f.webhook_event_id from facts f join refunds r on f.kind = 'refund' and f.subject_id = r.id
        where r.payment_id = :payment::bigint
        union
        select f.webhook_event_id from facts f join disputes d on f.kind = 'dispute' and f.subject_id = d.id
        where d.payment_id = :payment::bigint
    ))
    or j.id = any (array(select job_id from facts where kind = 'payment' and subject_id = :payment::bigint))
order by j.id;

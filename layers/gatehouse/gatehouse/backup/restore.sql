-- Puts payments from the backup into an empty primary database; the order of the statements is that of a restore.

-- name: is_empty
-- Tells whether there is nothing in the database that a restore could meet.
select not exists (select from payments) and not exists (select from webhook_events)
    and not exists (select from orders) as is_empty;

-- name: count_on
-- Lets every sequence go on above what was given out before.
select
    setval('payment_ids', greatest(:payment::bigint, 1)) as payment,
    setval('subject_ids', greatest(:subject::bigint, 1)) as subject,
    setval('backup_versions', greatest(:version::bigint, 1)) as version,
    setval(pg_get_serial_sequence('orders', 'id'), greatest(:order_id::bigint, 1)) as order_id,
    setval(pg_get_serial_sequence('customers', 'id'), greatest(:customer::bigint, 1)) as customer,
    setval(pg_get_serial_sequence('webhook_events', 'id'), greatest(:event::bigint, 1)) as event,
    setval(pg_get_serial_sequence('payment_audit_log', 'id'), greatest(:change::bigint, 1)) as change;

-- name: merchants
-- Makes the merchants; their names are not known here.
insert into merchants (id, name)
select distinct p ->> 'merchant', p ->> 'merchant' from jsonb_array_elements(:payments::jsonb) as p
on conflict (id) do nothing;

-- name: customers
-- Makes who ordered, by the address of a payment.
insert into customers (id, merchant, email) overriding system value
select distinct on (id) id, merchant, email
from (
    select (p -> 'order_state' ->> 'customer_id')::bigint as id, p ->> 'merchant' as merchant, p ->> 'email' as email
    from jsonb_array_elements(:payments::jsonb) as p
    where p -> 'order_state' ->> 'customer_id' is not null
) as ordered
where email ~ '@' and length(email) <= 320
order by id
on conflict do nothing;

-- name: customers_without_address
-- Makes those of whom no address is known as erased ones.
insert into customers (id, merchant, erased_at) overriding system value
select distinct (p -> 'order_state' ->> 'customer_id')::bigint, p ->> 'merchant', now()
from jsonb_array_elements(:payments::jsonb) as p
where p -> 'order_state' ->> 'customer_id' is not null
on conflict (id) do nothing;

-- name: orders
-- Makes the orders that the payments are for; without their items, which the backup does not hold.
insert into orders (
    id, merchant, number, customer_id, livemode, event_id, event_name, event_date, currency, status, status_by_hand,
    payment_state, subtotal_minor, tax_minor, fee_minor, discount_minor, total_minor, paid_minor, refunded_minor,
    reference, created_at, search
) overriding system value
select distinct on (o.id)
    o.id, p ->> 'merchant', o.number, o.customer_id, o.livemode, o.event_id, o.event_name, o.event_date, o.currency,
    o.status, o.status_by_hand, o.payment_state, o.subtotal_minor, o.tax_minor, o.fee_minor, o.discount_minor,
    o.total_minor, o.paid_minor, o.refunded_minor, o.reference, o.created_at, ''
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_record(p -> 'order_state') as o (
    id bigint, number text, customer_id bigint, livemode boolean, event_id text, event_name text, event_date date,
    currency text, status text, status_by_hand text, payment_state text, subtotal_minor bigint, tax_minor bigint,
    fee_minor bigint, discount_minor bigint, total_minor bigint, paid_minor bigint, refunded_minor bigint,
    reference text, created_at timestamptz)
where p -> 'order_state' ->> 'id' is not null
order by o.id
on conflict (id) do nothing;

-- name: order_counters
-- Lets the numbers of each day go on above those that were given.
insert into order_counters (merchant, day, last_number)
select p ->> 'merchant', to_date(part[1], 'YYYYMMDD'), max(part[2]::integer)
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral regexp_match(p -> 'order_state' ->> 'number', '-([0-9]{8})-([0-9]{4,9})$') as part
where part is not null
group by 1, 2
on conflict (merchant, day) do update
    set last_number = greatest(order_counters.last_number, excluded.last_number);

-- name: events
-- Makes the events that spoke of the payments, so that a delivery of one that comes again is known as a duplicate.
insert into webhook_events (
    id, gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status
) overriding system value
select distinct on (e.id)
    e.id, p ->> 'gateway_provider', p ->> 'account', e.event_id, p ->> 'merchant', e.type, e.livemode, e.occurred_at,
    e.received_at, 'applied'
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_recordset(p -> 'events') as e (
    id bigint, event_id text, type text, livemode boolean, occurred_at timestamptz, received_at timestamptz)
where jsonb_typeof(p -> 'events') = 'array'
order by e.id
on conflict do nothing;

-- name: payments
-- Makes the payments as they were.
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency, fee_minor,
    fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason, metadata,
    first_fact_at, last_fact_at, completed_at, merged_into, email, subscription_ref, invoice_ref, app, app_from, user_id, plan
)
select
    id, merchant, gateway_provider, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
    fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason, metadata,
    first_fact_at, last_fact_at, completed_at, merged_into, email, subscription_ref, invoice_ref, app, app_from, user_id, plan
from jsonb_to_recordset(:payments::jsonb) as t (
    id bigint, merchant text, gateway_provider text, account text, livemode boolean, status text, amount_minor bigint,
    received_minor bigint, refunded_minor bigint, currency text, fee_minor bigint, fee_currency text, method text,
    reference text, customer_ref text, failure_code text, failure_message text, status_reason text, metadata jsonb,
    first_fact_at timestamptz, last_fact_at timestamptz, completed_at timestamptz, merged_into bigint, email text,
    subscription_ref text, invoice_ref text, app text, app_from text, user_id text, plan text)
order by merged_into nulls first, id;

-- name: names
-- Makes the names that the gateway knows the payments by.
insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
select p ->> 'gateway_provider', p ->> 'account', n ->> 'kind', n ->> 'id', p ->> 'merchant', (n ->> 'row')::bigint
from jsonb_array_elements(:payments::jsonb) as p cross join lateral jsonb_array_elements(p -> 'names') as n
where jsonb_typeof(p -> 'names') = 'array'
on conflict do nothing;

-- name: names_of_others
-- Makes those of refunds and disputes.
insert into subject_names (gateway, account, kind, object_id, subject_kind, subject_id, merchant)
select p ->> 'gateway_provider', p ->> 'account', n ->> 'kind', n ->> 'id', n ->> 'of', (n ->> 'row')::bigint,
    p ->> 'merchant'
from jsonb_array_elements(:payments::jsonb) as p cross join lateral jsonb_array_elements(p -> 'names_of_others') as n
where jsonb_typeof(p -> 'names_of_others') = 'array'
on conflict do nothing;

-- name: refunds
-- Makes the refunds.
insert into refunds (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
    failure_code, failure_message, reference, refunded_at, metadata, first_fact_at, last_fact_at
)
select
    r.id, p ->> 'merchant', p ->> 'gateway_provider', p ->> 'account', r.livemode, r.gateway_id, (p ->> 'id')::bigint,
    r.status, r.amount_minor, r.currency, r.fee_minor, r.reason, r.failure_code, r.failure_message, r.reference,
    r.refunded_at, r.metadata, r.first_fact_at, r.last_fact_at
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_recordset(p -> 'refunds') as r (
    id bigint, livemode boolean, gateway_id text, status text, amount_minor bigint, currency text, fee_minor bigint,
    reason text, failure_code text, failure_message text, reference text, refunded_at timestamptz, metadata jsonb,
    first_fact_at timestamptz, last_fact_at timestamptz)
where jsonb_typeof(p -> 'refunds') = 'array';

-- name: disputes
-- Makes the disputes.
insert into disputes (
    id, merchant, gateway, account, livemode, gateway_id, payment_id, status, amount_minor, currency, fee_minor, reason,
    outcome, is_withdrawn, respond_by, opened_at, closed_at, first_fact_at, last_fact_at
)
select
    d.id, p ->> 'merchant', p ->> 'gateway_provider', p ->> 'account', d.livemode, d.gateway_id, (p ->> 'id')::bigint,
    d.status, d.amount_minor, d.currency, d.fee_minor, d.reason, d.outcome, d.is_withdrawn, d.respond_by, d.opened_at,
    d.closed_at, d.first_fact_at, d.last_fact_at
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_recordset(p -> 'disputes') as d (
    id bigint, livemode boolean, gateway_id text, status text, amount_minor bigint, currency text, fee_minor bigint,
    reason text, outcome text, is_withdrawn boolean, respond_by timestamptz, opened_at timestamptz,
    closed_at timestamptz, first_fact_at timestamptz, last_fact_at timestamptz)
where jsonb_typeof(p -> 'disputes') = 'array';

-- name: facts
-- Makes the facts that all of it is folded from, so that what comes later meets them.
insert into facts (
    kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at, received_at, rank, words
)
select
    f.kind, f.subject_id, p ->> 'merchant', p ->> 'gateway_provider', p ->> 'account', f.said_by, f.webhook_event_id,
    f.job_id, f.occurred_at, f.received_at, f.rank, f.words
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_recordset(p -> 'facts') as f (
    kind text, subject_id bigint, said_by text, webhook_event_id bigint, job_id bigint, occurred_at timestamptz,
    received_at timestamptz, rank smallint, words jsonb)
where jsonb_typeof(p -> 'facts') = 'array';

-- name: history
-- Makes the audit of the payments as it was; the restore's own line comes after it.
insert into payment_audit_log (id, at, merchant, table_name, row_id, action, actor, webhook_event_id, changes)
overriding system value
select c.id, c.at, p ->> 'merchant', c.table_name, c.row_id, c.action, c.actor, c.webhook_event_id, c.changes
from jsonb_array_elements(:payments::jsonb) as p
cross join lateral jsonb_to_recordset(p -> 'changes') as c (
    id bigint, at timestamptz, table_name text, row_id bigint, action text, actor text, webhook_event_id bigint,
    changes jsonb)
where jsonb_typeof(p -> 'changes') = 'array'
on conflict do nothing;

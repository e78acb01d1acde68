-- The flush that records an event, in this order: prepare, lock_payments, insert_event, place_facts, fold_payments.
-- Each statement sees what the locks of the earlier ones made visible; all of it commits at the one Sync, or none.
-- Between statements, values travel in transaction-local settings: gatehouse.event_row, gatehouse.payments.

-- name: prepare
-- Says who we act for and takes the locks: the account shared, then every name the event speaks of, in one order.
select
    set_config('gatehouse.merchant', :merchant::text, true) as merchant,
    set_config('gatehouse.event_row', '', true) as event_row,
    set_config('gatehouse.payments', '', true) as payments,
    pg_advisory_xact_lock_shared(:account_lock::bigint) as account,
    (select count(pg_advisory_xact_lock(key)) from unnest(:name_locks::bigint[]) as key) as names;

-- name: prepare_join
-- The same, with the account to ourselves: no other recording of this account runs while payments are joined.
select
    set_config('gatehouse.merchant', :merchant::text, true) as merchant,
    set_config('gatehouse.event_row', '', true) as event_row,
    set_config('gatehouse.payments', '', true) as payments,
    pg_advisory_xact_lock(:account_lock::bigint) as account,
    (select count(pg_advisory_xact_lock(key)) from unnest(:name_locks::bigint[]) as key) as names;

-- name: lock_payments
-- Locks every payment that the names lead to, in order of id, so that the fold below sees all that was committed.
select id
from payments
where id in (
    select po.payment_id
    from payment_objects po
    join jsonb_to_recordset(:names::jsonb) as named (kind text, id text)
        on po.gateway = :gateway::text and po.account = :account::text
        and po.kind = named.kind and po.object_id = named.id
)
order by id
for update;

-- name: insert_event
-- Writes the event, its sealed bytes and its jobs, unless the event is there already; says which, and since when.
with event as (
    insert into webhook_events (
        gateway, account, event_id, merchant, type, livemode, occurred_at, received_at, status, reason, reference
    ) values (
        :gateway::text, :account::text, :event_id::text, :merchant::text, :type::text, :livemode::boolean,
        :occurred_at::timestamptz, :received_at::timestamptz, :status::text, :reason::text, :reference::text
    )
    on conflict (gateway, account, event_id) do nothing
    returning id
),
payload as (
    insert into webhook_payloads (webhook_event_id, merchant, received_at, key_id, sealed)
    select id, :merchant::text, :received_at::timestamptz, :key_id::text, :sealed::bytea from event
),
work as (
    insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
    select need.topic, need.key, :merchant::text, need.arguments, event.id
    from event, jsonb_to_recordset(:needs::jsonb) as need (topic text, key text, arguments jsonb)
    order by need.topic, need.key
    on conflict (topic, business_key) do nothing
    returning id, topic
)
select
    nullif(set_config('gatehouse.event_row', coalesce((select id::text from event), ''), true), '')::bigint
        as event_row,
    earlier.id as earlier_row,
    earlier.received_at as earlier_received_at,
    (select jsonb_agg(jsonb_build_object('id', id, 'topic', topic)) from work) as jobs
from (values (1)) as one
left join webhook_events earlier
    on earlier.gateway = :gateway::text and earlier.account = :account::text and earlier.event_id = :event_id::text;

-- name: reopen_event
-- Takes up again an event that failed or was ignored, with what we now make of it; finds nothing in any other state.
with event as (
    update webhook_events
    set status = :status::text, reason = :reason::text, reference = :reference::text, attempts = attempts + 1
    where gateway = :gateway::text and account = :account::text and event_id = :event_id::text
      and status in ('received', 'failed', 'ignored')
    returning id
),
work as (
    insert into jobs (topic, business_key, merchant, arguments, webhook_event_id)
    select need.topic, need.key, :merchant::text, need.arguments, event.id
    from event, jsonb_to_recordset(:needs::jsonb) as need (topic text, key text, arguments jsonb)
    order by need.topic, need.key
    on conflict (topic, business_key) do nothing
    returning id, topic
)
select
    nullif(set_config('gatehouse.event_row', coalesce((select id::text from event), ''), true), '')::bigint
        as event_row,
    null::bigint as earlier_row,
    null::timestamptz as earlier_received_at,
    (select jsonb_agg(jsonb_build_object('id', id, 'topic', topic)) from work) as jobs;

-- name: join_payments
-- Makes one payment of several that a fact shows to be one money: the smallest id stays and takes their names and facts.
with named as (
    select said.n, named.kind, named.id
    from jsonb_to_recordset(:facts::jsonb) as said (n integer, objects jsonb),
         jsonb_to_recordset(said.objects) as named (kind text, id text)
),
known as (
    select distinct named.n, po.payment_id
    from named
    join payment_objects po
        on po.gateway = :gateway::text and po.account = :account::text
        and po.kind = named.kind and po.object_id = named.id
),
roots as (
    select n, min(payment_id) as root from known group by n
),
losers as materialized (
    select known.payment_id as loser, roots.root from known join roots using (n) where known.payment_id <> roots.root
),
moved_names as (
    update payment_objects po set payment_id = losers.root from losers where po.payment_id = losers.loser
),
moved_facts as (
    update facts set subject_id = losers.root
    from losers where facts.kind = 'payment' and facts.subject_id = losers.loser
)
update payments set merged_into = losers.root
from losers
where (payments.id = losers.loser or payments.merged_into = losers.loser)
  and case when exists (select from losers other where other.loser = losers.root)
      then refuse('GH003', 'one event joins payments in a chain') else true end;

-- name: place_facts
-- Gives each fact its payment (found by any of its names, or a new id), writes new names and the fact itself.
with said as materialized (
    select *
    from jsonb_to_recordset(:facts::jsonb) as said (n integer, rank smallint, words jsonb, objects jsonb)
    where :job_id::bigint is not null or current_setting('gatehouse.event_row', true) <> ''
),
named as materialized (
    select said.n, named.kind, named.id from said, jsonb_to_recordset(said.objects) as named (kind text, id text)
),
known as materialized (
    select named.n, min(po.payment_id) as payment_id, count(distinct po.payment_id) as payments
    from named
    join payment_objects po
        on po.gateway = :gateway::text and po.account = :account::text
        and po.kind = named.kind and po.object_id = named.id
    group by named.n
),
home as materialized (
    select said.n, coalesce(known.payment_id, nextval('payment_ids')) as payment_id
    from said
    left join known using (n)
    where case when known.payments > 1 then refuse('GH001', 'these names lead to several payments') else true end
),
new_names as (
    insert into payment_objects (gateway, account, kind, object_id, merchant, payment_id)
    select :gateway::text, :account::text, named.kind, named.id, :merchant::text, home.payment_id
    from named
    join home using (n)
    on conflict (gateway, account, kind, object_id) do nothing
),
placed as (
    insert into facts (
        kind, subject_id, merchant, gateway, account, said_by, webhook_event_id, job_id, occurred_at, rank, words
    )
    select
        'payment', home.payment_id, :merchant::text, :gateway::text, :account::text, :said_by::text,
        nullif(current_setting('gatehouse.event_row', true), '')::bigint, :job_id::bigint,
        :occurred_at::timestamptz, said.rank, said.words
    from said
    join home using (n)
    returning subject_id
)
select set_config('gatehouse.payments', coalesce(string_agg(distinct subject_id::text, ','), ''), true) as payments
from placed;

-- name: choose_payments
-- Names the payments that fold_payments is to make anew, where no new fact does.
select set_config('gatehouse.payments', array_to_string(:payment_ids::bigint[], ','), true) as payments;

-- name: fold_payments
-- Makes the row of each chosen payment from all its facts: status by the highest step, every other word by the newest
-- fact that says it. The same facts give the same row, whatever their order of arrival; no change writes nothing.
with told as materialized (
    select *
    from facts
    where kind = 'payment'
      and subject_id = any (string_to_array(nullif(current_setting('gatehouse.payments', true), ''), ',')::bigint[])
),
newest as (
    select distinct on (told.subject_id, word.name) told.subject_id, word.name, word.value
    from told, jsonb_each(told.words) as word (name, value)
    order by told.subject_id, word.name, told.occurred_at desc, told.rank desc, told.said_by desc
),
spoken as (
    select subject_id, jsonb_object_agg(name, value) as words from newest group by subject_id
),
climbed as (
    select
        subject_id, min(merchant) as merchant, min(gateway) as gateway, min(account) as account, max(rank) as step,
        min(occurred_at) as first_fact_at, max(occurred_at) as last_fact_at,
        min(coalesce((words ->> 'completed_at')::timestamptz, occurred_at))
            filter (where words ->> 'status' = 'completed') as completed_at
    from told
    group by subject_id
),
folded as (
    select
        climbed.*, word.amount_minor, word.received_minor, word.refunded_minor, word.currency, word.fee_minor,
        word.fee_currency, word.method, word.reference, word.customer_ref, word.metadata, word.livemode,
        -- Steps of the ladder: 1 pending, 2 processing, 3 failed, 4 cancelled, 5 completed, 6 reversed; 0 says none.
        case
            when step = 5 and word.refunded_minor > 0 and word.refunded_minor >= word.received_minor then 'refunded'
            when step = 5 and word.refunded_minor > 0 then 'partially_refunded'
            else coalesce((array['pending', 'processing', 'failed', 'cancelled', 'completed', 'cancelled'])[step],
                          'pending')
        end as status,
        case when step = 3 then word.failure_code end as failure_code,
        case when step = 3 then word.failure_message end as failure_message,
        case when step in (4, 6) then word.status_reason end as status_reason
    from climbed
    join spoken using (subject_id),
    jsonb_to_record(spoken.words) as word (
        livemode boolean, amount_minor bigint, received_minor bigint, refunded_minor bigint, currency text,
        fee_minor bigint, fee_currency text, method text, reference text, customer_ref text, failure_code text,
        failure_message text, status_reason text, metadata jsonb
    )
)
insert into payments (
    id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
    fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason, metadata,
    first_fact_at, last_fact_at, completed_at
)
select
    subject_id, merchant, gateway, account, livemode, status, amount_minor, received_minor, refunded_minor, currency,
    fee_minor, fee_currency, method, reference, customer_ref, failure_code, failure_message, status_reason, metadata,
    first_fact_at, last_fact_at, completed_at
from folded
order by subject_id
on conflict (id) do update set
    livemode = excluded.livemode, status = excluded.status, amount_minor = excluded.amount_minor,
    received_minor = excluded.received_minor, refunded_minor = excluded.refunded_minor,
    currency = excluded.currency, fee_minor = excluded.fee_minor, fee_currency = excluded.fee_currency,
    method = excluded.method, reference = excluded.reference, customer_ref = excluded.customer_ref,
    failure_code = excluded.failure_code, failure_message = excluded.failure_message,
    status_reason = excluded.status_reason, metadata = excluded.metadata,
    first_fact_at = excluded.first_fact_at, last_fact_at = excluded.last_fact_at,
    completed_at = excluded.completed_at
where (
    payments.livemode, payments.status, payments.amount_minor, payments.received_minor, payments.refunded_minor,
    payments.currency, payments.fee_minor, payments.fee_currency, payments.method, payments.reference,
    payments.customer_ref, payments.failure_code, payments.failure_message, payments.status_reason,
    payments.metadata, payments.first_fact_at, payments.last_fact_at, payments.completed_at
) is distinct from (
    excluded.livemode, excluded.status, excluded.amount_minor, excluded.received_minor, excluded.refunded_minor,
    excluded.currency, excluded.fee_minor, excluded.fee_currency, excluded.method, excluded.reference,
    excluded.customer_ref, excluded.failure_code, excluded.failure_message, excluded.status_reason,
    excluded.metadata, excluded.first_fact_at, excluded.last_fact_at, excluded.completed_at
)
returning id, status;

-- Reconciliation: which days of which accounts are compared next, what is missing, and how complete each day is.

-- name: plan
-- Writes a job for every day of every account that is due, the newest days first, so that each account has its turn
-- before any has a second. A day has one job, which is opened again for each comparison; `slot` names the comparison,
-- so that one that failed is left to the next.
with places as (
    select a.gateway, a.account, a.merchant
    from gateway_accounts a
    join merchants m on m.id = a.merchant
    where a.is_active and m.is_active and a.gateway = any (:gateways::text[])
      and (:only_account::text is null or a.account = :only_account::text)
    union
    select named.gateway, named.account, named.merchant
    from jsonb_to_recordset(:defaults::jsonb) as named (gateway text, account text, merchant text)
    join merchants m on m.id = named.merchant and m.is_active
),
due as (
    select p.gateway, p.account, p.merchant, days.day, concat_ws('/', p.gateway, p.account, days.day) as key
    from places p
    cross join (
        select back, :today::date - back as day from generate_series(0, :days::integer - 1) as back
    ) as days
    left join completeness c on c.gateway = p.gateway and c.account = p.account and c.day = days.day
    left join jobs j on j.topic = 'reconcile' and j.business_key = concat_ws('/', p.gateway, p.account, days.day)
    where (c.checked_at is null or c.checked_at < now() - make_interval(hours => :every_hours::integer))
      and (j.id is null or (j.status in ('done', 'dead') and j.arguments ->> 'slot' <> :slot::text))
      -- While its credentials are refused nobody need ask.
      and not exists (
          select from gateway_troubles t
          where t.gateway = p.gateway and t.account = p.account and t.kind = 'refused' and t.asked_again_at > now()
      )
    order by days.back, c.checked_at nulls first, md5(p.gateway || '/' || p.account)
    limit :most::integer
)
insert into jobs (topic, business_key, merchant, arguments)
select 'reconcile', key, merchant,
    jsonb_build_object('gateway', gateway, 'account', account, 'day', day, 'slot', :slot::text)
from due
on conflict (topic, business_key) do update set
    arguments = excluded.arguments, status = 'waiting', due_at = now(), ring_after = now() + interval '30 seconds',
    attempts = 0, last_error = null, finished_at = null
where jobs.status in ('done', 'dead')
returning id, topic;

-- name: known
-- What we hold of the names that a gateway lists: the status of their payment or refund.
select named.kind, named.id, p.status
from jsonb_to_recordset(:names::jsonb) as named (kind text, id text),
     lateral (
         select po.payment_id from payment_objects po
         where po.gateway = :gateway::text and po.account = :account::text and po.kind = named.kind
           and po.object_id = named.id
         limit 1
     ) as found
join payments p on p.id = found.payment_id
union all
select named.kind, named.id, r.status
from jsonb_to_recordset(:names::jsonb) as named (kind text, id text),
     lateral (
         select sn.subject_id from subject_names sn
         where sn.gateway = :gateway::text and sn.account = :account::text and sn.kind = named.kind
           and sn.object_id = named.id and sn.subject_kind = 'refund'
         limit 1
     ) as found
join refunds r on r.id = found.subject_id
where named.kind = 'refund';

-- name: ask_for
-- Leaves a job for each object that is missing; one that was asked for in the same slot is not asked for again.
with written as (
    insert into jobs (topic, business_key, merchant, arguments)
    select 'refetch', missing.key, :merchant::text, missing.arguments
    from jsonb_to_recordset(:missing::jsonb) as missing (key text, arguments jsonb)
    order by missing.key
    on conflict (topic, business_key) do nothing
    returning id, topic
)
select coalesce(jsonb_agg(jsonb_build_object('id', id, 'topic', topic)), '[]') as jobs from written;

-- name: note
-- Notes how complete a day is.
insert into completeness as held (gateway, account, day, merchant, listed, recorded, found_missing)
values (
    :gateway::text, :account::text, :day::date, :merchant::text, :listed::integer, :recorded::integer,
    :listed::integer - :recorded::integer
)
on conflict (gateway, account, day) do update set
    listed = excluded.listed, recorded = excluded.recorded, checked_at = now(), checks = held.checks + 1,
    found_missing = held.found_missing + excluded.found_missing;

-- name: progress
-- How far planned comparisons have come.
select count(*) filter (where status = 'done') as done, count(*) filter (where status = 'dead') as dead,
    min(last_error) filter (where status <> 'done') as an_error
from jobs where id = any (:ids::bigint[]);

-- Jobs: claimed, worked, and finished, postponed or buried. All times are the database's: workers' clocks may be wrong.

-- name: claim
-- Leases a job to whoever asks first: one that is due, one whose worker vanished, or one that was buried and whose
-- dead letter came back (it names the burial, so that a late second bell cannot open the grave).
update jobs
set status = 'leased',
    attempts = case when status = 'dead' then 1 else attempts + 1 end,
    lease_token = gen_random_uuid(),
    lease_until = now() + make_interval(secs => :lease_seconds::integer),
    ring_after = now() + make_interval(secs => :lease_seconds::integer),
    finished_at = null
where id = :id::bigint
  and (
      (status = 'waiting' and due_at <= now())
      or (status = 'leased' and lease_until <= now())
      or (status = 'dead' and burials = :burial::integer)
  )
returning id, topic, business_key, merchant, arguments, attempts, lease_token,
    extract(epoch from now() - created_at)::double precision as waited_seconds,
    (select e.livemode from webhook_events e where e.id = jobs.webhook_event_id) as livemode,
    (select e.occurred_at from webhook_events e where e.id = jobs.webhook_event_id) as event_occurred_at,
    (select count(*) from jobs o where o.status = 'leased' and o.merchant = jobs.merchant and o.topic = jobs.topic
        and o.id <> jobs.id) as beside;

-- name: claim_of_another
-- Leases the job that has waited longest among those of merchants with less than their share at work; the merchant who
-- has it is left out.
update jobs
set status = 'leased', attempts = attempts + 1, lease_token = gen_random_uuid(),
    lease_until = now() + make_interval(secs => :lease_seconds::integer),
    ring_after = now() + make_interval(secs => :lease_seconds::integer)
where id = (
    select w.id from jobs w
    where w.status = 'waiting' and w.due_at <= now() and w.topic = any (:topics::text[])
      and w.merchant <> :merchant::text
      and (select count(*) from jobs o where o.status = 'leased' and o.merchant = w.merchant and o.topic = w.topic) < :share::integer
    order by w.ring_after
    limit 1
    for update skip locked
)
returning id, topic, business_key, merchant, arguments, attempts, lease_token,
    extract(epoch from now() - created_at)::double precision as waited_seconds,
    (select e.livemode from webhook_events e where e.id = jobs.webhook_event_id) as livemode,
    (select e.occurred_at from webhook_events e where e.id = jobs.webhook_event_id) as event_occurred_at,
    (select count(*) from jobs o where o.status = 'leased' and o.merchant = jobs.merchant and o.topic = jobs.topic
        and o.id <> jobs.id) as beside;

-- name: claim_without_the_disk
-- Lets the claim in the same flush stand before the disk has it. A server that crashes just then forgets it, and the job
-- is worked on once more: only for work that may be done twice.
select set_config('synchronous_commit', 'off', true) as relaxed;

-- name: keep
-- Extends a lease that is still ours.
update jobs
set lease_until = now() + make_interval(secs => :lease_seconds::integer),
    ring_after = now() + make_interval(secs => :lease_seconds::integer)
where id = :id::bigint and lease_token = :token::uuid
returning id;

-- name: finish
-- Ends a job whose lease is still ours; refuses otherwise, which undoes the effects written in the same flush.
with mine as (
    update jobs
    set status = 'done', finished_at = now(), lease_token = null, lease_until = null, last_error = null
    where id = :id::bigint and lease_token = :token::uuid
    returning id
)
select case when exists (select from mine) then true else refuse('GH002', 'the lease of the job was lost') end as done;

-- name: postpone
-- Gives a job back, to be tried again after a while.
update jobs
set status = 'waiting', lease_token = null, lease_until = null, last_error = :error::text,
    due_at = now() + make_interval(secs => :delay_seconds::double precision),
    ring_after = now() + make_interval(secs => :delay_seconds::double precision)
where id = :id::bigint and lease_token = :token::uuid
returning id;

-- name: hold
-- Gives a job back that was not tried: as postpone, and the attempt does not count.
update jobs
set status = 'waiting', lease_token = null, lease_until = null, last_error = :error::text, attempts = attempts - 1,
    due_at = now() + make_interval(secs => :delay_seconds::double precision),
    ring_after = now() + make_interval(secs => :delay_seconds::double precision)
where id = :id::bigint and lease_token = :token::uuid
returning id;

-- name: bury
-- Gives a job up; its dead-letter queue is told next, and by the sweeper where that fails.
update jobs
set status = 'dead', lease_token = null, lease_until = null, last_error = :error::text, finished_at = now(),
    burials = burials + 1, burial_told = false
where id = :id::bigint and lease_token = :token::uuid
returning id, topic, burials;

-- name: burial_told
-- Notes that the dead-letter queue has the job's last burial.
update jobs set burial_told = true
from jsonb_to_recordset(:told::jsonb) as told (id bigint, burials integer)
where jobs.id = told.id and jobs.burials = told.burials;

-- name: take_unrung
-- Takes jobs whose bell is due, oldest first, and puts their next ring a minute off. Left alone is what waits for an app
-- that is paused or does not answer, and for one that has had its share of this sweep: `lane` says whom a job is for.
update jobs set ring_after = now() + interval '1 minute'
where id in (
    select j.id from jobs j
    where j.status in ('waiting', 'leased') and j.ring_after <= now()
      and (j.topic <> 'forward' or j.status = 'leased' or (
          not exists (
              select from apps a
              where a.merchant = j.merchant and a.name = j.arguments ->> 'app'
                and (a.is_paused or a.circuit_state <> 'closed'))
          and concat(j.merchant, '/', j.arguments ->> 'app') <> all (:full_lanes::text[])))
    order by j.ring_after
    limit :most::integer
    for update skip locked
)
returning id, topic, case when topic = 'forward' and status = 'waiting' then concat(merchant, '/', arguments ->> 'app') end as lane;

-- name: take_probes
-- Takes, for each app that does not answer, the oldest job that is due, once it may be tried whether the app is back.
update jobs set ring_after = now() + interval '1 minute'
where id in (
    select (
        select j.id from jobs j
        where j.topic = 'forward' and j.status = 'waiting' and j.due_at <= now()
          and j.merchant = a.merchant and j.arguments ->> 'app' = a.name
        order by j.id limit 1
    )
    from apps a
    where not a.is_paused and a.circuit_state <> 'closed' and a.circuit_probe_at <= now()
)
returning id, topic;

-- name: apps_that_answer
-- Finds the apps that took the last event they were told of, and took it of late, each with the name of its lane.
select concat(a.merchant, '/', a.name) as lane
from apps a
cross join lateral (
    select l.ok, l.created_at from webhook_forward_logs l
    where l.merchant = a.merchant and l.app = a.name
    order by l.id desc limit 1
) as newest
where newest.ok and newest.created_at > now() - interval '5 minutes' and a.circuit_failures = 0;

-- name: take_untold_burials
-- Finds burials that no dead-letter queue has heard of; a minute's grace for the worker that is just telling.
select id, topic, burials from jobs
where not burial_told and finished_at < now() - make_interval(secs => :grace_seconds::integer)
order by id
limit :most::integer;

-- name: backlog
-- Counts what waits, by topic, and the age of the oldest that should be done by now; what waits for an app that is away
-- should not. Two halves, each with the index of its own: one condition for both would read every job that was ever done.
select
    topic, sum(waiting)::bigint as waiting, sum(dead)::bigint as dead,
    coalesce(extract(epoch from now() - min(due_at)), 0)::bigint as oldest_seconds
from (
    select topic, count(*) as waiting, 0 as dead,
        min(due_at) filter (
            where due_at <= now() and coalesce(not a.is_paused and a.circuit_state = 'closed', true)
        ) as due_at
    from jobs j
    left join apps a on j.topic = 'forward' and a.merchant = j.merchant and a.name = j.arguments ->> 'app'
    where j.status in ('waiting', 'leased') group by topic
    union all
    select topic, 0, count(*), null from jobs where status = 'dead' group by topic
) as counted
group by topic
order by topic;

-- name: forget_rejected
-- Drops refused requests that are older than some days, and those beyond the newest so many.
delete from rejected_requests
where received_at < now() - make_interval(days => :days::integer)
   or id <= (select id from rejected_requests order by id desc offset :most::integer limit 1);

-- name: forget_answers
-- Drops answers of the API that are kept for repetitions, once they are older than some hours.
delete from api_answers where created_at < now() - make_interval(hours => :hours::integer);

-- Sending again what was given up, or delivered.

-- name: plan
-- What a redrive would do: how many deliveries and how much money by app, currency and hindrance.
select app, currency, hindrance, count(*) as deliveries, sum(amount_minor)::bigint as amount_minor
from (
    select * from forwards_to_repeat(:merchant::text, :filters::jsonb, :redrive::bigint)
    order by job limit :most::bigint
) as chosen
group by app, currency, hindrance
order by app, currency, hindrance;

-- name: begin_redrive
-- Notes who begins a redrive, and of what.
insert into redrives (merchant, actor, filters, planned)
values (:merchant::text, :actor::text, :filters::jsonb, :planned::integer)
returning id;

-- name: hand_over
-- Has a redrive carried out by a job; one whose job is done or was given up begins where that stopped.
insert into jobs as job (topic, business_key, merchant, arguments)
select 'redrive', r.id::text, r.merchant, jsonb_build_object('redrive', r.id)
from redrives r where r.id = :id::bigint and r.finished_at is null
on conflict (topic, business_key) do update
    set status = 'waiting', attempts = 0, due_at = now(), ring_after = now(), finished_at = null
    where job.status in ('done', 'dead')
returning id;

-- name: job_of_redrive
-- How the job of a redrive stands; none where it was begun by the command line or by the function.
select status, last_error from jobs where topic = 'redrive' and business_key = :id::bigint::text;

-- name: find_redrive
-- One redrive.
select id, merchant, actor, filters, planned, sent, started_at, finished_at from redrives where id = :id::bigint;

-- name: list_redrives
-- Redrives, newest first.
select id, merchant, actor, filters, planned, sent, started_at, finished_at
from redrives order by id desc limit :most::integer;

-- name: state_of_redrive
-- How many of a redrive's deliveries are under way, and whether an app that it is for does not answer now.
select
    (select count(*) from jobs where redrive_id = r.id and status in ('waiting', 'leased')) as under_way,
    (select count(*) from jobs where redrive_id = r.id and status = 'done') as delivered,
    (select count(*) from jobs where redrive_id = r.id and status = 'dead') as buried,
    exists (
        select from apps a where a.merchant = r.merchant and a.circuit_state <> 'closed'
          and (not r.filters ? 'app' or a.name = r.filters ->> 'app')
          and coalesce(a.target_url, a.environment_url) is not null
    ) as is_ill
from redrives r where r.id = :id::bigint;

-- name: take_up
-- Takes up the next deliveries of a redrive; each once, whoever else asks at the same moment.
update jobs set
    status = 'waiting', attempts = 0, due_at = now(), ring_after = now() + interval '5 seconds', finished_at = null,
    redrive_id = :redrive::bigint
where id in (
    select j.id from forwards_to_repeat(:merchant::text, :filters::jsonb, :redrive::bigint) as f
    join jobs j on j.id = f.job
    where f.hindrance is null
    order by j.id
    limit :most::integer
    for update of j skip locked
) and status in ('dead', 'done')
returning id;

-- name: note_sent
-- Notes how far a redrive has come.
update redrives set sent = sent + :sent::integer where id = :id::bigint;

-- name: finish_redrive
-- Notes that a redrive has taken up everything.
update redrives set finished_at = now() where id = :id::bigint and finished_at is null;
